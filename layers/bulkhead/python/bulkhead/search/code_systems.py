"""CodeSystems and their hierarchies: those that are stored here with all their concepts, and HL7's own.

Concepts are nested, or linked by the properties `parent` and `child` (R4 codesystem.html#hierarchy). A concept
subsumes those below it if `hierarchyMeaning` is is-a or absent; in other hierarchies it subsumes only itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from msgspec import Struct

from bulkhead.fhir import definitions

Look = Callable[[str, str, str], list[dict[str, Any]]]
"""(type, search parameter, its value) -> stored resources that match and serve the caller, by precedence."""

PROPERTIES = "http://hl7.org/fhir/concept-properties#"


class CodeSystem(Struct, frozen=True):
    """All codes of a code system, each with the codes directly below it."""

    url: str
    children: Mapping[str, frozenset[str]]

    def below(self, code: str) -> set[str]:
        """The code itself, and every code that it subsumes."""
        return reached(self.spelt(code), self.children)

    def above(self, code: str) -> set[str]:
        """The code itself, and every code that subsumes it."""
        parents: dict[str, set[str]] = {}
        for parent, children in self.children.items():
            for child in children:
                parents.setdefault(child, set()).add(parent)
        return reached(self.spelt(code), parents)

    def has(self, code: str) -> bool:
        return self.spelt(code) in self.children

    def spelt(self, code: str) -> str:
        """The system's spelling of a code that differs in case only: codes compare without case in searches."""
        if code in self.children:
            return code
        folded = code.casefold()
        return next((one for one in self.children if one.casefold() == folded), code)


def reached(code: str, ways: Mapping[str, frozenset[str] | set[str]]) -> set[str]:
    """All codes that can be reached from a code, itself included."""
    found, left = {code}, [code]
    while left:
        fresh = set(ways.get(left.pop(), ())) - found
        found |= fresh
        left += fresh
    return found


def named(resource_type: str, name: str, look: Look) -> dict[str, Any] | None:
    """The stored resource with a canonical url, without its version, or with `Type/id`."""
    if name.startswith(f"{resource_type}/"):
        found = look(resource_type, "_id", name.removeprefix(f"{resource_type}/"))
    else:
        url = name.partition("|")[0]
        found = [one for one in look(resource_type, "url", url) if one.get("url") == url]
    return found[0] if found else None


def known(url: str, look: Look) -> CodeSystem | None:
    """The code system with a url, if all its concepts are here. A stored one never hides HL7's own."""
    own = built_in(url)
    if own is not None:
        return own
    stored = named("CodeSystem", url, look)
    return complete(stored) if stored and is_complete(stored) else None


def having(code: str, look: Look) -> list[CodeSystem]:
    """The code systems here that have a code, each url once."""
    found = {url: built_in(url) for url in definitions.code_systems_with(code)}
    # R4's parameter `code` only has the concepts at the top.
    for stored in filter(is_complete, look("CodeSystem", "content-mode", "complete")):
        if stored["url"] not in found and not definitions.code_system(stored["url"]):
            found[stored["url"]] = complete(stored)
    return [one for one in found.values() if one and one.has(code)]


def is_complete(resource: dict[str, Any]) -> bool:
    return resource.get("content") == "complete" and "url" in resource


def built_in(url: str) -> CodeSystem | None:
    under = definitions.code_system(url)
    if not under:
        return None
    children: dict[str, frozenset[str]] = {code: frozenset() for codes in under.values() for code in codes}
    return CodeSystem(url, children | {parent: frozenset(codes) for parent, codes in under.items() if parent})


def complete(resource: dict[str, Any]) -> CodeSystem:
    """The code system in a CodeSystem resource that has all its concepts."""
    children: dict[str, set[str]] = {}
    parents, kids = codes_of(resource, "parent"), codes_of(resource, "child")
    for concept, within in concepts(resource):
        code = concept["code"]
        given = concept.get("property", ())
        children.setdefault(code, set()).update(one["valueCode"] for one in given if is_code(one, kids))
        for parent in (within, *(one["valueCode"] for one in given if is_code(one, parents))):
            if parent is not None:
                children.setdefault(parent, set()).add(code)
    subsumes = resource.get("hierarchyMeaning", "is-a") == "is-a"
    return CodeSystem(resource["url"], {code: frozenset(found if subsumes else ()) for code, found in children.items()})


def codes_of(resource: dict[str, Any], meaning: str) -> set[str]:
    """The names of a property that FHIR defines in a CodeSystem's concepts: those that it declares, and FHIR's own."""
    declared = {one["code"]: one.get("uri", PROPERTIES + one["code"]) for one in resource.get("property", ())}
    return {name for name, uri in ({meaning: PROPERTIES + meaning} | declared).items() if uri == PROPERTIES + meaning}


def is_code(given: dict[str, Any], names: set[str]) -> bool:
    return given.get("code") in names and "valueCode" in given


def concepts(resource: dict[str, Any]) -> Iterator[tuple[dict[str, Any], str | None]]:
    """Every concept of a CodeSystem at any depth, with the code of its parent."""
    left: list[tuple[dict[str, Any], str | None]] = [(one, None) for one in resource.get("concept", ())]
    while left:
        concept, within = left.pop()
        yield concept, within
        left += [(one, concept["code"]) for one in concept.get("concept", ())]

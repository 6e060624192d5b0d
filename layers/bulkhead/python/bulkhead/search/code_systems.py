"""CodeSystems and their hierarchies: those that are stored here with all their concepts, and HL7's own.

Concepts are nested, or linked by the properties `parent` and `child` (R4 codesystem.html#hierarchy). A concept
subsumes those below it if `hierarchyMeaning` is is-a or absent; in other hierarchies it subsumes only itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cached_property, lru_cache
from typing import Any

from msgspec import Struct

from bulkhead.errors import TooCostly
from bulkhead.fhir import definitions

Look = Callable[[str, str, str], list[dict[str, Any]]]
"""(type, search parameter, its value) -> stored resources that match and serve the caller, by precedence."""

PROPERTIES = "http://hl7.org/fhir/concept-properties#"

LOOKED_UP = 5_000
"""How many times expanding one query may look up definitions, or parts of a hierarchy."""
GONE_THROUGH = 3_000_000
"""How many codes, of value sets and code systems, expanding one query may go through."""
VISIT = 20
"""What one definition costs besides, in codes."""
# Each may have megabytes.
_KEPT = 20


class Lookups:
    """What expanding one query looks up: each definition is read once, however many values, sets and filters ask for it.

    A tenant's value sets may include each other in as many ways as they like, and its code systems be of any size: what all of that
    costs is bounded here. TooCostly. `place` is the parameter that is being expanded.
    """

    def __init__(self, look: Look) -> None:
        self._look = look
        self._found: dict[tuple[str, str, str], list[dict[str, Any]]] = {}
        self._compiled: dict[int, tuple[dict[str, Any], CodeSystem]] = {}
        self._asked = self._codes = 0
        self.place: str | None = None

    def __call__(self, resource_type: str, parameter: str, value: str) -> list[dict[str, Any]]:
        """See `Look`."""
        question = resource_type, parameter, value
        found = self._found.get(question)
        if found is None:
            self._asked += 1
            if self._asked > LOOKED_UP:
                raise TooCostly("expanding this would look up too many resources", expression=self.place)
            found = self._look(*question)
            if len(self._found) < _KEPT:
                self._found[question] = found
        return found

    def go_through(self, codes: int) -> None:
        """Account for a definition, and as many codes of it."""
        self._codes += VISIT + codes
        if self._codes > GONE_THROUGH:
            raise TooCostly("expanding this would go through too many codes", expression=self.place)

    def complete(self, resource: dict[str, Any]) -> CodeSystem:
        """`complete`, once for each resource that was looked up."""
        if (kept := self._compiled.get(id(resource))) is not None:
            return kept[1]
        made = complete(resource)
        self.go_through(len(made.children))
        if len(self._compiled) < _KEPT:
            self._compiled[id(resource)] = resource, made
        return made


class CodeSystem(Struct, frozen=True, dict=True):
    """All codes of a code system, each with the codes directly below it."""

    url: str
    children: Mapping[str, frozenset[str]]

    def below(self, *codes: str) -> set[str]:
        """The codes themselves, and every code that they subsume."""
        return reached(map(self.spelt, codes), self.children)

    def above(self, *codes: str) -> set[str]:
        """The codes themselves, and every code that subsumes one of them."""
        return reached(map(self.spelt, codes), self._parents)

    @cached_property
    def _parents(self) -> Mapping[str, set[str]]:
        parents: dict[str, set[str]] = {}
        for parent, children in self.children.items():
            for child in children:
                parents.setdefault(child, set()).add(parent)
        return parents

    def has(self, code: str) -> bool:
        return self.spelt(code) in self.children

    def spelt(self, code: str) -> str:
        """The system's spelling of a code that differs in case only: codes compare without case in searches."""
        return code if code in self.children else self._folded.get(code.casefold(), code)

    @cached_property
    def _folded(self) -> Mapping[str, str]:
        return {code.casefold(): code for code in reversed(list(self.children))}


def reached(codes: Iterable[str], ways: Mapping[str, frozenset[str] | set[str]]) -> set[str]:
    """All codes that can be reached from some codes, these included."""
    found = set(codes)
    left = list(found)
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


def known(url: str, look: Lookups) -> CodeSystem | None:
    """The code system with a url, if all its concepts are here. A stored one never hides HL7's own."""
    own = built_in(url)
    if own is not None:
        return own
    stored = named("CodeSystem", url, look)
    return look.complete(stored) if stored and is_complete(stored) else None


def having(code: str, look: Lookups) -> list[CodeSystem]:
    """The code systems here that have a code, each url once."""
    found = {url: built_in(url) for url in definitions.code_systems_with(code)}
    # R4's parameter `code` only has the concepts at the top.
    for stored in filter(is_complete, look("CodeSystem", "content-mode", "complete")):
        if stored["url"] not in found and not definitions.code_system(stored["url"]):
            found[stored["url"]] = look.complete(stored)
    return [one for one in found.values() if one and one.has(code)]


def is_complete(resource: dict[str, Any]) -> bool:
    return resource.get("content") == "complete" and "url" in resource


@lru_cache(64)
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

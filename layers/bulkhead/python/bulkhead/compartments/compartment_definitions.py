"""CompartmentDefinitions (R4 compartmentdefinition.html): their content, their faults, and which of them is in force.

Among the definitions for one type of target, the one whose id is that type (`CompartmentDefinition/Organization`) wins;
otherwise the first, by id, with this `code`; otherwise R4's own. R4 binds `code` to its five compartments. Here it may be any
resource type, and does not count if the id is a type. A retired definition is not in force.

A definition names search parameters of R4 by their codes, and the project's own (see `own_parameters`). Binary has no parameter in R4:
`Binary.securityContext`, the path of the element, stands for one.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from bulkhead.errors import Issue, NotSupported, Unprocessable
from bulkhead.facts.expressions import types
from bulkhead.facts.security_context import BINARY, SECURITY_CONTEXT
from bulkhead.fhir import definitions, json
from bulkhead.fhir.definitions import SearchParameter

TYPE = "CompartmentDefinition"
ITSELF = "{def}"
RETIRED = "retired"

Lookup = Callable[[str, str], SearchParameter | None]
"""(type, code) -> the parameter that one of the project's own SearchParameters in force defines. NotSupported if nothing can evaluate it."""

# References within the resources that these carry are not their own: by-target has none of them.
_CARRIERS = frozenset({"Bundle", "Parameters"})
_CODE = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,63}")


@dataclass(frozen=True, slots=True)
class Definition:
    """A CompartmentDefinition as the server uses it."""

    code: str
    """The type of the resources that have such a compartment."""
    parameters: Mapping[str, frozenset[str]]
    """Resource type -> the search parameters that make a resource of it a member; `{def}` for the target itself."""
    search: bool = True
    url: str = ""
    """The canonical URL of the CompartmentDefinition."""
    name: str = ""
    """Its key, such as `CompartmentDefinition/patient`."""
    own: Mapping[str, Mapping[str, SearchParameter]] = field(default_factory=dict)
    """Resource type -> code -> of `parameters`, those that SearchParameters of the project's own define. See `own_parameters`."""

    @property
    def unknown(self) -> frozenset[tuple[str, str]]:
        """(resource type, code) of the parameters that R4 does not have: only a SearchParameter of the project's own can define them."""
        return frozenset(
            (name, code) for name, codes in self.parameters.items() for code in codes if not _is_r4(name, code)
        )

    @property
    def lists_itself(self) -> bool:
        return ITSELF in self.parameters.get(self.code, ())


Definitions = Mapping[str, Definition]
"""By the type of the target."""


@cache
def built_in() -> Definitions:
    """The five definitions of R4."""
    return {code: defined(resource) for code, resource in definitions.compartment_definitions().items()}


def deciding(stored: Iterable[Mapping[str, Any]]) -> Definitions:
    """The definitions in force if `stored` are the CompartmentDefinitions that clients have written, each once."""
    found = [
        resource
        for resource in stored
        if target_type(resource) in definitions.RESOURCE_TYPES
        and resource.get("status") != RETIRED
        and not _is_built_in(resource)
    ]
    # The definition that wins comes last: ids that are types after all others, and among the others the first by id.
    found.sort(key=lambda resource: str(resource["id"]), reverse=True)
    found.sort(key=lambda resource: resource["id"] in definitions.RESOURCE_TYPES)
    return {**built_in(), **{target_type(resource): defined(resource) for resource in found}}


def target_type(resource: Mapping[str, Any]) -> str:
    """The type of the resources that have the compartment: the definition's id if that is a type, otherwise its code."""
    identifier = resource.get("id", "")
    return str(identifier if identifier in definitions.RESOURCE_TYPES else resource.get("code", ""))


def defined(resource: Mapping[str, Any]) -> Definition:
    """The content of a CompartmentDefinition. Types without parameters are not in the compartment (R4)."""
    parameters: dict[str, frozenset[str]] = {}
    for entry in resource.get("resource", ()):
        named = frozenset(parameter for parameter in entry.get("param", ()) if parameter is not None)
        if named and "code" in entry:
            parameters[entry["code"]] = parameters.get(entry["code"], frozenset()) | named
    name = f"{TYPE}/{resource.get('id', '')}"
    return Definition(target_type(resource), parameters, resource.get("search", True), resource.get("url", ""), name)


def _is_r4(resource_type: str, code: str) -> bool:
    """Whether a parameter needs no SearchParameter; True for one that was stored before definitions were checked."""
    if code == ITSELF or (resource_type, code) == (BINARY, SECURITY_CONTEXT):
        return True
    return resource_type not in definitions.RESOURCE_TYPES or code in definitions.search_parameters(resource_type)


def _is_built_in(resource: Mapping[str, Any]) -> bool:
    """Whether a stored definition equals R4's own: a deletion restores it."""
    return any(_content(resource) == _content(own) for own in definitions.compartment_definitions().values())


def _content(resource: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in resource.items() if name != "meta"}


def check(resource: Mapping[str, Any], size: int) -> None:
    """Raises Unprocessable, with an issue at each type or parameter in a valid CompartmentDefinition that does not fit.

    Also for more than `size` bytes, because every process keeps all definitions. Parameters that R4 does not have are checked at the
    commit (`definition_writes`): the same commit may write the SearchParameter.
    """
    issues = list(faults(resource))
    if not issues and len(json.dumps(resource)) > size:
        issues = [_fault(f"a CompartmentDefinition may have at most {size} bytes", "resource")]
    if issues:
        raise Unprocessable(issues[0].diagnostics, issues=issues)


def faults(resource: Mapping[str, Any], look: Lookup | None = None) -> Iterator[Issue]:
    """Issues for the types and parameters in a valid CompartmentDefinition that do not fit.

    `look` finds the parameters that R4 does not have. Without it, and in a retired definition, these are not checked.
    """
    target = target_type(resource)
    if resource.get("code") not in definitions.RESOURCE_TYPES:
        yield _fault(f"{_named(resource.get('code'))} is not a resource type of R4", "code")
    if target not in definitions.RESOURCE_TYPES:
        return
    for n, entry in enumerate(resource.get("resource", ())):
        resource_type = entry.get("code")
        if resource_type not in definitions.RESOURCE_TYPES:
            yield _fault(f"{_named(resource_type)} is not a resource type of R4", f"resource[{n}].code")
            continue
        for m, code in enumerate(entry.get("param", ())):
            if code is None:
                continue
            if _is_r4(resource_type, code):
                fault = _r4_fault(target, resource_type, code)
            elif look is None or resource.get("status") == RETIRED:
                continue
            else:
                fault = own_fault(target, resource_type, code, look=look)
            if fault:
                yield _fault(fault, f"resource[{n}].param[{m}]")


def _r4_fault(target: str, resource_type: str, code: str) -> str | None:
    """The reason why resources of the type cannot be members of compartments of `target` through one of R4's; None if they can."""
    from bulkhead.facts.index_facts import only_patients

    if code == ITSELF:
        return (
            None if resource_type == target else f"{ITSELF} means the {target} itself: it is valid only for that type"
        )
    if code == SECURITY_CONTEXT:
        return None
    parameter = definitions.search_parameters(resource_type)[code]
    if parameter.type != "reference":
        return f"{parameter.code} of {resource_type} is not a reference"
    if not types(parameter.expression, resource_type) & {"Reference", "Resource"}:
        return f"{parameter.code} of {resource_type} holds canonical URLs, not references to resources on this server"
    targets = ("Patient",) if only_patients(parameter) else parameter.targets
    if targets and not {target, definitions.ANY_RESOURCE} & set(targets):
        return f"{parameter.code} of {resource_type} does not refer to resources of the type {target}"
    return None


def own_fault(target: str, resource_type: str, code: str, *, look: Lookup) -> str | None:
    """The same for a parameter that R4 does not have."""
    try:
        parameter = look(resource_type, code)
    except NotSupported as error:
        return str(error)
    if parameter is None:
        return (
            f"{_named(code)} is not a search parameter of {resource_type} in R4, and no SearchParameter that is in force "
            "for everybody defines it"
        )
    if parameter.type != "reference":
        return f"{code} of {resource_type} is not a reference"
    if resource_type in _CARRIERS:
        return (
            f"a {resource_type} is a member only through parameters of R4: its references are those of what it carries"
        )
    if not types(parameter.expression, resource_type) & {"Reference", "Extension"}:
        return f"{code} of {resource_type} does not hold references"
    if parameter.targets and target not in parameter.targets:
        return f"{code} of {resource_type} does not refer to resources of the type {target}"
    return None


def _named(code: str | None) -> str:
    """A code, if it looks like one, so that a message may repeat it."""
    return code if code and _CODE.fullmatch(code) else "this text"


def _fault(text: str, path: str) -> Issue:
    return Issue("code-invalid", text, f"{TYPE}.{path}")

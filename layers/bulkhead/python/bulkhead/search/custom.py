"""Search parameters that clients have defined: stored SearchParameter resources, as far as their expression compiles.

They work at once, for resources that were there before, too: they filter, and sort, and never lead, for no index knows them.
So they are best used with another parameter that does.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from bulkhead.compartments.governing import governs
from bulkhead.errors import Issue, NotSupported, Unprocessable
from bulkhead.facts.expressions import compiled, types
from bulkhead.facts.fhirpath import TooMuch
from bulkhead.fhir import definitions
from bulkhead.fhir.definitions import SearchParameter
from bulkhead.store.version import Fence

if TYPE_CHECKING:
    from bulkhead.store import Store

logger = logging.getLogger(__name__)

Custom = Callable[[str, str], SearchParameter | None]
"""(resource type, code) -> the parameter that clients have defined; None where there is none."""

_TYPES = frozenset({"token", "string", "date", "number", "quantity", "uri", "reference", "composite"})


def none(resource_type: str, code: str) -> SearchParameter | None:
    """Where nobody has defined any."""
    return None


def stored_in(store: Store, fence: Fence, tell: Callable[[Issue], None] | None = None) -> Custom:
    """Those that serve the searches of a caller with this `fence`. Asked only for codes that R4 does not have.

    What is in force for all wins over what a fenced caller's own tenant has defined; of several in force the first by id, and the log
    names the others and `tell` is told. What one tenant defines is nothing to the others.
    """
    from bulkhead.search import run
    from bulkhead.search.serving import serving

    def look(resource_type: str, code: str) -> SearchParameter | None:
        if code.startswith("_"):
            return None
        candidates = serving(store, fence, run.find, "SearchParameter", "code", code)
        defining = [one for one in candidates if defines(one.body, resource_type, code)]
        if len(in_force := [one.key for one in defining if governs(one.head)]) > 1:
            logger.warning("several SearchParameters are in force for one code", extra={"resources": in_force})
            if tell:
                text = (
                    f"{len(in_force)} SearchParameters in force define {code} of {resource_type}: {in_force[0]} decides"
                )
                tell(Issue("informational", text, code, severity="warning"))
        return usable(defining[0].body, resource_type, code) if defining else None

    return look


def defines(resource: dict[str, Any], resource_type: str, code: str) -> bool:
    """Whether a SearchParameter resource defines a parameter of a type, is in use, and is none of R4's own by its url."""
    if resource.get("code") != code or resource.get("status") != "active":
        return False
    if not {resource_type, "Resource", "DomainResource"} & set(resource.get("base", ())):
        return False
    return all(own.url != resource["url"] for own in definitions.search_parameters(resource_type).values())


def usable(resource: dict[str, Any], resource_type: str, code: str) -> SearchParameter | None:
    """The parameter that a SearchParameter resource defines for a type; None if it does not, or is not in use."""
    if not defines(resource, resource_type, code):
        return None
    kind, expression = resource.get("type"), resource.get("expression")
    components = tuple((one["definition"], one["expression"]) for one in resource.get("component", ()))
    if kind not in _TYPES or not expression or (kind == "composite" and not components):
        raise NotSupported(f"the SearchParameter {resource['id']} is of a kind that is not supported", expression=code)
    try:
        compiled(expression, resource_type)
        of_a_composite(components if kind == "composite" else (), types(expression, resource_type), resource_type)
    except (NotSupported, RecursionError):
        raise NotSupported(f"the expression of the SearchParameter {resource['id']} is not supported", code) from None
    return SearchParameter(
        code=code,
        url=resource["url"],
        type=kind,
        expression=expression,
        targets=tuple(name for name in resource.get("target", ()) if name in definitions.RESOURCE_TYPES),
        components=components if kind == "composite" else (),
    )


def require_bounded(resource: dict[str, Any]) -> None:
    """Unprocessable where an expression of a valid SearchParameter is too large, or would compile to too much: the message says what.

    What this server does not evaluate may be stored all the same: it is refused to whoever searches by it.
    """
    issues = []
    bases = [name for name in dict.fromkeys(resource.get("base", ())) if name in definitions.RESOURCE_TYPES]
    given = [("SearchParameter.expression", resource.get("expression", ""))]
    for n, component in enumerate(resource.get("component", ())):
        given.append((f"SearchParameter.component[{n}].expression", component.get("expression", "")))
    for place, expression in given:
        try:
            for context in bases if expression else ():
                is_supported(expression, context)
        except TooMuch as error:
            issues.append(Issue(Unprocessable.code, str(error), place))
    if issues:
        raise Unprocessable(issues[0].diagnostics, issues=issues)


def is_supported(expression: str, context: str) -> bool:
    """Whether an expression about a type compiles. TooMuch beyond the bounds."""
    try:
        compiled(expression, context)
    except TooMuch:
        raise
    except NotSupported:
        return False
    return True


def of_a_composite(components: Iterable[tuple[str, str]], contexts: Iterable[str], resource_type: str) -> None:
    """NotSupported where a component is not by one of R4's parameters, or its expression does not compile."""
    known = {parameter.url for parameter in definitions.search_parameters(resource_type).values()}
    for url, expression in components:
        if url not in known:
            raise NotSupported("a component is defined by no parameter of R4")
        for context in contexts:
            compiled(expression, context)

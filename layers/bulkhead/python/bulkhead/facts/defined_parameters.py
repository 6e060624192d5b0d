"""Search parameters that SearchParameter resources define: what one defines for a type, and whether this server can evaluate it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from bulkhead.errors import NotSupported
from bulkhead.facts.expressions import compiled, types
from bulkhead.fhir import definitions
from bulkhead.fhir.definitions import SearchParameter

TYPES = frozenset({"token", "string", "date", "number", "quantity", "uri", "reference", "composite"})
"""The types of parameters that this server evaluates."""


def defines(resource: dict[str, Any], resource_type: str, code: str) -> bool:
    """Whether a SearchParameter resource defines a parameter of a type, is in use, and does not have the url of one of R4's.

    One without a code or a url, which says by an extension why it has none, defines nothing.
    """
    if resource.get("code") != code or resource.get("status") != "active" or "url" not in resource:
        return False
    if not {resource_type, "Resource", "DomainResource"} & set(resource.get("base", ())):
        return False
    return all(own.url != resource["url"] for own in definitions.search_parameters(resource_type).values())


def usable(resource: dict[str, Any], resource_type: str, code: str) -> SearchParameter | None:
    """The parameter that a SearchParameter resource defines for a type; None if it does not, or is not in use."""
    if not defines(resource, resource_type, code):
        return None
    kind, expression = resource.get("type"), resource.get("expression")
    named = f"the SearchParameter {resource.get('id', code)}"
    components = tuple((one.get("definition", ""), one.get("expression", "")) for one in resource.get("component", ()))
    if kind not in TYPES or not expression or (kind == "composite" and not components):
        raise NotSupported(f"{named} has a type that is not supported", expression=code)
    try:
        compiled(expression, resource_type)
        of_a_composite(components if kind == "composite" else (), types(expression, resource_type), resource_type)
    except (NotSupported, RecursionError):
        raise NotSupported(f"the expression of {named} is not supported", code) from None
    return SearchParameter(
        code=code,
        url=resource["url"],
        type=kind,
        expression=expression,
        targets=tuple(name for name in resource.get("target", ()) if name in definitions.RESOURCE_TYPES),
        components=components if kind == "composite" else (),
    )


def of_a_composite(components: Iterable[tuple[str, str]], contexts: Iterable[str], resource_type: str) -> None:
    """Raises NotSupported where a component is not one of R4's parameters, or its expression does not compile."""
    known = {parameter.url for parameter in definitions.search_parameters(resource_type).values()}
    for url, expression in components:
        if url not in known:
            raise NotSupported("a component is not defined by a parameter of R4")
        for context in contexts:
            compiled(expression, context)

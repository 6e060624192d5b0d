"""Search parameters that clients have defined: stored SearchParameter resources, as far as their expression compiles.

They work at once, for resources that were there before, too: they filter, and sort, and never lead, for no index knows them.
So they are best used with another parameter that does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from bulkhead import definitions
from bulkhead.definitions import SearchParameter
from bulkhead.errors import NotSupported
from bulkhead.search.candidate import Candidate, Fence, everything
from bulkhead.search.expressions import compiled, types

if TYPE_CHECKING:
    from bulkhead.store import Store

Custom = Callable[[str, str], SearchParameter | None]
"""(resource type, code) -> the parameter that clients have defined; None where there is none."""

MOST = 20
"""The most SearchParameters with one code that are looked at."""
_TYPES = frozenset({"token", "string", "date", "number", "quantity", "uri", "reference", "composite"})


def none(resource_type: str, code: str) -> SearchParameter | None:
    """Where nobody has defined any."""
    return None


def stored_in(store: Store, fence: Fence = everything) -> Custom:
    """Those of a store that carry no account, and those that the caller may see. Asked only for codes that R4 does not have.

    So what one tenant defines is nothing to the others, and what the server's owner defines is for all.
    """
    from bulkhead.search import run
    from bulkhead.search.literals import escape
    from bulkhead.search.parse import parse

    def shared(candidate: Candidate) -> bool:
        return not candidate.head.accounts or fence(candidate)

    def look(resource_type: str, code: str) -> SearchParameter | None:
        if code.startswith("_"):
            return None
        query = parse([("code", escape(code))], "SearchParameter")
        found = sorted(run.find(store, query, MOST, shared), key=lambda one: one.key)
        return next((one for each in found if (one := usable(each.body, resource_type, code))), None)

    return look


def usable(resource: dict[str, Any], resource_type: str, code: str) -> SearchParameter | None:
    """The parameter that a SearchParameter resource defines for a type; None if it does not, or is not in use."""
    if resource.get("code") != code or resource.get("status") != "active":
        return None
    if not {resource_type, "Resource", "DomainResource"} & set(resource.get("base", ())):
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


def of_a_composite(components: Iterable[tuple[str, str]], contexts: Iterable[str], resource_type: str) -> None:
    """NotSupported where a component is not by one of R4's parameters, or its expression does not compile."""
    known = {parameter.url for parameter in definitions.search_parameters(resource_type).values()}
    for url, expression in components:
        if url not in known:
            raise NotSupported("a component is defined by no parameter of R4")
        for context in contexts:
            compiled(expression, context)

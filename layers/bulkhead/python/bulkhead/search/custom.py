"""Search parameters that clients have defined: stored SearchParameter resources whose expression compiles.

They apply at once, to older resources too. They filter and sort but never lead, because no index has them.
So they work best together with a parameter that leads.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from bulkhead.compartments.governing import governs
from bulkhead.errors import Issue, NotSupported, Unprocessable
from bulkhead.facts.defined_parameters import TYPES, defines, usable
from bulkhead.facts.expressions import compiled
from bulkhead.fhir import definitions
from bulkhead.fhir.definitions import SearchParameter
from bulkhead.fhir.fhirpath import TooMuch
from bulkhead.search import run
from bulkhead.search.query import Custom
from bulkhead.search.serving import serving
from bulkhead.store.version import Fence

if TYPE_CHECKING:
    from bulkhead.store import ReadStore

logger = logging.getLogger(__name__)


def stored_in(store: ReadStore, fence: Fence, tell: Callable[[Issue], None] | None = None) -> Custom:
    """The parameters that serve the searches of a caller with this `fence`. Called only for codes that R4 does not have.

    A parameter that is in force for all wins over one of a fenced caller's own tenant. If several are in force, the first by id wins; the
    log names the others, and `tell` gets a note. Parameters of one tenant do not affect others.
    """

    def look(resource_type: str, code: str) -> SearchParameter | None:
        if code.startswith("_"):
            return None
        candidates = serving(store, fence, run.find, resource_type="SearchParameter", parameter="code", value=code)
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


def too_costly(resource: dict[str, Any]) -> list[Issue]:
    """An issue for each expression of a valid SearchParameter that is too large, or would compile to too much: it may not be stored.

    One that this server cannot evaluate may be: see `unsupported`.
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
    return issues


def unsupported(resource: dict[str, Any]) -> list[Issue]:
    """A warning where this server cannot evaluate a valid SearchParameter for one of its types: a search that uses it is refused.

    None for one that is not in use: see `defines`.
    """
    code = resource.get("code", "")
    try:
        for base in resource.get("base", ()):
            usable(resource, base, code)
    except NotSupported as error:
        text = f"{error.issues[0].diagnostics}: it may be stored, and searches by {code} are refused"
        place = "expression" if resource.get("type") in TYPES else "type"
        return [Issue("not-supported", text, f"SearchParameter.{place}", severity="warning")]
    return []


def is_supported(expression: str, context: str) -> bool:
    """Whether an expression about a type compiles. TooMuch beyond the bounds."""
    try:
        compiled(expression, context)
    except TooMuch:
        raise
    except NotSupported:
        return False
    return True

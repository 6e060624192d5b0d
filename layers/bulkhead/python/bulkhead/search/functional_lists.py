"""The lists that R4 names by what they are for: `$current-medications` and its kin (R4 lifecycle.html#lists)."""

from __future__ import annotations

from collections.abc import Mapping

from bulkhead.errors import BadRequest
from bulkhead.search.query import UriValue

_LOINC, _USES = "http://loinc.org", "http://terminology.hl7.org/CodeSystem/list-example-use-codes"

CODES: Mapping[str, tuple[str, ...]] = {
    "$current-medications": (f"{_LOINC}|10160-0", f"{_USES}|medications"),
    "$current-problems": (f"{_LOINC}|11450-4", f"{_USES}|problems"),
    "$current-allergies": (f"{_LOINC}|48765-2", f"{_USES}|allergies"),
    "$current-drug-allergies": (f"{_LOINC}|11382-9",),
}
"""By the name of a functional list, what `List.code` has to be, as token parameters."""


def named(text: str, place: str) -> UriValue:
    """The name of a functional list as a value. BadRequest at `place` for a name that is none."""
    if text not in CODES:
        raise BadRequest(f"there is no such functional list; there are {', '.join(CODES)}", place)
    return UriValue(text)

"""R4's functional lists: `$current-medications` and similar names (R4 lifecycle.html#lists)."""

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
"""The `List.code` of each functional list, as token parameters, by its name."""


def named(text: str, place: str) -> UriValue:
    """The name of a functional list as a value. BadRequest at `place` for another name."""
    if text not in CODES:
        raise BadRequest(f"this is not the name of a functional list: use one of {', '.join(CODES)}", place)
    return UriValue(text)

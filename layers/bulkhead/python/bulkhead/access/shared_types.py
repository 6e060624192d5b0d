"""Types that are shared: what of them carries no account is read under every fence. Semantics, section 3; the setting SHARED_TYPES."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

from bulkhead.compartments.compartment_definitions import built_in
from bulkhead.facts.audit_names import AUDIT_EVENT
from bulkhead.facts.security_context import BINARY
from bulkhead.fhir import definitions

if TYPE_CHECKING:
    from bulkhead.store import Head

_PATIENT = "Patient"
_OFF = "off"


@lru_cache(maxsize=8)
def shared_types(text: str) -> frozenset[str]:
    """The types that a setting such as `Organization,Practitioner`, or `off`, names.

    ValueError for what is no type of R4, and for types of patients' own data: these of R4's Patient compartment, Binary and AuditEvent.
    """
    names = {word for part in text.split(",") if (word := part.strip())} - {_OFF}
    unknown = sorted(names - definitions.RESOURCE_TYPES)
    if unknown:
        raise ValueError(
            f"SHARED_TYPES has {', '.join(unknown)}: it takes resource types of R4, separated by commas, or off"
        )
    private = sorted(name for name in names if name in {BINARY, AUDIT_EVENT} or _is_of_patients(name))
    if private:
        raise ValueError(f"SHARED_TYPES has {', '.join(private)}: data of patients cannot be shared with every caller")
    return frozenset(names)


def _is_of_patients(resource_type: str) -> bool:
    return bool(built_in()[_PATIENT].parameters.get(resource_type))


def is_shared(head: Head, types: frozenset[str]) -> bool:
    """Whether a resource is read by all whose scopes allow its type: it is of a shared type, and carries no account.

    One whose last account has ended by the clock stays closed until somebody decides anew who has it (`Head.open`).
    """
    return head.type in types and head.open and not head.deleted

"""The rules that decide about access, by name, and what deciding comes to. `docs/sharing.md` says each in a sentence."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

CREATE, READ, UPDATE, DELETE, SEARCH = "c", "r", "u", "d", "s"


class Rule(StrEnum):
    """What opens a resource to a caller, or closes it. The values are part of the API (`$explain-access`)."""

    # These open.
    UNFENCED = "unfenced"
    ACCOUNT = "account"
    PATIENT_COMPARTMENT = "patient-compartment"
    ACCOUNT_AND_COMPARTMENT = "account-and-patient-compartment"
    AUDIT_ENTITIES = "audit-entities"
    SHARED_TYPE = "shared-type"
    SECURITY_CONTEXT = "security-context"
    # These close.
    NO_SCOPE = "no-scope"
    SCOPE_QUERY = "scope-query"
    GOVERNS_THE_SERVER = "governs-the-server"
    NO_ACCOUNT = "no-account"
    OUTSIDE_COMPARTMENT = "outside-patient-compartment"
    HIDDEN_ENTITIES = "hidden-audit-entities"
    SHARED_READ_ONLY = "shared-read-only"
    NEVER_CHANGED = "audit-never-changed"
    # This says neither, to whoever may not know.
    HIDDEN_FROM_ASKER = "hidden-from-you"


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a caller has a right on a resource, and the rule that says so."""

    opens: bool
    rule: Rule


UNFENCED = Verdict(True, Rule.UNFENCED)
ACCOUNT = Verdict(True, Rule.ACCOUNT)
PATIENT_COMPARTMENT = Verdict(True, Rule.PATIENT_COMPARTMENT)
ACCOUNT_AND_COMPARTMENT = Verdict(True, Rule.ACCOUNT_AND_COMPARTMENT)
AUDIT_ENTITIES = Verdict(True, Rule.AUDIT_ENTITIES)
SHARED_TYPE = Verdict(True, Rule.SHARED_TYPE)
SECURITY_CONTEXT = Verdict(True, Rule.SECURITY_CONTEXT)
NO_SCOPE = Verdict(False, Rule.NO_SCOPE)
SCOPE_QUERY = Verdict(False, Rule.SCOPE_QUERY)
GOVERNS_THE_SERVER = Verdict(False, Rule.GOVERNS_THE_SERVER)
NO_ACCOUNT = Verdict(False, Rule.NO_ACCOUNT)
OUTSIDE_COMPARTMENT = Verdict(False, Rule.OUTSIDE_COMPARTMENT)
HIDDEN_ENTITIES = Verdict(False, Rule.HIDDEN_ENTITIES)
SHARED_READ_ONLY = Verdict(False, Rule.SHARED_READ_ONLY)
NEVER_CHANGED = Verdict(False, Rule.NEVER_CHANGED)
HIDDEN_FROM_ASKER = Verdict(False, Rule.HIDDEN_FROM_ASKER)
"""Told in place of a verdict that depends on what the one who asks may not read. No fence comes to it."""

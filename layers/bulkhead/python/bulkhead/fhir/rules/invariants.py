"""R4's constraints of severity error as rules. `CORRECTED` lists those that differ from HL7's text, with the reason.

The setting UNCHECKED_INVARIANTS names the constraints that a site turns off."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from typing import Any, NamedTuple

from bulkhead.fhir import definitions, site
from bulkhead.fhir.definitions.tables import all_constraints
from bulkhead.fhir.invariants.compiling import Environment, compile_constraint
from bulkhead.fhir.rules.faults import INVARIANT, Fault, Faults, Rule, Scope

CORRECTED: Mapping[str, str] = {
    # R4's expression gives no answer for an entry without fullUrl, and so refuses it; R5 corrects it like this.
    "bdl-8": "fullUrl.empty() or fullUrl.contains('/_history/').not()",
    # R4's expression gives no answer for a prediction without probability; two of HL7's own examples have none.
    "ras-2": "probability.empty() or (probability is decimal implies (probability as decimal) <= 100)",
}
"""The corrected expressions by key. For per-1, mdd-1 and inv-1 see `values.compare`."""


QUICKER: Mapping[str, str] = {
    # HL7's expression evaluates the type of the bundle again for every entry.
    "bdl-3": "iif(type = 'batch' or type = 'transaction' or type = 'history', entry.all(request.exists()), entry.request.empty())",
    # Only the type of a reference's target is known: see `values.resolved`.
    "ctm-1": "onBehalfOf.exists() implies (member.resolve().empty() or member.resolve().ofType(Practitioner).exists())",
    "bdl-4": "iif(type = 'batch-response' or type = 'transaction-response' or type = 'history', entry.all(response.exists()), "
    "entry.response.empty())",
}
"""Equivalent forms of constraints that cost less or use less of FHIRPath."""

_INSTEAD = {**CORRECTED, **QUICKER}


TXT_2 = "txt-2"
"""The one constraint that is checked in code (`narrative`), and can be turned off."""


class Invariant(NamedTuple):
    holds: Callable[[Any, Environment], bool]
    faults: Faults


@cache
def invariants_of(path: str, type_name: str) -> tuple[Invariant, ...]:
    """The constraints of a type or an element whose values are of the type `type_name`, without those that the site turns off."""
    unchecked = unchecked_invariants()
    return tuple(
        Invariant(
            compile_constraint(_INSTEAD.get(one.key, one.expression), type_name),
            [Fault(INVARIANT, f"{one.human.rstrip(' .')} ({one.key})")],
        )
        for one in definitions.constraints(path)
        if one.key not in unchecked
    )


def unchecked_invariants() -> frozenset[str]:
    """The keys in the setting UNCHECKED_INVARIANTS. ValueError, as for `unchecked`."""
    return unchecked(site.unchecked_invariants())


@cache
def unchecked(text: str) -> frozenset[str]:
    """The keys in a text such as `ait-1, txt-2`. ValueError for a key that is none of those which can be turned off."""
    keys = frozenset(key.strip() for key in text.split(",")) - {""}
    unknown = sorted(keys - {TXT_2} - {one.key for listed in all_constraints().values() for one in listed})
    if unknown:
        raise ValueError(
            f"UNCHECKED_INVARIANTS names {', '.join(map(repr, unknown))}; "
            "each of its keys must be that of a constraint of R4 which the server can do without, such as ait-1"
        )
    return keys


def broken(invariants: tuple[Invariant, ...], value: Any, scope: Scope) -> Faults | None:
    """The faults for the invariants that an otherwise valid value breaks."""
    scope.context = value
    found: Faults | None = None
    for holds, faults in invariants:
        if not holds(value, scope):
            found = [*(found or ()), *faults]
    return found


def invariant_rule(rule: Rule, invariants: tuple[Invariant, ...]) -> Rule:
    """Adds the constraints on one element to the rule for its values."""
    if not invariants:
        return rule

    def check(value: Any, scope: Scope) -> Faults | None:
        return rule(value, scope) or broken(invariants, value, scope)

    return check

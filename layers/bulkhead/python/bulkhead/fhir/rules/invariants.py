"""R4's constraints of severity error as rules. `CORRECTED` says where they are not what HL7 wrote, and why.

The setting UNCHECKED_INVARIANTS names those that a site does without."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from typing import Any, NamedTuple

from bulkhead import settings
from bulkhead.fhir import definitions
from bulkhead.fhir.invariants.compiling import Environment, compile_constraint
from bulkhead.fhir.rules.faults import INVARIANT, Fault, Faults, Rule, Scope

CORRECTED: Mapping[str, str] = {
    # R4's expression gives no answer where there is no fullUrl, and so refuses every such entry; R5 corrects it like this.
    "bdl-8": "fullUrl.empty() or fullUrl.contains('/_history/').not()",
    # No answer where a prediction has no probability, as two of HL7's own examples have none.
    "ras-2": "probability.empty() or (probability is decimal implies (probability as decimal) <= 100)",
}
"""Expressions that HL7 got wrong in R4, by key, as they are meant. per-1, mdd-1 and inv-1: see `values.compare`."""


QUICKER: Mapping[str, str] = {
    # As HL7 has them, every entry asks for the type of the bundle again.
    "bdl-3": "iif(type = 'batch' or type = 'transaction' or type = 'history', entry.all(request.exists()), entry.request.empty())",
    # Of where a reference leads only the type is known: see `values.resolved`.
    "ctm-1": "onBehalfOf.exists() implies (member.resolve().empty() or member.resolve().ofType(Practitioner).exists())",
    "bdl-4": "iif(type = 'batch-response' or type = 'transaction-response' or type = 'history', entry.all(response.exists()), "
    "entry.response.empty())",
}
"""The same constraints, said in a way that costs less, or in less of FHIRPath."""

_INSTEAD = {**CORRECTED, **QUICKER}


class Invariant(NamedTuple):
    holds: Callable[[Any, Environment], bool]
    faults: Faults


@cache
def invariants_of(path: str, type_name: str) -> tuple[Invariant, ...]:
    """The constraints of a type or an element, whose values are of the type `type_name`; without those that the site does without."""
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
    """The keys in the setting UNCHECKED_INVARIANTS."""
    return frozenset(key.strip() for key in settings.current().unchecked_invariants.split(","))


def broken(invariants: tuple[Invariant, ...], value: Any, scope: Scope) -> Faults | None:
    """The faults of those that a value, valid otherwise, does not meet."""
    scope.context = value
    found: Faults | None = None
    for holds, faults in invariants:
        if not holds(value, scope):
            found = [*(found or ()), *faults]
    return found


def invariant_rule(rule: Rule, invariants: tuple[Invariant, ...]) -> Rule:
    """Adds the constraints that stand at one element to the rule of its values."""
    if not invariants:
        return rule

    def check(value: Any, scope: Scope) -> Faults | None:
        return rule(value, scope) or broken(invariants, value, scope)

    return check

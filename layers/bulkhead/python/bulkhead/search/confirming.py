"""Counts what points at one Patient, or has one code, from keys.

What a driver lists are hints: nothing that matches is missing, but entries that writers left behind are among them. What the heads themselves say
(`store.head_counts`) is true, but says one Patient and one code of each. What both list is a match, and is counted without being read. The
rest is read, as a scan reads it: a second Patient, one of several codings, what has moved, what is no more.

The entries are listed first: what is made in between counts another time, and what ceases to match meanwhile is read.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from msgspec import structs

from bulkhead.compartments.compartment_definitions import TYPE as DEFINITIONS
from bulkhead.errors import TooCostly
from bulkhead.facts import care_dates
from bulkhead.parallel import chunks
from bulkhead.search.drivers import Created, Driver, Position, Updated
from bulkhead.search.leading import planned
from bulkhead.search.query import Clause, Query, ReferenceValue, TokenValue
from bulkhead.search.scan import LISTED
from bulkhead.store import keys
from bulkhead.store.version import is_open

if TYPE_CHECKING:
    from bulkhead.compartments.membership import Definition
    from bulkhead.search.run import Scanner
    from bulkhead.store import ReadStore

ENTRIES = 5_000
"""Entries of one listing: more than a page of the index has."""
FEW = 10
"""So few resources are read at once."""
PATIENT = "Patient"

Confirmed = Callable[["ReadStore", int], set[str]]
"""Resources whose heads say that they match, `limits.names` of them at most: the others are to be read."""


def from_keys(scanner: Scanner) -> int | None:
    """The number of all matches of a search with exactly one condition: a Patient, by a reference or as a compartment, or a code.

    None for any other search, for a caller who may not see all of the types, and in a table whose heads do not say what it takes.
    TooCostly; `widening.Replacing` where the Patient replaces others.
    """
    query, plan = scanner.query, scanner.plan
    confirmed = _of_compartment(query, plan.membership) if query.compartment else _of_clause(query)
    if confirmed is None or not _sees_all(scanner) or not scanner.store.heads_can_count():
        return None
    if query.results.sort:
        results = structs.replace(query.results, sort=(), cursor=None)
        plan = planned(scanner.store, structs.replace(query, results=results), plan.membership)
    if plan.filtered or isinstance(plan.driver, (Created, Updated)):
        return None
    if not _is_visible(scanner):
        return 0
    return _counted(replace(scanner, plan=plan), _listed(scanner, plan.driver), confirmed)


def _counted(scanner: Scanner, names: set[str], confirmed: Confirmed) -> int:
    """How many of `names` match."""
    sure = confirmed(scanner.store, scanner.limits.names) & names if len(names) > FEW else set()
    left = sorted(names - sure)
    if len(left) > scanner.limits.counted:
        raise too_many(scanner.query)
    total = len(sure)
    for part in chunks(left, LISTED):
        heads = scanner.store.read_many(part)
        scanner.prepare(heads.values())
        total += sum(1 for key in part if scanner.admitted(heads.get(key)))
    return total


def _listed(scanner: Scanner, driver: Driver) -> set[str]:
    """All that a driver lists. It reads no head."""
    names: set[str] = set()
    after: Position | None = None
    for _ in range(max(scanner.limits.names // ENTRIES, 1)):
        listing = driver.list(scanner.store, after, ENTRIES)
        names.update(hint.key for hint in listing.hints)
        after = listing.next
        if after is None:
            return names
    raise too_many(scanner.query)


def too_many(query: Query) -> TooCostly:
    return too_costly("counting", "_total" if query.results.total else "_summary")


def too_costly(doing: str, expression: str | None = None) -> TooCostly:
    return TooCostly(
        f"{doing} would read too many resources: narrow the search with more parameters", expression=expression
    )


def _is_visible(scanner: Scanner) -> bool:
    """Whether the compartment is there for the caller; it is where the search names none. Raises Replacing as a scan does (`looked_at`)."""
    compartment, named = scanner.query.compartment, scanner.named.take()
    wanted = dict.fromkeys((*named, *([compartment] if compartment else [])))
    heads = scanner.store.read_many(wanted) if wanted else {}
    if compartment and not scanner.visible(heads.get(compartment)):
        return False
    scanner.looked_at(named, heads)
    return True


def _sees_all(scanner: Scanner) -> bool:
    """Whether the caller may see every resource of the types that are asked for."""
    its = scanner.plan.membership
    types = scanner.query.types or (tuple(its.parameters) if its else ())
    return bool(types) and DEFINITIONS not in types and all(is_open(scanner.fence, name) for name in types)


def _of_compartment(query: Query, its: Definition | None) -> Confirmed | None:
    """Members of the compartment of one Patient, without any other condition."""
    if its is None or len(query.compartments) > 1 or query.clauses or query.chains or its.own:
        return None
    patient, kind = query.compartments[0], query.types[0] if len(query.types) == 1 else None
    if not patient.startswith(f"{PATIENT}/"):
        return None
    return lambda store, most: {
        key
        for key, via in store.heads_pointing_at(patient, kind, most=most).items()
        if not via.isdisjoint(its.parameters.get(key.partition("/")[0], ()))
    }


def _of_clause(query: Query) -> Confirmed | None:
    """Resources of one type that meet one condition: that they point at a Patient, or have a code."""
    if len(query.types) != 1 or len(query.clauses) != 1 or query.chains:
        return None
    clause = query.clauses[0]
    if clause.modifier is not None or len(clause.values) != 1:
        return None
    match clause.values[0]:
        case ReferenceValue() as value if clause.of_targets and value.id and value.type in (None, PATIENT):
            return _of_patient(query.types[0], clause.parameter.code, f"{PATIENT}/{value.id}")
        case TokenValue(code=str(code)) as value if code and _is_of_care(query.types[0], clause):
            return _of_code(query.types[0], clause.parameter.code, value)
    return None


def _is_of_care(resource_type: str, clause: Clause) -> bool:
    """Whether a clause is about the code by which counts know resources of a type."""
    return clause.parameter == care_dates.code_parameter(resource_type)


def _of_patient(resource_type: str, code: str, patient: str) -> Confirmed:
    return lambda store, most: {
        key for key, via in store.heads_pointing_at(patient, resource_type, most=most).items() if code in via
    }


def _of_code(resource_type: str, parameter: str, value: TokenValue) -> Confirmed:
    code = (value.code or "").casefold()
    system = None if value.system is None else keys.limited(value.system, keys.SORT_LIMIT)
    return lambda store, most: {
        key
        for key, its in store.heads_with_code(resource_type, parameter, code, most=most).items()
        if system is None or its == system
    }

"""Counts what points at a Patient, or has a code, from keys.

What a driver lists are hints: nothing that matches is missing, but entries that writers left behind are among them. What the heads themselves say
(`store.head_counts`) is true, but says one Patient and one code of each. What both list is a match, and is counted without being read. The
rest is read, as a scan reads it: a second Patient, one of several codings, what has moved, what is no more.

The entries are listed first: what is made in between counts another time, and what ceases to match meanwhile is read.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from bulkhead.compartments.compartment_definitions import TYPE as DEFINITIONS
from bulkhead.errors import TooCostly
from bulkhead.facts import care_dates
from bulkhead.parallel import chunks
from bulkhead.search.drivers import Created, Position, Updated
from bulkhead.search.query import ReferenceValue, TokenValue
from bulkhead.search.scan import LISTED, Scan
from bulkhead.store import keys
from bulkhead.store.version import is_open

if TYPE_CHECKING:
    from bulkhead.compartments.membership import Definition

ENTRIES = 5_000
"""Entries of one listing: more than a page of the index has."""
FEW = 10
"""So few resources are read at once."""
PATIENT = "Patient"

Confirmed = Callable[[int], set[str]]
"""The resources, so many of them at most, whose heads say that they match: the others are to be read."""


def confirmed(scan: Scan) -> Confirmed | None:
    """What the heads say about a search with exactly one condition: Patients, by a reference or as a compartment, or codes.

    None for any other search, for a caller who may not see all of the types, and in a table whose heads do not say it.
    """
    its = scan.plan.membership
    by_heads = _of_compartment(scan, its) if scan.query.compartment else _of_clause(scan)
    return by_heads if by_heads and _sees_all(scan) and scan.store.heads_can_count() else None


def count(scan: Scan, by_heads: Confirmed, *, listed: int, read: int, refusal: TooCostly) -> int | None:
    """The number of all matches of a search that `by_heads` knows (see `confirmed`), in whatever order they come; None where no index leads to them alone.

    `refusal` is raised where that takes more than `listed` entries or `read` heads; `widening.Replacing` where the Patient replaces others.
    """
    if scan.plan.filtered or isinstance(scan.plan.driver, (Created, Updated)):
        return None
    if not _is_visible(scan):
        return 0
    names = _listed(scan, most=listed)
    if names is None:
        raise refusal
    sure = by_heads(listed) & names if len(names) > FEW else set()
    left = sorted(names - sure)
    if len(left) > read:
        raise refusal
    total = len(sure)
    for part in chunks(left, LISTED):
        heads = scan.store.read_many(part)
        scan.prepare(heads.values())
        total += sum(1 for key in part if scan.admitted(heads.get(key)))
    return total


def _listed(scan: Scan, *, most: int) -> set[str] | None:
    """All that the driver lists; None where that takes more than about `most` entries. It reads no head."""
    names: set[str] = set()
    after: Position | None = None
    for _ in range(max(most // ENTRIES, 1)):
        listing = scan.plan.driver.list(scan.store, after, ENTRIES)
        names.update(hint.key for hint in listing.hints)
        after = listing.next
        if after is None:
            return names
    return None


def _is_visible(scan: Scan) -> bool:
    """Whether the compartment is there for the caller; it is where the search names none. Raises Replacing as a scan does (`looked_at`)."""
    compartment, named = scan.query.compartment, scan.named.take()
    wanted = dict.fromkeys((*named, *([compartment] if compartment else [])))
    heads = scan.store.read_many(wanted) if wanted else {}
    if compartment and not scan.visible(heads.get(compartment)):
        return False
    scan.looked_at(named, heads)
    return True


def _sees_all(scan: Scan) -> bool:
    """Whether the caller may see every resource of the types that are asked for."""
    its = scan.plan.membership
    types = scan.query.types or (tuple(its.parameters) if its else ())
    return bool(types) and DEFINITIONS not in types and all(is_open(scan.fence, name) for name in types)


def _of_compartment(scan: Scan, its: Definition | None) -> Confirmed | None:
    """Members of the compartment of a Patient, and of those that it replaces, without any other condition."""
    query = scan.query
    if its is None or its.code != PATIENT or its.own or query.clauses or query.chains:
        return None
    return _any_of([_pointing_at(scan, patient, its.parameters) for patient in query.compartments])


def _of_clause(scan: Scan) -> Confirmed | None:
    """Resources of one type that meet one condition: that they point at one of some Patients, or have one of some codes."""
    query = scan.query
    if len(query.types) != 1 or len(query.clauses) != 1 or query.chains:
        return None
    clause, (resource_type,) = query.clauses[0], query.types
    if clause.of_targets:
        via = {resource_type: frozenset({clause.parameter.code})}
        people = [value.id for value in clause.values if isinstance(value, ReferenceValue) and _may_be_patient(value)]
        return _any_of([_pointing_at(scan, f"{PATIENT}/{one}", via) for one in people])
    if clause.of_tokens and clause.parameter == care_dates.code_parameter(resource_type):
        tokens = [value for value in clause.values if isinstance(value, TokenValue)]
        return _any_of([_with_code(scan, clause.parameter.code, one) for one in tokens if one.code])
    return None


def _may_be_patient(value: ReferenceValue) -> bool:
    return value.type in (None, PATIENT)


def _any_of(found: Sequence[Confirmed]) -> Confirmed | None:
    """What meets one of several conditions at least. Those that are left out here are left to the heads."""
    return (lambda most: set().union(*(one(most) for one in found))) if found else None


def _pointing_at(scan: Scan, patient: str, via: Mapping[str, frozenset[str]]) -> Confirmed:
    """Those that point at a Patient by one of the parameters that `via` has of their type."""
    store, kind = scan.store, scan.query.types[0] if len(scan.query.types) == 1 else None
    return lambda most: {
        key
        for key, its in store.heads_pointing_at(patient, kind, most=most).items()
        if not its.isdisjoint(via.get(key.partition("/")[0], ()))
    }


def _with_code(scan: Scan, parameter: str, value: TokenValue) -> Confirmed:
    """Those that have a code, of one system or of any."""
    store, (resource_type,), code = scan.store, scan.query.types, (value.code or "").casefold()
    system = None if value.system is None else keys.limited(value.system, keys.SORT_LIMIT)
    return lambda most: {
        key
        for key, its in store.heads_with_code(resource_type, parameter, code, most=most).items()
        if system is None or its == system
    }

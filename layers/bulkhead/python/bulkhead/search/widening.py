"""Who searches by a Patient is answered for the Patients, too, whom that one replaces (see `bulkhead.compartments.patient_links`).

Hardly any Patient replaces another: so a search is begun as it was asked, and the heads of the Patients that it names are
read along with its first candidates. Only where one of them replaces somebody it is begun anew, with more values. What
the first page has found out holds for all: its cursor carries it on.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from msgspec import structs

from bulkhead.search.query import Clause, Query, ReferenceValue, Value
from bulkhead.store.version import Version

PATIENT = "Patient"


class Replacing(Exception):
    """Of the Patients that a search names, these replace others."""

    def __init__(self, patients: Sequence[Version]) -> None:
        super().__init__()
        self.patients = patients


@dataclass
class Named:
    """The Patients that a search names, until somebody has looked at them."""

    keys: tuple[str, ...] = ()

    def take(self) -> tuple[str, ...]:
        keys, self.keys = self.keys, ()
        return keys


def named(query: Query) -> tuple[str, ...]:
    """The Patients that a search names: its compartment, and the values of its references, those behind chains included."""
    compartment = [query.compartment] if query.compartment and query.compartment.startswith(f"{PATIENT}/") else []
    return tuple(dict.fromkeys((*compartment, *_values(query))))


def _values(query: Query) -> Iterator[str]:
    for clause in query.clauses:
        yield from (key for value in clause.values if (key := patient(value, clause)))
    for chain in query.chains:
        for _, inner in chain.inner:
            yield from _values(inner)


def patient(value: Value, clause: Clause) -> str | None:
    """The Patient that a value may stand for: `Patient/1`, or `1` where the parameter can lead to Patients.

    Not one version of a Patient; and not an account, which is a right and no part of a record.
    """
    if not isinstance(value, ReferenceValue) or clause.parameter.type != "reference" or clause.parameter.code in _ASIDE:
        return None
    if value.id is None or value.version is not None or value.type not in (None, PATIENT):
        return None
    targets = clause.parameter.targets
    if value.type is None and targets and not {PATIENT, "Resource"} & set(targets):
        return None
    return f"{PATIENT}/{value.id}"


_ASIDE = ("_account", "_list")


def widened(query: Query, replaced: Mapping[str, Sequence[str]]) -> Query:
    """The query with what the Patients that it names replace, at every place where it names them."""
    if not replaced:
        return query
    chains = tuple(
        structs.replace(chain, inner=tuple((name, widened(inner, replaced)) for name, inner in chain.inner))
        for chain in query.chains
    )
    clauses = tuple(_widened(clause, replaced) for clause in query.clauses)
    pairs = tuple((key, tuple(others)) for key, others in replaced.items())
    return structs.replace(query, clauses=clauses, chains=chains, replaced=pairs)


def _widened(clause: Clause, replaced: Mapping[str, Sequence[str]]) -> Clause:
    keys = [key for value in clause.values if (key := patient(value, clause))]
    more = [ReferenceValue(*other.split("/")) for key in keys for other in replaced.get(key, ())]
    return structs.replace(clause, values=tuple(dict.fromkeys((*clause.values, *more)))) if more else clause

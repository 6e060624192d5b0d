"""Plans a Query: chooses the driver and the filters. The most selective index leads, and the bodies are checked exactly.

Order of preference: ids, a patient with a code, a patient or a code in clinical order where the search is about dates, a patient with a
category, a compartment, identifiers, references to this server, accounts, other tokens, strings, uris, dates with both ends known, all of a type in the order of
a date, and as the last resort everything by time, page by page.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from msgspec import structs

from bulkhead.compartments import membership
from bulkhead.compartments.compartment_definitions import TYPE as DEFINITIONS
from bulkhead.errors import NotSupported
from bulkhead.facts import care_dates, index_facts
from bulkhead.facts.expressions import types
from bulkhead.fhir.definitions import RESOURCE_TYPES, SearchParameter, search_parameters
from bulkhead.search.date_order import DateOrder
from bulkhead.search.date_spans import span, span_of_one
from bulkhead.search.dated import Dated, Gathered, Line
from bulkhead.search.drivers import (
    AllDefinitions,
    Branch,
    Compartment,
    Created,
    Driver,
    Each,
    Keys,
    Merged,
    Updated,
    Values,
)
from bulkhead.search.indexed import by_dates, by_value, stream, streams
from bulkhead.search.literals import ID
from bulkhead.search.query import (
    Clause,
    Query,
    ReferenceValue,
    TokenValue,
    Value,
)

RANGES = 20
"""The limit on ranges of codes and patients that one driver reads, one after the other."""
ALL_TYPES = tuple(sorted(RESOURCE_TYPES))


@dataclass(frozen=True, slots=True)
class Plan:
    """The plan of a search."""

    driver: Driver
    clauses: tuple[Clause, ...]
    """The conditions that every candidate is checked against."""
    membership: membership.Definition | None
    """For a compartment search: the definition that every candidate is checked against."""
    ordered: bool
    """Whether the driver gives the requested order; otherwise all matches are gathered and sorted."""
    filtered: bool
    """Whether there are conditions beyond the driver's, so that many candidates may not match."""


class Complete(NamedTuple):
    """Which entries every resource of the table has: see `store.layout`. What older code has written may lack some."""

    clinical: bool
    """In clinical order (`Store.is_in_clinical_order`)."""
    categories: bool
    """The same of categories (`Store.has_categories`)."""
    dates: bool
    """In the order of every date (`Store.is_in_date_order`)."""


def plan(query: Query, definition: membership.Definition | None, now: str, *, has: Complete) -> Plan:
    """The plan of a query. `definition` is that of its compartment; `now` is the time as of which paging by time lists.

    NotSupported for a search of the whole system without any condition.
    """
    refuse(query)
    in_order_of_dates = in_date_order(query, now, has=has) if has.dates else None
    driver, in_order = in_order_of_dates or choose(query, definition, now, has=has)
    driven = 0 if isinstance(driver, (AllDefinitions, Created, Updated)) or query.compartment else 1
    if isinstance(driver, Values) and driver.owned:
        driven += 1
    if isinstance(driver, Dated):
        driven = len(clinical(query, has=has).driven)
    if isinstance(driver, DateOrder):
        driven = sum(clause.parameter.code == driver.code for clause in query.clauses) if driver.bounded else 0
    # Of what points at the target, a parameter of the project's own may choose a few.
    chosen = bool(query.compartment and definition and definition.own)
    filtered = len(query.clauses) > driven or bool(query.chains) or chosen
    return Plan(driver, query.clauses, definition, in_order, filtered)


def refuse(query: Query) -> None:
    if not (query.types or query.compartment or query.clauses or query.chains):
        text = "a search of the whole system must name types with _type, or have a condition such as _lastUpdated, _tag or _has"
        raise NotSupported(text, expression="_type")


def choose(query: Query, definition: membership.Definition | None, now: str, *, has: Complete) -> tuple[Driver, bool]:
    """The driver, and whether its order is the requested one."""
    order = query.results.sort[0] if query.results.sort else None
    single = len(query.results.sort) == 1 and len(query.types) == 1
    by_key = order is None or (single and order.code == "_id" and not order.descending)
    keys = ids(query)
    if keys is not None:
        return Keys(keys), by_key
    if query.types == (DEFINITIONS,) and not query.compartment:
        return AllDefinitions(), by_key
    # What a parameter of the project's own makes a member may have no entries under the Patient.
    by_patient = not (query.compartment and definition and definition.own)
    in_clinical_order = by_care(query, has=has) if by_patient else None
    if in_clinical_order is not None:
        return in_clinical_order
    owned = by_owner(query, dated=has.clinical) if by_patient else None
    if owned is not None:
        return owned, order is None or (by_key and isinstance(owned, Gathered))
    if query.compartment and definition:
        return Merged(tuple(Compartment(key, definition, query.types) for key in query.compartments)), by_key
    if len(query.types) == 1:
        driver = best(query, dated=has.clinical)
        if driver is not None:
            return driver, order is None or (by_key and isinstance(driver, (Merged, Gathered)))
    accounts = streams(query.clauses, None)
    if accounts:
        return Merged(accounts), by_key
    if not query.types:
        of_meta = [found for clause in query.clauses if (found := by_value(clause, index_facts.ANY_TYPE))]
        if of_meta:
            return of_meta[0], order is None
    if len(query.types) > 1 and (not query.results.sort or DEFINITIONS in query.types):
        each = tuple(choose(of_type(query, name), None, now, has=has)[0] for name in query.types)
        if not all(isinstance(driver, (Created, Updated)) for driver in each):
            return Each(each), order is None
    return by_time(query, now)


def of_type(query: Query, resource_type: str) -> Query:
    """The part of a search of several types that is about one type."""
    known = search_parameters(resource_type)
    clauses = tuple(
        structs.replace(clause, parameter=known.get(clause.parameter.code, clause.parameter))
        for clause in query.clauses
    )
    return structs.replace(query, types=(resource_type,), clauses=clauses)


def by_time(query: Query, now: str) -> tuple[Driver, bool]:
    """The last resort, all resources: by lastUpdated if the search has a condition on it, otherwise in order of creation."""
    order = query.results.sort[0] if query.results.sort else None
    since, until = span(clause for clause in query.clauses if clause.parameter.code == "_lastUpdated")
    by_update = len(query.results.sort) == 1 and query.results.sort[0].code == "_lastUpdated" and len(query.types) == 1
    if not by_update and since is None:
        return Created(query.types or ALL_TYPES, now), order is None
    newest_first = bool(by_update and order and order.descending)
    return Updated(query.types or ALL_TYPES, since, min(until or now, now), newest_first), by_update or order is None


def ids(query: Query) -> tuple[str, ...] | None:
    """The keys that `_id` names; if `_id` is repeated, those of the first: the others filter.

    Empty if a condition has no possible value, such as that of an empty value set.
    """
    if not all(clause.values for clause in query.clauses if clause.modifier is None):
        return ()
    for clause in query.clauses:
        if clause.parameter.code == "_id" and clause.modifier is None:
            if not query.types and query.compartment:
                continue
            codes = [value.code for value in clause.values if isinstance(value, TokenValue) and value.code]
            possible = [code for code in codes if ID.fullmatch(code)]
            return tuple(f"{name}/{code}" for name in query.types or sorted(RESOURCE_TYPES) for code in possible)
    return None


def best(query: Query, *, dated: bool) -> Driver | None:
    """The most selective driver for a search of one type; None if no parameter has one."""
    resource_type = query.types[0]
    ranked: list[tuple[int, Driver]] = []
    for clause in query.clauses:
        merged = stream(clause, resource_type)
        if merged:
            ranked.append((2 if clause.parameter.code[0] != "_" else 3, Merged(merged)))
        found = by_value(clause, resource_type)
        if found is not None:
            driver = found if dated or not is_of_care(found) else Gathered((found,))
            ranked.append((rank(clause.parameter, resource_type), driver))
    months = by_dates(query, resource_type)
    if months is not None:
        ranked.append((7, months))
    return min(ranked, key=lambda pair: pair[0])[1] if ranked else None


def rank(parameter: SearchParameter, resource_type: str) -> int:
    if parameter.code in index_facts.OF_META:
        # A large part of the type may have the same value.
        return 9
    if parameter.type == "token":
        return 1 if "Identifier" in types(parameter.expression, resource_type) else 4
    return {"string": 5, "uri": 6, "composite": 4, "reference": 4}.get(parameter.type, 8)


@dataclass(frozen=True, slots=True)
class Clinical:
    """What of a query is about the care of patients: whose, of which codes or categories, when, and whether it is sorted by that."""

    care: SearchParameter | None
    """The parameter that tells when the care took place; None where the query is not of one type that has it."""
    owners: tuple[str, ...] = ()
    codes: tuple[Branch, ...] = ()
    categories: tuple[Branch, ...] = ()
    """Where the query names a patient and no code."""
    first: str | None = None
    last: str | None = None
    sorted: bool = False
    driven: tuple[Clause, ...] = ()
    """The clauses of these."""
    selective: bool = False
    """Whether another clause has an index of its own."""

    @property
    def by_date(self) -> bool:
        return self.sorted or self.first is not None or self.last is not None


def clinical(query: Query, *, has: Complete) -> Clinical:
    """What a query says of owners, codes or categories, and dates of care, as far as the entries of the table go."""
    care = care_dates.care_parameter(query.types[0]) if len(query.types) == 1 else None
    if care is None:
        return Clinical(None)
    owners, named = owners_of(query)
    dated = tuple(clause for clause in query.clauses if clause.parameter == care and clause.modifier is None)
    first, last = span(dated)
    codes, coded = codes_of(query)
    categories: tuple[Branch, ...] = ()
    if owners and not codes and has.categories:
        categories, coded = categories_of(query, RANGES // len(owners))
    driven = (*([named] if named else []), *([coded] if coded else []), *dated)
    others = [
        clause for clause in query.clauses if clause not in driven and not (owners and clause.parameter.code[0] == "_")
    ]
    by_index = (stream(clause, query.types[0]) or by_value(clause, query.types[0]) for clause in others)
    sorts = query.results.sort
    rest = [(sort.code, sort.descending) for sort in sorts[1:]]
    in_order = bool(sorts) and sorts[0].parameter == care and rest in ([], [("_id", False)])
    return Clinical(care, owners, codes, categories, first, last, in_order, driven, any(by_index))


def codes_of(query: Query) -> tuple[tuple[Branch, ...], Clause | None]:
    """The codes one of which every match must have, where their entries are in clinical order, and the clause that says so."""
    for clause in query.clauses:
        found = by_value(clause, query.types[0])
        if found is not None and all(is_dated(query.types[0], branch) for branch in found.branches):
            return found.branches, clause
    return (), None


def categories_of(query: Query, most: int) -> tuple[tuple[Branch, ...], Clause | None]:
    """The categories one of which every match must have, where these are `most` at most, and the clause that says so."""
    category = care_dates.category_parameter(query.types[0])
    for clause in query.clauses:
        if category is None or clause.parameter != category or clause.modifier is not None:
            continue
        found = [value.code for value in clause.values if isinstance(value, TokenValue) and value.code]
        if len(found) == len(clause.values) and len(found) <= most:
            return tuple(Branch(category.code, code.casefold()) for code in found), clause
    return (), None


def is_dated(resource_type: str, branch: Branch) -> bool:
    """Whether the entries of a branch are in clinical order."""
    known = search_parameters(resource_type)
    return branch.parameter in known and index_facts.is_dated(resource_type, known[branch.parameter])


def is_of_care(found: Values) -> bool:
    """Whether any entries that a driver lists are in clinical order: older versions of the code wrote others in their place."""
    return any(is_dated(found.resource_type, branch) for branch in found.branches)


def by_care(query: Query, *, has: Complete) -> tuple[Driver, bool] | None:
    """What leads in clinical order: a patient with a code or a category; a patient alone, or a code, where the search is about dates.

    And whether that is the order asked for. None where nothing does, or something else selects more.
    """
    its = clinical(query, has=has)
    if its.care is None or not (its.owners or its.codes) or (query.compartment and not its.owners):
        return None
    kind, (order, *_) = query.types[0], (*query.results.sort, None)
    with_code = bool(its.owners and its.codes and len(its.owners) * len(its.codes) <= RANGES)
    if not has.clinical or not (with_code or its.categories or its.by_date):
        return None
    # By id a patient's resources are listed in order; of any other order all have to be gathered.
    in_any_order = its.sorted or order is None or (its.categories and order.code != "_id")
    if not with_code and (its.selective or not in_any_order):
        return None
    if with_code or its.categories:
        kinds = its.codes or its.categories
        lines = [owned_line(its.care, owner, branch) for branch in kinds for owner in its.owners]
    elif its.owners:
        lines = [Line(its.care.code, owner) for owner in its.owners]
    else:
        lines = [Line(branch.parameter, branch.value, of_code=True) for branch in its.codes]
    if len(lines) > RANGES:
        return None
    # Without an order asked for, that which finds all in the range at its first entries.
    newest_first = order.descending if its.sorted and order else its.last is None or its.first is not None
    driver = Dated(kind, its.care.code, tuple(dict.fromkeys(lines)), newest_first, its.first, its.last)
    return driver, its.sorted or order is None


def by_owner(query: Query, *, dated: bool) -> Values | Gathered | None:
    """The ranges of a code and of a patient together, where a search of one type names both.

    Those of codes whose entries are in clinical order are listed besides those of others, for `combo-code`.
    """
    owners = patients_of(query)
    if len(query.types) != 1 or not owners:
        return None
    resource_type = query.types[0]
    for clause in query.clauses:
        found = by_value(clause, resource_type)
        known = search_parameters(resource_type)
        if found is None or not all(
            index_facts.is_owned(resource_type, known[one.parameter]) or is_dated(resource_type, one)
            for one in found.branches
        ):
            continue
        branches = tuple(structs.replace(one, prefix=f"{owner}#") for one in found.branches for owner in owners)
        care = care_dates.care_parameter(resource_type)
        of_care = [one for one in found.branches if is_dated(resource_type, one)]
        lines = tuple(owned_line(care, owner, one) for one in of_care for owner in owners if care)
        if len(branches) + len(lines) > RANGES:
            continue
        if not care or not lines:
            return Values(resource_type, branches, owned=True)
        older = branches if not dated else tuple(one for one in branches if not is_dated(resource_type, one))
        return Gathered((Dated(resource_type, care.code, lines, True), Values(resource_type, older)))
    return None


def in_date_order(query: Query, now: str, *, has: Complete) -> tuple[Driver, bool] | None:
    """What leads through a type in the order of a date: where the search is sorted by it, or has a bound of it, and nothing else leads.

    And whether that is the order asked for.
    """
    sorts, bounds = query.results.sort, [clause for clause in query.clauses if clause.parameter.type == "date"]
    if len(query.types) != 1 or query.compartment or query.chains or query.types == (DEFINITIONS,):
        return None
    rest = [(sort.code, sort.descending) for sort in sorts[1:]]
    if sorts and rest not in ([], [("_id", False)]):
        return None
    if ids(query) is not None or by_care(query, has=has) or by_owner(query, dated=has.clinical):
        return None
    resource_type = query.types[0]
    possible = [sorts[0].parameter] if sorts else list(dict.fromkeys(clause.parameter for clause in bounds))
    for parameter in possible:
        if parameter is None or parameter.type != "date" or not index_facts.is_indexed(resource_type, parameter):
            continue
        own = [clause for clause in bounds if clause.parameter == parameter and clause.modifier is None]
        first, last = span_of_one(own, resource_type)
        rest_of_query = structs.replace(query, clauses=tuple(one for one in query.clauses if one not in own))
        best_of_rest = best(rest_of_query, dated=has.clinical)
        since, _ = span(clause for clause in query.clauses if clause.parameter.code == "_lastUpdated")
        if best_of_rest is not None or since is not None:
            continue
        if not sorts and ((first is None and last is None) or best(query, dated=has.clinical) is not None):
            continue
        # Without an order asked for, that which finds all in the range at its first entries.
        newest_first = sorts[0].descending if sorts else first is not None
        return DateOrder(resource_type, parameter.code, newest_first, now, first, last), True
    return None


def owned_line(care: SearchParameter, owner: str, branch: Branch) -> Line:
    """The entries of a patient with a code or a category, in clinical order."""
    return Line(care.code, f"{owner}|{branch.parameter}|{branch.value}")


def patients_of(query: Query) -> tuple[str, ...]:
    """Patients, one of which every match must point at; () if the search names none."""
    return owners_of(query)[0]


def owners_of(query: Query) -> tuple[tuple[str, ...], Clause | None]:
    """`patients_of`, and the clause that says so; None where the compartment does."""
    if query.compartment:
        return (query.compartments if query.compartment.startswith("Patient/") else ()), None
    for clause in query.clauses:
        if clause.parameter.type != "reference" or clause.modifier in ("missing", "identifier", "not"):
            continue
        if query.types and clause.parameter != search_parameters(query.types[0]).get(clause.parameter.code):
            continue
        found = [
            patient_of(value, only_patients=index_facts.only_patients(clause.parameter)) for value in clause.values
        ]
        if clause.parameter.code[0] != "_" and all(found):
            return tuple(dict.fromkeys(one for one in found if one)), clause
    return (), None


def patient_of(value: Value, *, only_patients: bool) -> str | None:
    """The Patient that a reference must be to; `only_patients` says whether an id alone means a Patient."""
    if not isinstance(value, ReferenceValue) or value.id is None:
        return None
    if value.type is None and not only_patients:
        return None
    return f"Patient/{value.id}" if value.type in (None, "Patient") else None


def describe(chosen: Plan) -> Sequence[str]:
    """A description of the plan without values."""
    return [
        f"driver: {chosen.driver.describe()}",
        *(f"filter: {clause.name}" for clause in chosen.clauses),
        f"order: {'given by the driver' if chosen.ordered else 'all matches are gathered and sorted'}",
    ]

"""The facts that the index holds about one resource: its targets, and the values that select few resources of its type.

The index leaves out a value that nearly all resources share (a status, a gender, a category): its partition would be slow,
costly and hot. Such a value filters the results of a better driver.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import Any, NamedTuple

from bulkhead.errors import PayloadTooLarge
from bulkhead.facts import care_dates, date_order, extract
from bulkhead.facts.expressions import Evaluate, Typed, begins_with, compiled, types
from bulkhead.facts.normalise import spellings
from bulkhead.facts.phonetic import is_phonetic, sounds
from bulkhead.facts.security_context import BINARY, SECURITY_CONTEXT, context_of
from bulkhead.facts.selectivity import BULKY, COVERED_BY, NON_SELECTIVE, SELECTIVE_STRINGS
from bulkhead.fhir import references
from bulkhead.fhir.definitions import SearchParameter, search_parameters

PREFIX = 2
"""How many characters of a folded string choose its partition."""
SORT_LENGTH = 100
"""How many characters of a folded string are kept as the sort key."""
PLACE_LENGTH = 180
"""How many characters of a sort key identify an entry: fewer bytes in UTF-8 than the store keeps."""
ANY_TYPE = "*"
"""The type that stands for all types in the index of common parameters."""
OF_META = frozenset({"_tag", "_security", "_profile", "_source"})
"""Parameters about `meta`: indexed for all types together, so that a search of the whole system reads one range."""
KNOWN = 8192
"""How many parameters of types are kept compiled. R4 has 3,154 of them; clients define more."""
MOST = 50_000
"""The limit on values, and on care dates, of one resource: of one that names many patients and many codes the index has each with each."""
LONG = "long"
"""The partition of date values that cover more than three months."""


class Value(NamedTuple):
    """One by-value entry. What `value` and `sort` hold depends on the parameter's type: see `index_values`."""

    parameter: str
    value: str
    sort: str


@dataclass(frozen=True, slots=True)
class Facts:
    """The index facts of one version of a resource, without its accounts (the store keeps those)."""

    targets: Mapping[str, frozenset[str]]
    """By target, such as `Patient/1`: the codes of the search parameters through which the resource points at it.

    The key `#Medication` means any resource of that type inside the resource: see `embedded_targets`.
    """
    values: frozenset[Value]
    dated: frozenset[Value] = frozenset()
    """Entries in clinical order: of each patient, and of each patient with a code or a category. See `_dated`."""
    literals: frozenset[str] = frozenset()
    """The resources of this server that literal references name though no search parameter of R4 leads to them: see `literals`."""
    code: Value | None = None
    """What counts know the resource by, with the system as its sort: see `care_dates.counted_code`."""

    @property
    def named(self) -> frozenset[str]:
        """Every resource of this server that the resource names."""
        return self.literals.union(self.targets)


def facts(resource: dict[str, Any]) -> Facts:
    """The index facts of a valid resource. Pure: the same resource gives the same facts. PayloadTooLarge where they are too many (MOST)."""
    pointed_at = targets(resource)
    owners = patients(pointed_at)
    values = frozenset(_bounded(_values(resource, owners), resource))
    code = care_dates.counted_code(resource)
    return Facts(
        {**pointed_at, **embedded_targets(resource)},
        values,
        frozenset(_bounded(_dated(resource, owners), resource)),
        literals(resource) - pointed_at.keys(),
        Value(*code) if code else None,
    )


def _bounded(entries: Iterable[Value], resource: dict[str, Any]) -> Iterator[Value]:
    for number, entry in enumerate(entries):
        if number == MOST:
            raise PayloadTooLarge(
                f"the resource names so many patients and codes that it would have more than {MOST} index entries; make several of it",
                resource["resourceType"],
            )
        yield entry


def targets(resource: dict[str, Any]) -> dict[str, frozenset[str]]:
    """The resources of this server that a resource points at, and the search parameters through which it does.

    The reference in a Binary's `securityContext` counts too, by the path of its element. All other references outside every search
    parameter (see `literals`), absolute URLs and logical references make no target. A canonical makes one only in the form `Type/id`.
    """
    found: dict[str, set[str]] = {}
    known: dict[str, str | None] = {}
    for row in _rows_for(resource, _references(resource["resourceType"])):
        for kind, value in row.evaluate(resource, resource):
            reference = reference_text(kind, value, row.parameter)
            if reference is None:
                continue
            target = known.get(reference, "")
            if target == "":
                target = known[reference] = local(reference)
            if target is not None:
                found.setdefault(target, set()).add(row.parameter.code)
    if resource["resourceType"] == BINARY and (context := context_of(resource)):
        found.setdefault(context, set()).add(SECURITY_CONTEXT)
    shared: dict[frozenset[str], frozenset[str]] = {}
    result: dict[str, frozenset[str]] = {}
    for target, codes in found.items():
        via = frozenset(codes)
        result[target] = shared.setdefault(via, via)
    return result


# References in the resources that these carry are not their own; a Bundle may have thousands.
_CARRIERS = frozenset({"Bundle", "Parameters"})


def literals(resource: dict[str, Any]) -> frozenset[str]:
    """The resources of this server that literal references name, wherever in a resource: in extensions and contained ones too.

    None of a Bundle or Parameters. References to a version name the resource.
    """
    if resource["resourceType"] in _CARRIERS:
        return frozenset()
    texts = (reference.get("reference") for _, reference in references.walk(resource))
    return frozenset(target for text in texts if isinstance(text, str) and (target := local(text)) is not None)


def embedded_targets(resource: dict[str, Any]) -> dict[str, frozenset[str]]:
    """By type of embedded resource (`#Medication`), the parameters that lead to it: contained, or in a Bundle's first entry."""
    if "contained" not in resource and resource["resourceType"] != "Bundle":
        return {}
    found: dict[str, set[str]] = {}
    inside: dict[str, str] = {one.get("id", ""): one["resourceType"] for one in resource.get("contained", ())}
    for row in _rows_for(resource, _references(resource["resourceType"])):
        for name in _embedded(resource, row, inside):
            found.setdefault(mark(name), set()).add(row.parameter.code)
    return {name: frozenset(codes) for name, codes in found.items()}


def mark(resource_type: str) -> str:
    """The key for a resource of this type inside another resource; it takes the place of a target in the index."""
    return f"#{resource_type}"


def _embedded(resource: dict[str, Any], row: _Row, inside: Mapping[str, str]) -> Iterator[str]:
    """The types of the embedded resources that a reference parameter leads to; `inside` has those of contained ones by id."""
    for kind, value in row.evaluate(resource, resource):
        if kind == "Resource":
            yield from {value["resourceType"]} & set(row.parameter.targets)
            continue
        text = reference_text(kind, value, row.parameter)
        if text and text.startswith("#") and text[1:] in inside:
            yield inside[text[1:]]


def through(resource: dict[str, Any], parameter: SearchParameter) -> set[str]:
    """The resources of this server that a resource points at through one parameter, including a parameter that a client defined."""
    found: set[str] = set()
    for kind, value in extract.values(resource, parameter):
        text = reference_text(kind, value, parameter)
        target = local(text) if text else None
        if target is not None:
            found.add(target)
    return found


def reference_text(kind: str, value: Any, parameter: SearchParameter) -> str | None:
    """The text of a Reference, the canonical itself, or the key of a whole resource."""
    if kind == "Reference":
        text = value.get("reference")
        return text if isinstance(text, str) else None
    return value if isinstance(value, str) else resource_key(kind, value, parameter)


def local(reference: str) -> str | None:
    """`Measure/1` for that text, with or without a version: a canonical may be relative, though it should be a url."""
    return references.local(references.canonical_url(reference))


def is_own(resource_type: str, parameter: SearchParameter) -> bool:
    """Whether R4 defines this parameter for the type, so that the index has it; False for one that a client defined."""
    known = search_parameters("Basic" if resource_type == ANY_TYPE else resource_type)
    return parameter == known.get(parameter.code)


def resource_key(kind: str, value: Any, parameter: SearchParameter) -> str | None:
    """The key, such as `Composition/1`, of a whole resource that a parameter yields: the first entry of a document."""
    if kind == "Resource" and "id" in value and value["resourceType"] in parameter.targets:
        return f"{value['resourceType']}/{value['id']}"
    return None


def patients(pointed_at: Mapping[str, frozenset[str]]) -> tuple[str, ...]:
    """The Patients among the targets of a resource, sorted."""
    return tuple(sorted(target for target in pointed_at if target.startswith("Patient/")))


def only_patients(parameter: SearchParameter) -> bool:
    """Whether a reference parameter leads to Patients only. HL7 defines `patient` for all types at once, with the target Group too."""
    return parameter.targets == ("Patient",) or (
        parameter.code == "patient" and parameter.expression.endswith((".patient", "resolve() is Patient)"))
    )


def index_values(
    resource: dict[str, Any],
    parameter: SearchParameter,
    pointed_at: Mapping[str, frozenset[str]] | None = None,
) -> set[Value]:
    """The by-value entries of one parameter; none where it is not indexed. A caller that has the `targets` passes them as `pointed_at`.

    token:  value = the code, case folded;              sort = its system, "" if none, after the patient where `is_owned`;
                                                        of the code of the care (`is_dated`): its date, see `care_dates`
    string: value = the first two folded characters;    sort = the folded string, cut at 100 characters; one entry per spelling
    phonetic: value = how a word sounds;                sort = ""
    uri:    value = the uri, of a canonical without version and fragment;  sort = ""
    date:   value = each month covered, or "long";      sort = the first instant
            value = the last month, then `+`;           sort = the last instant: see `date_order`
    of meta (OF_META): value = the code, or the uri without a version; sort = the type, then `#`, then the system
    """
    if not is_indexed(resource["resourceType"], parameter):
        return set()
    rows = _rows_of(parameter)
    found = extract.values(resource, parameter)
    entries = [Value(parameter.code, value, sort) for kind, item in found for value, sort in rows(kind, item)]
    if parameter.type == "date":
        return {*entries, *_ending(resource["resourceType"], parameter, found)}
    if parameter.code in OF_META:
        return {_of_meta(entry, resource["resourceType"]) for entry in entries}
    if is_dated(resource["resourceType"], parameter):
        return set(_by_date(entries, _sorts(resource)))
    if not is_owned(resource["resourceType"], parameter):
        return set(entries)
    owners = patients(targets(resource) if pointed_at is None else pointed_at)
    return {owned for entry in entries for owned in _owned(entry, owners)}


@lru_cache(KNOWN)
def is_indexed(resource_type: str, parameter: SearchParameter) -> bool:
    """Whether values of this parameter have by-value entries."""
    code = parameter.code
    if (code.startswith("_") and code not in OF_META) or not parameter.expression:
        return False
    if not is_own(resource_type, parameter):
        return False
    if code in OF_META:
        return True
    match parameter.type:
        case "date" | "uri":
            return True
        case "string":
            return code in SELECTIVE_STRINGS or is_phonetic(parameter)
        case "reference":
            return is_canonical(resource_type, parameter)
        case "token":
            others = COVERED_BY.get(code)
            if others and all(other in search_parameters(resource_type) for other in others):
                return False
            selective = {
                kind for kind in types(parameter.expression, resource_type) if not kind.startswith(("boolean", "code|"))
            }
            return bool(selective) and code not in NON_SELECTIVE and (resource_type, code) not in BULKY
    return False


@lru_cache(KNOWN)
def is_canonical(resource_type: str, parameter: SearchParameter) -> bool:
    """Whether a reference parameter is about canonicals, which have no target, and not about References."""
    return types(parameter.expression, resource_type) <= {"canonical", "uri"}


@lru_cache(KNOWN)
def is_owned(resource_type: str, parameter: SearchParameter) -> bool:
    """Whether the entries of a code sort by the patients of their resources: `Patient/1#http://loinc.org`.

    A code may occur on thousands of resources of each patient, and on millions in all. With this order, `patient=1&code=x` reads
    one range of one partition, without an additional entry. A search for a code and its system loses its range: few codes
    occur under two systems.
    """
    if parameter.type != "token" or parameter.code in OF_META or not is_indexed(resource_type, parameter):
        return False
    if is_dated(resource_type, parameter):
        return False
    if types(parameter.expression, resource_type) & {"Identifier", "ContactPoint"}:
        return False
    references = (one for one in search_parameters(resource_type).values() if one.type == "reference")
    return any("Patient" in one.targets for one in references)


@cache
def is_dated(resource_type: str, parameter: SearchParameter) -> bool:
    """Whether the entries of a code are sorted by the date of the care: what the care was, of types that have such a date.

    `patient=1&code=x` has entries of its own, sorted in the same way: see `Facts.dated`.
    """
    return parameter == care_dates.code_parameter(resource_type) and is_indexed(resource_type, parameter)


def drivers(resource_type: str, parameter: SearchParameter) -> tuple[SearchParameter, ...]:
    """The indexed parameters whose entries together cover every value of `parameter`; () if there are none."""
    if is_indexed(resource_type, parameter):
        return (parameter,)
    if resource_type == ANY_TYPE:
        return ()
    known = search_parameters(resource_type)
    others = tuple(known[code] for code in COVERED_BY.get(parameter.code, ()) if code in known)
    return others if all(is_indexed(resource_type, other) for other in others) else ()


def month_buckets(first: str, last: str) -> list[str]:
    """The partitions of a date value: `["2020-03", "2020-04"]`, or `["long"]` above three months."""
    start, end = (int(text[:4]) * 12 + int(text[5:7]) - 1 for text in (first, last))
    if end - start > 2:
        return [LONG]
    return [month(number) for number in range(start, end + 1)]


def month(number: int) -> str:
    """`24242` (months since the year 0) -> `2020-03`."""
    return f"{number // 12:04d}-{number % 12 + 1:02d}"


class _Row:
    """A parameter of a type, compiled. Rows compare by identity."""

    __slots__ = ("dated", "evaluate", "owned", "parameter", "rows")

    def __init__(self, resource_type: str, parameter: SearchParameter) -> None:
        self.parameter = parameter
        self.evaluate: Evaluate = compiled(parameter.expression, resource_type)
        self.owned = is_owned(resource_type, parameter)
        self.dated = is_dated(resource_type, parameter)
        self.rows = _rows_of(parameter)


_Table = Mapping[str, Sequence[_Row]]
"""Rows by the properties that their expressions begin with; "" lists the rows that apply to every resource."""


def _table(resource_type: str, parameters: Iterable[SearchParameter]) -> _Table:
    found: dict[str, list[_Row]] = {}
    for parameter in parameters:
        row = _Row(resource_type, parameter)
        for name in begins_with(parameter.expression, resource_type) or {""}:
            found.setdefault(name, []).append(row)
    return found


def _rows_for(resource: dict[str, Any], table: _Table) -> Iterable[_Row]:
    """The rows that may find something in a resource, each once."""
    rows = dict.fromkeys(table.get("", ()))
    for name in resource:
        if name in table:
            rows.update(dict.fromkeys(table[name]))
    return rows


@cache
def _references(resource_type: str) -> _Table:
    known = search_parameters(resource_type).values()
    return _table(
        resource_type, (one for one in known if one.type == "reference" and types(one.expression, resource_type))
    )


@cache
def _indexed(resource_type: str) -> _Table:
    known = search_parameters(resource_type).values()
    return _table(resource_type, (one for one in known if is_indexed(resource_type, one)))


def _values(resource: dict[str, Any], owners: Sequence[str]) -> Iterator[Value]:
    for row in _rows_for(resource, _indexed(resource["resourceType"])):
        rows, found = row.rows, _unwrapped(row.evaluate(resource, resource))
        if row.parameter.type == "date":
            yield from _ending(resource["resourceType"], row.parameter, found)
        for kind, item in found:
            for value, sort in rows(kind, item):
                entry = Value(row.parameter.code, value, sort)
                if entry.parameter in OF_META:
                    yield _of_meta(entry, resource["resourceType"])
                elif row.owned:
                    yield from _owned(entry, owners)
                elif row.dated:
                    yield from _by_date([entry], _sorts(resource))
                else:
                    yield entry


def _owned(entry: Value, owners: Sequence[str]) -> Iterator[Value]:
    for owner in owners or ("",):
        yield Value(entry.parameter, entry.value, f"{owner}#{entry.sort}")


def _by_date(entries: Iterable[Value], sorts: Sequence[str]) -> Iterator[Value]:
    for entry in entries:
        for sort in sorts:
            yield Value(entry.parameter, entry.value, sort)


def _sorts(resource: dict[str, Any]) -> Sequence[str]:
    """What the entries of a resource in clinical order are sorted by."""
    parameter = care_dates.care_parameter(resource["resourceType"])
    return care_dates.sorts(care_dates.of_resource(resource, parameter)) if parameter else ()


def _dated(resource: dict[str, Any], owners: Sequence[str]) -> Iterator[Value]:
    """The entries in clinical order: of each patient (`Patient/1`), and of each with a code (`Patient/1|code|1234`) or a category."""
    care = care_dates.care_parameter(resource["resourceType"]) if owners else None
    if care is None:
        return
    sorts = _sorts(resource)
    code = care_dates.code_parameter(resource["resourceType"])
    kinds = {(code.code, one.value) for one in index_values(resource, code)} if code else set()
    if category := care_dates.category_parameter(resource["resourceType"]):
        kinds |= {(category.code, text.casefold()) for _, text in care_dates.codes_of(resource, category) if text}
    for owner in owners:
        for value in (owner, *(f"{owner}|{parameter}|{kind}" for parameter, kind in kinds)):
            for sort in sorts:
                yield Value(care.code, value, sort)


def _of_meta(entry: Value, resource_type: str) -> Value:
    value = entry.value if entry.parameter in ("_tag", "_security") else references.canonical_url(entry.value)
    return Value(entry.parameter, value, f"{resource_type}#{entry.sort}")


def _unwrapped(found: list[Typed]) -> list[Typed]:
    return extract.unwrapped(found) if found and found[0][0] == "Extension" else found


def _token_rows(kind: str, item: Any) -> Iterator[tuple[str, str]]:
    for system, code in extract.tokens(kind, item):
        yield code.casefold(), "" if kind == "ContactPoint" else system


def _string_rows(kind: str, item: Any) -> Iterator[tuple[str, str]]:
    for text in extract.strings(kind, item):
        for spelling in spellings(text):
            if spelling:
                yield spelling[:PREFIX], spelling[:SORT_LENGTH]


def _sound_rows(kind: str, item: Any) -> Iterator[tuple[str, str]]:
    for code in sounds(extract.spoken(kind, item)):
        yield code, ""


def _uri_rows(kind: str, item: Any) -> Iterator[tuple[str, str]]:
    yield item, ""


def _canonical_rows(kind: str, item: Any) -> Iterator[tuple[str, str]]:
    yield references.canonical_url(item), ""


def _date_rows(kind: str, item: Any) -> Iterator[tuple[str, str]]:
    for first, last in extract.periods(kind, item):
        for bucket in month_buckets(first, last):
            yield bucket, first


def _ending(resource_type: str, parameter: SearchParameter, found: Sequence[Typed]) -> Iterator[Value]:
    """The entry by which a resource is in order of its last instant, if it needs one of its own."""
    spans = [span for kind, item in found for span in extract.periods(kind, item)]
    its = date_order.ending(resource_type, parameter, spans) if spans else None
    if its:
        yield Value(parameter.code, its.partition, its.text)


_Rows = Callable[[str, Any], Iterator[tuple[str, str]]]
_ROWS: Mapping[str, _Rows] = {
    "token": _token_rows,
    "string": _string_rows,
    "uri": _uri_rows,
    "date": _date_rows,
    "reference": _canonical_rows,
}


def _rows_of(parameter: SearchParameter) -> _Rows:
    """The function that makes the entries of a parameter, by its type (date, token, ...). Other types are not indexed."""
    return _sound_rows if is_phonetic(parameter) else _ROWS.get(parameter.type, _no_rows)


def _no_rows(kind: str, item: Any) -> Iterator[tuple[str, str]]:
    return iter(())

"""`Observation/$lastn`: the latest results of a patient, by what was observed (R4 observation-operation-lastn.html).

A code that is named is one range of the index in clinical order, so `max` entries of it are read and no more. Without codes the
patient's history is read from its newest end, up to READ resources.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from msgspec import structs

from bulkhead.access import policy
from bulkhead.api.request import FORM, Request
from bulkhead.api.response import Response
from bulkhead.errors import BadRequest, NotFound, TooCostly
from bulkhead.facts import care_dates, extract
from bulkhead.fhir.definitions import search_parameters
from bulkhead.search import bundle, custom, literals, parse, run
from bulkhead.search.page import Page
from bulkhead.search.query import Clause, Query, Sort, TokenValue
from bulkhead.store.heads import PAGE_WEIGHT
from bulkhead.store.version import Version

OBSERVATION = "Observation"
MOST = 100
"""The greatest `max`."""
CODES = 50
"""The most codes that are read one by one."""
READ = 5_000
"""The most observations that are read where no code is named."""
WEIGHT = 10 * PAGE_WEIGHT
"""Bytes of compressed bodies that are read at most: of 5,000 usual observations some 5 MB."""
_OWNERS = ("patient", "subject")
_TAKEN = frozenset(
    {"_account", "_compartment", "_elements", "_format", "_has", "_id", "_lastUpdated", "_pretty", "_tag"}
)


def lastn(request: Request) -> Response:
    """`GET|POST Observation/$lastn` with `patient` or `subject`, `max` (default 1), and any search parameters of Observation.

    A searchset: group by group, that of the newest result first; within a group the newest first. Of those that are
    read, results that share a coding are of one group; those without any, of the group of their text. BadRequest, TooCostly.
    """
    if request.parameters["type"] != OBSERVATION:
        raise NotFound(f"$lastn is an operation of {OBSERVATION}", "$lastn")
    policy.require(request.caller, policy.SEARCH, OBSERVATION)
    pairs = list(request.query)
    if request.method == "POST" and request.content_type != FORM and request.body.strip():
        pairs += from_parameters(request.resource())
    most, pairs = _most(pairs)
    query = _parsed(request, pairs)
    query = structs.replace(query, used=(*query.used, ("max", str(most))))
    found: list[Version] = []
    for one in by_code(query):
        found += _read(request, one, most)
    shown = [candidate for group in groups(found) for candidate in group[:most]]
    answer = bundle.searchset(query, Page(shown, total=len(shown)), request.base, represent=request.show)
    return Response(200, answer)


def from_parameters(body: dict[str, Any]) -> list[tuple[str, str]]:
    """The Parameters of a POST, as a query has them: of several of one name any may be met. BadRequest naming what is not one."""
    listed = body.get("parameter", [])
    if body.get("resourceType") != "Parameters" or not isinstance(listed, list):
        raise BadRequest("the body must be a Parameters resource", "resourceType")
    found: dict[str, list[str]] = {}
    for n, item in enumerate(listed):
        place = f"Parameters.parameter[{n}]"
        name = item.get("name") if isinstance(item, dict) else None
        values = [item[one] for one in item if one.startswith("value")] if isinstance(item, dict) else []
        if not isinstance(name, str) or len(values) != 1:
            raise BadRequest("a parameter of $lastn must have a name and one value", place)
        found.setdefault(name, []).append(_text(values[0], place))
    return [(name, ",".join(values)) for name, values in found.items()]


def _text(value: Any, place: str) -> str:
    """What a value of a Parameters resource is in a query: a Coding or an Identifier is `system|code`."""
    if isinstance(value, dict):
        code = value.get("code", value.get("value"))
        if isinstance(value.get("reference"), str):
            return str(value["reference"])
        if isinstance(code, str):
            code = literals.escape(code)
            return f"{literals.escape(value['system'])}|{code}" if isinstance(value.get("system"), str) else code
    elif isinstance(value, (str, int)) and not isinstance(value, bool):
        return str(value)
    raise BadRequest("a value of $lastn must be a text, a number, a Reference or a Coding", place)


def _most(pairs: Sequence[tuple[str, str]]) -> tuple[int, list[tuple[str, str]]]:
    """`max`, and the other parameters."""
    given = [value for name, value in pairs if name == "max"]
    others = [pair for pair in pairs if pair[0] != "max"]
    if not given:
        return 1, others
    if len(given) > 1 or not given[0].isascii() or not given[0].isdigit() or not 0 < int(given[0][:9]) <= MOST:
        raise BadRequest(f"max must be one number from 1 to {MOST}", "max")
    return int(given[0]), others


def _parsed(request: Request, pairs: Sequence[tuple[str, str]]) -> Query:
    """The search for the results, sorted by date, the newest first."""
    for name, _ in pairs:
        code = name.partition(":")[0]
        if code.startswith("_") and code not in _TAKEN:
            raise BadRequest(f"$lastn does not take {code[:64]}: it has an order and a number of its own", code[:64])
    if not any(name.partition(":")[0].partition(".")[0] in _OWNERS for name, _ in pairs):
        raise BadRequest("$lastn needs a patient or a subject", "patient")
    query = parse.parse(
        pairs,
        OBSERVATION,
        base=request.base,
        strict=request.prefer.handling == "strict",
        limits=request.session.settings,
        custom=custom.stored_in(request.store, policy.fence(request.store, request.caller, policy.SEARCH)),
    )
    care = care_dates.care_parameter(OBSERVATION)
    assert care is not None
    results = structs.replace(query.results, sort=(Sort(care.code, True, care),))
    return structs.replace(query, path=f"{OBSERVATION}/$lastn", results=results)


def by_code(query: Query) -> list[Query]:
    """The query once for each code that it names; as it is where it names none, or too many."""
    code = search_parameters(OBSERVATION)["code"]
    for clause in query.clauses:
        if clause.parameter == code and clause.modifier is None and len(clause.values) <= CODES:
            return [_with(query, clause, structs.replace(clause, values=(value,))) for value in clause.values]
    return [query]


def _with(query: Query, old: Clause, new: Clause) -> Query:
    return structs.replace(query, clauses=tuple(new if one is old else one for one in query.clauses))


def _read(request: Request, query: Query, most: int) -> Sequence[Version]:
    """The newest matches: `most` of one code, otherwise all of them. TooCostly where these are too many, or too large together."""
    single = any(names_one_code(clause) for clause in query.clauses)
    count = most if single else READ
    query = structs.replace(query, results=structs.replace(query.results, count=count))
    fence = policy.fence(request.store, request.caller, policy.SEARCH)
    limits = run.Limits(seconds=request.store.settings.search_seconds)
    found: list[Version] = []
    weight = 0
    for page in run.pages(
        request.store, query, fence, limits=limits, consulted=lambda one: request.note_shown(one.head)
    ):
        found += page.matches
        weight += sum(one.head.weight for one in page.matches)
        if single and len(found) >= count:
            break
        # A page ends by its bytes, too; one without a match has searched as long as it may.
        if page.next is not None and (len(found) >= count or weight > WEIGHT or not page.matches):
            text = f"$lastn would read more than {READ} observations, or too large ones: name their codes, or dates"
            raise TooCostly(text, expression="code")
    return found[:count]


def names_one_code(clause: Clause) -> bool:
    """Whether a clause names one code, under any system; `http://loinc.org|` names all of a system."""
    if clause.parameter != search_parameters(OBSERVATION)["code"] or clause.modifier is not None:
        return False
    return len(clause.values) == 1 and isinstance(clause.values[0], TokenValue) and clause.values[0].code is not None


def groups(found: Iterable[Version]) -> list[list[Version]]:
    """Results that share a coding together, each once: the newest first, and the group of the newest first."""
    parameter = search_parameters(OBSERVATION)["date"]

    def when(candidate: Version) -> str:
        text = care_dates.of_resource(candidate.body, parameter).newest_first
        return "" if text == care_dates.NONE else text

    candidates = sorted({one.key: one for one in found}.values(), key=lambda one: one.key)
    made: list[tuple[set[tuple[str, str]], list[Version]]] = []
    for candidate in sorted(candidates, key=when, reverse=True):
        names = _names(candidate.body)
        shared = [group for group in made if not names.isdisjoint(group[0])]
        if not shared:
            made.append((names, [candidate]))
            continue
        first, *others = shared
        first[0].update(names, *(group[0] for group in others))
        # Two groups that turn out to be of one code become one: in their order.
        first[1].extend(one for group in others for one in group[1])
        first[1].append(candidate)
        first[1].sort(key=lambda one: one.key)
        first[1].sort(key=when, reverse=True)
        made = [group for group in made if not any(group is other for other in others)]
    return [group for _, group in made]


def _names(resource: dict[str, Any]) -> set[tuple[str, str]]:
    """The codings of what was observed; its text where it has none."""
    code = resource.get("code", {})
    codings = {(system, text.casefold()) for system, text in extract.tokens("CodeableConcept", code)}
    return codings or {("text", str(code.get("text", "")).casefold())}

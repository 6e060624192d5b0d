"""A search behind a fence is the same search of what is visible only: matches, includes, totals, order, page by page."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from bulkhead.access import policy
from bulkhead.access.policy import Caller, Scope
from bulkhead.compartments import governing
from bulkhead.errors import BadRequest
from bulkhead.search import cursor
from bulkhead.search.drivers import Created, Merged
from bulkhead.search.parse import parse
from bulkhead.search.plan import Plan
from bulkhead.search.run import Limits
from bulkhead.store.version import Version
from tests.support.memory_store import MemoryStore
from tests.support.search_samples import observation, patient
from tests.support.searches import keys, link, pages, search

A, B = "Organization/a", "Organization/b"
ALL = (Scope("system", "*", "cruds"),)
CALLERS = [
    Caller("a", ALL, accounts=(A,)),
    Caller("ab", ALL, accounts=(A, B)),
    Caller("nothing", ALL, accounts=()),
    Caller("patient", ALL, patient="1"),
    Caller("nobody", ALL, patient=""),
    Caller("both", ALL, accounts=(A,), patient="1"),
    Caller("query", (Scope("user", "Observation", "rs", "status=final"), Scope("user", "Patient", "rs", "active=true"), Scope("user", "List", "rs"))),
    Caller("types", (Scope("user", "Observation", "rs"), Scope("user", "Organization", "s"))),
]  # fmt: skip

NAMES = ("ann", "bea")
CODES = ("x", "y")
Row = tuple[dict[str, Any], tuple[str, ...]]


@st.composite
def wards(draw: st.DrawFn) -> list[Row]:
    """Some resources with references among each other, also to what is not there, and with accounts."""

    def of(resource_type: str) -> dict[str, str]:
        return {"reference": f"{resource_type}/{draw(st.integers(1, 4))}"}

    def accounts() -> tuple[str, ...]:
        return draw(st.sampled_from([(), (A,), (B,), (B, A)]))

    made: list[Row] = []
    for number in range(1, 5):
        identity = str(number)
        born = f"19{draw(st.integers(40, 42))}-01-01"
        person = patient(identity, name=[{"family": draw(st.sampled_from(NAMES))}], birthDate=born, active=draw(st.booleans()))  # fmt: skip
        made.append((person | {"managingOrganization": of("Organization")}, accounts()))
        made.append(({"resourceType": "Organization", "id": identity, "name": draw(st.sampled_from(NAMES))}, accounts()))  # fmt: skip
        items = [{"item": of("Observation")} for _ in range(2)]
        made.append(({"resourceType": "List", "id": identity, "status": "current", "mode": "working", "entry": items}, accounts()))  # fmt: skip
        follows = of(draw(st.sampled_from(["Patient", "Observation", "Organization", "Binary", "List"])))
        letter = {"resourceType": "Binary", "id": identity, "contentType": "text/plain"}
        made.append((letter | ({"securityContext": follows} if draw(st.booleans()) else {}), accounts()))
        concept = {"include": [{"system": "http://loinc.org", "concept": [{"code": draw(st.sampled_from(CODES))}]}]}
        made.append(({"resourceType": "ValueSet", "id": identity, "url": "http://v", "status": "active", "compose": concept}, accounts()))  # fmt: skip
    for number in range(draw(st.integers(0, 16))):
        status = draw(st.sampled_from(["final", "amended"]))
        month = draw(st.integers(1, 3))
        subject = of(draw(st.sampled_from(["Patient", "Patient", "Group"])))
        code = draw(st.sampled_from(CODES))
        result = observation(
            str(number), code, subject["reference"], status=status, effectiveDateTime=f"2020-{month:02}-01"
        )
        made.append((result | {"performer": [of("Organization")]}, accounts()))
    return made


ids = st.integers(1, 4).map(str)
PARAMETERS = {
    "Patient": st.one_of(
        st.sampled_from(NAMES).map("name={}".format),
        st.sampled_from(NAMES).map("organization.name={}".format),
        st.sampled_from(CODES).map("_has:Observation:patient:code={}".format),
        ids.map("organization=Organization/{}".format),
        ids.map("_id={},2".format),
        st.sampled_from(["active=true", "birthdate=ge1941", "_account=Organization/a", "_account=Organization/b", "_has:Observation:patient:_has:List:item:_id=2"]),
    ),
    "Observation": st.one_of(
        st.sampled_from(CODES).map("code={}".format),
        ids.map("patient={}".format),
        ids.map("_list={}".format),
        st.sampled_from(NAMES).map("patient.name={}".format),
        st.sampled_from(NAMES).map("patient.organization.name={}".format),
        st.sampled_from(NAMES).map("performer:Organization.name={}".format),
        st.sampled_from(["status=final", "date=ge2020-02&date=le2020-03", "_compartment=Patient/1", "_has:List:item:_id=1", "patient.active=true", "patient.birthdate=ge1941", "code:in=http://v", "_account=Organization/b", "_lastUpdated=gt2020", "subject:missing=false"]),
    ),
    "List": st.one_of(ids.map("item=Observation/{}".format), st.sampled_from(CODES).map("item:Observation.code={}".format)),
    "Binary": st.sampled_from(["_id=1,3", "_account=Organization/a", "_lastUpdated=gt2020", "_account=Organization/b"]),
    "Organization": st.one_of(st.sampled_from(NAMES).map("name={}".format), st.sampled_from(NAMES).map("_has:Patient:organization:name={}".format)),
}  # fmt: skip
INCLUDES = {
    "Patient": ["_include=Patient:organization", "_revinclude=Observation:patient&_revinclude:iterate=List:item", "_revinclude=*"],
    "Observation": ["_include=Observation:patient&_include:iterate=Patient:organization", "_revinclude=List:item", "_include=*"],
    "List": ["_include=List:item&_include:iterate=Observation:subject"],
    "Binary": ["_include=*", "_revinclude=*"],
    "Organization": ["_revinclude=Patient:organization", "_revinclude=*"],
}  # fmt: skip
SORTS = {"Patient": ["birthdate,_id", "-family,_id", "_lastUpdated"], "Observation": ["-date,_id", "-_lastUpdated", "code,-_id"], "List": ["_id"], "Binary": ["-_id", "-_lastUpdated"], "Organization": ["name,_id"]}  # fmt: skip


@st.composite
def searches(draw: st.DrawFn) -> tuple[str, str, bool]:
    """(path, query, whether its order is asked for)."""
    resource_type = draw(st.sampled_from(["Patient", "Observation", "Observation", "List", "Binary", "Organization"]))
    path = draw(st.sampled_from([resource_type, resource_type, "Patient/1/Observation", "Patient/1/*"]))
    if path.endswith("*"):
        return path, f"_count={draw(st.integers(1, 4))}", False
    resource_type = path.rpartition("/")[2]
    parts = draw(st.lists(PARAMETERS[resource_type], max_size=2))
    parts += draw(st.lists(st.sampled_from(INCLUDES[resource_type]), max_size=1))
    sort = draw(st.none() | st.sampled_from(SORTS[resource_type]))
    parts += [f"_sort={sort}"] if sort else []
    parts += [f"_count={draw(st.integers(1, 5))}"]
    return path, "&".join(parts), sort is not None


def filled(rows: list[tuple[int, Row]]) -> MemoryStore:
    store = MemoryStore()
    for number, (resource, accounts) in rows:
        store.put(resource, accounts, updated=f"2026-01-01T00:{number // 60:02}:{number % 60:02}.000Z")
    return store


Found = tuple[list[str], set[str], Any]
"""Matches and includes of all pages, and the total."""


def everything(store: MemoryStore, path: str, query: str, **more: Any) -> Found | str:
    """What is found; or what is wrong with the search, such as a value set that is not there."""
    try:
        return all_pages(store, path, query, **more)
    except BadRequest as error:
        return str(error)


def all_pages(store: MemoryStore, path: str, query: str, **more: Any) -> Found:
    included: set[str] = set()
    found: list[str] = []
    total = search(store, path, f"{query}&_total=accurate", **more).get("total")
    bundle = search(store, path, query, **more)
    for _ in range(200):
        found += keys(bundle)
        included |= set(keys(bundle, "include"))
        following = link(bundle, "next")
        if following is None:
            return found, included, total
        bundle = search(store, path, following.partition("?")[2], **more)
    raise AssertionError("paging does not end")


@settings(max_examples=250, deadline=None)
@given(wards(), searches(), st.sampled_from(CALLERS), st.sampled_from([Limits(), Limits(page=2), Limits(inner=1)]))
def test_is_the_same_search_of_what_is_visible(
    rows: list[Row], asked: tuple[str, str, bool], who: Caller, limits: Limits
) -> None:
    path, query, sorted_ = asked
    numbered = list(enumerate(rows))
    full = filled(numbered)
    fence = policy.fence(full, who, policy.SEARCH)

    def visible(resource: dict[str, Any]) -> bool:
        head = full.current[f"{resource['resourceType']}/{resource['id']}"]
        return fence(Version(head, full.decode))

    # What governs the server serves callers who do not see it, too, and a tenant's own serves no unfenced caller: see
    # tests/unit/compartments/test_governing.py.
    governed = any(
        of_type["resourceType"] in governing.TYPES and (own or not visible(of_type)) for of_type, own in rows
    )
    assume(not (governed and (":in=" in query or ":not-in=" in query or ":below=" in query or ":above=" in query)))
    subset = filled([(number, row) for number, row in numbered if visible(row[0])])
    found = everything(full, path, query, fence=fence, limits=limits)
    expected = everything(subset, path, query)
    if not sorted_ and not isinstance(found, str) and not isinstance(expected, str):
        found, expected = (sorted(found[0]), *found[1:]), (sorted(expected[0]), *expected[1:])
    assert found == expected


LIMITS = Limits()


def ward(visible: int, hidden: int) -> MemoryStore:
    store = MemoryStore()
    for number in range(hidden):
        store.put(observation(f"h{number:03}"), accounts=(B,))
    for number in range(visible):
        store.put(observation(f"v{number:03}", status="final" if number % 2 else "amended"), accounts=(A,))
    return store


class TestWhatLeads:
    """Where everything of a type would be read, the fence leads: a tenant's search costs what the tenant has."""

    def run(self, store: MemoryStore, query: str, who: Caller, limits: Limits = LIMITS) -> tuple[Plan, list[str]]:
        plans: list[Plan] = []
        fence = policy.fence(store, who, policy.SEARCH)
        more: dict[str, Any] = {"fence": fence, "limits": limits}
        search(store, "Observation", query, explain=plans.append, **more)
        return plans[0], pages(store, "Observation", query, **more)

    @pytest.mark.parametrize("who", [CALLERS[0], CALLERS[1]])
    def test_is_what_carries_an_account(self, who: Caller) -> None:
        store = ward(30, 300)
        store.reads.clear()
        plan, found = self.run(store, "_count=5", who, Limits(page=40) if who is CALLERS[0] else Limits())
        assert isinstance(plan.driver, Merged)
        if who is CALLERS[0]:
            assert len(found) == 30
            # Seven pages, and one more to see what leads: of what is hidden nothing is read.
            assert store.reads.count("BatchGetItem") <= 8

    def test_is_the_chart_of_a_patient(self) -> None:
        store = ward(4, 4)
        store.put(observation("own", subject="Patient/p"))
        plan, found = self.run(store, "status=final", Caller("p", ALL, patient="p"))
        assert isinstance(plan.driver, Merged)
        assert found == ["Observation/own"]

    def test_is_nothing_where_nothing_can_be_seen(self) -> None:
        store = ward(4, 4)
        store.reads.clear()
        _, found = self.run(store, "", CALLERS[2])
        assert found == []
        assert store.reads == []

    @pytest.mark.parametrize("query", ["code=1234-5", "patient=1", "_sort=-_lastUpdated", "patient.name=x"])
    def test_not_where_something_better_does(self, query: str) -> None:
        store = ward(4, 4)
        plans: list[Plan] = []
        for who in (CALLERS[0], Caller("free", ALL)):
            plans.append(self.run(store, query, who)[0])
        assert type(plans[0].driver) is type(plans[1].driver)

    def test_not_for_who_is_not_fenced(self) -> None:
        assert isinstance(self.run(ward(4, 4), "", Caller("free", ALL))[0].driver, Created)

    def test_sorting_gathers_what_is_visible_only(self) -> None:
        store = ward(30, 300)
        _, found = self.run(store, "_sort=date&_count=100", CALLERS[0], Limits(gathered=100))
        assert len(found) == 30


CODE = "code=1234-5"


@pytest.mark.parametrize("query", ["", "_sort=-_lastUpdated", "_sort=_id", "_lastUpdated=gt2020"])
@pytest.mark.parametrize("who", [CALLERS[0], Caller("p", ALL, patient="v")])
def test_of_many_letters_those_that_follow_what_is_visible_are_found(query: str, who: Caller) -> None:
    """Another tenant's thousand letters cost a small one little, and are no error."""
    store = MemoryStore()
    store.put(patient("v"), accounts=(A,))
    store.put(patient("h"), accounts=(B,))
    for number in range(1_000):
        mine = number % 100 == 50
        letter = {"resourceType": "Binary", "id": f"b{number:04}", "contentType": "text/plain"}
        store.put(letter | {"securityContext": {"reference": f"Patient/{'v' if mine else 'h'}"}})
    fence = policy.fence(store, who, policy.SEARCH)
    limits = Limits(page=300, gathered=300, counted=300)
    store.reads.clear()
    found = pages(store, "Binary", f"{query}&_count=20".lstrip("&"), fence=fence, limits=limits)
    assert sorted(found) == [f"Binary/b{number:04}" for number in range(50, 1_000, 100)]
    assert store.reads.count("BatchGetItem") <= 20
    assert search(store, "Binary", f"{query}&_summary=count".lstrip("&"), fence=fence, limits=limits)["total"] == 10


@pytest.mark.parametrize("query", ["_account=Organization/b", "_account=Organization/a,Organization/b"])
def test_a_directory_for_everybody_does_not_slow_down_a_search_of_all_types(query: str) -> None:
    """What follows each of its resources is not asked for as long as the search meets none of that kind."""
    store = MemoryStore()
    for number in range(500):
        store.put({"resourceType": "Practitioner", "id": f"p{number:03}"})
    for number in range(2_000):
        store.put(observation(f"h{number:04}"), accounts=(B,))
    store.put(observation("v"), accounts=(A,))
    fence = policy.fence(store, CALLERS[0], policy.SEARCH)
    store.reads.clear()
    found = pages(store, "", f"{query}&_count=20", fence=fence, limits=Limits(page=300))
    assert found == (["Observation/v"] if "Organization/a" in query else [])
    assert store.reads.count("Query") < 200
    assert store.reads.count("BatchGetItem") < 20


@pytest.fixture(scope="module")
def busy() -> MemoryStore:
    """A tenant with 10,000 Observations of one code and performer, another with 30, of people of its own."""
    store = MemoryStore()
    performer = [{"reference": "Practitioner/p"}]
    store.put({"resourceType": "Practitioner", "id": "p"}, accounts=(A, B))
    for number in range(3):
        store.put(patient(f"v{number}"), accounts=(A,))
    for number in range(30):
        more: dict[str, Any] = {
            "subject": f"Patient/v{number % 3}",
            "performer": performer,
            "meta": {"tag": [{"code": "t"}]},
        }
        store.put(observation(f"v{number:05}", effectiveDateTime=f"2020-01-{number + 1:02}", **more), accounts=(A,))
    for number in range(10_000):
        name, month = f"{'a' if number % 2 else 'z'}{number:05}", number % 12 + 1
        more = {"subject": "Patient/h", "performer": performer, "meta": {"tag": [{"code": "t"}]}}
        store.put(observation(name, effectiveDateTime=f"20{number % 30:02}-{month:02}", **more), accounts=(B,))
    return store


# One worker makes the ten thousand.
@pytest.mark.xdist_group("the race")
class TestTheRace:
    """Ten thousand matches of another tenant cost a small one next to nothing, whatever leads, and are no error."""

    @pytest.mark.parametrize(
        "query",
        [
            CODE,
            "performer=Practitioner/p",
            f"{CODE}&status=final",
            f"{CODE}&_sort=-date",
            f"{CODE}&_sort=-_lastUpdated",
            f"{CODE}&_sort=-_id",
            "_sort=-_lastUpdated",
            "_lastUpdated=gt2020",
            "performer=Practitioner/p&_sort=-date",
            "performer:Practitioner._id=p",
            "_tag=t",
        ],
    )
    @pytest.mark.parametrize("count", [7, 50])
    def test_a_search(self, busy: MemoryStore, query: str, count: int) -> None:
        fence = policy.fence(busy, CALLERS[0], policy.SEARCH)
        limits = Limits(page=2000, gathered=2000, counted=2000)
        busy.reads.clear()
        found = pages(busy, "Observation", f"{query}&_count={count}", fence=fence, limits=limits)
        assert sorted(found) == [f"Observation/v{number:05}" for number in range(30)]
        assert busy.reads.count("BatchGetItem") <= 10 * (30 // count + 1)
        total = search(busy, "Observation", f"{query}&_summary=count", fence=fence, limits=limits)["total"]
        assert total == 30

    def test_has(self, busy: MemoryStore) -> None:
        fence = policy.fence(busy, CALLERS[0], policy.SEARCH)
        limits = Limits(page=2000, gathered=2000, counted=2000)
        busy.reads.clear()
        for query in (f"_has:Observation:subject:{CODE}", "_has:Observation:subject:performer=Practitioner/p"):
            found = pages(busy, "Patient", query, fence=fence, limits=limits)
            assert found == ["Patient/v0", "Patient/v1", "Patient/v2"]
        assert busy.reads.count("BatchGetItem") <= 30

    def test_revinclude(self, busy: MemoryStore) -> None:
        fence = policy.fence(busy, CALLERS[0], policy.SEARCH)
        busy.reads.clear()
        found = search(busy, "Practitioner", "_id=p&_revinclude=Observation:performer", fence=fence)
        assert keys(found, "include") == [f"Observation/v{number:05}" for number in range(30)]
        assert busy.reads.count("BatchGetItem") <= 15

    def test_is_the_same_for_who_sees_all(self, busy: MemoryStore) -> None:
        assert search(busy, "Observation", f"{CODE}&_summary=count")["total"] == 10_030


def test_a_made_up_page_link_cannot_compare_with_what_is_hidden() -> None:
    """The end of a sorted page is named by a version: of a hidden resource it would tell which values are greater."""
    store = MemoryStore()
    for number in range(4):
        store.put(patient(str(number), birthDate=f"195{number}-01-01"), accounts=(A,))
    store.put(patient("hidden", birthDate="1952-01-01"), accounts=(B,))
    query = parse([("_sort", "birthdate,family")], "Patient", base="http://here/fhir/R4")
    made_up = cursor.encode(["Patient/hidden", 1], None, query)
    fence = policy.fence(store, CALLERS[0], policy.SEARCH)
    with pytest.raises(BadRequest):
        search(store, "Patient", f"_sort=birthdate,family&_cursor={made_up}", fence=fence)
    assert search(store, "Patient", f"_sort=birthdate,family&_cursor={made_up}")["entry"]

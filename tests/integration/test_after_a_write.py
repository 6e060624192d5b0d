"""What holds right after a write, while the indexes do not show it yet: README, "Search right after a write"."""

from __future__ import annotations

import random
from typing import Any

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis
from hypothesis import strategies as st

from bulkhead import history, resources
from bulkhead.access.policy import EVERYBODY
from bulkhead.fhir import dates
from bulkhead.jobs import propagation_steps
from bulkhead.jobs.lifecycle import Background
from bulkhead.session import Session
from bulkhead.store import Store
from bulkhead.store import history as stored_history
from infra.local.lag import LaggingIndexes
from tests.conftest import lagging
from tests.support.bundle_samples import SYSTEM
from tests.support.clock import Clock, stopped
from tests.support.scene import PATIENT, A, B, Scene, manifest
from tests.support.searches import pages as all_pages
from tests.support.searches import search

LAG, SETTLE = 3, 5


def observation(name: str, code: str, subject: str = PATIENT, **content: Any) -> dict[str, Any]:
    coding = {"coding": [{"system": "http://loinc.org", "code": code}]}
    return {
        "resourceType": "Observation",
        "id": name,
        "status": "final",
        "code": coding,
        "subject": {"reference": subject},
        **content,
    }


def put(store: Store, resource: dict[str, Any]) -> str:
    return resources.update(Session.of(store, EVERYBODY), resource, f"{resource['resourceType']}/{resource['id']}")[
        0
    ].key


def found(store: Any, path: str, query: str) -> list[str]:
    return sorted(all_pages(store, path, query))


def total(store: Any, query: str) -> int:
    number: int = search(store, "Observation", query)["total"]
    return number


class Lagging:
    """A scene whose indexes show what was there at its beginning."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.scene = Scene(store)
        put(store, {"resourceType": "Patient", "id": "p", "name": [{"family": "Before"}]})
        for name in ("kept", "changed", "deleted"):
            put(store, observation(name, "a"))
        self.indexes = lagging(store)


@pytest.fixture
def lag(store: Store) -> Lagging:
    return Lagging(store)


def test_what_is_asked_for_by_its_name_is_there_at_once(lag: Lagging) -> None:
    key = put(lag.store, observation("new", "a", identifier=[{"system": SYSTEM, "value": "1"}]))
    put(lag.store, observation("new", "b", identifier=[{"system": SYSTEM, "value": "1"}]))
    assert resources.read(Session.of(lag.store, EVERYBODY), key).version == 2
    assert resources.read_version(Session.of(lag.store, EVERYBODY), key, "1").version == 1
    page = history.page(Session.of(lag.store, EVERYBODY), history.parse(key, [], 20, limit=1000))
    assert [head.version for head in page.heads] == [2, 1]
    for query in ("_id=new", "_id=new&code=b", f"identifier={SYSTEM}|1", "identifier=1", "patient=p&identifier=1"):
        assert found(lag.store, "Observation", query) == [key], query
    assert found(lag.store, "Observation", "_id=new&code=a") == []
    assert resources.delete(Session.of(lag.store, EVERYBODY), key)
    assert found(lag.store, "Observation", f"_id=new,kept&identifier={SYSTEM}|1") == []


QUERIES = [
    "code=a",
    "patient=p&code=a",
    "patient=p",
    "_lastUpdated=gt2000",
    "status=final&code=a",
    "patient.name=before&code=a",
]


@pytest.mark.parametrize("query", QUERIES)
def test_what_a_search_finds_is_true_now(lag: Lagging, query: str) -> None:
    """New resources come when the index shows them; what was deleted, or meets the search no more, is gone at once. So are totals."""
    before = found(lag.store, "Observation", query)
    assert before == ["Observation/changed", "Observation/deleted", "Observation/kept"]
    put(lag.store, observation("changed", "b", "Patient/q"))
    put(lag.store, observation("new", "a"))
    resources.delete(Session.of(lag.store, EVERYBODY), "Observation/deleted")
    # Of a search by time alone a resource that was changed may be away until the index shows the change.
    assert found(lag.store, "Observation", query) == ["Observation/kept"]
    assert total(lag.store, f"{query}&_total=accurate") == total(lag.store, f"{query}&_summary=count") == 1
    lag.indexes.catch_up()
    later = ["Observation/kept", "Observation/new"] + (["Observation/changed"] if "lastUpdated" in query else [])
    assert sorted(found(lag.store, "Observation", query)) == sorted(later)
    assert total(lag.store, f"{query}&_total=accurate") == len(later)


@pytest.mark.parametrize(
    "query", ["patient.name=before", "patient.name=before&code=a", "_has:Provenance:target:agent=Organization/a"]
)
def test_chains_see_resources_as_they_are_now(lag: Lagging, query: str) -> None:
    put(
        lag.store,
        {
            "resourceType": "Provenance",
            "id": "1",
            "target": [{"reference": "Observation/kept"}],
            "recorded": "2020-01-01T00:00:00Z",
            "agent": [{"who": {"reference": A}}],
        },
    )
    lag.indexes.catch_up()
    assert "Observation/kept" in found(lag.store, "Observation", query)
    put(lag.store, {"resourceType": "Patient", "id": "p", "name": [{"family": "After"}]})
    resources.delete(Session.of(lag.store, EVERYBODY), "Provenance/1")
    assert found(lag.store, "Observation", query) == []
    lag.indexes.catch_up()
    assert found(lag.store, "Observation", "_id=kept&patient.name=after") == ["Observation/kept"]


SEARCHES = [
    ("Observation", "_count=3"),
    ("Observation", "code=a,b&_count=3"),
    ("Observation", "patient=p,q&_count=2"),
    ("Patient/p/*", "_count=2"),
    ("Observation", "patient=p&code=a,b&_count=2"),
]


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(("path", "query"), SEARCHES)
def test_pages_neither_skip_nor_repeat_while_the_index_catches_up(
    lag: Lagging, path: str, query: str, seed: int
) -> None:
    """Of what stands still all comes once, whatever happens to others meanwhile, and in whatever order the index shows it."""
    chance = random.Random(seed)
    still = [put(lag.store, observation(f"still{n}", chance.choice("ab"))) for n in range(8)]
    lag.indexes.catch_up()

    def meanwhile(page: int) -> None:
        for _ in range(3):
            name = f"moved{chance.randrange(8)}"
            if chance.random() < 0.3:
                resources.delete(Session.of(lag.store, EVERYBODY), f"Observation/{name}")
            else:
                put(lag.store, observation(name, chance.choice("ab"), chance.choice((PATIENT, "Patient/q"))))
        show(lag.indexes, f"Observation/moved{chance.randrange(8)}")

    given_out = all_pages(lag.store, path, query, meanwhile)
    assert sorted(key for key in given_out if key in still) == sorted(still)
    assert "Observation/kept" in given_out


def show(indexes: LaggingIndexes, resource: str) -> None:
    """Let the indexes catch up with one resource."""
    indexes.catch_up(lambda index, key: key[0] == resource)


@hypothesis(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.data())
def test_a_feed_misses_and_repeats_nothing(make_store: Any, data: st.DataObject) -> None:
    """A poller whose horizon is behind what the index has yet to show, as HISTORY_SETTLE sees to."""
    store: Store = make_store()
    indexes = lagging(store)
    hidden: dict[str, str] = {}
    made: list[tuple[str, int]] = []
    given_out: list[tuple[str, int]] = []
    link: str | None = None
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stored_history, "horizon", lambda *_: min(hidden.values(), default=dates.now()))
        for _ in range(data.draw(st.integers(5, 25))):
            action = data.draw(st.sampled_from(["write", "write", "delete", "show", "poll"]))
            key = f"Basic/{data.draw(st.integers(0, 3))}"
            if action == "write":
                head = resources.update(
                    Session.of(store, EVERYBODY),
                    {"resourceType": "Basic", "id": key[6:], "code": {"text": f"{len(made)}"}},
                    key,
                )[0]
            elif action == "delete":
                gone = resources.delete(Session.of(store, EVERYBODY), key)
                if gone is None:
                    continue
                head = gone
            elif action == "show":
                show(indexes, key)
                hidden.pop(key, None)
                continue
            else:
                link = poll(store, link, given_out)
                continue
            made.append((head.key, head.version))
            hidden.setdefault(key, just_before(head.updated))
        indexes.catch_up()
        hidden.clear()
        poll(store, link, given_out)
    assert sorted(given_out) == sorted(made)


def just_before(stamp: str) -> str:
    return stamp[:-4] + "000Z"


def poll(store: Store, link: str | None, given_out: list[tuple[str, int]]) -> str:
    """Follow a feed to its present end; returns the link to come back with."""
    while True:
        query = [("_sort", "_lastUpdated"), ("_count", "2"), *([("_cursor", link)] if link else [])]
        page = history.page(Session.of(store, EVERYBODY), history.parse("Basic", query, 20, limit=1000))
        given_out += [(head.key, head.version) for head in page.heads]
        link = page.next
        if link is None:
            assert page.monitor is not None
            return page.monitor


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return stopped(monkeypatch)


@pytest.fixture
def scene(make_store: Any, clock: Clock) -> Scene:
    """Its indexes lag by three seconds, and a propagation waits for five, as on AWS."""
    made = Scene(make_store(propagation_settle=SETTLE))
    client: Any = LaggingIndexes(made.store.table.client, LAG, clock.monotonic)
    made.store.table.client = client
    return made


@pytest.mark.parametrize("asynchronous", [False, True])
def test_a_propagation_reaches_what_the_index_hides_at_first(scene: Scene, clock: Clock, asynchronous: bool) -> None:
    keys = [scene.observation(str(n)) for n in range(3)]
    if asynchronous:
        started: list[str] = []
        scene.set(PATIENT, A, propagate=True, background=Background(started.append))
        state: dict[str, Any] = {"job": started[0], "next": "plan"}
        while state["next"] != "finish":
            clock.sleep(state.get("settle", 0))
            state = propagation_steps.plan(scene.store, state)
            for item in manifest(scene.store, state):
                propagation_steps.work(scene.store, item)
    else:
        assert scene.set(PATIENT, A, propagate=True) == 4
    assert scene.accounts_of(keys) == {(A,)}


def test_so_does_one_that_finishes_another(scene: Scene, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first request changed the patient and died. To the second one all seems well: what is not, the index hides."""
    key = scene.observation("o")
    scene.set(PATIENT, B)
    scene.adjust(PATIENT, explicit={"L": [{"S": A}]}, propagate={"BOOL": True})
    assert scene.accounts(key) == ()
    assert scene.set(PATIENT, A, propagate=True) == 2
    assert scene.accounts(key) == (A,)
    begun = clock.now
    clock.now += 60
    assert scene.set(PATIENT, A, propagate=True) == 2
    assert clock.now - begun == pytest.approx(60), "long after its last change a run has nothing to wait for"


def test_nor_is_a_member_that_joins_while_it_is_hidden_left_behind(scene: Scene, clock: Clock) -> None:
    """Other kinds of target pass on what they have from the moment that their flag is set, which makes no version."""
    scene.create("Encounter/e")
    scene.set("Encounter/e", A)
    key = scene.put("Observation/o", encounter={"reference": "Encounter/e"}).key
    clock.now += 60
    late = scene.put("Observation/late", encounter={"reference": "Encounter/e"}).key
    scene.store.set_propagate(scene.head("Encounter/e"), flag=True, within={})
    assert scene.set("Encounter/e", A, propagate=True) == 3
    assert scene.accounts_of([key, late]) == {(A,)}

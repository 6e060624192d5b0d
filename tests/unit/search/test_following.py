"""What is open because of another resource (letters, events of the trail) is listed from what the caller sees, each resource once."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bulkhead.access import policy
from bulkhead.access.policy import Caller, Scope
from bulkhead.search.run import Limits
from bulkhead.store.version import Version
from tests.support.memory_store import MemoryStore
from tests.support.search_samples import patient
from tests.support.searches import pages, search

A, B = "Organization/a", "Organization/b"
ALL = (Scope("system", "*", "cruds"),)
TENANT, OF_PATIENT = Caller("a", ALL, accounts=(A,)), Caller("p", ALL, patient="v0")
CALLERS = [TENANT, OF_PATIENT, Caller("both", ALL, accounts=(A,), patient="v0"), Caller("none", ALL, accounts=()), Caller("two", ALL, accounts=(A, B))]  # fmt: skip


def event(number: int, *entities: str, own: bool = False) -> dict[str, Any]:
    """An event of the server's, or of a client's (`own`), about some resources."""
    what = [{"what": {"reference": key}} for key in entities]
    recorded = f"2026-11-{number % 28 + 1:02d}T00:00:00Z"
    name = f"{'own' if own else 'audit'}-{number:04d}"
    return {"resourceType": "AuditEvent", "id": name, "recorded": recorded} | ({"entity": what} if what else {})


def letter(number: int, context: str | None) -> dict[str, Any]:
    its = {"securityContext": {"reference": context}} if context else {}
    return {"resourceType": "Binary", "id": f"b{number}", "contentType": "text/plain"} | its


keys = st.sampled_from(["Patient/v0", "Patient/v1", "Patient/h", "Binary/b0", "Binary/b1", "Organization/o", "AuditEvent/audit-0000"])  # fmt: skip
accounts = st.sampled_from([(), (A,), (B,), (A, B)])


@st.composite
def worlds(draw: st.DrawFn) -> MemoryStore:
    store = MemoryStore(keep_stale=draw(st.booleans()))
    for name in ("v0", "v1", "h"):
        store.put(patient(name), accounts=draw(accounts))
    store.put({"resourceType": "Organization", "id": "o"}, accounts=draw(accounts))
    for number in range(2):
        store.put(letter(number, draw(st.none() | keys)), accounts=draw(accounts))
    for number in range(draw(st.integers(0, 6))):
        store.put(event(number, *draw(st.lists(keys, max_size=3, unique=True))))
    for number in range(draw(st.integers(0, 2))):
        store.put(event(number, *draw(st.lists(keys, max_size=2)), own=True), accounts=draw(accounts))
    return store


SEARCHES = [("", "_lastUpdated=gt2020"), ("AuditEvent", ""), ("AuditEvent", "_sort=-date"), ("AuditEvent", "date=ge2026-11-02"), ("Binary", ""), ("", "_type=AuditEvent,Binary,Patient")]  # fmt: skip


@settings(max_examples=150, deadline=None)
@given(worlds(), st.sampled_from(SEARCHES), st.sampled_from(CALLERS), st.integers(1, 4), st.booleans())
def test_all_that_is_visible_is_found_once(
    store: MemoryStore, asked: tuple[str, str], who: Caller, count: int, raced: bool
) -> None:
    path, query = asked
    fence = policy.fence(store, who, policy.SEARCH)
    everything = set(pages(store, path, f"{query}&_count=1000"))
    expected = {key for key in everything if fence(Version(store.current[key], store.decode))}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("bulkhead.search.race.FREE", 0 if raced else 100)
        found = pages(store, path, f"{query}&_count={count}", fence=fence)
    assert sorted(found) == sorted(expected)


def busy(hidden: int) -> MemoryStore:
    """A tenant with five people and ten events about them, among those of others: between them, so that no page is free of these."""
    store = MemoryStore()
    for number in range(5):
        store.put(patient(f"v{number}"), accounts=(A,))
    store.put(patient("h"), accounts=(B,))
    store.put(letter(0, "Patient/v0"))
    for number in range(hidden):
        store.put(event(number, "Patient/h"))
        if number % (hidden // 10) == 0:
            about = "Binary/b0" if number == 0 else f"Patient/v{number % 5}"
            store.put(event(5_000 + number, about))
    return store


COUNTED = [("", "_lastUpdated=gt2020"), ("", "_lastUpdated=gt2020&_count=3"), ("", "_type=AuditEvent,Patient&_lastUpdated=gt2020"), ("AuditEvent", "_sort=-date&_count=5")]  # fmt: skip


@pytest.mark.parametrize("asked", COUNTED[:2])
@pytest.mark.parametrize("who", [TENANT, OF_PATIENT])
def test_a_search_of_the_system_reads_nothing_of_the_trail_of_others(asked: tuple[str, str], who: Caller) -> None:
    costs = []
    for hidden in (150, 600):
        store = busy(hidden)
        fence = policy.fence(store, who, policy.SEARCH)
        store.reads.clear()
        found = pages(store, *asked, fence=fence)
        assert "Binary/b0" in found
        assert "AuditEvent/audit-5000" in found
        assert len(found) == (5 + 1 + 10 if who is TENANT else len(set(found)))
        costs.append(sorted(store.reads))
    assert costs[0] == costs[1]


@pytest.mark.parametrize("asked", COUNTED[2:])
def test_the_trail_of_others_costs_no_heads_beyond_the_first_hundred(asked: tuple[str, str]) -> None:
    costs = []
    for hidden in (300, 1_200):
        store = busy(hidden)
        fence = policy.fence(store, TENANT, policy.SEARCH)
        store.reads.clear()
        assert len([key for key in pages(store, *asked, fence=fence) if key.startswith("AuditEvent/")]) == 10
        costs.append(store.reads.count("BatchGetItem"))
    # Four times as many.
    assert costs[1] < 1.5 * costs[0]


def test_thousands_of_hidden_events_are_no_error() -> None:
    store = busy(3_000)
    fence = policy.fence(store, TENANT, policy.SEARCH)
    limits = Limits(page=300, gathered=300, counted=300)
    found = search(store, "AuditEvent", "_sort=-date,outcome&_count=50", fence=fence, limits=limits)
    assert len(found["entry"]) == 10
    assert search(store, "AuditEvent", "_summary=count", fence=fence, limits=limits)["total"] == 10

"""History of a resource, of a type and of the system: what is listed, paging, the feed, and what a fenced caller learns."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis
from hypothesis import strategies as st

from bulkhead import history, resources
from bulkhead.access.policy import EVERYBODY, Caller
from bulkhead.errors import BadRequest, Forbidden, Gone, NotFound, TooCostly
from bulkhead.fhir import dates
from bulkhead.history import Page, cursor, paging
from bulkhead.session import Session
from bulkhead.store import Moment, Store, Write
from bulkhead.store import active_months as stored_months
from bulkhead.store import history as stored_history

Seen = tuple[str, int]

FENCED = Caller("x", EVERYBODY.scopes, accounts=("Organization/a",))


def basic(text: str = "", **content: Any) -> dict[str, Any]:
    return {"resourceType": "Basic", "code": {"text": text or "x"}, **content}


def put(store: Store, key: str, text: str, who: Caller = EVERYBODY) -> Seen:
    head, _ = resources.update(Session.of(store, who), basic(text, id=key.partition("/")[2]), key)
    return head.key, head.version


def delete(store: Store, key: str) -> Seen:
    head = resources.delete(Session.of(store, EVERYBODY), key)
    assert head
    return head.key, head.version


def get(store: Store, path: str, who: Caller = EVERYBODY, **parameters: str) -> Page:
    pairs = [(f"_{name}", value) for name, value in parameters.items()]
    return history.page(Session.of(store, who), history.parse(path, pairs, 20, limit=1000))


def seen(page: Page) -> list[Seen]:
    return [(head.key, head.version) for head in page.heads]


def pages(store: Store, path: str, **parameters: str) -> list[list[Seen]]:
    """All pages, by their next links."""
    page = get(store, path, EVERYBODY, **parameters)
    found = [seen(page)]
    while page.next:
        page = get(store, path, EVERYBODY, **parameters, cursor=page.next)
        found.append(seen(page))
    return found


@pytest.fixture
def made(store: Store) -> list[Seen]:
    """Seven changes of three resources, oldest first."""
    first = [put(store, f"Basic/{name}", "1") for name in "abc"]
    return [*first, put(store, "Basic/b", "2"), delete(store, "Basic/c"), put(store, "Basic/a", "2"), put(store, "Basic/a", "3")]  # fmt: skip


@pytest.mark.parametrize("path", ["Basic", ""])
def test_everything_newest_first(store: Store, made: list[Seen], path: str) -> None:
    page = get(store, path)
    assert sorted(seen(page)) == sorted(made)
    stamps = [head.updated for head in page.heads]
    assert stamps == sorted(stamps, reverse=True)
    assert page.total == 7
    assert [head.key for head in page.heads if head.deleted] == ["Basic/c"]


def test_of_one(store: Store, made: list[Seen]) -> None:
    assert seen(get(store, "Basic/a")) == [("Basic/a", 3), ("Basic/a", 2), ("Basic/a", 1)]
    assert seen(get(store, "Basic/a", sort="_lastUpdated")) == [("Basic/a", 1), ("Basic/a", 2), ("Basic/a", 3)]
    assert get(store, "Basic/a", count="1").total == 3
    with pytest.raises(NotFound):
        get(store, "Basic/nobody")


@pytest.mark.parametrize("path", ["Basic", "", "Basic/a"])
@pytest.mark.parametrize("sort", ["_lastUpdated", "-_lastUpdated"])
@pytest.mark.parametrize("count", [1, 2, 3, 100])
def test_pages_there_and_back(store: Store, made: list[Seen], path: str, sort: str, count: int) -> None:
    whole = seen(get(store, path, sort=sort))
    page = get(store, path, sort=sort, count=str(count))
    there = [page]
    while page.next:
        page = get(store, path, sort=sort, count=str(count), cursor=page.next)
        there.append(page)
    assert [one for page in there for one in seen(page)] == whole
    assert len(there) == -(-len(whole) // count)
    back = [page]
    while page.previous:
        page = get(store, path, sort=sort, count=str(count), cursor=page.previous)
        back.append(page)
    assert [seen(page) for page in reversed(back)] == [seen(page) for page in there]


def test_next_pages_are_not_moved_by_later_changes(store: Store, made: list[Seen]) -> None:
    first = get(store, "Basic", count="3")
    before = pages(store, "Basic", count="3")
    put(store, "Basic/a", "4")
    put(store, "Basic/new", "1")
    assert first.next
    assert seen(get(store, "Basic", count="3", cursor=first.next)) == before[1]


def test_resources_of_one_transaction_and_one_id_are_each_listed_once(store: Store) -> None:
    writes = [
        resources.prepare_create(
            Session.of(store, EVERYBODY), resource, f"{resource['resourceType']}/same", fresh=False
        )
        for resource in (
            basic(),
            {"resourceType": "Patient"},
            {"resourceType": "Group", "type": "person", "actual": True},
        )
    ]
    store.commit(writes)
    for sort in ("_lastUpdated", "-_lastUpdated"):
        listed = [one for page in pages(store, "", count="1", sort=sort) for one in page]
        assert sorted(listed) == [("Basic/same", 1), ("Group/same", 1), ("Patient/same", 1)]


def test_since(store: Store, made: list[Seen], monkeypatch: pytest.MonkeyPatch) -> None:
    stamp(monkeypatch, "2030-05-01T10:00:00.000Z")
    put(store, "Basic/b", "3")
    stamp(monkeypatch, "2030-05-02T10:00:00.000Z")
    put(store, "Basic/b", "4")
    for since, versions in (("2030-05-01T10:00:00.000Z", [4, 3]), ("2030-05-01T10:00:00.001Z", [4]), ("2030-05-02", [4]), ("2031", [])):  # fmt: skip
        for path in ("Basic", "Basic/b", ""):
            assert [version for _, version in seen(get(store, path, since=since))] == versions


def stamp(monkeypatch: pytest.MonkeyPatch, moment: str) -> None:
    monkeypatch.setattr("bulkhead.store.commits.dates.now", lambda: moment)


@pytest.mark.parametrize("path", ["Basic", ""])
def test_at_lists_what_was_current_then(store: Store, monkeypatch: pytest.MonkeyPatch, path: str) -> None:
    days: list[tuple[str, Callable[[], Seen]]] = [
        ("01", lambda: put(store, "Basic/a", "1")),
        ("02", lambda: put(store, "Basic/b", "1")),
        ("03", lambda: put(store, "Basic/a", "2")),
        ("04", lambda: delete(store, "Basic/b")),
        ("06", lambda: put(store, "Basic/a", "3")),
    ]
    for day, change in days:
        stamp(monkeypatch, f"2030-05-{day}T12:00:00.000Z")
        change()
    a, b = "Basic/a", "Basic/b"
    expected = {
        "2030-04-30": [],
        "2030-05-01T13:00:00Z": [(a, 1)],
        "2030-05-03": [(a, 2), (b, 1), (a, 1)],
        "2030-05-04": [(b, 2), (a, 2), (b, 1)],
        "2030-05-05": [(a, 2)],
        "2030-05-07": [(a, 3)],
    }
    assert {at: seen(get(store, path, at=at)) for at in expected} == expected
    assert seen(get(store, "Basic/a", at="2030-05-03")) == [(a, 2), (a, 1)]


@pytest.mark.parametrize(
    ("name", "value"),
    [("since", "yesterday"), ("at", "2030-13-01"), ("sort", "name"), ("count", "-1"), ("count", "x"), ("cursor", "x")],
)
def test_bad_parameters_are_named(store: Store, name: str, value: str) -> None:
    with pytest.raises(BadRequest) as caught:
        get(store, "Basic", EVERYBODY, **{name: value})
    assert caught.value.issues[0].expression == f"_{name}"


@pytest.mark.parametrize(
    ("path", "other"), [("Patient", {}), ("Basic", {"sort": "_lastUpdated"}), ("Basic", {"since": "2020"})]
)
def test_a_cursor_belongs_to_its_history(store: Store, made: list[Seen], path: str, other: dict[str, str]) -> None:
    text = get(store, "Basic", count="2").next
    assert text
    with pytest.raises(BadRequest):
        get(store, path, EVERYBODY, **other, cursor=text)


def test_forged_positions_are_refused() -> None:
    query = history.parse("Basic", [], 20, limit=1000)
    for place in (cursor.Place("x", "Basic"), cursor.Place("2030-05-01T10:00:00.000Z#a#0000000001", "X")):
        text = cursor.encode(cursor.Cursor(cursor.FORWARD, place), query)
        with pytest.raises(BadRequest):
            cursor.decode(text, query)


# Access


@pytest.mark.parametrize("path", ["Basic", ""])
def test_a_fenced_caller_sees_the_versions_of_what_it_sees_now(store: Store, made: list[Seen], path: str) -> None:
    inside = put(store, "Basic/inside", "1", FENCED)
    put(store, "Basic/lost", "1", FENCED)
    delete(store, "Basic/lost")
    page = get(store, path, FENCED, count="1")
    assert seen(page) == [inside]
    assert page.next is None
    assert page.total == 1


@pytest.mark.parametrize("path", ["Basic/moved", "Basic", ""])
def test_versions_from_before_it_was_theirs_are_shown_as_the_setting_says(new_store: Any, path: str) -> None:
    """`current`: all of what the caller may see now. `version`: those that were within the fence themselves."""
    seen_now, seen_then = (new_store(history_access=setting) for setting in ("current", "version"))
    for store in (seen_now, seen_then):
        first = put(store, "Basic/moved", "1")
        for accounts in (("Organization/a",), ("Organization/b",), ("Organization/b", "Organization/a")):
            head = store.read("Basic/moved")
            store.commit([Write("Basic/moved", head, head.body, explicit=accounts)])
        delete(store, "Basic/moved")
        resources.update(Session.of(store, EVERYBODY), basic("6", id="moved", meta={"accounts": [{"reference": "Organization/a"}]}), "Basic/moved")  # fmt: skip
        assert first == ("Basic/moved", 1)
    assert [version for _, version in seen(get(seen_now, path, FENCED))] == [6, 5, 4, 3, 2, 1]
    assert [version for _, version in seen(get(seen_now, path))] == [6, 5, 4, 3, 2, 1]
    assert [version for _, version in seen(get(seen_then, path, FENCED))] == [6, 4, 2]
    assert [version for _, version in seen(get(seen_then, path))] == [6, 5, 4, 3, 2, 1]
    page = get(seen_then, path, FENCED, count="1")
    assert page.total is None
    assert page.next
    assert get(seen_then, path, FENCED).total == 3


def test_a_single_version_is_shown_as_the_setting_says(new_store: Any) -> None:
    store = new_store(history_access="version")
    put(store, "Basic/moved", "1")
    resources.update(Session.of(store, EVERYBODY), basic("2", id="moved", meta={"accounts": [{"reference": "Organization/a"}]}), "Basic/moved")  # fmt: skip
    delete(store, "Basic/moved")
    resources.update(Session.of(store, EVERYBODY), basic("4", id="moved", meta={"accounts": [{"reference": "Organization/a"}]}), "Basic/moved")  # fmt: skip
    for version in ("2", "4"):
        assert resources.read_version(Session.of(store, FENCED), "Basic/moved", version)
    messages = set()
    for version in ("1", "3", "5"):
        with pytest.raises(NotFound) as caught:
            resources.read_version(Session.of(store, FENCED), "Basic/moved", version)
        messages.add(str(caught.value))
    assert len(messages) == 1
    with pytest.raises(Gone):
        resources.read_version(Session.of(store, EVERYBODY), "Basic/moved", "3")


def test_without_the_right_there_is_no_history(store: Store, made: list[Seen]) -> None:
    nobody = Caller("x", ())
    for path in ("Basic", "", "Basic/a"):
        with pytest.raises(Forbidden):
            get(store, path, nobody)


# The feed


class Poller:
    """Follows the history of a type as the README says."""

    def __init__(self, store: Store, path: str = "Basic", count: int = 7, since: str = "2020") -> None:
        self.store, self.path = store, path
        self.parameters = {"since": since, "sort": "_lastUpdated", "count": str(count)}
        self.cursor: str | None = None
        self.found: list[Seen] = []

    def poll(self) -> int:
        before = len(self.found)
        while True:
            more = {"cursor": self.cursor} if self.cursor else {}
            page = get(self.store, self.path, EVERYBODY, **self.parameters, **more)
            self.found += seen(page)
            self.cursor = page.monitor or page.next
            assert self.cursor
            if page.monitor:
                return len(self.found) - before


def test_a_change_is_in_the_feed_at_once_and_once(store: Store) -> None:
    poller = Poller(store)
    for n in range(30):
        made = put(store, f"Basic/{n % 4}", str(n))
        assert poller.poll() == 1
        assert poller.found[-1] == made
        assert poller.poll() == 0


@given(
    st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from(["now", "late", "poll", "appear"])), max_size=25),
    st.integers(1, 4),
    st.integers(1, 6),
)
@hypothesis(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_what_appears_late_is_neither_missed_nor_repeated(
    new_store: Any, steps: list[tuple[str, str]], count: int, remembered: int
) -> None:
    """Changes that stay hidden from the index for a while, as under a slow commit; the horizon stays below them."""
    store, hidden = new_store(), Hidden()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(store, "by_time", hidden.from_listing(store.by_time))
        patch.setattr(stored_history, "horizon", lambda *_: hidden.horizon())
        patch.setattr(paging, "DELIVERED", remembered)
        poller = Poller(store, count=count)
        made: list[Seen] = []
        for name, step in steps:
            if step == "poll":
                poller.poll()
            elif step == "appear":
                hidden.versions.clear()
            else:
                made.append(put(store, f"Basic/{name}", str(len(made))))
                if step == "late":
                    head = store.read(f"Basic/{name}")
                    assert head
                    hidden.versions[made[-1]] = head.updated
        hidden.versions.clear()
        # With room for `remembered` above the horizon only, the last poll is below it.
        patch.setattr(stored_history, "horizon", lambda *_: dates.LAST)
        poller.poll()
    assert sorted(poller.found) == sorted(made)


class Hidden:
    """Versions that the index does not show yet, with their stamps."""

    def __init__(self) -> None:
        self.versions: dict[Seen, str] = {}

    def horizon(self) -> str:
        """Just below the oldest of them, and below what is written in this millisecond."""
        return min([*self.versions.values(), dates.now()])[:-1]

    def from_listing(self, by_time: Any) -> Any:
        def listed(
            resource_type: str, since: Any, until: Any, *, after: Any, limit: int, newest_first: bool
        ) -> list[Moment]:
            known = limit + len(self.versions)
            found = by_time(resource_type, since, until, after=after, limit=known, newest_first=newest_first)
            return [one for one in found if (one.key, one.version) not in self.versions][:limit]

        return listed


def test_writers_in_parallel_and_a_large_transaction(new_store: Any) -> None:
    store: Store = new_store(history_settle=600)
    poller, made = Poller(store, count=50), []

    def write(n: int) -> None:
        for turn in range(20):
            made.append(put(store, f"Basic/{n}-{turn % 5}", f"{n} {turn}"))

    def transact() -> None:
        writes = [
            resources.prepare_create(Session.of(store, EVERYBODY), basic(), f"Basic/t{n}", fresh=False)
            for n in range(120)
        ]
        made.extend((head.key, head.version) for head in store.commit(writes))

    threads = [threading.Thread(target=write, args=(n,)) for n in range(3)] + [threading.Thread(target=transact)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        poller.poll()
    poller.poll()
    assert len(made) == 180
    assert sorted(poller.found) == sorted(made)


def test_more_above_the_horizon_than_a_cursor_remembers_comes_later(
    new_store: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    store: Store = new_store(history_settle=600)
    monkeypatch.setattr(paging, "DELIVERED", 5)
    made = [put(store, f"Basic/{n}", "1") for n in range(8)]
    poller = Poller(store, count=3)
    assert poller.poll() == 5
    assert poller.poll() == 0
    for count in ("1", "3", "5", "20"):
        assert [one for page in pages(store, "Basic", sort="_lastUpdated", count=count) for one in page] == made
    monkeypatch.setattr(stored_history, "horizon", lambda *_: dates.LAST)
    assert poller.poll() == 3
    assert poller.found == made


def test_an_open_transaction_holds_the_horizon_back(new_store: Any) -> None:
    from bulkhead.store import transactions

    store: Store = new_store(history_settle=0)
    before = dates.now()
    transaction = transactions.begin(store.table, ["Basic/1"], 60)
    after = dates.now()
    assert before <= stored_history.horizon(store.table, 0) <= after
    transactions.decide(store.table, transaction, transactions.ABORTED)
    transactions.close(store.table, transaction)
    assert stored_history.horizon(store.table, 0) >= after


def test_a_transaction_whose_process_died_holds_the_horizon_back_no_longer_than_its_lease(
    new_store: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from bulkhead.store import transactions
    from tests.support import clock

    store = new_store(history_settle=0)
    now = clock.stopped(monkeypatch)
    dead = transactions.begin(store.table, ["Basic/1"], 60)
    now.now += 5
    alive = transactions.begin(store.table, ["Basic/2"], 600)
    begun = now.stamp()
    now.now += 50
    put(store, "Basic/3", "a")
    first = get(store, "Basic", since="2020-01-01T00:00:00Z", sort="_lastUpdated")
    assert first.settled
    assert first.settled < begun
    now.now += 10
    page = get(store, "Basic", since="2020-01-01T00:00:00Z", sort="_lastUpdated")
    # The next one in line, whose lease goes on.
    assert page.settled == begun
    assert transactions.state_now(store.table, dead)[0] == transactions.ABORTED
    assert not transactions.decide(store.table, dead, transactions.COMMITTED)
    assert transactions.state_now(store.table, alive)[0] == transactions.PENDING


def test_a_committed_transaction_is_waited_for_and_finished_by_who_waits(new_store: Any) -> None:
    from bulkhead.store import transactions

    store = new_store(history_settle=0)
    transaction = transactions.begin(store.table, ["Basic/1"], -1)
    assert transactions.decide(store.table, transaction, transactions.COMMITTED)
    put(store, "Basic/3", "a")
    parameters = {"since": "2020-01-01T00:00:00Z", "sort": "_lastUpdated"}
    held = get(store, "Basic", EVERYBODY, **parameters).settled
    assert held
    assert (get(store, "Basic", EVERYBODY, **parameters).settled or "") > held
    assert store.sweep() == 0


@pytest.mark.parametrize(("lease", "members"), [(60, 1), (-1, 4001)], ids=["not dead yet", "too large for a request"])
def test_a_committed_transaction_that_another_process_finishes_is_waited_for(
    new_store: Any, lease: int, members: int
) -> None:
    from bulkhead.store import transactions

    store = new_store(history_settle=0)
    transaction = transactions.begin(store.table, [f"Basic/{n}" for n in range(members)], lease)
    assert transactions.decide(store.table, transaction, transactions.COMMITTED)
    put(store, "Patient/3", "a")
    parameters = {"since": "2020-01-01T00:00:00Z", "sort": "_lastUpdated"}
    held = get(store, "Patient", EVERYBODY, **parameters).settled
    assert get(store, "Patient", EVERYBODY, **parameters).settled == held
    assert store.sweep() == 1
    assert (get(store, "Patient", EVERYBODY, **parameters).settled or "") > (held or "")


def test_months_are_crossed(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    stored_months._noted.clear()
    for month in ("2030-01", "2030-02", "2031-01"):
        stamp(monkeypatch, f"{month}-01T00:00:00.000Z")
        put(store, "Basic/a", month)
    assert pages(store, "Basic", count="1") == [[("Basic/a", 3)], [("Basic/a", 2)], [("Basic/a", 1)]]
    assert pages(store, "Basic", count="2", sort="_lastUpdated") == [[("Basic/a", 1), ("Basic/a", 2)], [("Basic/a", 3)]]


# Parameters that shape the answer


@pytest.mark.parametrize("path", ["Basic/1", "Basic", ""])
@pytest.mark.parametrize("parameter", ["list", "elemnts", "has", "id", "total"])
def test_a_parameter_that_history_does_not_have_is_refused(store: Store, path: str, parameter: str) -> None:
    put(store, "Basic/1", "a")
    with pytest.raises(BadRequest) as refused:
        get(store, path, EVERYBODY, **{parameter: "x"})
    assert refused.value.issues[0].expression == f"_{parameter}"


@pytest.mark.parametrize("path", ["Basic/1", "Basic", ""])
@pytest.mark.parametrize("asked", [{"count": "0"}, {"count": "00"}, {"summary": "count"}])
def test_versions_are_counted_without_being_shown(store: Store, path: str, asked: dict[str, str]) -> None:
    for text in "abc":
        put(store, "Basic/1", text)
    page = get(store, path, EVERYBODY, **asked)
    assert (page.heads, page.total, page.next) == ([], 3, None)


@pytest.mark.parametrize("path", ["Basic/a", "Basic", ""])
def test_a_count_does_not_end_where_a_page_does(
    store: Store, made: list[Seen], monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    """A page ends after 4 MB, which five large versions have together."""
    expected = get(store, path, summary="count").total
    monkeypatch.setattr(paging, "PAGE_WEIGHT", 1)
    assert get(store, path, summary="count").total == expected == (3 if path == "Basic/a" else 7)


def test_a_count_is_of_what_the_caller_sees(store: Store) -> None:
    put(store, "Basic/1", "a")
    assert get(store, "Basic", FENCED, summary="count").total == 0


def test_what_is_too_much_to_count_is_refused(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paging, "EXAMINED", 2)
    monkeypatch.setattr(paging, "_BATCH", 1)
    for text in "abcd":
        put(store, "Basic/1", text)
    with pytest.raises(TooCostly):
        get(store, "Basic", summary="count")


def test_the_history_of_the_system_by_type(store: Store) -> None:
    put(store, "Basic/1", "a")
    resources.update(Session.of(store, EVERYBODY), {"resourceType": "Patient", "id": "1"}, "Patient/1")
    assert seen(get(store, "", type="Patient")) == [("Patient/1", 1)]
    assert len(seen(get(store, "", type="Patient,Basic"))) == 2
    assert seen(get(store, "", type="Observation")) == []
    for path, types in (("", "Nothing"), ("", "Patient,"), ("Basic", "Basic"), ("Basic/1", "Basic")):
        with pytest.raises(BadRequest):
            get(store, path, type=types)


def test_a_page_link_is_for_the_types_that_it_was_given_for(store: Store) -> None:
    for key in ("Basic/1", "Basic/2"):
        put(store, key, "a")
    link = get(store, "", type="Basic", count="1").next
    assert link
    with pytest.raises(BadRequest):
        get(store, "", type="Patient", cursor=link)


@pytest.mark.parametrize("mode", ["", "yes", "TRUE"])
def test_a_summary_of_another_kind_is_refused(store: Store, mode: str) -> None:
    put(store, "Basic/1", "a")
    with pytest.raises(BadRequest):
        get(store, "Basic", summary=mode)


def test_to_look_through_what_a_caller_may_not_see_reads_each_version_once(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each batch listed every type anew: a small tenant's history of the system took longer than a request may."""
    session = Session.of(store, EVERYBODY)
    for n in range(25):
        put(store, f"Basic/b{n}", "x")
        for resource_type in ("Patient", "Person"):
            body = {"resourceType": resource_type, "id": f"r{n}", "identifier": [{"value": "1"}]}
            resources.update(session, body, f"{resource_type}/r{n}")
    expected = seen(get(store, "", count="1000"))
    assert len(expected) == 75
    monkeypatch.setattr(paging, "_BATCH", 10)
    listed, by_time = 0, store.by_time

    def counting(*given: Any, **named: Any) -> list[Moment]:
        nonlocal listed
        found = by_time(*given, **named)
        listed += len(found)
        return found

    monkeypatch.setattr(store, "by_time", counting)
    other = Caller("y", EVERYBODY.scopes, accounts=("Organization/other",))
    hidden = get(store, "", other)
    assert (seen(hidden), hidden.next) == ([], None)
    # The index lists a version twice while it is being superseded, and here none is.
    assert listed == 75
    assert pages(store, "", count="7") == [expected[n : n + 7] for n in range(0, 75, 7)]
    assert [one for page in pages(store, "", count="7", sort="_lastUpdated") for one in page] == expected[::-1]

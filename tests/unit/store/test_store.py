"""Reading and writing through the Store, one resource and many."""

from __future__ import annotations

import threading
from base64 import b64encode
from collections.abc import Sequence
from itertools import chain, repeat
from random import randbytes
from typing import Any

import pytest
from botocore.exceptions import EndpointConnectionError
from hypothesis import given, settings
from hypothesis import strategies as st

from bulkhead.errors import ClaimTaken, DoesNotFit, VersionConflict
from bulkhead.store import Claim, Inherit, Store, Write, commits, heads, large, pre_commit, transactions
from bulkhead.store.heads import Read
from bulkhead.store.table import Table
from tests.support.changes import body, change, creation, deletion, facts, note


def test_a_created_resource_is_read_back(store: Store) -> None:
    (made,) = store.commit([creation(store, "Observation/1", explicit=("Organization/a",))])
    read = store.read("Observation/1")
    assert read == made
    assert (read.version, read.explicit, read.method) == (1, ("Organization/a",), "PUT")
    assert store.decode(read) == {"resourceType": "Observation", "id": "1", "note": ""}


def test_absent_resources_are_none(store: Store) -> None:
    assert store.read("Observation/none") is None
    assert store.read_version("Observation/none", 1) is None
    assert store.versions("Observation/none", None, 10) == []


def test_a_second_create_conflicts(store: Store) -> None:
    store.commit([creation(store, "Observation/1")])
    with pytest.raises(VersionConflict):
        store.commit([creation(store, "Observation/1", fresh=False)])


def test_versions_are_kept_newest_first(store: Store) -> None:
    (head,) = store.commit([creation(store, "Observation/1")])
    for n in range(2, 15):
        (head,) = store.commit([change(store, head, facts("Patient/1", codes=("a",)), facts("Patient/1"), str(n))])
    (head,) = store.commit([deletion(head, facts("Patient/1"))])
    versions = store.versions("Observation/1", None, 100)
    assert [version.version for version in versions] == list(range(15, 0, -1))
    assert versions[0].deleted
    assert [version.version for version in store.versions("Observation/1", 10, 3)] == [9, 8, 7]
    assert note(store, store.read_version("Observation/1", 5)) == "5"
    assert store.read_version("Observation/1", 16) is None


def test_a_lost_base_conflicts_and_changes_nothing(store: Store) -> None:
    (head,) = store.commit([creation(store, "Observation/1")])
    store.commit([change(store, head, facts(), facts(), "first")])
    with pytest.raises(VersionConflict):
        store.commit([change(store, head, facts(), facts(), "second")])
    assert note(store, store.read("Observation/1")) == "first"


def test_the_index_follows_the_head(store: Store) -> None:
    old, new = facts("Patient/1", "Encounter/1", codes=("a",)), facts("Patient/2", "Encounter/1", codes=("b",))
    (head,) = store.commit([creation(store, "Observation/1", old)])
    assert [pointer.source for pointer in store.pointing_at("Patient/1")] == ["Observation/1"]
    assert [found.key for found in store.by_value("Observation", "code", "a")] == ["Observation/1"]
    store.commit([change(store, head, old, new)])
    assert store.pointing_at("Patient/1") == []
    assert store.by_value("Observation", "code", "a") == []
    assert [pointer.source for pointer in store.pointing_at("Patient/2", "Observation")] == ["Observation/1"]
    assert [pointer.source for pointer in store.pointing_at("Encounter/1")] == ["Observation/1"]
    assert [found.key for found in store.by_value("Observation", "code", "b", prefix="s#")] == ["Observation/1"]
    found = store.read("Observation/1")
    assert found is not None
    (head,) = store.commit([deletion(found, new)])
    assert store.pointing_at("Patient/2") == []


def test_paging_by_target_is_complete_and_ordered(store: Store) -> None:
    written = [f"Observation/{n:03d}" for n in range(60)] + [f"Condition/{n:03d}" for n in range(30)]
    store.commit([creation(store, key, facts("Organization/o")) for key in written])
    seen: list[str] = []
    while page := store.pointing_at("Organization/o", after=seen[-1] if seen else None, limit=7):
        seen += [pointer.source for pointer in page]
    assert seen == sorted(written)
    assert len(store.pointing_at("Organization/o", "Condition")) == 30


def test_accounts_are_indexed(store: Store) -> None:
    (head,) = store.commit([creation(store, "Observation/1", explicit=("Organization/a", "Organization/b"))])
    assert [pointer.source for pointer in store.in_account("Organization/a")] == ["Observation/1"]
    store.commit([change(store, head, facts(), facts(), explicit=("Organization/b",))])
    assert store.in_account("Organization/a") == []
    assert [pointer.source for pointer in store.in_account("Organization/b")] == ["Observation/1"]


def test_by_time_lists_heads_and_versions_both_ways(store: Store) -> None:
    (head,) = store.commit([creation(store, "Observation/1")])
    store.commit([change(store, head, facts(), facts())])
    store.commit([creation(store, f"Observation/{n}") for n in range(2, 40)])
    seen: list[Any] = []
    while page := store.by_time("Observation", after=seen[-1].position if seen else None, limit=6, newest_first=True):
        seen += page
    assert len({(moment.key, moment.version) for moment in seen}) == 40
    assert [moment.updated for moment in seen] == sorted((moment.updated for moment in seen), reverse=True)
    assert len(store.by_time("Observation", since=seen[0].updated)) >= 1
    assert store.by_time("Patient") == []


@pytest.mark.parametrize("newest_first", [True, False])
def test_a_place_in_time_is_that_of_a_version_whether_or_not_it_is_a_deletion(
    store: Store, *, newest_first: bool
) -> None:
    """A history names a place by what it shows of a version, and goes on behind it."""
    (head,) = store.commit([creation(store, "Observation/1")])
    for _ in range(3):
        (gone,) = store.commit([deletion(head, facts())])
        (head,) = store.commit([change(store, gone, facts(), facts())])
    seen: list[tuple[str, int]] = []
    place: str | None = None
    while page := store.by_time("Observation", after=place, limit=1, newest_first=newest_first):
        seen += [(moment.key, moment.version) for moment in page]
        place = f"{page[0].updated}#1#{page[0].version:010d}"
        assert place == page[0].position
    assert [version for _, version in seen] == sorted(range(1, 8), reverse=newest_first)


def test_bodies_that_fit_one_request_only_together_with_fewer(store: Store) -> None:
    """DynamoDB takes 4 MB at once: whether they make resources under ids of the client's, or change them, or are settled."""
    names = [f"Binary/{n}" for n in range(20)]
    note = b64encode(randbytes(215_000)).decode()
    made = store.commit([Write(key, None, body(store, key, note), None, facts()) for key in names])
    assert store.read_many(names) == {head.key: head for head in made}
    changed = store.commit([change(store, head, facts(), facts(), f"{note}+") for head in made])
    assert store.read_many(names) == {head.key: head for head in changed}
    assert list(transactions.open_transactions(store.table)) == []


def inheriting(count: int) -> Inherit:
    """What is written inherits from so many Patients."""

    def inherit(writes: Sequence[Write], read: Read) -> None:
        for write in writes:
            write.inherit({f"Patient/{n:036}": {"Organization/a": heads.NEVER} for n in range(count)})

    return inherit


@pytest.mark.parametrize("others", [0, 130], ids=["at once", "large"])
def test_what_inherits_from_more_than_an_item_holds_is_refused(store: Store, others: int) -> None:
    writes = [creation(store, f"Observation/{n}") for n in range(others)]
    with pytest.raises(DoesNotFit) as caught:
        store.commit([*writes, creation(store, "Group/g")], (), lambda given, read: inheriting(7000)(given[-1:], read))
    assert (caught.value.status, caught.value.key, caught.value.issues[0].expression) == (413, "Group/g", "Group")
    assert store.read_many(["Group/g", *(write.key for write in writes)]) == {}


@pytest.mark.parametrize("others", [0, 130], ids=["at once", "large"])
def test_who_has_not_read_what_a_head_passes_on_does_not_undo_it(store: Store, others: int) -> None:
    """That changes without a new version."""
    (head,) = store.commit([creation(store, "Encounter/e")])
    for flag in (True, False):
        store.set_propagate(head, flag=flag, within={})
        more = [creation(store, f"Observation/{n}") for n in range(others)]
        with pytest.raises(VersionConflict):
            store.commit([change(store, head, facts(), facts()), *more])
        assert store.commit_each([heads.accounts_write(head)]) == {"Encounter/e"}
        with pytest.raises(VersionConflict):
            store.set_propagate(head, flag=not flag, within={})
        read = store.read("Encounter/e")
        assert read is not None
        assert (read.version, read.propagate) == (1, flag)
        head = read
    (changed, *_) = store.commit([change(store, head, facts(), facts()), *more])
    assert store.read("Encounter/e") == changed


def test_nor_are_the_bounds_of_what_propagates(store: Store) -> None:
    (head,) = store.commit([creation(store, "Encounter/1")])
    accounts = tuple(f"Organization/{n:036}" for n in range(300))
    with pytest.raises(DoesNotFit):
        store.set_propagate(head, flag=True, within=dict.fromkeys(accounts, accounts))
    assert store.read("Encounter/1") == head


def test_a_body_leaves_room_for_what_the_resource_inherits(store: Store) -> None:
    write = creation(store, "Group/g", facts(*(f"Patient/{n:036}" for n in range(4000))))
    write.body = body(store, "Group/g", b64encode(randbytes(150_000)).decode())
    (head,) = store.commit([write], (), inheriting(4000))
    assert store.read("Group/g") == head
    assert len(head.inherited) == 4000


def test_those_that_inherit_more_than_one_request_takes_are_made_together(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(commits, "TRANSACT_BYTES", 30_000)
    begun: list[str] = []
    begin = transactions.begin

    def noted(*given: Any, **more: Any) -> str:
        begun.append(begin(*given, **more))
        return begun[-1]

    monkeypatch.setattr(transactions, "begin", noted)
    for givers, larges in ((10, 0), (100, 1)):
        made = store.commit([creation(store, f"Group/{givers}-{n}") for n in range(8)], (), inheriting(givers))
        assert store.read_many(head.key for head in made) == {head.key: head for head in made}
        assert len(begun) == larges


def test_a_transaction_that_cannot_be_finished_is_in_no_others_way(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun = [transactions.begin(store.table, [f"Observation/{n}"], -1) for n in range(2)]
    finish = large.finish

    def fails_once(table: Table, transaction: str) -> None:
        if transaction == begun[0]:
            raise EndpointConnectionError(endpoint_url="http://127.0.0.1")
        finish(table, transaction)

    monkeypatch.setattr(large, "finish", fails_once)
    with pytest.raises(EndpointConnectionError):
        store.sweep()
    assert [one for _, one in transactions.open_transactions(store.table)] == begun[:1]


def test_large_bodies_go_to_s3(new_store: Any) -> None:
    store = new_store(body_limit=100)
    write = creation(store, "Observation/1")
    write.body = body(store, "Observation/1", " ".join(map(str, range(400))))
    (head,) = store.commit([write])
    assert head.body[:1] == b"s"
    assert store.decode(store.read("Observation/1"))["note"].startswith("0 1 2")


WAYS = ("batch", "transact", "single")


@pytest.mark.parametrize("ways", WAYS)
def test_commit_each_isolates_the_ones_that_lost(new_store: Any, ways: str) -> None:
    store = new_store(bulk_writes=ways)
    heads = store.commit([creation(store, f"Observation/{n}") for n in range(150)])
    store.commit([change(store, heads[7], facts(), facts(), "faster")])
    writes = [change(store, head, facts(), facts(), inherited={"Patient/1": ("Organization/a",)}) for head in heads]
    for write, head in zip(writes, heads, strict=True):
        write.old = write.new = None
        write.body = head.body
    assert store.commit_each(writes) == {"Observation/7"}
    after = store.read_many(head.key for head in heads)
    assert sum(head.accounts == ("Organization/a",) for head in after.values()) == 149
    assert note(store, after["Observation/7"]) == "faster"
    hinted = {pointer.source for pointer in store.in_account("Organization/a")}
    assert {key for key, head in after.items() if head.accounts} <= hinted
    assert [head.version for head in store.versions("Observation/9", None, 5)] == [2, 1]


@pytest.mark.parametrize("size", [1, 60, 300])
def test_claims_are_taken_once(store: Store, size: int) -> None:
    def writes(prefix: str) -> list[Any]:
        return [creation(store, f"Observation/{prefix}{n}") for n in range(size)]

    store.commit(writes("a"), [Claim("Observation?identifier=1", "Observation/a0")])
    assert store.claim_owner("Observation?identifier=1") == "Observation/a0"
    with pytest.raises(ClaimTaken):
        store.commit(writes("b"), [Claim("Observation?identifier=1", "Observation/b0")])
    assert store.read("Observation/b0") is None
    store.commit(writes("c"), [Claim("Observation?identifier=1", "Observation/c0", stale="Observation/a0")])
    assert store.claim_owner("Observation?identifier=1") == "Observation/c0"


def test_eight_writers_on_one_resource_lose_nothing(store: Store) -> None:
    store.commit([creation(store, "Observation/1")])

    def add(letter: str) -> None:
        for _ in range(5):
            while True:
                base = store.read("Observation/1")
                assert base is not None
                try:
                    store.commit([change(store, base, facts(), facts(), note(store, base) + letter)])
                    break
                except VersionConflict:
                    continue

    threads = [threading.Thread(target=add, args=(letter,)) for letter in "abcdefgh"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    final = store.read("Observation/1")
    assert final is not None
    assert final.version == 41
    assert sorted(note(store, final)) == sorted("abcdefgh" * 5)
    assert [head.version for head in store.versions("Observation/1", None, 100)] == list(range(41, 0, -1))


@pytest.mark.parametrize(("size", "version"), [(1, 2), (120, 1)])
def test_a_writer_that_commits_late_looks_at_its_targets_again(
    store: Store, monkeypatch: pytest.MonkeyPatch, size: int, version: int
) -> None:
    """A large transaction does so before it is decided: then nobody ever sees what was read first."""
    monkeypatch.setattr(pre_commit, "_LATE", -1)
    given = chain([("Organization/a",)], repeat(("Organization/b",)))

    def inherit(writes: Any, read: Any) -> None:
        accounts = next(given)
        for write in writes:
            write.inherited = {"Patient/1": accounts}

    made = store.commit([creation(store, f"Observation/{n}") for n in range(size)], (), inherit)
    assert {head.key: head for head in made} == store.read_many(f"Observation/{n}" for n in range(size))
    assert {(head.version, head.accounts) for head in made} == {(version, ("Organization/b",))}
    assert len(store.in_account("Organization/b")) == size


@given(st.lists(st.booleans(), max_size=30), st.sampled_from(WAYS))
@settings(max_examples=12, deadline=None)
def test_independent_writes_are_those_whose_condition_holds(make_store: Any, there: list[bool], ways: str) -> None:
    """However they are written. Each wants to be the first under its key."""
    table = make_store(bulk_writes=ways, threads=3).table
    table.put_many([{"pk": {"S": f"p{n}"}, "sk": {"S": "x"}} for n, is_there in enumerate(there) if is_there])
    actions = [
        table.put_action({"pk": {"S": f"p{n}"}, "sk": {"S": "x"}, "n": {"N": "1"}}, "attribute_not_exists(#pk)")
        for n in range(len(there))
    ]
    assert table.write_apart(actions) == {n for n, is_there in enumerate(there) if is_there}
    assert [bool("n" in (table.get((f"p{n}", "x")) or {})) for n in range(len(there))] == [not each for each in there]


def test_members_that_are_written_singly_cost_a_fifth_less_and_a_request_for_each_item(new_store: Any) -> None:
    written: dict[str, float] = {}
    requests: dict[str, Any] = {}
    for ways in ("batch", "single"):
        store = new_store(bulk_writes=ways)
        heads = store.commit([creation(store, f"Observation/{n}") for n in range(50)])
        writes = [change(store, head, facts(), facts(), inherited={"Patient/1": ("Organization/a",)}) for head in heads]
        for write, head in zip(writes, heads, strict=True):
            write.old = write.new = None
            write.body = head.body
        with store.metered() as meter:
            assert store.commit_each(writes) == set()
        written[ways], requests[ways] = meter.written, meter.requests
    assert written["single"] <= 0.8 * written["batch"]
    # An entry and a head for each.
    assert (requests["batch"]["UpdateItem"], requests["batch"]["TransactWriteItems"]) == (0, 2)
    assert (requests["single"]["UpdateItem"], requests["single"]["TransactWriteItems"]) == (100, 0)

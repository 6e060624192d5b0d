"""Transactions side by side: one resource under one condition, no lost update, never half a transaction."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any

import pytest

from bulkhead.errors import BulkheadError
from bulkhead.store import Store, identifiers
from tests.support.bundle_samples import SYSTEM, create, key_of, observation, patient, post, statuses, stored, update

THREADS = 8


def side_by_side(work: Callable[[int], Any]) -> list[Any]:
    """`work` in every thread, begun at one moment; its results, errors of ours included."""
    barrier = Barrier(THREADS)

    def begin(number: int) -> Any:
        barrier.wait()
        try:
            return work(number)
        except BulkheadError as error:
            return error

    with ThreadPoolExecutor(THREADS) as pool:
        return list(pool.map(begin, range(THREADS)))


@pytest.mark.parametrize("size", [1, 120])
@pytest.mark.parametrize("kind", ["transaction", "batch"])
def test_one_condition_makes_one_resource(store: Store, kind: str, size: int) -> None:
    """Small commits and large ones: 120 entries with their claims are more than one TransactWriteItems takes."""

    def load(_: int) -> list[Any]:
        entries = [create(patient(str(n)), f"urn:uuid:{n}", f"identifier={SYSTEM}|{n}") for n in range(size)]
        return post(store, *entries, kind=kind)

    answers = side_by_side(load)
    done = [answer for answer in answers if not isinstance(answer, BulkheadError)]
    assert done
    assert all(answer.status == 409 for answer in answers if isinstance(answer, BulkheadError))
    there = {moment.key for moment in store.by_time("Patient")}
    assert len(there) == size
    for answer in done:
        made = [content for content in answer if content["response"]["status"][:3] in ("200", "201")]
        assert {key_of(content) for content in made} <= there
        assert len(made) == size or kind == "batch"
    assert sum(status == "201" for answer in done for status in statuses(answer)) == size


def conditional_on_active(numbers: range) -> list[dict[str, Any]]:
    return [
        create(patient(str(n), active=True), f"urn:uuid:{n}", f"identifier={SYSTEM}|{n}&active=true") for n in numbers
    ]


def test_any_number_of_identifiers_may_be_taken_by_what_does_not_match(store: Store) -> None:
    """More than one commit can watch, so it looks again just before it is decided."""
    post(store, *(create(patient(str(n), active=False), f"urn:uuid:{n}") for n in range(120)), kind="transaction")
    made = post(store, *conditional_on_active(range(120)), kind="transaction")
    assert set(statuses(made)) == {"201"}


@pytest.mark.parametrize(("size", "each", "watched"), [(120, 1, 99), (10, 10, 80)])
@pytest.mark.parametrize("place", [0, -1])
def test_what_comes_to_match_while_a_transaction_commits_is_found(
    store: Store, monkeypatch: pytest.MonkeyPatch, size: int, each: int, watched: int, place: int
) -> None:
    """The first is watched and the last is not, in a large transaction, and in one that would be small but for that."""
    numbers = [n for n in range(size) for _ in range(each)]
    made = [create(patient(str(n), active=False), f"urn:uuid:{place}") for place, n in enumerate(numbers)]
    others = post(store, *made, kind="transaction")
    key, number, look, looks = key_of(others[place]), range(size)[place], identifiers.Guard.look, list[int]()

    def look_and_be_overtaken(guard: identifiers.Guard, room: int) -> Any:
        checks = look(guard, room)
        looks.append(len(checks))
        if len(looks) == 1:
            post(store, update(patient(str(number), id=key.partition("/")[2], active=True)))
        return checks

    monkeypatch.setattr(identifiers.Guard, "look", look_and_be_overtaken)
    answers = post(store, *conditional_on_active(range(size)), kind="transaction")
    assert looks[0] == watched
    assert key_of(answers[number]) == key
    assert statuses(answers).count("200") == 1


def test_references_lead_to_the_one_that_was_made(store: Store) -> None:
    def load(_: int) -> list[Any]:
        return post(
            store, create(patient("1"), "urn:uuid:p", f"identifier={SYSTEM}|1"), create(observation("urn:uuid:p"))
        )

    answers = [answer for answer in side_by_side(load) if not isinstance(answer, BulkheadError)]
    (patients,) = {key_of(made) for made, _ in answers}
    assert {stored(store, key_of(seen))["subject"]["reference"] for _, seen in answers} == {patients}
    assert len({key_of(seen) for _, seen in answers}) == len(answers)


def test_no_update_is_lost(store: Store) -> None:
    post(store, update(patient("1", id="a")), update(patient("2", id="b")))

    def change(number: int) -> list[Any]:
        both = {"birthDate": f"2000-01-{number + 1:02d}"}
        return post(store, update(patient("1", id="a", **both)), update(patient("2", id="b", **both)))

    done = [answer for answer in side_by_side(change) if not isinstance(answer, BulkheadError)]
    assert done
    for key in ("Patient/a", "Patient/b"):
        assert [head.version for head in store.versions(key, None, 20)] == list(range(len(done) + 1, 0, -1))
    assert stored(store, "Patient/a")["birthDate"] == stored(store, "Patient/b")["birthDate"]


def test_with_if_match_one_wins(store: Store) -> None:
    post(store, update(patient("1", id="a")))

    def change(number: int) -> list[Any]:
        changed = patient("1", id="a", birthDate=f"2000-01-{number + 1:02d}")
        return post(store, update(changed, ifMatch='W/"1"'))

    answers = side_by_side(change)
    lost = [answer.status for answer in answers if isinstance(answer, BulkheadError)]
    assert lost == [412] * (THREADS - 1)
    assert len(store.versions("Patient/a", None, 20)) == 2

"""The integrity check: planted faults are found and mended, while writers are at work too, and nothing else is touched."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import asdict
from types import SimpleNamespace
from typing import Any
from unittest.mock import ANY
from urllib.parse import parse_qsl

import pytest
from botocore.exceptions import ClientError

from bulkhead import resources
from bulkhead.access.policy import EVERYBODY, Caller, Scope
from bulkhead.facts import index_facts
from bulkhead.search import parse, run
from bulkhead.session import Session
from bulkhead.store import Head, Store, active_months, heads, keys, rounds, transactions
from bulkhead.store.integrity import Report
from bulkhead.store.table import key_of
from functions.sweeper.handler import CHECK, handler
from tests.support.bundle_samples import SYSTEM, observation, patient
from tests.support.stepping import Writer

Snapshot = dict[keys.Key, dict[str, Any]]
SEEN = "Observation/seen"
STALE = {"v": {"N": "1"}}


def facts_of(store: Store) -> Callable[[Head], index_facts.Facts]:
    return lambda head: index_facts.facts(store.decode(head))


def check(store: Store, **options: Any) -> Report:
    return rounds.check(store.table, facts_of(store), store._bodies, **options)


def counts(report: Report) -> dict[str, int]:
    """Of what was found."""
    return {
        name: number
        for name, number in asdict(report).items()
        if number and name not in ("resources", "identifiers", "held")
    }


def snapshot(store: Store) -> Snapshot:
    pages = store.table.client.get_paginator("scan").paginate(TableName=store.table.name, ConsistentRead=True)
    return {(item["pk"]["S"], item["sk"]["S"]): item for page in pages for item in page["Items"]}


def put(store: Store, resource: dict[str, Any]) -> Head:
    return resources.update(Session.of(store, EVERYBODY), resource, f"{resource['resourceType']}/{resource['id']}")[0]


@pytest.fixture
def filled(store: Store) -> Store:
    """Resources with a past: an account, identifiers, a changed subject, a deleted one."""
    put(store, {"resourceType": "Organization", "id": "a"})
    for name in ("p", "q"):
        put(store, patient(name, id=name, meta={"accounts": [{"reference": "Organization/a"}]}, name=[{"family": "F"}]))
    identifier = [{"system": SYSTEM, "value": "o"}]
    put(store, observation("Patient/p", id="seen", identifier=identifier))
    put(store, observation("Patient/q", id="seen", identifier=identifier, performer=[{"reference": "Patient/q"}]))
    definition = store.read("CompartmentDefinition/patient")
    assert definition is not None
    put(store, store.decode(definition) | {"status": "retired"})
    put(store, observation("Patient/p", id="gone"))
    resources.delete(Session.of(store, EVERYBODY), "Observation/gone")
    return store


def test_nothing_is_found_where_nothing_is_amiss(filled: Store) -> None:
    before = snapshot(filled)
    report = check(filled)
    assert (report.resources, report.identifiers, counts(report)) == (6, 3, {})
    assert report.clean
    assert snapshot(filled) == before


def entry_of(store: Store, attribute: str) -> dict[str, Any]:
    """An entry of the observation that has this attribute."""
    return next(
        item
        for key, item in snapshot(store).items()
        if key[0] == SEEN and key[1].startswith("i#") and attribute in item
    )


def key(item: dict[str, Any]) -> keys.Key:
    return item["pk"]["S"], item["sk"]["S"]


def change(store: Store, at: keys.Key, **attributes: Any) -> None:
    item = store.table.get(at)
    assert item is not None
    changed = {name: value for name, value in (item | attributes).items() if value is not None}
    store.table.put(changed)


def add(at: keys.Key, **attributes: Any) -> Callable[[Store], None]:
    return lambda store: store.table.put(key_of(at) | STALE | attributes)


def remove(found: Callable[[Store], keys.Key]) -> Callable[[Store], None]:
    return lambda store: store.table.put_many([], [found(store)])


def widen(store: Store) -> None:
    entry = entry_of(store, "via")
    change(store, key(entry), via={"SS": sorted({*entry["via"]["SS"], "author"})})


def misplace(store: Store) -> None:
    change(store, key(entry_of(store, "tpk")), tpk={"S": "Patient/other"})


def narrow(store: Store) -> None:
    change(store, key(entry_of(store, "via")), via={"SS": ["encounter"]})


def forget_the_months(store: Store) -> None:
    store.table.put_many([], [key(item) for item in snapshot(store).values() if item["pk"]["S"] == keys.MONTHS])


IDENTIFIER = ("Observation|identifier|{}", f"{SYSTEM}#seen")
PLANTED: dict[str, tuple[Callable[[Store], None], dict[str, int]]] = {
    "an entry": (add((SEEN, "i#Patient/x#"), tpk={"S": "Patient/x"}, tsk={"S": "Observation#seen"}), {"stale": 1}),
    "an account": (add((SEEN, "a#Organization/x"), tpk={"S": "account#Organization/x#0"}), {"stale": 1}),
    "an identifier": (add((IDENTIFIER[0].format("x"), IDENTIFIER[1])), {"stale": 1}),
    "an entry of what is deleted": (add(("Observation/gone", "i#Patient/p#")), {"stale": 1}),
    "a staged head": (add((SEEN, "s#long-gone")), {"stale": 1}),
    "a reservation": (
        add(
            (IDENTIFIER[0].format("o"), keys.HEAD),
            holders={"SS": ["slot_open"]},
            slot_open={"M": {"by": {"S": "x"}, "until": {"N": "1"}}},
        ),
        {"stale": 1},
    ),
    "an item of reservations that have ended": (
        lambda store: store.table.put(key_of((IDENTIFIER[0].format("o"), keys.HEAD))),
        {"stale": 1},
    ),
    "a forgotten mark": (lambda store: change(store, (SEEN, keys.HEAD), txn={"S": "long-gone"}), {"stale": 1}),
    "a head that was not committed": (
        add(("Observation/never", keys.HEAD), txn={"S": "long-gone"}, made={"BOOL": True}),
        {"stale": 1},
    ),
    "via": (widen, {"wide": 1}),
    "no entry": (remove(lambda store: key(entry_of(store, "vpk"))), {"missing": 1}),
    "no via": (narrow, {"missing": 1}),
    "another target": (misplace, {"missing": 1}),
    "no account": (remove(lambda store: ("Patient/p", "a#Organization/a")), {"missing": 1}),
    "no identifier": (remove(lambda store: (IDENTIFIER[0].format("o"), IDENTIFIER[1])), {"missing": 1}),
    "no time": (lambda store: change(store, (SEEN, keys.HEAD), mpk=None, msk=None), {"missing": 1}),
    "no time of a version": (lambda store: change(store, (SEEN, keys.version_sort(1)), mpk=None), {"missing": 1}),
    # Each segment of the scan misses the month of a type that it meets.
    "no months": (forget_the_months, {"missing": ANY}),
    "no definition": (remove(lambda store: (keys.DEFINITIONS, "CompartmentDefinition/patient")), {"missing": 1}),
}


@pytest.mark.parametrize("fault", PLANTED)
def test_a_planted_fault_is_found_and_mended(filled: Store, fault: str) -> None:
    plant, expected = PLANTED[fault]
    before = snapshot(filled)
    plant(filled)
    planted = snapshot(filled)
    assert planted != before
    assert counts(check(filled, repair=False)) == expected
    assert snapshot(filled) == planted
    assert counts(check(filled)) == expected
    after = snapshot(filled)
    # A restored entry is of the version that stands; `via` of an entry that lacked some is the union.
    assert after.keys() == before.keys()
    for at, item in before.items():
        assert {name: value for name, value in after[at].items() if name not in ("v", "via")} == {
            name: value for name, value in item.items() if name not in ("v", "via")
        }
        assert set(item.get("via", {}).get("SS", ())) <= set(after[at].get("via", {}).get("SS", ()))
    assert counts(check(filled)) == ({"wide": 1} if fault == "no via" else {})
    assert check(filled).clean


# Resources whose entries an earlier version did not write: what it is, and a search that finds it by such an entry only.
LATER: dict[str, tuple[dict[str, Any], str, str]] = {
    "punctuation": (patient(id="l", name=[{"family": "O\u2019Brien-Smith"}]), "Patient", "name=o'brien smith"),
    "phonetic": (patient(id="l", name=[{"family": "Meyer"}]), "Patient", "phonetic=Maier"),
    "canonical": ({"resourceType": "Measure", "id": "l", "status": "draft", "library": ["http://e/L|1#part"]}, "Measure", "depends-on=http://e/L"),
    "contained": ({"resourceType": "MedicationRequest", "id": "l", "status": "active", "intent": "order", "subject": {"reference": "Patient/p"}, "medicationReference": {"reference": "#m"}, "contained": [{"resourceType": "Medication", "id": "m", "code": {"coding": [{"code": "c"}]}}]}, "MedicationRequest", "medication.code=c"),
    "_tag": (patient(id="l", meta={"tag": [{"system": "urn:t", "code": "T"}]}), "Patient", "_tag=urn:t|T"),
    "_security": (patient(id="l", meta={"security": [{"system": "urn:t", "code": "S"}]}), "Patient", "_security=urn:t|S"),
    "_profile": (patient(id="l", meta={"profile": ["http://e/p|1"]}), "Patient", "_profile=http://e/p"),
    "_source": (patient(id="l", meta={"source": "http://e/s#x"}), "Patient", "_source=http://e/s%23x"),
}  # fmt: skip


def found(store: Store, resource_type: str, query: str) -> list[str]:
    """Keys of what a search finds."""
    asked = parse.parse(parse_qsl(query), resource_type)
    return [version.head.key for version in run.find(store, asked, 10, fence=lambda _: True)]


@pytest.mark.parametrize("kind", LATER)
def test_what_newer_versions_index_is_added_to_data_written_before(filled: Store, kind: str) -> None:
    resource, resource_type, query = LATER[kind]
    put(filled, resource)
    before = snapshot(filled)
    lost = [at for at in before if at[0] == f"{resource_type}/l" and at[1].startswith(keys.ENTRY)]
    filled.table.put_many([], lost)
    assert found(filled, resource_type, query) == []
    assert counts(check(filled, repair=False)) == {"missing": len(lost)}
    assert counts(check(filled)) == {"missing": len(lost)}
    assert found(filled, resource_type, query) == [f"{resource_type}/l"]
    assert snapshot(filled).keys() == before.keys()
    assert check(filled).clean


DEFINED: dict[str, tuple[dict[str, Any], str]] = {
    "SearchParameter": ({"url": "http://e/s", "name": "S", "description": "s", "code": "nick", "base": ["Patient"], "type": "string", "expression": "Patient.name.text"}, "nick"),
    "ValueSet": ({"url": "http://e/v"}, "http://e/v"),
    "ValueSet with an odd url": ({"url": "http://e/v|identifier|x"}, "http://e/v|identifier|x"),
    "CodeSystem": ({"url": "http://e/c", "content": "complete"}, "http://e/c"),
}  # fmt: skip


@pytest.mark.parametrize("kind", DEFINED)
def test_the_names_of_what_governs_the_server_are_restored(filled: Store, kind: str) -> None:
    content, name = DEFINED[kind]
    resource_type = kind.partition(" ")[0]
    key = f"{resource_type}/g"
    put(filled, {"resourceType": resource_type, "id": "g", "status": "active", **content})
    before = snapshot(filled)
    names = [name, ""] if resource_type == "CodeSystem" else [name]
    assert check(filled).clean
    filled.table.put_many([], [(keys.governing_key(resource_type, each), key) for each in names])
    assert all(list(filled.governing(resource_type, each)) == [] for each in names)
    assert counts(check(filled, repair=False)) == {"missing": len(names)}
    assert counts(check(filled)) == {"missing": len(names)}
    assert all(list(filled.governing(resource_type, each)) == [key] for each in names)
    assert snapshot(filled) == before
    assert check(filled).clean


def test_what_a_fenced_caller_defined_is_listed_nowhere(filled: Store) -> None:
    tenant = Caller("a", (Scope("system", "*", "cruds"),), accounts=("Organization/a",))
    body = {"resourceType": "ValueSet", "id": "g", "status": "active", "url": "http://e/v"}
    resources.update(Session.of(filled, tenant), body, "ValueSet/g")
    before = snapshot(filled)
    assert check(filled).clean
    assert snapshot(filled) == before


ORPHANS: dict[str, keys.Key] = {
    "of a create": ("Observation/never", "i#Patient/p#"),
    "of an identifier of a create": (IDENTIFIER[0].format("x"), f"{SYSTEM}#never"),
    "of an update": (SEEN, "i#Patient/p#"),
    "of an identifier of an update": (IDENTIFIER[0].format("x"), IDENTIFIER[1]),
}


@pytest.mark.parametrize("orphan", ORPHANS)
def test_what_may_be_at_work_is_noted_and_removed_after_a_day(
    filled: Store, orphan: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = snapshot(filled)
    add(ORPHANS[orphan], v={"N": "3"})(filled)
    assert counts(check(filled, repair=False)) == {"noted": 1}
    assert counts(check(filled)) == {"noted": 1}
    assert counts(check(filled)) == {}
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + 90_000)
    assert counts(check(filled)) == {"orphans": 1}
    assert snapshot(filled) == before


def test_where_nobody_else_is_at_work_it_goes_at_once(filled: Store) -> None:
    before = snapshot(filled)
    add(ORPHANS["of a create"])(filled)
    assert counts(check(filled, patience=None)) == {"orphans": 1}
    assert snapshot(filled) == before


def subject_entry(subject: str) -> keys.Key:
    """The entry that an observation of this subject needs."""
    resource = observation(subject, id="seen")
    needed = keys.index_entries(SEEN, index_facts.facts(resource))
    return next(at for at, (attributes, _) in needed.items() if attributes.get("tpk") == subject)


def test_who_stages_a_noted_entry_keeps_it(filled: Store) -> None:
    """The writer of the third version died; that of another third version needs the same entry, years later."""
    entry = subject_entry("Patient/p")
    add(entry, v={"N": "3"})(filled)
    check(filled)
    late = Writer(filled, lambda store: put(store, observation("Patient/p", id="seen")))
    while "noted" in (filled.table.get(entry) or {}):
        assert late.step()
    assert counts(check(filled, patience=0)).get("orphans", 0) == 0
    late.finish()
    assert late.error is None
    assert counts(check(filled, repair=False)).get("missing", 0) == 0


def test_damage_is_told(filled: Store) -> None:
    change(filled, (SEEN, keys.HEAD), body={"B": b"z broken"})
    filled.table.put_many([], [("Observation/gone", keys.version_sort(1))])
    report = check(filled)
    assert counts(report) == {"damaged": 2, "names": report.names}
    assert sorted(report.names) == ["Observation/gone", SEEN]


@pytest.mark.parametrize(("code", "is_damage"), [("NoSuchKey", True), ("AccessDenied", False), ("SlowDown", False)])
def test_a_body_that_may_not_be_read_is_no_damage(
    filled: Store, monkeypatch: pytest.MonkeyPatch, code: str, is_damage: bool
) -> None:
    """Only an object that is not there is damage: without a right, or while S3 is busy, the check stops, and somebody is told."""

    def refuse(**arguments: Any) -> Any:
        raise ClientError({"Error": {"Code": code}}, "GetObject")

    change(filled, (SEEN, keys.HEAD), body={"B": heads.IN_S3 + b"some-body"})
    monkeypatch.setattr(Store, "s3", SimpleNamespace(get_object=refuse))
    if is_damage:
        assert counts(check(filled))["damaged"] == 1
        return
    with pytest.raises(ClientError, match=code):
        check(filled)


def test_what_a_large_transaction_holds_is_left_alone(filled: Store) -> None:
    add((SEEN, "i#Patient/x#"))(filled)
    add((IDENTIFIER[0].format("x"), IDENTIFIER[1]))(filled)
    transaction = transactions.begin(filled.table, [SEEN], 60)
    change(filled, (SEEN, keys.HEAD), txn={"S": transaction})
    assert check(filled).clean


def writes(store: Store, number: int) -> None:
    """All that one writer does: creates, changes of everything that has an entry, deletes."""
    for turn in range(6):
        name = f"w{number}-{turn % 2}"
        subject, identifier = f"Patient/{'pq'[turn % 2]}", [{"system": SYSTEM, "value": f"{number}-{turn}"}]
        put(store, observation(subject, id=name, identifier=identifier, valueInteger=turn))
        put(store, observation("Patient/p", id=name, performer=[{"reference": subject}]))
        if turn % 3 == 0:
            resources.delete(Session.of(store, EVERYBODY), f"Observation/{name}")


def test_writers_at_work_lose_nothing(filled: Store) -> None:
    threads = [threading.Thread(target=writes, args=(filled, number)) for number in range(3)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        report = check(filled)
        assert (report.missing, report.damaged) == (0, 0)
    last = check(filled)
    assert (last.missing, last.damaged) == (0, 0)
    assert check(filled).clean


def test_a_check_meets_a_writer_anywhere(filled: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """The whole of the one at each call of the other, with faults for the check to mend that the writer makes and needs."""
    monkeypatch.setattr(rounds, "_SEGMENTS", 1)
    for at in range(1, 9):
        for first in ("writer", "check"):
            add(subject_entry("Patient/p"), via={"SS": ["author"]})(filled)
            works: dict[str, Callable[[Store], Any]] = {
                "writer": lambda store: put(store, observation("Patient/p", id="seen")),
                "check": check,
            }
            other = "check" if first == "writer" else "writer"
            begun = Writer(filled, works[first])
            for _ in range(at):
                begun.step()
            whole = Writer(filled, works[other])
            whole.finish()
            begun.finish()
            assert (begun.error, whole.error) == (None, None)
            assert counts(check(filled, repair=False)).get("missing", 0) == 0
            put(filled, observation("Patient/q", id="seen"))
            check(filled)
            assert check(filled).clean


class Paging:
    """A client whose scans have small pages."""

    def __init__(self, client: Any) -> None:
        self._client = client

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)

    def scan(self, **arguments: Any) -> Any:
        return self._client.scan(**arguments, Limit=4)


class Context:
    def get_remaining_time_in_millis(self) -> int:
        return 900_000


def test_rounds_go_on_where_the_last_one_ended(make_store: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    store: Store = make_store(integrity_pages=4)
    store.table.client = Paging(store.table.client)  # type: ignore[assignment] # it wraps a client
    for number in range(12):
        put(store, observation("Patient/p", id=f"o{number}"))
        add((f"Observation/o{number}", "i#Patient/x#"))(store)
    monkeypatch.setattr("functions.sweeper.handler.connect", lambda: store)
    found: list[dict[str, int]] = []
    turns = 0
    while sum(report["stale"] for report in found) < 12:
        found.append(handler(CHECK, Context()))
        turns += 1
        assert turns < 60
    assert turns > 3
    assert all(report["resources"] < 12 for report in found)
    assert handler({}, Context()) == {"finished": 0, "dead": 0}
    assert check(store).clean


def test_groups_that_pages_divide_are_compared_as_one(filled: Store) -> None:
    active_months._noted.clear()
    filled.table.client = Paging(filled.table.client)  # type: ignore[assignment] # it wraps a client
    assert check(filled).clean
    add((SEEN, "i#Patient/x#"))(filled)
    assert counts(check(filled)) == {"stale": 1}


@pytest.mark.parametrize("repair", [True, False])
def test_what_a_later_version_took_away_is_not_missing(
    filled: Store, monkeypatch: pytest.MonkeyPatch, repair: bool
) -> None:
    """The check reads an identifier after the head that needs it: an update in between takes both away."""
    monkeypatch.setattr(rounds, "_SEGMENTS", 1)
    for at in range(1, 14):
        put(filled, observation("Patient/p", id="seen", identifier=[{"system": SYSTEM, "value": f"given-{at}"}]))
        add((SEEN, "i#Patient/x#"))(filled)
        checking = Writer(filled, lambda store: check(store, repair=repair))
        for _ in range(at):
            checking.step()
        put(filled, observation("Patient/p", id="seen"))
        checking.finish()
        assert checking.error is None
        assert checking.result.missing == 0
        assert check(filled, repair=False).missing == 0
        check(filled)

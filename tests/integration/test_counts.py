"""What a count asks of DynamoDB: keys for a type, for what an account has of it, for a Patient or a code; heads under a fence; and the answers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from bulkhead import resources
from bulkhead.access import policy
from bulkhead.session import Session
from bulkhead.store import Store, counts, keys
from bulkhead.store.capacity import metered
from tests.support.door import Door
from tests.support.search_samples import observation, patient

TENANT = "Organization/t"
SIZES = (100, 400)


def fill(store: Store, size: int) -> None:
    """Observations of two patients by turns; those of the first are a tenant's."""
    session = Session.of(store, policy.EVERYBODY)
    for name in "01":
        resources.update(session, patient(name), f"Patient/{name}")
    own = {"meta": {"accounts": [{"reference": TENANT}]}}
    made = [observation(f"{number:04d}", subject=f"Patient/{number % 2}", status="final") for number in range(size)]
    for start in range(0, size, 100):
        part = [one if number % 2 else one | own for number, one in enumerate(made[start : start + 100])]
        store.commit(
            [resources.prepare_create(session, one, f"Observation/{one['id']}", fresh=True) for one in part],
            (),
            resources.inherit(session),
        )


@pytest.fixture(scope="module")
def stores(make_store: Any) -> list[Store]:
    made = [make_store(definitions_ttl=3600) for _ in SIZES]
    for store, size in zip(made, SIZES, strict=True):
        fill(store, size)
    return made


@pytest.fixture
def doors(stores: list[Store], keys_folder: Path, monkeypatch: pytest.MonkeyPatch) -> list[Door]:
    return [Door(store, keys_folder, monkeypatch) for store in stores]


def use(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("functions.http.connect", lambda: door.store)


@pytest.mark.parametrize("query", ["_summary=count", "_count=0", "_total=accurate&_count=1"])
def test_a_type_is_counted_from_keys(doors: list[Door], query: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for door, size in zip(doors, SIZES, strict=True):
        use(door, monkeypatch)
        client = door.client()
        client.get("/Observation?_count=1")
        with metered(door.store.table.client) as meter:
            assert client.get(f"/Observation?{query}").json()["total"] == size
        assert meter.requests["BatchGetItem"] == query.count("_total")
        assert sum(meter.units.values()) < 10 + size * 0.05


@pytest.mark.parametrize(
    ("query", "share", "read"),
    [("Observation?patient=Patient/1", 2, 1), ("Patient/1/Observation?_sort=-date", 2, 1), ("Patient/1/*?_type=Observation", 2, 1),
     ("Observation?code=1234-5", 1, 0), ("Observation?code=http://loinc.org|1234-5&_sort=-date", 1, 0)],
)  # fmt: skip
def test_a_patient_and_a_code_are_counted_from_keys(
    doors: list[Door], query: str, share: int, read: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    for door, size in zip(doors, SIZES, strict=True):
        use(door, monkeypatch)
        client = door.client()
        client.get("/Observation?_count=1")
        with metered(door.store.table.client) as meter:
            assert client.get(f"/{query}&_summary=count").json()["total"] == size // share
        assert meter.units["BatchGetItem"] == read
        assert sum(meter.units.values()) < 5 + size // share * 0.03


@pytest.mark.parametrize(
    "query", [f"_account={TENANT}&_summary=count", f"_account={TENANT},Organization/nobody&_count=0"]
)
def test_what_a_tenant_has_of_a_type_is_counted_from_keys(
    doors: list[Door], query: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for door, size in zip(doors, SIZES, strict=True):
        use(door, monkeypatch)
        client = door.client()
        client.get("/Observation?_count=1")
        with metered(door.store.table.client) as meter:
            assert client.get(f"/Observation?{query}").json()["total"] == size // 2
        # Few are one request.
        assert meter.requests["BatchGetItem"] == (size // 2 <= counts.FEW)
        assert sum(meter.units.values()) < 15 + max(size * 0.05, counts.FEW)


@pytest.mark.parametrize(
    ("fence", "scope", "share"),
    [
        ({"accounts": [TENANT]}, "system/*.rs", 2),
        ({"patient": "1"}, "patient/*.rs", 2),
        ({}, "system/Observation.rs?status=amended", 0),
        ({}, "system/Observation.rs?status=final", 1),
        ({"accounts": ["Organization/nobody"]}, "system/*.rs", 0),
    ],
)
def test_who_may_not_see_all_counts_what_they_may(
    doors: list[Door], fence: dict[str, Any], scope: str, share: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    use(doors[0], monkeypatch)
    answer = doors[0].client(scope, **fence).get("/Observation?_summary=count").json()
    assert answer["total"] == (SIZES[0] // share if share else 0)


def test_a_tag_that_nothing_has_is_one_short_answer(doors: list[Door], monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    for door in doors:
        use(door, monkeypatch)
        client = door.client()
        client.get("/Observation?_count=1")
        with metered(door.store.table.client) as meter:
            answer = client.get("/Observation?_tag=nothing").json()
        assert "entry" not in answer
        assert [link["relation"] for link in answer["link"]] == ["self"]
        asked.append((dict(meter.requests), sum(meter.units.values())))
    # One Query for each partition of a tag.
    assert asked[0] == asked[1] == ({"Query": 4}, 2.0)


@pytest.mark.parametrize(
    ("query", "share"),
    [("Observation?patient=Patient/1", 2), ("Patient/1/Observation?_sort=_id", 2),
     ("Observation?code=1234-5", 1), ("Observation?patient=Patient/1&code=1234-5", 2)],
)  # fmt: skip
def test_an_estimate_reads_keys(doors: list[Door], query: str, share: int, monkeypatch: pytest.MonkeyPatch) -> None:
    for door, size in zip(doors, SIZES, strict=True):
        use(door, monkeypatch)
        client = door.client()
        client.get("/Observation?_count=1")
        with metered(door.store.table.client) as meter:
            client.get(f"/{query}{'&' if '?' in query else '?'}_count=1")
        page = sum(meter.units.values())
        with metered(door.store.table.client) as meter:
            answer = client.get(f"/{query}{'&' if '?' in query else '?'}_count=1&_total=estimate").json()
        assert answer["total"] == size // share
        assert sum(meter.units.values()) - page < 3 + size * 0.05


def test_an_estimate_counts_nothing_that_its_caller_may_not_see(
    doors: list[Door], monkeypatch: pytest.MonkeyPatch
) -> None:
    use(doors[0], monkeypatch)
    callers: list[tuple[str, dict[str, Any]]] = [
        ("system/*.rs", {"accounts": [TENANT]}),
        ("system/Observation.rs?status=amended", {}),
    ]
    for scope, fence in callers:
        client = doors[0].client(scope, **fence)
        for query in ("Observation?status=final", "Observation?code=1234-5", "Patient/1/Observation"):
            path = f"/{query}{'&' if '?' in query else '?'}_count=1"
            estimated, exact = (client.get(f"{path}&_total={kind}") for kind in ("estimate", "accurate"))
            assert estimated.json().get("total") == exact.json().get("total")


def test_an_entry_that_a_writer_left_behind_is_estimated_and_not_counted(
    make_store: Any, keys_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = make_store()
    fill(store, 10)
    head = store.read("Observation/0001")
    assert head
    store.table.client.delete_item(TableName=store.table.name, Key={"pk": {"S": head.key}, "sk": {"S": keys.HEAD}})
    door = Door(store, keys_folder, monkeypatch)
    use(door, monkeypatch)
    found = {
        kind: door.client().get(f"/Observation?code=1234-5&_count=1&_total={kind}") for kind in ("estimate", "accurate")
    }
    assert {kind: answer.json()["total"] for kind, answer in found.items()} == {"estimate": 10, "accurate": 9}

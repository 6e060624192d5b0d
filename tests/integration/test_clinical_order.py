"""What searches about dates and `$lastn` ask of DynamoDB: as much of a long history as of a short one, whoever asks."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from bulkhead import resources
from bulkhead.access import policy
from bulkhead.session import Session
from bulkhead.store import Store
from tests.support.door import Door
from tests.support.search_samples import LOINC, coding, observation

Json = dict[str, Any]
SHORT, LONG = 200, 600
CATEGORIES, KINDS = "http://terminology.hl7.org/CodeSystem/observation-category", ("vital-signs", "laboratory")
TENANT = "Organization/t"
NEWEST = datetime(2026, 1, 1, tzinfo=UTC)


def fill(store: Store, size: int) -> None:
    """A patient with so many observations, one an hour: of ten codes and, by hundreds, two categories by turns."""
    session = Session.of(store, policy.EVERYBODY)
    own = {"meta": {"accounts": [{"reference": TENANT}]}}
    resources.update(session, {"resourceType": "Organization", "id": "t"}, "Organization/t")
    resources.update(session, {"resourceType": "Patient", "id": "1"} | own, "Patient/1")
    made = [
        observation(
            f"{number:04d}",
            f"c{number % 10}",
            effectiveDateTime=(NEWEST - timedelta(hours=number)).isoformat(),
            category=[{"coding": [{"system": CATEGORIES, "code": KINDS[number // 100 % 2]}]}],
        )
        for number in range(size)
    ]
    for start in range(0, size, 100):
        part = made[start : start + 100]
        store.commit(
            [resources.prepare_create(session, one | own, f"Observation/{one['id']}", fresh=True) for one in part]
        )


@pytest.fixture
def doors(new_store: Any, keys_folder: Path, monkeypatch: pytest.MonkeyPatch) -> list[Door]:
    """Of a short history and of a long one."""
    made = []
    for size in (SHORT, LONG):
        # The list of definitions is read once in this time, whoever happens to be the first.
        store = new_store(definitions_ttl=3600)
        fill(store, size)
        made.append(Door(store, keys_folder, monkeypatch))
    return made


def ids(answer: httpx.Response) -> list[str]:
    assert answer.status_code == 200, answer.text
    return [entry["resource"]["id"] for entry in answer.json().get("entry", ())]


CALLERS: dict[str, Callable[[Door], httpx.Client]] = {
    "nobody fenced": lambda door: door.client(),
    "an account": lambda door: door.client(accounts=[TENANT]),
    "the patient": lambda door: door.client("patient/*.rs", patient="1"),
}
NUMBERS = [f"{number:04d}" for number in range(SHORT)]
ASKED = {
    "/Observation?patient=1&_sort=-date&_count=20": NUMBERS[:20],
    "/Observation?patient=1&date=ge2025-12-31T05:00:00Z&_count=20": NUMBERS[:20],
    f"/Observation?patient=1&code={LOINC}|c3&_sort=-date&_count=5": NUMBERS[3::10][:5],
    f"/Observation?patient=1&category={CATEGORIES}|{KINDS[1]}&_sort=-date&_count=5": NUMBERS[100:105],
    f"/Patient/1/Observation?category={KINDS[1]}&_count=5": NUMBERS[100:105],
    "/Patient/1/Observation?_sort=-date&_count=20": NUMBERS[:20],
    "/Observation?code=c3&date=ge2025-12-31&_sort=-date&_count=2": NUMBERS[3::10][:2],
    "/Observation?code=c3&_sort=-date&_count=5": NUMBERS[3::10][:5],
    "/Observation/$lastn?patient=1&code=c3,c5&max=2": ["0003", "0013", "0005", "0015"],
}


@pytest.mark.parametrize("who", CALLERS)
def test_requests_and_units_do_not_grow_with_the_history(
    doors: list[Door], who: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    costs: list[dict[str, Any]] = []
    for door in doors:
        monkeypatch.setattr("functions.http.connect", lambda door=door: door.store)
        client = CALLERS[who](door)
        measured = {}
        for path, expected in ASKED.items():
            assert ids(client.get(path)) == expected
            with door.store.metered() as meter:
                client.get(path)
            measured[path] = dict(meter.requests), dict(meter.units)
        costs.append(measured)
    assert costs[0] == costs[1]
    for path, (requests, units) in costs[1].items():
        assert sum(requests.values()) <= 12, path
        assert sum(units.values()) <= 30, path


def test_a_whole_history_is_paged_in_order(doors: list[Door], monkeypatch: pytest.MonkeyPatch) -> None:
    door = doors[0]
    monkeypatch.setattr("functions.http.connect", lambda: door.store)
    client, found = door.client(), []
    answer = client.get("/Observation?patient=1&_sort=-date&_count=7")
    while True:
        found += ids(answer)
        links = {link["relation"]: link["url"] for link in answer.json()["link"]}
        if "next" not in links:
            break
        answer = client.get(links["next"])
    assert found == NUMBERS


class TestLastn:
    @pytest.fixture
    def client(self, new_store: Any, keys_folder: Path, monkeypatch: pytest.MonkeyPatch) -> httpx.Client:
        door = Door(new_store(), keys_folder, monkeypatch)
        client = door.client()
        put(client, {"resourceType": "Patient", "id": "1"})
        put(client, {"resourceType": "Patient", "id": "2"})
        vital: dict[str, Any] = {"category": [{"coding": [coding("c", "vital-signs")]}]}
        put(client, observation("w1", "weight", effectiveDateTime="2020-01-01", **vital))
        put(client, observation("w2", "weight", effectiveDateTime="2020-03-01", **vital))
        put(client, observation("w3", "weight", effectiveDateTime="2020-02-01T10:00:00Z", **vital))
        put(client, observation("h1", "height", effectiveDateTime="2021-01-01", **vital))
        put(client, observation("undated", "height"))
        both = {"coding": [coding(LOINC, "glucose"), coding("local", "glu")]}
        put(client, observation("g1", effectiveDateTime="2019-01-01") | {"code": both})
        put(client, observation("g2", effectiveDateTime="2019-02-01") | {"code": {"coding": [coding("local", "glu")]}})
        put(client, observation("g3", "glucose", effectiveDateTime="2019-03-01"))
        put(client, observation("t", effectiveDateTime="2018-03-01") | {"code": {"text": "Feels well"}})
        put(client, observation("other", "weight", subject="Patient/2", effectiveDateTime="2022-03-01"))
        return client

    @pytest.mark.parametrize(
        ("query", "expected"),
        [
            ("patient=Patient/1", ["h1", "w2", "g3", "t"]),
            ("subject=Patient/1&max=2", ["h1", "undated", "w2", "w3", "g3", "g2", "t"]),
            ("patient=1&code=weight&max=5", ["w2", "w3", "w1"]),
            ("patient=1&code=weight,height", ["h1", "w2"]),
            ("patient=1&code=glu,glucose", ["g3", "g2"]),
            (f"patient=1&code={LOINC}|", ["h1", "w2", "g3"]),
            (f"patient=1&code={LOINC}|weight,local|", ["w2", "g2"]),
            ("patient=1&category=vital-signs&max=1", ["h1", "w2"]),
            ("patient=1&date=lt2020-03-01&code=weight", ["w3"]),
            ("patient=3", []),
        ],
    )
    def test_the_newest_of_each_code(self, client: httpx.Client, query: str, expected: list[str]) -> None:
        answer = client.get(f"/Observation/$lastn?{query}")
        assert ids(answer) == expected
        bundle = answer.json()
        assert (bundle["type"], bundle["total"]) == ("searchset", len(expected))
        assert "/Observation/$lastn?" in bundle["link"][0]["url"]
        assert [link["relation"] for link in bundle["link"]] == ["self"]

    @pytest.mark.parametrize("query", ["max=2", "code=weight&max=5", "code=weight,height", f"code={LOINC}|"])
    def test_pages_that_end_by_their_bytes_are_read_on(
        self, client: httpx.Client, monkeypatch: pytest.MonkeyPatch, query: str
    ) -> None:
        """A page ends after 4 MB, which 4,000 usual observations have together, or four large ones."""
        replacing = {"link": [{"type": "replaces", "other": {"reference": "Patient/1"}}]}
        client.put("/Patient/newer", json={"resourceType": "Patient", "id": "newer", **replacing})
        expected = ids(client.get(f"/Observation/$lastn?patient=1&{query}"))
        monkeypatch.setattr("bulkhead.search.run.PAGE_WEIGHT", 1)
        for patient in ("1", "newer"):
            assert ids(client.get(f"/Observation/$lastn?patient={patient}&{query}")) == expected

    def test_what_is_too_large_together_is_refused(self, client: httpx.Client, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("bulkhead.search.run.PAGE_WEIGHT", 1)
        monkeypatch.setattr("bulkhead.operations.lastn.WEIGHT", 1)
        assert client.get("/Observation/$lastn?patient=1").json()["issue"][0]["code"] == "too-costly"

    def test_by_post(self, client: httpx.Client) -> None:
        named = [
            {"name": "patient", "valueReference": {"reference": "Patient/1"}},
            {"name": "code", "valueCoding": coding(LOINC, "weight")},
            {"name": "code", "valueString": "height"},
            {"name": "max", "valuePositiveInt": 2},
        ]
        body = {"resourceType": "Parameters", "parameter": named}
        assert ids(client.post("/Observation/$lastn", json=body)) == ["h1", "undated", "w2", "w3"]

    def test_by_post_of_a_form(self, client: httpx.Client) -> None:
        form = {"code": "weight", "max": "5"}
        assert ids(client.post("/Observation/$lastn?patient=1", data=form)) == ["w2", "w3", "w1"]

    @pytest.mark.parametrize(
        ("query", "place"),
        [
            ("code=weight", "patient"),
            ("patient=1&max=0", "max"),
            ("patient=1&max=101", "max"),
            ("patient=1&max=x", "max"),
            ("patient=1&max=1&max=2", "max"),
            ("patient=1&_sort=date", "_sort"),
            ("patient=1&_count=2", "_count"),
            ("patient=1&_summary=count", "_summary"),
        ],
    )
    def test_what_it_does_not_take_is_named(self, client: httpx.Client, query: str, place: str) -> None:
        answer = client.get(f"/Observation/$lastn?{query}")
        assert answer.status_code == 400
        assert answer.json()["issue"][0]["expression"] == [place]

    def test_other_types_do_not_have_it(self, client: httpx.Client) -> None:
        assert client.get("/Condition/$lastn?patient=1").status_code == 404
        assert client.get("/metadata").text.count("bulkhead-lastn") == 1

    @pytest.mark.parametrize(
        "parameter", [{"name": "patient"}, {"valueString": "x"}, "x", {"name": "code", "valueBoolean": True}]
    )
    def test_a_faulty_parameter_is_named(self, client: httpx.Client, parameter: Any) -> None:
        answer = client.post("/Observation/$lastn", json={"resourceType": "Parameters", "parameter": [parameter]})
        assert answer.status_code == 400
        assert "Parameters.parameter[0]" in answer.text

    def test_without_codes_a_long_history_is_refused(
        self, client: httpx.Client, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("bulkhead.operations.lastn.READ", 5)
        answer = client.get("/Observation/$lastn?patient=1")
        assert (answer.status_code, answer.json()["issue"][0]["code"]) == (400, "too-costly")
        assert ids(client.get("/Observation/$lastn?patient=1&code=weight&max=3")) == ["w2", "w3", "w1"]


def put(client: httpx.Client, resource: Json) -> None:
    client.put(f"/{resource['resourceType']}/{resource['id']}", json=resource).raise_for_status()

"""Searches through the front door: parameters that are ignored or refused, pages that are cut off, `$everything`, the whole system under a fence."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from bulkhead import settings
from tests.support.door import Door

Json = dict[str, Any]
FORM = {"Content-Type": "application/x-www-form-urlencoded"}
MakeDoor = Callable[..., Door]


@pytest.fixture
def make_door(new_store: Any, keys_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[MakeDoor]:
    """Makes a Door on a store of its own, in a process with these settings."""

    def make(**environment: str) -> Door:
        for name, text in environment.items():
            monkeypatch.setenv(name.upper(), text)
        settings.current.cache_clear()
        known = settings.current()
        return Door(new_store(included_limit=known.included_limit, audit=known.audit), keys_folder, monkeypatch)

    yield make
    monkeypatch.undo()
    settings.current.cache_clear()


def fill(client: httpx.Client) -> None:
    """A patient with an encounter and three observations, one of them late, and what they refer to."""
    subject = {"reference": "Patient/p"}
    resources: list[dict[str, Any]] = [
        {"resourceType": "Organization", "id": "o", "name": "x"},
        {"resourceType": "Practitioner", "id": "d"},
        {"resourceType": "Patient", "id": "p", "managingOrganization": {"reference": "Organization/o"}, "gender": "male"},
        {"resourceType": "Encounter", "id": "e", "status": "finished", "class": {"code": "AMB"}, "subject": subject},
        *(
            {
                "resourceType": "Observation",
                "id": f"b{n}",
                "status": "final",
                "code": {"text": "x"},
                "subject": subject,
                "performer": [{"reference": "Practitioner/d"}],
                "effectiveDateTime": f"202{n}-01-01",
            }
            for n in range(3)
        ),
    ]  # fmt: skip
    for resource in resources:
        client.put(f"{resource['resourceType']}/{resource['id']}", json=resource).raise_for_status()


def keys(bundle: Json, *modes: str) -> list[str]:
    found = (entry for entry in bundle.get("entry", ()) if entry["search"]["mode"] in (modes or ("match", "include")))
    return sorted(f"{entry['resource']['resourceType']}/{entry['resource']['id']}" for entry in found)


def told(bundle: Json) -> list[Json]:
    """The issues of the entries of mode `outcome`."""
    entries = (entry for entry in bundle.get("entry", ()) if entry["search"]["mode"] == "outcome")
    return [issue for entry in entries for issue in entry["resource"]["issue"]]


PLACES = ("Observation", "Patient/p/Observation", "Patient/p/*", "Patient/p/$everything", "Encounter/e/$everything")


@pytest.mark.parametrize("place", PLACES)
def test_a_parameter_that_is_ignored_is_told(make_door: MakeDoor, place: str) -> None:
    with make_door().client() as client:
        fill(client)
        plain, odd = client.get(place).json(), client.get(f"{place}?nonsense=1").json()
        assert keys(odd) == keys(plain) != []
        assert told(plain) == []
        (issue,) = told(odd)
        assert (issue["severity"], "nonsense" in issue["diagnostics"]) == ("warning", True)
        strict = client.get(f"{place}?nonsense=1", headers={"Prefer": "handling=strict"})
        assert (strict.status_code, strict.json()["issue"][0]["expression"]) == (400, ["nonsense"])


@pytest.mark.parametrize("place", PLACES)
def test_a_strict_server_refuses_it(make_door: MakeDoor, place: str) -> None:
    with make_door(search_handling="strict").client() as client:
        fill(client)
        refused = client.get(f"{place}?nonsense=1")
        assert (refused.status_code, refused.json()["issue"][0]["expression"]) == (400, ["nonsense"])
        assert client.get(place).status_code == 200
        lenient = client.get(f"{place}?nonsense=1", headers={"Prefer": "handling=lenient"})
        assert (lenient.status_code, len(told(lenient.json()))) == (200, 1)


def test_includes_that_are_cut_off_are_told(make_door: MakeDoor) -> None:
    with make_door(included_limit="2").client() as client:
        fill(client)
        cut = client.get("Patient?_id=p&_revinclude=Observation:subject").json()
        assert keys(cut, "match") == ["Patient/p"]
        assert len(keys(cut, "include")) == 2
        assert [(issue["severity"], issue["code"], issue["expression"]) for issue in told(cut)] == [
            ("warning", "too-costly", ["_count"])
        ]
        whole = client.get("Patient?_id=p&_revinclude=Encounter:subject").json()
        assert (keys(whole, "include"), told(whole)) == (["Encounter/e"], [])


class TestEverything:
    @pytest.fixture
    def client(self, make_door: MakeDoor) -> Iterator[httpx.Client]:
        with make_door().client() as client:
            fill(client)
            yield client

    def paged(self, client: httpx.Client, url: str) -> list[Json]:
        pages = []
        following: str | None = url
        while following:
            pages.append(client.get(following).raise_for_status().json())
            following = next((link["url"] for link in pages[-1]["link"] if link["relation"] == "next"), None)
        return pages

    def test_members_and_what_they_refer_to(self, client: httpx.Client) -> None:
        bundle = client.get("Patient/p/$everything").json()
        members = ["Encounter/e", "Observation/b0", "Observation/b1", "Observation/b2", "Patient/p"]
        assert keys(bundle, "match") == members
        assert keys(bundle, "include") == ["Organization/o", "Practitioner/d"]
        assert bundle["total"] == len(members)

    @pytest.mark.parametrize("count", [1, 2, 3, 4, 6, 50])
    def test_pages_hold_each_resource_once(self, client: httpx.Client, count: int) -> None:
        pages = self.paged(client, f"Patient/p/$everything?_count={count}")
        found = [key for page in pages for key in keys(page)]
        assert sorted(found) == keys(client.get("Patient/p/$everything").json())
        assert all(len(keys(page)) <= count for page in pages)

    def test_since_leaves_out_what_has_not_changed(self, client: httpx.Client) -> None:
        moment = client.get("Observation/b2").json()["meta"]["lastUpdated"]
        bundle = client.get("Patient/p/$everything", params={"_since": moment}).json()
        assert keys(bundle) == ["Observation/b2"]

    def test_types_and_elements(self, client: httpx.Client) -> None:
        bundle = client.get("Patient/p/$everything?_type=Patient,Practitioner&_elements=gender").json()
        assert (keys(bundle, "match"), keys(bundle, "include")) == (["Patient/p"], ["Practitioner/d"])
        (patient,) = (entry["resource"] for entry in bundle["entry"] if entry["search"]["mode"] == "match")
        assert patient["gender"] == "male"
        assert "managingOrganization" not in patient
        assert "SUBSETTED" in {tag["code"] for tag in patient["meta"]["tag"]}

    def test_start_and_end_are_about_the_time_of_care(self, client: httpx.Client) -> None:
        bundle = client.get("Patient/p/$everything?start=2021-01-01&end=2021-12-31&_type=Observation").json()
        assert keys(bundle) == ["Observation/b1"]

    @pytest.mark.parametrize(
        "query", ["_since=yesterday", "_type=Nothing", "_count=x", "_count=0", "_summary=count", "start=x"]
    )
    def test_what_is_refused_is_named(self, client: httpx.Client, query: str) -> None:
        answer = client.get(f"Patient/p/$everything?{query}")
        assert (answer.status_code, answer.json()["issue"][0]["expression"]) == (400, [query.partition("=")[0]])

    def test_by_post(self, client: httpx.Client) -> None:
        parameters = [{"name": "_type", "valueCode": "Observation"}, {"name": "_count", "valueInteger": 2}]
        bundle = client.post(
            "Patient/p/$everything", json={"resourceType": "Parameters", "parameter": parameters}
        ).json()
        form = client.post("Patient/p/$everything", content="_type=Observation&_count=2", headers=FORM).json()
        assert keys(bundle) == keys(form) == ["Observation/b0", "Observation/b1"]


class TestTheSystemUnderAFence:
    EVENTS = 50

    @pytest.fixture
    def door(self, make_door: MakeDoor) -> Door:
        """Two tenants with an Observation each, and a trail that is far longer."""
        door = make_door(audit="*.write,*.read")
        with door.client() as admin:
            for tenant in "ab":
                account = {"accounts": [{"reference": f"Organization/{tenant}"}]}
                admin.put(f"Organization/{tenant}", json={"resourceType": "Organization", "id": tenant, "name": tenant})
                admin.put(f"Patient/{tenant}", json={"resourceType": "Patient", "id": tenant, "meta": account})
                body = {"resourceType": "Observation", "id": tenant, "status": "final", "code": {"text": "x"}, "subject": {"reference": f"Patient/{tenant}"}}  # fmt: skip
                admin.put(f"Observation/{tenant}", json=body).raise_for_status()
            for _ in range(self.EVENTS):
                admin.get("Patient/b").raise_for_status()
        return door

    @pytest.mark.parametrize("method", ["GET", "POST"])
    @pytest.mark.parametrize(
        "query", ["_id=a,b", "_type=Patient,Observation", "_type=Patient,Observation&_lastUpdated=ge2020"]
    )
    def test_finds_what_the_caller_may_see(self, door: Door, method: str, query: str) -> None:
        with door.client("system/*.rs", accounts=["Organization/a"]) as client:
            base = str(client.base_url).rstrip("/")
            answer = (
                client.get(f"{base}?{query}")
                if method == "GET"
                else client.post("_search", content=query, headers=FORM)
            )
            found = set(keys(answer.raise_for_status().json()))
            assert {"Patient/a", "Observation/a"} <= found
            assert found & {"Patient/b", "Observation/b"} == set()

    @pytest.mark.parametrize(
        "query",
        [
            "_type=Patient,Observation&_count=50",
            "_type=Patient,Observation&_sort=-_lastUpdated",
            "_lastUpdated=ge2020&_count=2",
        ],
    )
    def test_does_not_walk_the_trail_of_others(self, door: Door, query: str) -> None:
        """No more is read where the trail of others has grown fourfold. (AuditEvents themselves, of which no listing knows who sees them, come last.)"""

        def units() -> float:
            with door.store.metered() as meter, door.client("system/*.rs", accounts=["Organization/a"]) as client:
                client.get(f"{str(client.base_url).rstrip('/')}?{query}").raise_for_status()
            return meter.units["Query"] + meter.units["BatchGetItem"]

        before = units()
        with door.client() as admin:
            for _ in range(3 * self.EVENTS):
                admin.get("Patient/b").raise_for_status()
        # Its own searches leave events, too, which it sees.
        assert units() < before + self.EVENTS / 4


@pytest.mark.parametrize(
    ("body", "place", "named"),
    [
        ({"title": "x"}, "Bundle.title", "title"),
        ({"published": "2014-01-01T00:00:00Z"}, "Bundle.published", "timestamp"),
        ({"totalResults": 1}, "Bundle.totalResults", "total"),
        ({"base": "http://e"}, "Bundle.base", "fullUrl"),
        ({"link": [{"rel": "self", "href": "http://e"}]}, "Bundle.link[0]", "relation"),
    ],
)  # fmt: skip
def test_what_older_bundles_had_is_refused_with_the_form_of_r4(
    make_door: MakeDoor, body: Json, place: str, named: str
) -> None:
    with make_door().client() as client:
        answer = client.post(
            str(client.base_url).rstrip("/"), json={"resourceType": "Bundle", "type": "batch", "entry": [], **body}
        )
        (issue,) = answer.json()["issue"]
        assert (answer.status_code, issue["expression"]) == (400, [place])
        assert named in issue["diagnostics"]


def test_an_atom_feed_is_refused_with_the_form_of_r4(make_door: MakeDoor) -> None:
    with make_door().client() as client:
        feed = '<feed xmlns="http://www.w3.org/2005/Atom"><title>x</title><entry/></feed>'
        for kind in ("application/fhir+xml", "application/xml"):
            answer = client.post(
                str(client.base_url).rstrip("/"),
                content=feed,
                headers={"Content-Type": kind, "Accept": "application/json"},
            )
            assert answer.status_code == 400
            assert "Atom" in answer.json()["issue"][0]["diagnostics"]
            assert "Bundle" in answer.json()["issue"][0]["diagnostics"]


def test_the_path_of_an_entry_may_end_in_a_slash(make_door: MakeDoor) -> None:
    with make_door().client() as client:
        fill(client)
        entries = [
            {"request": {"method": "POST", "url": "Patient/"}, "resource": {"resourceType": "Patient"}},
            {"request": {"method": "PUT", "url": "Patient/q/"}, "resource": {"resourceType": "Patient", "id": "q"}},
            {"request": {"method": "GET", "url": "Patient/p/"}},
            {"request": {"method": "GET", "url": "Observation/?_count=1"}},
            {"request": {"method": "DELETE", "url": "Observation/b0/"}},
        ]
        for kind in ("batch", "transaction"):
            bundle = {"resourceType": "Bundle", "type": kind, "entry": entries}
            answer = client.post(str(client.base_url).rstrip("/"), json=bundle).raise_for_status().json()
            assert [entry["response"]["status"][:1] for entry in answer["entry"]] == ["2"] * 5, answer

"""Compartments over HTTP: searching them, defining them, and patients that replace others."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.support.running import pages

Json = dict[str, Any]


def reference(key: str) -> Json:
    return {"reference": key}


def coded(code: str) -> Json:
    return {"coding": [{"system": "http://loinc.org", "code": code}]}


def entry(key: str, **content: Any) -> Json:
    resource_type, _, identifier = key.partition("/")
    resource = {"resourceType": resource_type, "id": identifier, **content}
    return {"resource": resource, "request": {"method": "PUT", "url": key}}


@pytest.fixture(scope="module")
def ward(server: Any) -> Iterator[httpx.Client]:
    """Patient/cw-1 with an encounter and three observations of which one is by another patient; and Patient/cw-2, whom it replaces."""
    replaces = [{"other": reference("Patient/cw-2"), "type": "replaces"}]
    entries = [
        entry("Patient/cw-1", link=replaces),
        entry("Patient/cw-2", name=[{"family": "Former"}]),
        entry("Practitioner/cw-p", name=[{"family": "Seen"}]),
        entry("Encounter/cw-e", status="finished", subject=reference("Patient/cw-1"), **{"class": {"code": "AMB"}}),
        entry("Provenance/cw-pr", recorded="2020-01-01T00:00:00Z", target=[reference("Observation/cw-a")],
              agent=[{"who": reference("Practitioner/cw-p")}]),
        *(
            entry(f"Observation/cw-{name}", status="final", code=coded(code), subject=reference(subject),
                  effectiveDateTime=date, performer=[reference(performer)], **more)
            for name, code, subject, date, performer, more in (
                ("a", "1", "Patient/cw-1", "2020-03-01", "Practitioner/cw-p", {"encounter": reference("Encounter/cw-e")}),
                ("b", "2", "Patient/cw-1", "2020-01-01", "Practitioner/cw-p", {}),
                ("c", "1", "Patient/cw-3", "2020-02-01", "Patient/cw-1", {}),
                ("d", "1", "Patient/cw-2", "2020-04-01", "Practitioner/cw-p", {}),
            )
        ),
    ]  # fmt: skip
    with server.client() as client:
        client.post("", json={"resourceType": "Bundle", "type": "transaction", "entry": entries}).raise_for_status()
        yield client


def found(bundle: Json, mode: str = "match") -> list[str]:
    entries = [one for one in bundle.get("entry", ()) if one["search"]["mode"] == mode]
    return [f"{one['resource']['resourceType']}/{one['resource']['id']}".replace("cw-", "") for one in entries]


OBSERVATIONS = ["Observation/a", "Observation/b", "Observation/c", "Observation/d"]


@pytest.mark.parametrize(
    ("path", "query", "matches"),
    [
        ("Observation", "", OBSERVATIONS),
        ("Observation", "code=http://loinc.org|1", ["Observation/a", "Observation/c", "Observation/d"]),
        ("Observation", "date=ge2020-02&code=1&_sort=-date", ["Observation/d", "Observation/a", "Observation/c"]),
        ("Observation", "encounter=cw-e", ["Observation/a"]),
        ("Observation", "performer:Practitioner.name=seen", ["Observation/a", "Observation/b", "Observation/d"]),
        ("Observation", "_has:Provenance:target:agent=Practitioner/cw-p", ["Observation/a"]),
        ("*", "", ["Encounter/e", *OBSERVATIONS, "Patient/1"]),
        ("*", "_type=Encounter,Patient", ["Encounter/e", "Patient/1"]),
        ("*", "_since=2100-01-01", []),
        ("*", "_since=2020-01-01&_type=Encounter", ["Encounter/e"]),
        ("*", "_lastUpdated=lt2020", []),
        ("*", "_id=cw-e,cw-1,nobody", ["Encounter/e", "Patient/1"]),
        ("Encounter", "_include=Encounter:subject", ["Encounter/e"]),
    ],
)
def test_searching_a_compartment(ward: httpx.Client, path: str, query: str, matches: list[str]) -> None:
    at_once = ward.get(f"Patient/cw-1/{path}?{query}").raise_for_status().json()
    in_order = list if "_sort" in query else sorted
    assert in_order(found(at_once)) == matches
    assert at_once["total"] == len(matches)
    posted = ward.post(
        f"Patient/cw-1/{path}/_search", data=dict(pair.split("=", 1) for pair in query.split("&") if pair)
    )
    assert found(posted.raise_for_status().json()) == found(at_once)
    assert found({"entry": list(pages(ward, f"Patient/cw-1/{path}?{query}&_count=1"))}) == found(at_once)


def test_a_compartment_brings_along_what_is_asked_for(ward: httpx.Client) -> None:
    query = "_include=Observation:performer&_revinclude=Provenance:target&_include=Observation:encounter"
    bundle = ward.get(f"Patient/cw-1/Observation?code=1&{query}").json()
    assert sorted(found(bundle)) == ["Observation/a", "Observation/c", "Observation/d"]
    assert found(bundle, "include") == ["Encounter/e", "Patient/1", "Practitioner/p", "Provenance/pr"]
    everywhere = ward.get("Patient/cw-1/*?_type=Encounter&_revinclude=Observation:encounter").json()
    assert (found(everywhere), found(everywhere, "include")) == (["Encounter/e"], ["Observation/a"])


@pytest.mark.parametrize("identifier", ["nobody", "cw-gone"])
def test_who_is_not_there_has_an_empty_compartment(ward: httpx.Client, identifier: str) -> None:
    ward.put("Patient/cw-gone", json={"resourceType": "Patient", "id": "cw-gone"})
    ward.put(
        "Condition/cw-gone",
        json={"resourceType": "Condition", "id": "cw-gone", "subject": reference("Patient/cw-gone")},
    )
    assert ward.delete("Patient/cw-gone").status_code == 204
    for path in ("Condition", "*"):
        answer = ward.get(f"Patient/{identifier}/{path}")
        assert (answer.status_code, answer.json()["total"], found(answer.json())) == (200, 0, [])


@pytest.mark.parametrize(
    ("path", "status", "expression"),
    [
        ("Patient/cw-1/Practitioner", 400, "Practitioner"),
        ("Patient/cw-1/Nothing", 404, "path"),
        ("Patient/cw-1/*?_type=Practitioner", 400, "_type"),
        ("Location/1/Encounter", 400, "Location"),
        ("Nothing/1/Encounter", 404, "type"),
    ],
)
def test_what_is_in_no_definition_is_named(ward: httpx.Client, path: str, status: int, expression: str) -> None:
    answer = ward.get(path)
    assert answer.status_code == status
    assert answer.json()["issue"][0]["expression"] == [expression]


def test_a_patient_answers_for_whom_it_replaces(ward: httpx.Client) -> None:
    for query in ("Observation?patient=cw-1&code=1", "Observation?subject=Patient/cw-1&code=1&_sort=date"):
        assert sorted(found(ward.get(query).json())) == ["Observation/a", "Observation/d"]
    assert found(ward.get("Patient/cw-2/Observation").json()) == ["Observation/d"]
    assert "Observation/d" in found(ward.get("Patient/cw-1/$everything").json())
    former = ward.get("Observation/cw-d").json()
    assert former["meta"]["compartment"] == [reference("Patient/cw-2"), reference("Practitioner/cw-p")]


def definition(identifier: str, code: str, *listed: Json, **more: Any) -> Json:
    found: Json = {"resourceType": "CompartmentDefinition", "id": identifier, "url": f"http://x.example/{identifier}"}
    return found | {"name": "X", "status": "active", "code": code, "search": True, "resource": list(listed)} | more


WARDS = definition("cw-wards", "Location", {"code": "Encounter", "param": ["location"]}, {"code": "Location", "param": ["{def}"]})  # fmt: skip
STAY = {"status": "finished", "class": {"code": "AMB"}, "location": [{"location": reference("Location/cw-l")}]}


def test_a_definition_lives_from_its_put_to_its_delete(ward: httpx.Client) -> None:
    ward.put("Location/cw-l", json={"resourceType": "Location", "id": "cw-l"})
    ward.put("Encounter/cw-stay", json={"resourceType": "Encounter", "id": "cw-stay", **STAY})
    url = f"CompartmentDefinition/{WARDS['id']}"
    propagate: Json = {"resourceType": "Parameters", "parameter": [{"name": "propagate", "valueBoolean": True}]}
    try:
        assert ward.put(url, json=WARDS).status_code == 201
        assert found(ward.get("Location/cw-l/*").json()) == ["Encounter/stay", "Location/l"]
        assert {"reference": "Location/cw-l"} in ward.get("Encounter/cw-stay").json()["meta"]["compartment"]
        assert WARDS["url"] in ward.get("metadata").json()["rest"][0]["compartment"]
        done = ward.post("Location/cw-l/$set-accounts", json=propagate).json()
        assert done["parameter"] == [{"name": "resourcesUpdated", "valueInteger": 2}]
        assert ward.put(url, json=WARDS | {"search": False}).status_code == 200
        assert ward.get("Location/cw-l/Encounter").status_code == 400
    finally:
        assert ward.delete(url).status_code == 204
    assert ward.get("Location/cw-l/*").status_code == 400
    assert ward.post("Location/cw-l/$set-accounts", json=propagate).status_code == 400
    assert "compartment" not in ward.get("Location/cw-l").json()["meta"]
    assert WARDS["url"] not in ward.get("metadata").json()["rest"][0]["compartment"]


def test_the_five_of_r4_are_there_and_come_back(ward: httpx.Client) -> None:
    url = "CompartmentDefinition/relatedPerson"
    original = ward.get(url).json()
    assert (original["code"], original["version"]) == ("RelatedPerson", "4.0.1")
    assert found(ward.get("CompartmentDefinition?code=RelatedPerson").json()) == ["CompartmentDefinition/relatedPerson"]
    assert "<CompartmentDefinition" in ward.get(url, headers={"Accept": "application/fhir+xml"}).text
    try:
        assert ward.put(url, json=original | {"resource": []}).status_code == 400, "FHIR has no empty arrays"
        assert ward.put(url, json={k: v for k, v in original.items() if k != "resource"}).status_code == 200
        assert ward.get("RelatedPerson/1/Observation").status_code == 400
    finally:
        assert ward.delete(url).status_code == 204
    again = ward.get(url).json()
    assert {k: v for k, v in again.items() if k != "meta"} == {k: v for k, v in original.items() if k != "meta"}
    assert ward.get("RelatedPerson/1/Observation").status_code == 200


def test_a_definition_of_what_there_is_not_is_refused_with_the_places(ward: httpx.Client) -> None:
    wrong = definition(
        "cw-x", "Patient", {"code": "Nothing", "param": ["x"]}, {"code": "Observation", "param": ["encounter"]}
    )
    for answer in (ward.put("CompartmentDefinition/cw-x", json=wrong), ward.post("CompartmentDefinition", json=wrong)):
        assert answer.status_code == 422
        places = [issue["expression"] for issue in answer.json()["issue"]]
        assert places == [["CompartmentDefinition.resource[0].code"], ["CompartmentDefinition.resource[1].param[0]"]]

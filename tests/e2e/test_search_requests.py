"""Searches as requests: by GET and POST, refused and passed over, and what the links then say."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

FORM = {"Content-Type": "application/x-www-form-urlencoded"}
TAG = "urn:search|requests"
ANIMALS = "urn:animals"


@pytest.fixture(scope="module")
def ward(server: Any) -> Iterator[httpx.Client]:
    """Three observations of a patient, a code system, a place and a search parameter; all with one tag."""
    tag = {"meta": {"tag": [{"system": "urn:search", "code": "requests"}]}}
    made: list[dict[str, Any]] = [
        {"resourceType": "Patient", "id": "search-p", "name": [{"family": "Zoo"}], "gender": "female"},
        *(
            {
                "resourceType": "Observation",
                "id": f"search-{code}",
                "status": "final",
                "code": {"coding": [{"system": ANIMALS, "code": code}]},
                "subject": {"reference": "Patient/search-p"},
                "note": [{"text": f"A {code}"}],
            }
            for code in ("cat", "tiger", "dog")
        ),
        {
            "resourceType": "CodeSystem",
            "id": "search-animals",
            "url": ANIMALS,
            "status": "active",
            "content": "complete",
            "concept": [{"code": "cat", "concept": [{"code": "tiger"}]}, {"code": "dog"}],
        },
        {
            "resourceType": "Location",
            "id": "search-bern",
            "position": {"latitude": 46.948, "longitude": 7.4474},
        },
        {
            "resourceType": "SearchParameter",
            "id": "search-noted",
            "url": "urn:search-noted",
            "name": "Noted",
            "status": "active",
            "description": "What somebody noted",
            "code": "search-noted",
            "base": ["Observation"],
            "type": "string",
            "expression": "Observation.note.text",
        },
    ]
    with server.client() as client:
        for resource in made:
            path = f"/{resource['resourceType']}/{resource['id']}"
            assert client.put(path, json=resource | tag).status_code in (200, 201)
        yield client


def ids(answer: httpx.Response) -> list[str]:
    answer.raise_for_status()
    return sorted(entry["resource"]["id"].removeprefix("search-") for entry in answer.json().get("entry", []))


def self_link(answer: httpx.Response) -> str:
    (link,) = [link["url"] for link in answer.json()["link"] if link["relation"] == "self"]
    return str(link)


@pytest.mark.parametrize(
    ("path", "query", "form", "expected"),
    [
        ("/Observation/_search", "", f"_tag={TAG}", "cat dog tiger"),
        ("/Observation/_search", f"_tag={TAG}", "code=cat,dog", "cat dog"),
        ("/Observation/_search", "code=cat,dog", f"code=dog,tiger&_tag={TAG}", "dog"),
        ("/Observation/_search", f"_tag={TAG}&code:below={ANIMALS}|cat", "", "cat tiger"),
        ("/Patient/search-p/Observation/_search", "", "code=dog", "dog"),
        ("/Patient/search-p/*/_search", "_type=Observation", "code=dog", "dog"),
        ("/_search", "", f"_type=Patient,Location&_tag={TAG}", "bern p"),
        ("/Location/_search", "", "near=46.9|7.4|10|km", "bern"),
        ("/Observation/_search", "", "search-noted=a%20t", "tiger"),
        ("/Patient/_search", "", "_has:Observation:patient:search-noted=a%20dog", "p"),
    ],
)
def test_parameters_in_the_url_and_in_the_body_count_together(
    ward: httpx.Client, path: str, query: str, form: str, expected: str
) -> None:
    assert ids(ward.post(f"{path}?{query}", content=form, headers=FORM)) == expected.split()
    listing = path.removesuffix("_search").removesuffix("/")
    everything = "&".join(filter(None, (query, form)))
    assert ids(ward.get(f"{listing}?{everything}")) == expected.split()


def test_a_body_that_is_no_form_is_refused_and_not_passed_over(ward: httpx.Client) -> None:
    for content_type in ("application/fhir+json", "text/plain"):
        answer = ward.post("/Patient/_search", content='{"gender": "male"}', headers={"Content-Type": content_type})
        assert answer.status_code == 415
        assert answer.json()["issue"][0]["expression"] == ["Content-Type"]
    assert ward.post("/Patient/_search").status_code == 200


@pytest.mark.parametrize("name", ["_text", "_content", "_filter", "_query", "_contained", "_containedType"])
@pytest.mark.parametrize("handling", ["lenient", "strict"])
def test_what_is_not_supported_is_refused_everywhere(ward: httpx.Client, name: str, handling: str) -> None:
    headers = {"Prefer": f"handling={handling}"}
    for path in ("/Patient", "/Patient/search-p/Observation", "/Patient/search-p/*", "/"):
        target = "/_search" if path == "/" else f"{path}/_search"
        answers = [
            ward.get(f"{path}?{name}=x&_type=Patient" if path == "/" else f"{path}?{name}=x", headers=headers),
            ward.post(target, content=f"{name}=x", headers=headers | FORM),
        ]
        for answer in answers:
            assert answer.status_code == 400
            issue = answer.json()["issue"][0]
            assert (issue["code"], issue["expression"]) == ("not-supported", [name])


def test_the_self_link_shows_what_was_used(ward: httpx.Client) -> None:
    query = f"code=cat%2Cdog&nonsense=1&_tag={TAG}&_count=5000&name=&_sort=-_lastUpdated"
    answer = ward.get(f"/Observation?{query}")
    used = f"/Observation?code=cat,dog&_tag={TAG.replace('|', '%7C')}&_count=1000&_sort=-_lastUpdated"
    assert self_link(answer).endswith(used)
    assert ids(ward.get(self_link(answer))) == ["cat", "dog"]
    assert self_link(ward.post("/Observation/_search?code=cat", content="nonsense=1", headers=FORM)).endswith(
        "/Observation?code=cat"
    )


@pytest.mark.parametrize(
    ("query", "place"),
    [
        ("nonsense=1", "nonsense"),
        ("nonsense.name=1", "nonsense.name"),
        ("code:nonsense=1", "code:nonsense"),
        ("CODE=cat", "CODE"),
        ("subject.nonsense=1", "subject.nonsense"),
    ],
)
def test_under_strict_handling_what_is_unknown_is_named(ward: httpx.Client, query: str, place: str) -> None:
    answer = ward.get(f"/Observation?{query}", headers={"Prefer": "handling=strict"})
    assert answer.status_code == 400
    assert answer.json()["issue"][0]["expression"] == [place]


@pytest.mark.parametrize(
    ("query", "place"),
    [
        (f"code:below={ANIMALS}-nowhere|x", "code:below"),
        ("subject:Patient." + "link:Patient." * 20 + "name=x", None),
        ("_id=" + ",".join(map(str, range(6000))), "_id"),
        ("_include=*&" * 60, "_include"),
        ("code=a&" * 300, "code"),
        ("_sort=" + "date," * 30, "_sort"),
        ("code:in=urn:nothing", "code:in"),
        ("near=1|2", "near"),
    ],
)
def test_what_is_refused_names_its_place(ward: httpx.Client, query: str, place: str | None) -> None:
    answer = ward.post("/Observation/_search", content=query, headers=FORM | {"Prefer": "handling=strict"})
    assert answer.status_code == 400
    assert answer.json()["issue"][0]["expression"] == [place or query.partition("=")[0]]


def test_a_search_parameter_ends_when_it_is_retired_or_deleted(ward: httpx.Client) -> None:
    definition = ward.get("/SearchParameter/search-noted").json()
    strict = {"Prefer": "handling=strict"}
    path = "/Patient/search-p/Observation?search-noted=a%20cat&_sort=search-noted"
    assert ids(ward.get(path, headers=strict)) == ["cat"]
    ward.put("/SearchParameter/search-noted", json=definition | {"status": "retired"})
    assert ward.get(path, headers=strict).status_code == 400
    ward.put("/SearchParameter/search-noted", json=definition)
    assert ids(ward.get(path, headers=strict)) == ["cat"]
    ward.delete("/SearchParameter/search-noted")
    assert ward.get(path, headers=strict).status_code == 400


@pytest.mark.parametrize("octets", ["M%FCller", "%C3%BC%C3"])
def test_octets_that_are_not_utf_8_are_refused(ward: httpx.Client, octets: str) -> None:
    """They would find nothing without a word, and a conditional create would make one more each time."""
    answers = {
        "request.url": ward.get(f"/Patient?name={octets}"),
        "body": ward.post("/Patient/_search", content=f"name={octets}", headers=FORM),
        "If-None-Exist": ward.post(
            "/Patient", json={"resourceType": "Patient"}, headers={"If-None-Exist": f"identifier=urn:s|{octets}"}
        ),
    }
    for place, answer in answers.items():
        assert (answer.status_code, answer.json()["issue"][0]["expression"]) == (400, [place])

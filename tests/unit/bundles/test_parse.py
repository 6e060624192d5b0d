"""What is wrong with a Bundle is a 400 that names the place."""

from __future__ import annotations

from typing import Any

import pytest

from bulkhead.bundles import parse
from bulkhead.bundles.entries import Interaction
from bulkhead.errors import BadRequest
from tests.support.bundle_samples import BASE, bundle, create, delete, get, patient, update


def faults_of(*entries: Any) -> dict[int, list[str | None]]:
    _, faults = parse.entries(bundle(*entries), BASE, 100)
    return {index: [issue.expression for issue in error.issues] for index, error in faults.items()}


@pytest.mark.parametrize(
    ("content", "expression"),
    [
        ({"resourceType": "Patient"}, "resourceType"),
        ({}, "resourceType"),
        ({"resourceType": "Bundle"}, "Bundle.type"),
        ({"resourceType": "Bundle", "type": "searchset"}, "Bundle.type"),
        ({"resourceType": "Bundle", "type": ["batch"]}, "Bundle.type"),
        ({"resourceType": "Bundle", "type": "batch", "entry": {}}, "Bundle.entry"),
        ({"resourceType": "Bundle", "type": "batch", "surprise": 1}, "Bundle.surprise"),
    ],
)
def test_a_faulty_bundle_is_refused(content: Any, expression: str) -> None:
    with pytest.raises(BadRequest) as caught:
        parse.entries(content, BASE, 100)
    assert [issue.expression for issue in caught.value.issues] == [expression]


@pytest.mark.parametrize(
    ("entry", "path"),
    [
        ({"resource": patient()}, ".request"),
        ({"request": {"url": "Patient"}}, ".request.method"),
        ({"request": {"method": "POST"}, "resource": patient()}, ".request.url"),
        ({"request": {"method": "FETCH", "url": "Patient"}}, ".request.method"),
        ({"request": {"method": "POST", "url": "Patient"}}, ".resource"),
        ({"request": {"method": "PUT", "url": "Patient/1"}}, ".resource"),
        ({"request": {"method": "POST", "url": "Patient/1"}, "resource": patient()}, ".request.url"),
        ({"request": {"method": "POST", "url": "Patient?a=b"}, "resource": patient()}, ".request.url"),
        ({"request": {"method": "POST", "url": "Nonsense"}, "resource": patient()}, ".request.url"),
        ({"request": {"method": "POST", "url": "http://elsewhere.org/Patient"}, "resource": patient()}, ".request.url"),
        ({"request": {"method": "PUT", "url": "Patient"}, "resource": patient()}, ".request.url"),
        ({"request": {"method": "PUT", "url": "Patient/1/2"}, "resource": patient()}, ".request.url"),
        ({"request": {"method": "PUT", "url": "Patient/1?a=b"}, "resource": patient(id="1")}, ".request.url"),
        ({"request": {"method": "PUT", "url": "Patient/a_b"}, "resource": patient()}, ".request.url"),
        ({"request": {"method": "DELETE", "url": "Patient"}}, ".request.url"),
        ({"request": {"method": "POST", "url": "Observation"}, "resource": patient()}, ".resource.resourceType"),
        ({"request": {"method": "PUT", "url": "Patient/1"}, "resource": patient(id="2")}, ".resource.id"),
        ({"request": {"method": "PUT", "url": "Patient/1"}, "resource": patient()}, ".resource.id"),
        ({"request": {"method": "POST", "url": "Patient"}, "resource": patient(gender="?")}, ".resource.gender"),
        ({"request": {"method": "POST", "url": "Patient"}, "resource": patient(surprise=1)}, ".resource.surprise"),
        ({"request": {"method": "POST", "url": "Patient"}, "resource": "Patient"}, ".resource"),
    ],
)
def test_a_faulty_entry_is_named_and_spares_the_others(entry: Any, path: str) -> None:
    assert faults_of(create(patient()), entry, get("Patient/1")) == {1: [f"Bundle.entry[1]{path}"]}


def test_an_entry_that_is_no_object_is_named() -> None:
    assert list(faults_of(create(patient()), "entry")) == [1]


def test_all_faults_of_a_resource_are_told() -> None:
    faulty = create(patient(gender="?", active="true"))
    assert sorted(map(str, faults_of(faulty)[0])) == [
        "Bundle.entry[0].resource.active",
        "Bundle.entry[0].resource.gender",
    ]


def test_a_full_url_given_twice_is_refused() -> None:
    twice = [create(patient(), "urn:uuid:a"), create(patient(), "urn:uuid:a")]
    assert faults_of(*twice) == {1: ["Bundle.entry[1].fullUrl"]}


def test_a_bundle_without_entries_is_taken() -> None:
    assert parse.entries({"resourceType": "Bundle", "type": "batch"}, BASE, 100) == ([], {})
    assert parse.entries({"resourceType": "Bundle", "type": "batch", "entry": []}, BASE, 100) == ([], {})


@pytest.mark.parametrize("prefix", ["", "/", f"{BASE}/"])
def test_urls_may_be_relative_or_of_this_server(prefix: str) -> None:
    given = [
        create(patient()),
        update(patient(id="a"), f"{prefix}Patient/a"),
        update(patient(), f"{prefix}Patient?identifier=s%7Cv"),
        delete(f"{prefix}Patient/a"),
        delete(f"{prefix}Patient?identifier=s|v"),
        get(f"{prefix}Patient?name=x"),
        get(f"{prefix}Patient/a/_history/1"),
        {"request": {"method": "POST", "url": f"{prefix}Patient/_search?name=x"}},
        {"request": {"method": "POST", "url": f"{prefix}Patient/a/$set-accounts"}},
        {"request": {"method": "PATCH", "url": f"{prefix}Patient/a"}, "resource": {"resourceType": "Parameters"}},
    ]
    entries, faults = parse.entries(bundle(*given), BASE, 100)
    assert faults == {}
    assert [(entry.interaction, entry.key, entry.criteria) for entry in entries] == [
        (Interaction.CREATE, None, None),
        (Interaction.UPDATE, "Patient/a", None),
        (Interaction.UPDATE, None, "identifier=s%7Cv"),
        (Interaction.DELETE, "Patient/a", None),
        (Interaction.DELETE, None, "identifier=s|v"),
        (Interaction.READ, None, "name=x"),
        (Interaction.READ, None, None),
        (Interaction.READ, None, "name=x"),
        (Interaction.OPERATION, None, None),
        (Interaction.PATCH, "Patient/a", None),
    ]


@pytest.mark.parametrize(
    ("members", "where", "form"),
    [
        ({"link": [{"relation": "search", "url": "Patient?identifier=1"}]}, "link[0]", "ifNoneExist"),
        ({"link": [{"relation": "self", "url": "x"}, {"relation": "SEARCH", "url": "x"}]}, "link[1]", "ifNoneExist"),
        ({"link": [{"rel": "search", "href": "Patient?identifier=1"}]}, "link[0]", "ifNoneExist"),
        ({"link": {"rel": "search", "href": "x"}}, "link[0]", "ifNoneExist"),
        ({"link": [{"rel": "self", "href": "x"}]}, "link[0]", "relation"),
        ({"deleted": "2014-01-01"}, "deleted", "DELETE"),
        ({"content": {}}, "content", "resource"),
        ({"transaction": {"method": "POST", "url": "Patient"}}, "transaction", "request"),
        ({"transactionResponse": {}}, "transactionResponse", "response"),
        ({"base": "http://x"}, "base", "fullUrl"),
        ({"id": "http://x/Patient/1"}, "id", "fullUrl"),
        ({"title": "x"}, "title", "R4"),
    ],
)
@pytest.mark.parametrize("kind", ["batch", "transaction"])
def test_a_form_of_an_older_version_is_refused_with_that_of_r4(kind: str, members: Any, where: str, form: str) -> None:
    _, faults = parse.entries(bundle(create(patient()) | members, kind=kind), BASE, 100)
    (issue,) = faults[0].issues
    assert issue.expression == f"Bundle.entry[0].{where}"
    assert form in issue.diagnostics


def test_other_links_and_ids_of_an_entry_are_taken() -> None:
    entry = create(patient()) | {"id": "e1", "link": [{"relation": "self", "url": "http://x/Patient/1"}]}
    assert faults_of(entry) == {}


@pytest.mark.parametrize(
    ("bundle", "form"),
    [
        ({"title": "feed", "entry": []}, "an Atom feed"),
        ({"resourceType": "Bundle", "title": "feed", "entry": []}, "title"),
        ({"resourceType": "Bundle", "type": "transaction", "base": "http://x", "entry": []}, "base"),
    ],
)
def test_a_bundle_of_an_older_version_is_refused_with_the_form_of_r4(bundle: dict[str, Any], form: str) -> None:
    with pytest.raises(BadRequest, match=form) as caught:
        parse.bundle_type(bundle, 100)
    assert "R4" in str(caught.value)


@pytest.mark.parametrize("older", ["MedicationPrescription", "MedicationOrder"])
def test_a_type_of_an_older_version_is_refused_with_that_of_r4(older: str) -> None:
    entry = {"resource": {"resourceType": older}, "request": {"method": "POST", "url": older}}
    _, faults = parse.entries({"resourceType": "Bundle", "type": "transaction", "entry": [entry]}, BASE, 100)
    assert "in R4 that is MedicationRequest" in str(faults[0])

"""Which references are local, and where they stand in a resource."""

from __future__ import annotations

from typing import Any

import pytest

from bulkhead.fhir import references


@pytest.mark.parametrize(
    ("reference", "key"),
    [
        ("Patient/1", "Patient/1"),
        ("Patient/1/_history/2", "Patient/1"),
        ("Observation/a.b-C", "Observation/a.b-C"),
        ("Patient", None),
        ("Patient/", None),
        ("Patient/a b", None),
        ("Patient/" + "a" * 65, None),
        ("Patient/1/name", None),
        ("Patient/1\n", None),
        ("Foo/1", None),
        ("Resource/1", None),
        ("#1", None),
        ("", None),
        ("urn:uuid:c757873d-ec9a-4326-a141-556f43239520", None),
        ("http://example.org/fhir/Patient/1", None),
        ("Patient?identifier=a|b", None),
    ],
)
def test_local(reference: str, key: str | None) -> None:
    assert references.local(reference) == key


def test_walk_finds_every_reference_in_document_order() -> None:
    subject, device, note, nested, assigner = ({"reference": f"Patient/{number}"} for number in range(5))
    resource = {
        "resourceType": "Observation",
        "contained": [{"resourceType": "Patient", "managingOrganization": note}],
        "extension": [{"url": "u", "valueReference": nested}],
        "_status": {"extension": [{"url": "u", "extension": [{"url": "v", "valueReference": device}]}]},
        "subject": subject | {"identifier": {"assigner": assigner}},
        "performer": [{"display": "logical only"}, {"reference": "Patient/9"}],
        "valueString": "Patient/1",
        "unknown": {"reference": "Patient/1"},
    }
    found = [(path, reference.get("reference")) for path, reference in references.walk(resource)]
    assert found == [
        ("Observation.contained[0].managingOrganization", "Patient/2"),
        ("Observation.extension[0].value", "Patient/3"),
        ("Observation.status.extension[0].extension[0].value", "Patient/1"),
        ("Observation.subject", "Patient/0"),
        ("Observation.subject.identifier.assigner", "Patient/4"),
        ("Observation.performer[0]", None),
        ("Observation.performer[1]", "Patient/9"),
    ]


def test_walk_gives_the_resource_s_own_dicts() -> None:
    bundle: dict[str, Any] = {
        "resourceType": "Bundle",
        "entry": [{"resource": {"resourceType": "Condition", "subject": {"reference": "urn:uuid:1"}}}],
    }
    ((path, reference),) = references.walk(bundle)
    reference["reference"] = "Patient/1"
    assert path == "Bundle.entry[0].resource.subject"
    assert bundle["entry"][0]["resource"]["subject"] == {"reference": "Patient/1"}


def test_walk_goes_through_companions_of_repeating_primitives_and_parameters() -> None:
    extension = {"extension": [{"url": "u", "valueReference": {"reference": "Patient/1"}}]}
    name = {"resourceType": "Patient", "name": [{"given": ["a", None], "_given": [None, extension]}]}
    parameters = {"resourceType": "Parameters", "parameter": [{"name": "p", "part": [{"name": "q", "resource": name}]}]}
    assert [path for path, _ in references.walk(parameters)] == [
        "Parameters.parameter[0].part[0].resource.name[0].given[1].extension[0].value"
    ]


@pytest.mark.parametrize(
    "resource",
    [{}, {"resourceType": "Foo"}, {"resourceType": 1}, {"resourceType": "Patient", "link": [None, 1, {"other": "x"}]}],
)
def test_walk_passes_over_what_is_no_resource(resource: dict[str, object]) -> None:
    assert list(references.walk(resource)) == []

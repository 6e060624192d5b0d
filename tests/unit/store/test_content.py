"""The stored form of a resource: nothing is lost, the facts beside it are those of the resource, and `meta` is put in without parsing."""

from __future__ import annotations

import hashlib
import zipfile
import zlib
from collections.abc import Iterator
from functools import cache
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulkhead.compartments.membership import built_in
from bulkhead.facts import care_dates, index_facts
from bulkhead.fhir import json
from bulkhead.resources import represent, splice, stored
from bulkhead.store import Head, Version, content
from tests.support.shared_data import shared

FACTS_OF_FORM_T = "7bd86a6d97400ddabdf80d989d66ccc683b37163c4ac9035ae33c48ac524c9ef"

Resource = dict[str, Any]

OBSERVATION: Resource = {
    "status": "final",
    "id": "1",
    "resourceType": "Observation",
    "subject": {"reference": "Patient/1"},
    "performer": [{"reference": "Organization/a"}, {"reference": "https://elsewhere.example/Organization/b"}],
    "hasMember": [{"reference": "#inner"}],
    "contained": [{"resourceType": "Observation", "id": "inner", "status": "final"}],
    "effectivePeriod": {"start": "2020-01-01", "end": "2020-02-01"},
    "code": {"coding": [{"system": "http://loinc.org", "code": "1-8"}, {"code": "own"}], "text": "x"},
    "meta": {"versionId": "7", "lastUpdated": "2020-01-01T00:00:00Z", "tag": [{"code": "x"}]},
    "valueString": 'a line\nbreak, a "quote" and a letter that is no ASCII: ß',
}


@cache
def examples() -> tuple[Resource, ...]:
    with zipfile.ZipFile(shared("hl7-r4-examples-clinical.zip")) as archive:
        found = [json.loads(archive.read(name)) for name in sorted(archive.namelist()) if name.endswith(".json")]
    return tuple(one for one in found if "id" in one)


def head_of(resource: Resource) -> Head:
    key = f"{resource['resourceType']}/{resource['id']}"
    return Head(key, 3, "2026-01-01T00:00:00.000Z", "PUT", content.encode(resource), ("Organization/a",))


def unread(head: Head) -> dict[str, Any]:
    raise AssertionError("nothing has to parse the body")


def read(head: Head) -> content.Content:
    assert head.body is not None
    return content.read(head.body)


def test_what_was_stored_comes_back() -> None:
    assert content.read(content.encode(OBSERVATION)).decode() == stored(OBSERVATION)


def test_the_facts_lie_beside_it() -> None:
    found = content.read(content.encode(OBSERVATION))
    assert found.targets == {
        "Patient/1": frozenset({"subject", "patient"}),
        "Organization/a": frozenset({"performer"}),
    }
    assert found.codes == [("http://loinc.org", "1-8"), ("", "own")]
    assert found.care == ("2020-01-01T00:00:00.000Z-2020-02-01T23:59:59.999Z", "2020-02-01T23:59:59.999Z+")


def test_facts_that_are_known_are_not_sought_again() -> None:
    known = index_facts.facts(OBSERVATION).targets
    assert "#Observation" in known
    assert content.encode(OBSERVATION, known) == content.encode(OBSERVATION)


def test_a_type_without_a_care_date_has_none() -> None:
    assert content.read(content.encode({"resourceType": "Patient", "id": "1"})).care is None


def test_older_content_is_read_as_ever() -> None:
    head = Head("Observation/1", 1, "", "PUT", content.PLAIN + zlib.compress(json.dumps(stored(OBSERVATION))))
    version = Version(head, unread, read=read)
    assert splice(version, built_in()) is None
    assert version.body == stored(OBSERVATION)
    assert version.targets == index_facts.targets(OBSERVATION)


@pytest.mark.parametrize("odd", [{"resourceType": "Patient"}, {"resourceType": "Patient", "id": "other"}])
def test_content_under_another_key_is_not_put_together(odd: Resource) -> None:
    head = Head("Patient/1", 1, "", "PUT", content.encode(odd))
    assert splice(Version(head, unread, read=read), built_in()) is None


def whole(resource: Resource, extended: bool) -> bytes:
    """The answer as parsing gives it."""
    return json.dumps(represent(Version(head_of(resource), lambda _: stored(resource)), built_in(), extended=extended))


@pytest.mark.parametrize("extended", [True, False])
def test_meta_is_put_in_to_the_byte(extended: bool) -> None:
    for resource in (OBSERVATION, {"resourceType": "Basic", "id": "1"}):
        spliced = splice(Version(head_of(resource), unread, read=read), built_in(), extended=extended)
        assert spliced is not None
        assert json.dumps(spliced) == whole(resource, extended)


def test_all_examples_come_back_and_are_shown_without_parsing() -> None:
    for resource in examples():
        version = Version(head_of(resource), unread, read=read)
        spliced = splice(version, built_in())
        assert spliced is not None
        assert json.dumps(spliced) == whole(resource, True)
        assert version.targets == index_facts.targets(resource)
        care = care_dates.care_parameter(resource["resourceType"])
        if care:
            assert version.care(care) == care_dates.of_resource(resource, care)
        code = care_dates.code_parameter(resource["resourceType"])
        if code:
            assert tuple(version.codes(code)) == care_dates.codes_of(resource, code)
        assert json.canonical(read(version.head).decode()) == json.canonical(stored(resource))


def test_the_facts_of_a_form_never_change() -> None:
    """What is stored says nothing of the code that wrote it, but for its form. If this fails, give the form a new letter."""

    def lines() -> Iterator[bytes]:
        for resource in examples():
            yield zlib.decompress(content.encode(resource)[1:]).partition(b"\n")[0]

    assert hashlib.sha256(b"\n".join(lines())).hexdigest() == FACTS_OF_FORM_T


TEXTS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=10,
)


@given(members=st.dictionaries(TEXTS, VALUES, max_size=5), tag=TEXTS | st.none())
def test_any_members_come_back_in_their_order(members: Resource, tag: str | None) -> None:
    meta = {"meta": {"source": tag}} if tag else {}
    resource = {"resourceType": "Basic", "id": "1", **meta, **{f"x{name}": value for name, value in members.items()}}
    encoded = content.encode(resource, {})
    assert list(content.read(encoded).decode().items()) == list(resource.items())
    spliced = splice(Version(Head("Basic/1", 1, "", "PUT", encoded), unread, read=read), built_in())
    assert spliced is not None
    shown = represent(Version(Head("Basic/1", 1, "", "PUT", encoded), lambda _: resource), built_in())
    assert json.dumps(spliced) == json.dumps(shown)

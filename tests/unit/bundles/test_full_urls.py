"""fullUrls of every form lead to what the server calls the resource (R4 bundle.html#references)."""

from __future__ import annotations

import pytest

from bulkhead.bundles.changes import Change
from bulkhead.bundles.entries import Entry, Interaction
from bulkhead.bundles.full_urls import FullUrls
from bulkhead.store import Head
from tests.unit.bundles.samples import BASE, patient


def change(full_url: str, key: str, base: Head | None = None) -> Change:
    made = Change(Entry(0, Interaction.CREATE, "POST", "Patient", "Patient", resource=patient(), full_url=full_url))
    made.key, made.base = key, base
    return made


@pytest.mark.parametrize(
    ("full_url", "link", "expected"),
    [
        ("urn:uuid:1", "urn:uuid:1", "Patient/n"),
        ("urn:oid:1.2", "urn:oid:1.2", "Patient/n"),
        ("cid:a@b", "cid:a@b", "Patient/n"),
        ("http://x.org/fhir/Patient/1", "http://x.org/fhir/Patient/1", "Patient/n"),
        ("http://x.org/fhir/Patient/1", "http://x.org/fhir/Patient/1/_history/7", "Patient/n/_history/1"),
        ("http://x.org/fhir/Patient/1", "http://x.org/fhir/Patient/1#frag", "Patient/n#frag"),
        ("http://x.org/fhir/Patient/1", "http://x.org/fhir/Patient/1/_history/7#frag", "Patient/n/_history/1#frag"),
        ("http://x.org/fhir/Patient/1", "http://other.org/fhir/Patient/1", None),
        ("urn:uuid:1", "urn:uuid:1#frag", "Patient/n#frag"),
        ("Patient/1", "Patient/1", "Patient/n"),
        (f"{BASE}/Patient/1", "Patient/1", "Patient/n"),
        (f"{BASE}/Patient/1", "Patient/2", None),
        ("urn:uuid:1", "urn:uuid:2", None),
        ("urn:uuid:1", "urn:uuid:", None),
    ],
)
def test_links_from_an_entry_with_a_urn(full_url: str, link: str, expected: str | None) -> None:
    source = change("urn:uuid:source", "Observation/n")
    assert FullUrls([change(full_url, "Patient/n"), source], BASE).resolver(source)(link) == expected


@pytest.mark.parametrize(
    ("link", "expected"),
    [
        ("Patient/1", "Patient/n"),
        ("Patient/1/_history/3", "Patient/n/_history/1"),
        ("Patient/2", None),
        ("http://x.org/fhir/Patient/1", "Patient/n"),
    ],
)
def test_relative_links_are_relative_to_the_full_url_of_their_entry(link: str, expected: str | None) -> None:
    source = change("http://x.org/fhir/Observation/1", "Observation/n")
    target = change("http://x.org/fhir/Patient/1", "Patient/n")
    assert FullUrls([target, source], BASE).resolver(source)(link) == expected


def test_a_relative_link_does_not_lead_to_another_server() -> None:
    source = change("http://y.org/fhir/Observation/1", "Observation/n")
    target = change("http://x.org/fhir/Patient/1", "Patient/n")
    assert FullUrls([target, source], BASE).resolver(source)("Patient/1") is None


def test_a_link_to_a_version_names_the_one_that_is_made() -> None:
    base = Head("Patient/1", 4, "2026-01-01T00:00:00.000Z", "PUT", b"")
    target, source = change("http://x.org/Patient/1", "Patient/1", base), change("urn:uuid:s", "Observation/n")
    full_urls = FullUrls([target, source], BASE)
    assert full_urls.resolver(source)("http://x.org/Patient/1/_history/2") == "Patient/1/_history/5"
    assert full_urls.versioned == {"Patient/1"}


def test_a_post_without_a_full_url_is_known_by_the_id_that_it_had() -> None:
    posted = Change(Entry(0, Interaction.CREATE, "POST", "Patient", "Patient", resource=patient(id="foo")))
    posted.key = "Patient/n"
    source = change("urn:uuid:source", "Observation/n")
    assert FullUrls([posted, source], BASE).resolver(source)("Patient/foo") == "Patient/n"
    assert FullUrls([posted, source], BASE).resolver(source)("Patient/n") is None
    put = Change(Entry(1, Interaction.UPDATE, "PUT", "Patient/foo", "Patient", "foo", resource=patient(id="foo")))
    put.key = "Patient/foo"
    assert FullUrls([posted, put, source], BASE).resolver(source)("Patient/foo") is None

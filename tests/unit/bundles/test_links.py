"""Links are found where the definitions say that a reference, a uri or a narrative stands, and nowhere else."""

from __future__ import annotations

from typing import Any

import pytest

from bulkhead.bundles.links import find_links
from tests.support.bundle_samples import observation, patient

OLD, NEW = "urn:uuid:1", "Patient/new"


def replaced(resource: dict[str, Any]) -> dict[str, Any]:
    for link in find_links(resource):
        link.set({OLD: NEW, f"{OLD}?a=1&b=2": NEW}.get)
    return resource


@pytest.mark.parametrize(
    "path",
    [
        {"subject": {"reference": OLD}},
        {"performer": [{"reference": "Practitioner/1"}, {"reference": OLD}]},
        {"extension": [{"url": "http://x", "valueReference": {"reference": OLD}}]},
        {"extension": [{"url": "http://x", "valueUri": OLD}]},
        {"extension": [{"url": "http://x", "extension": [{"url": "http://y", "valueUrl": OLD}]}]},
        {"subject": {"identifier": {"value": "1", "assigner": {"reference": OLD}}}},
        {"_status": {"extension": [{"url": "http://x", "valueReference": {"reference": OLD}}]}},
        {"contained": [patient(id="c", managingOrganization={"reference": OLD})]},
        {"meta": {"source": OLD}},
        {"implicitRules": OLD},
    ],
)
def test_a_link_is_replaced_wherever_it_stands(path: dict[str, Any]) -> None:
    before = observation("Patient/1") | path
    expected = eval(repr(before).replace(OLD, NEW))
    assert replaced(before) == expected


@pytest.mark.parametrize(
    "path",
    [
        {"identifier": [{"system": "urn:ietf:rfc:3986", "value": OLD}]},
        {"identifier": [{"system": OLD, "value": "1"}]},
        {"code": {"coding": [{"system": OLD, "code": "1"}]}},
        {"code": {"text": OLD}},
        {"extension": [{"url": OLD, "valueString": OLD}]},
        {"extension": [{"url": "http://x", "valueCanonical": OLD}]},
        {"meta": {"profile": [OLD]}},
        {"subject": {"display": OLD}},
        {"subject": {"reference": "#c"}},
    ],
)
def test_what_only_looks_like_a_link_stays(path: dict[str, Any]) -> None:
    before = observation("Patient/1") | path
    assert replaced(eval(repr(before))) == before


def test_a_definition_keeps_its_own_url() -> None:
    definition = {"resourceType": "ValueSet", "url": OLD, "status": "draft"}
    assert replaced(dict(definition)) == definition


def test_an_attachment_is_a_link() -> None:
    attachment = {"contentType": "text/plain", "url": OLD}
    document = {"resourceType": "DocumentReference", "status": "current", "content": [{"attachment": attachment}]}
    assert replaced(document)["content"][0]["attachment"]["url"] == NEW


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (f'<a href="{OLD}">x</a>', f'<a href="{NEW}">x</a>'),
        (f"<img alt='' src = '{OLD}'/>", f"<img alt='' src = '{NEW}'/>"),
        (f'<a href="{OLD}?a=1&amp;b=2">x</a>', f'<a href="{NEW}">x</a>'),
        (f'<a href="#x">{OLD}</a><a href="http://x">y</a>', f'<a href="#x">{OLD}</a><a href="http://x">y</a>'),
    ],
)
def test_hyperlinks_of_a_narrative_are_replaced(before: str, after: str) -> None:
    xhtml = '<div xmlns="http://www.w3.org/1999/xhtml">{}</div>'
    section = {"title": "s", "text": {"status": "generated", "div": xhtml.format(before)}}
    composition = {"resourceType": "Composition", "section": [section]}
    assert replaced(composition)["section"][0]["text"]["div"] == xhtml.format(after)


def test_links_are_set_from_the_original_text_each_time() -> None:
    resource = observation(OLD)
    (link,) = [link for link in find_links(resource) if link.text == OLD]
    for target in ("Patient/a", "Patient/b"):

        def moved(text: str, target: str = target) -> str:
            return target

        link.set(moved)
        assert resource["subject"]["reference"] == target
    link.set(lambda _: None)
    assert resource["subject"]["reference"] == OLD

"""Content negotiation: what `Accept`, `_format` and `Content-Type` mean."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulkhead.api import formats
from bulkhead.api.formats import JSON, XML, YAML
from bulkhead.errors import BadRequest, NotAcceptable, UnsupportedMediaType

FHIR_JSON, FHIR_XML = formats.FHIR_TYPES[JSON], formats.FHIR_TYPES[XML]


@pytest.mark.parametrize(
    ("accept", "expected", "named"),
    [
        ("", FHIR_JSON, False),
        ("*/*", FHIR_JSON, False),
        ("application/*", FHIR_JSON, False),
        ("text/html", FHIR_JSON, False),
        ("text/yaml", FHIR_JSON, False),
        (f"text/yaml, {FHIR_XML};q=0.5", FHIR_JSON, False),
        ("APPLICATION/FHIR+XML", FHIR_XML, True),
        ("application/xml+fhir", FHIR_XML, True),
        ("application/xml", "application/xml", True),
        ("text/json", "text/json", True),
        (f"{FHIR_XML}, {FHIR_JSON}", FHIR_XML, True),
        (f"{FHIR_JSON}, {FHIR_XML}", FHIR_JSON, True),
        (f"{FHIR_JSON};q=0.3, {FHIR_XML};q=0.8", FHIR_XML, True),
        (f"*/*, {FHIR_XML}", FHIR_XML, True),
        (f"*/*, {FHIR_XML};q=0.5", FHIR_JSON, False),
        (f"{FHIR_JSON};q=0, */*", FHIR_XML, False),
        (f"image/png, {FHIR_XML};q=0.1", FHIR_XML, True),
        (f"{FHIR_XML};q=high", FHIR_XML, True),
        (f'{FHIR_XML};charset="utf-8";fhirVersion=4.0', FHIR_XML, True),
        (f"{FHIR_JSON};fhirVersion=5.0, {FHIR_XML};fhirVersion=4.0", FHIR_XML, True),
    ],
)
def test_accept(accept: str, expected: str, named: bool) -> None:
    found = formats.wanted("", accept)
    assert (found.content_type, found.named) == (expected, named)
    assert found.format == (XML if "xml" in expected else JSON)


@pytest.mark.parametrize("accept", ["text/turtle", "image/*", f"{FHIR_JSON};q=0", f"{FHIR_XML};fhirVersion=3.0"])
def test_not_acceptable(accept: str) -> None:
    with pytest.raises(NotAcceptable) as caught:
        formats.wanted("", accept)
    assert caught.value.issues[0].expression == "Accept"


@pytest.mark.parametrize(
    ("parameter", "expected"),
    [
        ("xml", FHIR_XML),
        ("json", FHIR_JSON),
        ("application/fhir xml", FHIR_XML),
        ("application/fhir+json; fhirVersion=4.0", FHIR_JSON),
        ("text/xml", FHIR_XML),
    ],
)
def test_format_wins(parameter: str, expected: str) -> None:
    assert formats.wanted(parameter, "image/png").content_type == expected


@pytest.mark.parametrize("parameter", ["ttl", "xmlx", "application/pdf"])
def test_an_unknown_format(parameter: str) -> None:
    with pytest.raises(NotAcceptable) as caught:
        formats.wanted(parameter, FHIR_JSON)
    assert caught.value.issues[0].expression == "_format"


def test_who_takes_anything_gets_what_he_sent() -> None:
    assert formats.wanted("", "*/*", XML).format == XML
    assert formats.wanted("", "", XML).format == XML
    assert formats.wanted("", FHIR_JSON, XML).format == JSON


@given(st.text(), st.text())
def test_any_header_is_understood_or_refused(parameter: str, accept: str) -> None:
    with suppress(NotAcceptable):
        assert formats.wanted(parameter, accept).format in (JSON, XML)


@pytest.mark.parametrize(
    ("content_type", "body", "expected"),
    [
        (FHIR_JSON, b"", JSON),
        ("text/json", b"", JSON),
        ("application/xml; charset=UTF-8", b"", XML),
        (f"{FHIR_XML}; fhirVersion=4.0", b"", XML),
        ("text/yaml", b"", YAML),
        ("Application/YAML; charset=utf-8", b"", YAML),
        ("", b' {"a": 1}', JSON),
        ("", b"\xef\xbb\xbf <a/>", XML),
    ],
)
def test_content_types(content_type: str, body: bytes, expected: str) -> None:
    assert formats.received(content_type, body) == expected


@pytest.mark.parametrize(
    "content_type", ["text/plain", "application/fhir+ndjson", f"{FHIR_JSON}; charset=latin1", f"{FHIR_JSON}; fhirVersion=3.0"]
)  # fmt: skip
def test_unsupported(content_type: str) -> None:
    with pytest.raises(UnsupportedMediaType):
        formats.received(content_type, b"{}")


def test_an_atom_feed_is_refused_with_the_form_of_r4() -> None:
    """By its media type, and by its root."""
    with pytest.raises(UnsupportedMediaType, match="Bundle of type transaction"):
        formats.received("application/atom+xml", b"<feed/>")
    with pytest.raises(BadRequest, match="Atom feed"):
        formats.parsed(XML, b'<feed xmlns="http://www.w3.org/2005/Atom"><title>x</title></feed>')


@pytest.mark.parametrize("name", [JSON, XML, YAML])
def test_no_body(name: str) -> None:
    with pytest.raises(BadRequest, match="no body"):
        formats.parsed(name, b" \n")

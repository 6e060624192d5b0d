"""Binaries as bytes: what comes in becomes a resource, what goes out is safe to save."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulkhead.api import binary, formats
from bulkhead.errors import BadRequest
from bulkhead.fhir import json, xml

BINARY = {"resourceType": "Binary", "contentType": "text/css", "data": "YQ=="}


@given(st.binary())
def test_bytes_come_out_as_they_went_in(data: bytes) -> None:
    resource = binary.received("image/png", data, None, security_context=None)
    assert binary.raw(resource)[0] == data
    assert ("data" in resource) is bool(data)


def test_what_belongs_to_the_bytes() -> None:
    assert binary.received("image/png", b"a", "1", security_context="Patient/1") == {
        "resourceType": "Binary",
        "id": "1",
        "contentType": "image/png",
        "securityContext": {"reference": "Patient/1"},
        "data": "YQ==",
    }
    assert binary.received("", b"\x00", None, security_context=None)["contentType"] == "application/octet-stream"


@pytest.mark.parametrize("content_type", ["application/fhir+json", "application/json", ""])
def test_a_binary_in_json(content_type: str) -> None:
    assert binary.received(content_type, json.dumps(BINARY), "1", security_context=None) == BINARY


@pytest.mark.parametrize("content_type", ["application/fhir+xml", "text/xml", ""])
def test_a_binary_in_xml(content_type: str) -> None:
    assert binary.received(content_type, xml.dumps(BINARY), "1", security_context=None) == BINARY


@pytest.mark.parametrize("body", [b"[1]", b'{"resourceType":"Patient"}', b"{"])
def test_documents_that_are_json(body: bytes) -> None:
    assert binary.raw(binary.received("application/json", body, None, security_context=None))[0] == body
    if body == b"{":
        with pytest.raises(BadRequest):
            binary.received("application/fhir+json", body, None, security_context=None)


@pytest.mark.parametrize(
    ("accept", "own", "raw"),
    [
        ("", "image/png", True),
        ("*/*", "image/png", True),
        ("application/fhir+json", "image/png", False),
        ("application/json", "image/png", False),
        ("application/json", "application/json; charset=utf-8", True),
        ("application/fhir+json", "application/fhir+json", False),
        ("application/fhir+json, */*;q=0.1", "image/png", False),
        ("text/html,application/xml;q=0.9,*/*;q=0.8", "image/png", True),
    ],
)
def test_who_gets_bytes(accept: str, own: str, raw: bool) -> None:
    assert binary.is_raw(formats.wanted("", accept), {"contentType": own}) is raw


def test_headers_of_raw_bytes() -> None:
    resource = {
        "contentType": "text/html",
        "data": base64.b64encode(b"<b>").decode(),
        "securityContext": {"reference": "Patient/1"},
    }
    body, headers = binary.raw(resource)
    assert body == b"<b>"
    assert headers == {
        "content-type": "text/html",
        "content-disposition": "attachment",
        "x-content-type-options": "nosniff",
        "vary": "accept, accept-encoding",
        "x-security-context": "Patient/1",
    }  # fmt: skip


@pytest.mark.parametrize(
    "content_type",
    [
        "text/plain\nSet-Cookie: a",
        "text/plain; a=b\r\nx: y",
        "nothing",
        "",
        "ä/b",
        "text/plain; a=b c",
        # If a space could belong to a value or to what follows it, this would be tried in more ways than there is time for.
        "text/plain" + ";a=b " * 1000 + '"',
        # A server ends the connection over such a header, without an answer.
        "text/plain; a=\x7f",
        'text/plain; a="\x01"',
        "text/plain; a=\u017e",
        "text/plain; a=" + "b" * 9000,
    ],
)
def test_no_header_is_smuggled_in(content_type: str) -> None:
    headers = binary.raw({"contentType": content_type, "securityContext": {"reference": "Patient/1\nx: y"}})[1]
    assert headers["content-type"] == "application/octet-stream"
    assert "x-security-context" not in headers


@given(st.text() | st.text("\x01\x1f \x7f;=a\xe9\u2028").map(lambda text: f'text/plain; a="{text}"'))
def test_headers_are_printable_ascii_and_short(text: str) -> None:
    headers = binary.raw({"contentType": text, "securityContext": {"reference": text}})[1]
    assert all(value.isascii() and value.isprintable() and len(value) < 2000 for value in headers.values())

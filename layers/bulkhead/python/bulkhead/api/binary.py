"""Binary as raw bytes (R4 binary.html#rest): in and out, wherever a client does not use a FHIR format."""

from __future__ import annotations

import base64
import binascii
import re
from typing import Any

from bulkhead.api import formats
from bulkhead.errors import BadRequest

OPERATIONS = frozenset({"read", "vread", "create", "update", "conditional-update"})
"""The operations that take or return raw bytes."""

_UNKNOWN = "application/octet-stream"
# API Gateway sends 10,240 bytes of headers in all.
_LONGEST = 1000
# A value without quotes has no spaces (RFC 9110 5.6.6): so a text is read in one way only, and takes no time to be refused.
_CONTENT_TYPE = r"[\w.+*-]+/[\w.+*-]+( ?; ?[\w.+-]+=([^\s;\"]+|\"[^\r\n\"]*\"))*"


def received(content_type: str, body: bytes, identifier: str | None, *, security_context: str | None) -> dict[str, Any]:
    """The Binary in a body: as FHIR if its type says so, or if its type is JSON or XML and it contains a Binary; raw otherwise.

    `identifier` is the id in the URL of an update, `security_context` the `X-Security-Context` header. BadRequest.
    """
    media_type = formats.media_range(content_type).media_type
    if media_type in formats.FHIR_TYPES.values():
        return formats.parsed(formats.received(content_type, body), body)
    if media_type in formats.GENERIC_TYPES or not media_type:
        found = _in_fhir(formats.received(media_type, body), body)
        if found:
            return found
    return _resource(content_type.strip() or _UNKNOWN, body, identifier, security_context=security_context)


def _in_fhir(name: str, body: bytes) -> dict[str, Any] | None:
    try:
        found = formats.parsed(name, body)
    except BadRequest:
        return None
    return found if found.get("resourceType") == "Binary" else None


def _resource(
    content_type: str, body: bytes, identifier: str | None, *, security_context: str | None
) -> dict[str, Any]:
    resource: dict[str, Any] = {"resourceType": "Binary"}
    if identifier:
        resource["id"] = identifier
    resource["contentType"] = content_type
    if security_context:
        resource["securityContext"] = {"reference": security_context}
    if body:
        resource["data"] = base64.b64encode(body).decode()
    return resource


def is_raw(wanted: formats.Wanted, resource: dict[str, Any]) -> bool:
    """Whether the client gets the bytes: it asked for no FHIR format, or for a generic one that is the Binary's own."""
    if not wanted.named:
        return True
    own = formats.media_range(resource.get("contentType", "")).media_type
    return own == wanted.content_type and own in formats.GENERIC_TYPES


def _header(content_type: str) -> str:
    """The header for the `contentType` of a Binary: what no server can send, or would break the connection, is bytes of an unknown type."""
    is_one = _fits_a_header(content_type) and re.fullmatch(_CONTENT_TYPE, content_type, re.ASCII)
    return content_type if is_one else _UNKNOWN


def _fits_a_header(text: str) -> bool:
    return text.isascii() and text.isprintable() and len(text) <= _LONGEST


def raw(resource: dict[str, Any]) -> tuple[bytes, dict[str, str]]:
    """The bytes of a Binary, and their headers: a browser must save them and never run them."""
    headers = {
        "content-type": _header(resource.get("contentType", "")),
        "content-disposition": "attachment",
        "x-content-type-options": "nosniff",
        "vary": "accept, accept-encoding",
    }
    reference = resource.get("securityContext", {}).get("reference", "")
    if reference and _fits_a_header(reference):
        headers["x-security-context"] = reference
    try:
        return base64.b64decode(resource.get("data", "")), headers
    except binascii.Error:
        return b"", headers

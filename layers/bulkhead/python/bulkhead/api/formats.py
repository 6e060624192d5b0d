"""Content negotiation (R4 http.html#mime-type): the format of a request, and the format that the client wants back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from bulkhead.errors import BadRequest, NotAcceptable, UnsupportedMediaType
from bulkhead.fhir import json, older_versions
from bulkhead.fhir.json import JsonResource

JSON, XML, YAML = "json", "xml", "yaml"
FHIR_TYPES = {JSON: "application/fhir+json", XML: "application/fhir+xml"}
GENERIC_TYPES = {"application/json": JSON, "text/json": JSON, "application/xml": XML, "text/xml": XML}

# Names of formats in `Accept`, `Content-Type` and `_format`; the last two are from DSTU2.
_NAMED: Mapping[str, str] = {
    **{media_type: name for name, media_type in FHIR_TYPES.items()},
    **GENERIC_TYPES,
    JSON: JSON,
    XML: XML,
    "application/json+fhir": JSON,
    "application/xml+fhir": XML,
}
# Read, and never written: a client that asks for YAML is shown JSON, which is YAML too (YAML 1.2, section 1.3).
_YAML_TYPES = frozenset({"text/yaml", "text/x-yaml", "application/yaml", "application/x-yaml", "application/fhir+yaml"})
# Browsers put text/html first: they get JSON.
_ANY = frozenset({"*/*", "application/*", "text/*", "text/html"}) | _YAML_TYPES
_OLDER_TYPES = {"application/atom+xml": older_versions.ATOM_MESSAGE}
_FHIR_VERSIONS = ("4.0", "4.0.1")
_CHARSETS = ("utf-8", "utf8", "us-ascii")


class MediaRange(NamedTuple):
    """One member of an `Accept` header, or a `Content-Type`, in lower case, with its parameters separate."""

    media_type: str
    parameters: Mapping[str, str]

    @property
    def quality(self) -> float:
        """`q`; 1 where it is absent or no number."""
        try:
            return min(1.0, max(0.0, float(self.parameters.get("q", "1"))))
        except ValueError:
            return 1.0

    @property
    def is_other_version(self) -> bool:
        """Whether it names a FHIR version other than R4."""
        return self.parameters.get("fhirversion", "4.0") not in _FHIR_VERSIONS


@dataclass(frozen=True, slots=True)
class Wanted:
    """The formats that a client accepts: `format` is JSON or XML; `named` is False where the server chose it."""

    format: str
    content_type: str
    named: bool = True


DEFAULT = Wanted(JSON, FHIR_TYPES[JSON], named=False)


def wanted(format_parameter: str, accept: str, received: str = JSON) -> Wanted:
    """The best format that the client accepts. `_format` wins over `Accept`; `received`, the format of the body, wins where all are welcome.

    For a generic type in `Accept`, the response has that type; in `_format` it means FHIR's own (R4 http.html#mime-type). NotAcceptable
    where the client accepts neither JSON nor XML.
    """
    # In the query string `_format=application/fhir+json`, the plus decodes to a space.
    text, place = (format_parameter.strip().replace(" ", "+"), "_format") if format_parameter else (accept, "Accept")
    given = [media_range(part) for part in text.split(",") if part.strip(" +")]
    if not given:
        return Wanted(received, FHIR_TYPES[received], named=False)
    welcome = [each for each in given if each.quality > 0 and not each.is_other_version]
    refused = {
        _NAMED[each.media_type] for each in given if each.quality == 0 and each.media_type in FHIR_TYPES.values()
    }
    for each in sorted(welcome, key=lambda each: (-each.quality, each.media_type not in _NAMED)):
        if each.media_type in _NAMED:
            name = _NAMED[each.media_type]
            generic = not format_parameter and each.media_type in GENERIC_TYPES
            return Wanted(name, each.media_type if generic else FHIR_TYPES[name])
        if each.media_type in _ANY:
            for name in (received, JSON, XML):
                if name not in refused:
                    return Wanted(name, FHIR_TYPES[name], named=False)
    raise NotAcceptable(f"the server can only send {' and '.join(FHIR_TYPES.values())} of FHIR 4.0", place)


def media_range(text: str) -> MediaRange:
    """The parts of `Application/fhir+json; fhirVersion=4.0`."""
    media_type, *parameters = text.split(";")
    pairs = (each.partition("=") for each in parameters)
    return MediaRange(
        media_type.strip().lower(),
        {name.strip(" +").lower(): value.strip(' +"').lower() for name, _, value in pairs},
    )


def received(content_type: str, body: bytes) -> str:
    """The format of a body: JSON, XML or YAML; by its first character where no type is given.

    UnsupportedMediaType for another type, an encoding other than UTF-8, or another FHIR version.
    """
    given = media_range(content_type)
    if given.is_other_version:
        raise UnsupportedMediaType("the server reads only FHIR 4.0", "Content-Type")
    if given.parameters.get("charset", "utf-8") not in _CHARSETS:
        raise UnsupportedMediaType("the body must be encoded in UTF-8", "Content-Type")
    if given.media_type in ("", "*/*"):
        return XML if body.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"<") else JSON
    if given.media_type in _YAML_TYPES:
        return YAML
    if given.media_type not in _NAMED:
        reads = f"the server reads {', '.join(FHIR_TYPES.values())} and application/yaml"
        raise UnsupportedMediaType(_OLDER_TYPES.get(given.media_type, reads), "Content-Type")
    return _NAMED[given.media_type]


def parsed(name: str, body: bytes) -> dict[str, Any]:
    """The resource in a body, not yet validated. BadRequest."""
    if not body.strip():
        raise BadRequest("the request has no body", json.BODY)
    if name == JSON:
        # RFC 8259 8.1: a byte order mark may be ignored.
        return json.loads(body.removeprefix(b"\xef\xbb\xbf"))
    if name == YAML:
        from bulkhead.fhir import yaml

        return yaml.loads(body)
    from bulkhead.fhir import xml

    return xml.loads(body)


def rendered(name: str, resource: JsonResource, *, pretty: bool) -> bytes:
    """A resource in a format."""
    text = json.dumps(resource, pretty=pretty and name == JSON)
    if name == JSON:
        return text
    from bulkhead.fhir import xml

    # What it holds may be JSON, at any depth.
    return xml.dumps(json.stored(text), pretty=pretty)

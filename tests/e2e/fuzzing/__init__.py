"""Requests that are right, nearly right and nonsense, as Hypothesis strategies; the seeds they are made of."""

from __future__ import annotations

import json
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

from hypothesis import strategies as st

from bulkhead.api.formats import XML, rendered
from bulkhead.api.routes import DEFAULT, ROUTES, Route

# Stands for what a patient would not want to be read: it is in resources and in searches, and in no answer but theirs.
SECRET = "Zyxwvuts"

PATIENT: dict[str, Any] = {
    "resourceType": "Patient",
    "id": "p",
    "meta": {"tag": [{"system": "urn:tags", "code": "t"}], "profile": ["http://example.org/p"]},
    "text": {"status": "generated", "div": f'<div xmlns="http://www.w3.org/1999/xhtml">{SECRET}</div>'},
    "identifier": [{"system": "urn:mrn", "value": SECRET, "type": {"coding": [{"system": "urn:t", "code": "MR"}]}}],
    "name": [
        {
            "family": SECRET,
            "given": [SECRET, None],
            "_given": [None, {"extension": [{"url": "http://example.org/e", "valueCode": "x"}]}],
            "period": {"start": "2000"},
        }
    ],
    "gender": "female",
    "birthDate": "1970-01-31",
    "multipleBirthInteger": 2,
    "contact": [{"name": {"text": SECRET}}],
    "generalPractitioner": [{"reference": "Practitioner/d"}],
    "contained": [{"resourceType": "Organization", "id": "c", "name": SECRET}],
    "managingOrganization": {"reference": "#c"},
    "extension": [{"url": "http://example.org/e", "valueString": SECRET}],
}
OBSERVATION: dict[str, Any] = {
    "resourceType": "Observation",
    "id": "o",
    "status": "final",
    "code": {"coding": [{"system": "http://loinc.org", "code": "8480-6", "display": SECRET}]},
    "subject": {"reference": "Patient/p", "display": SECRET},
    "effectiveDateTime": "2020-02-29T10:00:00+01:00",
    "valueQuantity": {"value": 1.10, "unit": "mm[Hg]", "system": "http://unitsofmeasure.org", "code": "mm[Hg]"},
    "component": [{"code": {"text": SECRET}, "valueString": SECRET}],
    "note": [{"text": SECRET}],
}
ENCOUNTER: dict[str, Any] = {
    "resourceType": "Encounter",
    "id": "e",
    "status": "finished",
    "class": {"code": "AMB"},
    "subject": {"reference": "Patient/p"},
    "period": {"start": "2020-01-01", "end": "2020-01-02"},
}
ORGANIZATION: dict[str, Any] = {"resourceType": "Organization", "id": "a", "name": SECRET}
DEFINITION: dict[str, Any] = {
    "resourceType": "SearchParameter",
    "id": "s",
    "url": "http://example.org/s",
    "name": "S",
    "status": "active",
    "description": "s",
    "code": "s",
    "base": ["Patient"],
    "type": "string",
    "expression": "Patient.name.family",
}
RESOURCES = (PATIENT, OBSERVATION, ENCOUNTER, ORGANIZATION, DEFINITION)
BINARY: dict[str, Any] = {"resourceType": "Binary", "id": "b", "contentType": "text/plain", "data": "WnlY"}


def parameters(*listed: dict[str, Any]) -> dict[str, Any]:
    return {"resourceType": "Parameters", "parameter": list(listed)}


def bundle(kind: str) -> dict[str, Any]:
    """A bundle with every kind of entry."""
    urn = "urn:uuid:0b7e0c3c-3b8f-4d55-8c0f-0a54a9c6a1d1"
    return {
        "resourceType": "Bundle",
        "type": kind,
        "entry": [
            {"fullUrl": urn, "resource": {**PATIENT, "id": "new"}, "request": {"method": "POST", "url": "Patient", "ifNoneExist": f"identifier=urn:mrn|{SECRET}"}},
            {"resource": {**OBSERVATION, "subject": {"reference": urn}}, "request": {"method": "PUT", "url": "Observation/o"}},
            {"resource": {**ENCOUNTER, "subject": {"reference": f"Patient?name={SECRET}"}}, "request": {"method": "PUT", "url": "Encounter/e", "ifMatch": 'W/"1"'}},
            {"request": {"method": "DELETE", "url": "Organization/none"}},
            {"request": {"method": "GET", "url": f"Patient?name={SECRET}"}},
            {"request": {"method": "GET", "url": "Observation/o/_history"}},
        ],
    }  # fmt: skip


DEFINITION = {
    "resourceType": "CompartmentDefinition",
    "id": "d",
    "url": "http://bulkhead.example/d",
    "name": "D",
    "status": "active",
    "code": "Organization",
    "search": True,
    "resource": [{"code": "Patient", "param": ["organization"]}, {"code": "Organization", "param": ["{def}"]}],
}

BODIES: tuple[Any, ...] = (
    *RESOURCES,
    BINARY,
    bundle("batch"),
    bundle("transaction"),
    DEFINITION,
    parameters({"name": "accounts", "valueReference": {"reference": "Organization/a"}}, {"name": "propagate", "valueBoolean": True}),
    parameters({"name": "meta", "valueMeta": PATIENT["meta"]}),
    parameters({"name": "resource", "resource": PATIENT}, {"name": "mode", "valueCode": "update"}),
    parameters({"name": "start", "valueDate": "2020-01-01"}, {"name": "_count", "valueInteger": 3}),
    parameters({"name": "operation", "part": [{"name": "type", "valueCode": "replace"}, {"name": "path", "valueString": "Patient.name[0].family"}, {"name": "value", "valueString": SECRET}]}),
    parameters({"name": "operation", "part": [{"name": "type", "valueCode": "add"}, {"name": "path", "valueString": "Observation"}, {"name": "name", "valueString": "note"}, {"name": "value", "valueAnnotation": {"text": SECRET}}]}),
    [{"op": "replace", "path": "/name/0/family", "value": SECRET}, {"op": "test", "path": "/gender", "value": "female"}],
    [{"op": "move", "from": "/note", "path": "/component"}, {"op": "remove", "path": "/status"}],
)  # fmt: skip

TEXTS = st.text(max_size=12) | st.sampled_from(
    (
        "",
        " ",
        "\x00",
        "../..",
        "%zz",
        "%ff",
        "é",
        "𝒳",
        "a" * 300,
        "$",
        "|",
        "'",
        '"',
        "{}",
        "${x}",
        "\ud800"[:0],
        "#",
        "?",
    )
)
ODD: st.SearchStrategy[Any] = st.sampled_from(
    (None, True, False, 0, -1, 10**400, 1.5, "", " ", SECRET, "\x00", "x" * 2000, [], {}, [None], [[]], [{}], {"": None},
     "Patient/p", "Patient/", "#", "#c", "urn:uuid:x", "Patient?name=", "2020-13-45", "9999-12-31T23:59:59.999Z", "0000",
     {"reference": "Patient/p"}, {"resourceType": "Nothing"}, {"resourceType": "Patient", "id": "p"})
)  # fmt: skip
KEYS = st.sampled_from(
    ("id", "resourceType", "meta", "extension", "_gender", "contained", "reference", "value", "text", "")
)


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The paths of everything within a JSON value."""
    found = [path] if path else []
    children = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, child in children:
        found += places(child, (*path, key))
    return found


@st.composite
def mutated(draw: st.DrawFn, seed: Any) -> Any:
    """A seed, as it is or with a few things replaced, removed, added or repeated."""
    value = deepcopy(seed)
    for _ in range(draw(st.sampled_from((0, 1, 1, 1, 2, 3)))):
        known = places(value)
        if not known:
            break
        *way, last = draw(st.sampled_from(known))
        holder = value
        for key in way:
            holder = holder[key]
        match draw(st.sampled_from(("replace", "replace", "remove", "add", "repeat"))):
            case "replace":
                holder[last] = deepcopy(draw(ODD))
            case "remove":
                del holder[last]
            case "add" if isinstance(holder, dict):
                holder[draw(KEYS)] = deepcopy(draw(ODD))
            case "repeat":
                holder[last] = [holder[last], deepcopy(holder[last])]
    return value


XML_PARTS = st.sampled_from(
    (b"", b"<", b">", b"&", b"&lol;", b"]]>", b"<!--", b'"', b"</", b"/>", b'<id value="x"/>', b' value="', b"\x00", b"\xff", b"<?xml?>",
     b'<!DOCTYPE a [<!ENTITY lol "lol">]>', b'<extension url="x"/>', b"<contained><Patient/></contained>", b' xmlns="urn:other"')
)  # fmt: skip


@st.composite
def xml_bodies(draw: st.DrawFn, seed: Any) -> bytes:
    """A seed in XML, as it is or with a piece of it replaced."""
    text = rendered(XML, json.loads(json.dumps(seed)), False)
    for _ in range(draw(st.sampled_from((0, 1, 1, 2)))):
        start = draw(st.integers(0, len(text)))
        text = text[:start] + draw(XML_PARTS) + text[start + draw(st.sampled_from((0, 0, 1, 8, 60))) :]
    return text


@st.composite
def bodies(draw: st.DrawFn, seed: Any) -> bytes:
    """JSON of a mutated seed; sometimes cut off, sometimes no JSON at all."""
    kind = draw(st.sampled_from(("json",) * 12 + ("cut", "bytes", "text", "empty", "deep")))
    if kind == "bytes":
        return draw(st.binary(max_size=40))
    if kind == "text":
        return draw(st.sampled_from((b"<Patient xmlns='http://hl7.org/fhir'><id value='p'/></Patient>", b"<a>", b"null", b"[]", b"1", b'{"a":1,"a":2}', b"NaN", b"name=x&_count=3", b"_count=%ff")))  # fmt: skip
    if kind == "empty":
        return b""
    if kind == "deep":
        return b'{"resourceType":"Patient","extension":' + b"[" * 3000 + b"]" * 3000 + b"}"
    text = json.dumps(draw(mutated(seed)), ensure_ascii=draw(st.booleans())).encode(errors="replace")
    return text[: draw(st.integers(0, len(text)))] if kind == "cut" else text


NAMES = st.sampled_from(
    ("_id", "_lastUpdated", "_tag", "_profile", "_security", "_account", "_compartment", "_has:Observation:patient:code",
     "_sort", "_count", "_include", "_revinclude", "_include:iterate", "_total", "_summary", "_elements", "_type", "_since",
     "_at", "_cursor", "_format", "_pretty", "_text", "_content", "_filter", "_list", "_contained", "_query", "_explain",
     "name", "name:exact", "name:contains", "name:missing", "family", "given", "identifier", "identifier:of-type",
     "birthdate", "gender", "gender:not", "code", "code:in", "code:text", "code:above", "value-quantity", "value-string",
     "component-code-value-quantity", "code-value-quantity", "date", "subject", "subject:Patient", "subject:Patient.name",
     "patient", "patient.identifier", "patient:identifier", "general-practitioner.name", "organization:missing", "status",
     "encounter", "link", "phonetic", "near", "url", "url:below", "mode", "profile", "start", "end", "nonsense", "name:nonsense")
)  # fmt: skip
VALUES = st.sampled_from(
    ("", SECRET, f"urn:mrn|{SECRET}", f"|{SECRET}", "urn:mrn|", "|", "a,b", "a\\,b", "\\", "$", "a$b", "1", "-1", "1e400", "1e-400",
     "gt5", "5.40|http://unitsofmeasure.org|mg", "8480-6$gt100", "2020", "2020-02-30", "ge2020-01-01", "le2020-01-01T00:00:00Z",
     "ap1970", "sa9999", "0000", "10000-01-01", "Patient/p", "p", "Practitioner/d", "http://x/Patient/1", "Patient/p/_history/1",
     "true", "false", "maybe", "Patient", "Observation", "Patient,Observation", "Nothing", "Patient:general-practitioner",
     "Observation:subject", "Observation:subject:Patient", "*", "*:*", "Patient:*", "name", "-birthdate,name", "_id", "-_lastUpdated",
     "count", "text", "data", "accurate", "none", "json", "xml", "application/fhir+xml", "text/html", "0", "1000000", "99999999999999999999",
     "a|b|c", "\x00", "é", "2020-01-01T00:00:00+25:00", "not-a-cursor", "AAAA", "٣")
)  # fmt: skip
HEADERS: dict[str, tuple[str, ...]] = {
    "accept": ("application/fhir+json", "application/fhir+xml", "text/html", "*/*;q=0.1", "", "image/png", ";;,", "application/fhir+json;q=abc"),
    "content-type": ("application/fhir+json", "application/json", "application/fhir+xml", "application/json-patch+json", "application/x-www-form-urlencoded", "text/plain", "", "é"),
    "if-match": ('W/"1"', '"1"', "1", "*", 'W/"99999999999999999999"', "W/x", ""),
    "if-none-match": ('W/"1"', "*", "x", ""),
    "if-modified-since": ("Sun, 22 Nov 2026 02:00:00 GMT", "yesterday", "", "Sun, 99 Nov 2026 02:00:00 GMT"),
    "if-none-exist": (f"identifier=urn:mrn|{SECRET}", f"name={SECRET}", "", "nonsense=1", "?", "identifier=%ff", "_count=3"),
    "prefer": ("return=minimal", "return=OperationOutcome", "handling=strict", "respond-async", ",;=", "return="),
    "content-encoding": ("gzip", "identity", "br", ""),
    "accept-encoding": ("gzip", ""),
    "x-medplum": ("extended",),
    "idempotency-key": ("k", ""),
    "host": ("", "x y", "server.example"),
    "origin": ("https://app.example", "null"),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Sent:
    """One request; `target` is path and query, encoded."""

    method: str
    target: str
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""


@st.composite
def headers(draw: st.DrawFn) -> dict[str, str]:
    names = draw(st.lists(st.sampled_from(sorted(HEADERS)), max_size=3, unique=True))
    return {name: draw(st.sampled_from(HEADERS[name])) for name in names}


@st.composite
def queries(draw: st.DrawFn) -> str:
    pairs = draw(st.lists(st.tuples(NAMES, VALUES | TEXTS), max_size=4))
    text = "&".join(f"{quote(name, safe=':')}={quote(value, safe='|,$:')}" for name, value in pairs)
    junk = draw(st.sampled_from(("",) * 12 + ("&", "=", "&&=&", "%", "%ff=%fe", "_count", "a=1;b=2")))
    return text + junk


VARIABLES: dict[str, st.SearchStrategy[str]] = {
    "type": st.sampled_from(("Patient",) * 6 + ("Observation",) * 4 + ("Encounter", "Organization", "SearchParameter", "Binary", "Bundle", "Parameters", "CompartmentDefinition", "Nothing", "patient", "*", "$validate", "_history")),
    "id": st.sampled_from(("p",) * 6 + ("o", "e", "a", "s", "b", "none", "x" * 65, "_", "$meta")) | TEXTS.filter(bool),
    "version": st.sampled_from(("1", "2", "0", "-1", "x", "99999999999999", "٣")),
    "member": st.sampled_from(("Observation", "Encounter", "*", "Patient", "Nothing", "$nothing", "$set-accounts", "_history")),
}  # fmt: skip


@st.composite
def targets(draw: st.DrawFn, route: Route, seed: Any) -> str:
    """The path of a route, with something for each variable: often the type and the id of `seed`."""
    own: dict[str, str] = {}
    if isinstance(seed, dict) and "id" in seed and draw(st.integers(0, 9)) < 7:
        own = {"type": seed["resourceType"], "id": seed["id"]}
    segments = []
    for segment in route.path.split("/"):
        if segment.startswith("{"):
            name = segment[1:-1]
            value = own[name] if name in own else draw(VARIABLES.get(name, TEXTS.filter(bool)))
            segments.append(quote(value, safe="$*_"))
        else:
            segments.append(segment)
    return "/".join(segments)


@st.composite
def requests(draw: st.DrawFn, routes: tuple[Route, ...], seeds: tuple[Any, ...] = BODIES) -> Sent:
    """A request for one of `routes`."""
    route = draw(st.sampled_from(routes))
    seed = draw(st.sampled_from(seeds))
    query = draw(queries()) if route.method == "GET" or draw(st.integers(0, 3)) == 0 else ""
    target = draw(targets(route, seed)) + (f"?{query}" if query else "")
    method = route.method
    if method == "GET":
        method = draw(st.sampled_from(("GET",) * 12 + ("HEAD", "OPTIONS", "PATCH")))
    body = draw(bodies(seed)) if route.method in ("POST", "PUT", "PATCH") or draw(st.integers(0, 9)) == 0 else b""
    given = draw(headers())
    if isinstance(seed, dict) and body and draw(st.integers(0, 5)) == 0:
        body, given["content-type"] = draw(xml_bodies(seed)), "application/fhir+xml"
    if isinstance(seed, list) and draw(st.integers(0, 3)):
        given["content-type"] = "application/json-patch+json"
    return Sent(method, target, given, body)


@st.composite
def nonsense(draw: st.DrawFn) -> Sent:
    """A request for no route in particular."""
    segments = draw(
        st.lists(
            TEXTS
            | st.sampled_from(("fhir", "R4", "Patient", "p", "_history", "_search", "$everything", "job", "metadata")),
            max_size=7,
        )
    )
    path = draw(st.sampled_from(("", "/fhir/R4"))) + "".join(f"/{quote(segment, safe='$%')}" for segment in segments)
    method = draw(st.sampled_from(("GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS", "TRACE", "BREW")))
    query = draw(queries())
    return Sent(
        method,
        (path or "/") + (f"?{query}" if query else ""),
        draw(headers()),
        draw(bodies(draw(st.sampled_from(BODIES)))),
    )


def serving(*operations: str) -> tuple[Route, ...]:
    """The routes of these operations, of all without; HEAD comes to those of GET."""
    known = (route for route in ROUTES if route.path != DEFAULT and route.method != "HEAD")
    return tuple(route for route in known if not operations or route.operation in operations)

"""For every route, the requests by which somebody may try to learn of what is not theirs. A route that is not here fails the test."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

from bulkhead.api.routes import BASE, DEFAULT, ROUTES, Route

Json = dict[str, Any]


@dataclass(frozen=True)
class Ask:
    """One request. Path, headers and body are templates: see `leak_world.Names`.

    `same` is False where what is hidden and what is not there cannot be answered alike: `status` is what the hidden gets then.
    """

    path: str
    body: Any = None
    headers: Mapping[str, str] = field(default_factory=dict)
    same: bool = True
    status: int = 404

    @property
    def named(self) -> set[str]:
        """The names in its templates."""
        return set(re.findall(r"\{(\w+)\}", self.path + json.dumps([self.body, dict(self.headers)])))

    @property
    def searches(self) -> bool:
        """Whether it asks by criteria, and not by ids alone."""
        return "?" in self.path + json.dumps(self.body)


def _search(path: str, *queries: str) -> list[Ask]:
    return [Ask(f"{path}?{query}" if query else path) for query in queries]


TYPES = ("Patient", "Observation", "Encounter", "Provenance", "DiagnosticReport", "List", "Binary", "Basic", "ValueSet",
         "SearchParameter", "Organization", "Practitioner", "AuditEvent", "CompartmentDefinition")  # fmt: skip

_PATIENTS = (
    "_id={id}", "_id={gone}", "identifier={identifier}", "name={text}", "family={text}", "name:contains={text}", "_account=Organization/{org}",
    "_compartment=Patient/{id}", "organization=Organization/{org}", "organization.name=Organization/{org}", "birthdate=1990-01-01&_total=accurate",
    "_sort=birthdate&_count=1", "_sort=-family&_count=2", "_sort=_lastUpdated&_count=2", "_summary=count", "_summary=count&name={text}",
    "_total=accurate&_count=1", "_elements=id&_count=50", "_has:Observation:patient:_id={id}", "_has:Observation:patient:code={code}",
    "_has:List:patient:title={text}", "_revinclude=*&_count=50", "_revinclude=Observation:patient&_revinclude:iterate=Provenance:target",
    "_id={neutral}&_revinclude=*", "_include=*", "_explain=true", "_list={neutral}", "_list={id}", "link=Patient/{id}", "_lastUpdated=gt2020",
    "_id={own}&_revinclude=*", "_has:Observation:patient:code=8302-1&_revinclude=Observation:subject", "_cursor=eyJhIjoxfQ", "{code}=x", "_id=x&_id={id}",
)  # fmt: skip
_OBSERVATIONS = (
    "subject=Patient/{id}", "patient={id}&code=8302-1", "patient={id}&_total=accurate", "code={code}", "code=8302-1&_total=accurate",
    "code=8302-1&_sort=-date&_count=1", "value-string={text}", "code-text={text}", "patient.name={text}", "patient.identifier={identifier}",
    "subject:Patient.name={text}", "patient.organization.name=Organization/{org}", "encounter=Encounter/{id}", "encounter.subject=Patient/{id}",
    "performer=Practitioner/{neutral}", "performer:Practitioner.name={text}", "_include=Observation:performer&_include:iterate=*",
    "_include=Observation:encounter", "_revinclude=Provenance:target", "_revinclude=List:item&_revinclude=DiagnosticReport:result",
    "_has:Provenance:target:_id={id}", "_has:DiagnosticReport:result:code={text}", "_has:DiagnosticReport:result:patient={id}",
    "_has:List:item:title={text}", "_list={neutral}", "_list={id}", "patient={id}&_list=$current-medications", "code:in={url}", "code:not-in={url}", "code:in=ValueSet/{id}", "{code}=final",
    "_compartment=Encounter/{id}", "_account=Organization/{org}", "category=laboratory&_summary=count", "subject:missing=false&_count=1",
    "patient={own}&_total=accurate", "subject=Patient/{own}&_summary=count", "date=2020-02-02", "date=ge2020-01&date=le2020-03&_total=accurate",
)  # fmt: skip
_OTHERS = [
    *_search("DiagnosticReport", "_include=DiagnosticReport:result", "result=Observation/{neutral}", "result.value-string={text}",
             "result.code={code}", "result.patient.name={text}", "_include=*&_revinclude=*",
             "code=common&result.value-string={text}", "code=common&result.code={code}", "code=common&_has:List:item:title={text}",
             "code=common&result.patient:Patient.name={text}"),
    *_search("Provenance", "target=Observation/{neutral}", "target:Observation.value-string={text}", "_include=Provenance:target"),
    *_search("List", "item=Observation/{neutral}", "item:Observation.code={code}", "_include=List:item", "title={text}"),
    *_search("Organization", "_revinclude=Patient:organization", "_id={org}", "name=Organization/{org}", "_has:Patient:organization:name={text}"),
    *_search("Practitioner", "_revinclude=Observation:performer", "_id={neutral}", "_has:Observation:performer:code={code}"),
    *_search("Encounter", "_revinclude=Observation:encounter", "_id={id}"),
    *_search("ValueSet", "url={url}"),
    *_search("Binary", "_id={neutral}-letter", "_include=*", "_revinclude=*&_total=accurate", "_sort=-_lastUpdated", "_compartment=Patient/{id}"),
    *_search("Patient", "_id={id}&_revinclude=*", "_id={own}&_revinclude=*"),
    *_search("Practitioner", "_total=accurate&_count=2", "_has:Observation:performer:_id={neutral}", "_sort=_id"),
]  # fmt: skip


def _form(path: str, query: str) -> Ask:
    return Ask(path, query, {"content-type": "application/x-www-form-urlencoded"})


def _observation(subject: str | None = "Patient/{id}", **content: Any) -> Json:
    made: Json = {"resourceType": "Observation", "status": "final", "code": {"text": "x"}, **content}
    return made | ({"subject": {"reference": subject}} if subject else {})


def _patient(identifier: str = "{id}", **content: Any) -> Json:
    return {"resourceType": "Patient", "id": identifier, **content}


def _parameters(*accounts: str, propagate: bool = True) -> Json:
    given: list[Json] = [{"name": "accounts", "valueReference": {"reference": account}} for account in accounts]
    return {"resourceType": "Parameters", "parameter": [*given, {"name": "propagate", "valueBoolean": propagate}]}


_COMPARTMENT: Json = {"resourceType": "Parameters", "parameter": [{"name": "compartment", "valueBoolean": True}]}


def _bundle(kind: str, *entries: Json) -> Ask:
    return Ask(BASE, {"resourceType": "Bundle", "type": kind, "entry": list(entries)})


def _entry(method: str, url: str, resource: Json | None = None, **more: str) -> Json:
    full_url = {"fullUrl": more.pop("fullUrl")} if "fullUrl" in more else {}
    request = {"method": method, "url": url, **more}
    return {"request": request} | full_url | ({"resource": resource} if resource else {})


_JSON_PATCH = json.dumps([{"op": "test", "path": "/birthDate", "value": "1990-01-01"}])
_PATCHES = {
    "resourceType": "Binary",
    "contentType": "application/json-patch+json",
    "data": base64.b64encode(_JSON_PATCH.encode()).decode(),
}
_META = {"resourceType": "Parameters", "parameter": [{"name": "meta", "valueMeta": {"tag": [{"code": "x"}]}}]}
_NAMED = {"resourceType": "Patient", "identifier": [{"system": "urn:all", "value": "made"}]}
_LINKED = [{"other": {"reference": "Patient/{id}"}, "type": "refer"}]
_UPLOADED = {"resourceType": "Parameters", "parameter": [{"name": "upload", "valueId": "{upload}"}]}
_IF_MATCH = ('W/"1"', 'W/"2"', 'W/"9"', "*")

# In a transaction by themselves, and together in a batch.
_ENTRIES = [
    _entry("GET", "Patient/{id}"),
    _entry("GET", "Patient/{gone}"),
    _entry("GET", "Observation/{moved}/_history/1"),
    _entry("GET", "Patient?name={text}&_total=accurate"),
    _entry("GET", "Observation?patient={id}&_revinclude=Provenance:target"),
    _entry("GET", "Patient/{id}/*"),
    _entry("GET", "Patient/{id}/_history"),
    _entry("GET", "Patient/_history?_count=100"),
    _entry("GET", "Patient/{id}/$everything"),
    _entry("HEAD", "Patient/{id}"),
    _entry("GET", "Patient/{id}", ifNoneMatch='W/"1"'),
    _entry("DELETE", "Patient/{id}"),
    _entry("DELETE", "Patient/{id}", ifMatch='W/"1"'),
    _entry("DELETE", "Patient/{gone}"),
    _entry("DELETE", "Patient?identifier={identifier}"),
    _entry("PATCH", "Patient/{id}", _PATCHES),
    _entry("PATCH", "Patient/{id}", _PATCHES, ifMatch='W/"7"'),
    _entry("PATCH", "Patient?identifier={identifier}", _PATCHES),
    _entry("POST", "Observation", _observation("Patient/{id}")),
    _entry("POST", "Observation", _observation("Patient?identifier={identifier}")),
    _entry("POST", "Observation", _observation(None, performer=[{"reference": "Practitioner?name={text}"}])),
    _entry("POST", "Patient", {"resourceType": "Patient", "link": _LINKED}),
    _entry("POST", "Patient", {"resourceType": "Patient"}, fullUrl=f"http://localhost:8000{BASE}/Patient/{{id}}"),
    _entry("PUT", "Patient?identifier={identifier}", {"resourceType": "Patient", "link": _LINKED}),
    _entry("PUT", "Patient/{id}", _patient(link=[{"other": {"reference": "Patient/{neutral}"}, "type": "refer"}])),
    *(_entry("PUT", "Patient/{id}", _patient(), ifMatch=version) for version in _IF_MATCH),
]
_TAKEN = [
    _entry("PUT", "Patient/{id}", _patient()),
    _entry("PUT", "Patient/{gone}", _patient("{gone}")),
    _entry("PUT", "Patient/{id}", _patient(), ifNoneMatch="*"),
    _entry("PUT", "Patient?identifier=urn:all|nobody", _patient()),
]


def _merge(source: Json, target: Json, **more: bool) -> Ask:
    """A `$merge`: each side a Reference, or an Identifier."""
    listed: list[Json] = []
    for name, side in (("source", source), ("target", target)):
        if "reference" in side:
            listed.append({"name": f"{name}-patient", "valueReference": side})
        else:
            listed.append({"name": f"{name}-patient-identifier", "valueIdentifier": side})
    listed += [{"name": name.replace("_", "-"), "valueBoolean": value} for name, value in more.items()]
    return Ask(f"{BASE}/Patient/$merge", {"resourceType": "Parameters", "parameter": listed})


def _pushed(path: str, source: str, target: str, *, same: bool = True, **asked: str) -> Ask:
    """A merge that an identity source pushes; `asked` are members of both requests."""
    links = {source: ("replaced-by", target), target: ("replaces", source)}
    entries = [
        _entry(
            "PUT",
            f"Patient/{name}",
            _patient(
                name, active=kind == "replaces", link=[{"type": kind, "other": {"reference": f"Patient/{other}"}}]
            ),
            **asked,
        )
        for name, (kind, other) in links.items()
    ]
    return Ask(path, _bundle("transaction", *entries).body, same=same)


def _documents(path: str, *, replaces: str | None) -> list[Ask]:
    """Documents of a Patient, or about an Encounter, that is hidden; or that replace one that is."""
    content = [{"attachment": {"url": "urn:uuid:1"}}]
    asked = []
    for more in (
        {"subject": {"reference": "Patient/{id}"}},
        {"context": {"encounter": [{"reference": "Encounter/{id}"}]}},
        {},
    ):
        document: Json = {"resourceType": "DocumentReference", "status": "current", "content": content, **more}
        entries = [
            _entry("POST", "Binary", {"resourceType": "Binary", "contentType": "text/plain"}, fullUrl="urn:uuid:1")
        ]
        if replaces:
            old = document | {"status": "superseded", "id": replaces.partition("/")[2]}
            document = document | {"relatesTo": [{"code": "replaces", "target": {"reference": replaces}}]}
            entries.append(_entry("PUT", replaces, old))
        entries.append(_entry("POST", "DocumentReference", document))
        asked.append(Ask(path, _bundle("transaction", *entries).body))
    return asked if replaces else asked[:2]


_HIDDEN, _GONE, _OWN = ({"reference": f"Patient/{{{name}}}"} for name in ("id", "gone", "own"))
_IDENTIFIER = {"system": "urn:all", "value": "{text}"}

IN_THE_BACKGROUND = [
    _bundle("batch", *(entry for entry in _ENTRIES if entry["request"]["method"] in ("GET", "HEAD"))),
    _bundle("batch", *(entry for entry in _ENTRIES if entry["request"]["method"] not in ("GET", "HEAD"))),
    *(_bundle("transaction", entry) for entry in _ENTRIES[::4]),
]
"""Bundles whose answers are told by the status of a job."""

ASKS: Mapping[str, list[Ask]] = {
    f"POST {BASE}": [
        *(_bundle("transaction", entry) for entry in _ENTRIES),
        *(Ask(ask.path, ask.body, same=False) for ask in (_bundle("transaction", entry) for entry in _TAKEN)),
        # What fails anyway is no way to ask for ids.
        *(_bundle("transaction", entry, _entry("POST", "Observation", _observation("Patient/{neutral}"))) for entry in _TAKEN[:3]),
        _bundle("batch", *(entry for entry in _ENTRIES if entry["request"]["method"] in ("GET", "HEAD"))),
        _bundle("batch", *(entry for entry in _ENTRIES if entry["request"]["method"] not in ("GET", "HEAD"))),
        Ask(BASE, _UPLOADED, {"prefer": "respond-async"}),
        # Whoever was made already is found again, whoever is hidden is not.
        _bundle("transaction", _entry("POST", "Patient", _NAMED, ifNoneExist="identifier={identifier}")),
    ],
    f"POST {BASE}/$upload": [Ask(f"{BASE}/$upload", same=False, status=200), Ask(f"{BASE}/$upload", _parameters("Organization/{org}"))],
    **{f"POST {BASE}/{name}": _documents(f"{BASE}/{name}", replaces=None) for name in ("service/document/new", "$document-new")},
    f"POST {BASE}/service/document/update": _documents(f"{BASE}/service/document/update", replaces="DocumentReference/{id}"),
    f"POST {BASE}/$document-update": _documents(f"{BASE}/$document-update", replaces="DocumentReference/{neutral}"),
    **{
        f"POST {BASE}/{name}": [
            *(_pushed(f"{BASE}/{name}", "{gone}", "{id}", ifMatch=version) for version in _IF_MATCH),
            _pushed(f"{BASE}/{name}", "{id}", "{gone}", same=False),
        ]
        for name in ("service/patient/merge", "$patient-merge")
    },
    f"POST {BASE}/{{type}}/$merge": [
        *(_merge(one, other) for one, other in ((_HIDDEN, _OWN), (_OWN, _HIDDEN), (_GONE, _OWN), (_OWN, _GONE), (_HIDDEN, _GONE))),
        _merge(_HIDDEN, _OWN, preview=True),
        _merge(_HIDDEN, _OWN, delete_source=True),
        _merge(_GONE, _OWN, delete_source=True),
        _merge(_IDENTIFIER, _OWN),
        _merge(_OWN, _IDENTIFIER, preview=True),
    ],
    f"GET {BASE}/{{type}}/$find": _search(f"{BASE}/List/$find", *(f"patient={{{name}}}&name=$current-medications" for name in ("id", "gone", "own"))),
    # A search by what is in the body: it takes its time by what it has to look at, as the GET does.
    f"POST {BASE}/{{type}}/$find": [
        Ask(f"{BASE}/List/$find?_format=json", {"resourceType": "Parameters", "parameter": [{"name": "patient", "valueId": f"{{{name}}}"}, {"name": "name", "valueCode": "$current-medications"}]})
        for name in ("id", "gone")
    ],
    f"GET {BASE}": _search(
        BASE,
        "_type=Patient,Observation&_total=accurate",
        "_type=Patient,Observation&_id={id}",
        "_id={id}",
        "_account=Organization/{org}",
        "_compartment=Patient/{id}",
        "_type=Observation,DiagnosticReport&patient={id}",
    ),
    f"POST {BASE}/_search": [_form(f"{BASE}/_search", "_type=Patient,Observation&_id={id}&_total=accurate"), _form(f"{BASE}/_search?_id={{id}}", "_type=Patient")],
    f"GET {BASE}/{{type}}": [
        *_search(f"{BASE}/Patient", *_PATIENTS),
        *_search(f"{BASE}/Observation", *_OBSERVATIONS),
        *(Ask(f"{BASE}/{ask.path}") for ask in _OTHERS),
        *(Ask(f"{BASE}/{name}?_total=accurate&_count=2") for name in TYPES),
        Ask(f"{BASE}/Observation?{{code}}=final", headers={"prefer": "handling=strict"}),
        Ask(f"{BASE}/Observation?patient={{id}}", headers={"accept": "application/fhir+xml"}),
    ],
    f"POST {BASE}/{{type}}/_search": [
        _form(f"{BASE}/Patient/_search", query) for query in ("identifier={identifier}", "name={text}&_total=accurate", "_has:Observation:patient:code={code}")
    ],
    f"GET {BASE}/{{type}}/{{id}}/{{member}}": [
        *_search(f"{BASE}/Patient/{{id}}/*", "", "_total=accurate", "_include=*&_revinclude=*", "_since=2020-01-01T00:00:00Z", "_summary=count"),
        *_search(f"{BASE}/Patient/{{id}}/Observation", "", "code=8302-1", "_sort=-date"),
        *_search(f"{BASE}/Patient/{{gone}}/*", ""),
        *_search(f"{BASE}/Patient/{{own}}/*", "_total=accurate&_count=50", "_count=1", "_summary=count"),
        *_search(f"{BASE}/Encounter/{{id}}/Observation", ""),
        *_search(f"{BASE}/Practitioner/{{neutral}}/Observation", "", "_total=accurate"),
    ],
    f"POST {BASE}/{{type}}/{{id}}/{{member}}/_search": [_form(f"{BASE}/Patient/{{id}}/*/_search", "_total=accurate"), _form(f"{BASE}/Encounter/{{id}}/Observation/_search", "code=8302-1")],
    f"POST {BASE}/{{type}}": [
        Ask(f"{BASE}/Observation", _observation()),
        Ask(f"{BASE}/Observation", _observation("Patient/{gone}")),
        Ask(f"{BASE}/Observation", _observation("Patient/{neutral}")),
        Ask(f"{BASE}/Observation", _observation(None, encounter={"reference": "Encounter/{id}"})),
        Ask(f"{BASE}/Observation", _observation(None, meta={"accounts": [{"reference": "Organization/{org}"}]})),
        Ask(f"{BASE}/Patient", _NAMED | {"link": _LINKED}),
        Ask(f"{BASE}/Patient", _NAMED, {"if-none-exist": "identifier={identifier}"}),
        Ask(f"{BASE}/Patient", _NAMED, {"if-none-exist": "name={text}", "prefer": "return=OperationOutcome"}),
        Ask(f"{BASE}/Observation", _observation(None), {"if-none-exist": "patient.name={text}"}),
        Ask(f"{BASE}/Binary", "text", {"content-type": "text/plain", "x-security-context": "Patient/{id}"}),
        Ask(f"{BASE}/Binary", "text", {"content-type": "text/plain", "x-security-context": "List/{neutral}"}),
        Ask(f"{BASE}/Binary", {"resourceType": "Binary", "contentType": "text/plain", "securityContext": {"reference": "Binary/{neutral}-letter"}}),
    ],
    f"GET {BASE}/{{type}}/{{id}}": [
        *(Ask(f"{BASE}/{name}/{{id}}") for name in TYPES),
        Ask(f"{BASE}/Patient/{{gone}}"),
        Ask(f"{BASE}/Practitioner/{{neutral}}"),
        Ask(f"{BASE}/Observation/{{neutral}}?_format=xml"),
        *(Ask(f"{BASE}/Patient/{{id}}", headers={"if-none-match": version}) for version in _IF_MATCH),
        Ask(f"{BASE}/Patient/{{id}}", headers={"if-modified-since": "Sun, 01 Jan 2090 00:00:00 GMT"}),
        Ask(f"{BASE}/Binary/{{id}}", headers={"accept": "*/*"}),
        Ask(f"{BASE}/Binary/{{neutral}}-letter", headers={"accept": "*/*"}),
        Ask(f"{BASE}/Binary/{{neutral}}-list"),
        Ask(f"{BASE}/Patient/{{id}}?_summary=count"),
    ],
    f"PUT {BASE}/{{type}}/{{id}}": [
        *(Ask(f"{BASE}/Patient/{{id}}", _patient(), {"if-match": version}) for version in _IF_MATCH),
        *(Ask(f"{BASE}/Patient/{{gone}}", _patient("{gone}"), {"if-match": version}) for version in _IF_MATCH),
        Ask(f"{BASE}/Patient/{{id}}", _patient(meta={"accounts": [{"reference": "Organization/qzneither"}]}), {"if-match": "*"}),
        Ask(f"{BASE}/Observation/{{id}}", _observation("Patient/{neutral}", id="{id}")),
        Ask(f"{BASE}/Patient/{{id}}", _patient(birthDate="nonsense")),
        Ask(f"{BASE}/Patient/{{id}}", _patient("another")),
        Ask(f"{BASE}/Patient/{{id}}", _patient(), same=False),
        Ask(f"{BASE}/Patient/{{gone}}", _patient("{gone}"), same=False),
        Ask(f"{BASE}/Patient/{{id}}", _patient(), {"if-none-match": "*"}, same=False),
        Ask(f"{BASE}/Binary/{{id}}", "text", {"content-type": "text/plain"}, same=False),
    ],
    f"DELETE {BASE}/{{type}}/{{id}}": [
        Ask(f"{BASE}/Patient/{{id}}"),
        Ask(f"{BASE}/Patient/{{gone}}"),
        Ask(f"{BASE}/Observation/{{neutral}}"),
        Ask(f"{BASE}/Binary/{{neutral}}-letter"),
        *(Ask(f"{BASE}/Patient/{{id}}", headers={"if-match": version}) for version in _IF_MATCH),
    ],
    f"PATCH {BASE}/{{type}}/{{id}}": [
        *(Ask(f"{BASE}/Patient/{{{name}}}", _JSON_PATCH, {"content-type": "application/json-patch+json"}) for name in ("id", "gone", "neutral")),
        *(Ask(f"{BASE}/Patient/{{id}}", "[]", {"content-type": "application/json-patch+json", "if-match": version}) for version in _IF_MATCH),
        Ask(f"{BASE}/Patient/{{id}}", '{"active": true}', {"content-type": "application/merge-patch+json"}),
    ],
    f"PUT {BASE}/{{type}}": [
        Ask(f"{BASE}/Patient?identifier={{identifier}}", _NAMED, {"if-match": 'W/"1"'}),
        Ask(f"{BASE}/Patient?name={{text}}", _NAMED | {"link": _LINKED}),
        Ask(f"{BASE}/Patient?identifier={{identifier}}", _NAMED),
        Ask(f"{BASE}/Patient?identifier=urn:all|nobody", _patient(), same=False),
    ],
    f"PATCH {BASE}/{{type}}": [
        Ask(f"{BASE}/Patient?{query}", _JSON_PATCH, {"content-type": "application/json-patch+json"}) for query in ("identifier={identifier}", "name={text}", "_has:Observation:patient:code={code}")
    ],
    f"DELETE {BASE}/{{type}}": _search(f"{BASE}/Patient", "identifier={identifier}", "name={text}", "_id={id}") + _search(f"{BASE}/Observation", "patient={id}", "code={code}"),
    # It takes the longest: every type is listed.
    f"GET {BASE}/_history": _search(f"{BASE}/_history", "_count=100", "_sort=_lastUpdated&_count=5"),
    f"GET {BASE}/{{type}}/_history": [
        *(ask for name in ("Patient", "Observation", "Binary") for ask in _search(f"{BASE}/{name}/_history", "_count=2", "_sort=_lastUpdated&_count=100", "_at=2090")),
    ],
    f"GET {BASE}/{{type}}/{{id}}/_history": [
        *_search(f"{BASE}/Patient/{{id}}/_history", "", "_count=1", "_sort=_lastUpdated"),
        *_search(f"{BASE}/Patient/{{gone}}/_history", ""),
        *_search(f"{BASE}/Binary/{{neutral}}-letter/_history", ""),
        *_search(f"{BASE}/Observation/{{moved}}/_history", ""),
    ],
    f"GET {BASE}/{{type}}/{{id}}/_history/{{version}}": [
        *(Ask(f"{BASE}/Patient/{{{name}}}/_history/{version}") for name in ("id", "gone") for version in (1, 2, 99)),
        *(Ask(f"{BASE}/Observation/{{moved}}/_history/{version}") for version in (1, 2)),
        Ask(f"{BASE}/Binary/{{id}}/_history/1", headers={"accept": "*/*"}),
        Ask(f"{BASE}/Binary/{{neutral}}-letter/_history/1"),
    ],
    f"GET {BASE}/{{type}}/{{id}}/$everything": _search(f"{BASE}/Patient/{{own}}/$everything", "") + _search(f"{BASE}/Patient/{{id}}/$everything", "", "_count=1", "start=1990") + _search(f"{BASE}/Encounter/{{id}}/$everything", "") + _search(f"{BASE}/Patient/{{gone}}/$everything", ""),
    f"POST {BASE}/{{type}}/{{id}}/$everything": [Ask(f"{BASE}/Patient/{{id}}/$everything", {"resourceType": "Parameters", "parameter": [{"name": "_count", "valueInteger": 5}]})],
    f"GET {BASE}/{{type}}/$lastn": _search(f"{BASE}/Observation/$lastn", "patient=Patient/{id}", "patient=Patient/{id}&max=3", "patient=Patient/{own}&code=8302-1", "subject=Patient/{gone}"),
    f"POST {BASE}/{{type}}/$lastn": [Ask(f"{BASE}/Observation/$lastn", {"resourceType": "Parameters", "parameter": [{"name": "patient", "valueReference": {"reference": "Patient/{id}"}}]})],
    f"GET {BASE}/{{type}}/{{id}}/$meta": [Ask(f"{BASE}/Patient/{{{name}}}/$meta") for name in ("id", "gone", "neutral")],
    f"GET {BASE}/{{type}}/{{id}}/_history/{{version}}/$meta": [Ask(f"{BASE}/Patient/{{id}}/_history/1/$meta"), Ask(f"{BASE}/Observation/{{moved}}/_history/1/$meta")],
    f"POST {BASE}/{{type}}/{{id}}/$meta-add": [Ask(f"{BASE}/Patient/{{id}}/$meta-add", _META), Ask(f"{BASE}/Patient/{{id}}/$meta-add", _META, {"if-match": 'W/"9"'})],
    f"POST {BASE}/{{type}}/{{id}}/$meta-delete": [Ask(f"{BASE}/Patient/{{id}}/$meta-delete", _META), Ask(f"{BASE}/Patient/{{gone}}/$meta-delete", _META)],
    f"POST {BASE}/{{type}}/{{id}}/$validate": [Ask(f"{BASE}/Patient/{{id}}/$validate?mode=update", _patient()), Ask(f"{BASE}/Patient/{{id}}/$validate?mode=delete")],
    f"POST {BASE}/{{type}}/$validate": [Ask(f"{BASE}/Observation/$validate", _observation()), Ask(f"{BASE}/Observation/$validate?mode=create", _observation(status="{text}"))],
    f"POST {BASE}/{{type}}/{{id}}/$purge": [
        *(Ask(f"{BASE}/Patient/{{{name}}}/$purge", _COMPARTMENT) for name in ("id", "gone", "neutral")),
        Ask(f"{BASE}/Patient/{{id}}/$purge", _COMPARTMENT, {"prefer": "respond-async"}),
    ],
    f"POST {BASE}/{{type}}/{{id}}/$set-accounts": [
        *(Ask(f"{BASE}/Patient/{{{name}}}/$set-accounts", _parameters()) for name in ("id", "gone", "neutral")),
        Ask(f"{BASE}/Patient/{{id}}/$set-accounts", _parameters("Organization/{org}")),
        Ask(f"{BASE}/Patient/{{id}}/$set-accounts", _parameters("Organization/qzneither")),
        Ask(f"{BASE}/Patient/{{id}}/$set-accounts", _parameters(), {"prefer": "respond-async"}),
        Ask(f"{BASE}/Patient/{{id}}/$set-accounts", _parameters(), {"prefer": "respond-async", "idempotency-key": "tempting"}),
        *(Ask(f"{BASE}/Patient/{{id}}/$set-accounts", _parameters(propagate=False), {"if-match": version}) for version in _IF_MATCH),
        Ask(f"{BASE}/Practitioner/{{neutral}}/$set-accounts", _parameters()),
    ],
    f"GET {BASE}/{{type}}/{{id}}/$explain-access": [
        *(Ask(f"{BASE}/{name}/{{id}}/$explain-access") for name in ("Patient", "Observation", "Binary")),
        Ask(f"{BASE}/Patient/{{gone}}/$explain-access"),
        *_search(f"{BASE}/Observation/{{id}}/$explain-access", "patient={id}", "scope=system/*.rs&accounts=Organization/{org}"),
        *_search(f"{BASE}/Patient/{{own}}/$explain-access", "patient={id}", "patient={gone}", "patient={neutral}", "accounts=Organization/{org}"),
        Ask(f"{BASE}/Binary/{{neutral}}-letter/$explain-access"),
    ],
    f"GET {BASE}/job": [Ask(f"{BASE}/job"), Ask(f"{BASE}/job?_count=1")],
    f"GET {BASE}/job/{{id}}/status": [Ask(f"{BASE}/job/{{job}}/status"), Ask(f"{BASE}/job/{{bundle}}/status")],
    f"DELETE {BASE}/job/{{id}}/status": [Ask(f"{BASE}/job/{{job}}/status"), Ask(f"{BASE}/job/{{bundle}}/status")],
    DEFAULT: [Ask(f"{BASE}/Patient/{{id}}/$nonsense"), Ask(f"{BASE}/Patient/{{id}}/"), Ask("/{text}"), Ask(f"{BASE}/Patient/{{id}}/a/b/c/d")],
}  # fmt: skip

# What is said to everybody, and is the same for all: no request has a name to tempt by.
PUBLIC = [
    f"{BASE}/metadata",
    f"{BASE}/.well-known/smart-configuration",
    "/.well-known/smart-configuration",
    "/openapi.json",
    "/docs",
    "/console",
    "/console/{file}",
]


def asks(route: Route) -> list[Ask]:
    """The requests of a route. KeyError for one that nobody has thought of."""
    if route.public and route.path != DEFAULT:
        path = route.path
        if path not in PUBLIC and not path.startswith(f"{BASE}/OperationDefinition/"):
            raise KeyError(route.key)
        return [Ask(f"{path}?{urlencode({'_elements': '{text}'})}")]
    return ASKS[route.path if route.path == DEFAULT else f"{route.method.replace('HEAD', 'GET')} {route.path}"]


def unknown_asks() -> set[str]:
    """Keys of `ASKS` that are no route."""
    return set(ASKS) - {route.key for route in ROUTES}

"""Whole requests, of each kind."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

from bulkhead.api.routes import BASE, DEFAULT, ROUTES, Route
from tests.support.fuzzing import documents, parameters, structure
from tests.support.fuzzing.dice import Dice
from tests.support.fuzzing.seeds import BODIES, SECRET, bundle

NAMES = (
    ("_id", "_lastUpdated", "_tag", "_profile", "_security", "_account", "_compartment", "_has:Observation:patient:code",
     "_sort", "_count", "_include", "_revinclude", "_include:iterate", "_total", "_summary", "_elements", "_type", "_since",
     "_at", "_cursor", "_format", "_pretty", "_text", "_content", "_filter", "_list", "_contained", "_query", "_explain",
     "name", "name:exact", "name:contains", "name:missing", "family", "given", "identifier", "identifier:of-type",
     "birthdate", "gender", "gender:not", "code", "code:in", "code:text", "code:above", "value-quantity", "value-string",
     "component-code-value-quantity", "code-value-quantity", "date", "subject", "subject:Patient", "subject:Patient.name",
     "patient", "patient.identifier", "patient:identifier", "general-practitioner.name", "organization:missing", "status",
     "encounter", "link", "phonetic", "near", "url", "url:below", "mode", "profile", "start", "end", "nonsense", "name:nonsense")
)  # fmt: skip
VALUES = (
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


TEXTS = (
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
    "#",
    "?",
    "/",
    "x",
)
JSON_PATCH = "application/json-patch+json"


@dataclass(frozen=True, slots=True)
class Sent:
    """One request; `target` is path and query, encoded; `caller` is one of `edge.CALLERS`."""

    method: str
    target: str
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    caller: str = "everything"


VARIABLES: Mapping[str, tuple[str, ...]] = {
    "type": ("Patient",) * 6 + ("Observation",) * 4 + ("Encounter", "Organization", "SearchParameter", "Binary", "Bundle", "Parameters", "CompartmentDefinition", "Nothing", "patient", "*", "$validate", "_history"),
    "id": ("p",) * 6 + ("o", "e", "a", "s", "b", "none", "x" * 65, "_", "$meta"),
    "version": ("1", "2", "0", "-1", "x", "99999999999999", "٣"),
    "member": ("Observation", "Encounter", "*", "Patient", "Nothing", "$nothing", "$set-accounts", "_history"),
}  # fmt: skip
CALLERS = ("everything",) * 6 + ("fenced", "patient", "reader", "nothing")
READS = (
    "read",
    "vread",
    "history",
    "type-history",
    "system-history",
    "meta",
    "status",
    "metadata",
    "operation-definition",
    "smart-configuration",
    "openapi",
)
SEARCHES = ("search", "compartment", "everything", "system")
WRITES = ("create", "update", "conditional-update", "patch", "conditional-patch", "delete", "conditional-delete")


def serving(*operations: str) -> tuple[Route, ...]:
    """The routes of these operations, of all without; HEAD comes to those of GET."""
    known = (route for route in ROUTES if route.path != DEFAULT and route.method != "HEAD")
    return tuple(route for route in known if not operations or route.operation in operations)


REST = tuple({route.operation for route in serving()} - {*READS, *SEARCHES, *WRITES, "bundle", "docs"})
WHOLE = (bundle("batch"), bundle("transaction"))


def headers(dice: Dice) -> dict[str, str]:
    return {name: dice.choice(HEADERS[name]) for name in dice.some(sorted(HEADERS), dice.choice((0, 1, 3)))}


def query(dice: Dice) -> str:
    pairs = ((dice.choice(NAMES), dice.choice(TEXTS if dice.one_in(6) else VALUES)) for _ in range(dice.randint(0, 4)))
    text = "&".join(f"{quote(name, safe=':')}={quote(value, safe='|,$:')}" for name, value in pairs)
    return text + dice.choice(("",) * 12 + ("&", "=", "&&=&", "%", "%ff=%fe", "_count", "a=1;b=2"))


def target(dice: Dice, route: Route, seed: Any) -> str:
    """The path of a route, with something for each variable: often the type and the id of `seed`."""
    own: dict[str, str] = {}
    if isinstance(seed, dict) and "id" in seed and dice.random() < 0.8:
        own = {"type": str(seed["resourceType"]), "id": str(seed["id"])}
    segments = []
    for segment in route.path.split("/"):
        if segment.startswith("{"):
            name = segment[1:-1]
            drawn = dice.choice(TEXTS[1:] if dice.one_in(12) or name not in VARIABLES else VARIABLES[name])
            segments.append(quote(own.get(name, drawn), safe="$*_"))
        else:
            segments.append(quote(segment, safe="") if "$" in segment and dice.one_in(6) else segment)
    return "/".join(segments)


def of_route(dice: Dice, routes: tuple[Route, ...], seed: Any, *, xml: bool = False) -> Sent:
    """A request for one of `routes`, with a body of `seed` where it may have one."""
    route = dice.choice(routes)
    asked = query(dice) if route.method == "GET" or dice.one_in(4) else ""
    method = dice.choice(("GET",) * 12 + ("HEAD", "OPTIONS", "PATCH")) if route.method == "GET" else route.method
    given, body = headers(dice), b""
    if route.method in ("POST", "PUT", "PATCH") or dice.one_in(10):
        xml = isinstance(seed, dict) and (xml or dice.one_in(6))
        body = (
            documents.document(dice, structure.mutated(dice, seed) if dice.one_in(3) else seed)
            if xml
            else structure.document(dice, seed)
        )
        if xml and not dice.one_in(20):
            given["content-type"] = "application/fhir+xml"
        elif isinstance(seed, list) and not dice.one_in(4):
            given["content-type"] = JSON_PATCH
        elif dice.one_in(2):
            given.pop("content-type", None)
    path = target(dice, route, seed)
    return Sent(method, path + (f"?{asked}" if asked else ""), given, body, dice.choice(CALLERS))


def made(dice: Dice) -> Any:
    """What a body is about: a seed, or a resource of any type made anew."""
    return dice.choice(BODIES) if dice.one_in(2) else structure.resource(dice, dice.choice(structure.TYPES))


def reads(dice: Dice) -> list[Sent]:
    return [of_route(dice, serving(*READS), dice.choice(BODIES))]


def searches(dice: Dice) -> list[Sent]:
    return [of_route(dice, serving(*SEARCHES), dice.choice(BODIES))]


def writes(dice: Dice) -> list[Sent]:
    return [of_route(dice, serving(*WRITES), made(dice))]


def xml(dice: Dice) -> list[Sent]:
    return [of_route(dice, serving(*WRITES, *REST, "bundle"), made(dice), xml=True)]


def operations(dice: Dice) -> list[Sent]:
    return [of_route(dice, serving(*REST), made(dice))]


def resources(dice: Dice) -> list[Sent]:
    """A resource of any type, as little wrong as it may be, that is checked and written; then a search of its type."""
    resource = structure.resource(dice, dice.choice(structure.TYPES))
    kind, key = resource["resourceType"], quote(str(resource.get("id") or "p"), safe="")
    body = json.dumps(resource).encode(errors="surrogatepass")
    return [
        Sent("POST", f"{BASE}/{kind}/$validate", {}, body),
        Sent("PUT", f"{BASE}/{kind}/{key}", {}, body, dice.choice(CALLERS)),
        Sent("GET", f"{BASE}/{kind}?{query(dice)}", headers(dice), b"", dice.choice(CALLERS)),
        Sent("GET", f"{BASE}/{kind}/{key}?_format=xml", {}, b"", dice.choice(CALLERS)),
    ]


def search_parameters(dice: Dice) -> list[Sent]:
    """A SearchParameter, and what it finds."""
    definition = parameters.definition(dice)
    body = structure.document(dice, definition) if dice.one_in(5) else json.dumps(definition).encode()
    put = Sent("PUT", f"{BASE}/SearchParameter/{definition['id']}", {}, body, dice.choice(CALLERS))
    return [
        put,
        *(
            Sent("GET", f"{BASE}/{text}", headers(dice) if dice.one_in(4) else {}, b"", dice.choice(CALLERS))
            for text in parameters.queries(dice, definition)
        ),
    ]


def bundles(dice: Dice) -> list[Sent]:
    """A batch or transaction whose entries are any requests."""
    whole = structure.mutated(dice, dice.choice(WHOLE))
    if dice.one_in(2):
        whole = {
            "resourceType": "Bundle",
            "type": dice.choice(("batch", "transaction")),
            "entry": [_entry(dice) for _ in range(dice.randint(1, 5))],
        }
    return [of_route(dice, serving("bundle"), whole)]


def _entry(dice: Dice) -> dict[str, Any]:
    seed = made(dice)
    asked = of_route(dice, serving(), seed)
    request = {
        "method": dice.choice((asked.method, asked.method, "GET", "POST", "nothing")),
        "url": asked.target.removeprefix(f"{BASE}/" if dice.one_in(5) else ""),
    }
    request["url"] = request["url"].removeprefix(f"{BASE}/") if not dice.one_in(20) else request["url"]
    for name in dice.some(("ifMatch", "ifNoneMatch", "ifModifiedSince", "ifNoneExist"), 1):
        header = {
            "ifMatch": "if-match",
            "ifNoneMatch": "if-none-match",
            "ifModifiedSince": "if-modified-since",
            "ifNoneExist": "if-none-exist",
        }[name]
        request[name] = dice.choice(HEADERS[header])
    entry: dict[str, Any] = {"request": request}
    if request["method"] in ("POST", "PUT", "PATCH") or dice.one_in(8):
        entry["resource"] = structure.mutated(dice, seed) if dice.one_in(3) else seed
    if dice.one_in(2):
        entry["fullUrl"] = dice.choice(
            (
                "urn:uuid:0b7e0c3c-3b8f-4d55-8c0f-0a54a9c6a1d1",
                "urn:oid:1.2.3",
                "cid:1",
                "http://server.example/fhir/R4/Patient/p",
                "Patient/p",
                "",
            )
        )
    return entry


def anything(dice: Dice) -> list[Sent]:
    """A request for no route in particular, or for any."""
    if dice.one_in(2):
        return [of_route(dice, serving(), made(dice))]
    known = (
        "fhir",
        "R4",
        "Patient",
        "p",
        "_history",
        "_search",
        "$everything",
        "$nothing",
        "%24meta",
        "job",
        "metadata",
        "status",
        "docs",
    )
    segments = [dice.choice(TEXTS if dice.one_in(3) else known) for _ in range(dice.randint(0, 7))]
    path = dice.choice(("", BASE, BASE)) + "".join(f"/{quote(segment, safe='$%')}" for segment in segments)
    method = dice.choice(("GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS", "TRACE", "BREW"))
    asked = query(dice)
    return [
        Sent(
            method,
            (path or "/") + (f"?{asked}" if asked else ""),
            headers(dice),
            structure.document(dice, made(dice)),
            dice.choice(CALLERS),
        )
    ]


KINDS: Mapping[str, Callable[[Dice], list[Sent]]] = {
    "reads": reads,
    "searches": searches,
    "writes": writes,
    "xml": xml,
    "operations": operations,
    "resources": resources,
    "search parameters": search_parameters,
    "bundles": bundles,
    "anything": anything,
}


def sequence(kind: str, number: int, count: int) -> list[Sent]:
    """The first `count` requests of a kind in the sequence of a number."""
    dice = Dice(f"{kind} {number}")
    found: list[Sent] = []
    while len(found) < count:
        found += KINDS[kind](dice)
    return found[:count]

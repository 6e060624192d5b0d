"""Small bundles, and a way to post them at a store without HTTP."""

from __future__ import annotations

from typing import Any

from bulkhead import bundles
from bulkhead.access.policy import EVERYBODY, Caller
from bulkhead.bundles import Context, Entry
from bulkhead.bundles.context import MINIMAL
from bulkhead.bundles.response import status
from bulkhead.errors import NotFound
from bulkhead.session import Session
from bulkhead.store import Head, Store

BASE = "http://127.0.0.1:8000/fhir/R4"
SYSTEM = "http://example.org/ids"

Json = dict[str, Any]


def patient(value: str | None = None, **content: Any) -> Json:
    """A Patient with an identifier."""
    identifier = {"identifier": [{"system": SYSTEM, "value": value}]} if value else {}
    return {"resourceType": "Patient", **identifier, **content}


def observation(subject: str, **content: Any) -> Json:
    code = {"coding": [{"system": "http://loinc.org", "code": "718-7"}]}
    return {
        "resourceType": "Observation",
        "status": "final",
        "code": code,
        "subject": {"reference": subject},
        **content,
    }


def create(resource: Json, full_url: str | None = None, if_none_exist: str | None = None) -> Json:
    request = {"method": "POST", "url": resource["resourceType"]}
    return _entry(request | ({"ifNoneExist": if_none_exist} if if_none_exist else {}), resource, full_url)


def update(resource: Json, url: str | None = None, full_url: str | None = None, **headers: str) -> Json:
    where = url or f"{resource['resourceType']}/{resource['id']}"
    return _entry({"method": "PUT", "url": where, **headers}, resource, full_url)


def delete(url: str, **headers: str) -> Json:
    return _entry({"method": "DELETE", "url": url, **headers})


def get(url: str) -> Json:
    return _entry({"method": "GET", "url": url})


def _entry(request: Json, resource: Json | None = None, full_url: str | None = None) -> Json:
    entry: Json = {"request": request}
    return entry | ({"resource": resource} if resource else {}) | ({"fullUrl": full_url} if full_url else {})


def bundle(*entries: Json, kind: str = "transaction") -> Json:
    return {"resourceType": "Bundle", "type": kind, "entry": list(entries)}


class Reads:
    """Answers `GET Type/id` from the store."""

    def __init__(self, store: Store) -> None:
        self.store = store

    def check(self, entry: Entry, *, atomic: bool) -> None:
        pass

    def answer(self, entry: Entry) -> Json:
        head = self.store.read(entry.url)
        if head is None or head.deleted:
            raise NotFound("there is no such resource")
        return {"resource": self.store.decode(head), "response": {"status": status(200)}}


def context(store: Store, returns: str = MINIMAL, caller: Caller = EVERYBODY) -> Context:
    def represent(head: Head) -> Json:
        return store.decode(head)

    return Context(Session.of(store, caller), BASE, Reads(store), represent, lambda head: None, returns)


def post(store: Store, *entries: Json, kind: str = "transaction", returns: str = MINIMAL) -> list[Json]:
    """The entries of the response."""
    answer = bundles.process(bundle(*entries, kind=kind), context(store, returns))
    assert answer["type"] == f"{kind}-response"
    found: list[Json] = answer.get("entry", [])
    return found


def statuses(contents: list[Json]) -> list[str]:
    """`["201", "200"]`."""
    return [content["response"]["status"][:3] for content in contents]


def key_of(content: Json) -> str:
    """`Patient/1` of an entry of a response."""
    location: str = content["response"]["location"]
    return location.partition("/_history/")[0]


def stored(store: Store, key: str) -> Json:
    head = store.read(key)
    assert head is not None
    return store.decode(head)

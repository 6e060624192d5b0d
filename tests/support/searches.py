"""Searches as a client asks them, of the store or of one in memory: the Bundle, its keys, all its pages."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from bulkhead.compartments import membership
from bulkhead.search import run
from bulkhead.search.parse import parse
from bulkhead.store import ReadStore
from bulkhead.store.version import Version, everything
from tests.support.memory_store import MemoryStore, represent
from tests.support.search_samples import observation, patient, quantity

BASE = "http://here/fhir/R4"


def unrecorded(found: Version) -> None:
    """For searches whose reads of Lists nobody records."""


def search(store: ReadStore, path: str, query: str = "", **more: Any) -> dict[str, Any]:
    """The Bundle for `GET {path}?{query}`."""
    pairs = parse_qsl(query, keep_blank_values=True)
    *target, resource_type = path.split("/")
    wanted = None if resource_type in ("*", "") else resource_type
    if target:
        its = membership.checked(store, target[0], wanted)
        parsed = parse(pairs, wanted, compartment="/".join(target), compartment_types=its.parameters, base=BASE)
    else:
        parsed = parse(pairs, wanted, base=BASE)
    return run.search(
        store, parsed, base=BASE, represent=represent, **{"fence": everything, "consulted": unrecorded, **more}
    )


def link(bundle: dict[str, Any], relation: str) -> str | None:
    return next((one["url"] for one in bundle["link"] if one["relation"] == relation), None)


def keys(bundle: dict[str, Any], mode: str = "match") -> list[str]:
    return [
        f"{entry['resource']['resourceType']}/{entry['resource']['id']}"
        for entry in bundle.get("entry", [])
        if entry["search"]["mode"] == mode
    ]


def pages(
    store: ReadStore, path: str, query: str, between: Callable[[int], None] = lambda page: None, **more: Any
) -> list[str]:
    """Keys of all pages, following next links as a client does."""
    found: list[str] = []
    for page in range(1000):
        bundle = search(store, path, query, **more)
        found += keys(bundle)
        following = link(bundle, "next")
        if following is None:
            return found
        url = urlsplit(following)
        path, query = url.path.removeprefix("/fhir/R4").removeprefix("/"), url.query
        between(page)
    raise AssertionError("paging does not end")


def ward() -> MemoryStore:
    store = MemoryStore()
    store.put(patient("1", name=[{"family": "Smith"}], gender="female"))
    store.put(patient("2", name=[{"family": "Smithson", "given": ["Smilla"]}], gender="male"))
    for number in range(25):
        store.put(
            observation(
                f"{number:02d}",
                code="a" if number % 2 else "b",
                subject=f"Patient/{number % 2 + 1}",
                effectiveDateTime=f"2020-{number % 12 + 1:02d}-03",
                valueQuantity=quantity(number),
            )
        )
    return store

"""Every search parameter that has values in real data finds exactly what a plain scan of that data finds."""

from __future__ import annotations

import gzip
import random
import re
from collections.abc import Iterator
from functools import cache
from typing import Any
from urllib.parse import urlencode

import pytest

from bulkhead.compartments import built_in
from bulkhead.definitions import SearchParameter, search_parameters
from bulkhead.model import json
from bulkhead.search import extract
from bulkhead.search.candidate import Candidate
from bulkhead.search.matching import matches
from bulkhead.search.parse import parse
from tests.shared_data import shared
from tests.unit.search.memory import MemoryStore
from tests.unit.search.test_run import pages

FOLDERS = ["preston-2022-put", "smart-v2.4.0-2019", "blaze-v2.7.0-2021", "datapipes-hiv-2021"]
PER_TYPE = 25
PER_PARAMETER = 2


def resolved(text: str) -> list[dict[str, Any]]:
    """The entries of a transaction, their urn:uuid references replaced by Type/id."""
    types = {entry.get("fullUrl"): entry["resource"]["resourceType"] for entry in json.loads(text)["entry"]}
    text = re.sub(r'"(urn:uuid:([^"]+))"', lambda match: f'"{types.get(match[1], "Basic")}/{match[2]}"', text)
    entries: list[dict[str, Any]] = json.loads(text)["entry"]
    return entries


@cache
def loaded(folder: str) -> MemoryStore:
    """Some resources of every type of a folder, with the references that a load would have resolved."""
    store = MemoryStore()
    taken: dict[str, int] = {}
    for path in sorted(shared(f"synthea/{folder}").glob("*.gz")):
        text = gzip.decompress(path.read_bytes()).decode()
        for entry in resolved(text):
            resource = entry["resource"]
            resource.setdefault("id", entry.get("fullUrl", "").rpartition("/")[2])
            taken[resource["resourceType"]] = taken.get(resource["resourceType"], 0) + 1
            if taken[resource["resourceType"]] <= PER_TYPE:
                store.put(resource)
    return store


def questions(parameter: SearchParameter, kind: str, value: Any) -> Iterator[tuple[str, str]]:
    """Searches that a value of the data suggests."""
    code = parameter.code
    match parameter.type:
        case "token":
            for system, text in extract.tokens(kind, value):
                yield code, escaped(text)
                yield code, f"{escaped(system)}|{escaped(text)}"
                yield f"{code}:not", escaped(text)
        case "string":
            for text in extract.strings(kind, value):
                yield code, escaped(text[:4])
                yield f"{code}:contains", escaped(text[1:5] or text)
                yield f"{code}:exact", escaped(text)
        case "date":
            for first, last in extract.periods(kind, value):
                yield code, first[:10]
                yield code, first[:7]
                yield code, f"ge{first}"
                yield code, f"lt{last}"
        case "reference":
            # Contained and conditional references are not searched by.
            if kind == "Reference" and not set("#?") & set(value.get("reference", "#")):
                yield code, escaped(value["reference"])
                yield code, escaped(value["reference"].rpartition("/")[2])
        case "uri":
            yield code, escaped(value)
        case "quantity":
            if "value" in value:
                yield code, str(value["value"])
                yield code, f"gt{value['value']}||{escaped(value.get('code', ''))}"


def escaped(text: str) -> str:
    for character in "\\,|$":
        text = text.replace(character, "\\" + character)
    return text


@pytest.mark.parametrize("folder", FOLDERS)
def test_a_search_finds_what_a_scan_finds(folder: str) -> None:
    store = loaded(folder)
    chance = random.Random(folder)
    asked = 0
    for resource_type in sorted({head.type for head in store.current.values()}):
        candidates = [Candidate(head, store.decode) for head in store.current.values() if head.type == resource_type]
        for parameter in search_parameters(resource_type).values():
            if not parameter.expression or parameter.code == "_lastUpdated":
                continue
            found = [value for one in candidates for value in extract.values(one.body, parameter)]
            for kind, value in chance.sample(found, min(PER_PARAMETER, len(found))):
                for name, text in questions(parameter, kind, value):
                    if text.strip():
                        compare(store, resource_type, candidates, name, text)
                        asked += 1
    assert asked > 100


def reached(candidate: Candidate, codes: tuple[str, ...]) -> list[str]:
    return [key for key, via in candidate.targets.items() if not via.isdisjoint(codes)]


@pytest.mark.parametrize("folder", FOLDERS)
def test_a_chain_finds_what_a_scan_of_both_ends_finds(folder: str) -> None:
    store = loaded(folder)
    everything = {key: Candidate(head, store.decode) for key, head in store.current.items()}
    chance = random.Random(folder)
    asked = 0
    for resource_type in ("Observation", "Condition", "Encounter", "MedicationRequest"):
        own = [one for one in everything.values() if one.head.type == resource_type]
        for code in ("patient", "encounter"):
            parameter = search_parameters(resource_type).get(code)
            found = [key for one in own for key in reached(one, (code,)) if key in everything]
            if parameter is None or not found:
                continue
            for key in chance.sample(sorted(set(found)), min(2, len(set(found)))):
                asked += forward(store, everything, own, code, everything[key])
                asked += backward(store, everything, own, code, resource_type, key.partition("/")[0], chance)
    assert asked > 20


def forward(
    store: MemoryStore, everything: dict[str, Candidate], own: list[Candidate], code: str, target: Candidate
) -> int:
    """`Observation?patient:Patient.birthdate=...` for what one target holds."""
    asked = 0
    for inner in search_parameters(target.head.type).values():
        values = extract.values(target.body, inner) if inner.expression and inner.code != "_lastUpdated" else []
        for name, text in [pair for kind, value in values[:1] for pair in questions(inner, kind, value)][:2]:
            if not text.strip():
                continue
            (clause,) = parse([(name, text)], target.head.type).clauses
            expected = sorted(
                one.key
                for one in own
                if any(
                    key in everything
                    and everything[key].head.type == target.head.type
                    and matches(everything[key], clause, built_in())
                    for key in reached(one, (code,))
                )
            )
            query = urlencode([(f"{code}:{target.head.type}.{name}", text), ("_count", "50")])
            assert sorted(pages(store, own[0].head.type, query)) == expected, query
            asked += 1
    return asked


def backward(
    store: MemoryStore,
    everything: dict[str, Candidate],
    own: list[Candidate],
    code: str,
    resource_type: str,
    target_type: str,
    chance: random.Random,
) -> int:
    """`Patient?_has:Observation:patient:code=...` for what one source holds."""
    asked = 0
    source = chance.choice(own)
    for inner in search_parameters(resource_type).values():
        values = extract.values(source.body, inner) if inner.expression and inner.code != "_lastUpdated" else []
        for name, text in [pair for kind, value in values[:1] for pair in questions(inner, kind, value)][:2]:
            if not text.strip():
                continue
            (clause,) = parse([(name, text)], resource_type).clauses
            met = [one for one in own if matches(one, clause, built_in())]
            expected = sorted({key for one in met for key in reached(one, (code,)) if key in everything})
            expected = [key for key in expected if key.startswith(f"{target_type}/")]
            query = urlencode([(f"_has:{resource_type}:{code}:{name}", text), ("_count", "50")])
            assert sorted(pages(store, target_type, query)) == expected, query
            asked += 1
    return asked


def compare(store: MemoryStore, resource_type: str, candidates: list[Candidate], name: str, text: str) -> None:
    (clause,) = parse([(name, text)], resource_type).clauses
    expected = sorted(one.key for one in candidates if matches(one, clause, built_in()))
    found = pages(store, resource_type, urlencode([(name, text), ("_count", "50")]))
    assert sorted(found) == expected, f"{resource_type}?{name}"

"""Real Synthea bundles, unchanged: every entry becomes one resource, and every reference leads to one."""

from __future__ import annotations

import gzip
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from bulkhead import bundles
from bulkhead.fhir import json, references
from bulkhead.store import Store
from tests.support.bundle_samples import context, key_of
from tests.support.shared_data import shared

# All folders are loaded in tests/e2e/test_real_data.py, which looks for the same over HTTP. Here each answer is looked at besides.
FOLDERS = ["preston-2022-put", "smart-v2.4.0-2019"]
LARGEST = 1200
"""Entries. The one bundle that has more has the types of another one of its folder."""
OK, CREATED = "200 OK", "201 Created"


def in_order(folder: Path) -> list[Path]:
    """Hospitals, then practitioners, then patients: later ones refer to earlier ones."""

    def rank(path: Path) -> int:
        return 0 if "hospital" in path.name else 1 if "practitioner" in path.name else 2

    return sorted(folder.glob("*.json.gz"), key=lambda path: (rank(path), path.name))


def read(path: Path) -> dict[str, Any]:
    bundle: dict[str, Any] = json.loads(gzip.decompress(path.read_bytes()))
    return bundle


def load(store: Store, path: Path) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The bundle as it was sent, and the entries of the response."""
    answer = bundles.process(read(path), context(store))
    return read(path), answer["entry"]


@pytest.mark.parametrize("folder", FOLDERS)
def test_every_entry_becomes_a_resource_and_every_reference_leads_to_one(store: Store, folder: str) -> None:
    expected: Counter[str] = Counter()
    keys: set[str] = set()
    for path in in_order(shared(f"synthea/{folder}")):
        if len(read(path)["entry"]) > LARGEST:
            continue
        sent, entries = load(store, path)
        assert len(entries) == len(sent["entry"])
        for asked, answered in zip(sent["entry"], entries, strict=True):
            status, key = answered["response"]["status"], key_of(answered)
            assert status == CREATED or (status == OK and "ifNoneExist" in asked["request"])
            assert key.startswith(asked["resource"]["resourceType"] + "/")
            expected[asked["resource"]["resourceType"]] += status == CREATED
            keys.add(key)
    heads = store.read_many(keys)
    assert Counter(head.type for head in heads.values()) == expected
    unresolved = set()
    for head in heads.values():
        for _, reference in references.walk(store.decode(head)):
            text = reference.get("reference", "#")
            if not text.startswith("#") and references.local(text) not in heads:
                unresolved.add(text)
    assert unresolved == set()


def test_the_largest_transaction_keeps_every_digit(store: Store) -> None:
    folder = shared("synthea/blaze-v2.7.0-2021")
    for path in in_order(folder)[:2]:
        load(store, path)
    sent, entries = load(store, folder / "0696ac49-3128-87d3-7344-04510aa4f324.json.gz")
    heads = store.read_many(key_of(answered) for answered in entries)
    for asked, answered in zip(sent["entry"], entries, strict=True):
        stored = store.decode(heads[key_of(answered)])
        assert without_references(stored) == without_references({**asked["resource"], "id": stored["id"]})
    provenance = next(stored for stored in map(store.decode, heads.values()) if stored["resourceType"] == "Provenance")
    assert {target["reference"] for target in provenance["target"]} == set(heads) - {f"Provenance/{provenance['id']}"}


def without_references(resource: dict[str, Any]) -> bytes:
    """The resource as JSON text, its references to others left out."""
    copy = json.loads(json.dumps(resource))
    for _, reference in references.walk(copy):
        reference["reference"] = ""
    return json.dumps(copy)

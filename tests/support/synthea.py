"""Synthea's bundles as plain Python reads them: what a load must make of them, counted by hand. Nothing of ours is used."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from math import acos, cos, radians, sin
from pathlib import Path
from typing import Any

Resource = dict[str, Any]


def bundles(folder: Path) -> Iterator[Resource]:
    """In the order of a load: hospitals, practitioners, patients."""
    for path in sorted(folder.rglob("*.json.gz"), key=lambda path: (path.parent, rank(path.name), path.name)):
        yield json.loads(gzip.decompress(path.read_bytes()))


def rank(name: str) -> int:
    return 0 if "hospital" in name else 1 if "practitioner" in name else 2


class Records:
    """Every resource that a load makes, once, with a `name` of its own in place of an id; references are these names."""

    def __init__(self, folder: Path) -> None:
        self.all: list[Resource] = []
        self._names: dict[str, str] = {}
        for number, bundle in enumerate(bundles(folder)):
            made = [one for entry in bundle["entry"] if (one := self._named(number, entry))]
            self.all += made
            for one in made:
                self._lead(number, one)
        self.by_name = {one["@name"]: one for one in self.all}
        self._by_type: dict[str, list[Resource]] = {}
        for one in self.all:
            self._by_type.setdefault(one["resourceType"], []).append(one)
        self._patients: dict[str, str] = {one["name"][0]["family"]: one["@name"] for one in self.of("Patient")}

    def _named(self, number: int, entry: Resource) -> Resource | None:
        """The resource of an entry, if it makes one: those under a condition are made once."""
        resource, request = entry["resource"], entry["request"]
        kind = resource["resourceType"]
        condition = f"{kind}?{request['ifNoneExist']}" if "ifNoneExist" in request else None
        name = self._names.get(condition or "")
        known = name is not None
        name = name or (request["url"] if request["method"] == "PUT" else f"{kind}/{number}-{entry['fullUrl']}")
        self._names[f"{number} {entry.get('fullUrl')}"] = name
        if condition:
            self._names[condition] = name
        return None if known else {**resource, "@name": name}

    def _lead(self, number: int, value: Any) -> None:
        """Names in place of references to entries, and of conditions."""
        if isinstance(value, dict):
            text = value.get("reference")
            if isinstance(text, str):
                value["reference"] = self._names.get(f"{number} {text}") or self._names.get(text) or text
            for inner in value.values():
                self._lead(number, inner)
        elif isinstance(value, list):
            for inner in value:
                self._lead(number, inner)

    def of(self, kind: str) -> list[Resource]:
        return self._by_type[kind]

    def to(self, reference: Any) -> Resource:
        """What a reference, or the first of several, leads to; nothing at all where it leads nowhere."""
        first = reference[0] if isinstance(reference, list) and reference else reference or {}
        return self.by_name.get(first.get("reference", ""), {})

    def patient(self, family: str) -> str:
        """The name of a patient in references."""
        return self._patients[family]


def subject(resource: Resource) -> str:
    """The name of the patient that a resource is about."""
    return str((resource.get("subject") or resource["patient"]).get("reference"))


def codes(*concepts: Any) -> set[str]:
    """Every code of concepts and of lists of them."""
    flat = [one for concept in concepts for one in (concept if isinstance(concept, list) else [concept]) if one]
    return {coding.get("code") for concept in flat for coding in concept.get("coding", [concept])}


def when(text: str | None) -> datetime:
    """A moment; a day begins at midnight UTC, and what is not dated was at the beginning of time."""
    moment = datetime.fromisoformat(text.replace("Z", "+00:00")) if text else datetime.min
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def within(text: str | None, first: str, last: str) -> bool:
    """Whether a moment is at `first` or after, and before `last`."""
    return text is not None and when(first) <= when(text) < when(last)


def amount(observation: Resource) -> float:
    """An observation's number; far below all others where it has none."""
    return float(observation.get("valueQuantity", {}).get("value", "-inf"))


def components(observation: Resource, code: str) -> list[float]:
    return [amount(one) for one in observation.get("component", ()) if code in codes(one["code"])]


def names(resource: Resource) -> set[str]:
    """The words of all names, in lower case."""
    name = resource.get("name", ())
    if isinstance(name, str):
        return {name.lower()}
    return {
        word.lower() for one in name for word in [one.get("family", ""), *one.get("given", ()), *one.get("prefix", ())]
    }


def begins(words: Iterable[str], start: str) -> bool:
    return any(word.startswith(start) for word in words)


def kilometres(location: Resource, latitude: float, longitude: float) -> float:
    """Along the great circle, by the law of cosines."""
    position = location.get("position", {"latitude": -90, "longitude": 0})
    north, south = radians(position["latitude"]), radians(latitude)
    east = radians(position["longitude"] - longitude)
    return 6371.0088 * acos(min(1.0, sin(north) * sin(south) + cos(north) * cos(south) * cos(east)))

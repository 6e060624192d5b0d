"""Every search parameter that has values in real data finds in the table exactly what a scan by hand of that data finds.

Random resources, parameters and values (`ORACLE_SEED` for others); what is expected comes from tests/support/naive_search.py.
"""

from __future__ import annotations

import gzip
import json
import os
import random
import re
import zipfile
from collections.abc import Sequence
from decimal import Decimal
from typing import Any, NamedTuple
from urllib.parse import urlencode

import pytest

from bulkhead import resources
from bulkhead.access import policy
from bulkhead.fhir import validation
from bulkhead.fhir.definitions import SearchParameter, search_parameters
from bulkhead.session import Session
from bulkhead.store import Store
from tests.support import naive_search
from tests.support.naive_search import key_of
from tests.support.search_questions import Asked, questions
from tests.support.searches import pages
from tests.support.shared_data import shared

# One worker makes the world of all.
pytestmark = pytest.mark.xdist_group("oracle")

FOLDERS = ["preston-2022-put", "smart-v2.4.0-2019", "blaze-v2.7.0-2021", "datapipes-hiv-2021"]
SEED = os.environ.get("ORACLE_SEED", "oracle")
PER_TYPE = 12
"""Resources of a type that are taken of each folder."""
COMMIT = 100


class World(NamedTuple):
    store: Store
    resources: dict[str, dict[str, Any]]

    def of_type(self, resource_type: str) -> list[dict[str, Any]]:
        return [one for one in self.resources.values() if one["resourceType"] == resource_type]

    @property
    def types(self) -> list[str]:
        return sorted({one["resourceType"] for one in self.resources.values()})


def linked(text: str, ids: dict[str, str]) -> list[dict[str, Any]]:
    """The resources of a transaction as a load would leave them: references lead to `Type/id`, conditional ones too."""
    bundle = read(text)
    names = {entry.get("fullUrl", ""): entry["resource"] for entry in bundle["entry"]}
    for url, resource in names.items():
        resource.setdefault("id", url.rpartition("/")[2].rpartition(":")[2])
        for identifier in resource.get("identifier", ()) if isinstance(resource.get("identifier"), list) else ():
            condition = f"{resource['resourceType']}?identifier={identifier.get('system')}|{identifier.get('value')}"
            ids.setdefault(condition, key_of(resource))
    ids |= {url: key_of(resource) for url, resource in names.items() if url}
    text = re.sub(r'"reference": ?"([^"]+)"', lambda match: f'"reference":"{ids.get(match[1], match[1])}"', text)
    return [entry["resource"] | {"id": names[entry["fullUrl"]]["id"]} for entry in read(text)["entry"]]


def read(text: str) -> Any:
    return json.loads(text, parse_float=Decimal)


def samples() -> dict[str, dict[str, Any]]:
    """Some resources of every type of every folder, by key."""
    found: dict[str, dict[str, Any]] = {}
    for folder in FOLDERS:
        taken: dict[str, int] = {}
        ids: dict[str, str] = {}
        paths = sorted(shared(f"synthea/{folder}").glob("*.gz"), key=lambda path: ("nformation" not in path.name, path))
        for path in paths:
            for resource in linked(gzip.decompress(path.read_bytes()).decode(), ids):
                number = taken[resource["resourceType"]] = taken.get(resource["resourceType"], 0) + 1
                if number <= PER_TYPE:
                    found.setdefault(key_of(resource), resource)
    return found | examples()


def examples() -> dict[str, dict[str, Any]]:
    """HL7's clinical examples, by key: the valid ones, without quantities that stand for more than one number."""
    with zipfile.ZipFile(shared("hl7-r4-examples-clinical.zip")) as archive:
        texts = [archive.read(name).decode() for name in archive.namelist() if name.endswith(".json")]
    found = [read(text) for text in texts if '"comparator"' not in text]
    # The Subscription among them asks to be served, which this server refuses.
    return {key_of(one): one for one in found if one["resourceType"] != "Subscription" and not validation.faults(one)}


@pytest.fixture(scope="module")
def world(make_store: Any) -> World:
    """The samples in a table of their own."""
    store: Store = make_store(bulk_writes="transact")
    found = samples()
    everything = list(found.items())
    for start in range(0, len(everything), COMMIT):
        part = everything[start : start + COMMIT]
        store.commit(
            [
                resources.prepare_create(Session.of(store, policy.EVERYBODY), resource, key, fresh=True)
                for key, resource in part
            ]
        )
    return World(store, found)


def searched(resource_type: str) -> list[SearchParameter]:
    """The parameters of a type that are about its content."""
    known = search_parameters(resource_type).values()
    return [one for one in known if one.expression and one.code != "_lastUpdated" and one.type != "special"]


def held(resource: dict[str, Any], parameter: SearchParameter) -> list[Any]:
    """What a resource holds for a parameter. A choice that is a string or a range of ages is no date."""
    return naive_search.values(
        resource, parameter.expression, ("String", "Age", "Range") if parameter.type == "date" else "-"
    )


def expected(candidates: Sequence[dict[str, Any]], *asked: tuple[SearchParameter, Asked]) -> list[str]:
    met = [one for one in candidates if all(each.test(held(one, parameter)) for parameter, each in asked)]
    return sorted(key_of(one) for one in met)


def compare(world: World, resource_type: str, *asked: tuple[SearchParameter, Asked]) -> None:
    query = urlencode([*((each.name, each.text) for _, each in asked), ("_count", "1000")])
    found = sorted(pages(world.store, resource_type, query))
    assert found == expected(world.of_type(resource_type), *asked), f"{resource_type}?{query}"


def random_question(chance: random.Random, resource: dict[str, Any]) -> tuple[SearchParameter, Asked] | None:
    parameter = chance.choice([one for one in searched(resource["resourceType"]) if one.type != "composite"])
    found = held(resource, parameter)
    suggested = questions(parameter, chance.choice(found)) if found else ()
    asked = [one for one in suggested if one.text.strip()]
    return (parameter, chance.choice(asked)) if asked else None


def test_every_parameter_finds_what_a_scan_finds(world: World) -> None:
    chance = random.Random(SEED)
    parameters = searches = 0
    for resource_type in world.types:
        for parameter in (one for one in searched(resource_type) if one.type != "composite"):
            found = [value for one in world.of_type(resource_type) for value in held(one, parameter)]
            parameters += bool(found)
            asked = [one for one in questions(parameter, chance.choice(found)) if one.text.strip()] if found else []
            if asked:
                compare(world, resource_type, (parameter, chance.choice(asked)))
                searches += 1
    assert parameters > 1100
    assert searches > 1100


def test_conditions_together_find_what_a_scan_finds(world: World) -> None:
    """Two conditions that a resource suggests, so that there is something to find."""
    chance = random.Random(SEED)
    asked = 0
    everything = list(world.resources.values())
    while asked < 200:
        resource = chance.choice(everything)
        pair = [random_question(chance, resource) for _ in range(2)]
        if all(pair):
            compare(world, resource["resourceType"], *(one for one in pair if one))
            asked += 1


def test_composites_find_what_a_scan_finds(world: World) -> None:
    """`code-value-quantity` and the like: both parts within one element."""
    chance = random.Random(SEED)
    asked = 0
    for resource_type in world.types:
        known = {one.url: one for one in search_parameters(resource_type).values()}
        candidates = world.of_type(resource_type)
        for parameter in searched(resource_type):
            if parameter.type != "composite":
                continue
            elements = [element for one in candidates for element in naive_search.values(one, parameter.expression)]
            for element in chance.sample(elements, min(10, len(elements))):
                parts = [pair_of(element, known[url], expression) for url, expression in parameter.components]
                if not all(parts):
                    continue
                text = "$".join(chance.choice(one).text for one in parts)
                wanted = [
                    next(each for each in one if each.text == half)
                    for one, half in zip(parts, text.split("$"), strict=True)
                ]
                met = [
                    key_of(one)
                    for one in candidates
                    if any(
                        all(
                            each.test(within(inner, expression))
                            for each, (_, expression) in zip(wanted, parameter.components, strict=True)
                        )
                        for inner in naive_search.values(one, parameter.expression)
                    )
                ]
                query = urlencode([(parameter.code, text), ("_count", "1000")])
                found = pages(world.store, resource_type, query)
                assert sorted(found) == sorted(met), f"{resource_type}?{query}"
                asked += 1
    assert asked > 10


def within(element: dict[str, Any], expression: str) -> list[Any]:
    return naive_search.values({"resourceType": "", **element}, expression)


def pair_of(element: dict[str, Any], parameter: SearchParameter, expression: str) -> list[Asked]:
    """The plain searches that a part of an element suggests."""
    asked = [one for value in within(element, expression) for one in questions(parameter, value)]
    return [one for one in asked if ":" not in one.name and "$" not in one.text and one.text.strip()]


def reached(resource: dict[str, Any], parameter: SearchParameter) -> set[str]:
    return {
        one.get("reference", "") for one in naive_search.values(resource, parameter.expression) if isinstance(one, dict)
    }


def test_chains_find_what_a_scan_of_both_ends_finds(world: World) -> None:
    """Forward and back, by what a random resource and one that it points at hold."""
    chance = random.Random(SEED)
    everything = list(world.resources.values())
    asked = 0
    while asked < 50:
        source = chance.choice(everything)
        links = [one for one in searched(source["resourceType"]) if one.type == "reference"]
        link = chance.choice(links) if links else None
        targets = sorted(reached(source, link) & world.resources.keys()) if link else []
        if link is None or not targets:
            continue
        target = world.resources[chance.choice(targets)]
        forward, back = random_question(chance, target), random_question(chance, source)
        if forward and back:
            chained(world, source["resourceType"], link, target["resourceType"], forward)
            reverse(world, target["resourceType"], link, source["resourceType"], back)
            asked += 1


def within_meets(
    resource: dict[str, Any], link: SearchParameter, target: str, asked: tuple[SearchParameter, Asked]
) -> bool:
    """Whether what a resource contains, and refers to through a link, is what is asked for."""
    inner = naive_search.contained(resource, naive_search.values(resource, link.expression))
    return any(asked[1].test(held(one, asked[0])) for one in inner if one["resourceType"] == target)


def test_chains_into_what_is_contained_find_what_a_scan_finds(world: World) -> None:
    chance = random.Random(SEED)
    holders = [
        (one, link, inner)
        for one in world.resources.values()
        if "contained" in one
        for link in searched(one["resourceType"])
        if link.type == "reference"
        for inner in naive_search.contained(one, naive_search.values(one, link.expression))
    ]
    assert len(holders) > 20
    for source, link, inner in chance.sample(holders, 20):
        asked = random_question(chance, inner)
        if asked:
            chained(world, source["resourceType"], link, inner["resourceType"], asked)


def chained(
    world: World, resource_type: str, link: SearchParameter, target: str, asked: tuple[SearchParameter, Asked]
) -> None:
    met = set(expected(world.of_type(target), asked))
    wanted = sorted(
        key_of(one)
        for one in world.of_type(resource_type)
        if reached(one, link) & met or within_meets(one, link, target, asked)
    )
    query = urlencode([(f"{link.code}:{target}.{asked[1].name}", asked[1].text), ("_count", "1000")])
    assert sorted(pages(world.store, resource_type, query)) == wanted, f"{resource_type}?{query}"


def reverse(
    world: World, resource_type: str, link: SearchParameter, source: str, asked: tuple[SearchParameter, Asked]
) -> None:
    met = expected(world.of_type(source), asked)
    pointed_at = {key for one in met for key in reached(world.resources[one], link)}
    wanted = sorted(key for key in pointed_at & world.resources.keys() if key.startswith(f"{resource_type}/"))
    query = urlencode([(f"_has:{source}:{link.code}:{asked[1].name}", asked[1].text), ("_count", "1000")])
    assert sorted(pages(world.store, resource_type, query)) == wanted, f"{resource_type}?{query}"

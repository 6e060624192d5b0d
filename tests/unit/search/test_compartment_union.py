"""For every compartment, type and parameter of R4, and of definitions of our own: a compartment is the union of plain searches.

A resource is made for each branch of each parameter's expression, pointing at a target of the compartment through it and
nothing else; one more for each type points through all of its parameters at once. All stand on the table itself.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from typing import Any

import pytest

from bulkhead import resources
from bulkhead.access.policy import EVERYBODY
from bulkhead.compartments import membership
from bulkhead.compartments.membership import ITSELF, Definition
from bulkhead.facts.expressions import types
from bulkhead.facts.index_facts import facts, only_patients
from bulkhead.fhir import definitions
from bulkhead.fhir.definitions import SearchParameter
from bulkhead.session import Session
from bulkhead.store import Store, Write
from tests.support.searches import keys, pages, search

# One worker makes the world of all.
pytestmark = pytest.mark.xdist_group("compartment union")

Resource = dict[str, Any]

BRANCH = re.compile(r"\(?(\w+(?:\.\w+)+)(?: as Reference\))?(?:\.where\(resolve\(\) is (\w+)\))?")
OWN = ("Organization", "Location", "Group")
"""Types that have no compartment in R4, and get one here: through every parameter that can lead to them."""
COMPARTMENTS = (*definitions.COMPARTMENTS, *OWN)


def pointing(resource_type: str, parameter: SearchParameter, target: str) -> Iterator[Resource]:
    """For each branch of the parameter the least that points at `target` through it."""
    for branch in parameter.expression.split(" | "):
        match = BRANCH.fullmatch(branch)
        if match and match[2] in (None, target.partition("/")[0]):
            content = nested(resource_type, match[1].split(".")[1:], target)
            if content is not None:
                yield {"resourceType": resource_type, **content}


def nested(type_name: str, path: list[str], target: str) -> Resource | None:
    """The elements of a path, with a reference at its end; None where there is no reference."""
    element = next(one for one in definitions.elements(type_name).elements if one.name == path[0])
    if len(path) > 1:
        code, content = element.types[0], nested(element.types[0], path[1:], target)
    else:
        code, content = "Reference", {"reference": target} if "Reference" in element.types else None
    if content is None:
        return None
    return {element.property_name(code): [content] if element.repeats else content}


def merged(parts: list[Resource]) -> Resource:
    """One resource with the elements of all; where two have the same, that of the first."""
    return {name: value for part in reversed(parts) for name, value in part.items()}


def leading_to(code: str) -> dict[str, list[str]]:
    """By resource type every parameter through which it can refer to resources of the type `code`."""
    found: dict[str, list[str]] = {}
    for resource_type in sorted(definitions.RESOURCE_TYPES):
        for parameter in definitions.search_parameters(resource_type).values():
            leads = parameter.type == "reference" and code in parameter.targets and not only_patients(parameter)
            if leads and "Reference" in types(parameter.expression, resource_type):
                found.setdefault(resource_type, []).append(parameter.code)
    return found


def own_definition(code: str) -> Resource:
    listed = [{"code": name, "param": codes} for name, codes in leading_to(code).items()]
    return {
        "resourceType": "CompartmentDefinition",
        "id": f"all-of-{code}",
        "url": f"http://bulkhead.example/{code}",
        "name": code,
        "status": "active",
        "code": code,
        "search": True,
        "resource": [*listed, {"code": code, "param": [ITSELF]}],
    }


@cache
def made(code: str, target: str) -> dict[tuple[str, str], list[Resource]]:
    """By type and parameter of a definition the resources that point at `target` through it; under "" those through all."""
    parameters = membership.built_in()[code].parameters if code not in OWN else leading_to(code)
    found: dict[tuple[str, str], list[Resource]] = {}
    for resource_type, codes in sorted(parameters.items()):
        through: list[Resource] = []
        for name in sorted(set(codes) - {ITSELF}):
            parts = list(pointing(resource_type, definitions.search_parameters(resource_type)[name], target))
            through += parts
            prefix = target.replace("/", "-").lower()
            found[resource_type, name] = [{**part, "id": f"{prefix}-{name}-{n}"} for n, part in enumerate(parts)]
        if len(through) > 1:
            found[resource_type, ""] = [{**merged(through), "id": f"{target.replace('/', '-').lower()}-all"}]
    return found


@pytest.fixture(scope="module")
def hospital(make_store: Any) -> Store:
    store: Store = make_store(bulk_writes="transact")
    for code in OWN:
        resource = own_definition(code)
        resources.update(Session.of(store, EVERYBODY), resource, f"CompartmentDefinition/{resource['id']}")
    wanted: dict[str, Resource] = {}
    for code in COMPARTMENTS:
        for number in "12":
            wanted[f"{code}/{number}"] = {"resourceType": code, "id": number}
            for group in made(code, f"{code}/{number}").values():
                wanted |= {f"{one['resourceType']}/{one['id']}": one for one in group}
    store.commit([Write(key, None, store.encode(one), None, facts(one)) for key, one in wanted.items()])
    return store


def test_every_parameter_of_r4_is_tried() -> None:
    tried = {(code, *pair) for code in definitions.COMPARTMENTS for pair in made(code, f"{code}/1") if pair[1]}
    assert len(tried) == 100 + (25 - 1) + (88 - 1) + 49 + (40 - 1), "all of R4's parameters but three {def}"
    assert all(group for code in COMPARTMENTS for group in made(code, f"{code}/1").values())


def plain(store: Store, query: str, resource_type: str) -> list[str]:
    return keys(search(store, resource_type, f"{query}&_count=1000"))


@pytest.mark.parametrize("code", COMPARTMENTS)
def test_a_compartment_is_the_union_of_plain_searches(hospital: Store, code: str) -> None:
    its: Definition = membership.in_force(hospital)[code]
    target = f"{code}/1"
    everything: list[str] = []
    for resource_type, parameters in sorted(its.parameters.items()):
        union: set[str] = set()
        for name in sorted(parameters):
            query = "_id=1" if name == ITSELF else f"{name}={target}"
            found = plain(hospital, query, resource_type)
            pointing = {f"{resource_type}/{one['id']}" for one in made(code, target).get((resource_type, name), ())}
            assert pointing <= set(found), (resource_type, name)
            union |= set(found)
        listed = pages(hospital, f"{target}/{resource_type}", "_count=4")
        assert listed == sorted(union), resource_type
        assert not any(f"{code.lower()}-2" in key for key in listed), resource_type
        everything += listed
    assert pages(hospital, f"{target}/*", "_count=40") == sorted(everything)

"""Search parameters that clients define: they filter and sort, and what does not compile is refused."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qsl

import pytest

from bulkhead.errors import BadRequest, NotSupported
from bulkhead.search import custom, run
from bulkhead.search.parse import parse
from tests.unit.search.memory import MemoryStore, represent
from tests.unit.search.samples import observation, patient
from tests.unit.search.test_run import BASE, keys


def definition(code: str, type: str, expression: str, **more: Any) -> dict[str, Any]:
    return {
        "resourceType": "SearchParameter",
        "id": code,
        "url": f"http://parameters/{code}",
        "name": code,
        "status": "active",
        "description": code,
        "code": code,
        "base": ["Patient"],
        "type": type,
        "expression": expression,
    } | more


def registry() -> MemoryStore:
    store = MemoryStore()
    eyes = "http://eyes"
    for number, colour in enumerate(["green", "blue", "brown"]):
        store.put(
            patient(
                str(number),
                extension=[{"url": eyes, "valueString": colour}],
                maritalStatus={"text": colour},
                generalPractitioner=[{"reference": f"Practitioner/{number}"}],
            )
        )
    store.put(definition("eyes", "string", f"Patient.extension('{eyes}').value"))
    store.put(definition("marital", "token", "Patient.maritalStatus"))
    store.put(definition("doctor", "reference", "Patient.generalPractitioner", target=["Practitioner"]))
    store.put(definition("retired", "string", "Patient.name.family", status="retired"))
    store.put(definition("odd", "string", "Patient.name.family.lower().nonsense()"))
    store.put(observation("1", subject="Patient/1"))
    return store


def search(store: MemoryStore, resource_type: str, query: str, strict: bool = True) -> dict[str, Any]:
    look = custom.stored_in(store)  # type: ignore[arg-type]
    parsed = parse(parse_qsl(query), resource_type, base=BASE, strict=strict, custom=look)
    return run.search(store, parsed, base=BASE, represent=represent)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("resource_type", "query", "expected"),
    [
        ("Patient", "eyes=bl", ["Patient/1"]),
        ("Patient", "eyes:exact=green,blue", ["Patient/0", "Patient/1"]),
        ("Patient", "marital:text=brown", ["Patient/2"]),
        ("Patient", "doctor=Practitioner/2", ["Patient/2"]),
        ("Patient", "eyes=b&_sort=eyes", ["Patient/1", "Patient/2"]),
        ("Patient", "_sort=-eyes", ["Patient/0", "Patient/2", "Patient/1"]),
        ("Observation", "patient.eyes=blue", ["Observation/1"]),
    ],
)
def test_what_a_defined_parameter_finds(resource_type: str, query: str, expected: list[str]) -> None:
    assert keys(search(registry(), resource_type, query)) == expected


@pytest.mark.parametrize("query", ["nothing=x", "retired=x"])
def test_what_is_not_in_use_is_unknown(query: str) -> None:
    with pytest.raises(BadRequest):
        search(registry(), "Patient", query)
    assert search(registry(), "Patient", query, strict=False)["total"] == 3
    with pytest.raises(BadRequest):
        search(registry(), "Observation", "eyes=blue")


def test_what_does_not_compile_is_refused() -> None:
    with pytest.raises(NotSupported):
        search(registry(), "Patient", "odd=x")


def test_nothing_is_looked_up_for_parameters_of_r4() -> None:
    store = registry()
    search(store, "Patient", "_id=1&name=x")
    assert store.reads == ["BatchGetItem"]

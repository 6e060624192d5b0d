"""Search parameters that clients define: they filter and sort, and what does not compile is refused."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any
from urllib.parse import parse_qsl, quote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bulkhead.errors import BadRequest, BulkheadError, NotSupported
from bulkhead.facts import expressions
from bulkhead.search import custom, run
from bulkhead.search.parse import MODIFIERS as MODIFIERS_OF
from bulkhead.search.parse import parse
from bulkhead.search.query import Custom
from bulkhead.store.version import ListedFence, Version, everything
from tests.support.memory_store import MemoryStore, represent
from tests.support.search_samples import observation, patient
from tests.support.searches import BASE, keys, unrecorded


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
                generalPractitioner=[
                    {"reference": f"Practitioner/{number}", "identifier": {"system": "s", "value": str(number)}}
                ],
                name=[{"use": "official", "family": "Real"}]
                if number == 0
                else [{"use": "nickname", "family": "Real"}],
                **({"language": "de"} if number == 2 else {}),
            )
        )
        name = ["Jekyll", "Who", "House"][number]
        store.put({"resourceType": "Practitioner", "id": str(number), "name": [{"family": name}]})
    store.put(patient("dark"))
    store.put(definition("eyes", "string", f"Patient.extension('{eyes}').value"))
    store.put(definition("marital", "token", "Patient.maritalStatus"))
    store.put(definition("doctor", "reference", "Patient.generalPractitioner", target=["Practitioner"]))
    store.put(definition("retired", "string", "Patient.name.family", status="retired"))
    store.put(definition("odd", "string", "Patient.name.family.lower().nonsense()"))
    store.put(definition("official", "string", "Patient.name.where(use='official' and family='Real').family"))
    store.put(definition("noted", "string", "Observation.note.text", base=["Observation"]))
    store.put(definition("language-of-all", "token", "Resource.language", base=["Resource"]))
    parts = [
        {"definition": "http://hl7.org/fhir/SearchParameter/clinical-code", "expression": "code"},
        {"definition": "http://hl7.org/fhir/SearchParameter/Observation-value-string", "expression": "note.text"},
    ]
    store.put(definition("code-noted", "composite", "Observation", base=["Observation"], component=parts))
    store.put(observation("1", subject="Patient/1", note=[{"text": "A note"}]))
    return store


def search(store: MemoryStore, resource_type: str, query: str, strict: bool = True) -> dict[str, Any]:
    look = custom.stored_in(store, everything)
    compartment, _, resource_type = resource_type.rpartition("/")
    parsed = parse(
        parse_qsl(query), resource_type, compartment=compartment or None, base=BASE, strict=strict, custom=look
    )
    return run.search(store, parsed, base=BASE, represent=represent, fence=everything, consulted=unrecorded)


@pytest.mark.parametrize(
    ("resource_type", "query", "expected"),
    [
        ("Patient", "eyes=bl", ["Patient/1"]),
        ("Patient", "eyes:exact=green,blue", ["Patient/0", "Patient/1"]),
        ("Patient", "marital:text=brown", ["Patient/2"]),
        ("Patient", "doctor=Practitioner/2", ["Patient/2"]),
        ("Patient", "eyes=b&_sort=eyes", ["Patient/1", "Patient/2"]),
        ("Patient", "_sort=-eyes", ["Patient/0", "Patient/2", "Patient/1", "Patient/dark"]),
        ("Observation", "patient.eyes=blue", ["Observation/1"]),
        ("Patient", "eyes:missing=true", ["Patient/dark"]),
        ("Patient", "marital:not=x&eyes=bl", ["Patient/1"]),
        ("Patient", "doctor:missing=true", ["Patient/dark"]),
        ("Patient", "doctor:Practitioner=1", ["Patient/1"]),
        ("Patient", "doctor:identifier=s|2", ["Patient/2"]),
        ("Patient", "official=Real", ["Patient/0"]),
        # Chains through them, forward and back, nested.
        ("Patient", "doctor.name=who", ["Patient/1"]),
        ("Patient", "doctor:Practitioner.name=who,house", ["Patient/1", "Patient/2"]),
        ("Observation", "patient.doctor.name=who", ["Observation/1"]),
        ("Practitioner", "_has:Patient:doctor:eyes=brown", ["Practitioner/2"]),
        ("Practitioner", "_has:Patient:doctor:_has:Observation:patient:code=1234-5", ["Practitioner/1"]),
        ("Practitioner", "_has:Patient:doctor:eyes=brown,green&name=house", ["Practitioner/2"]),
        ("Patient", "_has:Observation:patient:noted=a", ["Patient/1"]),
        # In compartments, and for every type.
        ("Patient/1/Observation", "noted=a", ["Observation/1"]),
        ("Patient/1/Observation", "noted=b", []),
        ("Practitioner/1/Patient", "eyes=blue", ["Patient/1"]),
        ("Observation", "code-noted=1234-5$a", ["Observation/1"]),
        ("Observation", "code-noted=1234-5$b", []),
        ("Patient", "language-of-all=de", ["Patient/2"]),
    ],
)
def test_what_a_defined_parameter_finds(resource_type: str, query: str, expected: list[str]) -> None:
    assert keys(search(registry(), resource_type, query)) == expected


@pytest.mark.parametrize("query", ["nothing=x", "retired=x"])
def test_what_is_not_in_use_is_unknown(query: str) -> None:
    with pytest.raises(BadRequest):
        search(registry(), "Patient", query)
    assert search(registry(), "Patient", query, strict=False)["total"] == 4
    with pytest.raises(BadRequest):
        search(registry(), "Observation", "eyes=blue")


def test_a_definition_works_at_once_and_ends_at_once() -> None:
    store = registry()
    changes: tuple[Callable[[], object], ...] = (
        lambda: store.put(definition("eyes", "string", "x", status="retired")),
        lambda: store.delete("SearchParameter/eyes"),
    )
    for change in changes:
        assert keys(search(store, "Patient", "eyes=bl")) == ["Patient/1"]
        assert keys(search(store, "Observation", "patient.eyes=blue")) == ["Observation/1"]
        change()
        for resource_type, query in (
            ("Patient", "eyes=bl"),
            ("Patient", "_sort=eyes"),
            ("Observation", "patient.eyes=blue"),
        ):
            with pytest.raises(BadRequest):
                search(store, resource_type, query)
        store.put(definition("eyes", "string", "Patient.extension('http://eyes').value"))


def test_includes_by_a_defined_parameter() -> None:
    found = search(registry(), "Patient", "eyes=bl&_include=Patient:doctor")
    assert keys(found, "include") == ["Practitioner/1"]
    with pytest.raises(NotSupported):
        search(registry(), "Practitioner", "_revinclude=Patient:doctor")


@pytest.mark.parametrize(
    "expression",
    [
        "Patient.name.family.lower().nonsense()",
        "Patient.birthDate.year",
        "Patient.nothing",
        "Patient.name.given.first",
        "%context.name",
        "iif(true, 1, 2)",
        "(" * 5000,
        "",
    ],
)
def test_what_does_not_compile_is_refused(expression: str) -> None:
    store = registry()
    store.put(definition("odd", "string", expression))
    with pytest.raises(NotSupported):
        search(store, "Patient", "odd=x")


def test_a_composite_of_what_r4_does_not_define_is_refused() -> None:
    store = registry()
    part = {"definition": "http://parameters/eyes", "expression": "extension"}
    for components in ([part, part], []):
        store.put(definition("both", "composite", "Patient", component=components))
        with pytest.raises(NotSupported):
            search(store, "Patient", "both=a$b")


def test_nothing_is_looked_up_for_parameters_of_r4() -> None:
    store = registry()
    search(store, "Patient", "_id=1&name=x")
    assert store.reads == ["BatchGetItem"]


def test_what_one_tenant_defines_is_nothing_to_the_others() -> None:
    store = registry()
    own = definition("mark", "token", "Patient.maritalStatus")
    store.put(own, accounts=("Organization/a",))
    store.put(definition("broken", "string", "Patient.name.nonsense()"), accounts=("Organization/b",))

    def look(account: str) -> Custom:
        def fence(candidate: Version) -> bool:
            return account in candidate.head.accounts

        return custom.stored_in(store, ListedFence(fence, lambda resource_type: None))

    assert look("Organization/a")("Patient", "mark")
    assert look("Organization/b")("Patient", "mark") is None
    assert look("Organization/a")("Patient", "broken") is None
    with pytest.raises(NotSupported):
        look("Organization/b")("Patient", "broken")
    for account in ("Organization/a", "Organization/c"):
        assert look(account)("Patient", "eyes"), "what carries no account is for all"


# Twenty ways at each of eight depths, were they not counted.
NESTED = "url"
for _ in range(8):
    NESTED = f"({' | '.join(['extension'] * 20)}).where({NESTED}.exists())"
NESTED = f"Patient.name.where({NESTED}.exists()).family"


@pytest.mark.parametrize(
    ("expression", "said"),
    [
        ("Patient.name.family" + " " * 10_000, "characters"),
        ("Patient.name[" + "1" * 5000 + "].family", "digits"),
        ("(" * 21 + "Patient.name" + ")" * 21, "parentheses"),
        ("Patient" + ".extension" * 51, "steps"),
        ("Patient.name.where(" + " and ".join(["use='official'"] * 60) + ")", "steps"),
        (" | ".join(["Patient.name.family"] * 300), "words"),
        ("(" + " | ".join(["Patient.extension.value"] * 50) + ")", "paths"),
        (NESTED, "places"),
    ],
    ids=["long", "digits", "deep", "path", "and", "words", "routes", "conditions"],
)
def test_an_expression_that_is_too_much_is_refused_when_it_is_written(expression: str, said: str) -> None:
    (issue,) = custom.too_costly(definition("much", "string", expression))
    assert said in issue.diagnostics
    assert (issue.expression, issue.severity) == ("SearchParameter.expression", "error")
    component = {"definition": "http://hl7.org/fhir/SearchParameter/clinical-code", "expression": expression}
    (issue,) = custom.too_costly(definition("much", "composite", "Patient", component=[component]))
    assert issue.expression == "SearchParameter.component[0].expression"
    # And one that was stored before is refused to whoever searches by it.
    store = registry()
    store.put(definition("much", "string", expression))
    with pytest.raises(NotSupported):
        search(store, "Patient", "much=x")


@pytest.mark.parametrize("steps", [4, 16])
def test_a_chain_of_choices_compiles_to_no_product(steps: int) -> None:
    """Each `extension.value` has 50 types, and each of these extensions again: four had 6,250,000 routes once."""
    expression = "Patient" + ".extension.value" * steps
    assert custom.too_costly(definition("chain", "string", expression)) == []
    assert len(expressions.types(expression, "Patient")) == 50
    inner: dict[str, Any] = {"url": "u", "valueCode": "deep"}
    for kind in (["valueQuantity", "valueHumanName", "valueAddress"] * steps)[: steps - 1]:
        inner = {"url": "u", kind: {"extension": [inner]}}
    value = expressions.compiled(expression, "Patient")
    assert value({"extension": [inner]}, {}) == [("code", "deep")]


def test_what_is_kept_compiled_is_bounded() -> None:
    for kept in (expressions.compiled, expressions.types, expressions.begins_with):
        assert kept.cache_info().maxsize is not None


def test_an_expression_that_is_not_evaluated_here_may_be_stored() -> None:
    assert custom.too_costly(definition("odd", "string", "Patient.name.family.lower()")) == []
    assert custom.too_costly(definition("none", "special", "") | {"base": ["Resource"]}) == []


WHOLE = {
    "active": True,
    "birthDate": "2000-01",
    "multipleBirthInteger": 2,
    "name": [{"family": "Real", "given": ["A", "B"], "period": {"start": "2020"}}],
    "telecom": [{"system": "phone", "value": "1", "rank": 1}],
    "identifier": [{"system": "http://s", "value": "v"}],
    "maritalStatus": {"coding": [{"system": "http://s", "code": "c"}], "text": "t"},
    "contact": [{"name": {"text": "x"}}],
    "photo": [{"size": 3, "url": "http://p"}],
    "generalPractitioner": [{"reference": "Practitioner/0"}],
    "extension": [
        {"url": "http://e", "valueQuantity": {"value": 1.5, "unit": "kg"}},
        {"url": "http://e", "valueRange": {"low": {"value": 1}}},
        {"url": "http://e", "valueTiming": {"event": ["2020-01-01"]}},
        {"url": "http://e", "extension": [{"url": "http://n", "valueUri": "http://a/b"}]},
    ],
}
EXPRESSIONS = [f"Patient.{name}" for name in WHOLE if name != "multipleBirthInteger"] + [
    "Patient",
    "Patient.multipleBirth",
    "Patient.extension.value",
    "Patient.extension.extension.value",
    "Patient.name.given[1]",
    "Patient.name.exists()",
    "Patient.photo.size",
    "Patient.name | Patient.telecom.rank | Patient.active",
    "Patient.generalPractitioner.resolve()",
]
MODIFIERS = ["", *(f":{name}" for name in sorted({one for names in MODIFIERS_OF.values() for one in names}))]
VALUES = [
    "x",
    "1",
    "ge2000",
    "http://a/b/c",
    "http://s|c",
    "|",
    "true",
    "1.5||kg",
    "Practitioner/0",
    "-",
    "A,B",
    "ne1e400",
]


@settings(max_examples=300, deadline=None)
@given(
    st.sampled_from(["token", "string", "date", "number", "quantity", "uri", "reference"]),
    st.sampled_from(EXPRESSIONS),
    st.sampled_from([*MODIFIERS, ":Practitioner", ":nonsense", ".name"]),
    st.sampled_from(VALUES),
    st.sampled_from(["", "&_sort=custom", "&_include=Patient:custom"]),
)
def test_no_defined_parameter_breaks_the_server(
    kind: str, expression: str, modifier: str, value: str, more: str
) -> None:
    """Whatever the type is that a client says, and whatever its expression leads to: an answer, or a 4xx."""
    store = MemoryStore()
    store.put(patient("whole") | WHOLE)
    store.put(definition("custom", kind, expression))
    with suppress(BulkheadError):
        search(store, "Patient", f"custom{modifier}={quote(value)}{more}")


@pytest.mark.parametrize("modifier", [":above", ":below", ""])
def test_a_uri_over_what_is_no_text_finds_nothing(modifier: str) -> None:
    store = MemoryStore()
    store.put(patient("whole") | WHOLE)
    for expression in ("Patient.active", "Patient.name", "Patient.photo.size"):
        store.put(definition("custom", "uri", expression))
        assert keys(search(store, "Patient", f"custom{modifier}=http://a/b")) == []

"""The script that compiles HL7's packages: its rules on small inputs, and that it gives again what is committed."""

from __future__ import annotations

import filecmp
import os
from pathlib import Path

import pytest

from infra import compile_definitions as script

PACKAGES = Path(os.environ.get("BULKHEAD_FHIR_PACKAGES", script.CACHE / "node_modules"))


@pytest.mark.parametrize(
    ("expression", "resource_type", "kept"),
    [
        ("Patient.name | Practitioner.name", "Patient", "Patient.name"),
        ("(A.value as Quantity) | (B.value as Quantity)", "B", "(B.value as Quantity)"),
        ("A.x.where(y='|') | B.x", "A", "A.x.where(y='|')"),
        ("name | alias", "Organization", "name | alias"),
        ("Resource.id", "Patient", "Resource.id"),
        ("Patient.deceased.exists() and Patient.deceased != false", "Patient", None),
        ("Observation", "Observation", "Observation"),
        ("PatientList.name | Patient.name", "Patient", "Patient.name"),
        ("", "Patient", ""),
    ],
)
def test_branches_that_apply(expression: str, resource_type: str, kept: str | None) -> None:
    assert script.applicable(expression, resource_type) == (expression if kept is None else kept)


def test_experimental_examples_and_those_without_a_base_are_no_definitions() -> None:
    assert script.is_definition({"base": ["Patient"]})
    assert not script.is_definition({"base": ["Patient"], "experimental": True})
    assert not script.is_definition({"experimental": False})


def test_codes_of_nested_expansions_without_the_abstract_ones() -> None:
    nested = [{"system": "s", "code": "a", "abstract": True, "contains": [{"system": "s", "code": "b"}]}]
    assert script.codes_by_system(nested) == {"s": ["b"]}


def test_any_target_leaves_no_targets() -> None:
    resource = {"code": "Reference", "targetProfile": [script.CANONICAL + "StructureDefinition/Resource"]}
    patient = {"code": "Reference", "targetProfile": [script.CANONICAL + "StructureDefinition/Patient"]}
    assert script.element_targets({"type": [resource]}) == {}
    assert script.element_targets({"type": [patient]}) == {"Reference": ["Patient"]}


def test_compiling_again_gives_the_committed_bytes(tmp_path: Path) -> None:
    if not (PACKAGES / script.EXAMPLES).exists():
        pytest.skip(f"HL7's packages are not here: {PACKAGES} (`make definitions` fetches them)")
    script.compile_tables(PACKAGES, tmp_path)
    again = sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*.json"))
    committed = sorted(str(path.relative_to(script.OUTPUT)) for path in script.OUTPUT.rglob("*.json"))
    assert again == committed
    _, different, unreadable = filecmp.cmpfiles(tmp_path, script.OUTPUT, again, shallow=False)
    assert (different, unreadable) == ([], [])

"""Official examples and Synthea's bundles: what is valid is accepted, and nothing is lost in reading and writing."""

from __future__ import annotations

import gzip
import zipfile

import pytest

from bulkhead.fhir import definitions, json, references, validation
from tests.support.shared_data import shared

EXAMPLES = "hl7-r4-examples-clinical.zip"
FOLDERS = ("blaze-v2.7.0-2021", "datapipes-hiv-2021", "preston-2022-put", "smart-v2.4.0-2019")

KNOWN_INVALID = {
    # An empty div (txt-2).
    "ActivityDefinition-blood-tubes-supply.json": ("value", "ActivityDefinition.text.div"),
    "ActivityDefinition-heart-valve-replacement.json": ("value", "ActivityDefinition.text.div"),
    "DeviceMetric-example.json": ("structure", "DeviceMetric.parent.reference"),  # parent may be a Device only
    "DeviceUseStatement-example.json": ("structure", "DeviceUseStatement.reasonReference[0].reference"),  # a Procedure
    "EventDefinition-example.json": ("value", "EventDefinition.text.div"),
    "MedicationRequest-medrx0301.json": (
        "structure",
        "MedicationRequest.dispenseRequest.performer.reference",
    ),  # a person
    "Observation-clinical-gender.json": ("structure", "Observation.performer[0].reference"),  # an Encounter performs
    "Questionnaire-qs1.json": ("required", "Questionnaire.item[0].item[0].linkId"),  # 32 items without linkId
    "Questionnaire-zika-virus-exposure-assessment.json": ("value", "Questionnaire.text.div"),
}


def test_official_examples() -> None:
    with zipfile.ZipFile(shared(EXAMPLES)) as archive:
        names = [name for name in archive.namelist() if name.endswith(".json")]
        assert len(names) == 710
        invalid = {}
        for name in names:
            document = json.loads(archive.read(name))
            written = json.loads(json.dumps(document))
            # repr tells 1.10 from 1.1, which are equal Decimals.
            assert repr(written) == repr(document), name
            found = validation.faults(document)
            if found:
                invalid[name] = (found[0].code, found[0].expression)
    assert invalid == KNOWN_INVALID


@pytest.mark.parametrize("folder", FOLDERS)
def test_synthea_bundles_are_valid_entries_and_all(folder: str) -> None:
    for path in sorted(shared(f"synthea/{folder}").glob("*.json.gz")):
        bundle = json.loads(gzip.decompress(path.read_bytes()))
        assert validation.faults(bundle, "Bundle") == [], path.name
        assert len(bundle["entry"]) > 5


def test_walk_finds_what_a_blind_search_for_reference_finds() -> None:
    with zipfile.ZipFile(shared(EXAMPLES)) as archive:
        for name in (name for name in archive.namelist() if name.endswith(".json") and name not in KNOWN_INVALID):
            document = json.loads(archive.read(name))
            walked = [id(reference) for _, reference in references.walk(document) if "reference" in reference]
            assert sorted(walked) == sorted(blind(document)), name


def blind(value: object) -> list[int]:
    """Objects with a text `reference`; in R4 that is a Reference wherever it is."""
    if isinstance(value, list):
        return [found for item in value for found in blind(item)]
    if not isinstance(value, dict):
        return []
    here = [id(value)] if isinstance(value.get("reference"), str) and value.keys() <= REFERENCE else []
    return here + [found for item in value.values() for found in blind(item)]


REFERENCE = {*definitions.elements("Reference").properties, "_reference", "_display"}

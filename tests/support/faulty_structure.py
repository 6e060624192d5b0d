"""Documents with faults of structure: elements, cardinality, contained resources, resources as such."""

from __future__ import annotations

from tests.support.probes import ABSENT, EXTENSION, Probe, condition, encounter, observation, patient

WRONG_ELEMENTS = [
    Probe("unknown element", patient(nmae=[]), [("structure", "Patient.nmae")]),
    Probe(
        "unknown element in a datatype", patient(name=[{"surname": "x"}]), [("structure", "Patient.name[0].surname")]
    ),
    Probe("element of another type", patient(code={"text": "x"}), [("structure", "Patient.code")]),
    Probe("element of R5", encounter(actualPeriod={"start": "2020"}), [("structure", "Encounter.actualPeriod")]),
    Probe("choice without a type", observation(value="x"), [("structure", "Observation.value")]),
    Probe(
        "choice of a type that is not offered", patient(deceasedString="x"), [("structure", "Patient.deceasedString")]
    ),
    Probe(
        "resourceType in a datatype",
        patient(name=[{"resourceType": "HumanName", "text": "x"}]),
        [("structure", "Patient.name[0].resourceType")],
    ),
    Probe("companion of what is no primitive", patient(_name=[ABSENT]), [("structure", "Patient._name")]),
    Probe(
        "companion of an XML attribute",
        patient(name=[{"text": "x", "id": "a", "_id": ABSENT}]),
        [("structure", "Patient.name[0]._id")],
    ),
    Probe("a name that is no element name", patient(**{"Erika Mustermann": 1}), [("structure", "Patient")]),
    Probe("fhir_comments of DSTU2", patient(fhir_comments=["x"]), [("structure", "Patient.fhir_comments")]),
    Probe(
        "two types of one choice",
        patient(deceasedBoolean=True, deceasedDateTime="2020"),
        [("structure", "Patient.deceased")],
    ),
    Probe("two values", observation(valueString="x", valueInteger=1), [("structure", "Observation.value")]),
    Probe(
        "two values, one of them an extension",
        observation(valueString="x", _valueInteger=ABSENT),
        [("structure", "Observation.value")],
    ),
    Probe(
        "two values with companions",
        observation(valueString="x", _valueString=ABSENT, valueInteger=1, _valueInteger=ABSENT),
        [("structure", "Observation.value")],
    ),
    Probe(
        "R5 medication with a reference",
        {
            "resourceType": "MedicationRequest",
            "status": "active",
            "intent": "order",
            "subject": {"reference": "Patient/1"},
            "medication": {"reference": {"reference": "Medication/1"}},
        },
        [("structure", "MedicationRequest.medication")],
    ),
    Probe(
        "R5 concept elsewhere",
        {
            "resourceType": "Procedure",
            "status": "completed",
            "subject": {"reference": "Patient/1"},
            "code": {"concept": {"text": "x"}},
        },
        [("structure", "Procedure.code.concept")],
    ),
]

WRONG_CARDINALITY = [
    Probe(
        "required code missing", {"resourceType": "Observation", "status": "final"}, [("required", "Observation.code")]
    ),
    Probe(
        "everything required missing",
        {"resourceType": "Observation"},
        [("required", "Observation.status"), ("required", "Observation.code")],
    ),
    Probe(
        "required choice missing",
        {
            "resourceType": "MedicationRequest",
            "status": "active",
            "intent": "order",
            "subject": {"reference": "Patient/1"},
        },
        [("required", "MedicationRequest.medication")],
    ),
    Probe(
        "required in a backbone element", patient(link=[{"type": "seealso"}]), [("required", "Patient.link[0].other")]
    ),
    Probe("object for an array", patient(name={"family": "x"}), [("structure", "Patient.name")]),
    Probe("string for an array", patient(name=[{"given": "x"}]), [("structure", "Patient.name[0].given")]),
    Probe("array for one value", patient(gender=["male"]), [("structure", "Patient.gender")]),
    Probe(
        "array for one object", condition(subject=[{"reference": "Patient/1"}]), [("structure", "Condition.subject")]
    ),
    Probe("empty array", patient(name=[]), [("structure", "Patient.name")]),
    Probe("empty object", patient(name=[{}]), [("invariant", "Patient.name[0]")]),
    Probe("only an id", patient(maritalStatus={"id": "a"}), [("invariant", "Patient.maritalStatus")]),
    Probe("null", patient(gender=None), [("structure", "Patient.gender")]),
    Probe("null for an object", patient(maritalStatus=None), [("structure", "Patient.maritalStatus")]),
    Probe("null for an array", patient(name=None), [("structure", "Patient.name")]),
    Probe("null in an array", patient(name=[{"given": ["a", None]}]), [("structure", "Patient.name[0].given[1]")]),
    Probe("null in an array of objects", patient(name=[None]), [("structure", "Patient.name[0]")]),
    Probe(
        "null beside null",
        patient(name=[{"given": [None], "_given": [None]}]),
        [("structure", "Patient.name[0].given[0]")],
    ),
    Probe(
        "extensions of another length",
        patient(name=[{"given": ["a"], "_given": [None, ABSENT]}]),
        [("structure", "Patient.name[0].given")],
    ),
    Probe(
        "extensions of an array as an object",
        patient(name=[{"given": ["a"], "_given": ABSENT}]),
        [("structure", "Patient.name[0].given")],
    ),
    Probe(
        "extensions of one value as an array",
        patient(birthDate="2020", _birthDate=[ABSENT]),
        [("structure", "Patient.birthDate")],
    ),
    Probe("companion without content", patient(birthDate="2020", _birthDate={}), [("invariant", "Patient.birthDate")]),
    Probe("companion that is null", patient(birthDate="2020", _birthDate=None), [("structure", "Patient.birthDate")]),
    Probe("only an id and no value", patient(_birthDate={"id": "a"}), [("invariant", "Patient.birthDate")]),
    Probe(
        "value inside the companion", patient(_birthDate={"value": "2020"}), [("structure", "Patient.birthDate.value")]
    ),
    Probe("extension without a value", patient(extension=[{"url": "u"}]), [("invariant", "Patient.extension[0]")]),
    Probe(
        "extension with a value and extensions",
        patient(extension=[EXTENSION | {"extension": [EXTENSION]}]),
        [("invariant", "Patient.extension[0]")],
    ),
    Probe(
        "extension without a url", patient(extension=[{"valueString": "x"}]), [("required", "Patient.extension[0].url")]
    ),
]

WRONG_CONTAINED = [
    Probe(
        "without an id",
        patient(contained=[{"resourceType": "Basic", "code": {"text": "x"}}]),
        [("required", "Patient.contained[0].id")],
    ),
    Probe("without a type", patient(contained=[{"id": "a"}]), [("required", "Patient.contained[0].resourceType")]),
    Probe(
        "nested",
        patient(contained=[{"resourceType": "Patient", "id": "a", "contained": [patient(id="b")]}]),
        [("invariant", "Patient.contained[0].contained")],
    ),
    Probe(
        "with a version",
        patient(contained=[patient(id="a", meta={"versionId": "1"})]),
        [("invariant", "Patient.contained[0].meta.versionId")],
    ),
    Probe(
        "with a security label",
        patient(contained=[patient(id="a", meta={"security": [{"code": "R"}]})]),
        [("invariant", "Patient.contained[0].meta.security")],
    ),
    Probe(
        "the same id twice",
        patient(contained=[patient(id="a"), patient(id="a")]),
        [("invariant", "Patient.contained[1].id")],
    ),
    Probe(
        "reference to none",
        patient(managingOrganization={"reference": "#o"}),
        [("invariant", "Patient.managingOrganization.reference")],
    ),
    Probe(
        "faults inside",
        patient(contained=[patient(id="a", gender="x")]),
        [("code-invalid", "Patient.contained[0].gender")],
    ),
    Probe("not an array", patient(contained=patient(id="a")), [("structure", "Patient.contained")]),
    Probe(
        "in a type that contains none",
        {"resourceType": "Bundle", "type": "batch", "contained": []},
        [("structure", "Bundle.contained")],
    ),
    Probe(
        "an entry does not see the contained of another",
        {
            "resourceType": "Bundle",
            "type": "collection",
            "entry": [
                {
                    "resource": patient(
                        contained=[{"resourceType": "Organization", "id": "o", "name": "x"}],
                        managingOrganization={"reference": "#o"},
                    )
                },
                {"resource": patient(managingOrganization={"reference": "#o"})},
            ],
        },
        [("invariant", "Bundle.entry[1].resource.managingOrganization.reference")],
    ),
]

WRONG_RESOURCES = [
    Probe("no type", {"id": "a"}, [("required", "Resource.resourceType")]),
    Probe("unknown type", {"resourceType": "Foo"}, [("value", "Resource.resourceType")]),
    Probe("type that R4 does not have", {"resourceType": "NutritionIntake"}, [("value", "Resource.resourceType")]),
    Probe("abstract type", {"resourceType": "DomainResource"}, [("value", "Resource.resourceType")]),
    Probe("datatype", {"resourceType": "HumanName", "text": "x"}, [("value", "Resource.resourceType")]),
    Probe("type that is no string", {"resourceType": ["Patient"]}, [("value", "Resource.resourceType")]),
    Probe("array", [patient()], [("structure", "Resource")]),
    Probe("null", None, [("structure", "Resource")]),
    Probe(
        "unknown type in a bundle",
        {"resourceType": "Bundle", "type": "batch", "entry": [{"resource": {"resourceType": "Foo"}}]},
        [("value", "Bundle.entry[0].resource.resourceType")],
    ),
    Probe("bundle without a type", {"resourceType": "Bundle"}, [("required", "Bundle.type")]),
    Probe(
        "fault in an entry",
        {
            "resourceType": "Bundle",
            "type": "batch",
            "entry": [{"resource": patient(gender="x"), "request": {"method": "PUT"}}],
        },
        [("code-invalid", "Bundle.entry[0].resource.gender"), ("required", "Bundle.entry[0].request.url")],
    ),
    Probe(
        "parameter without a name",
        {"resourceType": "Parameters", "parameter": [{"valueString": "x"}]},
        [("required", "Parameters.parameter[0].name")],
    ),
]

FAULTY_STRUCTURE = [*WRONG_ELEMENTS, *WRONG_CARDINALITY, *WRONG_CONTAINED, *WRONG_RESOURCES]

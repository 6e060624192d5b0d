"""Documents with faults of value: primitives, codes, references, narratives."""

from __future__ import annotations

from decimal import Decimal

from tests.support.probes import CLINICAL, DIV, Probe, condition, observation, observation_of, patient, text

WRONG_VALUES = [
    Probe("code outside a required binding", patient(gender="man"), [("code-invalid", "Patient.gender")]),
    Probe("code in the wrong case", patient(gender="Male"), [("code-invalid", "Patient.gender")]),
    Probe("bound code in a datatype", patient(name=[{"use": "work"}]), [("code-invalid", "Patient.name[0].use")]),
    Probe(
        "bound concept",
        condition(clinicalStatus={"coding": [{"system": CLINICAL, "code": "well"}]}),
        [("code-invalid", "Condition.clinicalStatus")],
    ),
    Probe(
        "bound concept of another system",
        condition(clinicalStatus={"coding": [{"system": "http://x", "code": "active"}]}),
        [("code-invalid", "Condition.clinicalStatus")],
    ),
    Probe(
        "bound concept as text only",
        condition(clinicalStatus={"text": "active"}),
        [("code-invalid", "Condition.clinicalStatus")],
    ),
    Probe("boolean in quotes", patient(active="true"), [("structure", "Patient.active")]),
    Probe("number as boolean", patient(active=1), [("structure", "Patient.active")]),
    Probe("number in quotes", observation_of("70"), [("structure", "Observation.value.value")]),
    Probe("boolean as number", observation_of(True), [("structure", "Observation.value.value")]),
    Probe("number as string", patient(birthDate=1970), [("structure", "Patient.birthDate")]),
    Probe("object as string", patient(birthDate={"value": "1970"}), [("structure", "Patient.birthDate")]),
    Probe("array as object", patient(maritalStatus=[]), [("structure", "Patient.maritalStatus")]),
    Probe("string as object", patient(name=["Erika"]), [("structure", "Patient.name[0]")]),
    Probe("decimal too large", observation_of(Decimal("1E+999999999")), [("value", "Observation.value.value")]),
    Probe("fraction as integer", observation(valueInteger=Decimal("1.0")), [("value", "Observation.value")]),
    Probe("integer too large", observation(valueInteger=2**31), [("value", "Observation.value")]),
    Probe("zero as positiveInt", patient(telecom=[{"value": "1", "rank": 0}]), [("value", "Patient.telecom[0].rank")]),
    Probe(
        "negative unsignedInt",
        {"resourceType": "Bundle", "type": "searchset", "total": -1},
        [("value", "Bundle.total")],
    ),
    Probe("date of no calendar", patient(birthDate="2023-02-30"), [("value", "Patient.birthDate")]),
    Probe("29 February of a common year", patient(birthDate="1900-02-29"), [("value", "Patient.birthDate")]),
    Probe("31 April in a dateTime", patient(deceasedDateTime="2020-04-31T10:00:00Z"), [("value", "Patient.deceased")]),
    Probe("month 13", patient(birthDate="2020-13-01"), [("value", "Patient.birthDate")]),
    Probe("date without leading zeros", patient(birthDate="2020-1-1"), [("value", "Patient.birthDate")]),
    Probe("date the other way round", patient(birthDate="31.12.1970"), [("value", "Patient.birthDate")]),
    Probe("time in a date", patient(birthDate="1970-01-01T00:00:00Z"), [("value", "Patient.birthDate")]),
    Probe("year zero", patient(birthDate="0000"), [("value", "Patient.birthDate")]),
    Probe("digits of another script", patient(birthDate="\u0661\u0669\u0667\u0660"), [("value", "Patient.birthDate")]),
    Probe("dateTime without a zone", patient(deceasedDateTime="2020-01-01T10:00:00"), [("value", "Patient.deceased")]),
    Probe("dateTime without seconds", patient(deceasedDateTime="2020-01-01T10:00Z"), [("value", "Patient.deceased")]),
    Probe("hour 24", patient(deceasedDateTime="2020-01-01T24:00:00Z"), [("value", "Patient.deceased")]),
    Probe("partial instant", observation(issued="2020-01-01"), [("value", "Observation.issued")]),
    Probe("time without seconds", observation(valueTime="10:00"), [("value", "Observation.value")]),
    Probe("empty string", patient(name=[{"family": ""}]), [("value", "Patient.name[0].family")]),
    Probe("whitespace only", patient(name=[{"family": " \t\n "}]), [("value", "Patient.name[0].family")]),
    Probe("control character", patient(name=[{"family": "a\u0007"}]), [("value", "Patient.name[0].family")]),
    Probe("control character in a uri", patient(implicitRules="urn:\u0007"), [("value", "Patient.implicitRules")]),
    Probe(
        "control character in a code",
        {"resourceType": "Binary", "contentType": "text/plain; x=\u0007"},
        [("value", "Binary.contentType")],
    ),
    Probe("string over a megabyte", patient(name=[{"text": "x" * (2**20 + 1)}]), [("value", "Patient.name[0].text")]),
    Probe("empty code", observation(status=""), [("code-invalid", "Observation.status")]),
    Probe(
        "code with outer space",
        observation(code={"coding": [{"code": " a"}]}),
        [("value", "Observation.code.coding[0].code")],
    ),
    Probe(
        "code with two spaces",
        observation(code={"coding": [{"code": "a  b"}]}),
        [("value", "Observation.code.coding[0].code")],
    ),
    Probe(
        "uri with a space",
        observation(code={"coding": [{"system": "http://a b"}]}),
        [("value", "Observation.code.coding[0].system")],
    ),
    Probe(
        "empty uri", observation(code={"coding": [{"system": ""}]}), [("value", "Observation.code.coding[0].system")]
    ),
    Probe(
        "base64 with a wrong character",
        {"resourceType": "Binary", "contentType": "a", "data": "a*b="},
        [("value", "Binary.data")],
    ),
    Probe(
        "base64 without padding",
        {"resourceType": "Binary", "contentType": "a", "data": "aGVsbG8"},
        [("value", "Binary.data")],
    ),
    Probe("id of 65 characters", patient(id="a" * 65), [("value", "Patient.id")]),
    Probe("id with an underscore", patient(id="a_b"), [("value", "Patient.id")]),
    Probe("id with a line break", patient(id="a\n"), [("value", "Patient.id")]),
    Probe("number as id", patient(id=1), [("structure", "Patient.id")]),
    Probe("wrong version id", patient(meta={"versionId": "a/b"}), [("value", "Patient.meta.versionId")]),
    Probe(
        "accounts that are no array",
        patient(meta={"accounts": {"reference": "Organization/1"}}),
        [("structure", "Patient.meta.accounts")],
    ),
]

WRONG_REFERENCES = [
    Probe(
        "target of another type",
        condition(subject={"reference": "Practitioner/1"}),
        [("structure", "Condition.subject.reference")],
    ),
    Probe(
        "target of another type by criteria",
        condition(subject={"reference": "Practitioner?name=x"}),
        [("structure", "Condition.subject.reference")],
    ),
    Probe(
        "declared type that does not fit",
        condition(subject={"type": "Practitioner", "display": "x"}),
        [("structure", "Condition.subject.type")],
    ),
    Probe(
        "declared type as a url",
        condition(subject={"type": "http://hl7.org/fhir/StructureDefinition/Device"}),
        [("structure", "Condition.subject.type")],
    ),
    Probe(
        "declared type beside another",
        condition(subject={"reference": "Patient/1", "type": "Group"}),
        [("invariant", "Condition.subject.type")],
    ),
    Probe("unknown type", condition(subject={"reference": "Foo/1"}), [("value", "Condition.subject.reference")]),
    Probe(
        "unknown type where any may be",
        {"resourceType": "Basic", "code": {"text": "x"}, "subject": {"reference": "Foo/1"}},
        [("value", "Basic.subject.reference")],
    ),
    Probe("abstract type", condition(subject={"reference": "Resource/1"}), [("value", "Condition.subject.reference")]),
    Probe("only a number", condition(subject={"reference": "1"}), [("value", "Condition.subject.reference")]),
    Probe(
        "type without an id", condition(subject={"reference": "Patient/"}), [("value", "Condition.subject.reference")]
    ),
    Probe("string for a reference", condition(subject="Patient/1"), [("structure", "Condition.subject")]),
    Probe("empty reference", condition(subject={}), [("invariant", "Condition.subject")]),
    Probe("number in a reference", condition(subject={"reference": 1}), [("structure", "Condition.subject.reference")]),
    Probe(
        "in an array",
        observation(performer=[{"reference": "Patient/1"}, {"reference": "Device/1"}]),
        [("structure", "Observation.performer[1].reference")],
    ),
]

WRONG_NARRATIVES = [
    Probe("no div", text("hello"), [("value", "Patient.text.div")]),
    Probe("another root", text('<p xmlns="http://www.w3.org/1999/xhtml">x</p>'), [("value", "Patient.text.div")]),
    Probe("no namespace", text("<div>x</div>"), [("value", "Patient.text.div")]),
    Probe("not well-formed", text(DIV + "<p>x</div>"), [("value", "Patient.text.div")]),
    Probe("two roots", text(DIV + "x</div>" + DIV + "y</div>"), [("value", "Patient.text.div")]),
    Probe("HTML entity", text(DIV + "a&nbsp;b</div>"), [("value", "Patient.text.div")]),
    Probe(
        "document type", text('<!DOCTYPE div [<!ENTITY a "b">]>' + DIV + "&a;</div>"), [("value", "Patient.text.div")]
    ),
    Probe("too deep", text(DIV + "<div>" * 100_000 + "</div>" * 100_000 + "</div>"), [("value", "Patient.text.div")]),
    Probe("script", text(DIV + "<script>x</script></div>"), [("value", "Patient.text.div")]),
    Probe("event handler", text(DIV + '<p onclick="x">y</p></div>'), [("value", "Patient.text.div")]),
    Probe("script in a link", text(DIV + '<a href=" Java&#10;Script:x">y</a></div>'), [("value", "Patient.text.div")]),
    Probe("empty", text(""), [("value", "Patient.text.div")]),
    Probe("not a string", text(1), [("structure", "Patient.text.div")]),  # type: ignore[arg-type] # what is told
    Probe("no div at all", patient(text={"status": "empty"}), [("required", "Patient.text.div")]),
]

FAULTY_VALUES = [*WRONG_VALUES, *WRONG_REFERENCES, *WRONG_NARRATIVES]

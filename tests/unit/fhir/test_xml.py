"""FHIR XML: read and written by the tables, without loss."""

from __future__ import annotations

import gzip
import os
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulkhead.errors import BadRequest
from bulkhead.fhir import definitions, json, xml
from tests.support.shared_data import shared

NAMESPACE = 'xmlns="http://hl7.org/fhir"'
DIV = "<div xmlns=\"http://www.w3.org/1999/xhtml\"><p title='a'>x &amp; &#233;<br></br><!-- note --></p></div>"

# A folder with HL7's npm packages hl7.fhir.r4.corexml@4.0.1 and hl7.fhir.r4.examples@4.0.1, for whoever has them.
PACKAGES = Path(os.environ.get("BULKHEAD_HL7_PACKAGES", Path(__file__).parents[3] / "node_modules"))
XML_TWINS, JSON_TWINS = PACKAGES / "hl7.fhir.r4.corexml", PACKAGES / "hl7.fhir.r4.examples"
# What HL7 made anew for each package: of the XML ones the narratives are gone, too.
BUILT = ("text", "date", "lastUpdated")


def patient(content: str) -> dict[str, Any]:
    return xml.loads(f"<Patient {NAMESPACE}>{content}</Patient>")


def fault(document: str | bytes) -> tuple[str, str | None]:
    with pytest.raises(BadRequest) as caught:
        xml.loads(document)
    return str(caught.value), caught.value.issues[0].expression


# --- Reading


def test_all_kinds_of_elements() -> None:
    found = patient(
        f"""
        <id value="1"/><text><status value="generated"/>{DIV}</text>
        <contained><Organization><id value="o"/><active value="false"/></Organization></contained>
        <extension url="http://x.example"><valueDecimal value="1.10"/></extension>
        <!-- a note --><?instruction?>
        <name id="n"><given value="A"/><given value="B"/></name>
        <birthDate value="1970"><extension url="http://y.example"><valueInteger value="3"/></extension></birthDate>
        <deceasedBoolean value="true"/>
        """
    )
    assert found == {
        "resourceType": "Patient",
        "id": "1",
        "text": {"status": "generated", "div": DIV},
        "contained": [{"resourceType": "Organization", "id": "o", "active": False}],
        "extension": [{"url": "http://x.example", "valueDecimal": Decimal("1.10")}],
        "name": [{"id": "n", "given": ["A", "B"]}],
        "birthDate": "1970",
        "_birthDate": {"extension": [{"url": "http://y.example", "valueInteger": 3}]},
        "deceasedBoolean": True,
    }


def test_extensions_in_a_list_of_primitives() -> None:
    absent = '<extension url="http://x.example"><valueCode value="masked"/></extension>'
    name = patient(f'<name><given value="A"/><given>{absent}</given><given value="C"/></name>')["name"][0]
    companion = {"extension": [{"url": "http://x.example", "valueCode": "masked"}]}
    assert name == {"given": ["A", None, "C"], "_given": [None, companion, None]}
    assert patient(f"<name><given>{absent}</given></name>")["name"][0] == {"_given": [companion]}
    assert patient(f"<birthDate>{absent}</birthDate>") == {"resourceType": "Patient", "_birthDate": companion}


@pytest.mark.parametrize("text", ["1.10", "100", "-0.0", "1e5", "1.0E-7", "0.0000000000", "12345678901234567890.5"])
def test_decimals_as_json_has_them(text: str) -> None:
    content = f'<extension url="http://x.example"><valueDecimal value="{text}"/></extension>'
    in_json = b'{"resourceType":"Patient","extension":[{"url":"http://x.example","valueDecimal":%b}]}' % text.encode()
    assert json.canonical(patient(content)) == json.canonical(json.loads(in_json))
    assert f'value="{text}"'.encode() in xml.dumps(json.loads(in_json))


@pytest.mark.parametrize(
    ("document", "div"),
    [
        (
            '<f:Patient xmlns:f="http://hl7.org/fhir" xmlns:h="http://www.w3.org/1999/xhtml">'
            '<f:text><f:status value="empty"/><h:div xml:lang="de"><h:b title="&lt;">x &amp; y</h:b><h:br/></h:div></f:text></f:Patient>',
            '<div xmlns="http://www.w3.org/1999/xhtml" xml:lang="de"><b title="&lt;">x &amp; y</b><br></br></div>',
        ),
        (f"<Patient {NAMESPACE}><text>{DIV[:-6]}<div/><div>&gt;</div></div></text></Patient>", f"{DIV[:-6]}<div/><div>&gt;</div></div>"),
        (
            f'<Patient {NAMESPACE}><text><div xmlns="http://www.w3.org/1999/xhtml"/></text></Patient>',
            '<div xmlns="http://www.w3.org/1999/xhtml"/>',
        ),
    ],
    ids=["prefixed", "nested", "empty"],
)  # fmt: skip
def test_narratives(document: str, div: str) -> None:
    assert xml.loads(document)["text"]["div"] == div


def test_a_byte_order_mark_and_schema_location() -> None:
    document = f'<Patient {NAMESPACE} xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" xsi:schemaLocation="a b"></Patient>'
    assert xml.loads(b"\xef\xbb\xbf" + document.encode()) == {"resourceType": "Patient"}


# --- Faults


@pytest.mark.parametrize(
    ("content", "message", "expression"),
    [
        ("<name><nick value='x'/></name>", "Patient.name[0] has no element nick", "Patient.name[0].nick"),
        ("<name/><name><given/></name>", "must have a value or extensions", "Patient.name[1].given[0]"),
        ("<active value='yes'/>", "is not of type boolean", "Patient.active"),
        ("<multipleBirthInteger value='1.5'/>", "is not of type integer", "Patient.multipleBirth"),
        ("<birthDate value='1970' x='1'/>", "has no attribute x", "Patient.birthDate"),
        ("<birthDate value='1970'/><birthDate value='1970'/>", "occurs more than once", "Patient.birthDate"),
        ("<name>text</name>", "must not have text", "Patient.name[0]"),
        ("<contained/>", "must hold a resource", "Patient.contained[0]"),
        ("<contained><HumanName/></contained>", "has no element HumanName", "Patient.contained[0].HumanName"),
        ("<contained><Patient/><Patient/></contained>", "must hold one resource only", "Patient.contained[0]"),
        ("<x:name xmlns:x='http://x.example'/>", "name is not in the namespace", "Patient"),
    ],
)
def test_faults_name_their_place(content: str, message: str, expression: str) -> None:
    found, place = fault(f"<Patient {NAMESPACE}>\n{content}</Patient>")
    assert message in found
    assert found.startswith("line 2: ")
    assert place == expression


@pytest.mark.parametrize(
    "document",
    [
        "",
        "<Patient",
        f"<Patient {NAMESPACE}>",
        f"<Patient {NAMESPACE}/><Patient {NAMESPACE}/>",
        f"<Patient {NAMESPACE}><id value='&nbsp;'/></Patient>",
        "<Patient/>",
        f"<HumanName {NAMESPACE}/>",
        f"<!DOCTYPE Patient><Patient {NAMESPACE}/>",
        f'<!DOCTYPE Patient [<!ENTITY a SYSTEM "file:///etc/passwd">]><Patient {NAMESPACE}><id value="&a;"/></Patient>',
        f"<Patient {NAMESPACE}><id value='ü'/></Patient>".encode("latin-1"),
        b"\x00",
    ],
)
def test_what_cannot_be_read(document: str | bytes) -> None:
    assert fault(document)[1] == "body"


@pytest.mark.parametrize(
    ("document", "told"),
    [
        (b' {"resourceType":"Patient"}', "it is JSON"),
        (gzip.compress(b"<Patient/>", mtime=0), "it is gzipped, and no Content-Encoding"),
    ],
)
def test_what_is_sent_by_mistake_is_named(document: bytes, told: str) -> None:
    with pytest.raises(BadRequest, match=told) as caught:
        xml.loads(document)
    assert caught.value.issues[0].expression == "body"


def test_no_entity_is_expanded() -> None:
    entities = "".join(f'<!ENTITY e{n} "&e{n - 1};&e{n - 1};">' for n in range(1, 40))
    assert "document type" in fault(f'<!DOCTYPE x [<!ENTITY e0 "e">{entities}]><x>&e39;</x>')[0]


_OPEN = '<extension url="u">'


def test_depth_is_that_of_json() -> None:
    def nested(levels: int) -> str:
        return f"<Patient {NAMESPACE}>{_OPEN * levels}{'</extension>' * levels}</Patient>"

    def in_json(levels: int) -> bytes:
        return b'{"resourceType":"Patient"' + b',"extension":[{"url":"u"' * levels + b"}]" * levels + b"}"

    deepest = max(levels for levels in range(64) if _is_read(json.loads, in_json(levels)))
    assert _is_read(xml.loads, nested(deepest))
    assert "nested" in fault(nested(deepest + 1))[0]


def _is_read(loads: Any, document: Any) -> bool:
    try:
        loads(document)
    except BadRequest:
        return False
    return True


# --- Writing


def test_elements_in_the_order_of_the_specification() -> None:
    resource = {"birthDate": "1970", "name": [{"given": ["A"], "use": "usual"}], "id": "1", "resourceType": "Patient"}
    assert xml.dumps(resource).decode() == (
        f'<?xml version="1.0" encoding="UTF-8"?><Patient {NAMESPACE}><id value="1"/>'
        '<name><use value="usual"/><given value="A"/></name><birthDate value="1970"/></Patient>'
    )


def test_pretty() -> None:
    resource = {"resourceType": "Patient", "text": {"status": "generated", "div": DIV}, "name": [{"family": "x"}]}
    assert xml.dumps(resource, pretty=True).decode().splitlines()[1:] == [
        f"<Patient {NAMESPACE}>",
        "  <text>",
        '    <status value="generated"/>',
        f"    {DIV}",
        "  </text>",
        "  <name>",
        '    <family value="x"/>',
        "  </name>",
        "</Patient>",
    ]


def test_what_r4_does_not_have_but_validation_takes() -> None:
    meta = {"accounts": [{"reference": "Organization/a"}], "compartment": [{"reference": "Patient/1"}]}
    resource = {"resourceType": "MedicationRequest", "meta": meta, "medication": {"concept": {"text": "x"}}}
    assert xml.loads(xml.dumps(resource)) == resource


def test_an_element_named_resource_type() -> None:
    resource = {"resourceType": "ExampleScenario", "instance": [{"resourceId": "a", "resourceType": "Patient"}]}
    assert xml.loads(xml.dumps(resource)) == resource


def test_a_property_that_its_type_does_not_have() -> None:
    with pytest.raises(ValueError, match="nothing"):
        xml.dumps({"resourceType": "Patient", "nothing": 1})


# --- There and back


@given(
    st.text(min_size=1).filter(
        lambda text: all(c in "\t\n\r" or c >= " " for c in text) and not set(text) & {"\ufffe", "\uffff"}
    )
)
def test_every_string_survives(text: str) -> None:
    resource = {"resourceType": "Patient", "name": [{"family": text, "id": text}]}
    assert xml.loads(xml.dumps(resource)) == resource


def test_an_attribute_that_looks_like_two() -> None:
    extension = {"url": "http://example.org/?q=", "valueString": "kept"}
    resource = {"resourceType": "Patient", "extension": [extension]}
    assert xml.loads(xml.dumps(resource)) == resource


@given(st.text())
def test_whatever_a_string_holds_the_xml_is_well_formed(text: str) -> None:
    ET.fromstring(xml.dumps({"resourceType": "Patient", "name": [{"family": text}]}))


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    assert not _is_read(xml.loads, data)


VALUES = {"boolean": True, "decimal": Decimal("1.50"), "xhtml": DIV, "integer": -7, "positiveInt": 7, "unsignedInt": 0}


def sample(type_name: str, depth: int = 2) -> dict[str, Any]:
    """An object with every element of a type, by the first type of each choice."""
    values: dict[str, Any] = {}
    for element in definitions.elements(type_name).elements:
        code = element.types[0]
        value: Any
        if code in definitions.PRIMITIVES:
            value = VALUES.get(code, "a")
        elif depth == 0:
            continue
        elif code == definitions.ANY_RESOURCE:
            value = {"resourceType": "Basic", "id": "b"}
        else:
            value = sample(code, depth - 1)
        if value != {}:
            values[element.property_name(code)] = [value, value] if element.repeats else value
    return values


@pytest.mark.parametrize("resource_type", sorted(definitions.RESOURCE_TYPES))
def test_every_element_of_every_type(resource_type: str) -> None:
    resource = json.loads(json.dumps({"resourceType": resource_type, **sample(resource_type)}))
    assert json.canonical(xml.loads(xml.dumps(resource))) == json.canonical(resource)
    assert json.canonical(xml.loads(xml.dumps(resource, pretty=True))) == json.canonical(resource)


def test_official_json_examples() -> None:
    with zipfile.ZipFile(shared("hl7-r4-examples-clinical.zip")) as archive:
        names = [name for name in archive.namelist() if name.endswith(".json")]
        for name in names:
            resource = json.loads(archive.read(name))
            assert json.canonical(xml.loads(xml.dumps(resource))) == json.canonical(resource), name
    assert len(names) == 710


def twins() -> Iterator[tuple[Path, Path]]:
    if not XML_TWINS.exists() or not JSON_TWINS.exists():
        pytest.skip("HL7's XML and JSON packages are not here")
    for document in sorted(XML_TWINS.glob("*.xml")):
        twin = JSON_TWINS / f"{document.stem}.json"
        if twin.exists():
            yield document, twin


def test_official_xml_examples_are_their_json_twins() -> None:
    compared = 0
    for document, twin in twins():
        found, expected = xml.loads(document.read_bytes()), json.loads(twin.read_bytes())
        assert json.canonical(comparable(found)) == json.canonical(comparable(expected)), document.name
        compared += 1
    assert compared > 4500


def comparable(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: comparable(child) for name, child in value.items() if name not in BUILT}
    return [comparable(item) for item in value] if isinstance(value, list) else value


def test_json_alone_loads_no_xml() -> None:
    program = "import sys, functions.resources.handler; print([m for m in sys.modules if m.startswith(('bulkhead.fhir.xml', 'lxml'))])"
    loaded = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert loaded.stdout.strip() == "[]"

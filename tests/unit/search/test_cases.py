"""R4's search page as a table: what each kind of value, prefix, modifier, chain and include finds in a small hospital.

`!` stands for a search that is refused; ids in order where the search sorts.
"""

from __future__ import annotations

from functools import cache

import pytest

from bulkhead.errors import BadRequest
from tests.support.hospital import ACT, UCUM, V2, hospital
from tests.support.memory_store import MemoryStore
from tests.support.search_samples import LOINC
from tests.support.searches import BASE, keys, search

REFUSED = "!"
ALL = "p1 p2 p3 p4 p5"


@cache
def filled() -> MemoryStore:
    return hospital()


def ids(path: str, query: str, mode: str = "match") -> list[str]:
    return [key.partition("/")[2] for key in keys(search(filled(), path, f"{query}&_count=100"), mode)]


def check(path: str, query: str, expected: str) -> None:
    if expected == REFUSED:
        with pytest.raises(BadRequest) as caught:
            ids(path, query)
        assert caught.value.issues[0].expression
        return
    found = ids(path, query)
    assert (found if "_sort=" in query else sorted(found)) == expected.split()


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("100", "b c d"),
        ("eq100", "b c d"),
        ("ne100", "a e f g h"),
        ("100.0", "c"),
        ("100.4", "d"),
        ("1e2", "a b c d e"),
        ("+100", "b c d"),
        ("-100", ""),
        ("gt100", "d e f h"),
        ("lt100", "a b g"),
        ("ge100", "c d e f h"),
        ("le100", "a b c g"),
        ("sa100", "d e f h"),
        ("eb100", "a b g"),
        ("ap100", "a b c d e f g"),
        ("100,111", "b c d h"),
        ("gt100&value-quantity=lt111", "d e f"),
        ("100||mg", "b c d"),
        (f"100|{UCUM}|mg", "b c d"),
        (f"0.1|{UCUM}|g", "a b c d e f g h"),
        (f"0.100|{UCUM}|g", "b c d"),
        (f"100000|{UCUM}|ug", "c"),
        (f"gt0.1|{UCUM}|g", "d e f h"),
        (f"100|{UCUM}|mL", ""),
        (f"100|{UCUM}|", "b c d"),
        ("100||g", ""),
        ("100|http://other|mg", ""),
        ("1e400", ""),
        *(
            (text, REFUSED)
            for text in ("|x|mg", "100|mg", "a", "gt", "1,x", "1|a|b|c", "xx1", "NaN", "1e9999", ".5", "5.")
        ),
    ],
)
def test_numbers(value: str, expected: str) -> None:
    check("Observation", f"code=num&value-quantity={value.replace('+', '%2B')}", expected)
    if value.startswith("+"):
        check("Observation", f"code=num&value-quantity={value}", expected)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("2020", "1 2 3 4 5 6 a b"),
        ("2020-03", "2 3 4 5 6 a b"),
        ("2020-03-10", "3 4 a"),
        ("2020-03-11", "5 b"),
        ("2020-03-10T10:00Z", "4 a"),
        ("2020-03-10T10:00:00Z", "4 a"),
        ("2020-03-10T10:00:00.123Z", "a"),
        ("2020-03-10T10:00:00", "4 a"),
        ("2020-03-10T11:00:00%2B01:00", "4 a"),
        ("2020-03-10T11:00:00+01:00", "4 a"),
        ("2020-03-11T04:30:00Z", "5"),
        ("ne2020-03-10", "1 2 5 6 7 8 b"),
        ("gt2020-03-10", "1 2 5 6 7 b"),
        ("lt2020-03-10", "1 2 6 8"),
        ("ge2020-03-10", "1 2 3 4 5 6 7 a b"),
        ("le2020-03-10", "1 2 3 4 6 8 a"),
        ("sa2020-03-10", "5 b"),
        ("sa2020-02", "2 3 4 5 6 7 a b"),
        ("eb2020-03-10", ""),
        ("eb2020-03-11", "3 4 8 a"),
        ("ap2020-03-10", "1 2 3 4 5 6 7 8 a b"),
        ("ge2020-03-10&date=le2020-03-10", "1 2 3 4 6 a"),
        ("2020-03-10,2020-03-11", "3 4 5 a b"),
        ("2020-03-10&_sort=-date", "a 4 3"),
        *((text, REFUSED) for text in ("2020-13", "2020-02-30", "20200310", "2020-03-10T10", "2020-3-1", "ge", "0000")),
    ],
)
def test_dates(value: str, expected: str) -> None:
    check("Procedure", f"date={value}", expected)


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("name=mul", "p1 p2"),
        ("name=M%C3%BCl", "p1 p2"),
        ("name=mu", "p1 p2 p4"),
        ("family=ler", ""),
        ("family:contains=ULL", "p1 p2"),
        ("family:exact=M%C3%BCller", "p1"),
        ("family:exact=Muller", ""),
        ("given=j,anna", "p1 p3"),
        ("given=j&given=p", "p1"),
        ("name=van der", "p3"),
        ("name:contains=der", "p3"),
        ("name=dr", "p1"),
        ("name=o'n", "p4"),
        ("phonetic=muller", "p1 p2"),
        ("address=st. g", "p1"),
        ("address=haupt", "p1"),
        ("address-postalcode=90", "p1"),
        ("name=", ALL),
        ("family:missing=true", "p4 p5"),
        ("family:missing=true,false", ALL),
        ("family:missing=x", REFUSED),
        ("name:text=x", ""),
        ("name:below=x", REFUSED),
        # Identifiers, with case; codes without.
        ("identifier=A1", "p1 p3 p4"),
        ("identifier=a1", "p2"),
        ("identifier=urn:mrn|A1", "p1"),
        ("identifier=|A1", "p3"),
        ("identifier=urn:mrn|", "p1 p2"),
        ("identifier=|", REFUSED),
        (r"identifier=urn:a\|b|x\,y\$z\\w", "p3"),
        (r"identifier=x\,y$z\\w", "p3"),
        ("identifier=x,y", ""),
        ("identifier=A1,a1", "p1 p2 p3 p4"),
        ("identifier:not=A1", "p2 p5"),
        ("identifier:not=A1,a1", "p5"),
        (f"identifier:of-type={V2}|MR|A1", "p1"),
        (f"identifier:of-type={V2}|MR|a1", ""),
        ("identifier:of-type=MR|A1", REFUSED),
        ("identifier:of-type=||A1", REFUSED),
        ("identifier:text=rec", "p1"),
        ("gender=MALE", "p1"),
        ("gender=male,female", "p1 p2"),
        ("gender:not=male", "p2 p3 p4 p5"),
        ("gender=http://hl7.org/fhir/administrative-gender|male", "p1"),
        ("gender=|male", ""),
        ("active=true", "p1"),
        ("active:not=true", "p2 p3 p4 p5"),
        ("active=1", ""),
        ("deceased=true", "p2 p3"),
        ("deceased=false", "p1 p4 p5"),
        ("telecom=%2B41 71 000", "p1"),
        ("telecom=phone|%2B41 71 000", "p1"),
        ("phone=j@x.ch", ""),
        ("birthdate=ge1980", "p2 p3"),
        ("birthdate=lt1980-06", "p1 p2"),
        ("_id=p1,p2,nobody", "p1 p2"),
        ("_id=p1&_id=p2", ""),
        ("_id=P1", ""),
        ("_id:not=p1", "p2 p3 p4 p5"),
        ("_id=" + "x" * 5000, ""),
        ("_id=..%2F..%2Fx", ""),
        ("_tag=red", "p1"),
        ("_tag:not=http://tags|red", "p2 p3 p4 p5"),
        ("_security=http://sec|", "p1"),
        ("_profile=http://prof/a", "p1"),
        ("_profile=http://prof/a|1.0", "p1"),
        ("_profile=http://prof/a|2.0", ""),
        ("_profile:below=http://prof", "p1"),
        ("_source=http://src", ""),
        ("_source:below=http://src", "p1"),
        ("_account=Organization/o1", "p1"),
        ("_account:missing=true", "p2 p3 p4 p5"),
        ("_compartment=Patient/p1", "p1"),
        ("_compartment=Practitioner/dr1", "p1 p4"),
        ("_list=l1", "p1 p3"),
        ("_list=nothing", ""),
        ("_list=$current-problems", REFUSED),
        # References.
        ("organization=Organization/o1", "p1"),
        ("organization=o1", "p1"),
        ("organization:Organization=o1", "p1"),
        (f"organization={BASE}/Organization/o1", "p1"),
        ("organization=http://there/Organization/o1", ""),
        ("organization=Organization/o1,o2", "p1 p3"),
        ("organization:missing=true", "p2 p4 p5"),
        ("organization:Patient=o1", REFUSED),
        ("organization=Nonsense/o1", REFUSED),
        ("organization:not=Organization/o1", REFUSED),
        ("general-practitioner=Practitioner/dr1&general-practitioner=dr2", "p4"),
        # Chains.
        ("organization.name=alpha", "p1 p3"),
        ("organization.partof.name=alpha", "p3"),
        ("organization:Organization.name:contains=clin", "p3"),
        ("general-practitioner:Practitioner.family:exact=House", "p1 p4"),
        ("link:Patient.general-practitioner:Practitioner.name=wilson", "p5"),
        ("link.identifier=A1", "p5"),
        ("_has:Observation:patient:code=29463-7", "p1 p2"),
        (f"_has:Observation:patient:code-value-quantity=29463-7$70000.0|{UCUM}|g", "p1 p2"),
        ("_has:Observation:subject:encounter.class=AMB", "p1"),
        ("_has:Encounter:patient:_has:Observation:encounter:code=85354-9", "p1 p2"),
        ("_has:Encounter:patient:status=planned&_has:Observation:patient:date=ge2020-02", "p2"),
        ("_has=x", REFUSED),
        ("organization.nothing=x", REFUSED),
        ("organization..name=x", REFUSED),
        ("organization.=x", REFUSED),
        ("organization:Nonsense.name=x", REFUSED),
        ("name.family=x", REFUSED),
        ("_has:Observation:patient=x", REFUSED),
        ("_has:Observation:nothing:code=x", REFUSED),
        # Order.
        ("_sort=birthdate", ALL),
        ("_sort=-birthdate", "p3 p2 p1 p4 p5"),
        ("_sort=gender,-_id", "p2 p1 p3 p5 p4"),
        ("_sort=family,_id", "p3 p1 p2 p4 p5"),
        ("_sort=-_lastUpdated", "p5 p4 p3 p2 p1"),
        ("_sort=-_id", "p5 p4 p3 p2 p1"),
        ("_sort=nothing", REFUSED),
        ("_sort=-", REFUSED),
        *(
            (f"{name}=x", REFUSED)
            for name in ("_text", "_content", "_filter", "_query", "_contained", "_containedType")
        ),
        *((f"{name}:exact=x", REFUSED) for name in ("_text", "_content", "_filter")),
    ],
)
def test_patients(query: str, expected: str) -> None:
    check("Patient", query, expected)


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("component-code-value-quantity=8480-6$gt140", "bp1"),
        (f"component-code-value-quantity={LOINC}|8480-6$gt140|{UCUM}|mm[Hg]", "bp1"),
        ("combo-code-value-quantity=8462-4$150", "bp2"),
        (f"code-value-quantity=29463-7$70|{UCUM}|kg", "w1 w2 w3"),
        (f"code-value-quantity=29463-7$70.0|{UCUM}|kg", "w1 w2"),
        ("code-value-quantity=29463-7$70.0,8310-5$37", "t1 w1"),
        ("code-value-concept=cc$260385009", "cc"),
        ("code-value-string=st$pos", "st"),
        ("code-value-quantity=29463-7", REFUSED),
        ("code-value-quantity=29463-7$", REFUSED),
        ("code-value-quantity=29463-7$x", REFUSED),
        ("code-value-quantity=29463-7$7$3", REFUSED),
        ("code-value-quantity:missing=true", REFUSED),
        (f"value-quantity=37|{UCUM}|Cel", "t1"),
        ("value-concept:text=neg", "cc"),
        ("value-string:contains=REACT", "st"),
        ("code:text=text of st", "st"),
        ("subject:identifier=urn:mrn|A1", "lid"),
        ("subject=http://other.org/fhir/Patient/p1", "abs"),
        ("subject=Patient/p1/_history/1", "ver"),
        ("subject=Patient/p1&code=ver,abs,lid", "ver"),
        (f"subject={BASE}/Patient/p1&code=29463-7", "w1 w3"),
        ("patient=Patient/p1&code=29463-7", "w1 w3"),
        ("patient.name=mul&code=29463-7", "w1 w2 w3"),
        ("patient.organization.name=alpha hosp&code=29463-7", "w1 w3"),
        ("patient.general-practitioner:Practitioner.name=house&code=8310-5", "t1"),
        ("encounter.part-of.class=AMB", "bp2"),
        ("encounter.participant:Practitioner.name=house", "bp1"),
        ("patient._id=p2", "bp2 w2"),
        ("patient:Patient._tag=red&code=8310-5", "t1"),
        ("patient._account=Organization/o1&code=29463-7", "w1 w3"),
        ("code=29463-7&_sort=subject,-date", "w3 w1 w2"),
        ("code=29463-7&_sort=value-quantity", "w1 w3 w2"),
        ("_sort=code-value-quantity", REFUSED),
    ],
)
def test_observations(query: str, expected: str) -> None:
    check("Observation", query, expected)


@pytest.mark.parametrize(
    ("path", "query", "expected"),
    [
        ("Practitioner", "_has:Patient:general-practitioner:_has:Observation:patient:code=85354-9", "dr1"),
        ("Organization", "_has:Patient:organization:gender:not=male", "o2"),
        ("Organization", "_has:Patient:organization:general-practitioner.name=house", "o1"),
        ("Organization", "_has:Organization:partof:_has:Patient:organization:name=anna", "o1"),
        ("Organization", "_has:Patient:link:gender=male", REFUSED),
        # Canonicals: by url, with and without a version, and as links of chains.
        ("QuestionnaireResponse", "questionnaire=http://q/1", "r1 r2 r3"),
        ("QuestionnaireResponse", "questionnaire=http://q/1|1.2.3", "r1"),
        ("QuestionnaireResponse", "questionnaire=http://q/1|1.2", ""),
        ("QuestionnaireResponse", "questionnaire=http://q/1|", "r2"),
        ("QuestionnaireResponse", "questionnaire=Questionnaire/q3", "r4"),
        ("QuestionnaireResponse", "questionnaire=q3,http://nowhere/1", "r4 r5"),
        ("QuestionnaireResponse", "questionnaire.title=first", "r1 r2"),
        ("QuestionnaireResponse", "questionnaire.title=second&status=in-progress", "r3"),
        ("QuestionnaireResponse", "questionnaire.status=active,draft", "r1 r2 r3 r4"),
        ("QuestionnaireResponse", "questionnaire.title=nameless", "r4"),
        ("MeasureReport", "measure.depends-on:Library.title=logic", "mr"),
        ("MeasureReport", "measure.depends-on:Library.title=else", ""),
        ("Library", "_has:Measure:depends-on:_has:MeasureReport:measure:status=complete", "lib"),
        ("QuestionnaireResponse", "questionnaire.title=nothing", ""),
        ("Questionnaire", "_has:QuestionnaireResponse:questionnaire:status=completed", "q1 q2"),
        ("Questionnaire", "_has:QuestionnaireResponse:questionnaire:status=in-progress", "q2 q3"),
        ("Questionnaire", "title=fir&_has:QuestionnaireResponse:questionnaire:status=in-progress", ""),
        (
            "Encounter",
            f"class:in={ACT.replace('CodeSystem', 'ValueSet').replace('ActCode', 'ActEncounterCode')}",
            "e1 e2",
        ),
        ("Encounter", f"class:below={ACT}|_ActEncounterCode", "e1 e2"),
        ("Patient/p1/Observation", "code=29463-7&_sort=-date", "w3 w1"),
        ("Patient/p1/Observation", "patient.name=mul&code=29463-7", "w1 w3"),
        ("Patient/p1/Observation", "_text=x", REFUSED),
        ("Patient/p1/*", "_type=Encounter", "e1"),
        ("Patient/p1/*", "_id=w1,w2", "w1"),
        ("Patient/p1/*", "_filter=x", REFUSED),
        ("Patient/nobody/Observation", "", ""),
        ("Encounter/e1/Observation", "", "bp1"),
        ("Practitioner/dr1/Observation", "", "bp1"),
        ("", "_type=Patient&name=mul", "p1 p2"),
        ("", "_type=Patient,Practitioner&name=house", "dr1"),
        ("", "_type=Encounter,Observation&patient=Patient/p2", "bp2 e2 w2"),
        ("", "_type=Patient,Encounter&_id=p1,e1", "e1 p1"),
        ("", "_id=p1", "p1"),
        ("", "_account=Organization/o1", "p1 w1"),
        ("", "_content=x&_type=Patient", REFUSED),
        ("", "name=x", REFUSED),
        ("", "_type=Nonsense", REFUSED),
    ],
)
def test_other_places(path: str, query: str, expected: str) -> None:
    check(path, query, expected)


@pytest.mark.parametrize(
    ("path", "query", "brought"),
    [
        ("Observation", "code=85354-9&_include=Observation:patient", "p1 p2"),
        ("Observation", "code=85354-9&_include=Observation:subject:Patient", "p1 p2"),
        ("Observation", "code=85354-9&_include=Observation:subject:Group", ""),
        ("Observation", "code=85354-9&_include=*", "dr1 e1 e2 p1 p2"),
        ("Observation", "code=85354-9&_include=Observation:*", "dr1 e1 e2 p1 p2"),
        ("Observation", "_id=bp1&_include=Observation:patient&_include:iterate=Patient:organization", "o1 p1"),
        ("Observation", "_id=bp1&_include=Observation:patient&_include=Patient:organization", "p1"),
        ("Encounter", "_id=e2&_include:iterate=Encounter:part-of", "e1"),
        ("Encounter", "_id=e2&_include=Encounter:part-of&_revinclude=Observation:encounter", "bp2 e1"),
        ("Patient", "_id=p1&_revinclude=Observation:patient", "bp1 cc st t1 ver w1 w3"),
        ("Patient", "_id=p1&_revinclude=Observation:subject:Patient", "bp1 cc st t1 ver w1 w3"),
        ("Patient", "_id=p5&_include=Patient:link", "p4"),
        ("QuestionnaireResponse", "_id=r1&_include=QuestionnaireResponse:questionnaire", "q1"),
        ("QuestionnaireResponse", "_id=r2&_include=QuestionnaireResponse:questionnaire", "q1 q2"),
        ("QuestionnaireResponse", "_id=r4,r5&_include=QuestionnaireResponse:*", "q3"),
        ("QuestionnaireResponse", "_id=r1&_include=QuestionnaireResponse:questionnaire:Patient", ""),
        (
            "MeasureReport",
            "_id=mr&_include=MeasureReport:measure&_include:iterate=Measure:depends-on:Library",
            "lib me",
        ),
        ("Questionnaire", "_id=q1&_revinclude=QuestionnaireResponse:questionnaire", "r1 r2"),
        ("Questionnaire", "_id=q3&_revinclude=QuestionnaireResponse:questionnaire", "r4"),
        ("Questionnaire", "_id=q1&_revinclude=QuestionnaireResponse:questionnaire:Patient", ""),
        (
            "Organization",
            "_id=o1&_revinclude=Patient:organization&_revinclude:iterate=Encounter:patient"
            "&_revinclude:iterate=Observation:encounter",
            "bp1 e1 p1",
        ),
    ],
)
def test_what_is_brought_along(path: str, query: str, brought: str) -> None:
    assert sorted(ids(path, query, "include")) == brought.split()


@pytest.mark.parametrize(
    ("path", "query", "total"),
    [
        ("Patient", "_count=0", 5),
        ("Patient", "_summary=count", 5),
        ("Patient", "_total=accurate&_count=2", 5),
        ("Patient", "_total=estimate&_count=1", 5),
        ("Patient", "_total=none&_count=2", None),
        ("Patient", "gender=male&_count=0", 1),
        ("", "_type=Patient,Encounter&_summary=count", 7),
        ("Patient/p1/*", "_summary=count", 8),
    ],
)
def test_totals(path: str, query: str, total: int | None) -> None:
    bundle = search(filled(), path, query)
    assert bundle.get("total") == total
    assert "entry" not in bundle or "_count=0" not in query

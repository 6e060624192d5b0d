"""`phonetic` finds names by how they sound, through its own index, on every type that has it."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulkhead.facts.index_facts import facts
from bulkhead.facts.normalise import fold
from bulkhead.facts.phonetic import sound, sounds
from bulkhead.fhir.definitions import search_parameters
from bulkhead.search import indexed, plan
from bulkhead.search.drivers import Values
from bulkhead.search.parse import parse
from bulkhead.search.query import StringValue
from tests.support.memory_store import MemoryStore
from tests.support.searches import keys, search


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Smith", "Smyth"),
        ("Smith", "Schmidt"),
        ("Meyer", "Maier"),
        ("Müller", "Mueller"),
        ("Catherine", "Kathryn"),
        ("Philip", "Filip"),
        ("Knut", "Nut"),
        ("O’Connor", "oconner"),
        ("Robert", "Rupert"),
        ("Геннадий", "геннадий"),
    ],
)
def test_names_that_sound_alike(one: str, other: str) -> None:
    assert sounds([one]) & sounds([other])


@pytest.mark.parametrize(("one", "other"), [("Smith", "Jones"), ("Adams", "Evans"), ("Ли", "Ма")])
def test_names_that_do_not(one: str, other: str) -> None:
    assert not sounds([one]) & sounds([other])


@pytest.mark.parametrize(
    ("word", "code"),
    [
        ("robert", "r163"), ("ashcraft", "a261"), ("tymczak", "t522"), ("pfister", "p236"), ("honeyman", "h555"), ("lee", "l000"),
    ],
)  # fmt: skip
def test_the_codes_are_those_of_soundex(word: str, code: str) -> None:
    assert sound(word) == code


PEOPLE: list[dict[str, Any]] = [
    {"resourceType": name, "id": "1", "name": [{"family": "Smith", "given": ["Jon"], "prefix": ["Dr."]}]}
    for name in ("Patient", "Practitioner", "Person", "RelatedPerson")
]


@pytest.mark.parametrize("resource", PEOPLE, ids=lambda one: one["resourceType"])
def test_every_type_of_person_is_found(resource: dict[str, Any]) -> None:
    store = MemoryStore()
    store.put(resource)
    store.put({**resource, "id": "2", "name": [{"family": "Jones"}]})
    key = f"{resource['resourceType']}/1"
    for text, expected in [
        ("smyth", [key]),
        ("john smythe", [key]),
        ("john jones", []),
        ("doctor", []),
        ("x,smyth", [key]),
    ]:
        assert keys(search(store, resource["resourceType"], f"phonetic={text}")) == expected, text
    assert keys(search(store, resource["resourceType"], "phonetic:exact=Smyth")) == []
    assert keys(search(store, resource["resourceType"], "phonetic:exact=Dr.")) == [key]


def test_organizations_are_found_too() -> None:
    store = MemoryStore()
    store.put({"resourceType": "Organization", "id": "1", "name": "Meyer Clinic", "alias": ["Kathryn House"]})
    assert keys(search(store, "Organization", "phonetic=maier")) == ["Organization/1"]
    assert "phonetic" in search_parameters("Organization")


def test_the_index_leads() -> None:
    assert isinstance(
        plan.plan(
            parse([("phonetic", "smyth")], "Patient"), None, "2026-01-01", has=plan.Complete(True, True, True)
        ).driver,
        Values,
    )


@given(st.text(max_size=12), st.text(max_size=12))
def test_whatever_is_found_is_led_to_by_the_index(name: str, asked: str) -> None:
    """What matches has an entry under the word that leads."""
    if not fold(asked) or not sounds([fold(asked)]) <= sounds([name]):
        return
    entries = facts({"resourceType": "Patient", "id": "1", "name": [{"family": name}]}).values
    (branch,) = indexed.branches_of(StringValue(asked), search_parameters("Patient")["phonetic"], "Patient")
    assert any(branch.covers(entry) for entry in entries)


@given(st.text())
def test_every_text_has_sounds(text: str) -> None:
    assert bool(sounds([text])) == bool(fold(text))

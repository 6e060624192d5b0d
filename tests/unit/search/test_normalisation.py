"""Strings without their punctuation, and canonicals however they are written: the index and the exact filter agree."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulkhead.errors import BadRequest
from bulkhead.facts.index_facts import facts
from bulkhead.facts.normalise import fold, spellings
from bulkhead.fhir.definitions import search_parameters
from bulkhead.search.indexed import branches_of
from bulkhead.search.parse import parse
from bulkhead.search.query import StringValue
from tests.support.memory_store import MemoryStore
from tests.support.search_samples import patient
from tests.support.searches import BASE, keys, search


@pytest.fixture(scope="module")
def people() -> MemoryStore:
    store = MemoryStore()
    name = {"family": "O’Connor-Smith", "given": ["J.R."]}
    address = {"line": ["12 St. Mary’s Rd."], "city": "Stratford-upon-Avon"}
    store.put(patient("punct", name=[name], address=[address]))
    store.put(patient("plain", name=[{"family": "Jones", "given": ["Ann"]}], address=[{"city": "Strat"}]))
    return store


@pytest.mark.parametrize(
    "query",
    [
        "family=oconnor", "family=o'connor", "family=O’Connor", "family=o´connor", "family=o’connor smith", "name=oconnorsmith",
        "family=o`connor-smith", "family=O'CONNOR–SMITH", "given=jr", "given=j.r.", "given=j r", "address=12 st mary's",
        "address=12, st. marys", "address-city=stratford upon avon", "address-city=stratford-upon-avon",
        "family:contains=connor smith", "family:contains=nor-smi", "family:exact=O’Connor-Smith", "name:text=smith jr",
        "address:text=marys stratford",
    ],
)  # fmt: skip
def test_punctuation_does_not_count(people: MemoryStore, query: str) -> None:
    assert keys(search(people, "Patient", query)) == ["Patient/punct"]


@pytest.mark.parametrize(
    "query", ["family:exact=O'Connor-Smith", "name=smith", "name:text=smith ann", "family=-", "name:contains=."]
)
def test_what_does_not_match(people: MemoryStore, query: str) -> None:
    assert keys(search(people, "Patient", query)) == []


@pytest.mark.parametrize("name", ["name", "name:contains", "name:text", "phonetic", "_tag:text"])
@pytest.mark.parametrize("value", ["  ", "\u0301", " \u0301\u0316 "])
def test_nothing_that_counts_is_no_value(name: str, value: str) -> None:
    with pytest.raises(BadRequest, match="must have some text"):
        parse([(name, value)], "Patient")


@given(st.text(min_size=1), st.integers(1, 8))
def test_what_begins_a_text_is_led_to_by_the_index(text: str, length: int) -> None:
    asked = text[:length]
    entries = facts(patient("1", name=[{"family": text}])).values
    branches = branches_of(StringValue(asked), search_parameters("Patient")["name"], "Patient")
    for wanted, branch in zip(spellings(asked), branches, strict=False):
        if any(spelling.startswith(wanted) for spelling in spellings(text)):
            assert any(branch.covers(entry) for entry in entries)


@given(st.text())
def test_every_spelling_folds_to_itself(text: str) -> None:
    assert fold(text) == spellings(text)[0]
    assert all(spellings(one) == (one,) for one in spellings(text))


STORED = {
    "own": f"{BASE}/Questionnaire/qb",
    "versioned": f"{BASE}/Questionnaire/qb|2",
    "relative": "Questionnaire/qb",
    "elsewhere": "http://elsewhere.example/Questionnaire/qb",
    "fragment": "http://e/Q|1.0#frag",
    "bare": "http://e/Q#frag",
}


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        (f"{BASE}/Questionnaire/qb", "own versioned relative"),
        (f"{BASE}/Questionnaire/qb|", "own relative"),
        (f"{BASE}/Questionnaire/qb|2", "versioned"),
        ("Questionnaire/qb", "own versioned relative"),
        ("qb", "own versioned relative"),
        ("http://elsewhere.example/Questionnaire/qb", "elsewhere"),
        ("http://e/Q|1.0", "fragment"),
        ("http://e/Q", "fragment bare"),
        ("http://e/Q#frag", "fragment bare"),
        ("http://e/Q#other", ""),
        ("http://e/Q|2.0", ""),
        ("http://e/Q|", "bare"),
    ],
)
def test_canonicals_are_found_however_they_are_written(asked: str, expected: str) -> None:
    store = MemoryStore()
    for id, text in STORED.items():
        store.put({"resourceType": "QuestionnaireResponse", "id": id, "status": "completed", "questionnaire": text})
    found = keys(search(store, "QuestionnaireResponse", f"questionnaire={asked.replace('#', '%23')}"))
    assert sorted(key.partition("/")[2] for key in found) == sorted(expected.split())


def test_an_include_leaves_the_fragment_out() -> None:
    store = MemoryStore()
    store.put({"resourceType": "QuestionnaireResponse", "id": "1", "questionnaire": "http://e/Q|1.0#frag"})
    store.put({"resourceType": "Questionnaire", "id": "q", "status": "active", "url": "http://e/Q", "version": "1.0"})
    found = search(store, "QuestionnaireResponse", "_include=QuestionnaireResponse:questionnaire")
    assert keys(found, "include") == ["Questionnaire/q"]

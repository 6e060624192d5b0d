"""Searches by a Patient who replaces others: what is found, what it costs, from page to page, and behind a fence."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import structs

from bulkhead.errors import BadRequest, TooCostly
from bulkhead.search import cursor
from bulkhead.search.parse import parse
from bulkhead.store.version import Version
from tests.support.memory_store import MemoryStore
from tests.support.search_samples import observation, patient
from tests.support.searches import keys, link, pages, search


def link_to(kind: str, *others: str) -> list[dict[str, Any]]:
    return [{"other": {"reference": other}, "type": kind} for other in others]


def replacing(id: str, *others: str) -> dict[str, Any]:
    return patient(id, link=link_to("replaces", *(f"Patient/{other}" for other in others)))


def clinic(*patients: dict[str, Any]) -> MemoryStore:
    """Patients 1 to 5, each with two Observations, 1a with the code a, 1b with the code b and so on; and with an Encounter."""
    store = MemoryStore()
    for number in "12345":
        store.put(patient(number))
        store.put(observation(f"{number}a", code="a", subject=f"Patient/{number}"))
        store.put(
            observation(
                f"{number}b", code="b", subject=f"Patient/{number}", encounter={"reference": f"Encounter/{number}"}
            )
        )
        store.put({"resourceType": "Encounter", "id": number, "subject": {"reference": f"Patient/{number}"}})
    for one in patients:
        store.put(one)
    return store


CHAIN = (replacing("1", "2"), replacing("2", "3"))


@pytest.mark.parametrize(
    ("path", "query", "found"),
    [
        ("Observation", "patient=1", "1a 1b 2a 2b 3a 3b"),
        ("Observation", "patient=Patient/1", "1a 1b 2a 2b 3a 3b"),
        ("Observation", "subject=Patient/1&code=b", "1b 2b 3b"),
        ("Observation", "subject=1&code=b", "1b 2b 3b"),
        ("Observation", "subject:Patient=1&code=b", "1b 2b 3b"),
        ("Observation", "patient=1&code=a,b", "1a 1b 2a 2b 3a 3b"),
        ("Observation", "patient=1,4&code=b", "1b 2b 3b 4b"),
        ("Observation", "_compartment=Patient/1&code=b", "1b 2b 3b"),
        ("Observation", "patient=2", "2a 2b 3a 3b"),
        ("Observation", "patient=3", "3a 3b"),
        ("Observation", "patient=4", "4a 4b"),
        ("Observation", "encounter.patient=1", "1b 2b 3b"),
        ("Observation", "_id=2a,4a&patient=1", "2a"),
        ("Observation", "patient=1&_sort=-_id", "3b 3a 2b 2a 1b 1a"),
        ("Observation", "patient=1&_has:Provenance:target:agent=x", ""),
        ("Encounter", "patient=1", "1 2 3"),
        ("Encounter", "_has:Observation:encounter:patient=1", "1 2 3"),
        ("Patient/1/Observation", "", "1a 1b 2a 2b 3a 3b"),
        ("Patient/1/Observation", "code=b", "1b 2b 3b"),
        ("Patient/1/*", "", "1 2 3 1a 1b 2a 2b 3a 3b 1 2"),
        ("Patient/1/*", "_type=Encounter", "1 2 3"),
        ("Patient/2/Observation", "code=b", "2b 3b"),
        ("Encounter/1/*", "", "1 1b"),
    ],
)
@pytest.mark.parametrize("count", [1, 2, 50])
def test_it_is_answered_for_both(path: str, query: str, found: str, count: int) -> None:
    store = clinic(*CHAIN)
    whole = [key.partition("/")[2] for key in pages(store, path, f"{query}&_count={count}")]
    expected = found.split()
    assert (whole if "_sort" in query else sorted(whole)) == (expected if "_sort" in query else sorted(expected))
    assert search(store, path, f"{query}&_summary=count")["total"] == len(expected)
    assert search(store, path, f"{query}&_total=accurate&_count=1")["total"] == len(expected)


@pytest.mark.parametrize(
    "query",
    [
        "subject=Patient/1/_history/1",
        "subject=http://elsewhere.example/Patient/1",
        "subject:missing=true",
        "subject:Group=1",
        "subject:identifier=1",
        "_account=Patient/1",
        "encounter=1",
    ],
)
def test_what_names_no_patient_is_searched_to_the_letter(query: str) -> None:
    found = pages(clinic(*CHAIN), "Observation", query)
    assert not {"Observation/2a", "Observation/3a", "Observation/2b", "Observation/3b"} & set(found)


def test_a_link_of_another_kind_is_no_replacement() -> None:
    other = {"other": {"reference": "RelatedPerson/2"}, "type": "replaces"}
    seealso = link_to("seealso", "Patient/2") + link_to("replaced-by", "Patient/3") + link_to("refer", "Patient/4")
    store = clinic(patient("1", link=[*seealso, other]))
    assert sorted(pages(store, "Observation", "patient=1")) == ["Observation/1a", "Observation/1b"]


def test_cycles_end() -> None:
    store = clinic(replacing("1", "2"), replacing("2", "3"), replacing("3", "1", "3"))
    for number in "123":
        assert len(pages(store, "Observation", f"patient={number}")) == 6


def test_one_that_is_not_there_counts_and_leads_no_further() -> None:
    store = clinic(replacing("1", "2", "gone"), replacing("2", "3"))
    store.put(observation("g", subject="Patient/gone"))
    store.delete("Patient/2")
    found = sorted(pages(store, "Observation", "patient=1"))
    assert found == [f"Observation/{name}" for name in ("1a", "1b", "2a", "2b", "g")]


def test_who_is_deleted_replaces_nobody() -> None:
    store = clinic(*CHAIN)
    store.delete("Patient/1")
    assert sorted(pages(store, "Observation", "patient=1")) == ["Observation/1a", "Observation/1b"]
    assert pages(store, "Patient/1/Observation", "") == []


def test_too_many_are_refused_by_name() -> None:
    store = clinic(replacing("1", *(f"x{number}" for number in range(41))))
    with pytest.raises(TooCostly) as refused:
        search(store, "Observation", "patient=1")
    assert refused.value.issues[0].expression == "Patient/1"
    long = clinic(*(replacing(f"x{number}", f"x{number + 1}") for number in range(100)))
    with pytest.raises(TooCostly):
        search(long, "Observation", "patient=x0")
    assert long.reads.count("BatchGetItem") < 50


def test_forty_are_answered() -> None:
    store = clinic(replacing("1", "2", *(f"x{number}" for number in range(39))))
    assert len(pages(store, "Observation", "patient=1&code=a")) == 2


# What it costs


def reads(store: MemoryStore, path: str, query: str) -> list[str]:
    store.reads.clear()
    search(store, path, query)
    return store.reads


RANGES = ["Query", "Query"]
"""Of a patient with a code: what has a date, and at its end what has none."""


def test_where_nobody_replaces_anybody_nothing_more_is_read() -> None:
    store = clinic()
    assert reads(store, "Observation", "patient=1&code=a") == [*RANGES, "BatchGetItem"]
    assert reads(store, "Observation", "subject=Patient/1") == ["Query", "BatchGetItem"]
    assert reads(store, "Patient/1/*", "") == ["Query", "BatchGetItem"]


def test_without_candidates_it_is_one_read_more() -> None:
    assert reads(clinic(), "Observation", "patient=1&code=z") == [*RANGES, "BatchGetItem"]


def test_a_hundred_candidates_and_the_patient_fit_one_batch() -> None:
    store = clinic()
    for number in range(200):
        store.put(observation(f"x{number:03}", code="c", subject="Patient/1", status="final"))
    assert reads(store, "Observation", "patient=1&code=c&status=final&_count=98") == [*RANGES, "BatchGetItem"]


def test_where_one_does_the_search_is_begun_anew() -> None:
    store = clinic(replacing("1", "2"))
    # Each range is asked at its end what has no date.
    one_range_and_its_heads, the_replaced, two_ranges_and_their_heads = 3, 1, 5
    expected = one_range_and_its_heads + the_replaced + two_ranges_and_their_heads
    assert len(reads(store, "Observation", "patient=1&code=a")) == expected


def test_later_pages_look_at_nobody() -> None:
    store = clinic(*CHAIN)
    following = link(search(store, "Observation", "subject=Patient/1&_count=2"), "next")
    assert following is not None
    assert reads(store, "Observation", urlsplit(following).query) == ["Query", "Query", "Query", "BatchGetItem"]


# From page to page


@pytest.mark.parametrize("query", ["patient=1&code=a,b", "patient=1", "patient=1&_sort=code", "subject=1&status=final"])
def test_pages_go_on_as_they_were_begun(query: str) -> None:
    """Links that come or go between pages change nothing: no page is refused, none skips or repeats."""
    merged, separate = clinic(*CHAIN), clinic()

    def separated(page: int) -> None:
        merged.put(patient("1"))

    def joined(page: int) -> None:
        separate.put(replacing("1", "2", "3"))

    assert len(pages(merged, "Observation", f"{query}&_count=1", separated)) == 6
    assert sorted(pages(separate, "Observation", f"{query}&_count=1", joined)) == ["Observation/1a", "Observation/1b"]


def test_a_cursor_that_was_made_up_is_refused() -> None:
    store = clinic(*CHAIN)
    query = parse(parse_qsl("patient=1&_count=2"), "Observation")
    pairs = (("Patient/1", ("account#Organization/a#0",)),)
    forged = cursor.encode("Observation/1a", None, structs.replace(query, replaced=pairs))
    with pytest.raises(BadRequest):
        search(store, "Observation", f"patient=1&_count=2&_cursor={forged}")
    with pytest.raises(BadRequest):
        search(store, "Observation", "patient=1&_count=2&_cursor=abc")


# Behind a fence


def hiding(*hidden: str) -> Any:
    def fence(candidate: Version) -> bool:
        return candidate.key not in hidden

    return fence


def test_links_are_followed_only_from_whom_the_caller_sees() -> None:
    store = clinic(*CHAIN)
    assert len(pages(store, "Observation", "patient=1", fence=hiding())) == 6
    assert len(pages(store, "Observation", "patient=1", fence=hiding("Patient/2"))) == 4
    assert len(pages(store, "Observation", "patient=1", fence=hiding("Patient/1"))) == 2
    assert len(pages(store, "Observation", "patient=1", fence=hiding("Observation/3a"))) == 5
    assert pages(store, "Patient/1/Observation", "", fence=hiding("Patient/1")) == []


# All of it at once


@settings(max_examples=60, deadline=None)
@given(st.lists(st.lists(st.sampled_from("12345"), max_size=3), min_size=5, max_size=5), st.integers(1, 4))
def test_it_equals_the_union_of_plain_searches(links: list[list[str]], count: int) -> None:
    """For any web of links: who replaces whom by a walk of three lines, and one search for each of them."""
    plain = clinic()
    linked = clinic(*(replacing(str(number + 1), *others) for number, others in enumerate(links) if others))
    for start in "12345":
        reached = [start]
        for number in reached:
            reached += [other for other in dict.fromkeys(links[int(number) - 1]) if other not in reached]
        for path, query in (("Observation", "patient=%s&code=a,b"), ("Encounter", "subject=Patient/%s")):
            union = {key for number in reached for key in pages(plain, path, query % number)}
            assert sorted(pages(linked, path, f"{query % start}&_count={count}")) == sorted(union)
        union = {
            key for number in reached for key in keys(search(linked, "Encounter", f"_compartment=Patient/{number}"))
        }
        assert pages(linked, f"Patient/{start}/Encounter", f"_count={count}") == sorted(union)

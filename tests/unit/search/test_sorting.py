"""`_sort`: by any parameters, in both directions, and from page to page."""

from __future__ import annotations

import pytest

from bulkhead.errors import BadRequest
from tests.support.memory_store import MemoryStore
from tests.support.search_samples import observation, patient, quantity
from tests.support.searches import pages, search


def people() -> MemoryStore:
    store = MemoryStore()
    store.put(patient("a", name=[{"family": "Zorn"}, {"family": "Ängström"}], birthDate="1970", gender="male"))
    store.put(patient("b", name=[{"family": "baker"}], birthDate="1970-06", gender="female"))
    store.put(patient("c", name=[{"family": "Miller"}], birthDate="1950-01-01", gender="male"))
    store.put(patient("d", gender="female"))
    store.put(patient("e", birthDate="1950-01-01", gender="other"))
    return store


@pytest.mark.parametrize(
    ("sort", "expected"),
    [
        ("family", "abcde"),
        ("-family", "acbde"),
        ("birthdate", "ceabd"),
        ("-birthdate", "abced"),
        ("gender,-_id", "dbcae"),
        ("-gender,birthdate", "ecabd"),
        ("gender,birthdate,_id", "bdcae"),
        ("-_lastUpdated", "edcba"),
        ("-_id", "edcba"),
    ],
)
@pytest.mark.parametrize("count", [1, 2, 50])
def test_the_order_holds_over_pages(sort: str, expected: str, count: int) -> None:
    found = pages(people(), "Patient", f"_sort={sort}&_count={count}")
    assert "".join(key.partition("/")[2] for key in found) == expected


def test_numbers_sort_as_numbers() -> None:
    store = MemoryStore()
    for number, value in enumerate([9, 10, 2.5, -1]):
        store.put(observation(str(number), valueQuantity=quantity(value)))
    found = pages(store, "Observation", "code=1234-5&_sort=value-quantity&_count=3")
    assert found == [f"Observation/{number}" for number in (3, 2, 0, 1)]


def test_a_change_between_pages_moves_nothing_else() -> None:
    store = people()

    def change(page: int) -> None:
        if page == 0:
            store.put(patient("a", birthDate="2000"))

    assert sorted(set(pages(store, "Patient", "_sort=birthdate&_count=3", change))) == [
        f"Patient/{name}" for name in "abcde"
    ]


def test_no_value_stands_in_the_link() -> None:
    import base64

    bundle = search(people(), "Patient", "_sort=family&_count=1")
    text = next(one["url"] for one in bundle["link"] if one["relation"] == "next").partition("_cursor=")[2]
    assert b"Patient/a" in base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    assert b"angstrom" not in base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


@pytest.mark.parametrize("sort", ["nonsense", "name,nonsense", "near", "_text", "_list"])
def test_what_cannot_be_sorted_by_is_refused(sort: str) -> None:
    with pytest.raises(BadRequest):
        search(people(), "Patient", f"_sort={sort}")

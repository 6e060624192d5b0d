"""A table that older code has written: until each resource has its new entries, answers are what they were; then they come from these."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from bulkhead.facts import index_facts
from bulkhead.facts.index_facts import Facts, Value
from bulkhead.store import Store, date_months, keys, layout, rounds, transactions
from bulkhead.store.table import key_of
from tests.support.search_samples import LOINC, observation, patient
from tests.support.searches import pages
from tests.unit.store.test_integrity import Paging, check, facts_of, put

QUERIES = [
    "patient=1&_sort=-date&_count=3",
    "_sort=date&_count=3",
    "_sort=-date&_count=3",
    "date=ge2020-03&_count=3",
    "patient=1&date=ge2020-03&_count=3",
    "patient=1&code=a&_count=3",
    "patient=1&code=a&_sort=date&_count=3",
    "patient=1&category=k&_count=3",
    "patient=1&category=k&_sort=-date&_count=3",
    "code=a&_count=3",
    "code=a&_sort=-date&_count=3",
    f"combo-code={LOINC}|a&patient=1&_count=3",
]


def older(key: str, facts: Facts | None) -> dict[keys.Key, keys.Entry]:
    """The entries as older code made them: codes sorted by patient and system, and nothing by date."""
    if facts is None:
        return {}
    owners = index_facts.patients(facts.targets) or ("",)
    values = {one for one in facts.values if one.parameter != "code"}
    codes = {one.value for one in facts.values if one.parameter == "code"}
    values |= {Value("code", code, f"{owner}#{LOINC}") for code in codes for owner in owners}
    values = {one for one in values if not (one.value.endswith("+") and keys.is_date_month(one.value))}
    return newer(key, Facts(facts.targets, frozenset(values)))


newer = keys.index_entries


def forget(store: Store) -> None:
    """As another process, which does not know the table yet."""
    layout._known.pop(store.table, None)


def write(store: Store, number: int, day: str, code: str = "a") -> None:
    kind = [{"coding": [{"code": "kl"[number % 3 == 0]}]}]
    put(store, observation(f"{number:02d}", code, f"Patient/{number % 2 + 1}", effectiveDateTime=day, category=kind))


def answers(store: Store) -> list[list[str]]:
    return [sorted(pages(store, "Observation", query)) for query in QUERIES]


@pytest.fixture
def old(store: Store, monkeypatch: pytest.MonkeyPatch) -> Store:
    """Twelve observations of two patients, as older code left them."""
    with monkeypatch.context() as before:
        before.setattr(keys, "index_entries", older)
        before.setattr(date_months, "note", lambda table, writes: None)
        for number in (1, 2):
            put(store, patient(str(number)))
        for number in range(12):
            write(store, number, f"2020-{number + 1:02d}-03", "ab"[number % 3 == 0])
        write(store, 12, "2019", "a")
    store.table.put_many([], [(keys.LAYOUT, keys.HEAD)])
    forget(store)
    return store


def in_order(store: Store) -> bool:
    """Whether the newest of a patient are what the index gives."""
    return pages(store, "Observation", "patient=2&_sort=-date&_count=2") == [f"Observation/{n:02d}" for n in (11, 9, 7, 5, 3, 1)]  # fmt: skip


def test_a_new_table_has_all_from_its_first_write_on(store: Store) -> None:
    assert not store.is_in_clinical_order()
    assert not store.is_in_date_order()
    put(store, patient("1"))
    forget(store)
    assert store.is_in_clinical_order()
    assert store.is_in_date_order()


def test_a_table_in_clinical_order_only_gets_the_order_of_all_dates_from_a_check(old: Store) -> None:
    """Of the layout before: its entries are in use, and a whole check completes the next ones."""
    check(old)
    months = old.date_months("Observation", "date")
    assert months[0] == "2019-12+"
    gone = [(keys.DATE_MONTHS, keys.date_month_sort("Observation", "date", month)) for month in months]
    old.table.put_many([], gone)
    item: Any = {**key_of((keys.LAYOUT, keys.HEAD)), "layout": {"N": str(layout.CLINICAL)}}
    old.table.put(item)
    forget(old)
    expected = answers(old)
    assert old.is_in_clinical_order()
    assert not old.is_in_date_order()
    assert check(old).missing == len(months)
    assert old.is_in_date_order()
    assert old.date_months("Observation", "date") == months
    assert answers(old) == expected


def without_categories(key: str, facts: Facts | None) -> dict[keys.Key, keys.Entry]:
    """The entries as the code of the layout before made them."""
    kept = facts and replace(facts, dated=frozenset(one for one in facts.dated if "|category|" not in one.value))
    return newer(key, kept)


def test_a_table_without_categories_gets_them_from_a_check(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was written before is found by the patient, and keeps the entries of its codes and dates."""
    with monkeypatch.context() as before:
        before.setattr(keys, "index_entries", without_categories)
        put(store, patient("1"))
        for number in range(0, 12, 2):
            write(store, number, f"2020-{number + 1:02d}-03")
    item: Any = {**key_of((keys.LAYOUT, keys.HEAD)), "layout": {"N": str(layout.DELETIONS)}}
    store.table.put(item)
    forget(store)
    # Both kinds of entries stand beside each other.
    write(store, 4, "2020-05-04")
    expected = answers(store)
    assert all(found for query, found in zip(QUERIES, expected, strict=True) if "patient=1" in query)
    assert store.is_in_clinical_order()
    assert not store.has_categories()
    assert check(store).missing
    assert store.has_categories()
    assert answers(store) == expected
    with store.metered() as meter:
        assert len(pages(store, "Observation", "patient=1&category=k&_sort=-date")) == 4
    assert meter.units["BatchGetItem"] <= 5
    assert check(store).clean


def test_nothing_is_missed_before_the_check_while_it_goes_on_and_after_it(old: Store) -> None:
    expected = answers(old)
    assert all(expected)
    assert in_order(old)
    assert not old.is_in_clinical_order()
    # What is written meanwhile has new entries, besides old ones of what has not changed.
    for number in (0, 4):
        write(old, number, f"2020-{number + 1:02d}-03", "a" if number else "b")
        write(old, number, f"2020-{number + 1:02d}-04", "a" if number else "b")
    expected = answers(old)
    assert in_order(old)
    assert not old.is_in_clinical_order()
    report = check(old)
    assert report.missing
    assert report.stale
    assert old.is_in_clinical_order()
    assert answers(old) == expected
    assert in_order(old)
    assert check(old).clean


def test_a_dry_run_changes_nothing(old: Store) -> None:
    assert check(old, repair=False).missing
    assert not old.is_in_clinical_order()


def test_what_a_large_transaction_holds_is_waited_for(old: Store) -> None:
    transaction = transactions.begin(old.table, ["Observation/03"], 60)
    head: Any = {"S": transaction}
    old.table.write([old.table.update_action(("Observation/03", keys.HEAD), "SET #txn = :t", {":t": head})])
    assert check(old).held
    assert not old.is_in_clinical_order()
    transactions.decide(old.table, transaction, transactions.ABORTED)
    old.release(["Observation/03"])
    assert not check(old).held
    assert old.is_in_clinical_order()


def test_rounds_give_all_their_entries_too_but_not_those_that_older_code_began(
    old: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    old.table.client = Paging(old.table.client)  # type: ignore[assignment] # it wraps a client

    def some() -> None:
        rounds.check_on(old.table, facts_of(old), old._bodies, pages=4, time_left=lambda: True)

    rounds.check_on(old.table, facts_of(old), old._bodies, pages=4, time_left=lambda: False)
    assert not old.is_in_clinical_order()
    some()
    for number in range(4):
        place = keys.INTEGRITY, f"{number:04d}"
        item = old.table.get(place)
        assert item
        # As older code leaves it: it says nothing of the layout.
        old.table.put({**key_of(place), **({"after": item["after"]} if "after" in item else {})})
    turns = 0
    while not old.is_in_clinical_order():
        some()
        turns += 1
        assert turns < 100
    assert turns > 2
    assert check(old).clean
    assert in_order(old)


def test_resources_without_patients_or_dates_are_brought_up_to_date(
    old: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as before:
        before.setattr(keys, "index_entries", older)
        put(old, observation("g", "a", "Group/1"))
        put(old, observation("u", "a", "Patient/2"))
    check(old)
    assert pages(old, "Observation", "code=a&_sort=date&_count=4")[-2:] == ["Observation/g", "Observation/u"]
    assert pages(old, "Observation", "patient=2&_sort=-date&_count=4")[-1] == "Observation/u"


def test_the_older_entries_of_these_tests_are_those_of_older_code() -> None:
    facts = index_facts.facts(observation("1", "a", effectiveDateTime="2020-01-02"))
    entries = {attributes["vsk"] for attributes, _ in older("Observation/1", facts).values() if "vsk" in attributes}
    assert entries == {f"Patient/1#{LOINC}#1", "2020-01-02T00:00:00.000Z#1"}

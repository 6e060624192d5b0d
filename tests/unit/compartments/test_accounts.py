"""Own and inherited accounts."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulkhead.compartments import accounts
from bulkhead.store import Head
from bulkhead.store.heads import NEVER, OWN, shown

NAMES = st.sampled_from([f"Organization/{letter}" for letter in "abcde"])
LISTS = st.lists(NAMES, max_size=5).map(lambda names: tuple(dict.fromkeys(names)))
INHERITED = st.dictionaries(st.sampled_from(["Patient/1", "Patient/2", "Encounter/1"]), LISTS, max_size=3)


def head(key: str = "Patient/1", body: bytes | None = b"z", **more: Any) -> Head:
    return Head(key, 1, "2026-11-22T00:00:00.000Z", "PUT", body, **more)


def test_own_accounts_come_first_each_once() -> None:
    inherited = {"Patient/2": ("Organization/c", "Organization/a"), "Patient/1": ("Organization/b",)}
    assert shown(("Organization/a",), inherited) == ("Organization/a", "Organization/b", "Organization/c")


@given(LISTS, INHERITED)
def test_shown_is_the_union(explicit: tuple[str, ...], inherited: dict[str, tuple[str, ...]]) -> None:
    found = shown(explicit, inherited)
    assert len(found) == len(set(found))
    assert found[: len(explicit)] == explicit
    assert set(found) == set(explicit).union(*inherited.values())


def test_a_patient_always_passes_on_its_own_accounts_only() -> None:
    patient = head(explicit=("Organization/a",), inherited={"Patient/2": ("Organization/b",)})
    assert tuple(accounts.passed_on(patient, {})) == ("Organization/a",)


@pytest.mark.parametrize("propagate", [True, False])
def test_other_targets_pass_on_while_they_propagate(propagate: bool) -> None:
    encounter = head("Encounter/1", explicit=("Organization/a",), propagate=propagate)
    assert tuple(accounts.passed_on(encounter, {})) == (("Organization/a",) if propagate else ())


def test_what_is_absent_passes_on_nothing_and_what_is_deleted_what_its_tombstone_has() -> None:
    assert accounts.passed_on(None, {}) == {}
    assert tuple(accounts.passed_on(head(body=None, explicit=("Organization/a",)), {})) == ("Organization/a",)


@given(LISTS, INHERITED)
def test_an_echo_of_what_is_shown_changes_nothing(
    explicit: tuple[str, ...], inherited: dict[str, tuple[str, ...]]
) -> None:
    base = head(explicit=explicit, inherited=inherited)
    assert accounts.own(base.accounts, base, None) == explicit


def test_a_new_account_in_an_echo_is_added() -> None:
    base = head(explicit=("Organization/a",), inherited={"Patient/2": ("Organization/b",)})
    asked = ("Organization/a", "Organization/b", "Organization/c", "Organization/c")
    assert accounts.own(asked, base, None) == ("Organization/a", "Organization/c")


@given(LISTS, INHERITED, LISTS)
def test_nor_does_one_of_a_fenced_caller(
    explicit: tuple[str, ...], inherited: dict[str, tuple[str, ...]], within: tuple[str, ...]
) -> None:
    base = head(explicit=explicit, inherited=inherited)
    asked = accounts.own(base.accounts, base, within)
    assert set(asked) <= set(within)
    assert accounts.replaced(explicit, asked, within) == explicit


@given(LISTS, LISTS, LISTS)
def test_own_accounts_are_replaced_within_a_fence_only(
    standing: tuple[str, ...], asked: tuple[str, ...], within: tuple[str, ...]
) -> None:
    asked = tuple(account for account in asked if account in within)
    found = accounts.replaced(standing, asked, within)
    assert [one for one in found if one in within] == list(asked)
    assert [one for one in found if one not in within] == [one for one in standing if one not in within]
    assert accounts.replaced(found, asked, within) == found


def test_the_others_keep_their_places() -> None:
    a, b, c, d, e = (f"Organization/{letter}" for letter in "abcde")
    assert accounts.replaced((a, b, c), (d,), (b, d)) == (a, d, c)
    assert accounts.replaced((a, b, c), (), (b, d)) == (a, c)
    assert accounts.replaced((a, b, c), (d, b, e), (b, d, e)) == (a, d, c, b, e)
    assert accounts.replaced((a, b), (c, c, d), None) == (c, d)


SOON, LATER = "2026-12-01T00:00:00.000Z", "2027-01-01T00:00:00.000Z"


def test_what_is_passed_on_ends_when_the_targets_own_does() -> None:
    patient = head(explicit=("Organization/a", "Organization/b"), ends={OWN: {"Organization/a": SOON}})
    assert accounts.passed_on(patient, {}) == {"Organization/a": SOON, "Organization/b": NEVER}


@pytest.mark.parametrize(
    ("carries", "passed"),
    [
        ({}, {}),
        ({"Organization/c": SOON}, {"Organization/a": SOON}),
        ({"Organization/c": SOON, "Organization/d": NEVER}, {"Organization/a": LATER}),
    ],
)
def test_what_is_handed_on_for_the_sake_of_another_account_ends_with_it(
    carries: dict[str, str], passed: dict[str, str]
) -> None:
    bound = {"Organization/a": ("Organization/c", "Organization/d")}
    encounter = head(
        "Encounter/1",
        explicit=("Organization/a",),
        ends={OWN: {"Organization/a": LATER}},
        propagate=True,
        within=bound,
    )
    assert accounts.passed_on(encounter, carries) == passed


def test_a_resource_carries_an_account_as_long_as_one_of_its_patients_gives_it() -> None:
    given = {
        "Patient/1": {"Organization/a": SOON},
        "Patient/2": {"Organization/a": LATER},
        "Encounter/1": {"x/y": NEVER},
    }
    assert accounts.carried({"Organization/a": SOON}, given) == {"Organization/a": LATER}

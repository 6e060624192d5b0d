"""Which searches are counted by accounts alone."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qsl

import pytest

from bulkhead.search.counting import accounts_of
from bulkhead.search.parse import parse
from bulkhead.search.query import Query
from bulkhead.store.version import ListedFence, OpenFence, everything
from tests.support.searches import BASE

A, B = "Organization/a", "Organization/b"


def query(text: str, compartment: str | None = None) -> Query:
    types: dict[str, Any] = {"compartment": compartment, "compartment_types": ["Observation"]} if compartment else {}
    return parse(parse_qsl(text, keep_blank_values=True), "Observation", base=BASE, **types)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (f"_account={A}", {A}),
        (f"_account={A},{B}", {A, B}),
        (f"_account={BASE}/{A}", {A}),
        (f"_account={A}&_sort=-date&_count=3", {A}),
        # Of any type, of another server, of a version.
        ("_account=a", None),
        (f"_account={A},b", None),
        (f"_account=http://elsewhere/{A}", None),
        (f"_account={A}/_history/1", None),
        ("_account:missing=true", None),
        # Other conditions, and more than one.
        ("", None),
        ("status=final", None),
        (f"_account={A}&_account={B}", None),
        (f"_account={A}&status=final", None),
        (f"_account={A}&subject:Patient.name=x", None),
        (f"_account={A}&_has:Provenance:target:_id=x", None),
    ],
)
def test_who_sees_all_counts_by_the_accounts_that_are_asked_for(text: str, expected: set[str] | None) -> None:
    assert accounts_of(query(text), everything, "Observation") == expected
    assert accounts_of(query(text), OpenFence(everything, lambda name: True), "Observation") == expected
    assert accounts_of(query(text), OpenFence(everything, lambda name: False), "Observation") is None
    assert accounts_of(query(text), lambda candidate: True, "Observation") is None


@pytest.mark.parametrize("text", ["", f"_account={A}", f"_account={A},{B}"])
def test_under_a_fence_every_match_is_read(text: str) -> None:
    """The index lags: nobody is to count what was taken from it a moment ago."""
    assert accounts_of(query(text), ListedFence(everything, lambda name: (("_account", A),)), "Observation") is None


def test_a_compartment_is_more_than_accounts() -> None:
    assert accounts_of(query(f"_account={A}", "Patient/1"), everything, "Observation") is None

"""UCUM: what converts into what, and what does not."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulkhead.search import units
from infra.compile_units import compiled
from tests.support.memory_store import MemoryStore
from tests.support.search_samples import observation, quantity
from tests.support.searches import keys, search

UCUM = units.SYSTEM


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        ("mg", "g", "0.001"),
        ("10*3/uL", "10*9/L", "1"),
        ("mm[Hg]", "kPa", "0.133322"),
        ("kg/m2", "g/cm2", "0.1"),
        ("[lb_av]", "kg", "0.45359237"),
        ("mg/(kg.d)", "g/kg/d", "0.001"),
        ("/min", "{beats}/min", "1"),
        ("mL/min/{1.73_m2}", "mL/min", "1"),
        ("%", "1", "0.01"),
        ("mmol/L", "mol/m3", "1"),
        ("a", "mo", "12"),
    ],
)
def test_what_one_unit_is_of_another(one: str, other: str, expected: str) -> None:
    assert units.ratio(one, other) == Decimal(expected)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("mg", "mL"),
        ("[IU]", "U"),
        ("Cel", "K"),
        ("nonsense", "nonsense"),
        ("(", "1"),
        ("mg/", "mg"),
        ("1" * 200, "1"),
        ("1", "0"),
        ("1", "/0"),
    ],
)
def test_what_does_not_measure_the_same_has_no_ratio(one: str, other: str) -> None:
    assert units.ratio(one, other) is None


@given(st.text("mgL/.()*^10-+{}[]Hkd u%", max_size=30))
def test_any_text_is_a_unit_or_none(text: str) -> None:
    found = units.canonical(text)
    assert found is None or found.factor >= 0


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        (f"5.4|{UCUM}|mg", "mg g"),
        (f"0.0054|{UCUM}|g", "mg g"),
        (f"5400|{UCUM}|ug", "mg g"),
        (f"5.4e-3|{UCUM}|g", "mg g"),
        (f"gt5|{UCUM}|mg", "mg g"),
        (f"gt5|{UCUM}|g", ""),
        (f"lt5.4|{UCUM}|g", "mg g"),
        (f"5.4|{UCUM}|mL", ""),
        ("5.4||mg", "mg other"),
        ("5.4|http://other|mg", "other"),
    ],
)
def test_a_quantity_is_found_in_any_unit_of_its_kind(asked: str, found: str) -> None:
    store = MemoryStore()
    store.put(observation("mg", valueQuantity=quantity(Decimal("5.4"), "mg")))
    store.put(observation("g", valueQuantity=quantity(Decimal("0.0054"), "g")))
    store.put(observation("other", valueQuantity=quantity(Decimal("5.4"), "mg", "http://other")))
    store.put(observation("Cel", valueQuantity=quantity(Decimal("5.4"), "Cel")))
    assert sorted(keys(search(store, "Observation", f"value-quantity={asked}"))) == sorted(
        f"Observation/{name}" for name in found.split()
    )


def test_a_special_unit_is_equal_to_itself() -> None:
    store = MemoryStore()
    store.put(observation("t", valueQuantity=quantity(Decimal("37.0"), "Cel")))
    assert keys(search(store, "Observation", f"value-quantity=37|{UCUM}|Cel")) == ["Observation/t"]


ESSENCE = b"""<root xmlns="http://unitsofmeasure.org/ucum-essence">
  <prefix Code="k"><value value="1e3"/></prefix>
  <base-unit Code="m"/>
  <unit Code="[ft]" isMetric="no"><value Unit="m" value="0.3"/></unit>
  <unit Code="[acre]" isMetric="no"><value Unit="[ft]2" value="100"/></unit>
  <unit Code="[mi]" isMetric="no"><value Unit="km" value="1.6"/></unit>
  <unit Code="[IU]" isMetric="yes" isArbitrary="yes"><value Unit="1" value="1"/></unit>
  <unit Code="Cel" isMetric="yes" isSpecial="yes"><value Unit="cel(1 K)"/></unit>
</root>"""


def test_the_table_is_made_from_ucums_own_definitions() -> None:
    table = compiled(ESSENCE)
    assert table.metric == {"m": ("1", {"m": 1}), "[IU]": ("1", {"[IU]": 1})}
    assert table.plain == {"[ft]": ("3/10", {"m": 1}), "[acre]": ("9", {"m": 2}), "[mi]": ("1600", {"m": 1})}

"""`Location?near=`: distances along the great circle, units, and what has no position."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulkhead.search.geography import RADIUS, distance
from bulkhead.search.query import NearValue
from tests.support.memory_store import MemoryStore
from tests.support.searches import keys, pages, search

PLACES = {
    "zurich": (47.3769, 8.5417),
    "bern": (46.9480, 7.4474),
    "boston": (42.3601, -71.0589),
    "fiji": (-17.7134, 178.065),
    "samoa": (-13.759, -172.1046),
    "pole": (90, 0),
}


NOT_ON_EARTH: list[tuple[Any, Any]] = [
    (Decimal("9" * 400), 0),
    (0, Decimal("-" + "9" * 400)),
    (1e300, 1e300),
    (91, 0),
    (0, 361),
]


def world() -> MemoryStore:
    store = MemoryStore()
    for name, (latitude, longitude) in PLACES.items():
        position = {"latitude": latitude, "longitude": longitude}
        store.put({"resourceType": "Location", "id": name, "position": position, "status": "active"})
    store.put({"resourceType": "Location", "id": "nowhere", "status": "active"})
    for number, (north, east) in enumerate(NOT_ON_EARTH):
        far: dict[str, Any] = {"latitude": north, "longitude": east}
        store.put({"resourceType": "Location", "id": f"far-{number}", "position": far, "status": "active"})
    store.put({"resourceType": "PractitionerRole", "id": "role", "location": [{"reference": "Location/bern"}]})
    return store


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("near=47.3769|8.5417|1", "zurich"),
        ("near=47.3769|8.5417|100|km", "bern zurich"),
        ("near=47.3769|8.5417|95", "zurich"),
        ("near=47.3769|8.5417|95000|m", "zurich"),
        ("near=47.3769|8.5417|96000|m", "bern zurich"),
        ("near=47.3769|8.5417|59|[mi_us]", "zurich"),
        ("near=47.3769|8.5417|60|[mi_us]", "bern zurich"),
        ("near=47.3769|8.5417|60|mi", "bern zurich"),
        ("near=47.4|8.5", "zurich"),
        ("near=47.4|8.5||", "zurich"),
        ("near=-17.7|178|1200", "fiji samoa"),
        ("near=89.9|120|12", "pole"),
        ("near=47.3769|8.5417|1,42.36|-71.06|1", "boston zurich"),
        ("near=47.3769|8.5417|100&near=46.948|7.4474|1", "bern"),
        ("near=0|0|0", ""),
        ("near=90|0|0", "pole"),
        ("near=0|0|30000&_sort=_id", "bern boston fiji pole samoa zurich"),
        ("near=47.3769|8.5417|100&status=inactive", ""),
    ],
)
def test_what_is_near(query: str, expected: str) -> None:
    assert sorted(pages(world(), "Location", query)) == [f"Location/{name}" for name in expected.split()]


def test_what_is_near_behind_chains() -> None:
    assert keys(search(world(), "PractitionerRole", "location.near=47|7.5|20")) == ["PractitionerRole/role"]
    assert keys(search(world(), "PractitionerRole", "location.near=48|7.5|20")) == []


@given(st.floats(-90, 90), st.floats(-180, 180), st.floats(-90, 90), st.floats(-180, 180))
def test_a_distance_is_the_same_both_ways_and_at_most_half_round(
    latitude: float, longitude: float, other_latitude: float, other_longitude: float
) -> None:
    there = distance(latitude, longitude, NearValue(other_latitude, other_longitude, 0))
    back = distance(other_latitude, other_longitude, NearValue(latitude, longitude, 0))
    assert there == pytest.approx(back)
    assert 0 <= there <= RADIUS * 3.1416
    # Along a meridian it is the difference in latitude.
    along = distance(latitude, longitude, NearValue(other_latitude, longitude, 0))
    assert along == pytest.approx(abs(latitude - other_latitude) * RADIUS * 3.14159265358979 / 180, abs=0.5)

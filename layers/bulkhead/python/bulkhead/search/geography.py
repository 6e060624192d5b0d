"""`Location?near=` (R4 location.html#search): positions within a distance of a point, along the great circle of WGS 84's sphere."""

from __future__ import annotations

from math import asin, cos, radians, sin, sqrt
from typing import Any

from bulkhead.search.query import NearValue

RADIUS = 6_371_008.8
"""Metres: the mean radius of the Earth."""

_POLE = 90
# Some count eastwards from 0 to 360.
_ROUND = 360


def is_near(position: dict[str, Any], value: NearValue) -> bool:
    """Whether a `Location.position` is within the searched distance. R4 does not bound its numbers: what is not on Earth is near nothing."""
    if "latitude" not in position or "longitude" not in position:
        return False
    if abs(position["latitude"]) > _POLE or abs(position["longitude"]) > _ROUND:
        return False
    return distance(float(position["latitude"]), float(position["longitude"]), value) <= value.metres


def distance(latitude: float, longitude: float, value: NearValue) -> float:
    """Metres between a position and the searched point, by the haversine formula."""
    north = sin(radians(latitude - value.latitude) / 2) ** 2
    east = sin(radians(longitude - value.longitude) / 2) ** 2
    chord = north + cos(radians(latitude)) * cos(radians(value.latitude)) * east
    return 2 * RADIUS * asin(sqrt(min(max(chord, 0.0), 1.0)))

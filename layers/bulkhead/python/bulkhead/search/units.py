"""UCUM units: converts between them, so that a search for `5.4 mg` finds `0.0054 g` (R4 search.html, 3.1.1.4.9).

A small parser of UCUM's grammar over a table of its units, which infra/compile_units.py makes. A special unit, whose
zero or scale is not that of its base (Cel, pH), equals only itself.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from decimal import Decimal
from fractions import Fraction
from functools import cache, lru_cache
from pathlib import Path
from typing import NamedTuple

import msgspec

SYSTEM = "http://unitsofmeasure.org"
DATA = Path(__file__).parent / "data" / "units.json"
LONGEST = 100
"""The limit on the characters of a unit."""


class Unit(NamedTuple):
    """A multiple of base units: `factor` times the product of each to its power."""

    factor: Fraction
    dimensions: tuple[tuple[str, int], ...] = ()
    """Sorted by base unit; none with power 0."""


class Table(msgspec.Struct, frozen=True):
    """Contents of units.json: factors as text, such as `1e-3` or `3600`."""

    prefixes: Mapping[str, str]
    metric: Mapping[str, tuple[str, Mapping[str, int]]]
    """Units that take prefixes: factor, and powers of base units."""
    plain: Mapping[str, tuple[str, Mapping[str, int]]]


Find = Callable[[str], Unit | None]
"""Finds the unit of a symbol, prefix included."""

ONE = Unit(Fraction(1))

_COMPONENT = re.compile(
    r"(?:(?P<number>\d+)(?![\d*^])|(?P<symbol>10[*^]|(?:[^\[\]{}()./\d+\-\s]|\[[^\]]*\])+)(?P<power>[+-]?\d{1,2})?)?(?P<note>\{[^}]*\})?"
)


def ratio(code: str, other: str) -> Decimal | None:
    """The factor that converts a number of `code` to one of `other`; None if they measure different things."""
    one, two = canonical(code), canonical(other)
    if one is None or two is None or one.dimensions != two.dimensions or not two.factor:
        return None
    factor = one.factor / two.factor
    return Decimal(factor.numerator) / Decimal(factor.denominator)


@lru_cache(maxsize=4096)
def canonical(code: str) -> Unit | None:
    """A UCUM unit in base units; None for any other text, and for a special unit."""
    return parse(code, symbol) if len(code) <= LONGEST else None


def symbol(text: str) -> Unit | None:
    known = table()
    found = known.metric.get(text) or known.plain.get(text)
    if found:
        return unit(*found)
    for length in (1, 2):
        prefix, atom = known.prefixes.get(text[:length]), known.metric.get(text[length:])
        if prefix and atom:
            factor, dimensions = unit(*atom)
            return Unit(factor * Fraction(prefix), dimensions)
    return None


def unit(factor: str, dimensions: Mapping[str, int]) -> Unit:
    return Unit(Fraction(factor), tuple(sorted(dimensions.items())))


@cache
def table() -> Table:
    return msgspec.json.decode(DATA.read_bytes(), type=Table)


def parse(text: str, find: Find) -> Unit | None:
    """The unit of a whole expression such as `10*3/uL`, `mg/(kg.d)` or `mm[Hg]`; None if it is not a unit."""
    found, rest = _term(text, find)
    return found if rest == "" else None


def _term(text: str, find: Find) -> tuple[Unit | None, str]:
    """Parses one term at the beginning of `text`, components from left to right; returns its unit and the rest of the text."""
    total: Unit | None = ONE
    sign = 1
    if text.startswith("/"):
        sign, text = -1, text[1:]
    while total is not None:
        component, text = _component(text, find)
        total = None if component is None else product(total, power(component, sign))
        if not text.startswith((".", "/")):
            break
        sign, text = (1 if text[0] == "." else -1), text[1:]
    return total, text


def _component(text: str, find: Find) -> tuple[Unit | None, str]:
    if text.startswith("("):
        found, rest = _term(text[1:], find)
        return (found, rest[1:]) if rest.startswith(")") else (None, rest)
    match = _COMPONENT.match(text)
    if match is None or not match[0]:
        return None, text
    rest = text[match.end() :]
    if match["number"]:
        return Unit(Fraction(match["number"])), rest
    if not match["symbol"]:
        return ONE, rest
    found = find(match["symbol"])
    return (None if found is None else power(found, int(match["power"] or 1))), rest


def product(one: Unit, other: Unit) -> Unit:
    powers = dict(one.dimensions)
    for base, exponent in other.dimensions:
        powers[base] = powers.get(base, 0) + exponent
    return Unit(one.factor * other.factor, tuple(sorted((base, count) for base, count in powers.items() if count)))


def power(one: Unit, exponent: int) -> Unit:
    if one.factor == 0:
        return one
    return Unit(one.factor**exponent, tuple((base, count * exponent) for base, count in one.dimensions if exponent))

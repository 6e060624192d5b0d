"""Make the table of UCUM units from UCUM's own definition file: `python -m infra.compile_units ucum-essence.xml`.

The file comes with the Python package ucumvert (vendor/ucum-essence.xml), or from https://ucum.org. The table
holds what a unit is worth in base units, and nothing of UCUM's names and descriptions.
"""

from __future__ import annotations

import sys
from fractions import Fraction
from functools import cache
from pathlib import Path

import msgspec
from lxml import etree

from bulkhead.search import units
from bulkhead.search.units import Table, Unit

NAMESPACE = "{http://unitsofmeasure.org/ucum-essence}"
ROWS = tuple[str, dict[str, int]]


def compiled(source: bytes) -> Table:
    """The table of all units but the special ones. An arbitrary unit ([IU]) is a base of its own."""
    root = etree.fromstring(source)
    prefixes = {
        item.get("Code"): item.find(f"{NAMESPACE}value").get("value") for item in root.iter(f"{NAMESPACE}prefix")
    }
    bases = {item.get("Code") for item in root.iter(f"{NAMESPACE}base-unit")}
    atoms = {item.get("Code"): item for item in root.iter(f"{NAMESPACE}unit")}

    @cache
    def atom(code: str) -> Unit | None:
        if code in bases or (code in atoms and atoms[code].get("isArbitrary") == "yes"):
            return Unit(Fraction(1), ((code, 1),))
        if code not in atoms or atoms[code].get("isSpecial") == "yes":
            return None
        value = atoms[code].find(f"{NAMESPACE}value")
        worth = units.parse(value.get("Unit"), find)
        return worth and Unit(Fraction(value.get("value")) * worth.factor, worth.dimensions)

    def find(symbol: str) -> Unit | None:
        if symbol in bases or symbol in atoms:
            return atom(symbol)
        for prefix, factor in prefixes.items():
            rest = symbol.removeprefix(prefix)
            if rest != symbol and (rest in bases or (rest in atoms and atoms[rest].get("isMetric") == "yes")):
                found = atom(rest)
                return found and Unit(Fraction(factor) * found.factor, found.dimensions)
        return None

    metric: dict[str, ROWS] = {}
    plain: dict[str, ROWS] = {}
    for code in sorted({*bases, *atoms}):
        found = atom(code)
        if found is not None:
            takes_prefixes = code in bases or atoms[code].get("isMetric") == "yes"
            (metric if takes_prefixes else plain)[code] = (str(found.factor), dict(found.dimensions))
    return Table(prefixes, metric, plain)


if __name__ == "__main__":
    table = compiled(Path(sys.argv[1]).read_bytes())
    units.DATA.write_bytes(msgspec.json.format(msgspec.json.encode(table), indent=0) + b"\n")

"""`python -m infra.local.integrity --data DIR`: compares a folder's resources with their index, and repairs differences.

It removes the large bodies that no version has, too, those of older code included. For a folder that no server uses. On AWS the sweeper does the
same every day, but looks for what older code left only when it is asked (docs/upgrading.md).
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any


def main(arguments: list[str]) -> int:
    """Prints the result. Returns 0 where the folder is intact or repaired; 1 where it is damaged, in use or missing."""
    parser = argparse.ArgumentParser(
        prog="python -m infra.local.integrity", description="Compare resources with the index."
    )
    parser.add_argument(
        "--data", type=Path, metavar="DIR", required=True, help="the folder of a server that does not run"
    )
    parser.add_argument("--dry-run", action="store_true", help="report differences and change nothing")
    options = parser.parse_args(arguments)
    from infra.local import aws, system

    if not (options.data / aws.TABLE_FILE).is_file():
        print(f"Cannot start: {options.data} is not a data folder", file=sys.stderr)
        return 1
    try:
        lock = system.lock(options.data)
    except system.DataInUse as error:
        print(f"Cannot start: {error}", file=sys.stderr)
        return 1
    emulation = aws.Aws(options.data, auth=True)
    try:
        found = _check(repair=not options.dry_run)
    finally:
        emulation.stop()
        lock.close()
    for name, number in found.items():
        if name != "names":
            print(f"{name}: {number}")
    for name in found["names"]:
        print(f"damaged: {name}")
    return 1 if found["damaged"] else 0


def _check(*, repair: bool) -> dict[str, Any]:
    from bulkhead.store import connect

    store = connect()
    if repair:
        # No other process works here: an unfinished transaction never finishes, unless its job takes it over at the next start.
        store.abort_open()
        store.sweep()
        # Nor does another table use this bucket: what nothing leads to is found by going through it.
        store.adopt_bodies(None, lambda: True)
    return asdict(store.check_integrity(repair=repair, patience=None))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

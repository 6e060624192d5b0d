"""A registry that keeps patients of its own in SQLite, from the feed `Patient/_history`: each change once, none missed.

    python examples/registry.py --base http://127.0.0.1:8000/fhir/R4 --token "$TOKEN" --file registry.sqlite

Each run takes over what has changed since the last one. It may be ended at any moment: a page of the feed and the place in the feed
are one commit of SQLite. How the server keeps its side of this is in docs/following-changes.md.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from typing import Any

import httpx
from fhir_client import accepted, arguments, connect

START = "Patient/_history?_sort=_lastUpdated&_count=50"
SCHEMA = """
CREATE TABLE IF NOT EXISTS patient (
    id TEXT PRIMARY KEY, version INTEGER NOT NULL, family TEXT, active INTEGER NOT NULL, deleted INTEGER NOT NULL, replaced_by TEXT
);
CREATE TABLE IF NOT EXISTS feed (one INTEGER PRIMARY KEY CHECK (one = 1), url TEXT NOT NULL);
"""


class Registry:
    """Patients as they were at the last poll."""

    def __init__(self, file: str) -> None:
        self.database = sqlite3.connect(file)
        self.database.executescript(SCHEMA)

    @property
    def url(self) -> str:
        """Where the feed goes on."""
        row = self.database.execute("SELECT url FROM feed").fetchone()
        return row[0] if row else START

    def poll(self, client: httpx.Client) -> int:
        """Take over what has changed. Returns the number of changes.

        The pages of a feed end with one that has no `next`; its `monitor` link is where the next poll begins.
        """
        changes = 0
        while True:
            page = accepted(client.get(self.url)).json()
            links = {link["relation"]: link["url"] for link in page["link"]}
            with self.database:
                for entry in page.get("entry", []):
                    self._take_over(entry)
                    changes += 1
                following = links.get("next") or links["monitor"]
                self.database.execute("INSERT OR REPLACE INTO feed VALUES (1, ?)", [following])
            if "next" not in links:
                return changes

    def _take_over(self, entry: dict[str, Any]) -> None:
        """One version of a Patient. A feed may bring an older one after a newer: the newer stays."""
        resource = entry.get("resource")
        identifier = entry["fullUrl"].rpartition("/")[2]
        version = int(entry["response"]["etag"].strip('W/"'))
        row = (
            identifier,
            version,
            (resource or {}).get("name", [{}])[0].get("family"),
            (resource or {}).get("active", True),
            resource is None,
            _replaced_by(resource or {}),
        )
        self.database.execute(
            "INSERT INTO patient VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO UPDATE SET version = excluded.version,"
            " family = excluded.family, active = excluded.active, deleted = excluded.deleted,"
            " replaced_by = excluded.replaced_by WHERE excluded.version > patient.version",
            row,
        )

    def resolve(self, identifier: str) -> str:
        """The patient who answers for this one now, through all merges."""
        seen = [identifier]
        while True:
            row = self.database.execute("SELECT replaced_by FROM patient WHERE id = ?", [seen[-1]]).fetchone()
            following = row[0] if row else None
            if following is None or following in seen:
                return seen[-1]
            seen.append(following)

    def rows(self) -> Iterator[tuple[Any, ...]]:
        """(id, version, family, active, deleted, replaced_by) of all patients, by id."""
        return iter(self.database.execute("SELECT * FROM patient ORDER BY id"))


def _replaced_by(patient: dict[str, Any]) -> str | None:
    links = (link for link in patient.get("link", []) if link["type"] == "replaced-by")
    return next((link["other"]["reference"].rpartition("/")[2] for link in links if "reference" in link["other"]), None)


if __name__ == "__main__":
    given = arguments(__doc__.splitlines()[0], file="the registry's database; default: registry.sqlite")
    registry = Registry(given.file or "registry.sqlite")
    with connect(given.base, given.token) as connection:
        print(f"{registry.poll(connection)} changes")
    for one in registry.rows():
        answers = registry.resolve(one[0])
        print(*one[:3], "deleted" if one[4] else f"answered for by {answers}" if answers != one[0] else "")

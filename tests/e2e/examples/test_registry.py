"""The example registry has just what the server has: through merges, deletions, restarts, crashes, and indexes that lag."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import httpx
import pytest

from tests.support.running import Server, pages

Example = Callable[[str], ModuleType]
PATIENTS = 30


@pytest.fixture(params=["0", "1500"], ids=["at once", "lagging"])
def client(request: pytest.FixtureRequest, example: Example) -> Iterator[httpx.Client]:
    """Of an empty server, whose indexes show each write so many milliseconds later."""
    with (
        Server("--no-auth", "--empty", "--quiet", "--gsi-lag", request.param) as running,
        example("fhir_client").connect(running.url) as made,
    ):
        yield made


def put(client: httpx.Client, identity: str, **content: Any) -> None:
    client.put(f"Patient/{identity}", json={"resourceType": "Patient", "id": identity, **content}).raise_for_status()


def merge(client: httpx.Client, source: str, target: str) -> None:
    listed = [
        {"name": f"{role}-patient", "valueReference": {"reference": f"Patient/{name}"}}
        for role, name in (("source", source), ("target", target))
    ]
    client.post("Patient/$merge", json={"resourceType": "Parameters", "parameter": listed}).raise_for_status()


def write(client: httpx.Client, first: int) -> dict[str, tuple[int, bool]]:
    """Create, change, merge and delete every third Patient from `first` on. Returns version and whether it is deleted, by id."""
    names = [f"p{n:02}" for n in range(first, PATIENTS, 3)]
    for name in names:
        put(client, name, active=True, name=[{"family": f"Family {name}"}])
    for name in names[::2]:
        put(client, name, active=True, name=[{"family": f"Changed {name}"}])
    merge(client, names[1], names[0])
    merge(client, names[0], names[2])
    client.delete(f"Patient/{names[3]}").raise_for_status()
    changes = dict.fromkeys(names, 1) | dict.fromkeys(names[::2], 2)
    for name in (names[0], names[0], names[1], names[2], names[3]):
        changes[name] += 1
    return {name: (version, name == names[3]) for name, version in changes.items()}


def state(registry: Any) -> dict[str, tuple[int, bool]]:
    return {row[0]: (row[1], bool(row[4])) for row in registry.rows()}


def test_it_misses_nothing(example: Example, client: httpx.Client, tmp_path: Path) -> None:
    """Three writers at once, and a registry that is started anew for each poll."""
    expected: dict[str, tuple[int, bool]] = {}
    threads = [threading.Thread(target=lambda n=n: expected.update(write(client, n))) for n in range(3)]
    for thread in threads:
        thread.start()
    kind = example("registry").Registry
    deadline, polls, seen = time.monotonic() + 120, 0, 0
    while True:
        writing = any(thread.is_alive() for thread in threads)
        registry = kind(str(tmp_path / "registry.sqlite"))
        seen += registry.poll(client)
        polls += 1
        if not writing and state(registry) == expected:
            break
        assert time.monotonic() < deadline, (expected, state(registry))
        registry.database.close()
    assert len(expected) == PATIENTS
    # Each change came once: as many as there are versions.
    assert seen == sum(version for version, _ in expected.values())
    assert registry.poll(client) == 0
    for n in range(3):
        names = [f"p{n:02}" for n in range(n, PATIENTS, 3)]
        assert [registry.resolve(name) for name in names[:4]] == [names[2]] * 3 + [names[3]]


def test_a_crash_within_a_page_repeats_the_page(
    example: Example, server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It ends after each of the first changes: what it had of the page is gone with it, and comes again."""
    module = example("registry")
    file = str(tmp_path / "registry.sqlite")
    with server.client() as client:
        expected = {entry["resource"]["id"] for entry in pages(client, "Patient?_count=1000")}
        for survived in range(3):
            registry = module.Registry(file)
            taken = iter(range(survived))
            take_over = module.Registry._take_over

            def dies(self: Any, entry: Any, taken: Iterator[int] = taken, then: Any = take_over) -> None:
                if next(taken, None) is None:
                    raise KeyboardInterrupt
                then(self, entry)

            with monkeypatch.context() as patch:
                patch.setattr(module.Registry, "_take_over", dies)
                with pytest.raises(KeyboardInterrupt):
                    registry.poll(client)
            assert (list(registry.rows()), registry.url) == ([], module.START)
            registry.database.close()
        registry = module.Registry(file)
        assert registry.poll(client) >= len(expected)
        assert expected <= {row[0] for row in registry.rows()}


def test_an_older_version_that_comes_late_changes_nothing(example: Example, tmp_path: Path) -> None:
    registry = example("registry").Registry(str(tmp_path / "registry.sqlite"))
    for version, family in (("3", "new"), ("2", "old"), ("3", "again")):
        resource = {"resourceType": "Patient", "id": "p", "name": [{"family": family}]}
        entry = {"fullUrl": "http://x/Patient/p", "resource": resource, "response": {"etag": f'W/"{version}"'}}
        registry._take_over(entry)
    assert [row[1:3] for row in registry.rows()] == [(3, "new")]


def test_merges_that_come_round_end(example: Example, tmp_path: Path) -> None:
    registry = example("registry").Registry(str(tmp_path / "registry.sqlite"))
    registry.database.executemany(
        "INSERT INTO patient VALUES (?, 1, NULL, 1, 0, ?)", [("a", "b"), ("b", "c"), ("c", "a")]
    )
    assert [registry.resolve(name) for name in "abc"] == ["c", "a", "b"]


def test_a_fenced_registry_has_its_own_patients(
    example: Example, connected: Callable[[str], httpx.Client], tmp_path: Path
) -> None:
    for token in ("TOKEN_HARBOUR", "TOKEN_LIGHTHOUSE"):
        client = connected(token)
        registry = example("registry").Registry(str(tmp_path / f"{token}.sqlite"))
        registry.poll(client)
        found = {row[0] for row in registry.rows()}
        assert found == {entry["resource"]["id"] for entry in client.get("Patient?_count=1000").json()["entry"]}
        assert found

"""The rooms of the layer: imports point down, and there are no circles (docs/architecture.md has the table)."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
LAYER = ROOT / "layers/bulkhead/python"
ORDER = [
    "errors settings version parallel observability",
    "fhir",
    "facts",
    "store",
    "compartments",
    "search",
    "access",
    "session",
    "audit",
    "resources",
    "bundles history",
    "jobs",
    "api",
    "interactions",
    "operations",
]
"""From the ground up: a room imports from itself and from those before it."""
FLOOR = {name: floor for floor, names in enumerate(ORDER) for name in names.split()}


def modules() -> dict[str, Path]:
    """Module name -> file, of the whole layer."""
    found = {}
    for path in sorted((LAYER / "bulkhead").rglob("*.py")):
        parts = path.relative_to(LAYER).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


MODULES = modules()


def is_for_types(node: ast.If) -> bool:
    return isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"


def imported(name: str) -> Iterator[tuple[str, bool]]:
    """What a module imports of the layer, and whether at run time at its top."""
    tree = ast.parse(MODULES[name].read_text())
    typing = {
        id(child)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and is_for_types(node)
        for child in ast.walk(node)
    }
    top = {id(node) for node in tree.body}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.partition(".")[0] == "bulkhead":
            for alias in node.names:
                full = f"{node.module}.{alias.name}"
                yield (full if full in MODULES else node.module), id(node) in top and id(node) not in typing
        elif isinstance(node, ast.Import):
            for alias in node.names:
                assert not alias.name.startswith("bulkhead."), f"{name}: import names of {alias.name}"


def room(module: str) -> str:
    return [*module.split("."), ""][1]


@pytest.mark.parametrize("name", sorted(MODULES))
def test_imports_point_down(name: str) -> None:
    """Also those within functions and for types only: a room that must be named is a room that is known."""
    if room(name) == "":
        return
    up = sorted({target for target, _ in imported(name) if room(target) and FLOOR[room(target)] > FLOOR[room(name)]})
    assert up == []


def test_every_room_has_its_floor() -> None:
    assert {room(name) for name in MODULES} - {""} == set(FLOOR) & {room(name) for name in MODULES}


CIRCLES = {
    # A resource has elements, and an element may be a resource.
    ("bulkhead.fhir.rules.elements", "bulkhead.fhir.rules.resources"),
    # What leads a search may be another search.
    ("bulkhead.search.leading", "bulkhead.search.run"),
}
"""The modules that know each other, also by imports within functions and for types only. No two others do."""


def test_modules_know_each_other_in_no_circle() -> None:
    # A package hands on names of its own modules: that is no circle.
    arrows = {
        name: {target for target, _ in imported(name) if target != name and not name.startswith(f"{target}.")}
        for name in MODULES
    }

    def reached(name: str) -> set[str]:
        found: set[str] = set()
        left = [name]
        while left:
            left += (new := arrows[left.pop()] - found)
            found |= new
        return found

    below = {name: reached(name) for name in MODULES}
    circles = {
        tuple(sorted({name} | {other for other in below[name] if name in below[other]}))
        for name in MODULES
        if name in below[name]
    }
    assert circles == CIRCLES


def test_no_function_and_no_module_of_the_layer_imports_infra() -> None:
    for path in [*(ROOT / "functions").rglob("*.py"), *MODULES.values()]:
        tree = ast.parse(path.read_text())
        named = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.module}
        assert not {name for name in named if name.partition(".")[0] == "infra"}, path


def test_the_layer_imports_no_function() -> None:
    for path in MODULES.values():
        tree = ast.parse(path.read_text())
        named = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.module}
        assert not {name for name in named if name.partition(".")[0] == "functions"}, path


@pytest.mark.parametrize("name", [name for name in MODULES if not name.startswith("bulkhead.store")])
def test_the_table_is_private_to_the_store(name: str) -> None:
    """Other rooms ask the store; none reaches for its table."""
    found = [
        node.lineno
        for node in ast.walk(ast.parse(MODULES[name].read_text()))
        if isinstance(node, ast.Attribute) and node.attr == "table" and ast.unparse(node.value).endswith("store")
    ]
    assert not found, f"{name} reaches for the store's table in lines {found}"


IN_CONTEXT = {
    "bulkhead.observability",
    "bulkhead.store.capacity",
    "bulkhead.store.throttling",
    "bulkhead.store.transactions",
}
"""Whose work it is, what it costs, until when it may wait, and what an attempt has read: docs/architecture.md says why."""


def test_what_travels_in_a_context_variable_is_listed() -> None:
    """All else is in the Session or an argument."""
    files = {**MODULES, **{str(path): path for top in ("functions", "infra") for path in (ROOT / top).rglob("*.py")}}
    found = [
        name
        for name, path in files.items()
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "ContextVar"
    ]
    assert sorted(found) == sorted(IN_CONTEXT)


READS_SETTINGS = {
    "bulkhead.store": "connects the process to its table",
    "bulkhead.observability": "sets the level of the log when it is imported",
    "bulkhead.fhir.site": "R4's rules are compiled once in a process",
    "functions/http.py": "makes the Session of each request",
}
"""Where a process reads its settings, and why. All else has them from the Session, the Store or an argument."""


def test_settings_are_read_where_a_process_begins() -> None:
    files = {**MODULES, **{path.relative_to(ROOT).as_posix(): path for path in (ROOT / "functions").rglob("*.py")}}
    found = {
        name
        for name, path in files.items()
        for node in ast.walk(ast.parse(path.read_text()))
        if (isinstance(node, ast.Attribute) and ast.unparse(node).endswith("settings.current"))
        or (isinstance(node, ast.alias) and node.name == "current" and name != "bulkhead.store.capacity")
    }
    assert found == set(READS_SETTINGS)


@pytest.mark.parametrize("name", re.findall(r"`([a-z_/]+\.py)`", (ROOT / "docs/architecture.md").read_text()))
def test_a_file_that_the_architecture_names_is_there(name: str) -> None:
    assert any((base / name).exists() for base in (ROOT, LAYER, LAYER / "bulkhead"))

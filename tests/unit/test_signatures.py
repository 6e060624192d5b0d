"""What signatures promise their callers.

What a function may see, and for whom, is an argument that its caller gives: nothing has a default for it. A call says what its fourth argument
is, and what each of its booleans means: they are keyword-only.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import bulkhead

LAYER = Path(bulkhead.__file__).parent
ROOT = Path(__file__).parents[2]
FUNCTIONS = ROOT / "functions"
INFRA = ROOT / "infra"

NAMES = frozenset({"fence", "who", "caller", "right", "within", "visible", "sees", "inside", "visibility"})
TYPES = frozenset({"Fence", "Caller", "Within"})

NO_FENCE = {
    (
        "search/run.py",
        "search",
        "within",
    ): "listings that lead a search; what they hold is checked by the fence all the same",
    (
        "store/heads.py",
        "Head",
        "within",
    ): "which accounts a root hands on within: data of the resource, not of a caller",
    ("store/heads.py", "Write", "within"): "the same, as it will be stored",
    ("store/jobs.py", "Job", "within"): "what is stored of a job; `set_accounts` gives it",
}
"""Parameters of these names that decide nothing about what a caller sees."""


def defaults(tree: ast.Module) -> Iterator[tuple[str, str, str, str]]:
    """(function or class, parameter or field, its annotation, its default) of all that have a default."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            listed = [*node.args.posonlyargs, *node.args.args]
            pairs = [*zip(reversed(listed), reversed(node.args.defaults), strict=False)]
            pairs += [
                (one, given) for one, given in zip(node.args.kwonlyargs, node.args.kw_defaults, strict=True) if given
            ]
            for one, given in pairs:
                annotation = ast.unparse(one.annotation) if one.annotation else ""
                yield getattr(node, "name", "lambda"), one.arg, annotation, ast.unparse(given)
        elif isinstance(node, ast.ClassDef):
            for field in node.body:
                if isinstance(field, ast.AnnAssign) and field.value and isinstance(field.target, ast.Name):
                    yield node.name, field.target.id, ast.unparse(field.annotation), ast.unparse(field.value)


def faults(path: Path, root: Path) -> Iterator[str]:
    place = path.relative_to(root).as_posix()
    for owner, name, annotation, given in defaults(ast.parse(path.read_text())):
        words = set(annotation.replace("|", " ").replace("[", " ").replace("]", " ").replace(",", " ").split())
        if (place, owner, name) in NO_FENCE:
            continue
        if name in NAMES or words & TYPES or "EVERYBODY" in given or given in ("everything", "READ", "access.READ"):
            yield f"{place}: {owner}({name} = {given})"


@pytest.mark.parametrize("root", [LAYER, FUNCTIONS], ids=["layer", "functions"])
def test_no_signature_has_a_default_for_what_may_be_seen(root: Path) -> None:
    paths = sorted(root.rglob("*.py"))
    assert paths
    assert [fault for path in paths for fault in faults(path, root)] == []


@pytest.mark.parametrize(
    "text",
    [
        "def f(store, fence=everything): ...",
        "def f(store, *, who: Caller = EVERYBODY): ...",
        "def f(store, anybody: Caller | None = None): ...",
        "def f(store, kind: str = READ): ...",
        "f = lambda store, sees=None: sees",
        "class F:\n    fence: Fence = everything",
    ],
)
def test_such_a_default_is_found(tmp_path: Path, text: str) -> None:
    path = tmp_path / "module.py"
    path.write_text(text)
    assert len(list(faults(path, tmp_path))) == 1


AT_MOST = 3
"""Arguments by position, `self` not counted."""


def unnamed(tree: ast.Module) -> Iterator[str]:
    """Functions that take more than three arguments by position, or a boolean."""
    methods = {
        id(function)
        for owner in ast.walk(tree)
        if isinstance(owner, ast.ClassDef)
        for function in owner.body
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef)
        and not any(isinstance(one, ast.Name) and one.id == "staticmethod" for one in function.decorator_list)
    }
    for node in ast.walk(tree):
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        listed = [*node.args.posonlyargs, *node.args.args][id(node) in methods :]
        flags = [one.arg for one in listed if one.annotation and ast.unparse(one.annotation) in ("bool", "bool | None")]
        if len(listed) > AT_MOST:
            yield f"{node.name} takes {len(listed)} arguments by position"
        yield from (f"{node.name} takes {name} by position" for name in flags)


@pytest.mark.parametrize("root", [LAYER, FUNCTIONS, INFRA], ids=["layer", "functions", "infra"])
def test_past_three_arguments_and_every_boolean_are_named(root: Path) -> None:
    paths = sorted(root.rglob("*.py"))
    assert paths
    found = {path.relative_to(root).as_posix(): [*unnamed(ast.parse(path.read_text()))] for path in paths}
    assert {place: faults for place, faults in found.items() if faults} == {}


@pytest.mark.parametrize(
    "text",
    [
        "def f(a, b, c, d): ...",
        "def f(a, flag: bool): ...",
        "def f(flag: bool | None = None): ...",
        "class F:\n    def f(self, a, b, c, d): ...",
        "class F:\n    @staticmethod\n    def f(a, b, c, d): ...",
        "async def f(a, b, c, d): ...",
    ],
)
def test_an_argument_that_must_be_named_is_found(text: str) -> None:
    assert len(list(unnamed(ast.parse(text)))) == 1


@pytest.mark.parametrize(
    "text",
    ["def f(a, b, c, *, d, flag: bool): ...", "class F:\n    def f(self, a, b, c): ...", "def f(a, *more: bool): ..."],
)
def test_named_arguments_are_no_fault(text: str) -> None:
    assert list(unnamed(ast.parse(text))) == []

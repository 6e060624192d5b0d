"""`keys` alone spells the keys of the table."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from bulkhead import store

MODULES = sorted(path for path in Path(store.__file__).parent.glob("*.py") if path.stem != "keys")


def texts(tree: ast.AST) -> list[str]:
    """The texts of a module, docstrings apart; what an f-string fills in counts as a letter."""
    docstrings = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef))
        and node.body
        and isinstance(node.body[0], ast.Expr)
    }
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            found.append("".join(str(part.value) if isinstance(part, ast.Constant) else "x" for part in node.values))
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docstrings:
            found.append(node.value)
    return found


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.stem)
def test_no_other_module_of_the_store_spells_a_key(path: Path) -> None:
    # Expressions of DynamoDB have `#name`, after a space or a bracket; in a key `#` follows what it ends.
    assert [text for text in texts(ast.parse(path.read_text())) if re.search(r"\w#", text)] == []

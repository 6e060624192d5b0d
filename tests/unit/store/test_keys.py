"""`keys` alone spells the keys of the table."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulkhead import store
from bulkhead.store import keys

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


ACCOUNTS = st.lists(st.integers(0, 10**9), max_size=40, unique=True).map(
    lambda numbers: [f"Organization/{number}" for number in numbers]
)
ENDS = st.one_of(st.sampled_from(["", keys.DELETED]), st.builds(keys.carrying, ACCOUNTS, is_all=st.booleans()))
MOMENTS = st.tuples(
    st.sampled_from(["2026-11-22T01:02:03.456Z", "2026-11-22T01:02:03.457Z"]),
    st.sampled_from(["1", "1-", "1.", "10", "A" * 64]),
    st.sampled_from([1, 2, 9, 10, 9_999_999_999]),
)
Moment = tuple[str, str, int]


def time_key(moment: Moment, end: str) -> str:
    updated, identifier, version = moment
    return keys.time_keys(f"Basic/{identifier}", version, updated, end=end)["msk"]


@given(ACCOUNTS, st.booleans())
def test_a_head_says_which_accounts_it_carries(accounts: list[str], is_all: bool) -> None:
    told, said_all = keys.accounts_of(keys.carrying(accounts, is_all=is_all))
    carried = {keys.carried(account) for account in accounts}
    assert len(carried) == len(accounts)
    assert told <= carried
    assert len(told) == min(len(accounts), keys.MOST_CARRIED)
    assert said_all == (is_all and told == carried)


def test_what_older_code_wrote_says_nothing_of_accounts() -> None:
    assert keys.accounts_of("") == (frozenset(), False)


@given(MOMENTS, ENDS)
def test_a_sort_key_of_by_time_is_read_as_it_was_made(moment: Moment, end: str) -> None:
    sort = time_key(moment, end)
    assert keys.time_of(sort) == (moment[0], moment[2], end)
    assert keys.time_position(sort) == keys.time_place(f"Basic/{moment[1]}", moment[2], moment[0])
    assert len(sort.encode()) < 600


@given(MOMENTS, ENDS, MOMENTS, ENDS)
def test_a_position_has_all_keys_of_its_version_on_one_side(
    moment: Moment, end: str, other: Moment, its_end: str
) -> None:
    position, sort = keys.time_position(time_key(moment, end)), time_key(other, its_end)
    forwards, backwards = sort > keys.behind_time(position), sort < position
    if other == moment:
        # Neither direction gives the version itself again.
        assert (forwards, backwards) == (False, False)
    else:
        its_place = keys.time_position(sort)
        assert (forwards, backwards) == (its_place > position, its_place < position)

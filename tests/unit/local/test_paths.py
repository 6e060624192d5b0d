from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infra.local import paths

DOCUMENT = {"a": {"b": [10, {"c-d": "found"}]}, "null": None}
CONTEXT = {"Execution": {"Name": "job"}}
NAMES = st.from_regex(r"[A-Za-z_][A-Za-z0-9_-]{0,5}", fullmatch=True)


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("$", DOCUMENT),
        ("$.a.b[0]", 10),
        ("$.a.b[1].c-d", "found"),
        ("$['a']['b'][1]", {"c-d": "found"}),
        ("$.null", None),
        ("$$.Execution.Name", "job"),
    ],
)
def test_reads_what_a_path_leads_to(path: str, expected: Any) -> None:
    assert paths.read(path, DOCUMENT, CONTEXT) == expected


@pytest.mark.parametrize(
    "path", ["$.missing", "$.a.b[9]", "$.a.b.c", "$.null.x", "a.b", "$..a", "$.a[*]", "$.a.b[?(@.x)]"]
)
def test_a_path_that_leads_nowhere_or_is_not_understood_fails(path: str) -> None:
    with pytest.raises(paths.PathError):
        paths.read(path, DOCUMENT, CONTEXT)


def test_a_null_is_present() -> None:
    assert paths.exists("$.null", DOCUMENT, CONTEXT)
    assert not paths.exists("$.nothing", DOCUMENT, CONTEXT)


@given(st.lists(NAMES, min_size=1, max_size=4), st.integers())
def test_what_is_written_is_read_back_and_the_rest_stays(names: list[str], value: int) -> None:
    document = {"kept": 1}
    path = "$.new." + ".".join(names)

    written = paths.write(path, document, value)

    assert paths.read(path, written, {}) == value
    assert written["kept"] == 1
    assert document == {"kept": 1}


def test_result_path_null_drops_the_value_and_the_root_takes_its_place() -> None:
    assert paths.write(None, {"a": 1}, 2) == {"a": 1}
    assert paths.write("$", {"a": 1}, 2) == 2


def test_a_value_cannot_be_put_into_a_list() -> None:
    with pytest.raises(paths.PathError):
        paths.write("$.a[0]", {"a": [1]}, 2)


def test_templates_replace_only_keys_that_end_in_dollar() -> None:
    template = {"plain": "$.a", "deep": [{"item.$": "$.a.b[0]"}], "name.$": "$$.Execution.Name"}

    assert paths.render(template, DOCUMENT, CONTEXT) == {"plain": "$.a", "deep": [{"item": 10}], "name": "job"}

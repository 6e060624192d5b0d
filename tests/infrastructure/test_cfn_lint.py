"""cfn-lint finds nothing: templates against AWS's own schemas, policies, and the state machine's language."""

from __future__ import annotations

from pathlib import Path

import pytest
from cfnlint.api import lint_file  # type: ignore[import-untyped] # it has no types

from tests.support.synthesis import DATA, SERVICE


@pytest.mark.parametrize(
    ("fixture", "names"),
    [
        ("folder", {SERVICE, DATA}),
        ("trial_folder", {SERVICE}),
        ("full_folder", {SERVICE, DATA}),
        ("adopted_folder", {SERVICE}),
    ],
)
def test_templates_are_clean(fixture: str, names: set[str], request: pytest.FixtureRequest) -> None:
    templates: list[Path] = sorted(request.getfixturevalue(fixture).glob("*.template.json"))
    assert {path.name for path in templates} == names
    assert [str(match) for path in templates for match in lint_file(path)] == []

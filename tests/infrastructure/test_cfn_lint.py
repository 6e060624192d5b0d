"""cfn-lint finds nothing: template against AWS's own schemas, policies, and the state machine's language."""

from __future__ import annotations

from pathlib import Path

from cfnlint.api import lint_file  # type: ignore[import-untyped]


def test_default_template_is_clean(template_path: Path) -> None:
    assert [str(match) for match in lint_file(template_path)] == []


def test_trial_template_is_clean(trial_path: Path) -> None:
    assert [str(match) for match in lint_file(trial_path)] == []

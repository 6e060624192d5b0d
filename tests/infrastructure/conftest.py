"""The templates that the tests of this folder look at; each is synthesised once in a run, by the first worker that asks."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.infrastructure.synthesis import TEMPLATE, Template, synthesise

TRIAL = {
    "data": "destroy",
    "snapstart": "off",
    "issuer": "https://issuer.example",
    "audience": "one, two",
    "log_days": "7",
}


def synthesised_once(factory: pytest.TempPathFactory, name: str, context: Mapping[str, str]) -> Path:
    """The path of the template of `context`, shared by pytest-xdist's workers: theirs are folders of the run's folder."""
    run = factory.getbasetemp().parent if "PYTEST_XDIST_WORKER" in os.environ else factory.getbasetemp()
    with (run / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        template = run / name / TEMPLATE
        if not template.exists():
            synthesise(run / name, context)
    return template


@pytest.fixture(scope="session")
def template_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With the default context."""
    return synthesised_once(tmp_path_factory, "default", {})


@pytest.fixture(scope="session")
def template(template_path: Path) -> Template:
    return Template.read(template_path)


@pytest.fixture(scope="session")
def trial_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With the context of a trial deployment: data goes with the stack, no SnapStart, an issuer from elsewhere."""
    return synthesised_once(tmp_path_factory, "trial", TRIAL)


@pytest.fixture(scope="session")
def trial(trial_path: Path) -> Template:
    return Template.read(trial_path)

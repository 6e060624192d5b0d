"""The templates that the tests of this folder look at; each is synthesised once in a run, by the first worker that asks."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.support.synthesis import SERVICE, Template, synthesise

TRIAL = {"data": "destroy", "log_days": "7", "stacks": "one"}
FULL = {
    "key": "create",
    "alarm_email": "on-call@hospital.example",
    "snapstart": "on",
    "tracing": "on",
    "worker_concurrency": "40",
    "check_segments": "16",
    "warm_reads": "24000",
    "warm_writes": "16000",
}
ADOPTED = {"table": "restored", "bucket": "kept-bucket", "key": "arn:aws:kms:eu-west-1:111122223333:key/0a1b"}


def synthesised_once(factory: pytest.TempPathFactory, name: str, context: Mapping[str, str]) -> Path:
    """The folder of the templates of `context`, shared by pytest-xdist's workers: theirs are folders of the run's folder."""
    run = factory.getbasetemp().parent if "PYTEST_XDIST_WORKER" in os.environ else factory.getbasetemp()
    with (run / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (run / name / SERVICE).exists():
            synthesise(run / name, context)
    return run / name


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With the least context."""
    return synthesised_once(tmp_path_factory, "default", {})


@pytest.fixture(scope="session")
def template(folder: Path) -> Template:
    return Template.read(folder)


@pytest.fixture(scope="session")
def trial_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With the context of a trial deployment: one stack, and the data go with it."""
    return synthesised_once(tmp_path_factory, "trial", TRIAL)


@pytest.fixture(scope="session")
def trial(trial_folder: Path) -> Template:
    return Template.read(trial_folder)


@pytest.fixture(scope="session")
def full_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With all that costs something while nobody calls."""
    return synthesised_once(tmp_path_factory, "full", FULL)


@pytest.fixture(scope="session")
def full(full_folder: Path) -> Template:
    return Template.read(full_folder)


@pytest.fixture(scope="session")
def adopted_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With a table and a bucket that are there already."""
    return synthesised_once(tmp_path_factory, "adopted", ADOPTED)


@pytest.fixture(scope="session")
def adopted(adopted_folder: Path) -> Template:
    return Template.read(adopted_folder)

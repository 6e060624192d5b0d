"""The templates that the tests of this folder look at."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.synthesis import Template, synthesise

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
CONTEXTS: dict[str, dict[str, str]] = {"default": {}, "trial": TRIAL, "full": FULL, "adopted": ADOPTED}


@pytest.fixture(scope="session")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Of the templates of each context, by its name."""
    run = tmp_path_factory.mktemp("synthesised")
    synthesise({run / name: context for name, context in CONTEXTS.items()})
    return {name: run / name for name in CONTEXTS}


@pytest.fixture(scope="session")
def folder(folders: dict[str, Path]) -> Path:
    """With the least context."""
    return folders["default"]


@pytest.fixture(scope="session")
def template(folder: Path) -> Template:
    return Template.read(folder)


@pytest.fixture(scope="session")
def trial_folder(folders: dict[str, Path]) -> Path:
    """With the context of a trial deployment: one stack, and the data go with it."""
    return folders["trial"]


@pytest.fixture(scope="session")
def trial(trial_folder: Path) -> Template:
    return Template.read(trial_folder)


@pytest.fixture(scope="session")
def full_folder(folders: dict[str, Path]) -> Path:
    """With all that costs something while nobody calls."""
    return folders["full"]


@pytest.fixture(scope="session")
def full(full_folder: Path) -> Template:
    return Template.read(full_folder)


@pytest.fixture(scope="session")
def adopted_folder(folders: dict[str, Path]) -> Path:
    """With a table and a bucket that are there already."""
    return folders["adopted"]


@pytest.fixture(scope="session")
def adopted(adopted_folder: Path) -> Template:
    return Template.read(adopted_folder)

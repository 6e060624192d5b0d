"""What is zipped: the handlers with what they import, the domain, and a dependencies layer without ballast."""

from __future__ import annotations

import runpy
import subprocess
from pathlib import Path

import pytest

from infra import bundling


@pytest.fixture(autouse=True)
def without_byte_code(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bundling, "lambda_python", lambda: None)


def test_functions_zip_holds_handlers_only(tmp_path: Path) -> None:
    bundling.build_functions(tmp_path)
    files = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file()}
    assert {name for name in files if not name.startswith("functions/")} == set()
    assert not {name for name in files if "__pycache__" in name}


def test_domain_layer_is_mounted_on_pythons_path(tmp_path: Path) -> None:
    bundling.build_domain(tmp_path)
    assert (tmp_path / "python" / "bulkhead" / "settings.py").is_file()
    assert {path.name for path in tmp_path.iterdir()} == {"python"}


def test_dependencies_layer_keeps_what_the_code_calls(tmp_path: Path) -> None:
    build = runpy.run_path(str(bundling.DEPENDENCIES / "build.py"))
    for service in ("dynamodb", "s3", "stepfunctions", "ec2"):
        (tmp_path / "botocore" / "data" / service).mkdir(parents=True)
    (tmp_path / "botocore" / "data" / "endpoints.json").touch()
    (tmp_path / "bin").mkdir()
    build["prune"](tmp_path)
    left = {path.name for path in (tmp_path / "botocore" / "data").iterdir()}
    assert left == {"dynamodb", "s3", "stepfunctions", "endpoints.json"}
    assert not (tmp_path / "bin").exists()


def test_dependencies_are_pinned() -> None:
    lines = (bundling.DEPENDENCIES / "requirements.txt").read_text().splitlines()
    requirements = [line for line in lines if line and not line.startswith("#")]
    assert requirements
    assert all("==" in requirement for requirement in requirements)


def test_a_python_that_does_not_run_is_not_used(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.undo()
    shim = tmp_path / "python3.13"
    shim.write_text("#!/bin/sh\nexit 127\n")
    shim.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("LAMBDA_PYTHON", raising=False)
    bundling.lambda_python.cache_clear()
    assert bundling.lambda_python() is None
    bundling.lambda_python.cache_clear()


def test_the_host_takes_wheels_of_its_own(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    build = runpy.run_path(str(bundling.DEPENDENCIES / "build.py"))
    commands: list[list[str]] = []
    monkeypatch.setattr(subprocess, "run", lambda command, **_: commands.append(command))
    build["install"](tmp_path)
    build["install"](tmp_path, host=True)
    lambdas, hosts = commands
    assert "--platform=manylinux2014_aarch64" in lambdas
    assert not any(option.startswith(("--platform", "--python-version")) for option in hosts)

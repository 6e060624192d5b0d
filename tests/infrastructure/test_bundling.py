"""What is zipped: the handlers with what they import, the domain, and a dependencies layer without ballast."""

from __future__ import annotations

import runpy
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from infra import app, bundling, lock


def test_functions_zip_holds_handlers_only(tmp_path: Path) -> None:
    bundling.build_functions(tmp_path, host=True)
    files = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file()}
    assert {name for name in files if not name.startswith("functions/")} == set()


def test_every_module_has_its_byte_code_which_no_date_invalidates(tmp_path: Path) -> None:
    bundling.build_domain(tmp_path, host=True)
    modules = set(tmp_path.rglob("*.py"))
    compiled = {path.with_suffix(".py") for path in modules if list(path.parent.glob(f"__pycache__/{path.stem}.*.pyc"))}
    assert compiled == modules
    # PEP 552: flags of 1 are "hash-based, unchecked".
    assert {path.read_bytes()[4:8] for path in tmp_path.rglob("*.pyc")} == {b"\x01\x00\x00\x00"}


def test_the_same_sources_give_the_same_bytes(tmp_path: Path) -> None:
    """Else each synthesis would deploy all functions anew."""

    def built(name: str) -> dict[str, bytes]:
        for build in (bundling.build_domain, bundling.build_functions):
            build(tmp_path / name, host=True)
        root = tmp_path / name
        return {path.relative_to(root).as_posix(): path.read_bytes() for path in root.rglob("*") if path.is_file()}

    assert built("one") == built("another")


def test_domain_layer_is_mounted_on_pythons_path(tmp_path: Path) -> None:
    bundling.build_domain(tmp_path, host=True)
    assert (tmp_path / "python" / "bulkhead" / "settings.py").is_file()
    assert {path.name for path in tmp_path.iterdir()} == {"python"}


def test_dependencies_layer_keeps_what_the_code_calls(tmp_path: Path) -> None:
    build = runpy.run_path(str(bundling.DEPENDENCIES / "build.py"))
    for service in ("dynamodb", "s3", "stepfunctions", "ec2"):
        (tmp_path / "botocore" / "data" / service).mkdir(parents=True)
    (tmp_path / "botocore" / "data" / "endpoints.json").touch()
    (tmp_path / "bin").mkdir()
    (tmp_path / "six-1.dist-info").mkdir()
    for name in ("METADATA", "RECORD", "INSTALLER"):
        (tmp_path / "six-1.dist-info" / name).touch()
    build["prune"](tmp_path)
    left = {path.name for path in (tmp_path / "botocore" / "data").iterdir()}
    assert left == {"dynamodb", "s3", "stepfunctions", "endpoints.json"}
    assert not (tmp_path / "bin").exists()
    # Of another pip they would say something else, and the layer be another.
    assert [path.name for path in (tmp_path / "six-1.dist-info").iterdir()] == ["METADATA"]


LISTS = [path.relative_to(bundling.ROOT).as_posix() for path in (*lock.LISTS, lock.EMULATOR)]


@pytest.mark.parametrize("name", LISTS)
def test_every_package_is_pinned_with_its_hashes(name: str) -> None:
    """One without would be taken whatever the index hands out; pip then refuses the whole list."""
    text = (bundling.ROOT / name).read_text().replace("\\\n", " ")
    lines = [line for line in text.splitlines() if line and not line.startswith(("#", "-r "))]
    assert lines
    assert [line for line in lines if "==" not in line or "--hash=sha256:" not in line] == []


def test_the_lists_are_what_serving_and_the_layers_need() -> None:
    def listed(name: str) -> set[str]:
        text = (bundling.ROOT / name).read_text()
        return {line.partition("==")[0].partition("[")[0] for line in text.splitlines() if "==" in line}

    layers = listed("layers/dependencies/requirements.txt")
    assert not layers & {"PyJWT", "cryptography", "cffi", "pycparser"}
    assert listed("layers/sealing/requirements.txt") == {"cryptography", "cffi"}
    assert {"PyJWT", "pycparser"} <= listed("requirements-serve.txt")


def test_hashes_of_an_old_version_go(monkeypatch: pytest.MonkeyPatch) -> None:
    answer = "six==1.17.0 \\\n    --hash=sha256:aa \\\n    --hash=sha256:bb\nuvloop==1 ; sys_platform != 'win32' \\\n    --hash=sha256:cc\n"
    monkeypatch.setattr(
        subprocess, "run", lambda command, **_: subprocess.CompletedProcess(command, 0, stdout=answer, stderr="")
    )
    before = '# Why.\n-r other.txt\n\nsix==1.17.0 \\\n    --hash=sha256:old\nuvloop==1; sys_platform != "win32"\n'
    after = lock.locked(before)
    assert after == (
        "# Why.\n-r other.txt\n\nsix==1.17.0 \\\n    --hash=sha256:aa \\\n    --hash=sha256:bb\n"
        'uvloop==1; sys_platform != "win32" \\\n    --hash=sha256:cc\n'
    )
    assert lock.locked(after) == after


@pytest.fixture
def no_python(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Path]:
    """A machine without Lambda's Python; what is put into the folder is on its PATH."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("LAMBDA_PYTHON", raising=False)
    bundling.lambda_python.cache_clear()
    yield tmp_path
    bundling.lambda_python.cache_clear()


def test_a_python_that_does_not_run_is_not_used(no_python: Path) -> None:
    shim = no_python / "python3.13"
    shim.write_text("#!/bin/sh\nexit 127\n")
    shim.chmod(0o755)
    assert bundling.lambda_python() is None


def test_without_byte_code_nothing_is_built_for_lambda(no_python: Path) -> None:
    with pytest.raises(ValueError, match=r"layers=build needs Python 3\.13.*LAMBDA_PYTHON"):
        bundling.build_domain(no_python / "out")
    issuer = {
        "issuer": "https://issuer.example",
        "audience": "a",
        "JWKS_URI": "https://k",
        "TOKEN_ENDPOINT": "https://t",
    }
    with pytest.raises(ValueError, match=r"layers=build needs Python 3\.13"):
        app.application({**issuer, "layers": "build"}, no_python / "cdk.out")


def test_the_host_takes_wheels_of_its_own(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    build = runpy.run_path(str(bundling.DEPENDENCIES / "build.py"))
    commands: list[list[str]] = []
    monkeypatch.setattr(subprocess, "run", lambda command, **_: commands.append(command))
    build["install"](tmp_path / "requirements.txt", tmp_path)
    build["install"](tmp_path / "requirements.txt", tmp_path, host=True)
    lambdas, hosts = commands
    assert "--platform=manylinux2014_aarch64" in lambdas
    assert not any(option.startswith(("--platform", "--python-version")) for option in hosts)

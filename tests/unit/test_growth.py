"""The figures of a table that grows, at a size that takes seconds: `make figures ARGS=--huge` takes hours, and nobody would see it break."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
# In a process of its own: it reads the settings anew, and serves a table of its own.
CODE = """
import sys
from pathlib import Path
from tests.load import growth, tables
tables.EACH, growth.TIMES = 100, 1
folder = Path(sys.argv[1])
growth.report(folder / "table", [101], lambda *words: None, docs=folder)
"""


def test_the_page_and_the_picture_are_made(tmp_path: Path) -> None:
    page = tmp_path / "performance.md"
    page.write_text((ROOT / "docs/performance.md").read_text())
    environment = {name: value for name, value in os.environ.items() if name != "AUTH"}
    subprocess.run(
        [sys.executable, "-c", CODE, str(tmp_path)], check=True, capture_output=True, cwd=ROOT, env=environment
    )
    text = page.read_text()
    assert all(f"\n| {name} | " in text for name in ("read", "identifier", "20 newest of a patient", "create"))
    assert (tmp_path / "growth.svg").read_text().startswith("<svg")

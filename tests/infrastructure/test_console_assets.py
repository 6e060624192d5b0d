"""The console's copies of npm packages are those that package-lock.json pins."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from bulkhead.operations import console
from infra import console_assets


@pytest.mark.parametrize("name", ["lit.js", "pico.css"])
def test_a_copy_is_what_npm_installed(name: str) -> None:
    assert (console.FOLDER / name).read_bytes() == console_assets.assets()[name], (
        "run python -m infra.console_assets after a change in package-lock.json"
    )


def test_another_shape_of_lit_is_noticed(tmp_path: Path) -> None:
    for package in ("lit", "lit-html", "lit-element", "@lit/reactive-element", "@picocss/pico"):
        shutil.copytree(console_assets.PACKAGES / package, tmp_path / package)
    changed = tmp_path / "lit-html" / "lit-html.js"
    changed.write_text('import x from"./new.js";\n' + changed.read_text())
    with pytest.raises(ValueError, match="imports or exports in a way"):
        console_assets.assets(tmp_path)
    changed.write_text('import{x}from"./new.js";\n' + changed.read_text())
    with pytest.raises(ValueError, match=r"imports '\./new\.js'"):
        console_assets.assets(tmp_path)

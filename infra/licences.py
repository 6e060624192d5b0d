"""The licences of all packages, read from what is installed: `make licences` writes docs/operations/licences.md."""

from __future__ import annotations

import json
from importlib import metadata
from pathlib import Path

from infra import console_assets, lock

PAGE = lock.ROOT / "docs" / "operations" / "licences.md"
HEAD = """# Licences

`make licences` writes this page from the packages that are installed, and a test holds that it is up to date. Bulkhead itself is
Apache-2.0 (LICENSE, NOTICE). What is deployed and what serves is under licences that ask for their notice only; of the tools, a few
are MPL-2.0, which are used as they are and never handed on.
"""
# By list of packages, what it is for.
_USES = {
    "layers/dependencies/requirements.txt": "Deployed: the layer of dependencies",
    "layers/sealing/requirements.txt": "Deployed: the layer that seals page links",
    "requirements-serve.txt": "The local server",
    "requirements.txt": "Tools: tests, checks, the CDK",
}
_COPIED, _NPM = "Deployed: copied from npm into the console", "Tools from npm"


def page() -> str:
    """The page. PackageNotFoundError where a package of the lists is not installed."""
    parts = [HEAD]
    for path in lock.LISTS:
        rows = [(name, version, licence(name)) for name, version in lock.pins(path.read_text())]
        parts.append(_table(_USES[path.relative_to(lock.ROOT).as_posix()], rows))
    packages = npm_packages()
    parts.append(_table(_COPIED, [row for row in packages if row[0] in console_assets.COPIED]))
    parts.append(_table(_NPM, [row for row in packages if row[0] not in console_assets.COPIED]))
    return "\n".join(parts)


def licence(name: str) -> str:
    """What the package itself says: the expression of PEP 639, else its classifiers, else its field `License`."""
    found = metadata.metadata(name).json
    if expression := found.get("license_expression"):
        return str(expression)
    classified = [
        each.rpartition("::")[2].strip()
        for each in found.get("classifier", [])
        if each.startswith("License") and not each.endswith("OSI Approved")
    ]
    return " or ".join(classified) or str(found.get("license", "")).strip().partition("\n")[0]


def npm_packages() -> list[tuple[str, str, str]]:
    """Name, version and licence of each package of package-lock.json."""
    packages = json.loads((lock.ROOT / "package-lock.json").read_text())["packages"]
    return [
        (path.removeprefix("node_modules/"), package["version"], package["license"])
        for path, package in packages.items()
        if path
    ]


def _table(title: str, rows: list[tuple[str, str, str]]) -> str:
    lines = [f"| {name} | {version} | {text} |" for name, version, text in sorted(rows, key=lambda row: row[0].lower())]
    return "\n".join([f"## {title}", "", "| package | version | licence |", "| --- | --- | --- |", *lines, ""])


def write(target: Path = PAGE) -> None:
    target.write_text(page())


if __name__ == "__main__":
    write()

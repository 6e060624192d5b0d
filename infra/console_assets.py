"""The console's copies of packages from npm: `python -m infra.console_assets` makes them anew from node_modules.

The console is served as it lies in the layer, on machines that have no node_modules, so the repository holds a copy of Lit and of Pico CSS.
package-lock.json pins both, and a test holds that the copies are what this module makes of them. Lit comes as four modules that import each
other by bare names, which a browser cannot resolve; here they become one module.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ROOT / "node_modules"
CONSOLE = ROOT / "layers" / "bulkhead" / "python" / "bulkhead" / "console"
PICO = "@picocss/pico"

COPIED = ("lit", "lit-element", "lit-html", "@lit/reactive-element", PICO)
"""The packages of which the console has a copy. They are deployed with it."""

# In the order in which they need each other.
_MODULES = (
    "@lit/reactive-element/css-tag.js",
    "@lit/reactive-element/reactive-element.js",
    "lit-html/lit-html.js",
    "lit-element/lit-element.js",
)
_SPECIFIERS = {
    "./css-tag.js": 0,
    "@lit/reactive-element": 1,
    "lit-html": 2,
}
_NAMES = r"\{(?P<names>[^}]*)\}"
_IMPORT = re.compile(rf'import{_NAMES}from"(?P<module>[^"]+)";')
_REEXPORT = re.compile(rf'export(?:\*|{_NAMES})from"(?P<module>[^"]+)";')
_EXPORT = re.compile(rf"export{_NAMES};")
_SOURCE_MAP = re.compile(r"^//# sourceMappingURL=.*$", re.M)
OFFERED = ("LitElement", "html", "noChange", "nothing", "render", "svg")


def assets(packages: Path = PACKAGES) -> dict[str, bytes]:
    """File name -> content of each copy. FileNotFoundError where a package is not installed; ValueError where Lit's modules have changed."""
    return {"lit.js": _lit(packages).encode(), "pico.css": _pico(packages)}


def _pico(packages: Path) -> bytes:
    folder = packages / PICO
    licence = " ".join(_licence(folder / "LICENSE.md").split())
    return f"/*! {licence} */\n".encode() + (folder / "css" / "pico.min.css").read_bytes()


def _lit(packages: Path) -> str:
    notice = "\n".join(f" * {line}".rstrip() for line in _licence(packages / "lit" / "LICENSE").splitlines())
    parts = [
        "/*! Lit (lit, lit-element, lit-html, @lit/reactive-element), made by infra/console_assets.py.",
        notice,
        " */",
    ]
    for number, name in enumerate(_MODULES):
        parts.append(f"const M{number}=(()=>{{{_body((packages / name).read_text(), name)}}})();")
    parts.append(f"export const {{{','.join(OFFERED)}}}=M{len(_MODULES) - 1};")
    return "\n".join(parts) + "\n"


def _body(text: str, name: str) -> str:
    """A module's text as the body of a function that returns what the module exports."""
    exported: list[str] = []

    def imported(found: re.Match[str]) -> str:
        return f"const{{{found['names'].replace(' as ', ':')}}}=M{_number(found['module'])};"

    def handed_on(found: re.Match[str]) -> str:
        exported.append(f"...M{_number(found['module'])}")
        return ""

    def offered(found: re.Match[str]) -> str:
        exported.extend(":".join(reversed(each.split(" as "))) for each in found["names"].split(","))
        return ""

    made = _SOURCE_MAP.sub("", text)
    for pattern, change in ((_IMPORT, imported), (_REEXPORT, handed_on), (_EXPORT, offered)):
        made = pattern.sub(change, made)
    if re.search(r"(?<![\w.$])(?:import|export)\b(?=[\s{*\"])", made) or not exported:
        raise ValueError(f"{name} imports or exports in a way that infra/console_assets.py does not know")
    return f"{made.strip()}\nreturn{{{','.join(exported)}}};"


def _number(specifier: str) -> int:
    if specifier not in _SPECIFIERS:
        raise ValueError(f"a module of Lit imports {specifier!r}, which infra/console_assets.py does not know")
    return _SPECIFIERS[specifier]


def _licence(path: Path) -> str:
    return path.read_text().strip()


def write() -> None:
    """Write the copies, and print their sizes."""
    for name, content in assets().items():
        (CONSOLE / name).write_bytes(content)
        print(f"{name}: {len(content)} bytes", file=sys.stderr)


if __name__ == "__main__":
    write()

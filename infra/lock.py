"""Write the hashes of every package into the lists of packages: `python -m infra.lock`, with uv on PATH.

The lists name exact versions; a hash makes the index unable to hand out another file under the same version. Each line gets those of all files
of its version, since each platform has a file of its own. To change a version: change the line, and run this.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
LISTS = tuple(
    ROOT / name
    for name in (
        "layers/dependencies/requirements.txt",
        "layers/sealing/requirements.txt",
        "requirements-serve.txt",
        "requirements.txt",
    )
)
EMULATOR = ROOT / "tests" / "aws" / "requirements.txt"
"""What `make e2e-aws` installs: it is nowhere where Bulkhead runs."""
# `name[extra]==1.2.3; marker`, and what follows it.
_REQUIREMENT = re.compile(r"^(?P<name>[A-Za-z0-9._-]+)(?:\[[^]]*\])?==(?P<version>[^\s;\\]+)(?P<marker>\s*;[^\\\n]*)?")
HASH = "    --hash=sha256:"


def locked(text: str) -> str:
    """The list `text` with the hashes of each requirement below it. CalledProcessError where the index does not know one."""
    lines = [line.removesuffix("\\").rstrip() for line in text.splitlines() if not line.startswith(HASH)]
    wanted = [found for line in lines if (found := _REQUIREMENT.match(line))]
    hashes = _hashes([f"{found['name']}=={found['version']}" for found in wanted])
    written = []
    for line in lines:
        found = _REQUIREMENT.match(line)
        below = hashes[_normal(found["name"])] if found else []
        written += [" \\\n".join([line, *(f"{HASH}{each}" for each in below)])]
    return "\n".join(written) + "\n"


def pins(text: str) -> list[tuple[str, str]]:
    """Name and version of each package of a list."""
    found = (_REQUIREMENT.match(line) for line in text.splitlines())
    return [(match["name"], match["version"]) for match in found if match]


def _hashes(requirements: list[str]) -> dict[str, list[str]]:
    """By normalised name, the SHA-256 of every file of that version."""
    command = ["uv", "pip", "compile", "--quiet", "--no-deps", "--no-header", "--no-annotate", "--generate-hashes"]
    finished = subprocess.run(
        [*command, "--universal", "-"], input="\n".join(requirements), capture_output=True, text=True, check=True
    )
    found: dict[str, list[str]] = {}
    for line in finished.stdout.splitlines():
        if match := _REQUIREMENT.match(line):
            name = _normal(match["name"])
            found[name] = []
        elif "--hash=sha256:" in line:
            found[name].append(line.partition("--hash=sha256:")[2].rstrip(" \\"))
    return found


def _normal(name: str) -> str:
    """PEP 503."""
    return re.sub(r"[-_.]+", "-", name).lower()


if __name__ == "__main__":
    for path in (*LISTS, EMULATOR):
        print(f"{path.relative_to(ROOT)}", file=sys.stderr)
        path.write_text(locked(path.read_text()))

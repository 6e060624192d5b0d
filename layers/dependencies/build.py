"""Builds a layer of third-party packages for Lambda (Python 3.13 on arm64) from wheels: no Docker, no compiler.

    python layers/dependencies/build.py REQUIREMENTS OUTPUT_FOLDER [host]

OUTPUT_FOLDER/python is what Lambda mounts as /opt/python. pip takes the wheels of the file REQUIREMENTS, by their hashes,
for Lambda's platform, whatever this machine is; then what the runtime never reads is removed.
`host` takes wheels for this machine and this Python: for emulators that run the handlers here.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

PYTHON_VERSION = "3.13"
# Amazon Linux 2023 has glibc 2.34, so both of the usual wheel platforms run there.
PLATFORMS = ("manylinux_2_28_aarch64", "manylinux2014_aarch64")
# botocore describes every AWS service in JSON; the code uses these three.
SERVICES = frozenset({"dynamodb", "s3", "stepfunctions"})
# Command lines and type stubs.
UNUSED = (
    "bin",
    "jsonpatch_cli.py",
    "jsonpatch-stubs",
    "jsonpointer-stubs",
    "boto3/examples",
)


def install(requirements: Path, folder: Path, *, host: bool = False) -> None:
    """Unpack the pinned wheels for Lambda's platform, or the host's, into `folder`. CalledProcessError when the index lacks one."""
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-compile"]
    # The list is complete: what is not in it, such as cffi's pycparser, is not needed.
    command += ["--only-binary=:all:", "--no-deps"]
    if not host:
        command += ["--implementation=cp", f"--python-version={PYTHON_VERSION}"]
        command += [f"--platform={platform}" for platform in PLATFORMS]
    subprocess.run([*command, f"--target={folder}", f"--requirement={requirements}"], check=True, stdout=sys.stderr)


def prune(folder: Path) -> None:
    """Remove what the Lambda runtime never reads, most of it other services' descriptions, and what is another each time."""
    for name in UNUSED:
        path = folder / name
        path.unlink() if path.is_file() else shutil.rmtree(path, ignore_errors=True)
    for installed in folder.glob("*.dist-info"):
        # They name this pip, and the files that are gone.
        for name in ("RECORD", "INSTALLER", "REQUESTED", "direct_url.json"):
            (installed / name).unlink(missing_ok=True)
    services = folder / "botocore" / "data"
    for service in services.iterdir() if services.exists() else ():
        if service.is_dir() and service.name not in SERVICES:
            shutil.rmtree(service)


def build(requirements: Path, output: Path, *, host: bool = False) -> None:
    """Make the layer in `output`, which must be empty or absent."""
    install(requirements, output / "python", host=host)
    prune(output / "python")


if __name__ == "__main__":
    build(Path(sys.argv[1]), Path(sys.argv[2]), host="host" in sys.argv[3:])

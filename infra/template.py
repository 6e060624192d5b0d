"""One CloudFormation template with its assets, for those who deploy without the CDK: `make template ARGS="-c issuer=... -c audience=..."`.

In OUTPUT (build/template) are then `bulkhead.template.json` and the zip files that it names. They go into any bucket of the region; its name
is the template's parameter `AssetsBucket`. Nothing of the CDK has to be in the account (docs/operations/terraform.md).
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
import zipfile
from collections.abc import Mapping
from pathlib import Path

from infra import app

ROOT = Path(__file__).resolve().parents[1]
OUTPUT = ROOT / "build" / "template"
TEMPLATE = "bulkhead.template.json"
PARAMETER = "AssetsBucket"
# Zip files know no earlier date. With always the same, the same content is the same file.
_EPOCH = (1980, 1, 1, 0, 0, 0)


def write(context: Mapping[str, str], output: Path) -> list[str]:
    """Write template and zip files into `output`, whose former content goes; returns the names of the files. ValueError as `app.application`."""
    with tempfile.TemporaryDirectory() as folder:
        synthesised = Path(folder)
        _synthesise({**json.loads((ROOT / "cdk.json").read_text())["context"], **context}, synthesised)
        shutil.rmtree(output, ignore_errors=True)
        output.mkdir(parents=True)
        ((template, manifest),) = [
            (path, path.with_name(path.name.replace(".template.", ".assets.")))
            for path in synthesised.glob("*.template.json")
        ]
        shutil.copyfile(template, output / TEMPLATE)
        for asset in json.loads(manifest.read_text())["files"].values():
            source = synthesised / asset["source"]["path"]
            if source != template:
                (destination,) = asset["destinations"].values()
                _pack(source, output / destination["objectKey"])
    return sorted(path.name for path in output.iterdir())


def _synthesise(context: Mapping[str, str], output: Path) -> None:
    from infra import node

    node.use()
    from aws_cdk import CfnParameter, DefaultStackSynthesizer, Stack

    synthesizer = DefaultStackSynthesizer(
        # The CDK makes a reference to the parameter of this.
        file_assets_bucket_name=f"${{{PARAMETER}}}",
        generate_bootstrap_version_rule=False,
    )
    made = app.application({**context, "stacks": "one"}, output, synthesizer)
    for stack in made.node.children:
        if isinstance(stack, Stack):
            description = "Bucket of this region that holds the zip files beside this template"
            CfnParameter(stack, PARAMETER, type="String", description=description)
    made.synth()


def _pack(source: Path, target: Path) -> None:
    """A zip file of the folder `source`; a copy where it is a file."""
    if source.is_file():
        shutil.copyfile(source, target)
        return
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as packed:
        for path in sorted(source.rglob("*")):
            if path.is_file():
                entry = zipfile.ZipInfo(path.relative_to(source).as_posix(), _EPOCH)
                entry.compress_type = zipfile.ZIP_DEFLATED
                # Lambda runs as another user: everybody reads, and runs what is a program.
                entry.external_attr = (0o755 if path.stat().st_mode & 0o111 else 0o644) << 16
                packed.writestr(entry, path.read_bytes())


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(prog="make template ARGS=...")
    parser.add_argument("-c", "--context", action="append", default=[], metavar="KEY=VALUE", help="as for cdk deploy")
    parser.add_argument("--output", type=Path, default=OUTPUT)
    given = parser.parse_args(arguments)
    context = dict(each.split("=", 1) for each in given.context if "=" in each)
    try:
        names = write(context, given.output)
    except ValueError as error:
        sys.exit(f"bulkhead: {error}")
    print(f"{given.output}: {', '.join(names)}")


if __name__ == "__main__":
    main(sys.argv[1:])

"""Synthesises the app as the cdk command does, and reads the templates that it writes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
CDK_JSON = json.loads((ROOT / "cdk.json").read_text())
SERVICE, DATA = "Bulkhead.template.json", "BulkheadData.template.json"
ISSUER = "https://issuer.example"
NEEDED = {"layers": "skip", "issuer": ISSUER, "audience": "one, two"}
"""The context without which there is no deployment, and by which its synthesis needs no network."""


def synthesise(wanted: Mapping[Path, Mapping[str, str]]) -> None:
    """Run the app of cdk.json for each context of `wanted`; SERVICE and DATA, or SERVICE alone, are then in the folder that is its key.

    All in one process, in which jsii takes longer to start than a synthesis takes. The first is run as the cdk command does, by the
    environment. PATH is empty, as on a machine that has neither node nor Docker beside this Python's packages.
    """
    contexts = {str(folder): {**CDK_JSON["context"], **NEEDED, **context} for folder, context in wanted.items()}
    (first, context), *others = contexts.items()
    environment = {
        "CDK_OUTDIR": first,
        "CDK_CONTEXT_JSON": json.dumps(context),
        "HOME": os.environ.get("HOME", first),
        "PATH": "",
        # This checkout, whatever another one has installed.
        "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "layers" / "bulkhead" / "python")]),
    }
    (module,) = CDK_JSON["app"].split()[2:]
    finished = subprocess.run(
        [sys.executable, "-c", SEVERAL, module, json.dumps(others)],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        check=False,
    )
    assert finished.returncode == 0, finished.stderr.decode()[-3000:]


# Node keeps the environment that it started with, so folder and context of the others are arguments.
SEVERAL = """
import json, pathlib, runpy, sys

runpy.run_module(sys.argv[1], run_name="__main__")
from infra import app

for folder, context in json.loads(sys.argv[2]):
    app.application(context, pathlib.Path(folder)).synth()
"""


@dataclass(frozen=True)
class Template:
    """The synthesised CloudFormation templates of a deployment, as one: what a stack imports of the other is what that exports."""

    resources: dict[str, dict[str, Any]]

    @classmethod
    def read(cls, folder: Path) -> Template:
        templates = [json.loads(path.read_text()) for path in sorted(folder.glob("*.template.json"))]
        exports = {
            output["Export"]["Name"]: output["Value"]
            for template in templates
            for output in template.get("Outputs", {}).values()
            if "Export" in output
        }
        resources: dict[str, dict[str, Any]] = {}
        for template in templates:
            assert not resources.keys() & template["Resources"].keys() - {"CDKMetadata"}
            resources |= _imported(template["Resources"], exports)
        return cls(resources)

    def of_type(self, resource_type: str) -> dict[str, dict[str, Any]]:
        """Properties by logical id."""
        return {
            logical_id: resource["Properties"]
            for logical_id, resource in self.resources.items()
            if resource["Type"] == resource_type
        }

    def only(self, resource_type: str) -> dict[str, Any]:
        """The properties of the one resource of its type."""
        (properties,) = self.of_type(resource_type).values()
        return properties

    def functions(self) -> dict[str, dict[str, Any]]:
        """The Lambda functions by the name of their folder in functions/."""
        return {
            properties["Handler"].split(".")[1]: properties
            for properties in self.of_type("AWS::Lambda::Function").values()
        }

    def function_named(self, reference: Any) -> str:
        """The folder of the function that `reference` (to itself or to its alias) leads to."""
        properties = self.resources[referred(reference)]["Properties"]
        if "Handler" in properties:
            return str(properties["Handler"].split(".")[1])
        return self.function_named(properties["FunctionName"])

    def statements(self, role: Any) -> list[dict[str, Any]]:
        """Every statement of the policies of `role`."""
        return [
            statement
            for policy in self.of_type("AWS::IAM::Policy").values()
            if {"Ref": referred(role)} in policy["Roles"]
            for statement in policy["PolicyDocument"]["Statement"]
        ]


def _imported(value: Any, exports: Mapping[str, Any]) -> Any:
    """A part of a template with what it imports from another stack in its place."""
    if isinstance(value, dict):
        if value.keys() == {"Fn::ImportValue"}:
            return exports[value["Fn::ImportValue"]]
        return {name: _imported(each, exports) for name, each in value.items()}
    return [_imported(each, exports) for each in value] if isinstance(value, list) else value


def referred(reference: Any) -> str:
    """The logical id in `{"Ref": id}` or `{"Fn::GetAtt": [id, attribute]}`."""
    return str(reference["Ref"] if "Ref" in reference else reference["Fn::GetAtt"][0])


def as_list(value: Any) -> list[Any]:
    """A policy's value that may stand alone, as a list."""
    return value if isinstance(value, list) else [value]


def actions(statements: Iterable[Mapping[str, Any]]) -> set[str]:
    return {action for statement in statements for action in as_list(statement["Action"])}

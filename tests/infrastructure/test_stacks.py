"""Data and service are stacks of their own: which resource is where, and what becomes of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.support.synthesis import DATA, SERVICE, Template, actions, as_list

RECORDS = {"AWS::DynamoDB::Table", "AWS::S3::Bucket", "AWS::KMS::Key"}


def resources(path: Path) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = json.loads(path.read_text())["Resources"]
    return found


def types(path: Path) -> set[str]:
    return {resource["Type"] for resource in resources(path).values()}


def test_records_are_in_a_stack_of_their_own(full_folder: Path) -> None:
    assert types(full_folder / DATA) - {"AWS::CDK::Metadata"} == RECORDS | {"AWS::S3::BucketPolicy"}
    assert not types(full_folder / SERVICE) & RECORDS


def test_only_the_stack_with_records_refuses_to_go(folder: Path, trial_folder: Path) -> None:
    assert _protected(folder) == {"BulkheadData"}
    assert _protected(trial_folder) == set()


def _protected(folder: Path) -> set[str]:
    artifacts = json.loads((folder / "manifest.json").read_text())["artifacts"]
    return {name for name, found in artifacts.items() if found.get("properties", {}).get("terminationProtection")}


def test_records_outlive_their_stack_but_not_a_creation_that_failed(full_folder: Path) -> None:
    found = resources(full_folder / DATA)
    for resource in found.values():
        if resource["Type"] in RECORDS:
            assert (resource["DeletionPolicy"], resource["UpdateReplacePolicy"]) == ("RetainExceptOnCreate", "Retain")
    ((name, table),) = [(n, r) for n, r in found.items() if r["Type"] == "AWS::DynamoDB::Table"]
    assert table["Properties"]["DeletionProtectionEnabled"] is True
    # Nothing is made after the table, which refuses deletion: nothing that fails leaves it behind.
    others = {other for other, r in found.items() if other != name and r["Type"] != "AWS::CDK::Metadata"}
    assert set(table["DependsOn"]) == others


def test_logs_that_are_kept_are_in_nobodys_way(template: Template) -> None:
    groups = [r for r in template.resources.values() if r["Type"] == "AWS::Logs::LogGroup"]
    assert {group["DeletionPolicy"] for group in groups} == {"RetainExceptOnCreate"}


def test_an_adopted_table_and_bucket_are_nobodys_to_make_or_remove(adopted_folder: Path, adopted: Template) -> None:
    assert [path.name for path in adopted_folder.glob("*.template.json")] == [SERVICE]
    assert not types(adopted_folder / SERVICE) & RECORDS
    for name, function in adopted.functions().items():
        variables = function["Environment"]["Variables"]
        assert variables["TABLE"] == "restored"
        assert variables.get("BUCKET", "kept-bucket") == "kept-bucket"
        reached = [
            resource
            for statement in adopted.statements(function["Role"])
            if actions([statement]) & {"dynamodb:GetItem", "s3:GetObject"}
            for resource in as_list(statement["Resource"])
        ]
        assert reached, name
        assert all(_ends(resource) for resource in reached)


def _ends(arn: Any) -> bool:
    tail = arn["Fn::Join"][1][-1]
    return ":table/restored" in tail or "kept-bucket" in tail

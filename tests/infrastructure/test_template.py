"""What `make template` writes can be deployed by CloudFormation alone."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import pytest
from cfnlint.api import lint_file  # type: ignore[import-untyped] # it has no types

from infra import template
from tests.support.synthesis import NEEDED


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("template") / "out"
    template.write({**NEEDED, "alarm_email": "on-call@hospital.example"}, output)
    return output


def test_it_is_one_template_that_cfn_lint_likes(written: Path) -> None:
    (path,) = written.glob("*.json")
    assert path.name == template.TEMPLATE
    assert [str(match) for match in lint_file(path)] == []
    types = {resource["Type"] for resource in json.loads(path.read_text())["Resources"].values()}
    assert {"AWS::DynamoDB::Table", "AWS::Lambda::Function", "AWS::CloudWatch::Alarm"} <= types
    # CloudFormation takes up to 1 MB from a bucket.
    assert path.stat().st_size < 1_000_000


def test_it_needs_nothing_of_the_cdk_in_the_account(written: Path) -> None:
    text = (written / template.TEMPLATE).read_text()
    assert "cdk-hnb659fds" not in text
    assert set(json.loads(text)["Parameters"]) == {template.PARAMETER}
    assert not json.loads(text).get("Rules")


def test_each_zip_file_that_it_names_is_beside_it_and_no_other(written: Path) -> None:
    named: set[str] = set()

    def walk(value: Any) -> None:
        if isinstance(value, dict):
            if "S3Key" in value:
                assert value["S3Bucket"] == {"Fn::Sub": f"${{{template.PARAMETER}}}"}
                named.add(value["S3Key"])
            for each in value.values():
                walk(each)
        elif isinstance(value, list):
            for each in value:
                walk(each)

    walk(json.loads((written / template.TEMPLATE).read_text()))
    assert named == {path.name for path in written.glob("*.zip")}
    assert named
    for name in named:
        with zipfile.ZipFile(written / name) as packed:
            assert packed.testzip() is None
            assert all(entry.external_attr >> 16 & 0o444 == 0o444 for entry in packed.infolist())


def test_the_same_content_is_the_same_file(tmp_path: Path) -> None:
    source = tmp_path / "source"
    (source / "folder").mkdir(parents=True)
    (source / "folder" / "b.py").write_text("b")
    (source / "a.py").write_text("a")
    packed = []
    for name in ("one.zip", "another.zip"):
        (source / "a.py").touch()
        template._pack(source, tmp_path / name)
        packed.append((tmp_path / name).read_bytes())
    assert packed[0] == packed[1]


def test_a_wrong_context_is_told_in_a_sentence() -> None:
    with pytest.raises(SystemExit, match="bulkhead: context issuer is needed"):
        template.main([])

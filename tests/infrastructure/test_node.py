"""jsii finds a node where there is none on PATH."""

from __future__ import annotations

import os

import pytest

from infra import node


def test_node_is_found_without_a_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    found = node.executable()
    assert found
    assert os.access(found, os.X_OK)


def test_a_node_that_is_set_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JSII_NODE", "/opt/node")
    node.use()
    assert os.environ["JSII_NODE"] == "/opt/node"

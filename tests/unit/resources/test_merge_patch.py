"""JSON Merge Patch: the examples of RFC 7396, appendix A, as far as they start from an object."""

from __future__ import annotations

from typing import Any

import pytest

from bulkhead.errors import BadRequest
from bulkhead.resources import patches
from bulkhead.resources.patches import merge_patch


@pytest.mark.parametrize(
    ("target", "document", "result"),
    [
        ({"a": "b"}, {"a": "c"}, {"a": "c"}),
        ({"a": "b"}, {"b": "c"}, {"a": "b", "b": "c"}),
        ({"a": "b"}, {"a": None}, {}),
        ({"a": "b", "b": "c"}, {"a": None}, {"b": "c"}),
        ({"a": ["b"]}, {"a": "c"}, {"a": "c"}),
        ({"a": "c"}, {"a": ["b"]}, {"a": ["b"]}),
        ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}),
        ({"a": [{"b": "c"}]}, {"a": [1]}, {"a": [1]}),
        ({"e": None}, {"a": 1}, {"e": None, "a": 1}),
        ({}, {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}}),
        ("text", {"a": 1}, {"a": 1}),
    ],
)
def test_merge(target: Any, document: dict[str, Any], result: dict[str, Any]) -> None:
    assert merge_patch.merged(target, document) == result


def test_a_plain_object_is_a_merge_patch() -> None:
    change = patches.from_document({"gender": "female", "active": None})
    assert change({"resourceType": "Patient", "active": True}) == {"resourceType": "Patient", "gender": "female"}


def test_a_parameters_is_a_fhirpath_patch() -> None:
    with pytest.raises(BadRequest):
        patches.from_document({"resourceType": "Parameters", "parameter": [{"name": "nonsense"}]})

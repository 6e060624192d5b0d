"""Labels that make a resource private."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulkhead.compartments.private import Criterion, criteria, is_private, is_private_by_facts
from bulkhead.facts import index_facts

ACT = "http://terminology.hl7.org/CodeSystem/v3-ActCode"
SETTING = f"{ACT}|ETH, Observation?_security={ACT}|PSY"

LABELS = st.lists(
    st.fixed_dictionaries(
        {}, optional={"system": st.sampled_from([ACT, "urn:x"]), "code": st.sampled_from(["ETH", "eth", "PSY", "R"])}
    ),
    max_size=3,
)


def resource(labels: list[dict[str, str]], resource_type: str = "Observation") -> dict[str, Any]:
    return {"resourceType": resource_type, "id": "1", "meta": {"security": labels}}


def test_what_the_setting_may_say() -> None:
    assert criteria("") == criteria("  ") == frozenset()
    assert criteria(SETTING) == {Criterion("", ACT, "eth"), Criterion("Observation", ACT, "psy")}


@pytest.mark.parametrize(
    "text",
    ["ETH", "|ETH", f"{ACT}|", f"{ACT}|ETH,", "Observation?_tag=a|b", "Observatoin?_security=a|b", "a b|c", "a|b|c"],
)
def test_anything_else_is_refused_and_named(text: str) -> None:
    with pytest.raises(ValueError, match="PRIVATE"):
        criteria(text)


@pytest.mark.parametrize(
    ("labels", "resource_type", "private"),
    [
        ([{"system": ACT, "code": "ETH"}], "Patient", True),
        ([{"system": ACT, "code": "eth"}], "Patient", True),
        ([{"code": "ETH"}], "Patient", False),
        ([{"system": "urn:x", "code": "ETH"}], "Patient", False),
        ([{"system": ACT, "code": "PSY"}], "Patient", False),
        ([{"system": ACT, "code": "R"}, {"system": ACT, "code": "PSY"}], "Observation", True),
        ([], "Observation", False),
    ],
)
def test_a_label_counts_by_system_and_code_on_its_type(
    labels: list[dict[str, str]], resource_type: str, private: bool
) -> None:
    assert is_private(SETTING, resource(labels, resource_type)) == private
    assert not is_private("", resource(labels, resource_type))


@given(LABELS, st.sampled_from(["Observation", "Patient"]))
def test_what_the_index_holds_says_the_same(labels: list[dict[str, str]], resource_type: str) -> None:
    made = resource(labels, resource_type)
    assert is_private_by_facts(SETTING, resource_type, index_facts.facts(made)) == is_private(SETTING, made)

"""YAML bodies: JSON's values, JSON's limits, and nothing that JSON does not have."""

from __future__ import annotations

from contextlib import suppress
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulkhead import settings
from bulkhead.errors import BadRequest, PayloadTooLarge
from bulkhead.fhir import json, yaml

NAMES = st.text("abXY01_", min_size=1, max_size=8)
TEXTS = st.text("ab 01äß€:#-?{}[]()'\"\\\n\t,&*!|>%@`~=<.", max_size=20)
VALUES = st.recursive(
    st.booleans() | st.integers(-(10**17), 10**17) | TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(NAMES, inner, max_size=4),
    max_leaves=20,
)


@given(st.dictionaries(NAMES, VALUES, max_size=5))
def test_json_is_read_as_json_reads_it(value: dict[str, Any]) -> None:
    """YAML 1.2 contains JSON."""
    text = json.dumps(value)
    assert yaml.loads(text) == json.loads(text)


@given(st.binary(max_size=200) | st.text(max_size=200).map(str.encode))
def test_any_body_is_a_mapping_or_a_bad_request(body: bytes) -> None:
    with suppress(BadRequest):
        assert isinstance(yaml.loads(body), dict)


def test_scalars_mean_what_they_mean_in_json() -> None:
    """Not what YAML 1.1 made of them: dates, `no`, octal numbers and sexagesimal ones are text."""
    body = b"a: 2013-01-01\nb: no\nc: 0x10\nd: 010\ne: 1:30\nf: 1.10\ng: true\nh: '1'\ni: 1_000\nj: .5\nk: -12\nl: |\n  two\n  lines\n"
    assert yaml.loads(body) == {
        "a": "2013-01-01",
        "b": "no",
        "c": "0x10",
        "d": "010",
        "e": "1:30",
        "f": Decimal("1.10"),
        "g": True,
        "h": "1",
        "i": "1_000",
        "j": ".5",
        "k": -12,
        "l": "two\nlines\n",
    }
    assert json.dumps(yaml.loads(b"value: 1.10")) == b'{"value":1.10}'


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"a: &x [1]\nb: *x", "line 1: anchors and aliases"),
        (b"&x a: 1", "line 1: anchors and aliases"),
        (b"a: !!python/object/apply:os.system [ls]", "line 1: tags"),
        (b"a: !!binary aGk=", "line 1: tags"),
        (b"a: 1\n---\nb: 2", "line 2: a body is one document"),
        (b"? {a: 1}\n: 2", "line 1: the name of a member must be text"),
        (b"a: 1\nb:\n  c: 1\n  c: 2", "a member is given twice"),
        (b"- a", "one YAML mapping"),
        (b"text", "one YAML mapping"),
        (b"", "one YAML mapping"),
        (b"a: [1", "YAML is malformed"),
        (b"a:\n\t- 1", "line 2: YAML is malformed"),
        (b"a: \xff", "invalid UTF-8"),
        (b"a: \x00", "YAML is malformed"),
    ],
)
def test_what_json_does_not_have_is_refused(body: bytes, reason: str) -> None:
    with pytest.raises(BadRequest, match=reason):
        yaml.loads(body)


def test_the_place_of_a_member_that_is_given_twice() -> None:
    with pytest.raises(BadRequest) as caught:
        yaml.loads(b"a: 1\nb:\n  code: 1\n  code: 2")
    assert caught.value.issues[0].diagnostics.startswith("line 4: the member code is given twice")


def nested(depth: int) -> bytes:
    """A mapping with so many containers in each other."""
    return b"a: " + b"[" * (depth - 1) + b"]" * (depth - 1)


def test_nesting_is_bounded_as_that_of_json() -> None:
    limit = settings.current().depth_limit
    for depth in (limit, limit + 1):
        text = b'{"a": ' + nested(depth).removeprefix(b"a: ") + b"}"
        if depth == limit:
            assert yaml.loads(nested(depth)) == json.loads(text)
        else:
            for read, body in ((yaml.loads, nested(depth)), (json.loads, text)):
                with pytest.raises(BadRequest, match=f"more than {limit} levels"):
                    read(body)


def test_size_is_bounded() -> None:
    body = b"a: '" + b"x" * yaml.SIZE_LIMIT + b"'"
    with pytest.raises(PayloadTooLarge):
        yaml.loads(body)
    assert yaml.loads(body[: yaml.SIZE_LIMIT - 1] + b"'")

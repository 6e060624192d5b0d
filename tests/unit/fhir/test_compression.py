"""Gzip is read to its end, and never beyond the limit."""

from __future__ import annotations

import gzip

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulkhead.errors import BadRequest, PayloadTooLarge
from bulkhead.fhir import compression

BOMB = gzip.compress(b"\0" * 20_000_000)


@given(st.binary(max_size=100), st.integers(0, 100))
def test_there_and_back_up_to_the_limit(content: bytes, limit: int) -> None:
    data = gzip.compress(content)
    assert compression.is_gzip(data)
    if len(content) <= limit:
        assert compression.inflate(data, limit) == content
        return
    with pytest.raises(PayloadTooLarge):
        compression.inflate(data, limit)


def test_a_bomb() -> None:
    with pytest.raises(PayloadTooLarge) as caught:
        compression.inflate(BOMB, 1000)
    assert caught.value.issues[0].expression == "body"


@given(st.binary(max_size=60))
def test_nonsense_is_a_bad_request(data: bytes) -> None:
    for broken in (b"\x1f\x8b" + data, gzip.compress(data)[:-1], gzip.compress(data) + b"more"):
        with pytest.raises(BadRequest) as caught:
            compression.inflate(broken, 1000, "place")
        assert caught.value.issues[0].expression == "place"


@pytest.mark.parametrize("data", [b"", b"{}", b"<Bundle/>", b"\xef\xbb\xbf{}", b"\x1f"])
def test_no_resource_looks_like_gzip(data: bytes) -> None:
    assert not compression.is_gzip(data)

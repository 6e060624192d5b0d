"""Gzip is read to its end, and never beyond the limit."""

from __future__ import annotations

import gzip
import random
import zlib
from contextlib import suppress

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


@given(st.lists(st.binary(max_size=40), min_size=1, max_size=5), st.integers(0, 5), st.integers(0, 200))
def test_members_follow_each_other_and_zeros_the_last(contents: list[bytes], zeros: int, limit: int) -> None:
    data = b"".join(gzip.compress(content) for content in contents) + b"\0" * zeros
    whole = b"".join(contents)
    if len(whole) <= limit:
        assert compression.inflate(data, limit) == whole
        return
    with pytest.raises(PayloadTooLarge):
        compression.inflate(data, limit)


@given(st.binary(max_size=300), st.integers(0, 400), st.integers(1, 255))
def test_a_changed_byte_is_refused_or_without_effect(content: bytes, place: int, change: int) -> None:
    """Whatever the byte: header, content, checksum or length. Some bytes of the header mean nothing."""
    data = bytearray(gzip.compress(content))
    data[place % len(data)] ^= change
    with suppress(BadRequest):
        assert compression.inflate(bytes(data), 1000) == content


def test_a_member_that_ends_with_a_piece_or_the_limit() -> None:
    content = random.Random(1).randbytes(70_000)
    for size in range(16_384 - 40, 16_384):
        data = gzip.compress(content[:size], 0)
        assert compression.inflate(data * 3, 3 * size) == content[:size] * 3
        with pytest.raises(PayloadTooLarge):
            compression.inflate(data * 3, 3 * size - 1)


def test_the_number_of_members_is_bounded() -> None:
    """Each costs as much work as a full one, and has 20 bytes: without a limit, a small body holds up a process for long."""
    empty = gzip.compress(b"")
    assert compression.inflate(empty * 9_999 + gzip.compress(b"{}"), 10) == b"{}"
    with pytest.raises(BadRequest, match="at most 10000 members") as caught:
        compression.inflate(empty * 10_001, 10, "place")
    assert caught.value.issues[0].expression == "place"


@pytest.mark.parametrize(
    "data",
    [
        gzip.compress(b"{}")[:-8] + b"\0" * 8,
        gzip.compress(b"{}")[:-4] + b"\1\0\0\0",
        gzip.compress(b"{}") + b"\0\0" + gzip.compress(b"{}"),
        zlib.compress(b"{}"),
        zlib.compress(b"{}", wbits=-15),
        gzip.compress(b"{}")[:3] + b"\x08" + gzip.compress(b"{}")[4:10] + b"n" * 100_000,
    ],
    ids=["checksum", "length", "zeros between members", "zlib", "deflate", "a name without end"],
)
def test_odd_streams_are_refused(data: bytes) -> None:
    with pytest.raises(BadRequest):
        compression.inflate(data, 1000)


def test_damage_is_told_from_what_is_no_gzip() -> None:
    with pytest.raises(BadRequest, match="damaged"):
        compression.inflate(gzip.compress(b"{}")[:-8] + b"\0" * 8, 1000)
    with pytest.raises(BadRequest, match="not gzip"):
        compression.inflate(b"{}", 1000)


def test_gzip_within_gzip_is_inflated_once() -> None:
    once = gzip.compress(b"{}")
    assert compression.inflate(gzip.compress(once), 1000) == once
    with pytest.raises(PayloadTooLarge):
        compression.inflate(gzip.compress(BOMB), 1000)


@pytest.mark.parametrize("data", [b"", b"{}", b"<Bundle/>", b"\xef\xbb\xbf{}", b"\x1f"])
def test_no_resource_looks_like_gzip(data: bytes) -> None:
    assert not compression.is_gzip(data)

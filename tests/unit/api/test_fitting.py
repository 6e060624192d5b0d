"""What an answer weighs once it is part of a Lambda function's own JSON."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulkhead.api import fitting


def sent(body: bytes, *, ascii_only: bool) -> int:
    """Bytes of the body in the function's answer, as `functions.http` sends it."""
    text = body.decode() if fitting.is_text(body) else base64.b64encode(body).decode()
    return len(json.dumps(text, ensure_ascii=ascii_only).encode()) - 2


bodies = st.one_of(st.binary(), st.text().map(str.encode), st.text('"\\\n\x01\x7fäß語😀{}').map(str.encode))


@given(bodies, st.booleans(), st.sampled_from([1, 40]))
def test_nothing_weighs_more_than_it_was_taken_for(body: bytes, ascii_only: bool, times: int) -> None:
    body *= times
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fitting, "_SMALL", 0)
        assert sent(body, ascii_only=ascii_only) <= fitting.weight(body)


@given(bodies)
def test_what_is_not_counted_fits_all_the_same(body: bytes) -> None:
    assert sent(body, ascii_only=True) <= 6 * len(body)


@pytest.mark.parametrize(
    ("body", "text"),
    [(b'{"a":1}', True), (b"\xff", False), (b'"' * 2_000_000, False), (b"a" * 2_000_000, True), (b"", True)],
)
def test_the_shorter_form_is_sent(body: bytes, text: Any) -> None:
    assert fitting.is_text(body) is text

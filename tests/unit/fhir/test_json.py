"""JSON in and out without loss, and what is refused."""

from __future__ import annotations

import gzip
import json as stdlib
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulkhead import settings
from bulkhead.errors import BadRequest, PayloadTooLarge
from bulkhead.fhir import json
from bulkhead.settings import Settings

NUMBERS = [
    "1.10",
    "0.00",
    "-0.0",
    "1234567890123456789012345678",
    "0.1234567890123456789012345678",
    "12345678901234567890",
]

SCALARS = (
    st.none() | st.booleans() | st.integers() | st.text(max_size=9) | st.decimals(allow_nan=False, allow_infinity=False)
)
DOCUMENTS = st.dictionaries(
    st.text(max_size=5),
    st.recursive(
        SCALARS, lambda x: st.lists(x, max_size=3) | st.dictionaries(st.text(max_size=5), x, max_size=3), max_leaves=6
    ),
    max_size=3,
)


@pytest.mark.parametrize("number", NUMBERS)
def test_numbers_keep_every_digit(number: str) -> None:
    document = b'{"value":' + number.encode() + b"}"
    assert json.dumps(json.loads(document)) == document


def test_integers_stay_integers_and_points_become_decimals() -> None:
    value = json.loads(b'{"a":1,"b":1.0,"c":1e3}')
    assert [isinstance(item, Decimal) for item in value.values()] == [False, True, True]
    assert value["c"] == 1000
    assert json.loads(json.dumps(value)) == value


@given(DOCUMENTS)
def test_every_document_comes_back_equal(document: dict[str, Any]) -> None:
    assert repr(json.loads(json.dumps(document))) == repr(_normal(document))


def _normal(value: Any) -> Any:
    """A Decimal without point or exponent is written as an integer."""
    if isinstance(value, Decimal):
        return value if set("eE.").intersection(str(value)) else int(value)
    if isinstance(value, dict):
        return {key: _normal(item) for key, item in value.items()}
    return [_normal(item) for item in value] if isinstance(value, list) else value


def test_pretty() -> None:
    assert json.dumps({"a": [Decimal("1.10")]}, pretty=True) == b'{\n  "a": [\n    1.10\n  ]\n}'


def test_text_is_read_like_bytes() -> None:
    assert json.loads('{"a":"\u00e9"}') == json.loads('{"a":"\u00e9"}'.encode()) == {"a": "\u00e9"}


@pytest.mark.parametrize(
    ("document", "told"),
    [
        (b"", "it is empty"),
        (b" ", "it is empty"),
        (b'{"a":1', "does not end: .* .byte 6"),
        (b'{"a":"b}', "does not end: .* .byte 8"),
        (gzip.compress(b"{}", mtime=0), "it is gzipped, and no Content-Encoding"),
        ('{"a":1}'.encode("utf-16"), "it is UTF-16: send UTF-8"),
        (b'<Patient xmlns="http://hl7.org/fhir"/>', "it is XML"),
        (b'{"a":x}', "byte 5"),
        (b'{"a":1}x', "trailing characters"),
        (b'{"a":01}', "byte 6"),
        (b'{"a":NaN}', "byte 5"),
        (b'{"a":Infinity}', "byte 5"),
        (b'{"abc":"x\xff"}', "byte 9"),
        ('{"abc":"\ud800"}', "character 8"),
        (b'{"a":"\\ud800"}', "half a UTF-16 surrogate pair .byte 6"),
        ('{"a":"\\uD83D"}', "half a UTF-16 surrogate pair .byte 6"),
        (b'{"a":"\\\\ud800', "does not end"),
        (b'{"a":"\\ud83d\\ude00', "does not end"),
        (b'{"a":"\x00"}', "byte 6"),
        (b"[1]", "one JSON object"),
        (b'"text"', "one JSON object"),
        (b"null", "one JSON object"),
        (b'{"a":1e99999999999999999999}', "too large a number"),
        (b'{"a":' + b"9" * 5000 + b"}", "cannot be read"),
    ],
)
def test_refused_naming_the_place(document: bytes | str, told: str) -> None:
    with pytest.raises(BadRequest, match=told):
        json.loads(document)


def test_no_part_of_the_body_is_repeated() -> None:
    with pytest.raises(BadRequest) as caught:
        json.loads(b'{"name": "Mustermann", "name2": Mustermann}')
    assert "Muster" not in str(caught.value)


@pytest.mark.parametrize("brackets", [(b"[", b"]"), (b'{"a":', b"}")])
def test_depth(brackets: tuple[bytes, bytes]) -> None:
    def nested(levels: int) -> bytes:
        return b'{"a":' + brackets[0] * (levels - 1) + b"1" + brackets[1] * (levels - 1) + b"}"

    limit = Settings().depth_limit
    assert json.loads(nested(limit))
    for levels in (limit + 1, 100_000):
        with pytest.raises(BadRequest, match="nested"):
            json.loads(nested(levels))


def test_the_place_where_it_is_too_deep() -> None:
    deep = b'{"url":"u","extension":[' * 40 + b'{"url":"u"}' + b"]}" * 40
    entries = (
        b'{"resource":{"resourceType":"Patient"}},{"resource":{"resourceType":"Patient","extension":[' + deep + b"]}}"
    )
    for document, place in (
        (b'{"resourceType":"Bundle","entry":[' + entries + b"]}", "Bundle.entry[1].resource.extension[0]"),
        (b'{"resourceType":"Who","a":1,"b":' + b"[" * 80 + b"]" * 80 + b"}", "body.b[0][0][0][0]"),
        (b'{"a":{"Mr. X":' + b"[" * 80 + b"]" * 80 + b"}}", "body.a"),
    ):
        with pytest.raises(BadRequest) as caught:
            json.loads(document)
        assert caught.value.issues[0].expression == place


def test_the_limit_is_a_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settings, "current", lambda: Settings(depth_limit=3))
    assert json.loads(b'{"a":[{"b":1}]}')
    with pytest.raises(BadRequest, match="more than 3 levels"):
        json.loads(b'{"a":[{"b":[]}]}')


def test_what_is_stored_is_read_whatever_the_limit_is_now(monkeypatch: pytest.MonkeyPatch) -> None:
    document = {"resourceType": "Basic", "extension": [{"extension": [{"url": "u", "valueDecimal": Decimal("1.10")}]}]}
    monkeypatch.setattr(settings, "current", lambda: Settings(depth_limit=3))
    with pytest.raises(BadRequest):
        json.loads(json.dumps(document))
    assert json.dumps(json.stored(json.dumps(document))) == json.dumps(document)


@pytest.mark.parametrize(
    ("document", "place", "name"),
    [
        (b'{"resourceType":"Patient","name":[],"name":[1]}', "Patient.name", "name"),
        (b'{"a":1,"\\u0061":2}', "body.a", "a"),
        (b'{"a" : 1, "a"\t:\n2}', "body.a", "a"),
        (b'{"a":{"b":1},"a":{"c":"\\":\\":"}}', "body.a", "a"),
        (b'{"resourceType":"Bundle","entry":[{},{"resource":{"x":{},"x":{}}}]}', "Bundle.entry[1].resource.x", "x"),
        (b'{"Mr. X":1,"Mr. X":2}', "body", "a member"),
        ('{"a":1,"a":2}', "body.a", "a"),
    ],
)
def test_a_member_given_twice_is_named(document: bytes | str, place: str, name: str) -> None:
    with pytest.raises(BadRequest, match="repeats a member") as caught:
        json.loads(document)
    issue = caught.value.issues[0]
    assert (issue.code, issue.expression) == ("structure", place)
    assert name in issue.diagnostics
    assert "Mr." not in issue.diagnostics


NAMES_AND_TEXTS = st.sampled_from(['a":', ":", '":', "\\", 'a\\":"', " :", "a", "b", ""])
SPACE = st.sampled_from(["", " ", "\n\t", "\r\n  "])


@st.composite
def _objects(draw: st.DrawFn, levels: int = 2) -> tuple[str, bool]:
    """JSON text of an object, and whether a name occurs twice within it."""
    parts, names, twice = [], [], False
    for _ in range(draw(st.integers(0, 3))):
        name = draw(NAMES_AND_TEXTS)
        written = (
            "".join(f"\\u{ord(letter):04x}" for letter in name) if draw(st.booleans()) else stdlib.dumps(name)[1:-1]
        )
        content, inner = (
            draw(_objects(levels - 1))
            if levels and draw(st.booleans())
            else (stdlib.dumps(draw(NAMES_AND_TEXTS)), False)
        )
        parts.append(f'{draw(SPACE)}"{written}"{draw(SPACE)}:{draw(SPACE)}{content}')
        names.append(name)
        twice |= inner
    return "{" + ",".join(parts) + "}", twice or len(set(names)) < len(names)


@given(_objects())
def test_twice_is_found_whatever_is_in_names_and_texts(made: tuple[str, bool]) -> None:
    document, twice = made
    if twice:
        with pytest.raises(BadRequest, match="repeats a member"):
            json.loads(document)
    else:
        assert json.loads(document) == stdlib.loads(document)


def test_a_byte_order_mark_is_passed_over() -> None:
    assert json.loads(b'\xef\xbb\xbf{"a":1}') == json.loads('\ufeff{"a":1}') == {"a": 1}
    assert json.loads_list(b"\xef\xbb\xbf[1]", "patch") == [1]


# --- The number of values

MANY = 400_000


@pytest.mark.parametrize(
    "value", ["[]", "{}", "1", "1.1", "1e9", '""', '"a"', '",{["', '"\\""', '"\\\\"', '{"a":1}', "null"]
)
def test_many_small_values_are_refused_before_they_are_made(value: str) -> None:
    text = f'{{"a":[{",".join([value] * MANY)}]}}'
    with monkeypatched_decoder(), pytest.raises(PayloadTooLarge, match="values") as refused:
        json.loads(text)
    assert refused.value.issues[0].expression == json.BODY
    with pytest.raises(PayloadTooLarge):
        json.loads_list(text.encode()[5:-1], "patch")


@contextmanager
def monkeypatched_decoder() -> Iterator[None]:
    """Within this context nothing can be decoded."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(json, "_decoder", None)
        yield


@pytest.mark.parametrize("text", ["a, b, [c] {d} ", '{\\"a\\": [1,2,3]}', "\\\\", ',\\\\\\",'])
def test_what_strings_contain_is_no_value(text: str) -> None:
    assert json.loads(f'{{"a":["{text * 60_000}","{text * 60_000}"]}}')["a"][1]


def test_as_many_values_as_real_resources_have_are_read() -> None:
    dense = '{"itemSequence":1234},' * (MANY - 1)
    assert len(json.loads(f'{{"a":[{dense}{{"b":2}}]}}'.encode())["a"]) == MANY


@given(DOCUMENTS, st.integers(1, 9))
def test_values_outside_of_strings_are_counted_wherever_a_piece_ends(document: dict[str, Any], size: int) -> None:
    text = json.dumps(document)
    expected = json.dumps(_without_signs(document))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(json, "_PIECE", size)
        assert json._count_outside_strings(text) == json._count_values(expected)


def _without_signs(value: Any) -> Any:
    """The same structure with numbers in place of the names and strings, which could hold anything."""
    if isinstance(value, dict):
        return {str(n): _without_signs(child) for n, child in enumerate(value.values())}
    if isinstance(value, list):
        return [_without_signs(child) for child in value]
    return 1

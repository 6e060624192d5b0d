"""Reads and writes FHIR JSON without loss: decimals keep every digit (R4 json.html: precision is part of the value)."""

from __future__ import annotations

import codecs
import json as stdlib_json
import re
from decimal import Decimal
from typing import Any

import msgspec

from bulkhead.errors import BadRequest, Issue, PayloadTooLarge
from bulkhead.fhir import site

JsonResource = dict[str, Any] | msgspec.Raw
"""A resource, or its JSON: `dumps` takes both, at any depth."""

BODY = "body"
"""The place that errors name for a fault of the body as a whole."""


_SPACES = b" \t\n\r"

# What clients send by mistake, by its first bytes.
GZIP = {b"\x1f\x8b": "it is gzipped, and no Content-Encoding: gzip says so"}
_OTHERS = {
    **GZIP,
    codecs.BOM_UTF16_LE: "it is UTF-16: send UTF-8",
    codecs.BOM_UTF16_BE: "it is UTF-16: send UTF-8",
    b"<": "it is XML, and the Content-Type does not say so",
}
_TRUNCATED = "Input data was truncated"
# An escape of a high surrogate without that of a low one behind it. An even number of backslashes before it is text.
_HALF_A_PAIR = re.compile(rb"(?<!\\)(?:\\\\)*(\\u[dD][89abAB][0-9a-fA-F]{2})(?!\\u[dD][c-fC-F])")

# A value in memory takes up to 190 bytes, and as few as two in the text. Real resources have one in 13 bytes or more, without any space.
VALUES = 100_000
"""How many values a text may have whatever its size."""
BYTES_PER_VALUE = 10
"""Beyond VALUES, a text may have one value in so many bytes."""
# Each value but the first of all comes after one of these.
_BEFORE_VALUES = (b"{", b"[", b",")
_PIECE = 65_536

# The number of steps in the path to a nesting that is too deep: enough to find it in a bundle.
_NAMED = 6


class Written(Decimal):
    """A number that Python would write differently than the client did, such as 1e-7 or 0.0000000010."""

    __slots__ = ("text",)
    text: str

    def __str__(self) -> str:
        return self.text


def number(text: str) -> Decimal:
    """A number with a point or exponent; `dumps` writes it back exactly as in `text`."""
    plain = Decimal(text)
    if str(plain) == text:
        return plain
    written = Written(text)
    written.text = text
    return written


def _raw(value: Any) -> msgspec.Raw:
    if isinstance(value, Written):
        return msgspec.Raw(value.text.encode())
    raise TypeError(f"{type(value).__name__} is not JSON")


_decoder = msgspec.json.Decoder(float_hook=number)
_encoder = msgspec.json.Encoder(decimal_format="number", enc_hook=_raw)
_sorting = msgspec.json.Encoder(decimal_format="number", order="sorted", enc_hook=_raw)


def loads(data: bytes | str) -> dict[str, Any]:
    """Reads one JSON object. Numbers with a point or exponent become Decimal, others int. A byte order mark is ignored.

    BadRequest for anything else, with the byte or the place where known: malformed JSON or UTF-8, NaN, a top level that is not
    an object, nesting deeper than the setting DEPTH_LIMIT, a repeated member (R4 json.html: names are unique).
    PayloadTooLarge where there are too many values: see `require_sparse`.
    """
    value = decode(data, _decoder, BODY)
    if not isinstance(value, dict):
        raise BadRequest("the body must be one JSON object", BODY)
    limit = site.depth_limit()
    members = _count_members(value, limit)
    if members is None:
        raise BadRequest(f"the body is nested more than {limit} levels deep", _deep_place(value, limit))
    require_unique(data, members, _root(value))
    return value


def loads_list(data: bytes | str, place: str) -> list[Any]:
    """Reads one JSON array under the rules of `loads`; `place` is the name of the text in errors."""
    value = decode(data, _decoder, place)
    if not isinstance(value, list):
        raise BadRequest("the body must be one JSON array", place)
    limit = site.depth_limit()
    members = _count_members(value, limit)
    if members is None:
        raise BadRequest(f"the body is nested more than {limit} levels deep", place)
    require_unique(data, members, place)
    return value


def decode(data: bytes | str, decoder: msgspec.json.Decoder[Any], place: str) -> Any:
    """Reads one JSON value of any kind, without a check for repeated members.

    BadRequest where it cannot be read, PayloadTooLarge where it has too many values for its size (`require_sparse`).
    """
    data = _without_mark(data)
    require_sparse(data, place)
    try:
        return decoder.decode(data)
    except msgspec.DecodeError as error:
        raise BadRequest(f"the body cannot be read: {_unreadable(data, error)}", place) from None
    except UnicodeError:
        raise BadRequest(f"the body cannot be read: {_misencoded(data)}", place) from None
    except (RecursionError, ArithmeticError, ValueError):
        raise BadRequest(
            "the body cannot be read: it is nested too deeply, or contains too large a number", place
        ) from None


def _without_mark(data: bytes | str) -> bytes | str:
    """The text without a byte order mark, which RFC 8259 (section 8.1) lets a reader ignore."""
    return data.removeprefix(codecs.BOM_UTF8) if isinstance(data, bytes) else data.removeprefix("\ufeff")


def stored(data: bytes | msgspec.Raw) -> dict[str, Any]:
    """Reads one JSON object that `dumps` wrote. The limits do not apply: the object passed those that held when it was written."""
    value: dict[str, Any] = _decoder.decode(data)
    return value


def dumps(value: Any, *, pretty: bool = False) -> bytes:
    """UTF-8 JSON in the order of the dict; Decimals come out as the numbers that they were read from."""
    encoded = _encoder.encode(value)
    return msgspec.json.format(encoded, indent=2) if pretty else encoded


def plain(resource: JsonResource) -> dict[str, Any]:
    """The resource for who looks inside it."""
    return stored(resource) if isinstance(resource, msgspec.Raw) else resource


def canonical(value: Any) -> bytes:
    """JSON that is the same for equal values, whatever the order of their properties; 1.10 and 1.1 differ."""
    return _sorting.encode(value)


def _unreadable(data: bytes | str, error: msgspec.DecodeError) -> str:
    """What keeps a text from being JSON: what it is instead, or where it ends (which msgspec calls truncated, whatever it is)."""
    text = data.encode(errors="surrogatepass") if isinstance(data, str) else data
    if sign := next((sign for sign in _OTHERS if text.startswith(sign)), None):
        return _OTHERS[sign]
    if str(error) != _TRUNCATED:
        return str(error)
    if not text.strip():
        return "it is empty"
    if half := _HALF_A_PAIR.search(text):
        return f"JSON is malformed: half a UTF-16 surrogate pair (byte {half.start(1)})"
    return f"the JSON does not end: it is cut short, or lacks a quote or bracket (byte {len(text)})"


def _misencoded(data: bytes | str) -> str:
    """The place of the first byte that is not UTF-8. (msgspec gives a place only within one string.)"""
    try:
        data.decode() if isinstance(data, bytes) else data.encode()
    except UnicodeDecodeError as error:
        return f"invalid UTF-8 (byte {error.start})"
    except UnicodeEncodeError as error:
        return f"invalid Unicode (character {error.start})"
    return "invalid Unicode"


# --- Number of values, depth, and repeated members


def require_sparse(data: bytes | str, place: str) -> None:
    """Raises PayloadTooLarge where a text has more than VALUES values, and more than one in BYTES_PER_VALUE bytes.

    A gzipped body of 10 KB can hold millions of them, which take fifty times as much memory as their text. So they are counted before
    any is made: by what comes before each, strings included; if these are too many, without the strings.
    """
    if len(data) <= VALUES:
        return
    text = data.encode(errors="surrogatepass") if isinstance(data, str) else data
    most = VALUES + len(text) // BYTES_PER_VALUE
    if _count_values(text) > most and _count_outside_strings(text) > most:
        raise PayloadTooLarge(
            f"a body of {len(text)} bytes may have at most {most} values, objects and arrays included: send fewer at once",
            place,
        )


def _count_values(text: bytes) -> int:
    return sum(map(text.count, _BEFORE_VALUES))


def _count_outside_strings(text: bytes) -> int:
    """The same, without what strings contain; piece by piece, because a piece is split into its strings."""
    text = text.replace(b"\\\\", b"").replace(b'\\"', b"")
    found, is_inside = 0, False
    for start in range(0, len(text), _PIECE):
        parts = text[start : start + _PIECE].split(b'"')
        found += _count_values(b"".join(parts[is_inside::2]))
        is_inside ^= len(parts) % 2 == 0
    return found


def require_unique(data: bytes | str, members: int, root: str) -> None:
    """Raises BadRequest, with member and place, where an object in `data` has two members of one name.

    `members` is the number of members in all objects of the decoded value. `root` is the start of the place. Every member has a
    quote before its colon, so if the text has no more of those pairs than `members`, no member was lost. A text with more pairs
    (strings may contain them) is read again with care.
    """
    text = data.encode(errors="surrogatepass") if isinstance(data, str) else data
    if text.translate(None, _SPACES).count(b'":') == members:
        return
    place, name = _first_repeated(text, root)
    if place:
        shown = f"the member {name}" if name else "a member"
        raise BadRequest(
            "the body repeats a member",
            issues=[Issue("structure", f"{shown} occurs twice: names within an object must be unique", place)],
        )


def _first_repeated(text: bytes, root: str) -> tuple[str, str]:
    """Place and name of the first repeated member; ("", "") if there is none. The name is "" where it could be any text."""
    value = stdlib_json.loads(
        text.decode("utf-8-sig", errors="surrogatepass"),
        object_pairs_hook=_Members.of,
        parse_int=len,
        parse_float=len,
        parse_constant=len,
    )
    # The depth is within bounds by now, so the path of every container fits.
    waiting: list[tuple[Any, str]] = [(value, root)]
    while waiting:
        container, place = waiting.pop()
        if type(container) is _Members and container.repeated is not None:
            name = container.repeated if container.repeated.isascii() and container.repeated.isidentifier() else ""
            return (f"{place}.{name}" if name else place), name
        inner = (
            [(child, f"{place}.{key}" if key.isidentifier() else place) for key, child in container.items()]
            if type(container) is _Members
            else [(child, f"{place}[{n}]") for n, child in enumerate(container)]
        )
        waiting += reversed([pair for pair in inner if type(pair[0]) in (_Members, list)])
    return "", ""


class _Members(dict[str, Any]):
    """The members of an object; `repeated` is the first name that occurs twice."""

    repeated: str | None = None

    @classmethod
    def of(cls, pairs: list[tuple[str, Any]]) -> _Members:
        members = cls(pairs)
        if len(members) < len(pairs):
            names: set[str] = set()
            members.repeated = next(name for name, _ in pairs if name in names or names.add(name))  # type: ignore[func-returns-value]
        return members


def _root(value: dict[str, Any]) -> str:
    from bulkhead.fhir.definitions import RESOURCE_TYPES

    kind = value.get("resourceType")
    return kind if isinstance(kind, str) and kind in RESOURCE_TYPES else BODY


def _deep_place(value: dict[str, Any], limit: int) -> str:
    """The start of the path to the nesting that is too deep: `Bundle.entry[3].resource.extension[0]`."""
    place = _root(value)
    inner: Any = value
    for depth in range(limit - 1, max(limit - _NAMED, 0), -1):
        pairs = inner.items() if type(inner) is dict else enumerate(inner)
        step, inner = next((key, child) for key, child in pairs if _is_deeper(child, depth))
        if isinstance(step, str) and not step.isalnum():
            break
        place += f"[{step}]" if isinstance(step, int) else f".{step}"
    return place


def _is_deeper(value: Any, limit: int) -> bool:
    return type(value) in (dict, list) and _deeper_than(value, limit)


def _deeper_than(value: Any, limit: int) -> bool:
    return _count_members(value, limit) is None


def _count_members(value: Any, limit: int) -> int | None:
    """The number of members in all objects within `value`; None if it is nested deeper than `limit`."""
    members = 0
    level = [value]
    for _ in range(limit):
        inner: list[Any] = []
        for container in level:
            if type(container) is dict:
                members += len(container)
                container = container.values()
            for child in container:
                kind = type(child)
                if kind is dict or kind is list:
                    inner.append(child)
        if not inner:
            return members
        level = inner
    return None

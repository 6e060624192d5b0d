"""FHIR JSON in and out, without loss: decimals keep every digit (R4 json.html: precision is part of the value)."""

from __future__ import annotations

import codecs
import json as stdlib_json
from decimal import Decimal
from typing import Any

import msgspec

from bulkhead import settings
from bulkhead.errors import BadRequest, Issue

BODY = "body"
"""The expression of what is wrong with a body as a whole."""


_SPACES = b" \t\n\r"

# Steps of the way to a nesting that is too deep: enough to find it in a bundle.
_NAMED = 6


class Written(Decimal):
    """A number that Python would write in another way than the client did, such as 1e-7 or 0.0000000010."""

    __slots__ = ("text",)
    text: str

    def __str__(self) -> str:
        return self.text


def number(text: str) -> Decimal:
    """A number with a point or exponent, that is written again as it stands here."""
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
    """Reads one JSON object. Numbers with a point or exponent become Decimal, others int. A byte order mark is passed over.

    BadRequest, naming the byte or the place where it can, for anything else: malformed JSON or UTF-8, NaN, another top level than
    an object, deeper nesting than the setting DEPTH_LIMIT, a member that is given twice (R4 json.html: names are unique).
    """
    value = decode(data, _decoder, BODY)
    if not isinstance(value, dict):
        raise BadRequest("the body must be one JSON object", BODY)
    limit = settings.current().depth_limit
    members = _count_members(value, limit)
    if members is None:
        raise BadRequest(f"the body is nested more than {limit} levels deep", _deep_place(value, limit))
    require_unique(data, members, _root(value))
    return value


def loads_list(data: bytes | str, place: str) -> list[Any]:
    """Reads one JSON array under the rules of `loads`; `place` is what errors call it."""
    value = decode(data, _decoder, place)
    if not isinstance(value, list):
        raise BadRequest("the body must be one JSON array", place)
    limit = settings.current().depth_limit
    members = _count_members(value, limit)
    if members is None:
        raise BadRequest(f"the body is nested more than {limit} levels deep", place)
    require_unique(data, members, place)
    return value


def decode(data: bytes | str, decoder: msgspec.json.Decoder[Any], place: str) -> Any:
    """One JSON value of any kind, duplicate members not yet looked for. BadRequest."""
    data = _without_mark(data)
    try:
        return decoder.decode(data)
    except msgspec.DecodeError as error:
        raise BadRequest(f"the body cannot be read: {error}", place) from None
    except UnicodeError:
        raise BadRequest(f"the body cannot be read: {_misencoded(data)}", place) from None
    except (RecursionError, ArithmeticError, ValueError):
        raise BadRequest(
            "the body cannot be read: it is nested too deeply, or holds too large a number", place
        ) from None


def _without_mark(data: bytes | str) -> bytes | str:
    """The text without a byte order mark, which RFC 8259 (section 8.1) lets a reader pass over."""
    return data.removeprefix(codecs.BOM_UTF8) if isinstance(data, bytes) else data.removeprefix("\ufeff")


def stored(data: bytes) -> dict[str, Any]:
    """Reads one JSON object that `dumps` has written: checked when it came in, whatever the limit was then."""
    value: dict[str, Any] = _decoder.decode(data)
    return value


def dumps(value: Any, pretty: bool = False) -> bytes:
    """UTF-8 JSON in the order of the dict; Decimals are written as the numbers that they were read from."""
    encoded = _encoder.encode(value)
    return msgspec.json.format(encoded, indent=2) if pretty else encoded


def canonical(value: Any) -> bytes:
    """JSON that is the same for equal values, whatever the order of their properties; 1.10 and 1.1 differ."""
    return _sorting.encode(value)


def _misencoded(data: bytes | str) -> str:
    """Where the first byte is that is not UTF-8. (msgspec tells its place within a string only.)"""
    try:
        data.decode() if isinstance(data, bytes) else data.encode()
    except UnicodeDecodeError as error:
        return f"invalid UTF-8 (byte {error.start})"
    except UnicodeEncodeError as error:
        return f"invalid Unicode (character {error.start})"
    return "invalid Unicode"


# --- Depth, and members that are given twice


def require_unique(data: bytes | str, members: int, root: str) -> None:
    """BadRequest, naming member and place, where an object in `data` has two members of one name.

    `members` is how many the decoded value has, in all its objects. `root` is what the place begins with. Every member has a
    quote before its colon, so where the text has no more of those than `members`, none was lost. A text with more of them (in
    strings too) is read again with care.
    """
    text = data.encode(errors="surrogatepass") if isinstance(data, str) else data
    if text.translate(None, _SPACES).count(b'":') == members:
        return
    place, name = _first_repeated(text, root)
    if place:
        shown = f"the member {name}" if name else "a member"
        raise BadRequest(
            "a member is given twice",
            issues=[Issue("structure", f"{shown} is given twice: names within an object are unique", place)],
        )


def _first_repeated(text: bytes, root: str) -> tuple[str, str]:
    """Place and name of the first member that is given twice; ("", "") where there is none. No name where it may be any text."""
    value = stdlib_json.loads(
        text.decode("utf-8-sig", errors="surrogatepass"),
        object_pairs_hook=_Members.of,
        parse_int=len,
        parse_float=len,
        parse_constant=len,
    )
    # Depth is bounded by now, so the path of every container fits.
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
    """The members of an object; `repeated` is the first name that it has twice."""

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
    """Where the way to the too deep nesting begins: `Bundle.entry[3].resource.extension[0]`."""
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
    """How many members the objects within `value` have; None where it is nested deeper than `limit`."""
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

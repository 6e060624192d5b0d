"""FHIR JSON in and out, without loss: decimals keep every digit (R4 json.html: precision is part of the value)."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import msgspec

from bulkhead import settings
from bulkhead.errors import BadRequest

BODY = "body"
"""The expression of what is wrong with a body as a whole."""


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
    """Reads one JSON object. Numbers with a point or exponent become Decimal, others int.

    BadRequest, naming the byte or the place where it can, for anything else: malformed JSON or UTF-8, NaN, another top level than
    an object, deeper nesting than the setting DEPTH_LIMIT. Of a property given twice the last one counts.
    """
    try:
        value = _decoder.decode(data)
    except msgspec.DecodeError as error:
        raise BadRequest(f"the body cannot be read: {error}", BODY) from None
    except UnicodeError:
        raise BadRequest(f"the body cannot be read: {_misencoded(data)}", BODY) from None
    except (RecursionError, ArithmeticError):
        raise BadRequest(
            "the body cannot be read: it is nested too deeply, or holds too large a number", BODY
        ) from None
    if not isinstance(value, dict):
        raise BadRequest("the body must be one JSON object", BODY)
    limit = settings.current().depth_limit
    if _deeper_than(value, limit):
        raise BadRequest(f"the body is nested more than {limit} levels deep", _deep_place(value, limit))
    return value


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


def _deep_place(value: dict[str, Any], limit: int) -> str:
    """Where the way to the too deep nesting begins: `Bundle.entry[3].resource.extension[0]`."""
    from bulkhead.definitions import RESOURCE_TYPES

    kind = value.get("resourceType")
    place = kind if isinstance(kind, str) and kind in RESOURCE_TYPES else BODY
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
    level = [value]
    for _ in range(limit):
        level = [
            child
            for container in level
            for child in (container.values() if type(container) is dict else container)
            if type(child) is dict or type(child) is list
        ]
        if not level:
            return False
    return True

"""Query strings and forms: names and values, percent-encoded UTF-8 (R4 http.html 3.1.0.1.4)."""

from __future__ import annotations

import re
from urllib.parse import parse_qsl

from bulkhead.errors import BadRequest


def pairs(text: str, expression: str) -> list[tuple[str, str]]:
    """Names and values in order, decoded; empty values too. BadRequest at `expression` for octets that are not UTF-8.

    They would become a sign that no resource has, so a search would find nothing, and a conditional create make one more each time.
    """
    try:
        return parse_qsl(text, keep_blank_values=True, errors="strict")
    except UnicodeDecodeError:
        raise BadRequest("the parameters are not UTF-8: percent-encode the octets of UTF-8", expression) from None


_DIGITS = re.compile(r"0*([0-9]+)", re.ASCII)
_LONGEST = 9
_MOST = 10**_LONGEST


def count(text: str) -> int:
    """The value of `_count`: how many results a page may have. A number of any length counts, at most as 1,000,000,000. BadRequest.

    R4 search.html#count lets a server return fewer: the caller of this function lowers it to what the server allows.
    """
    if match := _DIGITS.fullmatch(text):
        return int(match[1]) if len(match[1]) <= _LONGEST else _MOST
    raise BadRequest("_count must be a whole number, 0 or more", "_count")

"""Query strings and forms: names and values, percent-encoded UTF-8 (R4 http.html 3.1.0.1.4)."""

from __future__ import annotations

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

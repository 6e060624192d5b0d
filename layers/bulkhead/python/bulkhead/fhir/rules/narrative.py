"""The XHTML of a Narrative (R4 narrative.html, txt-1 and txt-2): one well-formed div with formatting only and some content."""

from __future__ import annotations

import re
from collections.abc import Callable
from xml.parsers import expat

from bulkhead.fhir import site
from bulkhead.fhir.rules.invariants import TXT_2, unchecked_invariants

XHTML = "http://www.w3.org/1999/xhtml"

_ELEMENT_NAMES = """
    a abbr acronym b big blockquote br caption cite code col colgroup dd dfn div dl dt em h1 h2 h3 h4 h5 h6 hr i img li
    ol p pre q samp small span strong sub sup table tbody td tfoot th thead tr tt ul var
"""
_ATTRIBUTE_NAMES = """
    abbr accesskey align alt axis bgcolor border cellhalign cellpadding cellspacing cellvalign char charoff charset cite
    class colspan compact coords dir frame headers height href hreflang hspace id lang longdesc name nowrap rel rev
    rowspan rules scope shape span src start style summary tabindex title type valign value vspace width
"""
_ELEMENTS = frozenset(_ELEMENT_NAMES.split())
_ATTRIBUTES = frozenset(_ATTRIBUTE_NAMES.split())
_PREFIXED_ATTRIBUTES = frozenset(
    {"http://www.w3.org/XML/1998/namespace lang", "http://www.w3.org/XML/1998/namespace space"}
)
_IMAGE = f"{XHTML} img"
_LINKS = ("href", "src")
# Browsers ignore control characters and spaces in the scheme of a link.
_IGNORED = re.compile(r"[\s\x00-\x20]+")
# A document in a data: link runs the scripts in it; the same as an image does not.
_SCRIPT = re.compile(r"(?:java|vb)script:", re.IGNORECASE)
_DOCUMENT = re.compile(r"data:[^,]*(?:html|xml|script)", re.IGNORECASE)


class _Refused(Exception):
    """Carries the fault out of the parser."""


def narrative_fault(xhtml: str) -> str | None:
    """The fault in the text of Narrative.div; None if it is valid. The message repeats no part of the text."""
    parser = expat.ParserCreate(namespace_separator=" ")
    parser.buffer_text = True
    content: list[bool] = []
    start, parser.EndElementHandler = _handlers(site.depth_limit())

    def text(characters: str) -> None:
        if not content and not characters.isspace():
            content.append(True)

    def begin(name: str, attributes: dict[str, str]) -> None:
        start(name, attributes)
        # An image counts as content.
        if name == _IMAGE:
            content.append(True)

    parser.StartElementHandler, parser.CharacterDataHandler = begin, text
    parser.StartDoctypeDeclHandler = _refuse_doctype
    try:
        parser.Parse(xhtml, True)
    except expat.ExpatError as error:
        return f"is not well-formed XHTML (line {error.lineno}, column {error.offset})"
    except UnicodeEncodeError:
        return "is not well-formed XHTML"
    except _Refused as refused:
        return str(refused)
    if not content and TXT_2 not in unchecked_invariants():
        return "must have some content other than whitespace (txt-2)"
    return None


def _handlers(limit: int) -> tuple[Callable[[str, dict[str, str]], None], Callable[[str], None]]:
    """The handlers for start and end tags of one narrative; the first must be the div. At most `limit` tags may be open at once."""
    first = True
    depth = 0

    def end(name: str) -> None:
        nonlocal depth
        depth -= 1

    def start(name: str, attributes: dict[str, str]) -> None:
        nonlocal first, depth
        depth += 1
        if depth > limit:
            raise _Refused(f"is nested more than {limit} levels deep")
        namespace, _, local_name = name.rpartition(" ")
        if first and (namespace, local_name) != (XHTML, "div"):
            raise _Refused(f"must be one div element in the namespace {XHTML}")
        first = False
        if namespace != XHTML or local_name not in _ELEMENTS:
            raise _Refused("has an element that R4 does not allow in narratives (txt-1)")
        for attribute, value in attributes.items():
            if attribute not in _ATTRIBUTES and attribute not in _PREFIXED_ATTRIBUTES:
                raise _Refused("has an attribute that R4 does not allow in narratives (txt-1)")
            if attribute in _LINKS and _runs(attribute, value):
                raise _Refused("has a link that runs a script")

    return start, end


def _runs(attribute: str, link: str) -> bool:
    """Whether a browser that follows a link, or loads it, runs a script from the link itself."""
    text = _IGNORED.sub("", link)
    return bool(_SCRIPT.match(text)) or (attribute == "href" and bool(_DOCUMENT.match(text)))


def _refuse_doctype(*_: object) -> None:
    raise _Refused("must not have a document type declaration")

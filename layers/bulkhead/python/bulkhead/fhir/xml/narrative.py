"""The div of a narrative as JSON has it: the bytes of the document where the div declares its namespace, otherwise written anew."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from xml.sax.saxutils import escape, quoteattr

if TYPE_CHECKING:
    from xml.parsers.expat import XMLParserType

XHTML = "http://www.w3.org/1999/xhtml"
_XML = "http://www.w3.org/XML/1998/namespace"

# An unprefixed div that declares its namespace itself.
_STANDALONE = re.compile(rb"""<div(?=[\s/>])(?:[^>"']|"[^"]*"|'[^']*')*?\sxmlns\s*=\s*["']%b["']""" % XHTML.encode())


class NarrativeReader:
    """Follows the events of one div, from its start tag to its end tag. It rewrites a div that inherits its namespace."""

    def __init__(self, parser: XMLParserType, data: bytes) -> None:
        self._parser = parser
        self._data = data
        self._begin = parser.CurrentByteIndex
        self._depth = 0
        self._verbatim = bool(_STANDALONE.match(data, self._begin))
        self._copy: list[str] = []

    def start(self, tag: str, attributes: dict[str, str]) -> None:
        self._depth += 1
        if not self._verbatim:
            declared = f' xmlns="{XHTML}"' if self._depth == 1 else ""
            written = "".join(f" {_name(name)}={quoteattr(value)}" for name, value in attributes.items())
            self._copy.append(f"<{_name(tag)}{declared}{written}>")

    def text(self, text: str) -> None:
        if not self._verbatim:
            self._copy.append(escape(text))

    def end(self, tag: str) -> str | None:
        """The div, once it is complete."""
        self._depth -= 1
        if not self._verbatim:
            self._copy.append(f"</{_name(tag)}>")
        if self._depth:
            return None
        return self._slice() if self._verbatim else "".join(self._copy)

    def _slice(self) -> str:
        index = self._parser.CurrentByteIndex
        # For an empty-element tag expat reports where it ends; for an end tag, where it begins.
        if self._data.startswith(b"</div", index):
            index = self._data.index(b">", index) + 1
        return self._data[self._begin : index].decode()


def _name(tag: str) -> str:
    """The local name for XHTML; other namespaces stay in braces, so that validation refuses the narrative."""
    namespace, _, name = tag.rpartition(" ")
    if namespace in (XHTML, ""):
        return name
    return f"xml:{name}" if namespace == _XML else f"{{{namespace}}}{name}"

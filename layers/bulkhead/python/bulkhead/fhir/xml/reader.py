"""FHIR XML to dicts, in one pass over the events of expat."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any, NoReturn
from xml.parsers import expat

from bulkhead.errors import BadRequest
from bulkhead.fhir import site
from bulkhead.fhir.json import BODY, GZIP, number
from bulkhead.fhir.xml.narrative import NarrativeReader
from bulkhead.fhir.xml.tables import FHIR, Property, resource_types, table

_SCHEMA_INSTANCE = "http://www.w3.org/2001/XMLSchema-instance "
_ATOM_FEED = "http://www.w3.org/2005/Atom feed"
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9]{0,63}")
_INTEGER = re.compile(r"-?(0|[1-9][0-9]*)")
_DECIMAL = re.compile(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?")
_OTHERS = {**GZIP, b"{": "it is JSON, and the Content-Type does not say so"}
"""What clients send by mistake, by its first bytes."""
_INTEGER_DIGITS = 18  # more do not fit 64 bits


class _Frame:
    """An element that has begun and not ended."""

    __slots__ = ("companions", "content", "depth", "expected", "property")

    def __init__(
        self, expected: Mapping[str, Property], child: Property | None, content: dict[str, Any], *, depth: int
    ) -> None:
        self.expected = expected
        """The child elements that may occur."""
        self.property = child
        """The parent's property that this element is; None for the document."""
        self.content = content
        """The object that the reader fills; for a primitive, its id and extensions."""
        self.depth = depth
        """How many objects and arrays JSON would nest here."""
        self.companions: tuple[str, ...] = ()
        """Repeating primitives where at least one value has an id or extensions."""


def loads(data: bytes | str) -> dict[str, Any]:
    """Reads one resource. Decimals with a point or exponent become Decimal, as in `json.loads`.

    BadRequest, with the line and the FHIRPath of the place: for malformed XML; for elements, attributes or text that R4 does not
    have there; for malformed numbers and booleans; for a document type declaration; for nesting deeper than the setting DEPTH_LIMIT.
    Validation finds every other fault. The reader ignores comments and processing instructions.
    """
    reader = _Reader(data.encode() if isinstance(data, str) else data)
    return reader.read()


class _Reader:
    def __init__(self, data: bytes) -> None:
        self._data = data
        self._depth_limit = site.depth_limit()
        self._stack = [_Frame(resource_types(), None, {}, depth=0)]
        self._beside_primitives = table("Element").by_tag
        self._narrative: NarrativeReader | None = None
        # The body must be UTF-8, whatever the XML declaration says. (expat still understands UTF-16 with a byte order mark.)
        self._parser = expat.ParserCreate("UTF-8", " ")
        self._parser.buffer_text = True
        self._parser.StartElementHandler = self._start
        self._parser.EndElementHandler = self._end
        self._parser.CharacterDataHandler = self._text
        self._parser.StartDoctypeDeclHandler = self._refuse_doctype

    def read(self) -> dict[str, Any]:
        try:
            self._parser.Parse(self._data, True)
        except expat.ExpatError as error:
            if sign := next((sign for sign in _OTHERS if self._data.lstrip().startswith(sign)), None):
                raise BadRequest(f"the body cannot be read: {_OTHERS[sign]}", BODY) from None
            place = f"line {error.lineno}, column {error.offset + 1}"
            raise BadRequest(
                f"the body is not well-formed XML: {place}: {expat.ErrorString(error.code)}", BODY
            ) from None
        return self._stack[0].content

    # Events of expat

    def _start(self, tag: str, attributes: dict[str, str]) -> None:
        if self._narrative is not None:
            self._narrative.start(tag, attributes)
            return
        frame = self._stack[-1]
        child = frame.expected.get(tag)
        if child is None:
            self._refuse_element(tag)
        kind = child.kind
        if kind == "primitive":
            self._start_primitive(frame, child, attributes)
        elif kind == "object":
            known = table(child.type)
            content = self._attributes(child, attributes, known.attributes)
            self._attach(frame, child, content)
            self._push(known.by_tag, child, content)
        elif kind == "resource":
            self._attributes(child, attributes)
            self._push(resource_types(), child, {})
        elif kind == "resource type":
            self._start_resource(frame, child, attributes)
        else:
            if child.name in frame.content:
                self._fail("occurs more than once", child)
            self._narrative = NarrativeReader(self._parser, self._data)
            self._narrative.start(tag, attributes)

    def _start_primitive(self, frame: _Frame, child: Property, attributes: dict[str, str]) -> None:
        value = None
        companion: dict[str, Any] = {}
        for name, text in attributes.items():
            if name == "value":
                convert = _CONVERSIONS.get(child.type)
                try:
                    value = convert(text) if convert else text
                except (ValueError, ArithmeticError):
                    self._fail(f"is not of type {child.type}", child)
            elif name == "id":
                companion["id"] = text
            else:
                self._refuse_attribute(child, name)
        self._attach(frame, child, value)
        self._push(self._beside_primitives, child, companion)

    def _start_resource(self, frame: _Frame, child: Property, attributes: dict[str, str]) -> None:
        if frame.content:
            self._fail("must hold one resource only")
        content = frame.content
        content["resourceType"] = child.type
        if frame.property is not None:
            self._attach(self._stack[-2], frame.property, content)
        self._attributes(child, attributes)
        self._push(table(child.type).by_tag, child, content)

    def _end(self, tag: str) -> None:
        if self._narrative is not None:
            div = self._narrative.end(tag)
            if div is not None:
                self._stack[-1].content["div"] = div
                self._narrative = None
            return
        frame = self._stack.pop()
        child = frame.property
        assert child is not None
        if child.kind == "primitive":
            self._end_primitive(child, frame.content)
        elif child.kind == "resource":
            if not frame.content:
                self._fail("must hold a resource", child)
        else:
            for name in frame.companions:
                _pad(frame.content, name)

    def _end_primitive(self, child: Property, companion: dict[str, Any]) -> None:
        parent = self._stack[-1]
        values = parent.content[child.name]
        value = values[-1] if child.repeats else values
        if companion:
            if child.repeats:
                if child.name not in parent.companions:
                    parent.companions += (child.name,)
                companions = parent.content.setdefault("_" + child.name, [])
                companions += [None] * (len(values) - 1 - len(companions))
                companions.append(companion)
            else:
                parent.content["_" + child.name] = companion
        elif value is None:
            self._fail("must have a value or extensions (ele-1)", child)
        if value is None and not child.repeats:
            del parent.content[child.name]

    def _text(self, text: str) -> None:
        if self._narrative is not None:
            self._narrative.text(text)
        elif not text.isspace():
            self._fail("must not have text beside its elements")

    def _refuse_doctype(self, *_: object) -> None:
        self._fail("must not have a document type declaration")

    # Building

    def _push(self, expected: Mapping[str, Property], child: Property, content: dict[str, Any]) -> None:
        depth = self._stack[-1].depth
        if child.kind != "resource":
            depth += 2 if child.repeats else 1
        if depth > self._depth_limit:
            self._fail(f"is nested more than {self._depth_limit} levels deep")
        self._stack.append(_Frame(expected, child, content, depth=depth))

    def _attach(self, frame: _Frame, child: Property, value: Any) -> None:
        """Put a value under its name; without a value None, until the element has ended."""
        if child.repeats:
            frame.content.setdefault(child.name, []).append(value)
        elif child.name in frame.content or "_" + child.name in frame.content:
            self._fail("occurs more than once", child)
        else:
            frame.content[child.name] = value

    def _attributes(
        self, child: Property, attributes: dict[str, str], allowed: frozenset[str] = frozenset()
    ) -> dict[str, Any]:
        for name in attributes:
            if name not in allowed:
                self._refuse_attribute(child, name)
        return {name: text for name, text in attributes.items() if name in allowed} if attributes else {}

    # Faults

    def _refuse_element(self, tag: str) -> NoReturn:
        namespace, _, name = tag.rpartition(" ")
        shown = name if _NAME.fullmatch(name) else "element"
        if len(self._stack) == 1 and tag == _ATOM_FEED:
            self._fail(
                f"this is an Atom feed of DSTU1: send an R4 Bundle in the namespace {FHIR}, with entries of request and resource"
            )
        if len(self._stack) == 1:
            self._fail(f"the root must be an R4 resource in the namespace {FHIR}")
        if namespace != FHIR and not (name == "div" and namespace == ""):
            self._fail(f"{shown} is not in the namespace {FHIR}")
        path = self._path()
        raise BadRequest(
            f"line {self._parser.CurrentLineNumber}: {path} has no element {shown} in R4", f"{path}.{shown}"
        )

    def _refuse_attribute(self, child: Property, name: str) -> None:
        if name.startswith(_SCHEMA_INSTANCE):
            return
        shown = name if _NAME.fullmatch(name) else "of this name"
        self._fail(f"has no attribute {shown} in R4", child)

    def _fail(self, problem: str, child: Property | None = None) -> NoReturn:
        """Raises BadRequest. `child` is an element that has begun but is not on the stack, or has just left it."""
        path = self._path(child)
        where = f"line {self._parser.CurrentLineNumber}: "
        raise BadRequest(where + (f"{path} {problem}" if child or path else problem), path or BODY)

    def _path(self, child: Property | None = None) -> str:
        """The FHIRPath of the place that the reader has reached."""
        steps = [(frame.property, parent.content) for parent, frame in zip(self._stack, self._stack[1:], strict=False)]
        if child is not None:
            steps.append((child, self._stack[-1].content))
        path = ""
        for step, content in steps:
            assert step is not None
            if step.kind == "resource type":
                path = path or step.name
                continue
            path += f".{step.element}"
            if step.repeats:
                path += f"[{max(0, len(content.get(step.name, ())) - 1)}]"
        return path


def _pad(content: dict[str, Any], name: str) -> None:
    """Makes values and companions equally long; removes the values where all are null."""
    values, companions = content[name], content["_" + name]
    companions += [None] * (len(values) - len(companions))
    if all(value is None for value in values):
        del content[name]


def _boolean(text: str) -> bool:
    if text not in ("true", "false"):
        raise ValueError(text)
    return text == "true"


def _integer(text: str) -> int | Decimal:
    if not _INTEGER.fullmatch(text):
        raise ValueError(text)
    return int(text) if len(text) <= _INTEGER_DIGITS else number(text)


def _decimal(text: str) -> int | Decimal:
    if not _DECIMAL.fullmatch(text):
        raise ValueError(text)
    whole = len(text) <= _INTEGER_DIGITS and text.lstrip("-").isdigit()
    return int(text) if whole and text != "-0" else number(text)


_CONVERSIONS: Mapping[str, Callable[[str], Any]] = {
    "boolean": _boolean,
    "decimal": _decimal,
    "integer": _integer,
    "positiveInt": _integer,
    "unsignedInt": _integer,
}

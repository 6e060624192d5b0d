"""Reads FHIR JSON written as YAML: people type it by hand, and Aidbox's console sends it. PyYAML's parser does the reading.

Scalars have their JSON meaning (YAML 1.2, 10.2): `2013-01-01`, `no` and `0x10` are text. Anchors, aliases, tags and a second document
are refused: JSON has none of them, and aliases make a small body large.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, NoReturn

import yaml

from bulkhead.errors import BadRequest, Issue, PayloadTooLarge
from bulkhead.fhir import json, site

SIZE_LIMIT = 200_000
"""The limit in bytes. PyYAML takes some 0.8 s for this many; programs write larger bodies, and programs write JSON."""

_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_CONSTANTS = {"true": True, "false": False, "null": None, "~": None, "": None}
_INTEGER = re.compile(r"-?(0|[1-9][0-9]*)")
_DECIMAL = re.compile(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?")
_DIGITS = 18  # more do not fit 64 bits


def loads(data: bytes) -> dict[str, Any]:
    """Reads one resource. Numbers with a point or exponent become Decimal, as in `json.loads`.

    PayloadTooLarge above SIZE_LIMIT bytes. BadRequest, with the line, for malformed YAML or UTF-8, anchors, aliases, tags, several
    documents, a top level that is not a mapping, a repeated member, nesting deeper than the setting DEPTH_LIMIT.
    """
    if len(data) > SIZE_LIMIT:
        raise PayloadTooLarge(f"a YAML body may have at most {SIZE_LIMIT} bytes: send JSON", json.BODY)
    try:
        value = _Reader(data.decode("utf-8-sig")).document()
    except UnicodeDecodeError as error:
        raise BadRequest(f"the body cannot be read: invalid UTF-8 (byte {error.start})", json.BODY) from None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        where = f"line {mark.line + 1}: " if mark else ""
        raise BadRequest(f"the body cannot be read: {where}YAML is malformed", json.BODY) from None
    except (yaml.YAMLError, ValueError):
        raise BadRequest("the body cannot be read: YAML is malformed", json.BODY) from None
    if not isinstance(value, dict):
        raise BadRequest("the body must be one YAML mapping", json.BODY)
    return value


class _Reader:
    """Turns the parser's events into dicts and lists, without recursion."""

    def __init__(self, text: str) -> None:
        self._events: Iterator[yaml.Event] = yaml.parse(text, Loader=_Loader)
        self._limit = site.depth_limit()

    def document(self) -> Any:
        """The one document of the stream; None if it is empty."""
        documents = 0
        value: Any = None
        for event in self._events:
            if isinstance(event, yaml.DocumentStartEvent):
                documents += 1
                if documents > 1:
                    _refuse(event, "a body must be one document")
            elif isinstance(event, yaml.NodeEvent):
                value = self._value(event)
        return value

    def _value(self, first: yaml.NodeEvent) -> Any:
        """The node that `first` begins, read to its end."""
        root: list[Any] = []
        # A container; with it, for a mapping, the name that waits for its value; for a sequence None.
        stack: list[tuple[dict[str, Any] | list[Any], list[str] | None]] = [(root, None)]
        event: yaml.Event = first
        while True:
            if isinstance(event, (yaml.MappingEndEvent, yaml.SequenceEndEvent)):
                stack.pop()
            else:
                self._add(event, stack)
            if len(stack) == 1:
                return root[0]
            event = next(self._events)

    def _add(self, event: yaml.Event, stack: list[tuple[dict[str, Any] | list[Any], list[str] | None]]) -> None:
        """Puts a node into the innermost container; a container becomes the innermost itself."""
        _require_plain(event)
        container, name = stack[-1]
        if isinstance(container, dict) and name is not None and not name:
            name.append(_member(event, container))
            return
        opened: tuple[dict[str, Any] | list[Any], list[str] | None] | None = None
        if isinstance(event, yaml.MappingStartEvent):
            opened = ({}, [])
        elif isinstance(event, yaml.SequenceStartEvent):
            opened = ([], None)
        value = opened[0] if opened else _scalar(event)
        if isinstance(container, dict) and name:
            container[name.pop()] = value
        elif isinstance(container, list):
            container.append(value)
        if opened:
            if len(stack) > self._limit:
                _refuse(event, f"the body is nested more than {self._limit} levels deep")
            stack.append(opened)


def _require_plain(event: yaml.Event) -> None:
    """Raises BadRequest for YAML that JSON does not have."""
    if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None) is not None:
        _refuse(event, "anchors and aliases are not supported: write the value out")
    if getattr(event, "tag", None) is not None:
        _refuse(event, "tags are not supported")


def _member(event: yaml.Event, container: dict[str, Any]) -> str:
    """The name of a member, which is always text."""
    if not isinstance(event, yaml.ScalarEvent):
        _refuse(event, "the name of a member must be text")
    name: str = event.value
    if name in container:
        shown = f"the member {name}" if name.isascii() and name.isidentifier() else "a member"
        text = f"line {event.start_mark.line + 1}: {shown} occurs twice: names within an object must be unique"
        raise BadRequest("the body repeats a member", issues=[Issue("structure", text, json.BODY)])
    return name


def _scalar(event: yaml.Event) -> Any:
    assert isinstance(event, yaml.ScalarEvent)
    text: str = event.value
    # The two flags say whether the style lets the scalar be more than text: for a quoted one only the second is true.
    if not event.implicit[0]:
        return text
    if text in _CONSTANTS:
        return _CONSTANTS[text]
    if _INTEGER.fullmatch(text) and len(text.lstrip("-")) <= _DIGITS:
        return int(text)
    return json.number(text) if _DECIMAL.fullmatch(text) else text


def _refuse(event: yaml.Event, reason: str) -> NoReturn:
    raise BadRequest(f"line {event.start_mark.line + 1}: {reason}", json.BODY)

"""Writes dicts as FHIR XML. It joins text directly: narratives go in unchanged, and this is faster than building a tree."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from itertools import zip_longest
from typing import Any

from bulkhead.fhir.xml.tables import FHIR, Property, Table, table

_DECLARATION = '<?xml version="1.0" encoding="UTF-8"?>'
_XML_DECLARATION = re.compile(r"^\s*<\?xml\b[^>]*\?>")

_SPECIAL = re.compile('[&<>"\x00-\x1f\x7f\ufffe\uffff\ud800-\udfff]')
# The replacement character takes the place of characters that XML cannot hold; R4 allows none of them in a string.
_ESCAPES = {chr(code): "\ufffd" for code in (*range(0x20), 0xFFFE, 0xFFFF, *range(0xD800, 0xE000))} | {
    "&": "&amp;",
    "<": "&lt;",
    ">": "&gt;",
    '"': "&quot;",
    # An XML reader would turn these into spaces if they were not escaped (XML 1.0, 3.3.3).
    "\t": "&#9;",
    "\n": "&#10;",
    "\r": "&#13;",
}

_Write = Callable[[str], None]


def dumps(resource: Mapping[str, Any], *, pretty: bool = False) -> bytes:
    """UTF-8 XML of a valid resource, elements in the order of the specification; Decimals keep their digits.

    ValueError for a property that its type does not have.
    """
    parts = [_DECLARATION]
    _write_resource(parts.append, resource, "\n" if pretty else "", namespace=f' xmlns="{FHIR}"')
    if pretty:
        parts.append("\n")
    return "".join(parts).encode()


def _write_resource(write: _Write, resource: Mapping[str, Any], margin: str, *, namespace: str = "") -> None:
    """`margin` precedes each tag, here and below: a line break and its indent, or nothing."""
    name = resource["resourceType"]
    write(f"{margin}<{name}{namespace}>")
    _write_children(write, resource, table(name), margin=_deeper(margin))
    write(f"{margin}</{name}>")


def _write_object(write: _Write, name: str, value: Mapping[str, Any], *, type_name: str, margin: str) -> None:
    known = table(type_name)
    given = [each for each in sorted(known.attributes) if each in value]
    attributes = "".join(f' {each}="{_text(value[each])}"' for each in given)
    if len(value) == len(given):
        write(f"{margin}<{name}{attributes}/>")
        return
    write(f"{margin}<{name}{attributes}>")
    _write_children(write, value, known, margin=_deeper(margin))
    write(f"{margin}</{name}>")


def _write_children(write: _Write, value: Mapping[str, Any], known: Table, *, margin: str) -> None:
    for child in _children(value, known):
        content, companion = value.get(child.name), value.get("_" + child.name)
        if child.kind == "primitive":
            if child.repeats:
                for item, extra in zip_longest(content or (), companion or ()):
                    _write_primitive(write, child.name, item, companion=extra, margin=margin)
            else:
                _write_primitive(write, child.name, content, companion=companion, margin=margin)
        elif child.repeats:
            for item in content or ():
                _write_child(write, child, item, margin=margin)
        else:
            _write_child(write, child, content, margin=margin)


def _children(value: Mapping[str, Any], known: Table) -> list[Property]:
    """The child elements that an object has, each once, in the order of the specification."""
    names = {name[1:] if name[0] == "_" else name: None for name in value}
    if "resourceType" not in known.properties:  # ExampleScenario.instance has such an element
        names.pop("resourceType", None)
    try:
        found = [known.properties[name] for name in names if name not in known.attributes]
    except KeyError as error:
        raise ValueError(f"R4 has no property {error.args[0]} here") from None
    found.sort(key=_position)
    return found


def _position(child: Property) -> int:
    return child.position


def _write_child(write: _Write, child: Property, value: Any, *, margin: str) -> None:
    if child.kind == "object":
        _write_object(write, child.name, value, type_name=child.type, margin=margin)
    elif child.kind == "resource":
        write(f"{margin}<{child.name}>")
        _write_resource(write, value, _deeper(margin))
        write(f"{margin}</{child.name}>")
    else:
        write(margin + _XML_DECLARATION.sub("", value))


def _write_primitive(write: _Write, name: str, value: Any, *, companion: Mapping[str, Any] | None, margin: str) -> None:
    """`companion` is what JSON has under `_name`: id and extensions."""
    attribute = "" if value is None else f' value="{_text(value)}"'
    if companion and "id" in companion:
        attribute = f' id="{_text(companion["id"])}"{attribute}'
    extensions = companion.get("extension") if companion else None
    if not extensions:
        write(f"{margin}<{name}{attribute}/>")
        return
    write(f"{margin}<{name}{attribute}>")
    for extension in extensions:
        _write_object(write, "extension", extension, type_name="Extension", margin=_deeper(margin))
    write(f"{margin}</{name}>")


def _text(value: Any) -> str:
    """A primitive as the text of an attribute."""
    if value is True:
        return "true"
    if value is False:
        return "false"
    text = str(value)
    return _SPECIAL.sub(_escape, text) if _SPECIAL.search(text) else text


def _escape(match: re.Match[str]) -> str:
    return _ESCAPES.get(match[0], match[0])


def _deeper(margin: str) -> str:
    return margin and margin + "  "

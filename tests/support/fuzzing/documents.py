"""XML that is nearly right: what XML 1.0 and its namespaces allow and writers of FHIR seldom use, and what they do not allow."""

from __future__ import annotations

import json
import re
from typing import Any

from bulkhead.api.formats import XML, rendered
from bulkhead.fhir import json as fhir_json
from tests.support.fuzzing.dice import Dice

TAG = re.compile(rb"<[^>]*>")
NEVER_TOLD = (
    b'<?xml version="1.0" encoding="UTF-16"?>', b'<?xml version="1.0" encoding="ISO-8859-1"?>', b'<?xml version="1.1"?>', b'<?xml version="1.0" standalone="yes"?>',
    b'<!DOCTYPE Patient [<!ENTITY lol "lol">]>', b'<!DOCTYPE Patient SYSTEM "file:///etc/passwd">', b"\xef\xbb\xbf", b"<!-- first -->", b"<?pi x?>", b" ",
)  # fmt: skip
BETWEEN = (
    b"<!-- x -->", b"<!-- -- -->", b"<?php x?>", b"<?xml?>", b"<![CDATA[ ]]>", b"<![CDATA[x]]>", b"x", b"&#32;", b"&amp;", b"&lol;", b"&#0;", b"&#xD800;", b"]]>",
    b"<", b">", b"\x00", b"\xff", b"\xc3\xa9", b'<id value="x"/>', b'<extension url="x"/>', b'<extension url="x"><valueString value="x"/></extension>',
    b"<contained><Patient/></contained>", b"<contained/>", b'<x xmlns="urn:x"/>', b'<f:id xmlns:f="http://hl7.org/fhir" value="x"/>', b'<f:id value="x"/>',
    b'<text><status value="generated"/><div xmlns="http://www.w3.org/1999/xhtml">a&#160;<b>c</b><!-- x --><![CDATA[<]]></div></text>', b"<text><div/></text>",
    b'<text><status value="generated"/><h:div xmlns:h="http://www.w3.org/1999/xhtml"><h:p>x</h:p></h:div></text>',
)  # fmt: skip
WITHIN = (
    b' id="x"', b' id="a b"', b' id=""', b' xmlns="urn:other"', b' xmlns=""', b' xmlns:f="http://hl7.org/fhir"', b' xml:lang="en"', b' xml:id="x"', b' value="x"', b' value=""',
    b" value='&lt;&#10;'", b' xsi:type="x"', b' xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" xsi:schemaLocation="x y"', b' f:value="x"', b" value", b' value="&lol;"',
)  # fmt: skip


def document(dice: Dice, seed: Any) -> bytes:
    """A seed in XML, as it is or with a few things about it changed."""
    try:
        text = rendered(XML, fhir_json.loads(json.dumps(seed)), pretty=False)
    except Exception:
        # What has no form in XML: text of another resource stands for it.
        text = b'<Patient xmlns="http://hl7.org/fhir"><id value="p"/></Patient>'
    for _ in range(dice.choice((0, 1, 1, 2, 3))):
        text = _changed(dice, text)
    if dice.one_in(20):
        return text.decode(errors="replace").encode(
            dice.choice(("utf-16", "utf-16-le", "utf-8-sig", "latin-1")), errors="replace"
        )
    return text


def _changed(dice: Dice, text: bytes) -> bytes:
    tags = list(TAG.finditer(text))
    if not tags:
        return text
    tag = dice.choice(tags)
    start, end = tag.span()
    match dice.choice(
        ("before", "between", "between", "within", "within", "again", "away", "swap", "prefix", "value", "cut")
    ):
        case "before":
            return dice.choice(NEVER_TOLD) + text
        case "between":
            return text[:end] + dice.choice(BETWEEN) + text[end:]
        case "within":
            name_end = start + len(re.match(rb"</?[^\s/>]*", tag[0])[0])  # type: ignore[index] # a tag has a name
            return text[:name_end] + dice.choice(WITHIN) + text[name_end:]
        case "again":
            return text[:end] + tag[0] + text[end:]
        case "away":
            return text[:start] + text[end:]
        case "swap":
            other = dice.choice(tags)
            (first, last), (from_, to) = sorted((tag.span(), other.span()))
            return (
                text
                if from_ < last
                else text[:first] + text[from_:to] + text[last:from_] + text[first:last] + text[to:]
            )
        case "prefix":
            prefixed = re.sub(rb"<(/?)([A-Za-z])", rb"<\1f:\2", text)
            return prefixed.replace(b"xmlns=", b"xmlns:f=", 1)
        case "value":
            return re.sub(
                rb'value="[^"]*"',
                lambda _: b'value="' + dice.choice((b"", b"x", b"&#10;", b"1e999", b"Patient/p", b"&amp;")) + b'"',
                text,
                count=1,
            )
    return text[: dice.randint(0, len(text))]

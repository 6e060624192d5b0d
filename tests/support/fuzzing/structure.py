"""Resources of any type, made from R4's element tables, and JSON that is nearly right."""

from __future__ import annotations

import json
from copy import deepcopy
from typing import Any

from bulkhead.fhir import definitions
from bulkhead.fhir.definitions import ANY_RESOURCE, Element
from tests.support.fuzzing.dice import Dice
from tests.support.fuzzing.seeds import SECRET

Json = dict[str, Any]

TYPES = tuple(sorted(definitions.RESOURCE_TYPES))
REFERENCES = (
    "Patient/p", "Patient/p", "Observation/o", "Encounter/e", "Organization/a", "Practitioner/none", "Group/g", "#c", "#",
    "urn:uuid:0b7e0c3c-3b8f-4d55-8c0f-0a54a9c6a1d1", "http://x.example/Patient/1", "https://server.example/fhir/R4/Patient/p",
    "Patient/p/_history/1", "Patient?identifier=x", "Patient/", "/Patient/p", "patient/p", "",
)  # fmt: skip
DATES = ("2020", "2020-02", "2020-02-29", "1970-01-31", "0001-01-01", "9999-12-31", "2020-02-30", "2020-13")
TIMES = (
    "2020-02-29T10:00:00Z", "2020-02-29T10:00:00.123456789+14:00", "2020-12-31T23:59:60Z", "0001-01-01T00:00:00+14:00",
    "9999-12-31T23:59:59.999Z", "9999-12-31T23:59:59-12:00", "2020-02-29T10:00Z", "2020-02-29T24:00:00Z",
)  # fmt: skip
NUMBERS = (0, 1, -1, 2, 1.10, 1e-7, 1e300, 10**20, -0.0, 5e-324, 99999999999999)
TEXTS = (
    SECRET, SECRET, "x", "", " ", "\x00", "\u2028", "é", "e\u0301", "𝒳", "\ud83d\ude00", "O\u2019Brien-Smith", "\u202e", "a" * 300, "ß", "İ",
    "|", ",", "$", "\\", "%", "&lt;", "<b>", "]]>", "--", "urn:x", "http://x.example/a#b|1", "٣",
)  # fmt: skip
URIS = (
    "http://x.example/a",
    "urn:oid:1.2.3",
    "urn:uuid:x",
    "#c",
    "http://x.example/a|1#b",
    "Patient/p",
    "x y",
    "",
    "http://[::1",
    "%",
    ":",
)
BASE64 = ("WnlY", "", "Zg==", "Zg", "*", "Z g = =")
DIVS = (
    f'<div xmlns="http://www.w3.org/1999/xhtml">{SECRET}</div>', '<div xmlns="http://www.w3.org/1999/xhtml"/>', "<div>x</div>", "<div", "",
    '<div xmlns="http://www.w3.org/1999/xhtml"><script>x</script></div>',
    '<div xmlns="http://www.w3.org/1999/xhtml"><a href="java&#x9;script:x">x</a>&nbsp;<!-- x --><![CDATA[x]]></div>',
    '<!DOCTYPE div [<!ENTITY x "x">]><div xmlns="http://www.w3.org/1999/xhtml">&x;</div>',
)  # fmt: skip
ODD: tuple[Any, ...] = (
    None, True, False, 0, -1, 10**400, 1.5, "", " ", SECRET, "\x00", "x" * 2000, [], {}, [None], [[]], [{}], {"": None},
    "Patient/p", "Patient/", "#", "#c", "urn:uuid:x", "Patient?name=", "2020-13-45", "9999-12-31T23:59:59.999Z", "0000",
    {"reference": "Patient/p"}, {"resourceType": "Nothing"}, {"resourceType": "Patient", "id": "p"}, {"id": "x"}, {"extension": [{"url": "x"}]},
    {"value": 1e300, "code": "mg", "system": "http://unitsofmeasure.org"}, {"start": "2021", "end": "2020"}, [{"id": "x"}, {"id": "x"}],
)  # fmt: skip
KEYS = (
    "id",
    "resourceType",
    "meta",
    "extension",
    "_gender",
    "contained",
    "reference",
    "value",
    "text",
    "",
    "_id",
    "_resourceType",
    "valueString",
)
DEEP = 4
"""How deep made resources are."""


def resource(dice: Dice, resource_type: str, depth: int = 0) -> Json:
    """A resource with some of what its type has: about half of them are valid."""
    careful = dice.one_in(2)
    made = {"resourceType": resource_type} | _object(dice, resource_type, depth, careful)
    if "id" not in made and not dice.one_in(4):
        made["id"] = dice.choice(("p", "o", "e", "a", "c", "new"))
    return made


def _object(dice: Dice, type_name: str, depth: int, careful: bool) -> Json:
    found: Json = {}
    listed = definitions.elements(type_name).elements
    rate = 3 if depth < 2 else 8
    for element in listed:
        wanted = element.min or dice.one_in(max(rate, len(listed) // 3 if depth else 0))
        if not wanted or (depth > DEEP and not element.min) or (not careful and element.min and dice.one_in(20)):
            continue
        code = dice.choice(element.types)
        if code in (ANY_RESOURCE, "Extension") and (depth > 1 or not dice.one_in(4)):
            continue
        name = element.property_name(code)
        count = dice.choice((1, 1, 1, 2, 3))
        found[name] = (
            [_value(dice, element, code, depth, careful) for _ in range(count)]
            if element.repeats
            else _value(dice, element, code, depth, careful)
        )
        if code in definitions.PRIMITIVES and dice.one_in(40):
            companion = {"extension": [{"url": "http://x.example/e", "valueCode": "x"}]}
            found[f"_{name}"] = [companion, *[None] * (count - 1)] if element.repeats else companion
    if found.keys() <= {"id"} and type_name not in definitions.RESOURCE_TYPES:
        found = {"extension": [{"url": "http://x.example/e", "valueString": "x"}]}
    return found


def _value(dice: Dice, element: Element, code: str, depth: int, careful: bool) -> Any:
    if not careful and dice.one_in(30):
        return deepcopy(dice.choice(ODD))
    if code == ANY_RESOURCE:
        inner = resource(dice, dice.choice(("Organization", "Practitioner", "Medication", "Observation")), depth + 2)
        return inner | {"id": dice.choice(("c", "c", "d"))}
    if code == "Reference":
        types = element.targets.get(code, ()) or TYPES
        named = f"{dice.choice(types)}/{dice.choice(('p', 'o', 'e', 'a', 'none'))}"
        return {"reference": named if careful or dice.one_in(2) else dice.choice(REFERENCES)}
    if code == "Extension":
        return {"url": "http://x.example/e", "valueString": SECRET}
    if code not in definitions.PRIMITIVES:
        return _object(dice, code, depth + 1, careful)
    return _primitive(dice, element, code, careful)


def _primitive(dice: Dice, element: Element, code: str, careful: bool) -> Any:
    def of(values: tuple[Any, ...], sure: int) -> Any:
        return dice.choice(values[:sure] if careful else values)

    match code:
        case "boolean":
            return dice.one_in(2)
        case "integer" | "unsignedInt" | "positiveInt" | "decimal":
            return 1 if careful and code != "decimal" else dice.choice(NUMBERS)
        case "date":
            return of(DATES, 6)
        case "dateTime":
            return dice.choice((of(DATES, 6), of(TIMES, 2)))
        case "instant":
            return of(TIMES, 2)
        case "time":
            return of(("10:00:00", "23:59:59.9", "24:00:00", "10:00"), 2)
        case "uri" | "url" | "canonical":
            return of(URIS, 2)
        case "oid" | "uuid":
            return {"oid": "urn:oid:1.2.3", "uuid": "urn:uuid:0b7e0c3c-3b8f-4d55-8c0f-0a54a9c6a1d1"}[code]
        case "id":
            return of(("p", "x-1", "", "x" * 65, "_"), 2)
        case "base64Binary":
            return of(BASE64, 1)
        case "xhtml":
            return of(DIVS, 1)
        case "code" if codes := sorted(definitions.value_set_codes(element.binding)):
            return dice.choice(codes)
        case "code":
            return of(("x", "en", "text/plain", " x", "x  y", ""), 3)
    return of(TEXTS, 2)


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The paths of everything within a JSON value."""
    found = [path] if path else []
    children = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, child in children:
        found += places(child, (*path, key))
    return found


def mutated(dice: Dice, seed: Any) -> Any:
    """A JSON value, as it is or with a few things replaced, removed, added, repeated, moved, wrapped or unwrapped."""
    value = deepcopy(seed)
    for _ in range(dice.choice((0, 1, 1, 1, 2, 3))):
        known = places(value)
        if not known:
            break
        *way, last = dice.choice(known)
        holder = _at(value, way)
        match dice.choice(
            ("replace", "replace", "remove", "add", "repeat", "move", "wrap", "unwrap", "companion", "retype")
        ):
            case "replace":
                holder[last] = deepcopy(dice.choice(ODD))
            case "remove":
                del holder[last]
            case "add" if isinstance(holder, dict):
                holder[dice.choice(KEYS)] = deepcopy(dice.choice(ODD))
            case "repeat":
                holder[last] = [holder[last], deepcopy(holder[last])]
            case "move":
                holder[last] = deepcopy(_at(value, dice.choice(known)))
            case "wrap":
                holder[last] = {dice.choice(KEYS): holder[last]}
            case "unwrap" if isinstance(holder[last], list) and holder[last]:
                holder[last] = holder[last][0]
            case "companion" if isinstance(holder, dict):
                holder[f"_{last}"] = dice.choice(
                    (None, {}, [None], {"id": "x"}, {"extension": [{"url": "x", "valueCode": "x"}]})
                )
            case "retype" if isinstance(value, dict):
                value["resourceType"] = dice.choice(TYPES)
    return value


def _at(value: Any, way: Any) -> Any:
    for key in way:
        value = value[key]
    return value


NO_JSON = (
    b"<Patient xmlns='http://hl7.org/fhir'><id value='p'/></Patient>", b"<a>", b"null", b"[]", b"1", b'"x"', b"true", b'{"a":1,"a":2}', b"NaN", b"-Infinity",
    b"name=x&_count=3", b"_count=%ff", b"", b" ", b"\xef\xbb\xbf{}", b"\xff\xfe{\x00}\x00", b"{}{}", b'{"resourceType":"Patient",}', b"{'resourceType':'Patient'}",
    b'{"resourceType":"\\ud800"}', b'{"resourceType":"Patient","id":"\\udc00"}', b'{"resourceType":"Patient"}//', b'{"resourceType":1e999999999}', b"[" * 100_000,
    b'{"resourceType":"Patient","extension":' + b"[" * 3000 + b"]" * 3000 + b"}", b'{"a":' * 2000 + b"1" + b"}" * 2000,
    b'{"resourceType":"Patient","multipleBirthInteger":' + b"1" * 6000 + b"}", b'{"resourceType":"Patient","id":"p","multipleBirthInteger":1E0}',
)  # fmt: skip


def document(dice: Dice, seed: Any) -> bytes:
    """JSON of a mutated seed; sometimes a member twice, cut off, a byte changed, or no JSON at all."""
    kind = dice.choice(("json",) * 12 + ("twice", "twice", "cut", "byte", "bytes", "other"))
    if kind == "bytes":
        return dice.randbytes(dice.randint(0, 40))
    if kind == "other":
        return dice.choice(NO_JSON)
    text = json.dumps(mutated(dice, seed), ensure_ascii=dice.one_in(2)).encode(errors="surrogatepass")
    if kind == "twice":
        return _given_twice(dice, text)
    if kind == "cut":
        return text[: dice.randint(0, len(text))]
    if kind == "byte" and text:
        at = dice.randrange(len(text))
        return text[:at] + dice.randbytes(1) + text[at + 1 :]
    return text


def _given_twice(dice: Dice, text: bytes) -> bytes:
    """The text with a member of one of its objects given again."""
    begins = [at for at in range(len(text)) if text[at : at + 2] == b'{"']
    if not begins:
        return text
    at = dice.choice(begins) + 1
    name = text[at : text.index(b'"', at + 1) + 1]
    return text[:at] + name + b": " + dice.choice((b"null", b"[]", b'"x"', b"{}", b"1")) + b", " + text[at:]

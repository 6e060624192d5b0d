"""Parses the text of search values into typed values (R4 search.html, 3.1.1.4): escapes, prefixes, precision, tokens, references."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal

from bulkhead.errors import BadRequest
from bulkhead.facts.normalise import fold
from bulkhead.fhir import dates, definitions, references
from bulkhead.fhir.definitions import SearchParameter
from bulkhead.search import functional_lists, parameter_names, units
from bulkhead.search.hierarchy import hierarchical
from bulkhead.search.query import (
    CompositeValue,
    DateValue,
    MissingValue,
    NearValue,
    NumberValue,
    OfTypeValue,
    QuantityValue,
    ReferenceValue,
    StringValue,
    TokenValue,
    UriValue,
    Value,
)

NEAR = "50"
"""The distance in kilometres that `near` assumes if the client gives none."""
_TYPES = 8
"""The limit on types that an id without a type may mean in a canonical."""
_MILES = {"mi": "[mi_us]", "mile": "[mi_us]", "miles": "[mi_us]"}
# By separator: it, or a backslash with what it escapes.
_SPECIAL = {separator: re.compile(rf"\\.|{re.escape(separator)}", re.DOTALL) for separator in ",|$"}
_PREFIX = re.compile(r"(eq|ne|gt|lt|ge|le|sa|eb|ap)?(.*)", re.DOTALL)
_NUMBER = re.compile(r"[+-]?\d+(\.\d+)?([eE][+-]?\d{1,3})?", re.ASCII)
ID = re.compile(r"[A-Za-z0-9.\-]{1,64}")
_REFERENCE = re.compile(r"([A-Za-z]+)/([A-Za-z0-9.\-]{1,64})(?:/_history/([A-Za-z0-9.\-]{1,64}))?")


def split(text: str, separator: str) -> list[str]:
    """The parts between separators without a backslash before them; escapes stay as they are."""
    if "\\" not in text:
        return text.split(separator)
    ends = [match.start() for match in _SPECIAL[separator].finditer(text) if match[0] == separator]
    return [text[start + 1 : end] for start, end in zip([-1, *ends], [*ends, len(text)], strict=True)]


def unescape(text: str) -> str:
    r"""`a\,b` -> `a,b`; also `\|`, `\$` and `\\`. Any other backslash stays."""
    return re.sub(r"\\([,|$\\])", r"\1", text)


def escape(text: str) -> str:
    r"""`a,b` -> `a\,b`: a text as one value."""
    return re.sub(r"([,|$\\])", r"\\\1", text)


def value(
    text: str,
    parameter: SearchParameter,
    modifier: str | None,
    *,
    name: str,
    base: str,
    siblings: Mapping[str, SearchParameter],
) -> Value:
    """One OR value of a parameter, still escaped, as a typed value. BadRequest naming the parameter if it is malformed.

    `siblings` are the parameters of the same resource type: a composite finds its components' types there.
    """
    if modifier == "missing":
        return missing(text, name)
    if modifier == "of-type":
        return of_type(text, name)
    if modifier == "identifier":
        return token(text, name)
    if modifier in ("in", "not-in"):
        return value_set(unescape(text), name)
    if modifier in ("above", "below") and parameter.type == "token":
        return concept(text, name)
    if modifier == "text":
        return string(text, modifier, name)
    if modifier in ("above", "below") and parameter.type == "reference":
        return part(unescape(text), parameter, name, base=base)
    match parameter.type:
        case "token":
            return token(text, name)
        case "string":
            return string(text, modifier, name)
        case "date":
            return date(text, name)
        case "number":
            return number(text, name)
        case "quantity":
            return quantity(text, name)
        case "uri":
            return UriValue(unescape(text))
        case "reference" if parameter.code == "_list" and text.startswith("$"):
            return functional_lists.named(unescape(text), name)
        case "reference":
            return reference(unescape(text), modifier, name, base=base)
        case "composite":
            return composite(text, parameter, name, base=base, siblings=siblings)
        case "special" if parameter.code == "near":
            return near(text, name)
    raise malformed(name, "cannot be searched by value")


def malformed(name: str, fault: str) -> BadRequest:
    return BadRequest(f"the value of {name} {fault}", expression=name)


def string(text: str, modifier: str | None, name: str) -> StringValue:
    """A text. White space or combining marks alone are refused, because every string would begin with them."""
    plain = unescape(text)
    if modifier != "exact" and not fold(plain):
        raise malformed(name, "must have some text")
    return StringValue(plain)


def missing(text: str, name: str) -> MissingValue:
    if text not in ("true", "false"):
        raise malformed(name, "must be true or false")
    return MissingValue(text == "true")


def token(text: str, name: str) -> TokenValue:
    parts = split(text, "|")
    if len(parts) == 1:
        return TokenValue(None, unescape(parts[0]))
    if len(parts) > 2 or not any(parts):
        raise malformed(name, "must be code, system|code, |code or system|")
    system, code = map(unescape, parts)
    return TokenValue(system, code or None)


def concept(text: str, name: str) -> TokenValue:
    """A code with a place in a hierarchy."""
    found = token(text, name)
    if not found.code or found.system == "":
        raise malformed(name, "must be system|code, or a code of a code system on this server")
    return found


def value_set(text: str, name: str) -> UriValue:
    """A canonical url, or `ValueSet/id` of this server."""
    if ":" not in text and not re.fullmatch(r"ValueSet/[A-Za-z0-9.\-]{1,64}", text):
        raise malformed(name, "must be the url of a value set, or ValueSet/id")
    return UriValue(text)


def of_type(text: str, name: str) -> OfTypeValue:
    parts = split(text, "|")
    if len(parts) != 3 or not all(parts):
        raise malformed(name, "must be system|code|value")
    return OfTypeValue(*map(unescape, parts))


def date(text: str, name: str) -> DateValue:
    prefix, moment = prefixed(text)
    try:
        # A `+` that was not percent-encoded arrives as a space.
        first, last = dates.bounds(moment.replace(" ", "+"))
    except BadRequest:
        fault = "must be a date or an instant, such as 2020-03-01 or 2020-03-01T10:00:00Z"
        raise malformed(name, fault + parameter_names.habit(text)) from None
    return DateValue(prefix, *(widened(first, last) if prefix == "ap" else (first, last)))


def widened(first: str, last: str) -> tuple[str, str]:
    """A span, extended at both ends by a tenth of its distance from now, as R4 defines `ap`."""
    start, end = datetime.fromisoformat(first), datetime.fromisoformat(last)
    margin = abs(datetime.now(UTC) - start) / 10
    earliest, latest = datetime(1, 1, 2, tzinfo=UTC), datetime(9999, 12, 30, tzinfo=UTC)
    return (
        dates.text(start - margin) if start - earliest > margin else dates.FIRST,
        dates.text(end + margin) if latest - end > margin + timedelta() else dates.LAST,
    )


def number(text: str, name: str) -> NumberValue:
    prefix, digits = prefixed(text)
    # A `+` that was not percent-encoded arrives as a space.
    digits = digits.replace(" ", "+")
    if not _NUMBER.fullmatch(digits):
        raise malformed(name, "must be a number" + parameter_names.habit(text))
    return NumberValue(prefix, Decimal(digits), margin(digits))


def margin(digits: str) -> Decimal:
    """Half of the last given digit: 0.5 for 100, 0.005 for 100.00. In R4, 1e2 means 95 to 105, so one digit counts as two."""
    amount = Decimal(digits)
    exponent = amount.as_tuple().exponent
    assert isinstance(exponent, int)
    alone = "e" in digits.lower() and len(amount.as_tuple().digits) == 1
    return Decimal(5).scaleb(exponent - (2 if alone else 1))


def quantity(text: str, name: str) -> QuantityValue:
    parts = split(text, "|")
    if len(parts) not in (1, 3):
        raise malformed(name, "must be number, number|system|code or number||code")
    parts = [unescape(part) for part in parts]
    amount = number(parts[0], name)
    return QuantityValue(amount, *((parts[1] or None, parts[2] or None) if len(parts) == 3 else (None, None)))


def prefixed(text: str) -> tuple[str, str]:
    match = _PREFIX.fullmatch(text)
    assert match is not None
    return match[1] or "eq", match[2]


def reference(text: str, modifier: str | None, name: str, *, base: str) -> ReferenceValue:
    """`modifier` may be a resource type: `subject:Patient=1`. A url below `base` is a reference to this server."""
    relative = text.removeprefix(base.rstrip("/") + "/") if base else text
    match = _REFERENCE.fullmatch(relative)
    if match and match[1] in definitions.RESOURCE_TYPES:
        if modifier in definitions.RESOURCE_TYPES and modifier != match[1]:
            raise malformed(name, f"must refer to a {modifier}")
        return ReferenceValue(match[1], match[2], match[3])
    if ID.fullmatch(text):
        return ReferenceValue(modifier if modifier in definitions.RESOURCE_TYPES else None, text)
    if ":" in text or "|" in text:
        return ReferenceValue(url=text)
    raise malformed(name, "must be an id, Type/id or a url")


def canonicals(
    text: str, parameter: SearchParameter, modifier: str | None, *, name: str, base: str
) -> tuple[ReferenceValue, ...]:
    """All spellings of a canonical below `base`: as a url, and as `Type/id`. Any other canonical has one spelling.

    The store keeps canonicals as they came (unlike References below the base), so a search must look for both.
    """
    given = reference(text, modifier, name, base=base)
    if not base:
        return (given,)
    root = base.rstrip("/") + "/"
    if given.id is None:
        below = text.removeprefix(root)
        other = below if below != text else root + text
        return (given, ReferenceValue(url=other)) if references.local(references.canonical_url(below)) else (given,)
    types = (given.type,) if given.type else parameter.targets[:_TYPES]
    version = f"/_history/{given.version}" if given.version else ""
    return (given, *(ReferenceValue(url=f"{root}{one}/{given.id}{version}") for one in types))


def near(text: str, name: str) -> NearValue:
    """`latitude|longitude|distance|unit`: in kilometres if there is no unit, within NEAR of them if there is no distance."""
    parts = split(text, "|")
    if not 2 <= len(parts) <= 4:
        raise malformed(
            name, "must be latitude|longitude, latitude|longitude|distance or latitude|longitude|distance|unit"
        )
    latitude, longitude = degrees(parts[0], 90, "latitude", name=name), degrees(parts[1], 180, "longitude", name=name)
    far = parts[2] if len(parts) > 2 and parts[2] else NEAR
    if not _NUMBER.fullmatch(far) or Decimal(far) < 0:
        raise malformed(name, "must have a distance of 0 or more")
    unit = unescape(parts[3]) if len(parts) > 3 and parts[3] else "km"
    scale = units.ratio(_MILES.get(unit, unit), "m")
    if scale is None:
        raise malformed(name, "must have a UCUM unit of length, such as km, m or [mi_us]")
    return NearValue(latitude, longitude, float(Decimal(far) * scale))


def degrees(text: str, limit: int, what: str, *, name: str) -> float:
    digits = text.replace(" ", "+")
    if not _NUMBER.fullmatch(digits) or abs(Decimal(digits)) > limit:
        raise malformed(name, f"must have a {what} from -{limit} to {limit} degrees")
    return float(digits)


def part(text: str, parameter: SearchParameter, name: str, *, base: str) -> ReferenceValue:
    """A reference to a resource in a hierarchy of its type."""
    found = reference(text, None, name, base=base)
    if found.id is None or found.version is not None or (found.type and found.type not in hierarchical(parameter)):
        raise malformed(name, f"must be the id of a {' or '.join(hierarchical(parameter))}")
    return found


def composite(
    text: str, parameter: SearchParameter, name: str, *, base: str, siblings: Mapping[str, SearchParameter]
) -> CompositeValue:
    parts = split(text, "$")
    if len(parts) != len(parameter.components) or not all(parts):
        raise malformed(name, f"must have {len(parameter.components)} parts separated by $")
    by_url = {sibling.url: sibling for sibling in siblings.values()}
    return CompositeValue(
        tuple(
            value(part, by_url[url], None, name=name, base=base, siblings=siblings)
            for part, (url, _) in zip(parts, parameter.components, strict=True)
        )
    )

"""fullUrls in search criteria: `patient=urn:uuid:...` names the resource that another entry writes.

R4 resolves references in resources only (http.html 3.1.0.11.2). Bulkhead resolves criteria too, as HAPI does: unresolved, they
would match nothing, and each replay of an `ifNoneExist` would make another resource. Only values of reference parameters
and of `_id` count as fullUrls: an identifier may look like one.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterator
from urllib.parse import quote, unquote_plus

from bulkhead.fhir.definitions import RESOURCE_TYPES, search_parameters

KeyOf = Callable[[str], str | None]
"""Maps a fullUrl to `Type/id`; None for a text that is no fullUrl of the bundle."""


def named_in(criteria: str, resource_type: str, full_urls: Container[str]) -> list[str]:
    """Those of the given fullUrls that a query string names."""
    found = _values(criteria, resource_type, full_urls.__contains__)
    return [value for _, _, value in found if value is not None]


def resolve(criteria: str, resource_type: str, key_of: KeyOf) -> str:
    """The query string with `Type/id` in place of each fullUrl; the same text if it has none."""
    pairs: dict[int, list[str]] = {}
    changed = False
    given = criteria.split("&")
    for number, raw, value in _values(criteria, resource_type, lambda text: key_of(text) is not None):
        name = given[number].partition("=")[0]
        key = key_of(value) if value is not None else None
        if key is not None:
            changed = True
            raw = quote(key.partition("/")[2] if unquote_plus(name) == "_id" else key, safe="/")
        pairs.setdefault(number, []).append(raw)
    if not changed:
        return criteria
    return "&".join(
        f"{pair.partition('=')[0]}={','.join(pairs[number])}" if number in pairs else pair
        for number, pair in enumerate(given)
    )


def _values(
    criteria: str, resource_type: str, is_full_url: Callable[[str], bool]
) -> Iterator[tuple[int, str, str | None]]:
    """(number of the pair, raw text, decoded text) of each value; the decoded text is None for a value that is no fullUrl."""
    for number, pair in enumerate(criteria.split("&")):
        name, equals, text = pair.partition("=")
        for raw in text.split(",") if equals else ():
            value = unquote_plus(raw)
            # Chains need the parameters of all types: looked up only where a value is a fullUrl.
            yield (
                number,
                raw,
                value if is_full_url(value) and _is_reference(unquote_plus(name), resource_type) else None,
            )


def _is_reference(name: str, resource_type: str) -> bool:
    """Whether a parameter, or the last one of a chain or `_has`, takes references."""
    if name == "_id":
        return True
    chained = name.startswith("_has:") or "." in name
    last = name.rpartition(":")[2] if name.startswith("_has:") else name
    code, _, modifier = last.rpartition(".")[2].partition(":")
    if modifier and modifier not in RESOURCE_TYPES:
        return False
    types = RESOURCE_TYPES if chained else (resource_type,)
    return any(_type_of(one, code) == "reference" for one in types)


def _type_of(resource_type: str, code: str) -> str | None:
    found = search_parameters(resource_type).get(code) if resource_type in RESOURCE_TYPES else None
    return found.type if found else None

"""Page links of callers who do not see everything: sealed, because the place where a page ends may be that of something hidden.

A cursor holds the position of the last entry that was looked at, which may be a resource outside the fence: its id, its time, a part
of its name. So it is encrypted, under the secret of the table, for the caller that it was given to: any that sees the same
may use it, and nobody can make one up.

A query may be longer than any URL, as `POST _search` takes it. Then the table keeps it for `PAGE_LINK_DAYS`, and the cursor has its id.
"""

from __future__ import annotations

import base64
import binascii
import os
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlencode

from bulkhead.errors import BadRequest, Gone, TooCostly

if TYPE_CHECKING:
    from bulkhead.access.policy import Caller
    from bulkhead.store import Store

CURSOR = "_cursor"

_NONCE = 12
_IN_URL = re.compile(rf"(?<=[?&]{CURSOR}=)[^&]+")


LONGEST = 4000
"""Characters of a link above which its query is kept in the table: API Gateway takes 10,240 bytes with all headers, the token included."""

# Of a cursor whose query is kept: its id, then where the page begins, if it is not the first.
_KEPT = re.compile(r"~([0-9a-f]{32})\.(.*)", re.DOTALL)
# What says how an answer looks stays in the link: it is read before the query is.
_SHOWN = ("_format", "_pretty", "_summary", "_elements")
# What is gained by keeping less than this is not worth an item.
_WORTH = 500

Pairs = list[tuple[str, str]]


def opened(store: Store, caller: Caller, query: Sequence[tuple[str, str]]) -> Pairs:
    """The parameters of a request with those that its `_cursor` stands for, and what is sealed in it.

    BadRequest for a cursor that was not given to the caller; Gone for one whose query is not kept any more.
    """
    pairs = list(query)
    if caller.restricted:
        pairs = [(name, _open(store, caller, text) if name == CURSOR and text else text) for name, text in query]
    found = next((match for name, text in pairs if name == CURSOR and (match := _KEPT.fullmatch(text))), None)
    if found is None:
        return pairs
    kept = store.kept_query(found[1])
    if kept is None:
        raise Gone("this page link has expired: send the search again", CURSOR)
    given = [pair for pair in pairs if pair[0] != CURSOR]
    named = {name for name, _ in given}
    following = [(CURSOR, found[2])] if found[2] else []
    return [*(pair for pair in kept if pair[0] not in named), *given, *following]


def sealed(store: Store, caller: Caller, bundle: dict[str, Any]) -> dict[str, Any]:
    """The Bundle with links that are not too long, and the cursors in them sealed. It is changed. TooCostly."""
    for link in bundle["link"]:
        if len(link["url"]) > LONGEST:
            link["url"] = _shortened(store, link["url"], is_needed=link["relation"] != "self")
        if caller.restricted:
            link["url"] = _IN_URL.sub(lambda found: _seal(store, caller, found[0]), link["url"])
    return bundle


def _shortened(store: Store, url: str, *, is_needed: bool) -> str:
    """The link with its query kept elsewhere, if that is what makes it long. TooCostly where it `is_needed` and cannot be kept."""
    place, _, query = url.partition("?")
    pairs = parse_qsl(query, keep_blank_values=True)
    following = "".join(text for name, text in pairs if name == CURSOR)
    kept = [pair for pair in pairs if pair[0] not in (*_SHOWN, CURSOR)]
    if sum(len(name) + len(text) for name, text in kept) < _WORTH:
        return url
    identifier = store.keep_query(kept)
    if identifier is None:
        if is_needed:
            raise TooCostly("the parameters are too long for a page link: ask for fewer values at once", CURSOR)
        return url
    shown = [pair for pair in pairs if pair[0] in _SHOWN]
    return f"{place}?{urlencode([*shown, (CURSOR, f'~{identifier}.{following}')])}"


def _seal(store: Store, caller: Caller, text: str) -> str:
    nonce = os.urandom(_NONCE)
    data = nonce + _cipher(store).encrypt(nonce, text.encode(), caller.bounds.encode())
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def _open(store: Store, caller: Caller, text: str) -> str:
    from cryptography.exceptions import InvalidTag

    try:
        data = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
        return str(_cipher(store).decrypt(data[:_NONCE], data[_NONCE:], caller.bounds.encode()).decode())
    except (binascii.Error, ValueError, InvalidTag):
        raise BadRequest("this page link is not one that this server gave", CURSOR) from None


def _cipher(store: Store) -> Any:
    # Imported here: only for pages after the first, of callers that are restricted.
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    return AESGCM(store.secret)

"""Page links of callers who do not see everything: sealed, because the place where a page ends may be that of something hidden.

A cursor holds the position of the last entry that was looked at, which may be a resource outside the fence: its id, its time, a part
of its name. So it is encrypted, under the secret of the table, for the caller that it was given to: any that sees the same
may use it, and nobody can make one up.
"""

from __future__ import annotations

import base64
import binascii
import os
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from bulkhead.errors import BadRequest

if TYPE_CHECKING:
    from bulkhead.access.policy import Caller
    from bulkhead.store import Store

CURSOR = "_cursor"

_NONCE = 12
_IN_URL = re.compile(rf"(?<=[?&]{CURSOR}=)[^&]+")


def opened(store: Store, caller: Caller, query: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
    """The parameters of a request with what is sealed in its `_cursor`. BadRequest for one that was not given to the caller."""
    if not caller.restricted:
        return list(query)
    return [(name, _open(store, caller, text) if name == CURSOR and text else text) for name, text in query]


def sealed(store: Store, caller: Caller, bundle: dict[str, Any]) -> dict[str, Any]:
    """The Bundle with the cursors in its links sealed. It is changed."""
    if caller.restricted:
        for link in bundle["link"]:
            link["url"] = _IN_URL.sub(lambda found: _seal(store, caller, found[0]), link["url"])
    return bundle


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

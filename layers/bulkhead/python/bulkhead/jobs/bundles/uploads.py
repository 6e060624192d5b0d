"""Bundles that do not fit a request: the client asks for an upload, PUTs it to S3 by a signed URL, and has it processed by its id.

The key of an upload contains the hash of its owner, so nobody else can have it processed, even with its id.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

from bulkhead.errors import BadRequest, Conflict, NotFound, PayloadTooLarge
from bulkhead.store import Store, files

LIFETIME = timedelta(days=1)
"""How long an upload can be processed: no longer than the bucket's lifecycle rule keeps it."""

NAME = "upload"

_ID = re.compile(r"[0-9a-f]{32}")
_PLACE = "Parameters.parameter[0].valueId"


@dataclass(frozen=True, slots=True)
class Upload:
    """A permitted upload: PUT to `url` until `expires`."""

    id: str
    url: str
    expires: datetime


def offer(store: Store, owner: str) -> Upload:
    """A new upload for its `owner` (see `access.Caller`)."""
    seconds = store.settings.upload_seconds
    identifier = uuid4().hex
    url = files.url_to_put(store, _name(owner, identifier), seconds)
    return Upload(identifier, url, datetime.now(UTC) + timedelta(seconds=seconds))


def parameters(upload: Upload) -> dict[str, Any]:
    """The response of `$upload`: where to PUT the Bundle, and what to POST next."""
    expires = upload.expires.isoformat(timespec="seconds").replace("+00:00", "Z")
    return {
        "resourceType": "Parameters",
        "parameter": [
            {"name": NAME, "valueId": upload.id},
            {"name": "method", "valueCode": "PUT"},
            {"name": "url", "valueUrl": upload.url},
            {"name": "expires", "valueInstant": expires},
            {"name": "next", "resource": reference(upload.id)},
        ],
    }


def reference(identifier: str) -> dict[str, Any]:
    """The Parameters that refer to the upload in a `POST [base]`."""
    return {"resourceType": "Parameters", "parameter": [{"name": NAME, "valueId": identifier}]}


def referred(parameters: dict[str, Any]) -> str:
    """The id of the upload that a Parameters resource refers to. BadRequest for any other Parameters."""
    given = parameters.get("parameter")
    first = given[0] if isinstance(given, list) and len(given) == 1 else None
    if not isinstance(first, dict) or first.get("name") != NAME:
        raise BadRequest(
            "Parameters that refer to an uploaded Bundle must have exactly one parameter, upload",
            "Parameters.parameter",
        )
    identifier = first.get("valueId")
    if not isinstance(identifier, str) or first.keys() - {"id", "name", "valueId"}:
        raise BadRequest("upload must have a valueId and nothing else", _PLACE)
    return identifier


def take(store: Store, owner: str, identifier: str, *, name: str) -> None:
    """Copies an upload to the object `name`, where no later PUT to the same URL reaches it.

    NotFound, PayloadTooLarge; Conflict where another PUT has just replaced the upload, or another request took it.
    """
    found = files.find(store, _name(owner, identifier)) if _ID.fullmatch(identifier) else None
    if found is None or datetime.now(UTC) - found.modified > LIFETIME:
        raise NotFound("there is no upload with this id, or it has expired", _PLACE)
    limit = store.settings.upload_limit
    if found.size > limit:
        raise PayloadTooLarge(f"an upload may have at most {limit} bytes", _PLACE)
    if not files.copy(store, _name(owner, identifier), name, etag=found.etag):
        raise Conflict("another request is replacing or using this upload: send the request again", _PLACE)


def remove(store: Store, owner: str, identifier: str) -> None:
    """Removes an upload that has a job."""
    files.remove(store, _name(owner, identifier))


def _name(owner: str, identifier: str) -> str:
    return f"{files.UPLOADS}{hashlib.sha256(owner.encode()).hexdigest()[:32]}/{identifier}"

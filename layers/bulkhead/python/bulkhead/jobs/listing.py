"""A caller's own jobs, the newest first: what each does, how far it is, and where its status is."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlencode

from bulkhead.errors import BadRequest
from bulkhead.fhir import dates, queries
from bulkhead.jobs import polling
from bulkhead.store import Store
from bulkhead.store.jobs import BUNDLE, Job

_CURSOR = re.compile(r"\d{10}\.\d{6}#[0-9A-Za-z]{1,64}")
_PRETTY = ("_format", "_pretty")


@dataclass(frozen=True, slots=True)
class Query:
    """Up to `count` jobs, after the position `after`. `form` holds the parameters for the form of the answer: the links keep them."""

    count: int
    after: str | None = None
    form: Mapping[str, str] = field(default_factory=dict)


def parse(pairs: Sequence[tuple[str, str]], default: int, limit: int) -> Query:
    """The query of `GET [base]/job`: `_count` and `_cursor`. BadRequest for any other parameter, and for a wrong value."""
    given: dict[str, str] = {}
    for name, value in pairs:
        if name in given or name not in ("_count", "_cursor", *_PRETTY):
            raise BadRequest("the list of jobs takes only the parameters _count and _cursor, each once", name[:64])
        given[name] = value
    count, after = queries.count(given["_count"]) if "_count" in given else default, given.get("_cursor")
    if after is not None and not _CURSOR.fullmatch(after):
        raise BadRequest("this page link is not one that this server gave", "_cursor")
    form = {name: given[name] for name in _PRETTY if name in given}
    return Query(max(1, min(count, limit)), after, form)


def page(store: Store, owner: str, query: Query, *, base: str) -> dict[str, Any]:
    """A Bundle of type collection, with a Parameters resource for each job of `owner` (see `access.Caller`), and a link to the next page.

    The state is what the job's own item says: whether a run is still alive is asked by its status only.
    """
    jobs, after = store.jobs.of_owner(owner, query.count, query.after)
    links = [{"relation": "self", "url": _url(base, query, query.after)}]
    if after is not None:
        links.append({"relation": "next", "url": _url(base, query, after)})
    bundle: dict[str, Any] = {"resourceType": "Bundle", "type": "collection", "link": links}
    if jobs:
        bundle["entry"] = [{"resource": _told(store, job, base)} for job in jobs]
    return bundle


def _url(base: str, query: Query, after: str | None) -> str:
    given = {**query.form, "_count": str(query.count)} | ({"_cursor": after} if after else {})
    return f"{base}/job?{urlencode(given)}"


def _told(store: Store, job: Job, base: str) -> dict[str, Any]:
    """One job as Parameters, under the job's id."""
    parameters: list[dict[str, Any]] = [
        {"name": "kind", "valueCode": job.kind},
        {"name": "state", "valueCode": job.state},
        {"name": "created", "valueInstant": _instant(job.created)},
        {"name": "progress", "valueString": polling.progress_of(store, job)},
        {"name": "status", "valueUrl": f"{base}/job/{job.id}/status"},
        {"name": "expires", "valueInstant": _instant(job.expires)},
    ]
    if job.kind != BUNDLE:
        parameters.insert(1, {"name": "target", "valueReference": {"reference": job.target}})
    if job.ended:
        parameters.append({"name": "ended", "valueInstant": _instant(job.ended)})
    return {"resourceType": "Parameters", "id": job.id, "parameter": parameters}


def _instant(seconds: float) -> str:
    return dates.text(datetime.fromtimestamp(seconds, UTC))

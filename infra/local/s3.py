"""S3 on this machine: the operations that Bulkhead uses, over one SQLite file, so that objects survive a kill.

moto's S3 keeps everything in memory. SQLite has atomic, durable writes and ordered listing.
"""

from __future__ import annotations

import hashlib
import sqlite3
import threading
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import escape

from infra.local import cors, signed_urls
from infra.local.wsgi import Answer, Environ, read_body

SCHEMA = """
CREATE TABLE IF NOT EXISTS objects (
    bucket TEXT, key TEXT, body BLOB, size INTEGER, etag TEXT, type TEXT, modified TEXT, PRIMARY KEY (bucket, key)
) WITHOUT ROWID
"""
# A key with a prefix sorts before the prefix followed by this: more of the last code point than the 1,024 bytes of a key hold.
AFTER_ALL = "\U0010ffff" * 257


@dataclass(frozen=True)
class Entry:
    """The facts about an object, without its body."""

    key: str
    size: int
    etag: str
    type: str
    modified: datetime


class Objects:
    """Buckets and objects in the SQLite file `path`; in memory if it is None."""

    def __init__(self, path: str | None) -> None:
        self._lock = threading.Lock()
        self._database = sqlite3.connect(path or ":memory:", check_same_thread=False, isolation_level=None)
        self._database.execute("PRAGMA journal_mode=WAL")
        self._database.execute(SCHEMA)

    def put(self, bucket: str, key: str, body: bytes, *, content_type: str) -> str:
        """Stores `body` as the object's new content, and returns its ETag."""
        etag = f'"{hashlib.md5(body, usedforsecurity=False).hexdigest()}"'
        row = (bucket, key, body, len(body), etag, content_type, datetime.now(UTC).isoformat())
        self._query("INSERT OR REPLACE INTO objects VALUES (?, ?, ?, ?, ?, ?, ?)", row)
        return etag

    def head(self, bucket: str, key: str) -> Entry | None:
        rows = self._query(
            "SELECT key, size, etag, type, modified FROM objects WHERE bucket=? AND key=?", (bucket, key)
        )
        return next((_entry(row) for row in rows), None)

    def body(self, bucket: str, key: str) -> bytes | None:
        rows = self._query("SELECT body FROM objects WHERE bucket=? AND key=?", (bucket, key))
        return bytes(rows[0][0]) if rows else None

    def delete(self, bucket: str, key: str) -> None:
        self._query("DELETE FROM objects WHERE bucket=? AND key=?", (bucket, key))

    def listed(self, bucket: str, prefix: str, after: str, *, limit: int) -> list[Entry]:
        """Up to `limit` objects whose key begins with `prefix` and comes after `after`, in the order of their keys."""
        rows = self._query(
            "SELECT key, size, etag, type, modified FROM objects"
            " WHERE bucket=? AND key>=? AND key<? AND key>? ORDER BY key LIMIT ?",
            (bucket, prefix, prefix + AFTER_ALL, after, limit),
        )
        return [_entry(row) for row in rows]

    def close(self) -> None:
        with self._lock:
            self._database.close()

    def _query(self, statement: str, values: Iterable[object]) -> list[Any]:
        with self._lock:
            return self._database.execute(statement, tuple(values)).fetchall()


def _entry(row: tuple[str, int, str, str, str]) -> Entry:
    return Entry(*row[:4], modified=datetime.fromisoformat(row[4]))


def answer(environ: Environ, objects: Objects, secret: str) -> Answer:
    """Serves one request in path style, from any origin; `secret` is the key that signs URLs.

    PutObject, CopyObject, GetObject, HeadObject, DeleteObject, ListObjectsV2, ListObjectVersions (there is one of each) and CreateBucket.
    """
    if environ["REQUEST_METHOD"] == "OPTIONS":
        return cors.with_headers(environ, Answer(200))
    return refusal(environ, secret) or cors.with_headers(environ, _answer(environ, objects))


def refusal(environ: Environ, secret: str) -> Answer | None:
    """The response to a request whose headers are not validly signed; it needs no body. None for a valid request."""
    refused = signed_urls.refusal(environ, secret)
    return cors.with_headers(environ, _error(403, refused)) if refused else None


def _answer(environ: Environ, objects: Objects) -> Answer:
    url = urlsplit(environ["REQUEST_URI"])
    bucket, _, key = unquote(url.path.lstrip("/")).partition("/")
    query = {name: values[0] for name, values in parse_qs(url.query, keep_blank_values=True).items()}
    match environ["REQUEST_METHOD"], bool(key):
        case "PUT", False:
            return Answer(200)
        case "GET", False if query.get("list-type") == "2":
            return _list(objects, bucket, query)
        case "GET", False if "versions" in query:
            return _list_versions(objects, bucket, query)
        case "PUT", True if "HTTP_X_AMZ_COPY_SOURCE" in environ:
            return _copy(objects, bucket, key, environ=environ)
        case "PUT", True if "aws-chunked" not in environ.get("HTTP_CONTENT_ENCODING", ""):
            body = read_body(environ)
            if not signed_urls.is_signed(environ, body):
                return _error(400, "XAmzContentSHA256Mismatch")
            content_type = environ.get("CONTENT_TYPE") or "binary/octet-stream"
            return Answer(200, {"ETag": objects.put(bucket, key, body, content_type=content_type)})
        case ("GET" | "HEAD") as method, True:
            return _get(objects, bucket, key, with_body=method == "GET")
        case "DELETE", True:
            objects.delete(bucket, key)
            return Answer(204)
    return _error(501, "NotImplemented")


def _get(objects: Objects, bucket: str, key: str, *, with_body: bool) -> Answer:
    entry = objects.head(bucket, key)
    body = objects.body(bucket, key) if with_body else b""
    if entry is None or body is None:
        return _error(404, "NoSuchKey")
    headers = {
        "ETag": entry.etag,
        "Content-Type": entry.type,
        "Content-Length": str(entry.size),
        "Last-Modified": format_datetime(entry.modified, usegmt=True),
    }
    return Answer(200, headers, body)


def _copy(objects: Objects, bucket: str, key: str, *, environ: Environ) -> Answer:
    source_bucket, _, source_key = unquote(environ["HTTP_X_AMZ_COPY_SOURCE"]).lstrip("/").partition("/")
    entry, body = objects.head(source_bucket, source_key), objects.body(source_bucket, source_key)
    if entry is None or body is None:
        return _error(404, "NoSuchKey")
    if environ.get("HTTP_X_AMZ_COPY_SOURCE_IF_MATCH", entry.etag) != entry.etag:
        return _error(412, "PreconditionFailed")
    etag = objects.put(bucket, key, body, content_type=entry.type)
    return _xml(200, f"<CopyObjectResult><ETag>{escape(etag)}</ETag></CopyObjectResult>")


def _list(objects: Objects, bucket: str, query: dict[str, str]) -> Answer:
    limit = min(int(query.get("max-keys", 1000)), 1000)
    after = query.get("continuation-token") or query.get("start-after", "")
    found = objects.listed(bucket, query.get("prefix", ""), after, limit=limit + 1)
    page, more = found[:limit], len(found) > limit
    parts = [
        f"<Name>{escape(bucket)}</Name><KeyCount>{len(page)}</KeyCount><IsTruncated>{str(more).lower()}</IsTruncated>"
    ]
    if more:
        parts.append(f"<NextContinuationToken>{escape(page[-1].key)}</NextContinuationToken>")
    for entry in page:
        modified = entry.modified.strftime("%Y-%m-%dT%H:%M:%S.000Z")
        parts.append(
            f"<Contents><Key>{escape(entry.key)}</Key><Size>{entry.size}</Size><ETag>{escape(entry.etag)}</ETag>"
            f"<LastModified>{modified}</LastModified></Contents>"
        )
    return _xml(200, f"<ListBucketResult>{''.join(parts)}</ListBucketResult>")


def _list_versions(objects: Objects, bucket: str, query: dict[str, str]) -> Answer:
    """A page of the objects below a prefix: as of a bucket without versioning, each is its only version."""
    limit = min(int(query.get("max-keys", 1000)), 1000)
    found = objects.listed(bucket, query.get("prefix", ""), query.get("key-marker", ""), limit=limit + 1)
    page, more = found[:limit], len(found) > limit
    parts = [f"<Name>{escape(bucket)}</Name><IsTruncated>{str(more).lower()}</IsTruncated>"]
    if more:
        parts.append(f"<NextKeyMarker>{escape(page[-1].key)}</NextKeyMarker>")
        parts.append("<NextVersionIdMarker>null</NextVersionIdMarker>")
    for entry in page:
        parts.append(f"<Version><Key>{escape(entry.key)}</Key><VersionId>null</VersionId></Version>")
    return _xml(200, f"<ListVersionsResult>{''.join(parts)}</ListVersionsResult>")


def _error(status: int, code: str) -> Answer:
    return _xml(status, f"<Error><Code>{code}</Code><Message>{code}</Message></Error>")


def _xml(status: int, text: str) -> Answer:
    return Answer(status, {"Content-Type": "application/xml"}, f'<?xml version="1.0" encoding="UTF-8"?>{text}'.encode())

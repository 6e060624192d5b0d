"""Objects that a job needs for a while: uploads, waiting bundles, responses to fetch. Lifecycle rules remove them."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from botocore.exceptions import ClientError

from bulkhead.store import timeouts

if TYPE_CHECKING:
    from bulkhead.settings import Settings

UPLOADS, REQUESTS, RESULTS, ANSWERS = "uploads/", "requests/", "results/", "answers/"
"""Prefixes of their names: each has its own rights and lifetime."""

# S3's codes to callers who may list the bucket. Others get 403, also for existing objects: it never counts as absence.
_ABSENT = ("404", "NoSuchKey", "NotFound")


def client(**options: Any) -> Any:
    """An S3 client whose signed URLs work in every region: signature 4, the region's own host, no checksum of a future body."""
    import boto3
    from botocore.config import Config

    config = Config(
        signature_version="s3v4",
        s3={"addressing_style": "virtual"},
        request_checksum_calculation="when_required",
        **timeouts.options(),
    )
    return boto3.client("s3", config=config, **options)


class Owner(Protocol):
    """Whose bucket it is: a Store."""

    @property
    def s3(self) -> Any: ...

    @property
    def settings(self) -> Settings: ...


class File(NamedTuple):
    """The facts about an object, without its content. `etag` changes with the content."""

    size: int
    modified: datetime
    etag: str


def put(
    store: Owner,
    name: str,
    body: bytes,
    *,
    content_type: str = "application/octet-stream",
    content_encoding: str | None = None,
    content_disposition: str | None = None,
) -> None:
    """Put an object; whoever GETs it is given the headers of these names."""
    given = {"ContentEncoding": content_encoding, "ContentDisposition": content_disposition}
    headers = {header: text for header, text in given.items() if text}
    store.s3.put_object(Bucket=store.settings.bucket, Key=name, Body=body, ContentType=content_type, **headers)


def get(store: Owner, name: str) -> bytes | None:
    """The whole content; None if there is no such object."""
    try:
        body: bytes = store.s3.get_object(Bucket=store.settings.bucket, Key=name)["Body"].read()
    except ClientError as error:
        if not is_absence(error):
            raise
        return None
    return body


def find(store: Owner, name: str) -> File | None:
    """The facts about an object; None if there is none."""
    try:
        found = store.s3.head_object(Bucket=store.settings.bucket, Key=name)
    except ClientError as error:
        if not is_absence(error):
            raise
        return None
    return File(found["ContentLength"], found["LastModified"], found["ETag"])


def is_absence(error: ClientError) -> bool:
    """Whether S3 says that there is no such object."""
    return error.response.get("Error", {}).get("Code") in _ABSENT


def copy(store: Owner, source: str, name: str, *, etag: str) -> bool:
    """Copies an object within S3. False if it is gone, or no longer has this `etag`."""
    bucket = store.settings.bucket
    place = {"Bucket": bucket, "Key": source}
    try:
        store.s3.copy_object(Bucket=bucket, Key=name, CopySource=place, CopySourceIfMatch=etag)
    except ClientError as error:
        if error.response.get("Error", {}).get("Code") != "PreconditionFailed" and not is_absence(error):
            raise
        return False
    return True


def remove(store: Owner, name: str) -> None:
    """Removes an object. No effect if there is none."""
    store.s3.delete_object(Bucket=store.settings.bucket, Key=name)


def url_to_put(store: Owner, name: str, seconds: int) -> str:
    """A URL at which its holder can PUT the object without a token for `seconds`: give it to one client only."""
    return _signed(store, "put_object", name, seconds=seconds)


def url_to_get(store: Owner, name: str, seconds: int) -> str:
    """A URL at which its holder can GET the object without a token for `seconds`."""
    return _signed(store, "get_object", name, seconds=seconds)


def _signed(store: Owner, operation: str, name: str, *, seconds: int) -> str:
    place = {"Bucket": store.settings.bucket, "Key": name}
    url: str = store.s3.generate_presigned_url(operation, Params=place, ExpiresIn=seconds)
    return url

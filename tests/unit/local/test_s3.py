"""boto3's own client against the file-backed S3."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError
from hypothesis import given
from hypothesis import strategies as st

from infra.local import s3
from infra.local.listener import Listener


@pytest.fixture
def client(tmp_path: Path) -> Iterator[Any]:
    objects = s3.Objects(str(tmp_path / "s3.sqlite"))
    listener = Listener("127.0.0.1", 0, lambda environ: s3.answer(environ, objects, "b"), threads=2)
    listener.serve()
    yield boto3.client(
        "s3",
        endpoint_url=f"http://127.0.0.1:{listener.port}",
        region_name="us-east-1",
        aws_access_key_id="a",
        aws_secret_access_key="b",
        config=Config(request_checksum_calculation="when_required"),
    )
    listener.stop()


def code(error: pytest.ExceptionInfo[ClientError]) -> str:
    return error.value.response["Error"]["Code"]


@pytest.mark.parametrize("key", ["bodies/ab12", "with space/ü+%2F?#&", "a//b"])
def test_an_object_is_read_back_as_it_was_put(client: Any, key: str) -> None:
    body = bytes(range(256)) * 5000
    etag = client.put_object(Bucket="bulkhead", Key=key, Body=body, ContentType="text/x")["ETag"]

    got = client.get_object(Bucket="bulkhead", Key=key)

    assert got["Body"].read() == body
    assert (got["ETag"], got["ContentType"]) == (etag, "text/x")
    assert client.head_object(Bucket="bulkhead", Key=key)["ContentLength"] == len(body)


def test_a_copy_is_independent(client: Any) -> None:
    client.put_object(Bucket="bulkhead", Key="a b/ü+", Body=b"1", ContentType="text/x")
    client.copy_object(Bucket="bulkhead", Key="copy", CopySource={"Bucket": "bulkhead", "Key": "a b/ü+"})
    client.put_object(Bucket="bulkhead", Key="a b/ü+", Body=b"2")
    got = client.get_object(Bucket="bulkhead", Key="copy")
    assert (got["Body"].read(), got["ContentType"]) == (b"1", "text/x")
    with pytest.raises(ClientError) as error:
        client.copy_object(Bucket="bulkhead", Key="copy", CopySource={"Bucket": "bulkhead", "Key": "absent"})
    assert code(error) == "NoSuchKey"


def test_a_copy_of_what_has_changed_is_refused(client: Any) -> None:
    etag = client.put_object(Bucket="bulkhead", Key="k", Body=b"1")["ETag"]
    source = {"Bucket": "bulkhead", "Key": "k"}
    client.copy_object(Bucket="bulkhead", Key="copy", CopySource=source, CopySourceIfMatch=etag)
    client.put_object(Bucket="bulkhead", Key="k", Body=b"2")
    with pytest.raises(ClientError) as error:
        client.copy_object(Bucket="bulkhead", Key="copy", CopySource=source, CopySourceIfMatch=etag)
    assert code(error) == "PreconditionFailed"
    assert client.get_object(Bucket="bulkhead", Key="copy")["Body"].read() == b"1"


def test_a_put_replaces_and_a_delete_removes(client: Any) -> None:
    client.put_object(Bucket="bulkhead", Key="k", Body=b"1")
    client.put_object(Bucket="bulkhead", Key="k", Body=b"")
    assert client.get_object(Bucket="bulkhead", Key="k")["Body"].read() == b""

    client.delete_object(Bucket="bulkhead", Key="k")
    with pytest.raises(ClientError) as error:
        client.get_object(Bucket="bulkhead", Key="k")
    assert code(error) == "NoSuchKey"
    with pytest.raises(ClientError) as error:
        client.head_object(Bucket="bulkhead", Key="k")
    assert code(error) == "404"


def test_listing_pages_through_a_prefix(client: Any) -> None:
    for number in range(7):
        client.put_object(Bucket="bulkhead", Key=f"jobs/{number}<&>", Body=b"x")
    client.put_object(Bucket="bulkhead", Key="jobt", Body=b"x")
    client.put_object(Bucket="other", Key="jobs/9", Body=b"x")

    pages = list(
        client.get_paginator("list_objects_v2").paginate(
            Bucket="bulkhead", Prefix="jobs/", PaginationConfig={"PageSize": 3}
        )
    )

    assert [len(page["Contents"]) for page in pages] == [3, 3, 1]
    assert [entry["Key"] for page in pages for entry in page["Contents"]] == [f"jobs/{n}<&>" for n in range(7)]


def test_every_object_is_its_only_version(client: Any) -> None:
    for key in ("bodies/1", "bodies/2", "other"):
        client.put_object(Bucket="bulkhead", Key=key, Body=b"x")
    listed = client.list_object_versions(Bucket="bulkhead", Prefix="bodies/1")
    assert [(one["Key"], one["VersionId"]) for one in listed["Versions"]] == [("bodies/1", "null")]
    client.delete_object(Bucket="bulkhead", Key="bodies/1", VersionId="null")
    assert "Versions" not in client.list_object_versions(Bucket="bulkhead", Prefix="bodies/1")


def test_versions_are_listed_by_pages(client: Any) -> None:
    for number in range(5):
        client.put_object(Bucket="bulkhead", Key=f"bodies/{number}<&>", Body=b"x")
    paged = client.get_paginator("list_object_versions").paginate(
        Bucket="bulkhead", Prefix="bodies/", PaginationConfig={"PageSize": 2}
    )
    assert [[one["Key"] for one in page["Versions"]] for page in paged] == [
        ["bodies/0<&>", "bodies/1<&>"],
        ["bodies/2<&>", "bodies/3<&>"],
        ["bodies/4<&>"],
    ]


def test_what_is_not_emulated_says_so(client: Any) -> None:
    with pytest.raises(ClientError) as error:
        client.create_multipart_upload(Bucket="bulkhead", Key="k")
    assert code(error) == "NotImplemented"


def test_objects_are_there_after_a_restart(tmp_path: Path) -> None:
    path = str(tmp_path / "s3.sqlite")
    s3.Objects(path).put("b", "k", b"kept", content_type="text/plain")

    assert s3.Objects(path).body("b", "k") == b"kept"


@given(
    st.sets(st.text(st.characters(codec="utf-8"), min_size=1, max_size=4)),
    st.text(st.characters(codec="utf-8"), max_size=2),
)
def test_a_listing_holds_the_keys_with_the_prefix_in_utf8_order(keys: set[str], prefix: str) -> None:
    objects = s3.Objects(None)
    for key in keys:
        objects.put("b", key, b"", content_type="")

    listed = [entry.key for entry in objects.listed("b", prefix, "", limit=1000)]

    assert listed == sorted((key for key in keys if key.startswith(prefix)), key=str.encode)

"""boto3's signed URLs, used by a client without keys."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from botocore.exceptions import ClientError

from bulkhead.store import files
from infra.local import s3
from infra.local.listener import Listener
from infra.local.wsgi import Environ

SECRET = "secret/+="
KEY = "uploads/with space/ü+%2F"


@pytest.fixture
def client() -> Iterator[Any]:
    objects = s3.Objects(None)
    listener = Listener("127.0.0.1", 0, lambda environ: s3.answer(environ, objects, SECRET), threads=2)
    listener.serve()
    yield files.client(
        endpoint_url=f"http://127.0.0.1:{listener.port}",
        region_name="us-east-1",
        aws_access_key_id="a",
        aws_secret_access_key=SECRET,
        aws_session_token="token",
    )
    listener.stop()


def signed(client: Any, operation: str, seconds: int = 60, key: str = KEY) -> str:
    url: str = client.generate_presigned_url(operation, Params={"Bucket": "bulkhead", "Key": key}, ExpiresIn=seconds)
    return url


def code(answer: httpx.Response) -> str:
    assert answer.status_code == 403
    return answer.text.partition("<Code>")[2].partition("</Code>")[0]


def test_put_and_get(client: Any) -> None:
    headers = {"Content-Type": "application/fhir+json", "Content-Encoding": "gzip"}
    assert httpx.put(signed(client, "put_object"), content=b"content", headers=headers).status_code == 200
    assert httpx.get(signed(client, "get_object")).content == b"content"
    assert client.get_object(Bucket="bulkhead", Key=KEY)["Body"].read() == b"content"


def test_what_was_signed_is_all_that_may_be_done(client: Any) -> None:
    put = signed(client, "put_object")
    other = put.replace("uploads/", "bodies/")
    assert code(httpx.get(put)) == code(httpx.put(other)) == code(httpx.delete(put)) == "SignatureDoesNotMatch"
    assert code(httpx.put(put.replace("Expires=60", "Expires=6000"))) == "SignatureDoesNotMatch"
    assert code(httpx.put(f"{put}&versionId=1")) == "SignatureDoesNotMatch"


def test_it_expires(client: Any) -> None:
    assert code(httpx.get(signed(client, "get_object", seconds=-1))) == "AccessDenied"


@pytest.mark.parametrize("query", ["", "?X-Amz-Signature=", "?X-Amz-Signature=1&X-Amz-Date=now&X-Amz-Expires=1"])
def test_without_a_signature_nothing(client: Any, query: str) -> None:
    assert code(httpx.put(f"{signed(client, 'put_object').partition('?')[0]}{query}", content=b"x"))


@pytest.mark.parametrize(
    "authorization", ["", "x", "AWS4-HMAC-SHA256 Credential=a/b, SignedHeaders=host, Signature=" + "0" * 64]
)
def test_a_header_that_is_no_signature_opens_nothing(client: Any, authorization: str) -> None:
    url = signed(client, "put_object").partition("?")[0]
    client.put_object(Bucket="bulkhead", Key=KEY, Body=b"content")
    for method in ("GET", "PUT", "DELETE", "HEAD"):
        assert httpx.request(method, url, headers={"Authorization": authorization}).status_code == 403
    assert client.get_object(Bucket="bulkhead", Key=KEY)["Body"].read() == b"content"


def test_another_key_opens_nothing(client: Any) -> None:
    other = files.client(
        endpoint_url=client.meta.endpoint_url, region_name="us-east-1", aws_access_key_id="a", aws_secret_access_key="x"
    )
    with pytest.raises(ClientError, match="SignatureDoesNotMatch"):
        other.put_object(Bucket="bulkhead", Key=KEY, Body=b"content")


def test_a_signature_is_for_one_body_one_path_and_a_quarter_of_an_hour(
    client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    caught: list[Environ] = []
    answer = s3.answer

    def watched(environ: Environ, *rest: Any) -> Any:
        caught.append(environ)
        return answer(environ, *rest)

    monkeypatch.setattr(s3, "answer", watched)
    client.put_object(Bucket="bulkhead", Key=KEY, Body=b"content")
    sent = dict(caught[0])

    def status(**changed: Any) -> int:
        return answer({**sent, "wsgi.input": io.BytesIO(b"content"), **changed}, s3.Objects(None), SECRET).status

    assert status() == 200
    assert status(**{"wsgi.input": io.BytesIO(b"CONTENT")}) == 400
    assert status(REQUEST_URI=sent["REQUEST_URI"] + "2") == 403
    assert status(REQUEST_METHOD="DELETE") == 403
    assert status(HTTP_X_AMZ_CONTENT_SHA256="UNSIGNED-PAYLOAD") == 403
    assert status(HTTP_X_AMZ_DATE="20200101T000000Z") == 403


def test_from_a_browser(client: Any) -> None:
    url, origin = signed(client, "put_object"), {"Origin": "https://app.example"}
    asked = {**origin, "Access-Control-Request-Method": "PUT", "Access-Control-Request-Headers": "content-type"}
    preflight = httpx.options(url, headers=asked)
    assert preflight.headers["access-control-allow-origin"] == "*"
    assert "PUT" in preflight.headers["access-control-allow-methods"]
    assert "content-type" in preflight.headers["access-control-allow-headers"]
    assert httpx.put(url, content=b"x", headers=origin).headers["access-control-allow-origin"] == "*"


def test_on_aws_it_names_the_regions_own_host() -> None:
    """The global host would redirect to it, and the signature would not fit."""
    client = files.client(region_name="eu-west-1", aws_access_key_id="a", aws_secret_access_key="b")
    url = signed(client, "put_object", key="k")
    assert url.startswith("https://bulkhead.s3.eu-west-1.amazonaws.com/k?X-Amz-Algorithm=AWS4-HMAC-SHA256")
    # A checksum of the empty body of the signing would refuse every upload.
    assert "checksum" not in url

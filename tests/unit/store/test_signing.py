"""Our signature is botocore's, whatever is signed."""

from __future__ import annotations

import time

from botocore.auth import SIGV4_TIMESTAMP, SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import ReadOnlyCredentials
from hypothesis import given
from hypothesis import strategies as st

from bulkhead.store import signing

words = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=40)


@given(
    body=st.binary(max_size=200),
    target=words,
    access_key=words,
    secret_key=words,
    token=st.none() | words,
    region=words,
    port=st.none() | st.integers(1024, 65535),
)
def test_a_request_is_signed_as_by_botocore(
    body: bytes, target: str, access_key: str, secret_key: str, token: str | None, region: str, port: int | None
) -> None:
    credentials = ReadOnlyCredentials(access_key, secret_key, token)
    host = "db.example" if port is None else f"db.example:{port}"
    request = AWSRequest(
        "POST", f"https://{host}/", {"Content-Type": signing.CONTENT_TYPE, "X-Amz-Target": target}, body
    )
    SigV4Auth(credentials, "dynamodb", region).add_auth(request)
    moment = time.strptime(request.context["timestamp"], SIGV4_TIMESTAMP)
    made = signing.headers(target, body, host=host, region=region, credentials=credentials, moment=moment)
    expected = {name.lower(): text for name, text in request.headers.items()}
    assert made == {"host": host, **expected}


def test_now_is_the_time_of_a_signature() -> None:
    """In UTC, to the second."""
    credentials = ReadOnlyCredentials("id", "secret", None)
    before = time.strftime(SIGV4_TIMESTAMP, time.gmtime())
    made = signing.headers("x", b"", host="h", region="r", credentials=credentials)
    assert before <= made["x-amz-date"] <= time.strftime(SIGV4_TIMESTAMP, time.gmtime())

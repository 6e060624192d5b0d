"""AWS Signature Version 4 for the one kind of request that the store signs: a POST of JSON to the root of DynamoDB's endpoint.

https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html; botocore's signer is the reference (`test_signing`).
"""

from __future__ import annotations

import hmac
from functools import lru_cache
from hashlib import sha256
from time import gmtime, strftime, struct_time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from botocore.credentials import ReadOnlyCredentials

CONTENT_TYPE = "application/x-amz-json-1.0"
_ALGORITHM = "AWS4-HMAC-SHA256"
_SERVICE = "dynamodb"


def headers(
    target: str,
    body: bytes,
    *,
    host: str,
    region: str,
    credentials: ReadOnlyCredentials,
    moment: struct_time | None = None,
) -> dict[str, str]:
    """The headers of a request for the operation `target`, signature included. `moment` is UTC; now if it is None."""
    time = strftime("%Y%m%dT%H%M%SZ", moment or gmtime())
    day = time[:8]
    # By name: the order in which they are signed.
    signed = {"content-type": CONTENT_TYPE, "host": host, "x-amz-date": time}
    if credentials.token:
        signed["x-amz-security-token"] = credentials.token
    signed["x-amz-target"] = target
    names = ";".join(signed)
    lines = "".join(f"{name}:{text}\n" for name, text in signed.items())
    request = f"POST\n/\n\n{lines}\n{names}\n{sha256(body).hexdigest()}"
    scope = f"{day}/{region}/{_SERVICE}/aws4_request"
    text = f"{_ALGORITHM}\n{time}\n{scope}\n{sha256(request.encode()).hexdigest()}"
    signature = hmac.digest(_key(credentials.secret_key or "", day, region), text.encode(), "sha256").hex()
    proof = f"{_ALGORITHM} Credential={credentials.access_key}/{scope}, SignedHeaders={names}, Signature={signature}"
    return {**signed, "authorization": proof}


@lru_cache(maxsize=4)
def _key(secret: str, day: str, region: str) -> bytes:
    """The key that signs the requests of a day."""
    key = f"AWS4{secret}".encode()
    for part in (day, region, _SERVICE, "aws4_request"):
        key = hmac.digest(key, part.encode(), "sha256")
    return key

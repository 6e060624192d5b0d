"""S3's signed URLs, checked as AWS checks them (Signature Version 4, query parameters): who has one needs no key."""

from __future__ import annotations

import hashlib
import hmac
from datetime import UTC, datetime, timedelta
from urllib.parse import unquote, urlsplit

from infra.local.wsgi import Environ

_SIGNATURE = "X-Amz-Signature"
_WITHOUT_HEADER = {"content-type": "CONTENT_TYPE", "content-length": "CONTENT_LENGTH"}


def refusal(environ: Environ, secret: str) -> str | None:
    """The code of the error with which S3 answers a request that is not signed, not rightly, or not any more; None for a good one.

    A header `Authorization` is this machine's own client's, and trusted.
    """
    url = urlsplit(environ["REQUEST_URI"])
    pairs = [pair.partition("=")[::2] for pair in url.query.split("&") if pair]
    query = {name: unquote(value) for name, value in pairs}
    if _SIGNATURE not in query:
        return None if "HTTP_AUTHORIZATION" in environ else "AccessDenied"
    try:
        signed = datetime.strptime(query["X-Amz-Date"], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
        if datetime.now(UTC) > signed + timedelta(seconds=int(query["X-Amz-Expires"])):
            return "AccessDenied"
        scope = query["X-Amz-Credential"].partition("/")[2]
        headers = query["X-Amz-SignedHeaders"].split(";")
    except (KeyError, ValueError):
        return "AuthorizationQueryParametersError"
    canonical = "\n".join(
        [
            environ["REQUEST_METHOD"],
            url.path,
            "&".join(sorted(f"{name}={value}" for name, value in pairs if name != _SIGNATURE)),
            *(f"{name}:{_header(environ, name)}" for name in headers),
            "",
            ";".join(headers),
            "UNSIGNED-PAYLOAD",
        ]
    )
    expected = _signature(canonical, query["X-Amz-Date"], scope, secret)
    return None if hmac.compare_digest(expected, query[_SIGNATURE]) else "SignatureDoesNotMatch"


def _header(environ: Environ, name: str) -> str:
    variable = _WITHOUT_HEADER.get(name) or f"HTTP_{name.upper().replace('-', '_')}"
    return str(environ.get(variable, "")).strip()


def _signature(canonical: str, date: str, scope: str, secret: str) -> str:
    digest = hashlib.sha256(canonical.encode()).hexdigest()
    key = f"AWS4{secret}".encode()
    for part in scope.split("/"):
        key = hmac.new(key, part.encode(), hashlib.sha256).digest()
    text = f"AWS4-HMAC-SHA256\n{date}\n{scope}\n{digest}"
    return hmac.new(key, text.encode(), hashlib.sha256).hexdigest()

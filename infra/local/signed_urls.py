"""Checks Signature Version 4 as AWS does: in the header `Authorization`, or in a signed URL, whose holder needs no key."""

from __future__ import annotations

import hashlib
import hmac
import re
from datetime import UTC, datetime, timedelta
from urllib.parse import unquote, urlsplit

from infra.local.wsgi import Environ

_SIGNATURE = "X-Amz-Signature"
_WITHOUT_HEADER = {"content-type": "CONTENT_TYPE", "content-length": "CONTENT_LENGTH"}
_UNSIGNED = "UNSIGNED-PAYLOAD"
_AUTHORIZATION = re.compile(
    r"AWS4-HMAC-SHA256 Credential=[^/,\s]+/([^,\s]+), ?SignedHeaders=([^,\s]+), ?Signature=([0-9a-f]{64})"
)
CLOCK_SKEW = timedelta(minutes=15)


def refusal(environ: Environ, secret: str, body: bytes | None = None) -> str | None:
    """The code of AWS's error for a request without a signature, with a wrong one, or with an expired one; None for a valid request.

    Without `body`, a header must name the digest of the body that it signs; the reader of the body then calls `is_signed`.
    """
    url = urlsplit(environ["REQUEST_URI"])
    pairs = [pair.partition("=")[::2] for pair in url.query.split("&") if pair]
    query = {name: unquote(value) for name, value in pairs}
    if _SIGNATURE not in query:
        return _header_refusal(environ, url.path, pairs, secret=secret, body=body)
    try:
        signed = datetime.strptime(query["X-Amz-Date"], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
        if datetime.now(UTC) > signed + timedelta(seconds=int(query["X-Amz-Expires"])):
            return "AccessDenied"
        scope = query["X-Amz-Credential"].partition("/")[2]
        headers = query["X-Amz-SignedHeaders"].split(";")
    except (KeyError, ValueError, OverflowError):
        return "AuthorizationQueryParametersError"
    rest = [(name, value) for name, value in pairs if name != _SIGNATURE]
    canonical = _canonical(environ, url.path, rest, headers=headers, digest=_UNSIGNED)
    expected = _signature(canonical, query["X-Amz-Date"], scope, secret=secret)
    return None if _same(expected, query[_SIGNATURE]) else "SignatureDoesNotMatch"


def is_signed(environ: Environ, body: bytes) -> bool:
    """Whether the header `Authorization` signs `body`; True for a signed URL, which accepts any body."""
    digest = environ.get("HTTP_X_AMZ_CONTENT_SHA256", "")
    if "HTTP_AUTHORIZATION" not in environ or digest == _UNSIGNED:
        return True
    return _same(hashlib.sha256(body).hexdigest(), digest)


def _header_refusal(
    environ: Environ, path: str, pairs: list[tuple[str, str]], *, secret: str, body: bytes | None
) -> str | None:
    found = _AUTHORIZATION.fullmatch(environ.get("HTTP_AUTHORIZATION", ""))
    digest, date = environ.get("HTTP_X_AMZ_CONTENT_SHA256", ""), environ.get("HTTP_X_AMZ_DATE", "")
    if not found:
        return "AccessDenied"
    scope, names, given = found.groups()
    headers = names.split(";")
    try:
        signed = datetime.strptime(date, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
    except ValueError:
        return "AccessDenied"
    if abs(datetime.now(UTC) - signed) > CLOCK_SKEW:
        return "RequestTimeTooSkewed"
    required = {"host", "x-amz-date"}
    if body is None:
        # If the digest were not signed, anybody could send another body with somebody's signature.
        required.add("x-amz-content-sha256")
    else:
        digest = hashlib.sha256(body).hexdigest()
    if not required <= set(headers):
        return "AccessDenied"
    expected = _signature(_canonical(environ, path, pairs, headers=headers, digest=digest), date, scope, secret=secret)
    return None if _same(expected, given) else "SignatureDoesNotMatch"


def _canonical(environ: Environ, path: str, pairs: list[tuple[str, str]], *, headers: list[str], digest: str) -> str:
    return "\n".join(
        [
            environ["REQUEST_METHOD"],
            path,
            "&".join(sorted(f"{name}={value}" for name, value in pairs)),
            *(f"{name}:{_header(environ, name)}" for name in headers),
            "",
            ";".join(headers),
            digest,
        ]
    )


def _same(expected: str, given: str) -> bool:
    return hmac.compare_digest(expected.encode(), given.encode())


def _header(environ: Environ, name: str) -> str:
    variable = _WITHOUT_HEADER.get(name) or f"HTTP_{name.upper().replace('-', '_')}"
    return " ".join(str(environ.get(variable, "")).split())


def _signature(canonical: str, date: str, scope: str, *, secret: str) -> str:
    digest = hashlib.sha256(canonical.encode()).hexdigest()
    key = f"AWS4{secret}".encode()
    for part in scope.split("/"):
        key = hmac.new(key, part.encode(), hashlib.sha256).digest()
    text = f"AWS4-HMAC-SHA256\n{date}\n{scope}\n{digest}"
    return hmac.new(key, text.encode(), hashlib.sha256).hexdigest()

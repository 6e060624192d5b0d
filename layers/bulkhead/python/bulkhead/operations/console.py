"""`/console`: a page that shows who can see a record, and why. It uses the public API with the user's token, and nothing else.

The page and its files lie in bulkhead/console/, as they are sent. docs/console.md describes the page.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from html import escape
from pathlib import Path
from urllib.parse import urlsplit

import bulkhead
from bulkhead.api import cached
from bulkhead.api.request import Request
from bulkhead.api.response import Response
from bulkhead.errors import NotFound
from bulkhead.settings import Settings

FOLDER = Path(bulkhead.__file__).parent / "console"
PAGE = "index.html"
CONTENT_TYPES: Mapping[str, str] = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml",
}
# Lit makes its templates through a policy of this name; no other code of the page may make HTML of a text.
_POLICY = "lit-html"


def page(request: Request) -> Response:
    """`GET /console`. A slash at its end would have the page look for its files one level too deep."""
    if request.path.endswith("/"):
        return Response(308, headers={"location": "../console"})
    client = escape(request.session.settings.console_client, quote=True)
    return _sent(request, PAGE, _files()[PAGE].replace(b"{{client}}", client.encode()))


def file(request: Request) -> Response:
    """`GET /console/{file}`. NotFound for a name that the page does not use."""
    name = request.parameters["file"]
    if name == PAGE or name not in _files():
        raise NotFound("the console has no such file", "path")
    return _sent(request, name, _files()[name])


def _sent(request: Request, name: str, body: bytes) -> Response:
    answered = cached.document(request, body, CONTENT_TYPES[Path(name).suffix])
    answered.headers |= headers(request.session.settings)
    return answered


def headers(known: Settings) -> dict[str, str]:
    """The headers of the page and its files: code, styles and requests of this server alone, and tokens from the issuer that signs users in."""
    policy = {
        "default-src": "'none'",
        "script-src": "'self'",
        "style-src": "'self'",
        # Pico CSS holds its icons as data: URLs.
        "img-src": "'self' data:",
        "connect-src": " ".join(["'self'", *_token_origin(known)]),
        "base-uri": "'none'",
        "form-action": "'none'",
        "frame-ancestors": "'none'",
        "require-trusted-types-for": "'script'",
        "trusted-types": _POLICY,
    }
    return {
        "content-security-policy": "; ".join(f"{name} {value}" for name, value in policy.items()),
        "cross-origin-opener-policy": "same-origin",
        "referrer-policy": "no-referrer",
        "x-content-type-options": "nosniff",
    }


def _token_origin(known: Settings) -> list[str]:
    """The origin of the token endpoint, where users sign in by code."""
    if not (known.authorization_endpoint and known.token_endpoint):
        return []
    parts = urlsplit(known.token_endpoint)
    # A character that ends a directive or a policy must not come from a setting.
    return [f"{parts.scheme}://{parts.netloc}"] if not set(parts.netloc) & set(";, '\"") else []


@cache
def _files() -> Mapping[str, bytes]:
    """File name -> content."""
    return {path.name: path.read_bytes() for path in sorted(FOLDER.iterdir()) if path.suffix in CONTENT_TYPES}

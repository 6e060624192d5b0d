"""WSGI environments for tests, as the listener makes them."""

from __future__ import annotations

import io
from typing import Any


def environ(method: str, uri: str, body: bytes = b"", **headers: str) -> dict[str, Any]:
    """`headers` by their WSGI names, such as `CONTENT_TYPE` or `HTTP_ACCEPT`."""
    made: dict[str, Any] = {
        "REQUEST_METHOD": method,
        "REQUEST_URI": uri,
        "SERVER_PROTOCOL": "HTTP/1.1",
        "SERVER_PORT": "8000",
        "REMOTE_ADDR": "127.0.0.1",
        "HTTP_HOST": "localhost:8000",
        "wsgi.url_scheme": "http",
        "wsgi.input": io.BytesIO(body),
    }
    if body:
        made["CONTENT_LENGTH"] = str(len(body))
    return {**made, **headers}

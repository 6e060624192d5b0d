"""Cross-origin requests: browsers may call the API from every origin, because a bearer token goes with no request by itself.

API Gateway and the local gateway add these headers to each answer, whichever function gives it. A preflight reaches `$default`,
which has no authorizer, and is answered there (bulkhead/api/router.py).
"""

from __future__ import annotations

ORIGINS = ("*",)
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
REQUEST_HEADERS = (
    "Accept",
    "Authorization",
    "Content-Encoding",
    "Content-Type",
    "Idempotency-Key",
    "If-Match",
    "If-Modified-Since",
    "If-None-Exist",
    "If-None-Match",
    "Origin",
    "Prefer",
    "X-Correlation-Id",
    "X-Medplum",
    "X-Request-Id",
    "X-Requested-With",
    "X-Security-Context",
)
ANSWER_HEADERS = (
    "Content-Disposition",
    "Content-Location",
    "ETag",
    "Last-Modified",
    "Location",
    "Retry-After",
    "X-Progress",
    "X-Security-Context",
)
MAX_AGE = 86_400
"""Seconds for which a browser need not ask again."""

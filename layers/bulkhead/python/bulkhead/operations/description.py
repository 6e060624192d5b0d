"""`/openapi.json` and `/docs`: the route table as OpenAPI 3.1, and a page to try it."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path

from bulkhead.api import cached, openapi
from bulkhead.api.request import Request
from bulkhead.api.response import Response
from bulkhead.api.routes import BASE, ROUTES
from bulkhead.fhir import json

_PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>Bulkhead</title>
<style>%(style)s</style>
</head>
<body>
<div id="page"></div>
<script>%(script)s</script>
<script>SwaggerUIBundle({url: "/openapi.json", dom_id: "#page", deepLinking: true});</script>
</body>
</html>
"""


def openapi_document(request: Request) -> Response:
    """`GET /openapi.json`."""
    host = request.base.removesuffix(BASE)
    found = openapi.document(ROUTES, host, request.session.settings.issuer)
    return cached.document(request, json.dumps(found), "application/json")


def docs(request: Request) -> Response:
    """`GET /docs`: Swagger UI in one page, which loads only /openapi.json.

    It forgets the token when it is left: kept, it would lie in the browser's localStorage for whoever uses that browser next.
    """
    answered = cached.document(request, page(), "text/html; charset=utf-8")
    answered.headers |= headers()
    return answered


@cache
def headers() -> Mapping[str, str]:
    """The headers of the page: its own two scripts alone, requests to this server alone, and no other page around it."""
    scripts = re.findall(rb"<script>(.*?)</script>", page(), re.DOTALL)
    hashes = [base64.b64encode(hashlib.sha256(script).digest()).decode() for script in scripts]
    policy = {
        "default-src": "'none'",
        "script-src": " ".join(f"'sha256-{digest}'" for digest in hashes),
        # Swagger UI sets styles on its elements.
        "style-src": "'unsafe-inline'",
        "img-src": "data:",
        "connect-src": "'self'",
        "base-uri": "'none'",
        "form-action": "'none'",
        "frame-ancestors": "'none'",
    }
    return {
        "content-security-policy": "; ".join(f"{name} {value}" for name, value in policy.items()),
        "cross-origin-opener-policy": "same-origin",
        "referrer-policy": "no-referrer",
        "x-content-type-options": "nosniff",
    }


@cache
def page() -> bytes:
    """The page, with the assets that Powertools contains."""
    import aws_lambda_powertools

    assets = Path(aws_lambda_powertools.__file__).parent / "event_handler" / "openapi" / "swagger_ui"
    script = (assets / "swagger-ui-bundle.min.js").read_text()
    style = (assets / "swagger-ui.min.css").read_text()
    return (_PAGE % {"style": style, "script": script.replace("</script", "<\\/script")}).encode()

"""`/openapi.json` and `/docs`: the route table as OpenAPI 3.1, and a page to try it."""

from __future__ import annotations

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
<script>SwaggerUIBundle({url: "/openapi.json", dom_id: "#page", deepLinking: true, persistAuthorization: true});</script>
</body>
</html>
"""


def openapi_document(request: Request) -> Response:
    """`GET /openapi.json`."""
    host = request.base.removesuffix(BASE)
    found = openapi.document(ROUTES, host, request.session.settings.issuer)
    return cached.document(request, json.dumps(found), "application/json")


def docs(request: Request) -> Response:
    """`GET /docs`: Swagger UI in one page, which loads only /openapi.json."""
    return cached.document(request, page(), "text/html; charset=utf-8")


@cache
def page() -> bytes:
    """The page, with the assets that Powertools contains."""
    import aws_lambda_powertools

    assets = Path(aws_lambda_powertools.__file__).parent / "event_handler" / "openapi" / "swagger_ui"
    script = (assets / "swagger-ui-bundle.min.js").read_text()
    style = (assets / "swagger-ui.min.css").read_text()
    return (_PAGE % {"style": style, "script": script.replace("</script", "<\\/script")}).encode()

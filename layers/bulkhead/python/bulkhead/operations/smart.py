"""`.well-known/smart-configuration` (SMART App Launch 2.0, conformance): the issuer of accepted tokens, and the supported scopes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bulkhead.api import cached
from bulkhead.api.request import Request
from bulkhead.api.response import Response
from bulkhead.fhir import json
from bulkhead.settings import Settings

# The scopes that bulkhead.access.policy supports.
SCOPES = (
    *(f"{context}/*.{rights}" for context in ("patient", "user", "system") for rights in ("cruds", "rs")),
    "accounts.write",
    "purge",
)
CAPABILITIES = ("permission-patient", "permission-user", "permission-v1", "permission-v2")


def configuration(request: Request) -> Response:
    """`GET [base]/.well-known/smart-configuration`, and the same below the host."""
    found = document(request.session.settings)
    return cached.document(request, json.dumps(found), "application/json")


def document(known: Settings) -> dict[str, Any]:
    """The configuration. For a server without authentication, its lists are empty."""
    if known.auth == "off":
        return {"grant_types_supported": [], "scopes_supported": [], "capabilities": []}
    endpoints = {
        "issuer": known.issuer,
        "jwks_uri": known.jwks_uri,
        "authorization_endpoint": known.authorization_endpoint,
        "token_endpoint": known.token_endpoint,
    }
    found: dict[str, Any] = {name: url for name, url in endpoints.items() if url}
    grants = ["authorization_code"] if known.authorization_endpoint else []
    if known.token_endpoint:
        grants.append("client_credentials")
    return found | {
        "grant_types_supported": grants,
        "response_types_supported": ["code"] if known.authorization_endpoint else [],
        "code_challenge_methods_supported": ["S256"],
        "scopes_supported": list(SCOPES),
        "capabilities": list(CAPABILITIES),
    }


def authorization(known: Settings) -> Mapping[str, str] | None:
    """The endpoints for the CapabilityStatement, by the names of its extension; None where no token is needed."""
    if known.auth == "off":
        return None
    return {"authorize": known.authorization_endpoint, "token": known.token_endpoint}

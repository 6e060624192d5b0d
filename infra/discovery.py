"""An OIDC issuer's discovery document (OpenID Connect Discovery 1.0, section 4): where its keys and endpoints are."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Mapping
from http.client import HTTPException
from typing import Any

PATH = "/.well-known/openid-configuration"
TIMEOUT = 10.0
LARGEST = 1_000_000
# By member of the document, the setting of `bulkhead.settings` that it fills.
SETTINGS = {
    "jwks_uri": "JWKS_URI",
    "authorization_endpoint": "AUTHORIZATION_ENDPOINT",
    "token_endpoint": "TOKEN_ENDPOINT",
}
SIGNED_BY = "id_token_signing_alg_values_supported"


def endpoints(issuer: str) -> dict[str, str]:
    """The settings that the discovery document of `issuer` fills. ValueError where it has none, or one that API Gateway would not take."""
    url = issuer.rstrip("/") + PATH
    try:
        document = json.loads(_fetch(url))
    except (OSError, HTTPException, ValueError) as error:
        raise ValueError(
            f"issuer {issuer!r}: {url} cannot be read ({type(error).__name__}); "
            "where it is not for this machine, give JWKS_URI and TOKEN_ENDPOINT"
        ) from None
    if not isinstance(document, dict) or document.get("issuer") != issuer:
        said = document.get("issuer") if isinstance(document, dict) else None
        raise ValueError(f"issuer {issuer!r}: {url} says that the issuer is {said!r}, and tokens will say so too")
    _require_rsa(document, issuer)
    found = {setting: document[name] for name, setting in SETTINGS.items() if isinstance(document.get(name), str)}
    if "JWKS_URI" not in found:
        raise ValueError(f"issuer {issuer!r}: {url} has no jwks_uri")
    return found


def _require_rsa(document: Mapping[str, Any], issuer: str) -> None:
    """API Gateway's JWT authorizer checks RSA signatures only: it refuses each token of ES256."""
    algorithms = document.get(SIGNED_BY)
    if isinstance(algorithms, list) and not any(str(each).startswith("RS") for each in algorithms):
        raise ValueError(
            f"issuer {issuer!r}: it signs by {', '.join(map(str, algorithms))}, "
            "and API Gateway takes RS256, RS384 and RS512 only: have it sign by one of these"
        )


def _fetch(url: str) -> bytes:
    request = urllib.request.Request(url, headers={"Accept": "application/json"})
    with urllib.request.urlopen(request, timeout=TIMEOUT) as response:
        body: bytes = response.read(LARGEST + 1)
    if len(body) > LARGEST:
        raise ValueError("too large for a discovery document")
    return body

"""Checks bearer tokens as API Gateway's JWT authorizer does, against the keys of their issuer, local or remote."""

from __future__ import annotations

import json
import logging
import threading
import time
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from http.client import HTTPException
from typing import Any, NamedTuple, Protocol
from urllib.parse import urlsplit

# API Gateway's JWT authorizer accepts only RSA signatures.
ALGORITHMS = ("RS256", "RS384", "RS512")
# A token without these claims would be valid from any issuer, or for ever.
REQUIRED = ("iss", "exp")
log = logging.getLogger("bulkhead.local")


class Refused(Exception):
    """No token, or one that is not accepted."""


class KeysUnavailable(Exception):
    """The issuer's keys are not available at the moment, and none are cached."""


class Keys(Protocol):
    """The public keys of an issuer, by their `kid`."""

    def get(self, key_id: str) -> Any | None:
        """The key; None if the issuer has none of this name. KeysUnavailable."""


class _Accepted(NamedTuple):
    """A token that was accepted: it is again, as long as its key is the issuer's and it has not expired."""

    key_id: str
    key: Any
    expires: int
    claims: Mapping[str, str]


class Verifier:
    """Accepts tokens of one issuer, for one of several audiences."""

    KEPT = 1000
    """The limit on tokens whose claims are remembered: checking a signature takes longer than the rest of a read's way to its function."""

    def __init__(self, issuer: str, audiences: Sequence[str], keys: Keys) -> None:
        self.issuer = issuer
        self._audiences = frozenset(audiences)
        self._keys = keys
        self._accepted: dict[str, _Accepted] = {}

    def claims(self, authorization: str) -> dict[str, str]:
        """The claims of a valid `Authorization: Bearer ...` header, as API Gateway renders them. Refused, KeysUnavailable.

        The header must name the key of the signature; `iss` and `exp` must be present; `aud` (or `client_id` where there is no `aud`) must
        be one of the audiences; and now must be between `nbf`, `iat` and `exp`.
        """
        import jwt

        scheme, _, token = authorization.partition(" ")
        if scheme.lower() != "bearer" or not token.strip():
            raise Refused("the request needs a bearer token")
        if "," in token:
            # A repeated header is joined by commas, and no token contains one.
            raise Refused("the request must have one Authorization header with one token")
        token = token.strip()
        accepted = self._accepted.get(token)
        if accepted is None or not self._still_holds(accepted):
            try:
                accepted = self._verified(token)
            except (jwt.PyJWTError, ValueError, TypeError, RecursionError) as error:
                raise Refused(_reason(error, self.issuer)) from error
            if len(self._accepted) >= self.KEPT:
                self._accepted.clear()
            self._accepted[token] = accepted
        return dict(accepted.claims)

    def _still_holds(self, accepted: _Accepted) -> bool:
        """Whether time and the issuer's keys still allow what they allowed once."""
        return accepted.expires > time.time() and bool(self._keys.get(accepted.key_id) == accepted.key)

    def _verified(self, token: str) -> _Accepted:
        import jwt

        header = jwt.get_unverified_header(token)
        key = self._keys.get(header["kid"]) if isinstance(header.get("kid"), str) else None
        if key is None:
            raise UnknownKey
        options: Any = {"require": list(REQUIRED), "verify_aud": False, "enforce_minimum_key_length": True}
        claims = jwt.decode(token, key, algorithms=list(ALGORITHMS), issuer=self.issuer, options=options)
        # API Gateway accepts `client_id` where there is no `aud`: Cognito's access tokens have none.
        audience = claims.get("aud", claims.get("client_id"))
        if self._audiences.isdisjoint(audience if isinstance(audience, list) else [audience]):
            raise jwt.InvalidAudienceError("for another audience")
        shown = {name: rendered(value) for name, value in claims.items()}
        return _Accepted(header["kid"], key, int(claims["exp"]), shown)


def _reason(error: Exception, issuer: str) -> str:
    """Says which of issuer, audience, expiry and key is at fault, without the content of the token."""
    import jwt

    for kind, reason in (
        (jwt.ExpiredSignatureError, "the token has expired (exp)"),
        (jwt.InvalidIssuerError, f"the token comes from another issuer (iss): this server takes those of {issuer}"),
        (jwt.InvalidAudienceError, "the token is for another audience (aud)"),
        (jwt.ImmatureSignatureError, "the token is not valid yet (nbf, iat)"),
        (jwt.MissingRequiredClaimError, "the token lacks a claim: it needs iss and exp"),
        (jwt.InvalidSignatureError, "the token is not signed by the issuer's key"),
        (jwt.InvalidAlgorithmError, "the signature algorithm of the token is not accepted"),
        (UnknownKey, "the token does not name a key of the issuer (kid)"),
    ):
        if isinstance(error, kind):
            return reason
    return "the token is not valid"


class UnknownKey(ValueError):
    """The issuer has no key of this name."""


class RemoteKeys:
    """The keys that an issuer publishes, fetched on demand and cached.

    An unknown `kid` causes another fetch, since issuers change their keys, but at most one every `PAUSE` seconds,
    whatever tokens arrive. After `MAXIMUM_AGE` the keys are fetched anew; while that fails, the old ones stay valid.
    """

    PAUSE = 30.0
    MAXIMUM_AGE = 3600.0
    TIMEOUT = 5.0
    LARGEST = 1_000_000

    def __init__(self, url: str, clock: Callable[[], float] = time.monotonic) -> None:
        """ValueError if the url is not http or https."""
        if urlsplit(url).scheme not in ("http", "https"):
            raise ValueError("the URL of an issuer's keys must begin with http:// or https://")
        self._url = url
        self._clock = clock
        self._lock = threading.Lock()
        self._keys: Mapping[str, Any] | None = None
        self._tried = self._fetched = -float("inf")

    def get(self, key_id: str) -> Any | None:
        with self._lock:
            now = self._clock()
            known = self._keys is not None and key_id in self._keys
            due = not known or now - self._fetched >= self.MAXIMUM_AGE
            if due and now - self._tried >= self.PAUSE:
                self._refresh(now)
            if self._keys is None:
                raise KeysUnavailable
            return self._keys.get(key_id)

    def _refresh(self, now: float) -> None:
        self._tried = now
        try:
            self._keys = public_keys(self._fetch())
            self._fetched = now
        except (OSError, HTTPException, ValueError, RecursionError) as error:
            # Without the error's text, which may hold a URL with a secret.
            log.warning("the issuer's keys cannot be fetched", extra={"error": type(error).__name__})

    def _fetch(self) -> Any:
        request = urllib.request.Request(self._url, headers={"Accept": "application/json"})
        with urllib.request.urlopen(request, timeout=self.TIMEOUT) as response:
            body = response.read(self.LARGEST + 1)
        if len(body) > self.LARGEST:
            raise ValueError("too large for a set of keys")
        return json.loads(body)


def public_keys(document: Any) -> dict[str, Any]:
    """The RSA signature keys of a JSON Web Key Set, by `kid`; other keys are ignored. ValueError for any other document."""
    import jwt

    listed = document.get("keys") if isinstance(document, dict) else None
    if not isinstance(listed, list):
        raise ValueError("not a JSON Web Key Set")
    found = {}
    for each in listed:
        usable = isinstance(each, dict) and each.get("kty") == "RSA" and each.get("use", "sig") == "sig"
        if usable and isinstance(each.get("kid"), str) and each.get("alg", ALGORITHMS[0]) in ALGORITHMS:
            try:
                found[each["kid"]] = jwt.PyJWK(each, each.get("alg", ALGORITHMS[0])).key
            except jwt.PyJWTError:
                continue
    return found


def rendered(value: Any) -> str:
    """A claim as text, as API Gateway renders it: lists `[a b]`, objects `map[k:v]`, true and false in lower case."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        return f"[{' '.join(rendered(each) for each in value)}]"
    if isinstance(value, Mapping):
        return f"map[{' '.join(f'{key}:{rendered(each)}' for key, each in sorted(value.items()))}]"
    return str(value)

"""An OIDC issuer for this machine, and the JWT authorizer of API Gateway that accepts its tokens."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

AUDIENCE = "bulkhead"
# API Gateway's JWT authorizer takes RSA signatures only.
ALGORITHM = "RS256"
HOUR = 3600
FULL_RIGHTS = "system/*.cruds accounts.write"
WELL_KNOWN = "/.well-known/openid-configuration"
KEYS = "/.well-known/jwks.json"


class Refused(Exception):
    """No token, or one that is not accepted."""


class Identity:
    """Issues and checks tokens with the RSA key in `key_file`, which is made when it is absent."""

    def __init__(self, issuer: str, key_file: Path) -> None:
        self.issuer = issuer
        self._key_file = key_file

    def token(
        self, subject: str, scope: str, accounts: Sequence[str] = (), patient: str | None = None, hours: int = 24
    ) -> str:
        """A signed token. With `accounts` ("Organization/a") the caller is fenced to them, with `patient` to that patient."""
        import jwt

        now = int(time.time())
        claims: dict[str, Any] = {"iss": self.issuer, "aud": AUDIENCE, "sub": subject, "scope": scope}
        claims |= {"iat": now, "nbf": now, "exp": now + hours * HOUR}
        if accounts:
            claims["accounts"] = list(accounts)
        if patient:
            claims["patient"] = patient
        return jwt.encode(claims, self._key, ALGORITHM, headers={"kid": self._key_id})

    def claims(self, authorization: str) -> dict[str, str]:
        """The claims of a valid `Authorization: Bearer ...` header, as API Gateway renders them; Refused otherwise."""
        import jwt

        scheme, _, token = authorization.partition(" ")
        if scheme.lower() != "bearer" or not token:
            raise Refused("a bearer token is needed")
        try:
            claims = jwt.decode(
                token.strip(),
                self._key.public_key(),
                algorithms=[ALGORITHM],
                audience=AUDIENCE,
                issuer=self.issuer,
                options={"require": ["exp", "iss", "aud"]},
            )
        except jwt.InvalidTokenError as error:
            raise Refused("the token is not valid") from error
        return {name: rendered(value) for name, value in claims.items()}

    def document(self, path: str) -> bytes | None:
        """What an OIDC issuer publishes below /.well-known/; None for any other path."""
        if path == WELL_KNOWN:
            return json.dumps({"issuer": self.issuer, "jwks_uri": f"{self.issuer}{KEYS}"}).encode()
        return json.dumps({"keys": [self._public]}).encode() if path == KEYS else None

    @cached_property
    def _key(self) -> Any:
        from cryptography.hazmat.primitives.serialization import load_pem_private_key

        if not self._key_file.exists():
            _make_key(self._key_file)
        return load_pem_private_key(self._key_file.read_bytes(), password=None)

    @cached_property
    def _public(self) -> dict[str, Any]:
        from jwt.algorithms import RSAAlgorithm

        return {
            **RSAAlgorithm.to_jwk(self._key.public_key(), as_dict=True),
            "alg": ALGORITHM,
            "use": "sig",
            "kid": self._key_id,
        }

    @cached_property
    def _key_id(self) -> str:
        import hashlib

        from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

        public = self._key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        return hashlib.sha256(public).hexdigest()[:16]


def _make_key(path: Path) -> None:
    """Writes a new key that only its owner may read; whole or not at all, so that two makers at once agree on one."""
    from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    key = generate_private_key(public_exponent=65537, key_size=2048)
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f"{path.name}.{os.getpid()}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    try:
        os.link(draft, path)
    except FileExistsError:
        pass
    finally:
        draft.unlink()


def rendered(value: Any) -> str:
    """A claim as API Gateway hands it on, as text: lists `[a b]`, objects `map[k:v]`, true and false in lower case."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        return f"[{' '.join(rendered(each) for each in value)}]"
    if isinstance(value, Mapping):
        return f"map[{' '.join(f'{key}:{rendered(each)}' for key, each in sorted(value.items()))}]"
    return str(value)

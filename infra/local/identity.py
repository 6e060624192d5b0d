"""An OIDC issuer for this machine: it signs tokens with a key of its own, and publishes the public key."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from bulkhead.settings import Settings

AUDIENCE = Settings().audience
ALGORITHM = "RS256"
HOUR = 3600
ALL_BUT_PURGE = "system/*.cruds accounts.write"
WELL_KNOWN = "/.well-known/openid-configuration"
KEYS = "/.well-known/jwks.json"


class Identity:
    """Issues tokens, signed with the RSA key in `key_file`, which is made when it is absent."""

    def __init__(self, issuer: str, key_file: Path, audience: str = AUDIENCE) -> None:
        self.issuer = issuer
        self.audience = audience
        self._key_file = key_file

    def token(
        self,
        subject: str,
        scope: str,
        accounts: Sequence[str] | None = None,
        *,
        patient: str | None = None,
        hours: int = 24,
    ) -> str:
        """A signed token. With `accounts` ("Organization/a") the caller is fenced to them, with `patient` to that patient."""
        import jwt

        now = int(time.time())
        claims: dict[str, Any] = {"iss": self.issuer, "aud": self.audience, "sub": subject, "scope": scope}
        claims |= {"iat": now, "nbf": now, "exp": now + hours * HOUR}
        if accounts is not None:
            claims["accounts"] = list(accounts)
        if patient is not None:
            claims["patient"] = patient
        return jwt.encode(claims, self._key, ALGORITHM, headers={"kid": self._key_id})

    def get(self, key_id: str) -> Any | None:
        """The public key of this name, if it is ours (see `tokens.Keys`)."""
        return self._public_key if key_id == self._key_id else None

    def document(self, path: str) -> bytes | None:
        """The document that an OIDC issuer publishes below /.well-known/; None for any other path."""
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
    def _public_key(self) -> Any:
        return self._key.public_key()

    @cached_property
    def _public(self) -> dict[str, Any]:
        from jwt.algorithms import RSAAlgorithm

        return {
            **RSAAlgorithm.to_jwk(self._public_key, as_dict=True),
            "alg": ALGORITHM,
            "use": "sig",
            "kid": self._key_id,
        }

    @cached_property
    def _key_id(self) -> str:
        import hashlib

        from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

        public = self._public_key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        return hashlib.sha256(public).hexdigest()[:16]


def _make_key(path: Path) -> None:
    """Writes a new key that only its owner can read, atomically, so that two simultaneous processes agree on one."""
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

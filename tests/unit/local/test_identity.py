from __future__ import annotations

import json
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import jwt
import pytest

from infra.local.identity import AUDIENCE, KEYS, WELL_KNOWN, Identity
from infra.local.tokens import Verifier

ISSUER = "http://127.0.0.1:8000"


@pytest.fixture(scope="module")
def key_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("identity") / "identity.pem"


@pytest.fixture
def identity(key_file: Path) -> Identity:
    return Identity(ISSUER, key_file)


def read(identity: Identity, token: str) -> dict[str, str]:
    return Verifier(ISSUER, [AUDIENCE], identity).claims(f"Bearer {token}")


def test_the_key_outlives_the_process_and_is_private(identity: Identity, key_file: Path) -> None:
    token = identity.token("me", "x")

    assert read(Identity(ISSUER, key_file), token)["sub"] == "me"
    assert stat.S_IMODE(key_file.stat().st_mode) == 0o600


def test_two_that_make_the_key_at_once_agree(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "identity.pem"
    with ThreadPoolExecutor(2) as pool:
        tokens = list(pool.map(lambda _: Identity(ISSUER, path).token("me", "x"), range(2)))

    for token in tokens:
        assert read(Identity(ISSUER, path), token)


def test_others_can_check_a_token_by_the_published_keys(identity: Identity) -> None:
    document = json.loads(identity.document(WELL_KNOWN) or b"")
    (key,) = jwt.PyJWKSet.from_json((identity.document(KEYS) or b"").decode()).keys

    assert document == {"issuer": ISSUER, "jwks_uri": f"{ISSUER}{KEYS}"}
    assert jwt.get_unverified_header(identity.token("me", "x"))["kid"] == key.key_id
    assert jwt.decode(identity.token("me", "x"), key.key, ["RS256"], audience=AUDIENCE)["sub"] == "me"
    assert identity.document("/other") is None

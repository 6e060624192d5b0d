from __future__ import annotations

import json
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import jwt
import pytest

from infra.local.identity import AUDIENCE, KEYS, WELL_KNOWN, Identity, Refused, rendered

ISSUER = "http://127.0.0.1:8000"


@pytest.fixture(scope="module")
def key_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("identity") / "identity.pem"


@pytest.fixture
def identity(key_file: Path) -> Identity:
    return Identity(ISSUER, key_file)


def test_a_token_gives_its_claims_as_api_gateway_renders_them(identity: Identity) -> None:
    token = identity.token("me", "system/*.cruds accounts.write", ["Organization/a", "Organization/b"], patient="1")

    claims = identity.claims(f"Bearer {token}")

    assert claims["sub"] == "me"
    assert claims["scope"] == "system/*.cruds accounts.write"
    assert claims["accounts"] == "[Organization/a Organization/b]"
    assert claims["patient"] == "1"
    assert claims["exp"].isdigit()


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("a", "a"),
        (1, "1"),
        (True, "true"),
        (["a", "b c"], "[a b c]"),
        ([], "[]"),
        ({"b": [1], "a": "x"}, "map[a:x b:[1]]"),
    ],
)
def test_rendering(value: Any, text: str) -> None:
    assert rendered(value) == text


@pytest.mark.parametrize("header", ["", "Bearer", "Bearer ", "Basic abc", "Bearer not-a-token"])
def test_no_token_or_no_such_token(identity: Identity, header: str) -> None:
    with pytest.raises(Refused):
        identity.claims(header)


def test_a_token_of_another_issuer_audience_key_or_time_is_refused(identity: Identity, tmp_path: Path) -> None:
    stranger = Identity(ISSUER, tmp_path / "other.pem")
    elsewhere = Identity("http://127.0.0.1:9999", identity._key_file)
    expired = identity.token("me", "x", hours=-1)
    claims = jwt.decode(identity.token("me", "x"), options={"verify_signature": False})
    other_audience = jwt.encode({**claims, "aud": "other"}, identity._key, "RS256")
    for_ever = jwt.encode({name: value for name, value in claims.items() if name != "exp"}, identity._key, "RS256")
    unsigned = jwt.encode(claims, None, "none")

    for token in (stranger.token("me", "x"), elsewhere.token("me", "x"), expired, other_audience, for_ever, unsigned):
        with pytest.raises(Refused):
            identity.claims(f"Bearer {token}")
    assert jwt.decode(identity.token("me", "x"), options={"verify_signature": False})["aud"] == AUDIENCE


def test_the_key_outlives_the_process_and_is_private(identity: Identity, key_file: Path) -> None:
    token = identity.token("me", "x")

    assert Identity(ISSUER, key_file).claims(f"Bearer {token}")["sub"] == "me"
    assert stat.S_IMODE(key_file.stat().st_mode) == 0o600


def test_two_that_make_the_key_at_once_agree(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "identity.pem"
    with ThreadPoolExecutor(2) as pool:
        tokens = list(pool.map(lambda _: Identity(ISSUER, path).token("me", "x"), range(2)))

    for token in tokens:
        assert Identity(ISSUER, path).claims(f"Bearer {token}")


def test_others_can_check_a_token_by_the_published_keys(identity: Identity) -> None:
    document = json.loads(identity.document(WELL_KNOWN) or b"")
    (key,) = jwt.PyJWKSet.from_json((identity.document(KEYS) or b"").decode()).keys

    assert document == {"issuer": ISSUER, "jwks_uri": f"{ISSUER}{KEYS}"}
    assert jwt.get_unverified_header(identity.token("me", "x"))["kid"] == key.key_id
    assert jwt.decode(identity.token("me", "x"), key.key, ["RS256"], audience=AUDIENCE)["sub"] == "me"
    assert identity.document("/other") is None

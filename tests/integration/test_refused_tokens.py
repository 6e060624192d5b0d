"""A token that is refused: which of issuer, audience, expiry and key is at fault is in the answer of the local server, and in its log."""

from __future__ import annotations

import logging
import time
from pathlib import Path
from typing import Any

import jwt
import pytest

from bulkhead.store import Store
from infra.local.identity import AUDIENCE, Identity
from tests.support.door import HOST, Door

REASONS: dict[str, tuple[dict[str, Any], str]] = {
    "issuer": ({"iss": "http://elsewhere.example"}, f"another issuer (iss): this server takes those of {HOST}"),
    "audience": ({"aud": "elsewhere"}, "another audience (aud)"),
    "expiry": ({"exp": 1}, "expired (exp)"),
    "not yet": ({"nbf": 9_999_999_999}, "not valid yet (nbf, iat)"),
}


@pytest.fixture
def door(store: Store, keys_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Door:
    return Door(store, keys_folder, monkeypatch)


def token(identity: Identity, key_id: str | None = None, **changes: Any) -> str:
    claims = {
        "iss": HOST,
        "aud": AUDIENCE,
        "sub": "secret-subject",
        "scope": "system/*.rs",
        "exp": int(time.time()) + 600,
    }
    headers = {"kid": key_id or identity._key_id}
    return jwt.encode(claims | changes, identity._key, "RS256", headers=headers)


def refusal(door: Door, sent: str, caplog: pytest.LogCaptureFixture) -> str:
    """What the answer says; the log says the same, and neither repeats anything of the token."""
    with caplog.at_level(logging.INFO, "bulkhead.local"), door.with_token(sent) as client:
        answer = client.get("Patient/p")
    assert (answer.status_code, answer.headers["www-authenticate"].partition(" ")[0]) == (401, "Bearer")
    (issue,) = answer.json()["issue"]
    assert (issue["code"], issue["expression"]) == ("login", ["Authorization"])
    (record,) = (record for record in caplog.records if record.getMessage() == "token refused")
    reason: str = vars(record)["reason"]
    assert reason in issue["diagnostics"]
    assert "secret-subject" not in answer.text + reason
    assert sent not in answer.text + reason
    return reason


@pytest.mark.parametrize("fault", REASONS)
def test_the_claim_at_fault_is_named(door: Door, caplog: pytest.LogCaptureFixture, fault: str) -> None:
    changes, reason = REASONS[fault]
    assert refusal(door, token(door.identity, **changes), caplog).endswith(reason)


def test_a_key_that_the_issuer_does_not_have_is_named(door: Door, caplog: pytest.LogCaptureFixture) -> None:
    assert refusal(door, token(door.identity, key_id="unknown"), caplog).endswith("(kid)")


def test_a_signature_of_another_key_is_named(door: Door, caplog: pytest.LogCaptureFixture, tmp_path: Path) -> None:
    forged = token(Identity(HOST, tmp_path / "other.pem"), key_id=door.identity._key_id)
    assert refusal(door, forged, caplog).endswith("signed by the issuer's key")


def test_a_good_token_is_not_refused(door: Door) -> None:
    with door.with_token(token(door.identity)) as client:
        assert client.get("Patient/p").status_code == 404

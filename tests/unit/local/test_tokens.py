"""Tokens at the door: which are taken, and whose keys they are checked against."""

from __future__ import annotations

import base64
import json
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st
from jwt.algorithms import ECAlgorithm, RSAAlgorithm

from infra.local import tokens
from infra.local.identity import AUDIENCE, KEYS, Identity
from infra.local.tokens import KeysUnavailable, Refused, RemoteKeys, Verifier, rendered

ISSUER = "http://127.0.0.1:8000"
Change = Callable[[dict[str, Any]], object]


@pytest.fixture(scope="module")
def identity(tmp_path_factory: pytest.TempPathFactory) -> Identity:
    return Identity(ISSUER, tmp_path_factory.mktemp("identity") / "identity.pem")


@pytest.fixture(scope="module")
def verifier(identity: Identity) -> Verifier:
    return Verifier(ISSUER, [AUDIENCE, "other-client"], identity)


def payload(**changes: Any) -> dict[str, Any]:
    """The claims of a good token, changed; None takes one away."""
    now = int(time.time())
    claims = {"iss": ISSUER, "aud": AUDIENCE, "sub": "me", "scope": "x", "iat": now, "nbf": now, "exp": now + 60}
    return {name: value for name, value in (claims | changes).items() if value is not None}


def signed(identity: Identity, claims: dict[str, Any], algorithm: str = "RS256", **header: Any) -> str:
    return jwt.encode(claims, identity._key, algorithm, headers={"kid": identity._key_id, **header})


def test_a_token_gives_its_claims_as_api_gateway_renders_them(identity: Identity, verifier: Verifier) -> None:
    token = identity.token("me", "system/*.cruds accounts.write", ["Organization/a", "Organization/b"], patient="1")

    claims = verifier.claims(f"Bearer {token}")

    assert claims["sub"] == "me"
    assert claims["scope"] == "system/*.cruds accounts.write"
    assert claims["accounts"] == "[Organization/a Organization/b]"
    assert claims["patient"] == "1"
    assert claims["exp"].isdigit()


def test_a_fence_around_nothing_is_a_fence(identity: Identity, verifier: Verifier) -> None:
    assert verifier.claims(f"Bearer {identity.token('me', 'x', [])}")["accounts"] == "[]"
    assert verifier.claims(f"Bearer {identity.token('me', 'x', patient='')}")["patient"] == ""
    assert "accounts" not in verifier.claims(f"Bearer {identity.token('me', 'x')}")


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


class TestAccepted:
    @pytest.mark.parametrize("algorithm", ["RS256", "RS384", "RS512"])
    def test_signatures_that_api_gateway_takes(self, identity: Identity, verifier: Verifier, algorithm: str) -> None:
        assert verifier.claims(f"Bearer {signed(identity, payload(), algorithm)}")["sub"] == "me"

    @pytest.mark.parametrize(
        "changes",
        [{"aud": [AUDIENCE, "x"]}, {"aud": "other-client"}, {"aud": None, "client_id": AUDIENCE}, {"nbf": None}, {"iat": None}],
    )  # fmt: skip
    def test_claims(self, identity: Identity, verifier: Verifier, changes: dict[str, Any]) -> None:
        assert verifier.claims(f"bearer  {signed(identity, payload(**changes))} ")["sub"] == "me"


class TestRefused:
    @pytest.mark.parametrize(
        "header",
        ["", "Bearer", "Bearer ", "Basic abc", "Bearer not-a-token", "Bearer a.b.c", "Bearer ..", "Bearer é", "Token x.y.z"],
    )  # fmt: skip
    def test_no_token_or_no_such_token(self, verifier: Verifier, header: str) -> None:
        with pytest.raises(Refused):
            verifier.claims(header)

    def test_one_that_is_nested_too_deeply(self, verifier: Verifier) -> None:
        deep = base64.urlsafe_b64encode(b'{"alg":"RS256","kid":' + b"[" * 100_000).decode().rstrip("=")
        with pytest.raises(Refused):
            verifier.claims(f"Bearer {deep}.{deep}.x")

    @given(st.text() | st.binary().map(lambda data: base64.urlsafe_b64encode(data).decode()))
    def test_nonsense(self, verifier: Verifier, text: str) -> None:
        for header in (text, f"Bearer {text}", f"Bearer {text}.{text}.{text}"):
            with pytest.raises(Refused):
                verifier.claims(header)

    @pytest.mark.parametrize(
        "changes",
        [
            {"iss": None},
            {"iss": "http://127.0.0.1:9999"},
            {"aud": None},
            {"aud": "other"},
            {"aud": []},
            {"aud": {}},
            {"aud": [[AUDIENCE]]},
            {"aud": "other", "client_id": AUDIENCE},
            {"aud": None, "client_id": "other"},
            {"exp": None},
            {"exp": 1},
            {"exp": "tomorrow"},
            {"nbf": 2**32},
            {"iat": 2**32},
        ],
    )
    def test_claims(self, identity: Identity, verifier: Verifier, changes: dict[str, Any]) -> None:
        with pytest.raises(Refused):
            verifier.claims(f"Bearer {signed(identity, payload(**changes))}")

    @pytest.mark.parametrize("kid", ["", "other", None, 1, ["x"]])
    def test_keys_of_another_name(self, identity: Identity, verifier: Verifier, kid: Any) -> None:
        head = base64.urlsafe_b64encode(json.dumps({"alg": "RS256", "typ": "JWT", "kid": kid}).encode()).decode()
        _, body, _ = signed(identity, payload()).split(".")
        signature = RSAAlgorithm(RSAAlgorithm.SHA256).sign(f"{head.rstrip('=')}.{body}".encode(), identity._key)
        forged = f"{head.rstrip('=')}.{body}.{base64.urlsafe_b64encode(signature).decode().rstrip('=')}"
        with pytest.raises(Refused):
            verifier.claims(f"Bearer {forged}")

    def test_no_name_of_a_key(self, identity: Identity, verifier: Verifier) -> None:
        with pytest.raises(Refused):
            verifier.claims(f"Bearer {jwt.encode(payload(), identity._key, 'RS256')}")

    def test_another_key_under_the_same_name(self, identity: Identity, verifier: Verifier, tmp_path: Path) -> None:
        stranger = Identity(ISSUER, tmp_path / "other.pem")
        with pytest.raises(Refused):
            verifier.claims(f"Bearer {signed(stranger, payload(), kid=identity._key_id)}")

    def test_no_signature(self, identity: Identity, verifier: Verifier) -> None:
        kid = {"kid": identity._key_id}
        head, body, _ = signed(identity, payload()).split(".")
        none = [jwt.encode(payload(), "", "none", headers=kid), f"{head}.{body}.", f"{head}.{body}"]
        for spelling in ("None", "NONE", "nOnE"):
            other = base64.urlsafe_b64encode(json.dumps({"alg": spelling, **kid}).encode()).decode().rstrip("=")
            none.append(f"{other}.{body}.")
        for token in none:
            with pytest.raises(Refused):
                verifier.claims(f"Bearer {token}")

    def test_the_public_key_as_a_secret(self, identity: Identity, verifier: Verifier) -> None:
        public = identity._key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        head = base64.urlsafe_b64encode(json.dumps({"alg": "HS256", "kid": identity._key_id}).encode()).decode()
        _, body, _ = signed(identity, payload()).split(".")
        import hashlib
        import hmac

        signature = hmac.new(public, f"{head.rstrip('=')}.{body}".encode(), hashlib.sha256).digest()
        forged = f"{head.rstrip('=')}.{body}.{base64.urlsafe_b64encode(signature).decode().rstrip('=')}"
        with pytest.raises(Refused):
            verifier.claims(f"Bearer {forged}")

    @pytest.mark.parametrize("algorithm", ["PS256", "RS256"])
    def test_other_signatures_by_the_key_and_headers_that_bring_one(
        self, identity: Identity, verifier: Verifier, algorithm: str
    ) -> None:
        stranger = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        header: dict[str, Any] = {"kid": identity._key_id}
        if algorithm == "RS256":
            header["jwk"] = RSAAlgorithm.to_jwk(stranger.public_key(), as_dict=True)
        token = jwt.encode(payload(), identity._key if algorithm == "PS256" else stranger, algorithm, headers=header)
        with pytest.raises(Refused):
            verifier.claims(f"Bearer {token}")

    def test_a_changed_claim(self, identity: Identity, verifier: Verifier) -> None:
        head, _, signature = signed(identity, payload()).split(".")
        _, body, _ = signed(identity, payload(sub="admin")).split(".")
        with pytest.raises(Refused):
            verifier.claims(f"Bearer {head}.{body}.{signature}")


class TestSecondUse:
    """Of a token that was accepted: its signature is not checked again, all that can have changed is."""

    @pytest.fixture
    def checked(self, monkeypatch: pytest.MonkeyPatch) -> list[str]:
        """The tokens whose signatures are checked."""
        found: list[str] = []
        decode = jwt.decode

        def counted(token: str, *arguments: Any, **options: Any) -> Any:
            found.append(token)
            return decode(token, *arguments, **options)

        monkeypatch.setattr(jwt, "decode", counted)
        return found

    def test_gives_the_same_claims(self, identity: Identity, checked: list[str]) -> None:
        verifier, token = Verifier(ISSUER, [AUDIENCE], identity), signed(identity, payload())
        first = verifier.claims(f"Bearer {token}")
        expected = dict(first)
        # Whoever got them may do with them what it wants.
        first["scope"] = "everything"
        assert verifier.claims(f"bearer  {token} ") == expected
        assert checked == [token]

    def test_after_its_end(self, identity: Identity, checked: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
        verifier, claims = Verifier(ISSUER, [AUDIENCE], identity), payload()
        token = signed(identity, claims)
        verifier.claims(f"Bearer {token}")
        monkeypatch.setattr("infra.local.tokens.time.time", lambda: float(claims["exp"]))
        verifier.claims(f"Bearer {token}")
        assert checked == [token, token]

    @pytest.mark.parametrize("is_replaced", [True, False])
    def test_after_the_issuer_has_changed_its_key(
        self, identity: Identity, tmp_path: Path, *, is_replaced: bool
    ) -> None:
        other = Identity(ISSUER, tmp_path / "other.pem")._key.public_key() if is_replaced else None
        published: dict[str, Any] = {identity._key_id: identity._key.public_key()}

        class Published:
            def get(self, key_id: str) -> Any | None:
                return published.get(key_id)

        verifier, token = Verifier(ISSUER, [AUDIENCE], Published()), signed(identity, payload())
        verifier.claims(f"Bearer {token}")
        # The same key, read anew.
        published[identity._key_id] = identity._key.public_key()
        verifier.claims(f"Bearer {token}")
        published[identity._key_id] = other
        with pytest.raises(Refused):
            verifier.claims(f"Bearer {token}")

    def test_no_more_are_remembered_than_the_limit(self, identity: Identity, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(Verifier, "KEPT", 2)
        verifier = Verifier(ISSUER, [AUDIENCE], identity)
        for number in range(5):
            token = signed(identity, payload(sub=str(number)))
            assert verifier.claims(f"Bearer {token}")["sub"] == str(number)
            assert len(verifier._accepted) <= 2


class Issuer:
    """An issuer elsewhere: what it publishes, and how often it was asked."""

    def __init__(self) -> None:
        self.answer: Callable[[], tuple[int, bytes]] = lambda: (200, b"{}")
        self.asked = 0
        issuer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                issuer.asked += 1
                status, body = issuer.answer()
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: Any) -> None:
                pass

        self._server = HTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}{KEYS}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def publish(self, *identities: Identity) -> None:
        keys = {"keys": [identity._public for identity in identities]}
        self.answer = lambda: (200, json.dumps(keys).encode())

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()


class TestKeysOfAnotherIssuer:
    @pytest.fixture
    def issuer(self) -> Iterator[Issuer]:
        made = Issuer()
        yield made
        made.stop()

    @pytest.fixture
    def clock(self) -> list[float]:
        return [1000.0]

    @pytest.fixture
    def keys(self, issuer: Issuer, clock: list[float]) -> RemoteKeys:
        return RemoteKeys(issuer.url, lambda: clock[0])

    @pytest.fixture
    def second(self, tmp_path: Path) -> Identity:
        return Identity(ISSUER, tmp_path / "second.pem")

    def test_are_fetched_once(self, issuer: Issuer, keys: RemoteKeys, identity: Identity) -> None:
        issuer.publish(identity)
        verifier = Verifier(ISSUER, [AUDIENCE], keys)
        for _ in range(3):
            assert verifier.claims(f"Bearer {identity.token('me', 'x')}")["sub"] == "me"
        assert issuer.asked == 1

    def test_again_for_an_unknown_one_but_not_all_the_time(
        self, issuer: Issuer, keys: RemoteKeys, clock: list[float], identity: Identity, second: Identity
    ) -> None:
        issuer.publish(identity)
        assert keys.get(identity._key_id)
        issuer.publish(identity, second)
        assert keys.get(second._key_id) is None
        clock[0] += RemoteKeys.PAUSE
        assert keys.get(second._key_id)
        for number in range(50):
            assert keys.get(f"made-up-{number}") is None
        assert issuer.asked == 2

    def test_after_an_hour_in_any_case(
        self, issuer: Issuer, keys: RemoteKeys, clock: list[float], identity: Identity, second: Identity
    ) -> None:
        issuer.publish(identity)
        assert keys.get(identity._key_id)
        issuer.publish(second)
        clock[0] += RemoteKeys.MAXIMUM_AGE
        assert keys.get(identity._key_id) is None
        assert keys.get(second._key_id)

    def test_old_ones_hold_while_it_is_away(
        self, issuer: Issuer, keys: RemoteKeys, clock: list[float], identity: Identity
    ) -> None:
        issuer.publish(identity)
        assert keys.get(identity._key_id)
        issuer.answer = lambda: (503, b"")
        for _ in range(3):
            clock[0] += RemoteKeys.MAXIMUM_AGE
            assert keys.get(identity._key_id)
        assert issuer.asked == 4

    @pytest.mark.parametrize(
        "answer", [(503, b""), (404, b"{}"), (200, b""), (200, b"[]"), (200, b'{"keys": {}}'), (200, b"\xff"), (200, b" " * 2_000_000)]
    )  # fmt: skip
    def test_without_any_it_cannot_be_known(
        self, issuer: Issuer, keys: RemoteKeys, clock: list[float], answer: tuple[int, bytes]
    ) -> None:
        issuer.answer = lambda: answer
        for _ in range(3):
            with pytest.raises(KeysUnavailable):
                keys.get("x")
        assert issuer.asked == 1
        clock[0] += RemoteKeys.PAUSE
        with pytest.raises(KeysUnavailable):
            keys.get("x")
        assert issuer.asked == 2

    def test_nobody_answers(self, identity: Identity) -> None:
        with pytest.raises(KeysUnavailable):
            RemoteKeys("http://127.0.0.1:9/keys").get("x")

    @pytest.mark.parametrize("url", ["", "file:///etc/passwd", "ftp://issuer.example/keys", "issuer.example"])
    def test_are_fetched_by_http_only(self, url: str) -> None:
        with pytest.raises(ValueError, match="http"):
            RemoteKeys(url)


def test_of_a_set_only_rsa_keys_for_signatures_count(identity: Identity) -> None:
    good = identity._public
    elliptic = ECAlgorithm.to_jwk(ec.generate_private_key(ec.SECP256R1()).public_key(), as_dict=True)
    octets = {"kty": "oct", "k": base64.urlsafe_b64encode(b"0" * 32).decode(), "kid": "o", "alg": "HS256"}
    others: list[Any] = [
        {**elliptic, "kid": "e"},
        octets,
        {**good, "use": "enc", "kid": "enc"},
        {**good, "alg": "HS256", "kid": "hs"},
        {**good, "n": "!", "kid": "broken"},
        {name: value for name, value in good.items() if name != "kid"},
        {**good, "kid": 7},
        "text",
        None,
    ]
    assert list(tokens.public_keys({"keys": [*others, good]})) == [good["kid"]]

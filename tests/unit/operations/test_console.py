"""The console as it is served: its files, its headers, and what its text may name."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest

from bulkhead import settings
from bulkhead.operations import console
from bulkhead.settings import Settings
from functions import http

OWN = sorted(path for path in console.FOLDER.iterdir() if path.name not in ("lit.js", "pico.css"))
MODULES = [path for path in OWN if path.suffix == ".js"]
NODE = shutil.which("node")


@pytest.fixture(autouse=True)
def _fresh_settings() -> Iterator[None]:
    settings.current.cache_clear()
    yield
    settings.current.cache_clear()


def get(path: str, **headers: str) -> tuple[int, dict[str, str], str]:
    event: dict[str, Any] = {
        "routeKey": "GET /console",
        "rawPath": path,
        "headers": {"host": "localhost", **{name.replace("_", "-"): text for name, text in headers.items()}},
        "requestContext": {"http": {"method": "GET"}},
    }
    answer = http.serve(event)
    return answer["statusCode"], answer["headers"], answer["body"]


def directives(headers: dict[str, str]) -> dict[str, str]:
    parts = headers["content-security-policy"].split("; ")
    return {name: rest for name, _, rest in (part.partition(" ") for part in parts)}


def test_the_page_needs_no_token_and_names_its_files_by_relative_urls() -> None:
    status, headers, body = get("/console")
    assert (status, headers["content-type"]) == (200, "text/html; charset=utf-8")
    named = re.findall(r'(?:href|src)="([^"]+)"', body)
    assert named
    for name in named:
        # Below the stage's path, too.
        assert name.startswith("console/")
        assert get(f"/{name}")[0] == 200
    assert "{{" not in body


@pytest.mark.parametrize("path", OWN, ids=lambda path: path.name)
def test_a_file_has_its_type_and_a_tag(path: Any) -> None:
    if path.name == console.PAGE:
        assert get(f"/console/{path.name}")[0] == 404
        return
    status, headers, body = get(f"/console/{path.name}")
    assert (status, body.encode()) == (200, path.read_bytes())
    assert headers["content-type"] == console.CONTENT_TYPES[path.suffix]
    assert headers["vary"] == "accept-encoding"
    assert get(f"/console/{path.name}", if_none_match=headers["etag"])[0] == 304


@pytest.mark.parametrize("name", ["nothing.js", "..%2Fsettings.py", "%2e%2e", "lit.js%00", "LIT.JS"])
def test_no_other_file_is_served(name: str) -> None:
    status, _, body = get(f"/console/{name}")
    assert (status, json.loads(body)["resourceType"]) == (404, "OperationOutcome")


def test_a_slash_at_the_end_leads_to_the_page() -> None:
    status, headers, _ = get("/console/")
    assert (status, headers["location"]) == (308, "../console")


@pytest.mark.parametrize("path", ["/console", "/console/app.js"])
def test_the_policy_lets_nothing_in(path: str) -> None:
    _, headers, _ = get(path)
    policy = directives(headers)
    assert policy["default-src"] == "'none'"
    assert (policy["script-src"], policy["style-src"], policy["connect-src"]) == ("'self'", "'self'", "'self'")
    assert (policy["frame-ancestors"], policy["base-uri"], policy["form-action"]) == ("'none'",) * 3
    assert (policy["require-trusted-types-for"], policy["trusted-types"]) == ("'script'", "lit-html")
    assert "unsafe" not in headers["content-security-policy"]
    assert (headers["x-content-type-options"], headers["referrer-policy"]) == ("nosniff", "no-referrer")


def test_the_only_other_origin_is_where_codes_become_tokens() -> None:
    issuer = Settings(authorization_endpoint="https://id.example/auth", token_endpoint="https://token.example/t?x=1")
    assert directives(console.headers(issuer))["connect-src"] == "'self' https://token.example"
    without = Settings(token_endpoint="https://token.example/t")
    assert directives(console.headers(without))["connect-src"] == "'self'"
    injected = Settings(authorization_endpoint="https://id.example", token_endpoint="https://x; script-src *")
    assert directives(console.headers(injected))["script-src"] == "'self'"


def test_the_client_id_is_text(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CONSOLE_CLIENT", 'a"><script>')
    _, _, body = get("/console")
    assert 'content="a&quot;&gt;&lt;script&gt;"' in body


@pytest.mark.parametrize("path", OWN, ids=lambda path: path.name)
def test_no_file_names_another_host_or_makes_html_of_text(path: Any) -> None:
    text = path.read_text()
    hosts = set(re.findall(r"https?://([\w.-]+)", text)) - {"www.w3.org", "hl7.org"}
    assert hosts == set()
    for forbidden in (
        "innerHTML",
        "outerHTML",
        "insertAdjacentHTML",
        "unsafeHTML",
        "eval(",
        "localStorage",
        "document.cookie",
    ):
        assert forbidden not in text


@pytest.mark.skipif(NODE is None, reason="node checks the syntax of the modules, and is not on PATH")
@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.name)
def test_a_module_is_whole(path: Any) -> None:
    assert NODE
    checked = subprocess.run(
        [NODE, "--check", "--input-type=module"], input=path.read_text(), capture_output=True, text=True, check=False
    )
    assert checked.returncode == 0, checked.stderr
    for imported in re.findall(r'from "\./([\w.-]+)"|^import "\./([\w.-]+)"', path.read_text(), re.M):
        assert (console.FOLDER / "".join(imported)).exists()


def test_a_module_fits_a_reader() -> None:
    assert {
        path.name: len(path.read_text().splitlines()) for path in MODULES if len(path.read_text().splitlines()) > 350
    } == {}

"""The page that shows the OpenAPI document: what it may run, and what it keeps."""

from __future__ import annotations

import base64
import hashlib
import re

from bulkhead.operations import description


def directives() -> dict[str, str]:
    parts = description.headers()["content-security-policy"].split("; ")
    return {name: rest for name, _, rest in (part.partition(" ") for part in parts)}


def test_the_page_runs_its_own_scripts_and_no_other() -> None:
    scripts = re.findall(r"<script>(.*?)</script>", description.page().decode(), re.DOTALL)
    hashes = {base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() for script in scripts}
    assert len(scripts) == 2
    assert set(directives()["script-src"].split()) == {f"'sha256-{digest}'" for digest in hashes}


def test_the_page_asks_this_server_alone_and_nobody_frames_it() -> None:
    found = directives()
    assert (found["default-src"], found["connect-src"], found["frame-ancestors"]) == ("'none'", "'self'", "'none'")
    assert (found["base-uri"], found["form-action"]) == ("'none'", "'none'")


def test_the_page_keeps_no_token() -> None:
    last = description.page().decode().rpartition("<script>")[2]
    assert "SwaggerUIBundle({" in last
    assert "persistAuthorization" not in last

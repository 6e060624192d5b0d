"""The start page for browsers at the server's root: links, and a first example to try."""

from __future__ import annotations

import re
from html import escape

from bulkhead.api.routes import BASE
from infra.local import banner
from infra.local.wsgi import Answer, Environ

PLACES = frozenset({"/", "/fhir", "/fhir/"})
BASES = frozenset({BASE, f"{BASE}/"})
HOST = re.compile(r"[\w.\-]+(:\d+)?|\[[0-9a-fA-F:]+\](:\d+)?")
HEADERS = {
    "Content-Type": "text/html; charset=utf-8",
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'",
    "Vary": "accept",
}
PAGE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><title>Bulkhead</title>
<style>body {{ font: 1rem/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem }}
pre {{ background: #f3f3f3; padding: 1rem; overflow-x: auto }}</style>
<h1>Bulkhead</h1>
<p>This is a FHIR R4 server. Programs use it; this page is for people.</p>
<ul>
<li>The base URL, for clients: <code>{base}</code></li>
<li><a href="/console">/console</a> shows who can see a record, and why.</li>
<li><a href="/docs">/docs</a> shows every request and lets you try it.</li>
<li><a href="{root}/metadata?_format=json">{root}/metadata</a> describes what the server can do (CapabilityStatement).</li>
<li><a href="/openapi.json">/openapi.json</a> describes the same in OpenAPI.</li>
</ul>
<h2>Share a patient</h2>
<p>{token} With the sample clinic, share the patient Anna and everything in her compartment with a second organisation:</p>
<pre>{commands}</pre>
"""
TOKEN = "Set <code>TOKEN</code> to a token: the server printed some when it started, and <code>make token</code> makes more."
NO_TOKEN = "You need no token: the server runs with <code>--no-auth</code>."


def page(environ: Environ, path: str, *, auth: bool) -> Answer | None:
    """The page: at the root for every client that does not ask for FHIR, at the base URL for a browser; None for any other request."""
    if environ["REQUEST_METHOD"] not in ("GET", "HEAD"):
        return None
    accepted = environ.get("HTTP_ACCEPT", "")
    wanted = "text/html" in accepted or ("json" not in accepted and "xml" not in accepted)
    if not (wanted if path in PLACES else environ["REQUEST_URI"] in BASES and "text/html" in accepted):
        return None
    host = environ.get("HTTP_HOST", "")
    url = f"http://{host}" if HOST.fullmatch(host) else ""
    text = PAGE.format(
        base=escape(f"{url}{BASE}"),
        root=BASE,
        token=TOKEN if auth else NO_TOKEN,
        commands=escape("\n".join(banner.commands(url, auth=auth))),
    )
    return Answer(200, HEADERS, text.encode())

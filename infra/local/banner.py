"""The text that the local server prints when it is ready: its URL, tokens, and three commands that show the main feature."""

from __future__ import annotations

import json

from bulkhead.api.routes import BASE
from infra.local.identity import ALL_BUT_PURGE, Identity
from infra.local.sample import ORGANIZATIONS

FENCED_RIGHTS = "system/*.cruds"
SHARED = {
    "resourceType": "Parameters",
    "parameter": [
        {"name": "accounts", "valueReference": {"reference": "Organization/harbour"}},
        {"name": "accounts", "valueReference": {"reference": "Organization/lighthouse"}},
        {"name": "propagate", "valueBoolean": True},
    ],
}


def text(url: str, identity: Identity | None, *, sample: bool, issuer: str = "") -> str:
    """The whole text. The commands need the sample clinic, so they are absent without it.

    `issuer` is the remote issuer of tokens, if the server does not issue them itself.
    """
    parts = [
        f"Bulkhead answers at {url}{BASE}",
        f"Open {url}/console to see who sees what.",
        _access(identity, sample=sample, issuer=issuer),
    ]
    if sample:
        shell = "\n".join(commands(url, auth=bool(identity or issuer)))
        parts.append(f"Share the patient Anna with a second organisation, follow the job, list her record:\n\n{shell}")
    parts.append("Ctrl-C stops it.")
    return "\n\n".join(parts)


def commands(url: str, *, auth: bool) -> list[str]:
    """Three shell commands; with `auth` they take the token from `$TOKEN`."""
    token = ' -H "Authorization: Bearer $TOKEN"' if auth else ""
    base = f"{url}{BASE}"
    return [
        f"STATUS=$(curl -s -D - -o /dev/null{token} -H 'Content-Type: application/fhir+json' -H 'Prefer: respond-async'"
        f" '{base}/Patient/anna/$set-accounts' -d '{json.dumps(SHARED, separators=(',', ':'))}'"
        " | tr -d '\\r' | awk 'tolower($1) == \"content-location:\" {print $2}'); echo $STATUS",
        f'while curl -s -i{token} "$STATUS" | tee /dev/stderr | grep -q "^HTTP/1.1 202"; do sleep 1; done; echo',
        f"curl -s{token} '{base}/Patient/anna/*?_count=3&_pretty=true'; echo",
    ]


def _access(identity: Identity | None, *, sample: bool, issuer: str) -> str:
    if issuer:
        return f"The server accepts tokens of {issuer}."
    if identity is None:
        return "The server needs no token (--no-auth): every caller has every right."
    lines = [
        "A token that sees and changes everything, for a day (more, and such as may purge: make token, with this --port and --data):",
        f"TOKEN={identity.token('local-admin', ALL_BUT_PURGE)}",
    ]
    for organization in ORGANIZATIONS if sample else ():
        fenced = identity.token(f"local-{organization}", FENCED_RIGHTS, [f"Organization/{organization}"])
        lines += [f"Fenced to Organization/{organization}:", f"TOKEN_{organization.upper()}={fenced}"]
    return "\n".join(lines)

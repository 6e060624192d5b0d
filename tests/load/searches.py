"""Searches over HTTP, one client: time, and the requests and units of DynamoDB that `_explain` tells of."""

from __future__ import annotations

import re
from collections.abc import Callable

import httpx

from tests.load.server import milliseconds, ratio, started, token
from tests.load.tables import Filled, filled

Say = Callable[[str, str, str], None]
TIMES = 100
FENCED = 2000
"""Resources of the table on which fences are measured."""
# name, query, aim
QUERIES = [
    ("Observation?patient=X&code=Y", "/Observation?patient={patient}&code=http://loinc.org|8302-1", "p50 <= 10 ms"),
    ("Patient/X/Observation?code=Y", "/Patient/{patient}/Observation?code=8302-1", "p50 <= 10 ms"),
    ("Patient?identifier=", "/Patient?identifier=urn:load|{number}", "p50 <= 10 ms"),
    ("Patient?name=", "/Patient?name=load{number}", "p50 <= 15 ms"),
    ("a page of 100 of Patient/X/*", "/Patient/{patient}/*?_count=100", "p50 <= 30 ms"),
    ("Patient", "/Patient?_count=20", "-"),
    (
        "Observation?patient.identifier=&code=Y",
        "/Observation?patient.identifier=urn:load|{number}&code=8302-1",
        "-",
    ),
    (
        "Patient?_has:Observation:patient:code=",
        "/Patient?_has:Observation:patient:code=8302-1&identifier={number}",
        "-",
    ),
]


def report(table: Filled, say: Say) -> None:
    """A server on the table answers each query for one patient after the other."""
    with started(AWS_ENDPOINT_URL_DYNAMODB=table.endpoint) as (client, _):
        for name, query, aim in QUERIES:
            ask = _asking(client, query, table.patients)
            taken = milliseconds(ask, TIMES)
            say(f"[{table.size}] {name}", f"{taken} {_cost(client, str(ask(0).request.url))}", aim)


def fences(say: Say) -> None:
    """The same searches by callers who are fenced to what they find, and by one who is not, by turns."""
    account = "Organization/load"
    with (
        filled(FENCED, account) as table,
        started(auth=True, AWS_ENDPOINT_URL_DYNAMODB=table.endpoint) as (client, _),
    ):
        patient = table.patients[0].partition("/")[2]
        tokens = {
            "accounts": token(client, "system/*.cruds", "--accounts", account),
            "a patient": token(client, "patient/*.rs", "--patient", patient),
            "a query": token(client, f"system/*.rs?_account={account}"),
        }
        free = token(client, "system/*.cruds")
        for name, query, _ in QUERIES:
            for fence, given in tokens.items():
                asked = _asking(client, query, table.patients[:1], given)
                taken = ratio(asked, _asking(client, query, table.patients[:1], free), TIMES)
                say(f"{name}, fenced by {fence}", taken, "<= 1.20")


def _asking(client: httpx.Client, query: str, patients: list[str], token: str = "") -> Callable[[int], httpx.Response]:
    headers = {"authorization": f"Bearer {token}"} if token else {}

    def ask(number: int) -> httpx.Response:
        number %= len(patients)
        identifier = patients[number].partition("/")[2]
        url = query.format(patient=identifier, number=number)
        return client.get(url, headers=headers).raise_for_status()

    return ask


def _cost(client: httpx.Client, url: str) -> str:
    """The requests and units of one search, summed up over the kinds of request."""
    explained = client.get(f"{url}&_explain=true").raise_for_status().json()["entry"][0]["resource"]
    lines = [re.search(r": (\d+) requests, ([\d.]+) units", issue["diagnostics"]) for issue in explained["issue"]]
    requests, units = (sum(float(line[number]) for line in lines if line) for number in (1, 2))
    return f"{requests:3.0f} requests {units:6.1f} units"

"""Searches over HTTP, one client, in a server with `size` resources: 800 of a patient."""

from __future__ import annotations

from collections.abc import Callable

import httpx

from tests.load import clinic
from tests.load.server import milliseconds, post, running

Say = Callable[[str, str, str], None]
EACH = 801
TIMES = 100


def report(size: int, say: Say) -> None:
    """Fill a server with patients of 800 resources each, then search."""
    with running() as client:
        patients = []
        for number, bundle in enumerate(clinic.bundles(size, EACH)):
            bundle["entry"][0]["resource"]["name"] = [{"family": f"Load{number}", "given": ["Test"]}]
            bundle["entry"][0]["resource"]["identifier"] = [{"system": "urn:load", "value": str(number)}]
            answer = post(client, "", bundle).json()
            location: str = answer["entry"][0]["response"]["location"]
            patients.append(location.partition("/_history")[0].rpartition("Patient/")[2])
        for name, query, aim in _queries():
            say(f"[{size}] {name}", milliseconds(_asking(client, query, patients), TIMES), aim)


def _queries() -> list[tuple[str, str, str]]:
    return [
        ("Observation?patient=X&code=Y", "/Observation?patient={patient}&code=http://loinc.org|8302-1", "p50 <= 10 ms"),
        ("Patient/X/Observation?code=Y", "/Patient/{patient}/Observation?code=8302-1", "p50 <= 10 ms"),
        ("Patient?identifier=", "/Patient?identifier=urn:load|{number}", "p50 <= 10 ms"),
        ("Patient?name=", "/Patient?name=load{number}", "p50 <= 15 ms"),
        ("a page of 100 of Patient/X/*", "/Patient/{patient}/*?_count=100", "p50 <= 30 ms"),
        ("Patient", "/Patient", "-"),
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


def _asking(client: httpx.Client, query: str, patients: list[str]) -> Callable[[int], object]:
    def ask(number: int) -> object:
        patient = number % len(patients)
        return client.get(query.format(patient=patients[patient], number=patient)).raise_for_status()

    return ask

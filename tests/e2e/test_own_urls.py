"""References by the server's own absolute URL are references to what it holds."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from tests.support.running import Server

ANNA = "Patient/anna"


def observation(reference: str) -> dict[str, Any]:
    return {
        "resourceType": "Observation",
        "status": "final",
        "code": {"text": "x"},
        "subject": {"reference": reference},
        "extension": [{"url": "urn:example:page", "valueUri": reference}],
    }


def made_by(client: httpx.Client, how: str, body: dict[str, Any]) -> dict[str, Any]:
    if how == "create":
        return dict(client.post("/Observation", json=body).raise_for_status().json())
    entry = {"resource": body, "request": {"method": "POST", "url": "Observation"}}
    bundle = {"resourceType": "Bundle", "type": how, "entry": [entry]}
    answer = client.post(str(client.base_url), json=bundle).raise_for_status().json()
    return dict(client.get(f"/{answer['entry'][0]['response']['location']}").raise_for_status().json())


@pytest.mark.parametrize("how", ["create", "batch", "transaction"])
def test_an_absolute_reference_to_this_server_is_in_the_compartment(
    server: Server, client: httpx.Client, how: str
) -> None:
    own = f"{server.url}/{ANNA}"
    made = made_by(client, how, observation(own))
    assert made["subject"]["reference"] == ANNA
    assert made["extension"][0]["valueUri"] == own
    assert {"reference": ANNA} in made["meta"]["compartment"]


@pytest.mark.parametrize(
    "reference", ["https://elsewhere.example/fhir/R4/Patient/anna", "urn:uuid:8b0d9e0e-6f6c-4d0e-8f53-3c1d2f6f1c11"]
)
def test_other_absolute_references_stay(client: httpx.Client, reference: str) -> None:
    assert made_by(client, "create", observation(reference))["subject"]["reference"] == reference

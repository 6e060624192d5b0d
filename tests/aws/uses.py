"""What clients do with each function: everything that its role has a right for. Each use raises AssertionError where it fails.

They are for a deployment with the limits SMALL, under which a few kilobytes are large.
"""

from __future__ import annotations

import base64
import os
from collections.abc import Callable, Mapping
from typing import Any
from uuid import uuid4

import httpx

from tests.aws.emulator import Deployment, until

Json = dict[str, Any]
Use = Callable[[Deployment], object]
SMALL = {
    "BODY_LIMIT": "2000",
    "RESPONSE_LIMIT": "200000",
    "ANSWER_LIMIT": "2000",
    "PROPAGATION_BATCH": "2",
    # What a function remembers from the call before needs no right.
    "DEFINITIONS_TTL": "0",
}
COMPARTMENT = {"resourceType": "Parameters", "parameter": [{"name": "compartment", "valueBoolean": True}]}
ASYNC = {"Prefer": "respond-async"}
# Above BODY_LIMIT, even compressed; and in base64 above what RESPONSE_LIMIT leaves.
LARGE, HUGE = 4_000, 150_000


def resources_write_and_read(deployment: Deployment) -> None:
    with owner(deployment) as client:
        patient = path("Patient")
        ok(client.put(patient, json=resource(patient, active=True)))
        ok(client.put(patient, json=resource(patient, active=False)))
        assert ok(client.get(f"{patient}/_history")).json()["total"] == 2


def resources_keep_large_bodies(deployment: Deployment) -> None:
    with owner(deployment) as client:
        binary = large(client)
        assert ok(client.get(binary)).json()["data"]


def resources_send_large_answers_elsewhere(deployment: Deployment) -> None:
    with owner(deployment) as client:
        fetched(client.get(large(client, HUGE)))


def resources_offer_uploads(deployment: Deployment) -> None:
    with owner(deployment) as client:
        offered(client)


def search_finds(deployment: Deployment) -> None:
    with owner(deployment) as client:
        family = uuid4().hex
        for _ in range(2):
            patient = path("Patient")
            ok(client.put(patient, json=resource(patient, name=[{"family": family}])))
        ids = ",".join(uuid4().hex for _ in range(200))
        page = ok(client.post("/Patient/_search", data={"family": family, "_id:not": ids, "_count": "1"})).json()
        (following,) = [link["url"] for link in page["link"] if link["relation"] == "next"]
        # The query of such a link is kept in the table.
        assert len(following) < 4000
        assert ok(client.get(following)).json()["entry"]


def search_leaves_a_trail(deployment: Deployment) -> None:
    with owner(deployment) as client:
        patient, found = path("Patient"), path("List")
        ok(client.put(patient, json=resource(patient)))
        shown = {"status": "current", "mode": "working", "subject": {"reference": patient.lstrip("/")}}
        ok(client.put(found, json=resource(found, **shown)))
        ok(client.get("/List", params={"_id": found.rsplit("/", 1)[1]}))
        events = ok(client.get("/AuditEvent", params={"entity": found.lstrip("/"), "action": "R"})).json()
        assert events.get("entry"), "the search left no AuditEvent"


def search_finds_large_bodies(deployment: Deployment) -> None:
    with owner(deployment) as client:
        identifier = large(client).rsplit("/", 1)[1]
        (entry,) = ok(client.get("/Binary", params={"_id": identifier})).json()["entry"]
        assert entry["resource"]["data"]


def search_sends_large_answers_elsewhere(deployment: Deployment) -> None:
    with owner(deployment) as client:
        fetched(client.get("/Binary", params={"_id": large(client, HUGE).rsplit("/", 1)[1]}))


def bundles_are_processed(deployment: Deployment) -> None:
    with owner(deployment) as client:
        ok(client.post(base(client), json=bundle("transaction", "Patient", "Basic")))


def bundles_keep_large_bodies(deployment: Deployment) -> None:
    with owner(deployment) as client:
        data = {"contentType": "application/pdf", "data": noise(LARGE)}
        ok(client.post(base(client), json=bundle("transaction", "Binary", "Binary", **data)))


def bundles_send_large_answers_elsewhere(deployment: Deployment) -> None:
    with owner(deployment) as client:
        entry = {"request": {"method": "GET", "url": large(client, HUGE).lstrip("/")}}
        fetched(client.post(base(client), json={"resourceType": "Bundle", "type": "batch", "entry": [entry]}))


def bundles_become_jobs(deployment: Deployment) -> None:
    with owner(deployment) as client:
        outcome(deployment, client, client.post(base(client), json=bundle("batch", "Basic"), headers=ASYNC))


def bundles_take_uploads(deployment: Deployment) -> None:
    with owner(deployment) as client:
        accepted = client.post(base(client), json=offered(client), headers=ASYNC)
        outcome(deployment, client, accepted)


def bundles_tell_what_is_not_there(deployment: Deployment) -> None:
    with owner(deployment) as client:
        unknown = {"resourceType": "Parameters", "parameter": [{"name": "upload", "valueId": "0" * 32}]}
        assert client.post(base(client), json=unknown, headers=ASYNC).status_code == 404


def operations_share(deployment: Deployment) -> None:
    with owner(deployment) as client:
        patient = compartment(client, members=2)
        ok(client.post(f"{patient}/$set-accounts", json=accounts(client)))


def operations_start_jobs(deployment: Deployment) -> None:
    with owner(deployment) as client:
        patient = compartment(client, members=3)
        outcome(deployment, client, client.post(f"{patient}/$set-accounts", json=accounts(client), headers=ASYNC))
        assert ok(client.get("/Basic", params={"subject": patient.lstrip("/")})).json()["entry"][2]["resource"]["meta"][
            "accounts"
        ]


def operations_purge(deployment: Deployment) -> None:
    with owner(deployment) as client:
        patient = compartment(client, members=1, code={"text": noise(LARGE)})
        ok(client.post(f"{patient}/$purge", json=COMPARTMENT))
        assert client.get(patient).status_code == 404


def operations_send_large_answers_elsewhere(deployment: Deployment) -> None:
    with owner(deployment) as client:
        patient = compartment(client, members=1, code={"text": noise(HUGE)})
        alone = {"resourceType": "Parameters", "parameter": [{"name": "_type", "valueCode": "Basic"}]}
        fetched(client.post(f"{patient}/$everything", json=alone))


def jobs_give_large_results(deployment: Deployment) -> None:
    with owner(deployment) as client:
        accepted = client.post(base(client), json=bundle("batch", *["Basic"] * 30), headers=ASYNC)
        (entry,) = outcome(deployment, client, accepted)["entry"]
        assert "resource" not in entry
        assert len(ok(httpx.get(entry["response"]["location"])).json()["entry"]) == 30


def jobs_are_cancelled(deployment: Deployment) -> None:
    """Its execution ends with it: the state machine is told, and not left to find out."""
    with owner(deployment) as client:
        patient = compartment(client, members=6)
        accepted = ok(client.post(f"{patient}/$set-accounts", json=accounts(client), headers=ASYNC))
        ok(client.delete(accepted.headers["content-location"]))


def capabilities_are_told(deployment: Deployment) -> None:
    with httpx.Client(base_url=deployment.base, timeout=60) as stranger:
        ok(stranger.get("/metadata"))


def processing_keeps_large_bodies(deployment: Deployment) -> None:
    with owner(deployment) as client:
        data = {"contentType": "application/pdf", "data": noise(LARGE)}
        (entry,) = outcome(
            deployment, client, client.post(base(client), json=bundle("transaction", "Binary", **data), headers=ASYNC)
        )["entry"]
        assert entry["response"]["status"].startswith("200"), entry


def propagation_purges(deployment: Deployment) -> None:
    with owner(deployment) as client:
        patient = compartment(client, members=1, code={"text": noise(LARGE)})
        (entry,) = outcome(deployment, client, client.post(f"{patient}/$purge", json=COMPARTMENT, headers=ASYNC))[
            "entry"
        ]
        assert entry["response"]["status"].startswith("200"), entry
        assert client.get(patient).status_code == 404


def sweeper_sweeps(deployment: Deployment) -> None:
    assert "finished" in deployment.invoke("sweeper", {})


def sweeper_checks(deployment: Deployment) -> None:
    with owner(deployment) as client:
        compartment(client, members=1, code={"text": noise(LARGE)})
    report = deployment.invoke("sweeper", {"check": True})
    # A body that cannot be read counts as damaged.
    assert (report["resources"] > 0, report["damaged"]) == (True, 0), report


USES: Mapping[str, tuple[Use, ...]] = {
    "resources": (
        resources_write_and_read,
        resources_keep_large_bodies,
        resources_offer_uploads,
        resources_send_large_answers_elsewhere,
    ),
    "search": (
        search_finds,
        search_finds_large_bodies,
        search_leaves_a_trail,
        search_sends_large_answers_elsewhere,
    ),
    "bundles": (
        bundles_are_processed,
        bundles_tell_what_is_not_there,
        bundles_keep_large_bodies,
        bundles_send_large_answers_elsewhere,
        bundles_become_jobs,
        bundles_take_uploads,
    ),
    "operations": (
        operations_share,
        operations_send_large_answers_elsewhere,
        operations_purge,
        operations_start_jobs,
    ),
    "jobs": (jobs_give_large_results, jobs_are_cancelled),
    "capabilities": (capabilities_are_told,),
    "processing": (processing_keeps_large_bodies, jobs_give_large_results),
    "propagation": (propagation_purges, operations_start_jobs),
    "sweeper": (sweeper_sweeps, sweeper_checks),
}
"""By function: together they need each right of its role."""


def owner(deployment: Deployment) -> httpx.Client:
    """A caller of all rights and no fence."""
    return deployment.caller(scope="system/*.cruds accounts.write purge")


def base(client: httpx.Client) -> str:
    return str(client.base_url).rstrip("/")


def ok(answer: httpx.Response) -> httpx.Response:
    assert answer.is_success, (answer.status_code, answer.text[:500])
    return answer


def path(resource_type: str) -> str:
    """Of a resource that is not there yet."""
    return f"/{resource_type}/{uuid4().hex}"


def resource(where: str, **elements: Any) -> Json:
    _, resource_type, identifier = where.split("/")
    return {"resourceType": resource_type, "id": identifier, **elements}


def noise(size: int) -> str:
    """Text in base64 that does not compress."""
    return base64.b64encode(os.urandom(size)).decode()


def large(client: httpx.Client, size: int = LARGE) -> str:
    binary = path("Binary")
    made = {"contentType": "application/pdf", "data": noise(size)}
    ok(client.put(binary, json=resource(binary, **made), headers={"Prefer": "return=minimal"}))
    return binary


def bundle(kind: str, *types: str, **elements: Any) -> Json:
    required: Mapping[str, Json] = {"Basic": {"code": {"text": "x"}}}
    entries = [
        {
            "resource": {"resourceType": each, **required.get(each, {}), **elements},
            "request": {"method": "POST", "url": each},
        }
        for each in types
    ]
    return {"resourceType": "Bundle", "type": kind, "entry": entries}


def compartment(client: httpx.Client, *, members: int, **elements: Any) -> str:
    """A Patient with so many Basics."""
    patient = path("Patient")
    subject = {"subject": {"reference": patient.lstrip("/")}}
    made = bundle("transaction", *["Basic"] * members, **{"code": {"text": "x"}, **elements}, **subject)
    first = {"resource": resource(patient), "request": {"method": "PUT", "url": patient.lstrip("/")}}
    ok(client.post(base(client), json={**made, "entry": [first, *made["entry"]]}, headers={"Prefer": "return=minimal"}))
    return patient


def accounts(client: httpx.Client) -> Json:
    """The parameters of a `$set-accounts` for an Organization that is new."""
    organization = path("Organization")
    ok(client.put(organization, json=resource(organization, name="x")))
    return {
        "resourceType": "Parameters",
        "parameter": [
            {"name": "accounts", "valueReference": {"reference": organization.lstrip("/")}},
            {"name": "propagate", "valueBoolean": True},
        ],
    }


def offered(client: httpx.Client) -> Json:
    """The request that processes an upload, which is there."""
    offer = {each["name"]: each for each in ok(client.post("/$upload")).json()["parameter"]}
    ok(httpx.put(offer["url"]["valueUrl"], json=bundle("batch", "Basic")))
    next_request: Json = offer["next"]["resource"]
    return next_request


def fetched(answer: httpx.Response) -> None:
    """Follow the answer to where it sends its client, without the token."""
    assert answer.status_code in (303, 307), (answer.status_code, answer.text[:500])
    ok(httpx.get(answer.headers["location"]))


def outcome(deployment: Deployment, client: httpx.Client, accepted: httpx.Response) -> Json:
    """The Bundle of a job that is over. AssertionError where nobody will finish it."""
    assert accepted.status_code == 202, (accepted.status_code, accepted.text[:500])
    status = accepted.headers["content-location"]
    job = status.rsplit("/", 2)[1]

    def over() -> httpx.Response | None:
        if (answer := client.get(status)).status_code == 202:
            try:
                deployment.require_progress(job)
            except AssertionError:
                # It may have ended since.
                if (answer := client.get(status)).status_code == 202:
                    raise
        return None if answer.status_code == 202 else answer

    result: Json = ok(until(over)).json()
    return result

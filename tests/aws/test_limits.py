"""AWS's own limits on requests and answers, enforced by the front: whoever follows links and redirects meets none of them."""

from __future__ import annotations

import os
from uuid import uuid4

import httpx

from tests.aws.emulator import Deployment
from tests.aws.uses import base, ok, owner, path, resource

# As base64 in JSON more than a function may answer, and still less than it may be asked.
TOO_LARGE = 4_707_500


def test_pages_end_before_an_answer_is_too_large(deployment: Deployment) -> None:
    with owner(deployment) as client:
        binaries = [path("Binary") for _ in range(4)]
        for each in binaries:
            sent = {"Content-Type": "application/octet-stream", "Prefer": "return=minimal"}
            ok(client.put(each, content=os.urandom(1_500_000), headers=sent))
        page = ok(client.get("/Binary", params={"_id": ",".join(each.rsplit("/", 1)[1] for each in binaries)})).json()
        found = [entry["resource"]["id"] for entry in page["entry"]]
        assert 0 < len(found) < len(binaries)
        while following := [link["url"] for link in page["link"] if link["relation"] == "next"]:
            page = ok(client.get(following[0])).json()
            found += [entry["resource"]["id"] for entry in page.get("entry", ())]
        assert sorted(found) == sorted(each.rsplit("/", 1)[1] for each in binaries)


def test_one_resource_that_is_too_large_is_fetched_from_the_bucket(deployment: Deployment) -> None:
    with owner(deployment) as client:
        binary, content = path("Binary"), os.urandom(TOO_LARGE)
        sent = {"Content-Type": "application/octet-stream"}
        ok(client.put(binary, content=content, headers=sent))
        answer = client.get(binary)
        assert answer.status_code == 307
        assert ok(httpx.get(answer.headers["location"])).json()["id"] == binary.rsplit("/", 1)[1]
        assert ok(client.get(binary, headers={"Accept": "application/octet-stream"}, follow_redirects=True)).content


def test_links_of_long_searches_are_short(deployment: Deployment) -> None:
    with owner(deployment) as client:
        patients = [path("Patient") for _ in range(3)]
        for each in patients:
            ok(client.put(each, json=resource(each)))
        ids = [each.rsplit("/", 1)[1] for each in patients] + [str(uuid4()) for _ in range(500)]
        # By GET it is more than API Gateway takes.
        assert client.get("/Patient", params={"_id": ",".join(ids)}).status_code == 431
        page = ok(client.post("/Patient/_search", data={"_id": ",".join(ids), "_count": "2"})).json()
        (following,) = [link["url"] for link in page["link"] if link["relation"] == "next"]
        assert following.startswith(base(client))
        assert len(ok(client.get(following)).json()["entry"]) == 1

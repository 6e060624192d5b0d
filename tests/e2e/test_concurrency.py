"""Many clients at once, over HTTP."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from uuid import uuid4

import httpx

from tests.support.running import pages

WRITERS = 8
WRITES = 4


def test_eight_writers_without_a_version_all_succeed(client: httpx.Client) -> None:
    identifier = f"shared-{uuid4().hex}"

    def write(number: int) -> int:
        body = {"resourceType": "Patient", "id": identifier, "multipleBirthInteger": number}
        return client.put(f"/Patient/{identifier}", json=body).status_code

    write(0)
    with ThreadPoolExecutor(WRITERS) as pool:
        statuses = list(pool.map(write, range(1, WRITERS * WRITES + 1)))

    versions = [entry["resource"] for entry in pages(client, f"/Patient/{identifier}/_history?_count=10")]
    assert set(statuses) == {200}
    assert [int(each["meta"]["versionId"]) for each in versions] == list(range(len(statuses) + 1, 0, -1))
    assert {each["multipleBirthInteger"] for each in versions} == set(range(len(statuses) + 1))


def test_of_eight_writers_with_one_version_one_wins(client: httpx.Client) -> None:
    created = client.post("/Patient", json={"resourceType": "Patient"})
    body = created.json()

    def write(number: int) -> int:
        changed = body | {"multipleBirthInteger": number}
        return client.put(f"/Patient/{body['id']}", json=changed, headers={"If-Match": 'W/"1"'}).status_code

    with ThreadPoolExecutor(WRITERS) as pool:
        assert sorted(pool.map(write, range(WRITERS))) == [200] + [412] * (WRITERS - 1)


def test_eight_creates_under_one_condition_make_one_resource(client: httpx.Client) -> None:
    value = uuid4().hex
    body = {"resourceType": "Patient", "identifier": [{"system": "urn:example:qa", "value": value}]}

    def create(_: int) -> httpx.Response:
        return client.post("/Patient", json=body, headers={"If-None-Exist": f"identifier=urn:example:qa|{value}"})

    with ThreadPoolExecutor(WRITERS) as pool:
        answers = list(pool.map(create, range(WRITERS)))
    assert sorted(answer.status_code for answer in answers) == [200] * (WRITERS - 1) + [201]
    assert len({answer.json()["id"] for answer in answers}) == 1

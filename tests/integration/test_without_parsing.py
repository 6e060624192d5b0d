"""Answers that are put together from stored JSON are those of the server that parses: to the byte, in every format, whoever asks."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest

from bulkhead import resources
from bulkhead.access import policy
from bulkhead.compartments import accounts
from bulkhead.fhir import json
from bulkhead.session import Session
from bulkhead.store import Head, Store, Version
from bulkhead.store.content import Content
from tests.support import synthea
from tests.support.door import Door
from tests.support.shared_data import shared

TENANT = "Organization/t"
PATIENT = "Patient/example"
EACH = 3
"""Examples of one type."""

FORMS = ["", "_format=xml", "_pretty=true", "_summary=true", "_elements=status,subject"]
PATHS = [
    f"/{PATIENT}",
    f"/{PATIENT}/_history",
    f"/{PATIENT}/_history/1",
    "/Observation?subject=Patient/example",
    "/Observation?patient=example&_sort=-date&_include=Observation:encounter",
    "/Observation?patient=example&date=ge2000",
    "/Observation?patient=example&code=http://loinc.org|29463-7,8302-2,http://snomed.info/sct|&_sort=-date",
    "/Patient/example/*?_count=200",
    f"/{PATIENT}/$everything",
    "/Encounter?_count=50&_revinclude=Observation:encounter",
    "/Observation/$lastn?patient=example",
    "/Observation/_history?_count=50",
    "/Binary?_count=5",
]


def examples() -> Iterator[dict[str, Any]]:
    seen: dict[str, int] = {}
    with zipfile.ZipFile(shared("hl7-r4-examples-clinical.zip")) as archive:
        for name in sorted(archive.namelist()):
            resource = json.loads(archive.read(name)) if name.endswith(".json") else {}
            kind = resource.get("resourceType", "Bundle")
            seen[kind] = seen.get(kind, 0) + 1
            about_patient = b'"Patient/example"' in json.dumps(resource)
            if "id" in resource and kind not in ("Bundle", "Subscription") and (seen[kind] <= EACH or about_patient):
                yield resource


def of_synthea() -> Iterator[dict[str, Any]]:
    """The first patient of a folder, as the patient of the examples."""
    bundle = next(one for one in synthea.bundles(shared("synthea/smart-v2.4.0-2019")) if len(one["entry"]) > 50)
    for number, entry in enumerate(bundle["entry"][1:80]):
        text = json.dumps(entry["resource"]).replace(bundle["entry"][0]["fullUrl"].encode(), PATIENT.encode())
        yield json.loads(text) | {"id": f"s{number}"}


@pytest.fixture(scope="module")
def filled(make_store: Any) -> Store:
    store: Store = make_store(definitions_ttl=3600)
    session = Session.of(store, policy.EVERYBODY)
    own = [{"reference": TENANT, "extension": [{"url": accounts.UNTIL, "valueInstant": "2999-01-01T00:00:00Z"}]}]
    made: dict[str, dict[str, Any]] = {
        f"{one['resourceType']}/{one['id']}": one for one in (*examples(), *of_synthea())
    }
    for number, resource in enumerate(made.values()):
        if number % 2:
            resource["meta"] = {**resource.get("meta", {}), "accounts": own[:1]}
    writes = [
        resources.prepare_create(session, one, key, fresh=True) for key, one in made.items() if key != "Organization/t"
    ]
    for start in range(0, len(writes), 80):
        store.commit(writes[start : start + 80], (), resources.inherit(session))
    return store


def asked(client: httpx.Client, url: str) -> tuple[int, bytes, str]:
    answer = client.get(url, headers={"accept-encoding": "identity"})
    return answer.status_code, answer.content, answer.headers.get("content-type", "")


@pytest.mark.parametrize("form", FORMS)
def test_the_answer_is_that_of_the_server_that_parses(
    filled: Store, form: str, keys_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    door = Door(filled, keys_folder, monkeypatch)
    parsed = 0
    plain = Store.decode

    def counted(store: Store, head: Head) -> dict[str, Any]:
        nonlocal parsed
        parsed += 1
        return plain(store, head)

    # A page link says when its page was made, and is sealed with a number of its own.
    monkeypatch.setattr("bulkhead.access.page_links.os", SimpleNamespace(urandom=bytes))
    monkeypatch.setattr("bulkhead.fhir.dates.now", lambda: "2026-11-29T12:00:00.000Z")
    for who in (door.client(), door.client(accounts=[TENANT]), door.client("patient/*.rs", patient="example")):
        for path in PATHS:
            url = path + ("&" if "?" in path else "?") + form if form else path
            spliced = asked(who, url)
            with monkeypatch.context() as parsing:
                parsing.setattr(Store, "decode", counted)
                parsing.setattr(Store, "version", lambda store, head: Version(head, store.decode))
                assert asked(who, url) == spliced, url
    assert parsed > 100


@pytest.mark.parametrize(
    "path",
    [
        f"/{PATIENT}",
        "/Observation?subject=Patient/example&_count=100",
        "/Observation?patient=example&_sort=-date&_count=20",
        "/Observation?patient=example&code=http://loinc.org|29463-7,8302-2&_sort=-date",
        "/Patient/example/*?_count=100",
        "/Observation/_history?_count=50",
    ],
)
def test_nothing_is_parsed_for_what_the_index_answers(
    filled: Store, path: str, keys_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    door = Door(filled, keys_folder, monkeypatch)
    clients = (door.client(), door.client(accounts=[TENANT]), door.client("patient/*.rs", patient="example"))
    # What a request reads before its answer: the definitions in force, the caller's own Patient.
    before = [asked(who, path) for who in clients]

    def parse(self: Content) -> dict[str, Any]:
        assert json.stored(self.text)["resourceType"] == "Patient"
        return plain(self)

    plain = Content.decode
    monkeypatch.setattr(Content, "decode", parse)
    assert [asked(who, path)[0] for who in clients] == [status for status, _, _ in before]

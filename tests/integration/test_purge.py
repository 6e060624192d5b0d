"""`$purge` as clients see it, and what it leaves in the table and the bucket. Semantics, section 3."""

from __future__ import annotations

import json
import random
import zlib
from collections.abc import Iterator
from dataclasses import replace
from typing import Any
from uuid import uuid4

import pytest

from bulkhead import resources
from bulkhead.access.policy import EVERYBODY
from bulkhead.facts import care_dates
from bulkhead.fhir import dates
from bulkhead.jobs import executions, purging
from bulkhead.resources import conditions
from bulkhead.session import Session
from bulkhead.store import Store, content, keys
from functions import http
from tests.support.scene import A, Machine, Scene, issue, request

MARK = "zxqvmark"
PATIENT = "Patient/p1"
PURGE = "system/*.cruds accounts.write purge"


@pytest.fixture(autouse=True)
def no_long_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(purging, "_SECOND_LOOKS", (0.001,))


@pytest.fixture
def scene(new_store: Any, s3: Any, monkeypatch: pytest.MonkeyPatch) -> Scene:
    """With a bucket of its own, versioned as on AWS, and bodies that are soon too large for the table."""
    store = new_store(body_limit=1500)
    store.settings = replace(store.settings, bucket=f"purge-{uuid4()}")
    s3.create_bucket(Bucket=store.settings.bucket)
    s3.put_bucket_versioning(Bucket=store.settings.bucket, VersioningConfiguration={"Status": "Enabled"})
    made = Scene(store)
    monkeypatch.setattr(http, "connect", lambda: made.store)
    return made


def purge(key: str = PATIENT, compartment: bool | None = True, **more: Any) -> dict[str, Any]:
    flag = [] if compartment is None else [{"name": "compartment", "valueBoolean": compartment}]
    body = {"resourceType": "Parameters", "parameter": flag}
    return request("POST", f"{key}/$purge", more.pop("body", body), **{"scope": PURGE, **more})


def answered(answer: dict[str, Any]) -> tuple[int, list[str]]:
    """How many were erased, and the names of what was left."""
    assert answer["statusCode"] == 200, answer["body"]
    return told(answer["resource"])


def told(parameters: dict[str, Any]) -> tuple[int, list[str]]:
    given = parameters["parameter"]
    names = [one["valueReference"]["reference"] for one in given if one["name"] == "shared"]
    numbers = {one["name"]: one["valueInteger"] for one in given if "valueInteger" in one}
    assert numbers["resourcesShared"] == len(names)
    return numbers["resourcesErased"], names


def items(store: Store) -> Iterator[dict[str, Any]]:
    for segment in range(2):
        after = None
        while True:
            page, after = store.table.scan(segment, 2, after)
            yield from page
            if after is None:
                break


def objects(store: Store) -> dict[str, bytes]:
    """Every version that the bucket has."""
    bucket = store.settings.bucket
    found = {}
    for one in store.s3.list_object_versions(Bucket=bucket).get("Versions", []):
        place = {"Bucket": bucket, "Key": one["Key"], "VersionId": one["VersionId"]}
        found[one["Key"]] = store.s3.get_object(**place)["Body"].read()
    return {name: _plain(body) for name, body in found.items()}


def _plain(body: bytes) -> bytes:
    return zlib.decompress(body[1:]) if body[:1] in (content.WITH_FACTS, content.PLAIN) else body


def traces(store: Store, text: str) -> list[str]:
    """Where a text stands in the table, in keys, attributes and bodies, and in the bucket."""
    found = []
    for item in items(store):
        body = item.get("body", {}).get("B", b"")
        rest = json.dumps({name: value for name, value in item.items() if name != "body"}, default=str)
        if text in rest or text.encode() in _plain(bytes(body)):
            found.append(f"{item['pk']['S']} {item['sk']['S']}")
    return found + [name for name, body in objects(store).items() if text.encode() in body or text in name]


def record(scene: Scene, patient: str = PATIENT, mark: str = MARK) -> list[str]:
    """A patient's record: everything in it says `mark`. Versions, a deletion, large bodies, Binaries, a claim, accounts."""
    identifier, system = patient.partition("/")[2], f"urn:{mark}:system"
    name = {"text": mark, "family": mark, "given": [mark]}
    identified = [{"system": system, "value": mark}]
    scene.put(patient, name=[name], identifier=identified, address=[{"postalCode": mark}], birthDate="1970-01-01")
    scene.put(patient, name=[name | {"given": [f"{mark}2"]}], identifier=[{"system": system, "value": f"{mark}2"}])
    subject = {"reference": patient}
    coded = {"coding": [{"system": system, "code": mark}], "text": mark}
    common: dict[str, Any] = {"status": "final", "code": coded, "subject": subject}
    made = [patient]
    for n in range(3):
        made.append(scene.put(f"Observation/{identifier}-{n}", **common, effectiveDateTime="2026-01-01").key)
    scene.put(
        made[1],
        **common,
        note=[{"text": mark + random.Random(1).randbytes(3000).hex()}],
        meta={"tag": [{"system": system, "code": mark}]},
    )
    scene.put(made[1], **common, note=[{"text": mark}])
    deleted = scene.put(f"Observation/{identifier}-deleted", **common, identifier=identified).key
    resources.delete(Session.of(scene.store, EVERYBODY), deleted)
    letter = f"DocumentReference/{identifier}-letter"
    attachment = {"url": f"Binary/{identifier}-letter", "title": mark}
    scene.put(letter, status="current", subject=subject, content=[{"attachment": attachment}], description=mark)
    binaries = [(f"Binary/{identifier}-letter", letter), (f"Binary/{identifier}-photo", patient)]
    binaries.append((f"Binary/{identifier}-page", f"Binary/{identifier}-letter"))
    for key, context in binaries:
        scene.put(key, contentType=f"text/{mark}", securityContext={"reference": context}, data="enhxdm1hcms=")
    session = Session.of(scene.store, EVERYBODY)
    resource = {"resourceType": "Condition", "subject": subject, "code": coded}
    condition = conditions.condition("Condition", f"code={system}|{mark}", "ifNoneExist", base="")
    claimed = resources.create(session, resource, condition)[0].key
    scene.set(patient, A, propagate=True)
    return [*made, deleted, letter, *(key for key, _ in binaries), claimed]


def test_nothing_is_left_of_a_record_but_the_ids_in_the_trail(scene: Scene) -> None:
    mine = record(scene)
    others = record(scene, "Patient/p2", "othermark")
    assert len(traces(scene.store, MARK)) > 25
    assert any(place.startswith("claim#") for place in traces(scene.store, MARK))
    assert len(objects(scene.store)) > 1
    assert answered(purge()) == (len(mine), [])
    assert traces(scene.store, MARK) == []
    for key in mine:
        assert scene.store.read(key) is None
        for path in (key, f"{key}/_history", f"{key}/_history/1"):
            assert request("GET", path, scope=PURGE)["statusCode"] == 404
        places = [place for place in traces(scene.store, key) if not place.startswith("AuditEvent/audit-")]
        assert places == [f"{key} #"]
    assert all(scene.store.read(key) for key in others)
    assert request("GET", "Patient/p2/*?_count=100", scope=PURGE)["resource"]["total"] == 5


def kinds(store: Store, owned: list[str]) -> set[str]:
    """The kinds of items that the table has of resources: by sort key, by index, and what is peculiar to the index by time."""
    found = set()
    for item in items(store):
        key = item["pk"]["S"], item["sk"]["S"]
        if keys.is_identifier(key) and keys.identified(key) in owned:
            found.add("identifier")
        if key[0] not in owned:
            continue
        found.add("of no account" if key[1] == keys.account_sort(keys.NO_ACCOUNT) else key[1][:2])
        found |= {f"{key[1][:2]} {index}" for index, (partition, _) in keys.INDEXES.items() if partition in item}
        if key[1].startswith(keys.ENTRY) and "mpk" in item:
            with_code = item["mpk"]["S"].count("|") > 2
            found.add(f"care date of the patient{' and a code' if with_code else ''}")
            found |= {"long period"} if item["msk"]["S"].startswith(care_dates.LONG) else set()
            found |= {"no care date"} if item["msk"]["S"].startswith(care_dates.NONE) else set()
        found |= {"tag"} if item.get("vpk", {}).get("S", "").startswith("*|") else set()
    return found


def test_no_entry_is_left_of_any_kind(scene: Scene) -> None:
    """In the order of care dates, in lists of what carries no account, of identifiers, of claims, of what pointed there before."""
    mine = record(scene)
    subject, coded = {"reference": PATIENT}, {"coding": [{"system": "urn:s", "code": MARK}]}
    long = {"start": "2020-01-01", "end": "2026-01-01"}
    stay = {"status": "finished", "class": {"code": "AMB"}, "subject": subject, "period": long, "type": [coded]}
    mine.append(scene.put("Encounter/p1-stay", **stay).key)
    tagged = {"tag": [{"system": "urn:s", "code": MARK}]}
    mine.append(scene.put("Observation/p1-undated", status="final", code=coded, subject=subject, meta=tagged).key)
    address = {"text": MARK, "city": MARK}
    named = [{"system": f"urn:{MARK}", "value": MARK}]
    shared = scene.put("Organization/directory", name=MARK, address=[address], identifier=named, type=[coded]).key
    located = {"managingOrganization": {"reference": shared}, "position": {"longitude": 1, "latitude": 2}}
    place = scene.put("Location/directory", name=MARK, address=address, **located).key
    assert kinds(scene.store, [*mine, shared, place]) == {
        "#", "# by-time", "# by-target", "# by-value", "v#", "v# by-time", "i#", "i# by-target", "i# by-value", "i# by-time", "a#", "a# by-target",
        "f#", "f# by-target", "c#", "o#", "identifier", "of no account", "care date of the patient",
        "care date of the patient and a code", "long period", "no care date", "tag",
    }  # fmt: skip
    assert answered(purge()) == (len(mine), [])
    assert answered(purge(place, None)) == (1, [])
    assert answered(purge(shared, None)) == (1, [])
    assert traces(scene.store, MARK) == []
    assert kinds(scene.store, [*mine, shared, place]) == {"#", "# by-time"}
    for key in (*mine, shared, place):
        told = [at for at in traces(scene.store, key) if not at.startswith("AuditEvent/audit-")]
        assert told == [f"{key} #"]


def test_the_trail_says_who_erased_what(scene: Scene) -> None:
    mine = record(scene)
    purge(subject="eve")
    found = request("GET", f"AuditEvent?patient={PATIENT}&_count=100", scope=PURGE)["resource"]["entry"]
    events = [entry["resource"] for entry in found if "$purge" in json.dumps(entry)]
    named = {entity["what"]["reference"] for event in events for entity in event["entity"]}
    assert named >= {key for key in mine if not key.startswith("Binary/")}
    assert {event["agent"][0]["who"]["identifier"]["value"] for event in events} == {"eve"}
    assert MARK not in json.dumps(events)


def test_histories_of_the_type_and_the_system_pass_over_the_hole(scene: Scene) -> None:
    record(scene)
    kept = scene.observation("kept", "Patient/p2")
    purge()
    for path in ("Observation/_history?_count=2", "_history?_count=2&_type=Observation,Condition,Patient"):
        seen = []
        url: str | None = path
        while url:
            page = request("GET", url, scope=PURGE)["resource"]
            seen += [f"{one['resource']['resourceType']}/{one['resource']['id']}" for one in page.get("entry", [])]
            links = {link["relation"]: link["url"] for link in page["link"]}
            url = links["next"].rpartition("/fhir/R4/")[2] if "next" in links else None
        assert kept in seen
        assert not [key for key in seen if "p1" in key]


def test_what_names_another_patient_too_is_listed(scene: Scene) -> None:
    scene.put(PATIENT)
    scene.put("Patient/p2", link=[{"other": {"reference": PATIENT}, "type": "seealso"}])
    mine = scene.observation("mine", PATIENT)
    shared = scene.put("Group/both", type="person", actual=True,
                       member=[{"entity": {"reference": one}} for one in (PATIENT, "Patient/p2")]).key  # fmt: skip
    hidden = scene.observation(
        "hidden", PATIENT, extension=[{"url": "urn:x", "valueReference": {"reference": "Patient/p2"}}]
    )
    moved = scene.observation("moved", PATIENT)
    scene.observation("moved", "Patient/p2")
    erased, left = answered(purge())
    assert (erased, left) == (2, sorted([shared, hidden, moved, "Patient/p2"]))
    assert scene.store.read(mine) is None
    assert all(scene.store.read(key) for key in left)


def test_of_other_roots_only_what_is_their_own_patients_goes(scene: Scene) -> None:
    scene.put(PATIENT)
    doctor = scene.put("Practitioner/d").key
    seen = scene.observation("seen", PATIENT, performer=[{"reference": doctor}])
    stay = scene.put("Encounter/e", status="finished", subject={"reference": PATIENT}, **{"class": {"code": "AMB"}}).key
    during = scene.observation("during", PATIENT, encounter={"reference": stay})
    assert answered(purge(doctor)) == (1, [seen])
    assert answered(purge(stay)) == (2, [])
    assert scene.store.read(during) is None
    assert scene.store.read(PATIENT)


def test_without_compartment_only_the_target_goes_and_what_follows_it(scene: Scene) -> None:
    mine = record(scene)
    assert answered(purge("DocumentReference/p1-letter", None)) == (3, [])
    gone = {"DocumentReference/p1-letter", "Binary/p1-letter", "Binary/p1-page"}
    assert {key for key in mine if scene.store.read(key) is None} == gone


def test_what_was_deleted_before_is_purged_too(scene: Scene) -> None:
    scene.put(PATIENT, name=[{"text": MARK}])
    resources.delete(Session.of(scene.store, EVERYBODY), PATIENT)
    assert answered(purge(compartment=False)) == (1, [])
    assert traces(scene.store, MARK) == []


def test_what_was_deleted_before_purges_were_known_is_found_after_an_integrity_check(scene: Scene) -> None:
    scene.put(PATIENT)
    key = scene.observation("old", PATIENT, code={"text": MARK})
    resources.delete(Session.of(scene.store, EVERYBODY), key)
    scene.store.table.put_many([], [(key, f"f#{PATIENT}")])
    assert scene.store.check_integrity(repair=True, patience=None).missing == 1
    assert scene.store.check_integrity(repair=True, patience=None).clean
    assert answered(purge()) == (2, [])
    assert traces(scene.store, MARK) == []


@pytest.mark.parametrize(
    ("scope", "claims"),
    [
        ("system/*.cruds accounts.write", {}),
        (PURGE, {"accounts": A}),
        (PURGE, {"accounts": ""}),
        (PURGE, {"patient": "p1"}),
        ("system/Patient.cruds?gender=male purge", {}),
        ("system/*.cruds bulkhead/purges", {}),
    ],
)
def test_only_an_unfenced_caller_with_the_scope_may(scene: Scene, scope: str, claims: dict[str, str]) -> None:
    scene.put(PATIENT)
    unreadable: dict[str, Any] = {"body": "no json"}
    for body in ({}, unreadable):
        assert purge(scope=scope, claims=claims, **body)["statusCode"] == 403
    assert scene.store.read(PATIENT)


def test_the_name_of_the_scope_with_cognitos_prefix(scene: Scene) -> None:
    scene.put(PATIENT)
    assert answered(purge(scope="bulkhead/purge")) == (1, [])


@pytest.mark.parametrize(
    ("body", "place"),
    [
        ({"resourceType": "Patient"}, "Parameters"),
        ({"resourceType": "Parameters", "parameter": {}}, "Parameters.parameter"),
        ({"resourceType": "Parameters", "parameter": [{"name": "all"}]}, "Parameters.parameter[0].name"),
        ({"resourceType": "Parameters", "parameter": [{"name": "compartment", "valueString": "true"}]},
         "Parameters.parameter[0].valueBoolean"),
        ({"resourceType": "Parameters", "parameter": [{"name": "compartment", "valueBoolean": True}] * 2},
         "Parameters.parameter[1]"),
        ("[", None),
    ],
)  # fmt: skip
def test_a_body_that_is_not_as_it_must_be(scene: Scene, body: Any, place: str | None) -> None:
    scene.put(PATIENT)
    answer = purge(body=body)
    assert answer["statusCode"] == 400
    assert place is None or issue(answer)[1] == place
    assert scene.store.read(PATIENT)


def test_what_is_never_purged(scene: Scene) -> None:
    scene.put("SearchParameter/x", url="urn:x", name="x", status="draft", description="x", code="x", base=["Patient"], type="string",
              expression="Patient.name")  # fmt: skip
    for key in ("SearchParameter/x", "CompartmentDefinition/patient", "AuditEvent/audit-1"):
        assert purge(key)["statusCode"] == 422
    assert purge("Patient/unknown")["statusCode"] == 404
    assert purge("Nothing/1")["statusCode"] == 404
    assert purge(A, True)["statusCode"] == 400
    assert request("GET", f"{A}/$purge", scope=PURGE)["statusCode"] == 405


def test_again_it_erases_nothing_and_the_id_rests(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    record(scene)
    purge()
    assert answered(purge()) == (0, [])
    body = {"resourceType": "Patient", "id": "p1"}
    refused = request("PUT", PATIENT, body, scope=PURGE)
    assert (refused["statusCode"], issue(refused)) == (409, ("conflict", PATIENT))
    assert request("DELETE", PATIENT, scope=PURGE)["statusCode"] in (200, 204, 404)
    stones = [item for item in items(scene.store) if "purged" in item]
    assert all(set(stone) == {"pk", "sk", "purged", "mpk", "msk"} for stone in stones)
    monkeypatch.setattr(dates, "now", lambda: "2999-01-01T00:00:00.000Z")
    made = request("PUT", PATIENT, body, scope=PURGE)
    assert (made["statusCode"], made["resource"]["meta"]["versionId"]) == (201, "1")
    assert scene.store.sweep() == 0
    assert [item for item in items(scene.store) if "purged" in item] == []
    assert purge("Observation/p1-0", False)["statusCode"] == 404


def test_a_compartment_that_is_too_large_to_wait_for(new_store: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    scene = Scene(new_store(sync_limit=3))
    monkeypatch.setattr(http, "connect", lambda: scene.store)
    scene.put(PATIENT)
    scene.observations(4, PATIENT)
    answer = purge()
    assert (answer["statusCode"], issue(answer)[0]) == (400, "too-costly")
    assert scene.store.read(PATIENT)


def test_as_a_job(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    mine = record(scene)
    shared = scene.put("Group/both", type="person", actual=True,
                       member=[{"entity": {"reference": one}} for one in (PATIENT, "Patient/p2")]).key  # fmt: skip
    scene.observations(250, PATIENT)
    machine = Machine(scene.store)
    monkeypatch.setattr(executions, "start", lambda store, job: machine.start(job))
    monkeypatch.setattr(executions, "is_running", lambda store, job: machine.is_running(job))
    begun = purge(headers={"prefer": "respond-async", "idempotency-key": "k"})
    assert begun["statusCode"] == 202
    status = begun["headers"]["content-location"].rpartition("/fhir/R4/")[2]
    job = status.split("/")[1]
    machine.join(job)
    done = request("GET", status, scope=PURGE)
    assert done["statusCode"] == 200
    entry = done["resource"]["entry"][0]
    assert entry["response"]["status"] == "200 OK"
    assert told(entry["resource"]) == (len(mine) + 250, [shared])
    assert traces(scene.store, MARK) == []
    assert request("GET", status, scope="system/*.cruds")["statusCode"] == 404
    again = purge(compartment=False, headers={"prefer": "respond-async", "idempotency-key": "k"})
    assert again["statusCode"] == 422


def test_a_job_that_is_delivered_twice_and_cut_off(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    mine = record(scene)
    scene.observations(250, PATIENT)
    machine = Machine(scene.store)
    monkeypatch.setattr(executions, "start", lambda store, job: machine.start(job))
    monkeypatch.setattr("bulkhead.jobs.purge_steps._AT_ONCE", 0.0)
    plan, deliveries = machine.steps["plan"], []

    def twice(store: Store, state: dict[str, Any]) -> dict[str, Any]:
        deliveries.append(state)
        plan(store, state)
        if len(deliveries) % 3 == 1:
            raise RuntimeError("cut off")
        return plan(store, state)

    machine.steps["plan"] = twice
    begun = purge(headers={"prefer": "respond-async"})
    status = begun["headers"]["content-location"].rpartition("/fhir/R4/")[2]
    machine.join(status.split("/")[1])
    done = request("GET", status, scope=PURGE)["resource"]["entry"][0]
    assert told(done["resource"]) == (len(mine) + 250, [])
    assert traces(scene.store, MARK) == []
    assert len(deliveries) > 3


def test_a_job_that_is_cancelled(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    scene.put(PATIENT)
    keys = scene.observations(250, PATIENT)
    machine = Machine(scene.store)
    monkeypatch.setattr(executions, "start", lambda store, job: None)
    monkeypatch.setattr(executions, "stop", lambda store, job: None)
    begun = purge(headers={"prefer": "respond-async"})
    status = begun["headers"]["content-location"].rpartition("/fhir/R4/")[2]
    assert request("DELETE", status, scope=PURGE)["statusCode"] == 202
    machine.start(status.split("/")[1])
    machine.join(status.split("/")[1])
    over = request("GET", status, scope=PURGE)["resource"]["entry"][0]["response"]
    assert over["status"] == "409 Conflict"
    assert all(scene.store.read(key) for key in [PATIENT, *keys])


def test_the_id_of_a_purge_that_broke_off_says_what_to_do(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is not free before the purge is done, however long that takes."""
    record(scene)
    purging.begin(Session.of(scene.store, EVERYBODY), purging.Order(PATIENT, True))
    monkeypatch.setattr(dates, "now", lambda: "2999-01-01T00:00:00.000Z")
    body = {"resourceType": "Patient", "id": "p1"}
    refused = request("PUT", PATIENT, body, scope=PURGE)
    assert (refused["statusCode"], issue(refused)) == (409, ("conflict", PATIENT))
    assert "send $purge again" in refused["resource"]["issue"][0]["diagnostics"]
    purge()
    assert request("PUT", PATIENT, body, scope=PURGE)["statusCode"] == 201


def test_a_binary_that_another_patients_document_links_to_is_left_and_listed(scene: Scene) -> None:
    """Whoever reads that document would find nothing. It goes by a purge of its own."""
    scene.create("Patient/other")
    record(scene)
    letter, photo = f"Binary/{PATIENT[8:]}-letter", f"Binary/{PATIENT[8:]}-photo"
    scene.put("DocumentReference/theirs", status="current", subject={"reference": "Patient/other"},
        content=[{"attachment": {"url": letter}}])  # fmt: skip
    scene.put("Provenance/theirs", target=[{"reference": photo}], recorded="2026-01-01T00:00:00Z",
        agent=[{"who": {"reference": "Organization/a"}}])  # fmt: skip
    _, shared = told(purge()["resource"])
    assert shared == sorted([letter, photo])
    assert scene.store.read(letter)
    assert scene.store.read(photo)
    # What follows a Binary that is left is left with it, and nothing else is.
    assert {key for key in traces(scene.store, MARK) if " #" in key} == {
        f"{key} #" for key in (letter, photo, f"Binary/{PATIENT[8:]}-page")
    }
    resources.delete(Session.of(scene.store, EVERYBODY), "Provenance/theirs")
    assert told(purge()["resource"]) == (1, [])
    assert scene.store.read(photo) is None
    assert told(request("POST", f"{letter}/$purge", scope=PURGE)["resource"]) == (2, [])
    assert traces(scene.store, MARK) == []


def test_a_job_lists_such_a_binary_too(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine(scene.store)
    monkeypatch.setattr(executions, "start", lambda store, job: machine.start(job))
    record(scene)
    letter = f"Binary/{PATIENT[8:]}-letter"
    scene.put("DocumentReference/theirs", status="current", content=[{"attachment": {"url": letter}}])
    status = purge(headers={"prefer": "respond-async"})["headers"]["content-location"].rpartition("/fhir/R4/")[2]
    machine.join(status.split("/")[1])
    done = request("GET", status, scope=PURGE)["resource"]["entry"][0]["resource"]
    assert told(done)[1] == [letter]


TENANT_A = {"accounts": "Organization/a"}


@pytest.mark.parametrize("context", ["DocumentReference/p1-letter", PATIENT])
def test_who_takes_the_id_of_what_was_purged_does_not_get_what_followed_it(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, context: str
) -> None:
    """A Binary that a purge leaves stays closed, whoever makes another resource where its context was."""
    scene.create("Patient/other")
    scene.put(PATIENT)
    scene.put(
        "DocumentReference/p1-letter",
        status="current",
        subject={"reference": PATIENT},
        content=[{"attachment": {"title": "x"}}],
    )
    scene.put("Binary/left", contentType="text/plain", securityContext={"reference": context})
    scene.put("DocumentReference/theirs", status="current", subject={"reference": "Patient/other"},
        content=[{"attachment": {"url": "Binary/left"}}])  # fmt: skip
    assert told(purge()["resource"])[1] == ["Binary/left"]
    monkeypatch.setattr(dates, "now", lambda: "2999-01-01T00:00:00.000Z")
    resource_type, _, identifier = context.partition("/")
    content = {"status": "current", "content": [{"attachment": {"title": "x"}}]} if resource_type != "Patient" else {}
    body = {"resourceType": resource_type, "id": identifier, **content}
    entry = {"request": {"method": "PUT", "url": context}, "resource": body}
    bundle = {"resourceType": "Bundle", "type": "transaction", "entry": [entry]}
    assert request("PUT", context, body, claims=TENANT_A)["statusCode"] == 404
    assert request("POST", "", bundle, claims=TENANT_A)["statusCode"] == 404
    assert request("GET", "Binary/left", claims=TENANT_A)["statusCode"] == 404
    # Who sees everything is free to, and gives it to nobody by that.
    assert request("PUT", context, {**body, "meta": {"accounts": [{"reference": A}]}})["statusCode"] == 201
    assert request("PUT", context, {**body, "language": "en"}, claims=TENANT_A)["statusCode"] == 200
    assert request("GET", "Binary/left", claims=TENANT_A)["statusCode"] == 404
    assert "entry" not in request("GET", "Binary", claims=TENANT_A)["resource"]
    following = {
        "resourceType": "Binary",
        "id": "new",
        "contentType": "text/plain",
        "securityContext": {"reference": context},
    }
    assert request("PUT", "Binary/new", following)["statusCode"] == 201
    assert request("GET", "Binary/new", claims=TENANT_A)["statusCode"] == 200


def test_who_has_the_binary_that_a_purge_left_may_take_the_id_of_what_it_followed(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene.create("Patient/other")
    scene.put(PATIENT)
    scene.put("Binary/left", contentType="text/plain", securityContext={"reference": PATIENT})
    scene.put("DocumentReference/theirs", status="current", subject={"reference": "Patient/other"},
        content=[{"attachment": {"url": "Binary/left"}}])  # fmt: skip
    assert told(purge()["resource"])[1] == ["Binary/left"]
    monkeypatch.setattr(dates, "now", lambda: "2999-01-01T00:00:00.000Z")
    scene.set("Binary/left", A)
    assert request("PUT", PATIENT, {"resourceType": "Patient", "id": "p1"}, claims=TENANT_A)["statusCode"] == 201


def test_who_takes_the_id_of_what_was_purged_does_not_get_its_trail(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene.put("List/l", status="current", mode="working")
    assert request("GET", "List/l", subject="doctor of another")["statusCode"] == 200
    assert answered(purge("List/l", None))[0] == 1
    monkeypatch.setattr(dates, "now", lambda: "2999-01-01T00:00:00.000Z")
    body = {"resourceType": "List", "id": "l", "status": "current", "mode": "working"}
    assert request("PUT", "List/l", body, claims=TENANT_A)["statusCode"] == 201
    monkeypatch.setattr(dates, "now", lambda: "2999-01-02T00:00:00.000Z")
    assert request("PUT", "List/l", body | {"title": "x"}, claims=TENANT_A)["statusCode"] == 200

    def trail(**claims: str) -> list[str]:
        found = request("GET", "AuditEvent?entity=List/l&_total=accurate&_sort=_id", claims=claims)["resource"]
        assert found["total"] == len(found.get("entry", []))
        return sorted(one["resource"]["subtype"][0]["code"] for one in found.get("entry", []))

    assert trail() == ["create", "create", "operation", "read", "update"]
    assert trail(**TENANT_A) == ["create", "update"]


def test_a_clock_that_is_late_hides_nothing_from_who_reads_what_a_binary_follows(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The process that wrote the Binary, and the event, had a clock behind that of the one that made what they are about."""
    monkeypatch.setattr(dates, "now", lambda: "2026-06-01T00:00:01.000Z")
    body = {"resourceType": "List", "id": "l", "status": "current", "mode": "working"}
    assert request("PUT", "List/l", body, claims=TENANT_A)["statusCode"] == 201
    monkeypatch.setattr(dates, "now", lambda: "2026-06-01T00:00:00.000Z")
    following = {
        "resourceType": "Binary",
        "id": "b",
        "contentType": "text/plain",
        "securityContext": {"reference": "List/l"},
    }
    assert request("PUT", "Binary/b", following)["statusCode"] == 201
    assert request("GET", "List/l", subject="early")["statusCode"] == 200
    assert request("GET", "Binary/b", claims=TENANT_A)["statusCode"] == 200
    assert request("GET", "AuditEvent?entity=List/l&_summary=count", claims=TENANT_A)["resource"]["total"] == 2

"""Bundles in the background, through the state machine: taken in, processed, told of. Dying and delivered twice: test_bundle_jobs_faults.py."""

from __future__ import annotations

import gzip
import json
import threading
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any, ClassVar

import pytest

from bulkhead.access import policy
from bulkhead.access.policy import EVERYBODY, Caller
from bulkhead.api.formats import XML, rendered
from bulkhead.audit import recording
from bulkhead.bundles import batch
from bulkhead.bundles.committing import commit
from bulkhead.bundles.context import MINIMAL, REPRESENTATION
from bulkhead.errors import BulkheadError, Unavailable
from bulkhead.jobs import executions, lifecycle, polling
from bulkhead.jobs.bundles import answers, processing, submission, uploads
from bulkhead.jobs.bundles.journal import finish
from bulkhead.jobs.bundles.orders import Order
from bulkhead.jobs.lifecycle import Background
from bulkhead.store import Store, files
from bulkhead.store import jobs as items
from bulkhead.store.jobs import DONE, FAILED, STARTING, Job
from functions import http
from infra.local import s3
from infra.local.listener import Listener
from tests.support.bundle_samples import bundle, create, delete, get, observation, patient, statuses, update
from tests.support.door import Door
from tests.support.scene import A, B, Machine, Scene, lost

Json = dict[str, Any]
BASE = "https://server.example/fhir/R4"
OWNER = EVERYBODY.owner


class Desk:
    """Where bundles are handed in, and asked about."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.machine = Machine(store, "processing")

    def order(self, caller: Caller = EVERYBODY, returns: str = MINIMAL) -> Order:
        return Order(caller, BASE, returns, True)

    def submit(self, body: Json, key: str | None = None, **order: Any) -> str:
        return submission.submit(self.store, self.order(**order), body, background=Background(self.machine.start, key))

    def submit_upload(self, upload: str, key: str | None = None, **order: Any) -> str:
        return submission.submit_upload(
            self.store, self.order(**order), upload, background=Background(self.machine.start, key)
        )

    def upload(self, content: bytes, owner: str = OWNER) -> str:
        """What a client does with the URL of an upload; that it works is tests/e2e/test_uploads.py."""
        made = uploads.offer(self.store, owner)
        name = made.url.partition("?")[0].partition("uploads/")[2]
        files.put(self.store, files.UPLOADS + name, content)
        return made.id

    def entry(self, job: str, owner: str = OWNER) -> Json:
        """The entry of the batch-response of a job, once its execution has ended."""
        self.machine.join(job)
        found = polling.status(self.store, owner, job, alive=self.machine.is_running)
        assert found.bundle is not None, found.progress
        entry: Json
        (entry,) = found.bundle["entry"]
        return entry

    def run(self, body: Json, **options: Any) -> Json:
        owner = options.get("caller", EVERYBODY).owner
        return self.entry(self.submit(body, **options), owner)

    def item(self, job: str) -> Job:
        return job_item(self.store, job)

    def objects(self, prefix: str, job: str) -> list[str]:
        found = self.store.s3.list_objects_v2(Bucket=self.store.settings.bucket, Prefix=f"{prefix}{job}")
        return [each["Key"] for each in found.get("Contents", [])]


def job_item(store: Store, job: str) -> Job:
    found = store.jobs.read(job)
    assert found is not None
    return found


@pytest.fixture
def new_desk(new_store: Any, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Desk]:
    """Makes a Desk on a store of its own; keyword arguments are settings. Reads within bundles are answered by the handlers."""

    def make(**settings: Any) -> Desk:
        store = new_store(**settings)
        monkeypatch.setattr(http, "connect", lambda: store)
        return Desk(store)

    return make


@pytest.fixture
def desk(new_desk: Callable[..., Desk]) -> Desk:
    return new_desk()


def code(entry: Json) -> str:
    return str(entry["response"]["status"][:3])


def issues(entry: Json) -> list[tuple[str, str | None]]:
    return [(each["code"], each.get("expression", [None])[0]) for each in entry["response"]["outcome"]["issue"]]


def family(count: int) -> list[Json]:
    """A patient and so many observations of it, as new resources."""
    urn = "urn:uuid:9d2b1b7e-5f0e-4c39-9c6b-2f3b8f6a1c11"
    return [create(patient("1"), urn), *(create(observation(urn)) for _ in range(count))]


def count(store: Store, *types: str) -> int:
    return sum(len(store.by_time(each)) for each in types)


class TestTransaction:
    @pytest.mark.parametrize("size", [3, 150])
    def test_the_answer_is_that_of_a_synchronous_one(self, desk: Desk, size: int) -> None:
        entry = desk.run(bundle(*family(size)))
        assert entry["response"] == {"status": "200 OK"}
        answer = entry["resource"]
        assert answer["type"] == "transaction-response"
        assert statuses(answer["entry"]) == ["201"] * (size + 1)
        made = [content["response"]["location"].partition("/_history")[0] for content in answer["entry"]]
        heads = desk.store.read_many(made)
        assert set(heads) == set(made)
        assert desk.store.decode(heads[made[1]])["subject"]["reference"] == made[0]

    def test_reads_are_answered_after_the_commit(self, desk: Desk) -> None:
        entry = desk.run(bundle(get("Patient/a"), update(patient("1", id="a")), get("Patient?identifier=1")))
        answers = entry["resource"]["entry"]
        assert statuses(answers) == ["200", "201", "200"]
        assert (answers[0]["resource"]["id"], answers[2]["resource"]["total"]) == ("a", 1)

    def test_prefer_representation(self, desk: Desk) -> None:
        (content,) = desk.run(bundle(update(patient("1", id="a"))), returns=REPRESENTATION)["resource"]["entry"]
        assert content["resource"]["meta"]["versionId"] == "1"
        assert content["resource"]["meta"]["compartment"] == [{"reference": "Patient/a"}]

    def test_nothing_to_write(self, desk: Desk) -> None:
        one = create(patient("1"), None, "identifier=1")
        desk.run(bundle(one))
        assert statuses(desk.run(bundle(one))["resource"]["entry"]) == ["200"]
        assert desk.run(bundle())["resource"] == {"resourceType": "Bundle", "type": "transaction-response"}

    def test_what_only_the_store_knows_fails_in_the_job(self, desk: Desk) -> None:
        body = bundle(*family(2), delete("Patient?identifier=1"), update(patient(id="b"), ifMatch='W/"7"'))
        entry = desk.run(body)
        assert code(entry) == "412"
        assert issues(entry)[0][1] == "Bundle.entry[4].request.ifMatch"
        assert "nothing was changed" in entry["response"]["outcome"]["issue"][-1]["diagnostics"]
        assert "resource" not in entry
        assert count(desk.store, "Patient", "Observation") == 0

    @pytest.mark.parametrize("kind", ["transaction", "batch"])
    def test_the_body_waits_in_s3_until_the_job_is_over(self, desk: Desk, kind: str) -> None:
        job = submission.submit(
            desk.store, desk.order(), bundle(create(patient("1")), kind=kind), background=Background(lost)
        )
        assert len(desk.objects(files.REQUESTS, job)) == 1
        desk.machine.start(job)
        assert code(desk.entry(job)) == "200"
        assert desk.objects(files.REQUESTS, job) == []

    def test_everything_of_a_job_expires_with_it(self, desk: Desk) -> None:
        job = desk.submit(bundle(*(create(patient(str(n))) for n in range(4)), kind="batch"))
        desk.machine.join(job)
        found = list(desk.store.table.query(f"job#{job}"))
        assert len(found) == 5
        assert {item["ttl"]["N"] for item in found} == {str(desk.item(job).expires)}


class TestRights:
    def test_the_caller_is_the_same_later(self, desk: Desk) -> None:
        scene = Scene(desk.store)
        theirs = scene.put("Patient/theirs").key
        scene.set(theirs, B)
        scopes = (policy.Scope("system", "Patient", "cruds"),)
        fenced = Caller("tenant", scopes, accounts=(A,))
        reads = [get("Patient/theirs"), get("Observation?status=final")]
        entry = desk.run(bundle(create(patient("1")), *reads, delete(theirs), kind="batch"), caller=fenced)
        answers = entry["resource"]["entry"]
        assert statuses(answers) == ["201", "404", "403", "404"]
        made = answers[0]["response"]["location"].partition("/_history")[0]
        assert scene.accounts(made) == (A,)
        assert not scene.head(theirs).deleted

    def test_a_job_is_its_owners(self, desk: Desk) -> None:
        me = replace(EVERYBODY, subject="me")
        job = desk.submit(bundle(create(patient("1"))), caller=me)
        for stranger in (OWNER, "me", "other"):
            with pytest.raises(BulkheadError) as caught:
                desk.entry(job, stranger)
            assert caught.value.status == 404
            with pytest.raises(BulkheadError) as caught:
                polling.cancel(desk.store, stranger, job, stop=desk.machine.stop)
            assert caught.value.status == 404
        assert code(desk.entry(job, me.owner)) == "200"

    def test_who_may_only_read_uploads_nothing(
        self, store: Store, keys_folder: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        door = Door(store, keys_folder, monkeypatch)
        for scope, status in (("system/*.rs", 403), ("patient/*.rs", 403), ("system/Patient.c", 200)):
            with door.client(scope, patient="p") as client:
                assert client.post("$upload").status_code == status

    def test_rights_are_looked_at_before_there_is_a_job(
        self, store: Store, keys_folder: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        door = Door(store, keys_folder, monkeypatch)
        started: list[str] = []
        monkeypatch.setattr(executions, "start", lambda store, job: started.append(job))
        for scope, status in (("system/*.rs", 403), ("system/Patient.cruds", 202)):
            with door.client(scope) as client:
                answer = client.post("", json=bundle(create(patient())), headers={"prefer": "respond-async"})
                assert answer.status_code == status
        assert len(started) == 1
        # Of the token nothing is kept but what it gives.
        token = client.headers["authorization"].removeprefix("Bearer ")
        kept = job_item(store, started[0]).request
        assert token not in kept
        assert "somebody" in kept


class TestAudit:
    """A bundle leaves the same AuditEvents in the background as one that is waited for."""

    LIST: ClassVar[Json] = {"resourceType": "List", "id": "l", "status": "current", "mode": "working"}

    def events(self, desk: Desk) -> list[tuple[str, str, list[str]]]:
        found = [moment.key for moment in desk.store.by_time("AuditEvent")]
        made = [desk.store.decode(head) for head in desk.store.read_many(found).values()]
        return sorted(
            (
                event["subtype"][0]["code"],
                event["agent"][0]["who"]["identifier"]["value"],
                [entity["what"]["reference"] for entity in event.get("entity", ())],
            )
            for event in made
        )

    def test_changes_and_reads(self, desk: Desk) -> None:
        caller = replace(EVERYBODY, subject="me", address="192.0.2.7")
        for kind in ("transaction", "batch"):
            body = bundle(update({**self.LIST, "title": kind}), get("List/l"), get("List?status=current"), kind=kind)
            assert statuses(desk.run(body, caller=caller)["resource"]["entry"])[1:] == ["200", "200"]
        assert self.events(desk) == [
            ("create", "me", ["List/l"]),
            *[("read", "me", ["List/l"])] * 2,
            *[("search-type", "me", ["List/l"])] * 2,
            ("update", "me", ["List/l"]),
        ]

    def test_refusals(self, desk: Desk) -> None:
        Scene(desk.store)
        caller = Caller("me", EVERYBODY.scopes, accounts=(B,))
        assert code(desk.run(bundle(delete("Patient/p")), caller=caller)) == "404"
        answers = desk.run(bundle(delete("Patient/p"), get("Patient/p"), kind="batch"), caller=caller)
        assert statuses(answers["resource"]["entry"]) == ["404", "404"]
        refused = [("batch", "me", ["Patient/p"])] * 3
        assert self.events(desk) == refused

    def test_what_cannot_be_recorded_is_not_told(self, desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
        def unavailable(*arguments: Any, **named: Any) -> None:
            raise Unavailable("the trail cannot be written")

        desk.run(bundle(update(self.LIST)))
        monkeypatch.setattr(recording, "record", unavailable)
        entry = desk.run(bundle(get("List/l"), kind="batch"))
        assert code(entry) == "503"
        assert "resource" not in entry


class TestRefusedAtOnce:
    CASES: tuple[tuple[Json, int, str], ...] = (
        ({"resourceType": "Patient"}, 400, "resourceType"),
        ({"resourceType": "Bundle", "type": "searchset"}, 400, "Bundle.type"),
        ({"resourceType": "Bundle", "type": "batch", "entry": {}}, 400, "Bundle.entry"),
        ({"resourceType": "Bundle", "type": "batch", "nonsense": 1}, 400, "Bundle.nonsense"),
        (bundle(create(patient(gender="x"))), 400, "Bundle.entry[0].resource.gender"),
        (bundle(create(patient()), create({"resourceType": "Basic"})), 400, "Bundle.entry[1].resource.code"),
        (bundle(create(observation("Patient/a"))), 403, "Bundle.entry[0]"),
    )

    def test_what_can_be_seen(self, desk: Desk) -> None:
        def start(job: str) -> None:
            raise AssertionError("a job was started")

        caller = Caller("me", (policy.Scope("system", "Patient", "cruds"), policy.Scope("system", "Basic", "cruds")))
        for body, status, expression in self.CASES:
            with pytest.raises(BulkheadError) as caught:
                submission.submit(desk.store, desk.order(caller), body, background=Background(start))
            assert (caught.value.status, caught.value.issues[0].expression) == (status, expression)

    def test_too_many_entries(self, desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(desk.store, "settings", replace(desk.store.settings, entry_limit=3))
        with pytest.raises(BulkheadError) as caught:
            desk.submit(bundle(*family(3), kind="batch"))
        assert (caught.value.status, caught.value.issues[0].expression) == (413, "Bundle.entry")

    def test_a_state_machine_that_does_not_start(self, desk: Desk) -> None:
        begun: list[str] = []

        def refuse(job: str) -> None:
            begun.append(job)
            raise ConnectionError

        with pytest.raises(BulkheadError) as caught:
            submission.submit(
                desk.store, desk.order(), bundle(create(patient("1"))), background=Background(refuse, "key")
            )
        assert caught.value.status == 503
        assert desk.store.jobs.read(begun[0]) is None
        assert code(desk.run(bundle(create(patient("1"))), key="key")) == "200"


class TestIdempotency:
    def test_the_same_key_is_the_same_job(self, desk: Desk) -> None:
        body = bundle(create(patient("1")))
        first, second = desk.submit(body, "once"), desk.submit(body, "once")
        assert first == second
        assert code(desk.entry(first)) == "200"
        assert desk.submit(body, "once") == first
        assert desk.submit(body, "twice") != first
        assert desk.submit(body, "once", caller=replace(EVERYBODY, subject="other")) != first
        desk.machine.join(first)
        assert desk.item(first).attempt == 1

    def test_a_key_is_good_for_one_request(self, desk: Desk) -> None:
        desk.submit(bundle(create(patient("1"))), "once")
        scene = Scene(desk.store)
        propagation = Machine(desk.store)
        scene.set("Patient/p", A, propagate=True, background=propagation.background("shared"))
        for body, key in ((bundle(create(patient("2"))), "once"), (bundle(create(patient("1"))), "shared")):
            with pytest.raises(BulkheadError) as caught:
                desk.submit(body, key)
            assert (caught.value.status, caught.value.issues[0].expression) == (422, "Idempotency-Key")
        with pytest.raises(BulkheadError) as caught:
            scene.set("Patient/p", A, propagate=True, background=propagation.background("once"))
        assert caught.value.status == 422

    def test_a_request_that_died_before_the_start_is_started_by_the_next(self, desk: Desk) -> None:
        body = bundle(create(patient("1")))
        job = submission.submit(desk.store, desk.order(), body, background=Background(lost, "once"))
        assert desk.item(job).state == STARTING
        assert desk.submit(body, "once") == job
        assert code(desk.entry(job)) == "200"


class TestUploads:
    def test_any_format(self, desk: Desk) -> None:
        forms = [json.dumps(bundle(*family(3))).encode(), rendered(XML, bundle(*family(3)), pretty=True)]
        for content in [*forms, *map(gzip.compress, forms)]:
            job = desk.submit_upload(desk.upload(content))
            assert statuses(desk.entry(job)["resource"]["entry"]) == ["201"] * 4
            assert desk.item(job).total == 4
        assert count(desk.store, "Observation") == 12

    def test_one_upload_is_one_job(self, desk: Desk) -> None:
        upload = desk.upload(json.dumps(bundle(create(patient("1")))).encode())
        first, second = desk.submit_upload(upload), desk.submit_upload(upload)
        assert first == second
        assert code(desk.entry(first)) == "200"
        assert desk.submit_upload(upload) == first
        assert count(desk.store, "Patient") == 1

    @pytest.mark.parametrize("moment", ["find", "copy", "remove"])
    @pytest.mark.parametrize("key", [None, "k"])
    def test_another_submission_in_between_is_the_same_job(
        self, desk: Desk, monkeypatch: pytest.MonkeyPatch, moment: str, key: str | None
    ) -> None:
        """The whole of another submission just before a call of S3 that this one makes."""
        upload = desk.upload(json.dumps(bundle(create(patient("1")))).encode())
        call, others = getattr(files, moment), []

        def after_another(*arguments: Any, **named: Any) -> Any:
            monkeypatch.setattr(files, moment, call)
            others.append(desk.submit_upload(upload, key))
            return call(*arguments, **named)

        monkeypatch.setattr(files, moment, after_another)
        job = desk.submit_upload(upload, key)
        assert others == [job]
        (answered,) = desk.entry(job)["resource"]["entry"]
        assert (answered["response"]["status"], desk.item(job).attempt) == ("201 Created", 1)

    def test_what_is_put_later_is_not_seen(self, desk: Desk) -> None:
        upload = desk.upload(json.dumps(bundle(create(patient("1")))).encode())
        job = submission.submit_upload(desk.store, desk.order(), upload, background=Background(lost))
        files.put(desk.store, uploads._name(OWNER, upload), b"other")
        assert desk.submit_upload(upload) == job
        assert code(desk.entry(job)) == "200"

    def test_unknown_somebody_elses_and_expired(self, desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
        for identifier in ("0" * 32, "", "../../bodies/x", "nonsense"):
            self.assert_absent(desk, identifier)
        content = json.dumps(bundle(create(patient("1")))).encode()
        self.assert_absent(desk, desk.upload(content, owner="other"))
        monkeypatch.setattr(uploads, "LIFETIME", timedelta(seconds=-5))
        self.assert_absent(desk, desk.upload(content))

    def assert_absent(self, desk: Desk, identifier: str) -> None:
        with pytest.raises(BulkheadError) as caught:
            desk.submit_upload(identifier)
        assert (caught.value.status, caught.value.issues[0].expression) == (
            404,
            "Parameters.parameter[0].valueId",
        )

    def test_another_put_at_the_same_moment(self, desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
        """What was found to be small enough is what is processed, or nothing. (moto copies on no condition.)"""
        objects = s3.Objects(None)
        listener = Listener("127.0.0.1", 0, lambda environ: s3.answer(environ, objects, "b"), threads=2)
        listener.serve()
        keys = {"aws_access_key_id": "a", "aws_secret_access_key": "b"}
        desk.store._s3 = files.client(endpoint_url=f"http://127.0.0.1:{listener.port}", **keys)
        upload = desk.upload(b"{}")
        find = files.find

        def replaced(store: Store, name: str) -> Any:
            found = find(store, name)
            files.put(store, name, b"another")
            return found

        monkeypatch.setattr(files, "find", replaced)
        with pytest.raises(BulkheadError) as caught:
            desk.submit_upload(upload)
        listener.stop()
        assert caught.value.status == 409

    def test_too_large(self, new_desk: Callable[..., Desk]) -> None:
        desk = new_desk(upload_limit=1000)
        with pytest.raises(BulkheadError) as caught:
            desk.submit_upload(desk.upload(b"x" * 1001))
        assert caught.value.status == 413
        entry = desk.entry(desk.submit_upload(desk.upload(gzip.compress(b" " * 1001))))
        assert (code(entry), issues(entry)[0]) == ("413", ("too-long", "body"))

    NONSENSE = (
        b"", b"{", b"<Bundle", b"\xff", b"[]", gzip.compress(b"{}")[:-9], b"\x1f\x8bnonsense", b"[" * 100_000,
         b'{"resourceType":"Patient"}', b'{"resourceType":"Bundle","type":"batch","entry":3}', b'{"resourceType":["x"]}',
    )  # fmt: skip

    def test_nonsense(self, desk: Desk) -> None:
        for content in self.NONSENSE:
            job = desk.submit_upload(desk.upload(content))
            entry = desk.entry(job)
            assert code(entry) == "400"
            assert issues(entry)[0][1]
            assert desk.item(job).attempt == 1

    def test_thousands_of_faults_are_cut(self, desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(lifecycle, "_ERROR_BYTES", 5000)
        body = bundle(*[create(patient(gender="x"))] * 300)
        entry = desk.entry(desk.submit_upload(desk.upload(json.dumps(body).encode())))
        assert code(entry) == "400"
        first, *_, cut, nothing = entry["response"]["outcome"]["issue"]
        assert first["expression"] == ["Bundle.entry[0].resource.gender"]
        left = 300 - (len(entry["response"]["outcome"]["issue"]) - 2)
        assert cut["diagnostics"] == f"{left} more issues are not shown"
        assert nothing["severity"] == "information"

    @pytest.mark.parametrize(
        "parameters",
        [
            {},
            {"parameter": []},
            {"parameter": "x"},
            {"parameter": [{"name": "upload", "valueId": "a"}, {"name": "upload", "valueId": "b"}]},
            {"parameter": [{"name": "other", "valueId": "a"}]},
            {"parameter": [{"name": "upload"}]},
            {"parameter": [{"name": "upload", "valueId": 5}]},
            {"parameter": [{"name": "upload", "valueId": "a", "valueString": "b"}]},
            {"parameter": [None]},
        ],
    )
    def test_what_stands_for_no_upload(self, parameters: Json) -> None:
        with pytest.raises(BulkheadError) as caught:
            uploads.referred({"resourceType": "Parameters", **parameters})
        assert caught.value.status == 400
        assert caught.value.issues[0].expression

    def test_what_is_to_be_sent_next(self, desk: Desk) -> None:
        given = {each["name"]: each for each in uploads.parameters(uploads.offer(desk.store, "me"))["parameter"]}
        assert uploads.referred(given["next"]["resource"]) == given["upload"]["valueId"]


class TestBatch:
    def test_entries_stand_for_themselves(self, desk: Desk) -> None:
        body = bundle(create(patient("1")), create(patient(gender="x")), get("Patient?identifier=1"), kind="batch")
        entry = desk.run(body)
        assert entry["response"] == {"status": "200 OK"}
        assert entry["resource"]["type"] == "batch-response"
        assert statuses(entry["resource"]["entry"]) == ["201", "400", "200"]

    def test_progress_counts_entries(self, desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
        seen: list[str] = []

        def observed(*arguments: Any, **named: Any) -> None:
            seen.append(polling.status(desk.store, OWNER, job.pop(), alive=desk.machine.is_running).progress)
            commit(*arguments, **named)

        monkeypatch.setattr(batch, "GROUPS_AT_ONCE", 1)
        monkeypatch.setattr(batch, "commit", observed)
        made = submission.submit(
            desk.store, desk.order(), bundle(*[create(patient())] * 80, kind="batch"), background=Background(lost)
        )
        job = [made] * 4
        desk.machine.start(made)
        assert statuses(desk.entry(made)["resource"]["entry"]) == ["201"] * 80
        assert seen == [f"{done} of 80 entries" for done in (0, 25, 50, 75)]

    def test_cancelling_stops_within_a_group(self, desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
        begun, cancelled = threading.Event(), threading.Event()
        calls = [0]

        def held(*arguments: Any, **named: Any) -> None:
            calls[0] += 1
            if calls[0] == 2:
                begun.set()
                cancelled.wait(20)
            commit(*arguments, **named)

        monkeypatch.setattr(batch, "GROUPS_AT_ONCE", 1)
        monkeypatch.setattr(batch, "commit", held)
        job = desk.submit(bundle(*[create(patient())] * 150, kind="batch"))
        begun.wait(20)
        polling.cancel(desk.store, OWNER, job, stop=desk.machine.stop)
        cancelled.set()
        entry = desk.entry(job)
        assert calls[0] == 2
        assert code(entry) == "409"
        assert statuses(entry["resource"]["entry"]) == ["201"] * 50 + ["409"] * 100
        assert "50 of 150 entries" in entry["response"]["outcome"]["issue"][-1]["diagnostics"]
        assert count(desk.store, "Patient") == 50
        assert desk.objects(files.REQUESTS, job) == []


class TestCancel:
    def test_before_the_commit_nothing_is_changed(self, desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
        """Cancelled when all but the commit is done: the answer is stored already."""
        keep = answers.keep

        def cancelled(store: Store, job: Job, answer: Json, *, final: bool = False) -> tuple[str, int]:
            polling.cancel(store, OWNER, job.id, stop=desk.machine.stop)
            return keep(store, job, answer, final=final)

        monkeypatch.setattr(answers, "keep", cancelled)
        for size in (3, 120):
            entry = desk.run(bundle(*family(size)))
            assert code(entry) == "409"
            assert [each["code"] for each in entry["response"]["outcome"]["issue"]] == ["incomplete", "informational"]
        assert count(desk.store, "Patient", "Observation") == 0

    def test_after_the_commit_it_comes_too_late(self, desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
        def late(store: Store, job: Job, answer: Json) -> None:
            polling.cancel(store, OWNER, job.id, stop=desk.machine.stop)
            finish(store, job, answer)

        monkeypatch.setattr(processing, "finish", late)
        for more in ([], [get("Patient?identifier=1")]):
            assert code(desk.run(bundle(*family(2), *more))) == "200"

    def test_before_it_has_begun(self, desk: Desk) -> None:
        job = submission.submit(desk.store, desk.order(), bundle(create(patient("1"))), background=Background(lost))
        polling.cancel(desk.store, OWNER, job, stop=lambda job: None)
        desk.machine.start(job)
        assert code(desk.entry(job)) == "409"
        assert count(desk.store, "Patient") == 0


class TestLargeAnswers:
    def fetched(self, desk: Desk, entry: Json) -> Json:
        """What the location of the entry leads to; that a client can GET it is tests/e2e/test_uploads.py."""
        assert "resource" not in entry
        location = entry["response"]["location"]
        assert "X-Amz-Signature=" in location
        name = files.RESULTS + location.partition("?")[0].partition(files.RESULTS)[2]
        content: Json = json.loads(files.get(desk.store, name) or b"")
        return content

    def test_are_fetched_by_a_url(self, new_desk: Callable[..., Desk]) -> None:
        desk = new_desk(answer_limit=500)
        entry = desk.run(bundle(*family(3), get("Patient?identifier=1")))
        assert entry["response"]["status"] == "200 OK"
        assert statuses(self.fetched(desk, entry)["entry"]) == ["201"] * 4 + ["200"]

    def test_also_what_was_done_before_it_broke_off(self, new_desk: Callable[..., Desk]) -> None:
        desk = new_desk(answer_limit=500)
        job = desk.submit(bundle(*[create(patient())] * 9, kind="batch"))
        desk.machine.join(job)
        assert desk.store.jobs.change(job, [DONE], state=items.CANCELLED)
        entry = desk.entry(job)
        assert code(entry) == "409"
        assert statuses(self.fetched(desk, entry)["entry"]) == ["201"] * 9


class TestDead:
    def failing(self, desk: Desk) -> None:
        def broken(store: Store, given: Mapping[str, Any]) -> Json:
            raise RuntimeError("with a patient's name")

        desk.machine.steps["process"] = broken

    def test_a_task_that_always_fails(self, desk: Desk) -> None:
        self.failing(desk)
        job = desk.submit(bundle(create(patient("1"))))
        entry = desk.entry(job)
        assert desk.item(job).state == FAILED
        assert (code(entry), issues(entry)[0]) == ("503", ("transient", None))
        diagnostics = entry["response"]["outcome"]["issue"][0]["diagnostics"]
        assert "RuntimeError" in diagnostics
        assert "name" not in diagnostics

    def test_a_state_machine_that_is_gone(self, desk: Desk) -> None:
        job = submission.submit(desk.store, desk.order(), bundle(create(patient("1"))), background=Background(lost))
        assert polling.status(desk.store, OWNER, job, alive=lambda job: False).progress == "0 of 1 entries"
        taken = desk.store.jobs.take(job)
        assert taken
        found = polling.status(desk.store, OWNER, job, alive=lambda job: False).bundle
        assert found is not None
        assert code(found["entry"][0]) == "503"
        # A worker that hangs, and goes on later, does nothing any more.
        assert not desk.store.jobs.change(job, items.UNFINISHED, taken.attempt, state=DONE)

    def test_committed_is_told_even_if_its_reads_are_never_answered(
        self, desk: Desk, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def dies(*arguments: Any, **named: Any) -> None:
            raise RuntimeError

        monkeypatch.setattr(processing, "finish", dies)
        entry = desk.run(bundle(create(patient("1")), get("Patient?identifier=1")))
        assert entry["response"]["status"] == "200 OK"
        answers = entry["resource"]["entry"]
        assert statuses(answers) == ["201", "503"]
        assert "send the read again" in answers[1]["response"]["outcome"]["issue"][0]["diagnostics"]
        assert count(desk.store, "Patient") == 1

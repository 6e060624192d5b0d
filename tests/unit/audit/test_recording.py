"""Which requests leave AuditEvents, and what one says. Through the front door: tests/integration/test_audit.py."""

from __future__ import annotations

import pytest

from bulkhead import resources
from bulkhead.access import policy
from bulkhead.access.policy import EVERYBODY, Caller
from bulkhead.api.routes import ROUTES
from bulkhead.api.showing import READS
from bulkhead.api.trail import DEEDS
from bulkhead.audit import recording
from bulkhead.audit.events import RECORDED_BY, SENT_BY, Entity, deed, event
from bulkhead.errors import Forbidden, Gone, MethodNotAllowed, NotFound, Unauthorized
from bulkhead.facts.audit_names import PREFIX
from bulkhead.facts.index_facts import facts
from bulkhead.fhir import validation
from bulkhead.search import run
from bulkhead.search.parse import parse
from bulkhead.session import Session
from bulkhead.settings import Settings
from bulkhead.store import Head, Store, Write

NOW = "2026-11-28T00:00:00.000Z"
FENCED = Caller("someone", (), accounts=("Organization/a",))


class TestPolicy:
    def test_the_default(self) -> None:
        known = recording.policy(Settings().audit)
        assert known.records_read("List")
        assert known.records_change("List")
        assert not known.records_read("Observation")
        assert not known.records_change("Patient")
        assert known.set_accounts
        assert known.refusals

    def test_up_to_everything_and_down_to_nothing(self) -> None:
        known = recording.policy(" *.read, Patient.write ")
        assert known.records_read("Observation")
        assert known.records_change("Patient")
        assert not known.records_change("Observation")
        assert recording.policy("off") == recording.policy("") == recording.Policy()

    @pytest.mark.parametrize("text", ["List", "List.reads", "on", "$set-account"])
    def test_what_is_not_understood_is_refused(self, text: str) -> None:
        with pytest.raises(ValueError, match="AUDIT"):
            recording.policy(text)


def test_every_operation_that_needs_a_caller_has_a_deed() -> None:
    assert {route.operation for route in ROUTES if not route.public} == set(DEEDS)
    assert set(READS) < set(DEEDS)


@pytest.mark.parametrize(
    ("who", "error", "refused"),
    [
        (None, Unauthorized("x"), True),
        (EVERYBODY, Forbidden("x"), True),
        (EVERYBODY, NotFound("x"), False),
        (FENCED, NotFound("x"), True),
        (FENCED, Gone("x"), False),
    ],
)
def test_what_is_a_refusal(who: Caller | None, error: Unauthorized, refused: bool) -> None:
    assert recording.is_refusal(who, error) is refused


def test_an_event_is_valid_and_names_each_patient_once() -> None:
    entities = [Entity("List/1", 3, {"note": "x"}), Entity("Patient/1")]
    made = event(
        "audit-1",
        Caller("me", (), address="::1"),
        deed("read"),
        entities=entities,
        patients=["Patient/1", "Patient/2"],
        recorded=NOW,
    )
    assert validation.faults(made, "AuditEvent") == []
    assert [entity["what"]["reference"] for entity in made["entity"]] == ["List/1", "Patient/1", "Patient/2"]
    assert made["entity"][0]["detail"] == [
        {"type": "note", "valueString": "x"},
        {"type": "version", "valueString": "3"},
    ]
    nothing = event(
        "audit-2",
        EVERYBODY,
        deed("operation", "$x"),
        entities=[],
        patients=[],
        recorded=NOW,
        outcome="4",
        description="403 forbidden",
    )
    assert validation.faults(nothing, "AuditEvent") == []


def write(key: str, base: Head | None = None, body: bytes | None = b"z") -> Write:
    return Write(key, base, body, new=None if body is None else facts({"resourceType": "AuditEvent"}))


def head(key: str) -> Head:
    return Head(key, 1, NOW, "POST", b"z")


class TestUntouched:
    def test_a_new_one_of_a_client(self) -> None:
        recording.require_untouched([write("AuditEvent/1"), write("Patient/audit-1", head("Patient/audit-1"))], "on")

    @pytest.mark.parametrize("body", [b"z", None])
    def test_a_clients_own_changes_only_without_authentication(self, body: bytes | None) -> None:
        changed = [write("AuditEvent/1", head("AuditEvent/1"), body)]
        with pytest.raises(MethodNotAllowed):
            recording.require_untouched(changed, "on")
        recording.require_untouched(changed, "off")

    def test_accounts_of_a_clients_own_may_change(self) -> None:
        recording.require_untouched([Write("AuditEvent/1", head("AuditEvent/1"), b"z")], "on")

    def test_the_servers_own_never(self) -> None:
        for auth in ("on", "off"):
            with pytest.raises(MethodNotAllowed):
                recording.require_untouched([Write("AuditEvent/audit-1", head("AuditEvent/audit-1"), b"z")], auth)
            with pytest.raises(Forbidden):
                recording.require_untouched([write("AuditEvent/audit-1")], auth)


def test_who_really_sent_a_clients_event_is_added_and_cannot_be_forged(store: Store) -> None:
    someone = Caller("mallory", EVERYBODY.scopes)
    forged = event("x", EVERYBODY, deed("read"), entities=[], patients=[], recorded=NOW) | {
        "extension": [
            {"url": SENT_BY, "valueIdentifier": {"value": "alice"}},
            {"url": "urn:other", "valueCode": "kept"},
        ]
    }
    assert forged["meta"]["tag"] == [{"system": RECORDED_BY, "code": "server"}]
    forged["meta"]["tag"].append({"system": "urn:x", "code": "kept"})
    head, _ = resources.create(Session.of(store, someone), resources.checked(forged, "AuditEvent"))
    kept = store.decode(head)
    assert kept["agent"] == forged["agent"], "what the client says of its agents stays"
    assert kept["meta"]["tag"] == [{"system": "urn:x", "code": "kept"}, {"system": RECORDED_BY, "code": "client"}]
    assert kept["extension"] == [
        {"url": "urn:other", "valueCode": "kept"},
        {"url": SENT_BY, "valueIdentifier": {"value": "mallory"}},
    ]
    validation.check({**kept, "id": head.id}, "AuditEvent")


def test_a_search_tells_the_servers_events_from_those_of_clients(store: Store) -> None:
    given = {
        name: value
        for name, value in event("x", EVERYBODY, deed("read"), entities=[], patients=[], recorded=NOW).items()
        if name != "id"
    }
    made, _ = resources.create(Session.of(store, EVERYBODY), resources.checked(given, "AuditEvent"))
    resources.create(Session.of(store, EVERYBODY), {"resourceType": "List", "status": "current", "mode": "working"})

    def found(code: str) -> list[str]:
        query = parse([("_tag", f"{RECORDED_BY}|{code}")], "AuditEvent")
        return [one.head.id for one in run.find(store, query, 10, fence=policy.fence(store, EVERYBODY, policy.SEARCH))]

    assert found("client") == [made.id]
    (own,) = found("server")
    assert own.startswith(PREFIX)

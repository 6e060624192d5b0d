"""`preview`: what the request would do, told by the code that does it, and nothing done."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec import structs

from bulkhead import resources
from bulkhead.access import scopes
from bulkhead.access.policy import EVERYBODY
from bulkhead.errors import BulkheadError, Forbidden, Gone, NotFound, PreconditionFailed, Unprocessable
from bulkhead.operations import set_accounts_run
from bulkhead.operations.set_accounts_preview import NAMED, Preview, answer, preview
from bulkhead.operations.set_accounts_request import Request
from bulkhead.session import Session
from bulkhead.store import Head, Store
from tests.support.scene import PATIENT, A, B, C, Scene

OF_A = replace(EVERYBODY, accounts=(A,))


@pytest.fixture
def scene(store: Store) -> Scene:
    return Scene(store)


def look(
    scene: Scene, key: str, *accounts: str, caller: Any = EVERYBODY, if_match: str | None = None, **asked: Any
) -> Preview:
    return preview(Session.of(scene.store, caller), key, Request(accounts, preview=True, **asked), if_match=if_match)


def test_gains_and_losses_are_counted_by_account_and_type(scene: Scene) -> None:
    scene.put("Condition/1", subject={"reference": PATIENT})
    members = scene.observations(3)
    scene.set(PATIENT, A, propagate=True)
    scene.set(members[0], C)
    found = look(scene, PATIENT, B, C, propagate=True)
    assert (found.updated, found.complete) == (5, True)
    assert found.gains == {
        B: {"Patient": 1, "Condition": 1, "Observation": 3},
        C: {"Patient": 1, "Condition": 1, "Observation": 2},
    }
    assert found.loses == {A: {"Patient": 1, "Condition": 1, "Observation": 3}}
    assert found.changed == [PATIENT, "Condition/1", *members]


def test_without_propagate_the_target_alone(scene: Scene) -> None:
    scene.observations(3)
    found = look(scene, PATIENT, B)
    assert (found.updated, found.changed, found.gains) == (1, [PATIENT], {B: {"Patient": 1}})


def test_nothing_is_written_and_no_job_started(scene: Scene) -> None:
    members = scene.observations(3)
    before = [scene.head(key) for key in (PATIENT, *members)]
    with scene.store.metered() as meter:
        look(scene, PATIENT, A, propagate=True, ends={A: "2999-01-01T00:00:00.000Z"}, inherit=False)
    assert set(meter.requests) <= {"GetItem", "BatchGetItem", "Query"}
    assert [scene.head(key) for key in (PATIENT, *members)] == before


def test_where_all_stands_nothing_changes(scene: Scene) -> None:
    scene.observations(3)
    scene.set(PATIENT, A, propagate=True)
    assert look(scene, PATIENT, A, propagate=True) == Preview(updated=4)


def test_the_first_hundred_are_named_and_all_are_counted(scene: Scene) -> None:
    scene.observations(NAMED + 20)
    found = look(scene, PATIENT, A, propagate=True)
    assert len(found.changed) == NAMED
    assert found.gains[A]["Observation"] == NAMED + 20


def test_a_compartment_that_is_too_large_is_counted_up_to_the_limit(new_store: Any) -> None:
    scene = Scene(new_store(sync_limit=3))
    scene.observations(5)
    found = look(scene, PATIENT, A, propagate=True)
    assert (found.updated, found.complete, found.gains[A]) == (4, False, {"Patient": 1, "Observation": 3})


def test_a_fenced_caller_is_told_of_what_it_sees_only(scene: Scene) -> None:
    seen, hidden = scene.observations(2)
    scene.set(PATIENT, A)
    scene.set(seen, A)
    scene.adjust(hidden, inherited=None, carries=None)
    scene.adjust(seen, inherited=None, carries=None)
    found = look(scene, PATIENT, A, caller=OF_A, propagate=True)
    assert found.updated == 3, "as the run itself answers"
    assert found.changed == [seen]
    assert found.gains == {}


def test_scopes_with_queries_bound_it_too(scene: Scene) -> None:
    final, _ = scene.observations(2)
    scene.observation(final.partition("/")[2], status="final")
    narrow = replace(EVERYBODY, scopes=scopes.parse(["system/Observation.rs?status=final", "system/Patient.rs"]))
    assert look(scene, PATIENT, A, caller=narrow, propagate=True).changed == [PATIENT, final]


@pytest.mark.parametrize(
    ("key", "asked", "caller", "if_match", "error"),
    [
        (PATIENT, Request((A,)), replace(EVERYBODY, sets_accounts=False), None, Forbidden),
        (PATIENT, Request((B,)), OF_A, None, Forbidden),
        (PATIENT, Request((A,)), OF_A, None, NotFound),
        ("Patient/none", Request((A,)), EVERYBODY, None, NotFound),
        ("Basic/gone", Request((A,)), EVERYBODY, None, Gone),
        (PATIENT, Request(("Organization/none",)), EVERYBODY, None, Unprocessable),
        (PATIENT, Request((A,)), EVERYBODY, 'W/"7"', PreconditionFailed),
        ("Organization/a", Request((A,), True), EVERYBODY, None, BulkheadError),
        ("Practitioner/of-a", Request(()), OF_A, None, Forbidden),
    ],
)
def test_it_is_refused_as_the_real_thing(
    scene: Scene, key: str, asked: Request, caller: Any, if_match: str | None, error: type[BulkheadError]
) -> None:
    scene.put("Basic/gone", code={"text": "x"})
    scene.put("Practitioner/of-a")
    scene.set("Practitioner/of-a", A)
    resources.delete(Session.of(scene.store, EVERYBODY), "Basic/gone")
    refusals = []
    for run in (preview, set_accounts_run.run):
        with pytest.raises(error) as caught:
            run(Session.of(scene.store, caller), key, asked, if_match=if_match)
        refusals.append((type(caught.value), caught.value.issues))
    assert refusals[0] == refusals[1]


def test_the_answer_names_accounts_types_and_resources() -> None:
    found = Preview(updated=2)
    before = Head("Observation/1", 1, "", "PUT", b"", (A,))
    found.note(before, structs.replace(before, explicit=(B,)))
    assert answer(found)["parameter"] == [
        {"name": "resourcesUpdated", "valueInteger": 2},
        {"name": "complete", "valueBoolean": True},
        {"name": "account", "part": [{"name": "account", "valueReference": {"reference": A}}, counted("loses")]},
        {"name": "account", "part": [{"name": "account", "valueReference": {"reference": B}}, counted("gains")]},
        {"name": "changed", "valueReference": {"reference": "Observation/1"}},
    ]


def counted(name: str) -> dict[str, Any]:
    parts = [{"name": "type", "valueCode": "Observation"}, {"name": "count", "valueInteger": 1}]
    return {"name": name, "part": parts}


ACCOUNTS = st.lists(st.sampled_from((A, B, C)), unique=True, max_size=2).map(tuple)
SEALED = st.sampled_from((None, True, False))


@settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    own=st.lists(ACCOUNTS, min_size=3, max_size=3),
    sealed=st.lists(SEALED, min_size=3, max_size=3),
    root=st.sampled_from((PATIENT, "Encounter/1")),
    first=ACCOUNTS,
    asked=ACCOUNTS,
    inherit=SEALED,
    fenced=st.booleans(),
    propagates=st.booleans(),
)
def test_whatever_stands_it_says_what_the_run_does(
    make_store: Any,
    own: list[tuple[str, ...]],
    sealed: list[bool | None],
    root: str,
    first: tuple[str, ...],
    asked: tuple[str, ...],
    inherit: bool | None,
    fenced: bool,
    propagates: bool,
) -> None:
    scene = Scene(make_store())
    scene.put("Encounter/1", subject={"reference": PATIENT})
    members = [scene.observation(f"{n}", encounter={"reference": "Encounter/1"}) for n in range(3)]
    for key, accounts, closed in zip(members, own, sealed, strict=True):
        set_accounts_run.run(Session.of(scene.store, EVERYBODY), key, Request(accounts, inherit=closed))
    scene.set(root, *first, propagate=True)
    everything = [PATIENT, "Encounter/1", *members]
    caller = OF_A if fenced else EVERYBODY
    request = Request(asked, propagates, inherit=inherit)
    before = scene.store.read_many(everything)
    try:
        found = preview(Session.of(scene.store, caller), root, request, if_match=None)
    except BulkheadError as error:
        with pytest.raises(type(error)):
            set_accounts_run.run(Session.of(scene.store, caller), root, request)
        return
    assert scene.store.read_many(everything) == before
    assert set_accounts_run.run(Session.of(scene.store, caller), root, request) == found.updated
    after = scene.store.read_many(everything)
    done = Preview()
    for key in everything:
        had, has = set(before[key].accounts), set(after[key].accounts)
        may_see = not fenced or A in had
        if may_see and had != has:
            done.note(before[key], after[key])
    assert (found.gains, found.loses) == (done.gains, done.loses)
    assert set(done.changed) <= set(found.changed)

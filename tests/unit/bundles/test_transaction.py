"""A transaction on a real store: order, identities, references, conditions, and that a failure writes nothing."""

from __future__ import annotations

from dataclasses import replace
from typing import Any
from urllib.parse import quote
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bulkhead import bundles
from bulkhead.access.policy import Caller, Scope
from bulkhead.bundles import Entry, process
from bulkhead.bundles.context import OPERATION_OUTCOME, REPRESENTATION
from bulkhead.errors import BadRequest, BulkheadError, Forbidden, MultipleMatches, NotFound, PreconditionFailed
from bulkhead.facts.index_facts import facts
from bulkhead.store import Store, Write
from tests.conftest import lagging
from tests.support.bundle_samples import (
    BASE,
    SYSTEM,
    Json,
    Reads,
    bundle,
    context,
    create,
    delete,
    get,
    key_of,
    observation,
    patient,
    post,
    statuses,
    stored,
    update,
)

ON_ONE_STORE = settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)


def refused(store: Store, error: type[BulkheadError], *entries: Any) -> list[str | None]:
    """Where the transaction is at fault; it is checked that nothing was written."""
    before = contents(store)
    with pytest.raises(error) as caught:
        post(store, *entries)
    assert contents(store) == before
    return [issue.expression for issue in caught.value.issues]


def contents(store: Store) -> dict[str, int]:
    """Versions by key of all Patients and Observations."""
    moments = [moment for kind in ("Patient", "Observation") for moment in store.by_time(kind)]
    return {moment.key: moment.version for moment in moments}


# Creating and referring


@pytest.mark.parametrize(
    "full_url", ["urn:uuid:0-1", "urn:oid:1.2.3", "cid:a@b", "http://x.org/fhir/Patient/1", "Patient/1"]
)
def test_references_lead_to_what_is_created(store: Store, full_url: str) -> None:
    made, seen = post(store, create(patient("1"), full_url), create(observation(full_url), "urn:uuid:0-2"))
    assert statuses([made, seen]) == ["201", "201"]
    assert stored(store, key_of(seen))["subject"] == {"reference": key_of(made)}
    assert [pointer.source for pointer in store.pointing_at(key_of(made))] == [key_of(seen)]


def test_resources_that_refer_to_each_other(store: Store) -> None:
    link = {"type": "seealso", "other": {"reference": "urn:uuid:b"}}
    back = {"type": "seealso", "other": {"reference": "urn:uuid:a"}}
    a, b = post(store, create(patient(link=[link]), "urn:uuid:a"), create(patient(link=[back]), "urn:uuid:b"))
    assert stored(store, key_of(a))["link"][0]["other"]["reference"] == key_of(b)
    assert stored(store, key_of(b))["link"][0]["other"]["reference"] == key_of(a)


def test_what_is_not_in_the_bundle_stays(store: Store) -> None:
    (seen,) = post(store, create(observation("urn:uuid:elsewhere")))
    assert stored(store, key_of(seen))["subject"] == {"reference": "urn:uuid:elsewhere"}


def test_versions_of_references_are_those_that_are_made(store: Store) -> None:
    post(store, update(patient(id="p")), update(patient(id="q")))
    base = "http://x.org/Patient"
    _, _, _, seen = post(
        store,
        create(patient(), f"{base}/new"),
        update(patient(id="p", active=True), full_url=f"{base}/p"),
        update(patient(id="q"), full_url=f"{base}/q"),
        create(
            observation(f"{base}/new/_history/9")
            | {"focus": [{"reference": f"{base}/p/_history/1"}, {"reference": f"{base}/q/_history/1"}]}
        ),
    )
    written = stored(store, key_of(seen))
    assert written["subject"]["reference"].endswith("/_history/1")
    assert [focus["reference"] for focus in written["focus"]] == ["Patient/p/_history/2", "Patient/q/_history/1"]


def test_the_answer_says_what_was_made(store: Store) -> None:
    (made,) = post(store, create(patient("1")))
    key = key_of(made)
    head = store.read(key)
    assert head is not None
    assert made == {
        "response": {
            "status": "201 Created",
            "location": f"{key}/_history/1",
            "etag": 'W/"1"',
            "lastModified": head.updated,
        }
    }


def test_prefer_return(store: Store) -> None:
    (made,) = post(store, create(patient("1")), returns=REPRESENTATION)
    assert made["resource"] == stored(store, key_of(made))
    (made,) = post(store, create(patient("1")), returns=OPERATION_OUTCOME)
    assert made["response"]["outcome"]["resourceType"] == "OperationOutcome"
    assert "resource" not in made


# Order


def test_entries_are_done_in_order_and_answered_in_theirs(store: Store) -> None:
    post(store, update(patient("1", id="old")), update(patient("2", id="kept")))
    answers = post(
        store,
        get("Patient/kept"),
        update(patient("2", id="kept", active=True)),
        create(patient("1"), if_none_exist=f"identifier={SYSTEM}|1"),
        delete("Patient/old"),
    )
    assert statuses(answers) == ["200", "200", "201", "204"]
    assert answers[0]["resource"]["active"] is True
    assert key_of(answers[2]) != "Patient/old"


KINDS = ["create", "update", "new", "delete", "exists", "refer", "conditional"]


@ON_ONE_STORE
@given(st.permutations(KINDS))
def test_the_order_of_the_entries_does_not_matter(store: Store, order: list[str]) -> None:
    mark = str(uuid4())
    post(
        store, *(update(patient(f"{mark}-{name}", id=f"{mark[:20]}-{name}")) for name in ("update", "delete", "exists"))
    )
    identifier = f"identifier={SYSTEM}|{mark}"
    entries = {
        "create": create(patient(f"{mark}-create"), "urn:uuid:c"),
        "update": update(patient(f"{mark}-update", id=f"{mark[:20]}-update", active=True)),
        "new": update(patient(f"{mark}-new"), f"Patient?{identifier}-new", "urn:uuid:n"),
        "delete": delete(f"Patient?{identifier}-delete"),
        "exists": create(patient(f"{mark}-exists"), "urn:uuid:e", f"{identifier}-exists"),
        "refer": create(observation("urn:uuid:c", focus=[{"reference": "urn:uuid:e"}, {"reference": "urn:uuid:n"}])),
        "conditional": create(observation(f"Patient?{identifier}-create")),
    }
    answers = dict(zip(order, post(store, *(entries[kind] for kind in order)), strict=True))
    assert {kind: statuses([content])[0] for kind, content in answers.items()} == {
        "create": "201",
        "update": "200",
        "new": "201",
        "delete": "204",
        "exists": "200",
        "refer": "201",
        "conditional": "201",
    }
    refer = stored(store, key_of(answers["refer"]))
    assert refer["subject"]["reference"] == key_of(answers["create"])
    expected = [f"Patient/{mark[:20]}-exists", key_of(answers["new"])]
    assert [focus["reference"] for focus in refer["focus"]] == expected
    assert stored(store, key_of(answers["conditional"]))["subject"]["reference"] == key_of(answers["create"])


FAULTS = [
    create(observation("Patient?identifier=nobody|has-this")),
    update(patient(id="stale"), ifMatch='W/"7"'),
    create(patient(), if_none_exist="nonsense=1"),
    get("Patient/absent"),
    delete(f"Patient?identifier={SYSTEM}|twice"),
    create(patient(gender="nonsense")),
]


@ON_ONE_STORE
@given(st.integers(0, 5), st.sampled_from(FAULTS), st.integers(0, 5))
def test_one_fault_anywhere_fails_the_whole(store: Store, good: int, faulty: Any, position: int) -> None:
    post(store, *(update(patient("twice", id=name)) for name in ("a", "b")))
    entries: list[Any] = [create(patient(str(number))) for number in range(good)]
    position = min(position, good)
    entries.insert(position, faulty)
    (where,) = refused(store, BulkheadError, *entries)
    assert where is not None
    assert where.startswith(f"Bundle.entry[{position}].")


# Identities


def test_all_faults_of_a_kind_are_told_together(store: Store) -> None:
    missing = [create(observation(f"Patient?identifier=nobody|{number}")) for number in range(3)]
    expressions = refused(store, NotFound, *missing, create(patient()))
    assert expressions == [f"Bundle.entry[{number}].resource.subject" for number in range(3)]


NINE = f"identifier={SYSTEM}|9"
TWICE = {
    "two updates": ([update(patient(id="a")), update(patient(id="a"))], [1]),
    "an update and a deletion": ([update(patient(id="a")), delete("Patient/a")], [1]),
    "two deletions": ([delete("Patient/a"), delete("Patient/a")], [1]),
    "by id and by criteria": ([delete("Patient/a"), delete(f"Patient?identifier={SYSTEM}|1")], [1]),
    "by criteria and by id": ([update(patient("1"), f"Patient?identifier={SYSTEM}|1"), update(patient(id="a"))], [1]),
    "the same criteria": ([create(patient("9"), None, NINE), create(patient("9"), None, f"?{NINE}")], [0, 1]),
    "the same criteria, found": (
        [create(patient("1"), None, "identifier=1"), create(patient(), None, "?identifier=1")],
        [1],
    ),
    "criteria that a create meets": ([create(patient("9")), create(patient("9"), None, NINE)], [1]),
    "an update that a create meets": ([create(patient("9")), update(patient("9"), f"Patient?{NINE}")], [1]),
    "what is found is updated": ([create(patient("1"), None, "identifier=1"), update(patient(id="a"))], [1]),
}


@pytest.mark.parametrize("case", TWICE)
def test_two_entries_for_one_identity_fail(store: Store, case: str) -> None:
    entries, faulty = TWICE[case]
    post(store, update(patient("1", id="a")), update(patient("2", id="b")))
    named = [str(expression).split(".request.")[0] for expression in refused(store, BadRequest, *entries)]
    assert named == [f"Bundle.entry[{index}]" for index in faulty]


# Conditions


def test_a_conditional_create_is_used_by_references(store: Store) -> None:
    (known,) = post(store, create(patient("1")))
    entries = [create(patient("1"), "urn:uuid:p", f"identifier={SYSTEM}|1"), create(observation("urn:uuid:p"))]
    found, seen = post(store, *entries)
    assert statuses([found, seen]) == ["200", "201"]
    assert key_of(found) == key_of(known)
    assert stored(store, key_of(seen))["subject"]["reference"] == key_of(known)


def test_several_matches_fail(store: Store) -> None:
    post(store, create(patient("1")), create(patient("1")))
    criteria = f"identifier={SYSTEM}|1"
    for entry, expression in [
        (create(patient("1"), None, criteria), "Bundle.entry[0].request.ifNoneExist"),
        (update(patient("1"), f"Patient?{criteria}"), "Bundle.entry[0].request.url"),
        (delete(f"Patient?{criteria}"), "Bundle.entry[0].request.url"),
        (create(observation(f"Patient?{criteria}")), "Bundle.entry[0].resource.subject"),
    ]:
        assert refused(store, MultipleMatches, entry) == [expression]


def test_a_deleted_resource_meets_no_condition(store: Store) -> None:
    entry = create(patient("1"), None, f"identifier={SYSTEM}|1")
    (first,) = post(store, entry)
    post(store, delete(key_of(first)))
    (second,) = post(store, entry)
    assert statuses([second]) == ["201"]
    assert key_of(second) != key_of(first)


def test_the_claim_of_a_resource_that_meets_its_condition_no_more_is_taken_over(store: Store) -> None:
    entry = create(patient("1"), None, f"identifier={SYSTEM}|1")
    (first,) = post(store, entry)
    key = key_of(first)
    post(store, update(patient("2", id=key.partition("/")[2])))
    (second,) = post(store, create(patient("1"), None, f"identifier={SYSTEM}|1"))
    assert statuses([second]) == ["201"]


@pytest.mark.parametrize("criteria", [f"identifier={SYSTEM}|1", "birthdate=1970-01-01"])
def test_an_owner_that_the_index_does_not_show_yet_is_used(store: Store, criteria: str) -> None:
    lagging(store)
    born = patient("1", birthDate="1970-01-01")
    (first,) = post(store, create(born, None, criteria))
    second, seen = post(store, create(born, None, criteria), create(observation(f"Patient?{criteria}")))
    assert statuses([second]) == ["200"]
    assert key_of(second) == key_of(first)
    assert stored(store, key_of(seen))["subject"]["reference"] == key_of(first)


def test_a_conditional_update(store: Store) -> None:
    criteria = f"Patient?identifier={SYSTEM}|1"
    (made,) = post(store, update(patient("1"), criteria))
    (changed,) = post(store, update(patient("1", active=True), criteria))
    (same,) = post(store, update(patient("1", active=True, id=key_of(made).partition("/")[2]), criteria))
    assert statuses([made, changed, same]) == ["201", "200", "200"]
    assert {key_of(content) for content in (made, changed, same)} == {key_of(made)}
    assert same["response"]["etag"] == 'W/"2"'


def test_a_conditional_update_with_an_id(store: Store) -> None:
    criteria = f"Patient?identifier={SYSTEM}|1"
    (made,) = post(store, update(patient("1", id="mine"), criteria))
    assert (statuses([made]), key_of(made)) == (["201"], "Patient/mine")
    assert refused(store, BadRequest, update(patient("1", id="other"), criteria)) == ["Bundle.entry[0].resource.id"]
    other = update(patient("2", id="mine"), f"Patient?identifier={SYSTEM}|2")
    assert refused(store, BulkheadError, other) == ["Bundle.entry[0].resource.id"]


def test_a_conditional_delete(store: Store) -> None:
    criteria = f"Patient?identifier={SYSTEM}|1"
    (made,) = post(store, create(patient("1")))
    assert statuses(post(store, delete(criteria))) == ["204"]
    head = store.read(key_of(made))
    assert head is not None
    assert head.deleted
    assert statuses(post(store, delete(criteria), delete("Patient/never"))) == ["204", "204"]


def test_conditional_references_see_what_the_transaction_does(store: Store) -> None:
    post(store, update(patient("1", id="moved")), update(patient("2", id="gone")))
    _, _, seen = post(
        store,
        update(patient("3", id="moved")),
        create(patient("1"), "urn:uuid:new"),
        create(observation(f"Patient?identifier={SYSTEM}|1", focus=[{"reference": f"Patient?identifier={SYSTEM}|3"}])),
    )
    written = stored(store, key_of(seen))
    assert written["subject"]["reference"] != "Patient/moved"
    assert written["focus"] == [{"reference": "Patient/moved"}]
    late = create(observation(f"Patient?identifier={SYSTEM}|2"))
    assert refused(store, NotFound, delete("Patient/gone"), late) == ["Bundle.entry[1].resource.subject"]


def test_conditional_references_within_extensions_and_contained_resources(store: Store) -> None:
    (made,) = post(store, create(patient("1")))
    reference = {"reference": f"Patient?identifier={SYSTEM}%7C1"}
    contained = patient(id="p", link=[{"type": "seealso", "other": dict(reference)}])
    extension = {"url": "http://x", "valueReference": dict(reference)}
    (seen,) = post(store, create(observation("#p", contained=[contained], extension=[extension])))
    written = stored(store, key_of(seen))
    assert written["subject"] == {"reference": "#p"}
    assert written["contained"][0]["link"][0]["other"] == {"reference": key_of(made)}
    assert written["extension"][0]["valueReference"] == {"reference": key_of(made)}


# Versions


def test_if_match(store: Store) -> None:
    post(store, update(patient(id="a")))
    assert statuses(post(store, update(patient(id="a", active=True), ifMatch='W/"1"'))) == ["200"]
    stale = update(patient(id="a", active=False), ifMatch='W/"1"')
    assert refused(store, PreconditionFailed, create(patient()), stale) == ["Bundle.entry[1].request.ifMatch"]
    assert refused(store, PreconditionFailed, delete("Patient/a", ifMatch='W/"1"')) == [
        "Bundle.entry[0].request.ifMatch"
    ]
    assert refused(store, BadRequest, delete("Patient/a", ifMatch="x")) == ["Bundle.entry[0].request.ifMatch"]
    assert statuses(post(store, delete("Patient/a", ifMatch='W/"2"'))) == ["204"]


def test_if_none_match(store: Store) -> None:
    new = update(patient(id="a"), ifNoneMatch="*")
    assert statuses(post(store, new)) == ["201"]
    assert refused(store, PreconditionFailed, new) == ["Bundle.entry[0].request.ifNoneMatch"]
    assert refused(store, BadRequest, update(patient(id="a"), ifNoneMatch="1")) == [
        "Bundle.entry[0].request.ifNoneMatch"
    ]


def test_an_update_without_effect_makes_no_version(store: Store) -> None:
    post(store, update(patient(id="a")))
    (again,) = post(store, update(patient(id="a")))
    assert again["response"]["etag"] == 'W/"1"'


def change_elsewhere(store: Store, key: str, **content: Any) -> None:
    """Another request is quicker."""
    base = store.read(key)
    assert base is not None
    former = store.decode(base)
    new = former | content
    store.commit([Write(key, base, store.encode(new), facts(former), facts(new))])


def interrupted(store: Store, monkeypatch: pytest.MonkeyPatch, times: int) -> None:
    """The first `times` commits come too late for Patient/a."""
    left = iter(range(times))
    commit = store.commit

    def late(*arguments: Any, **named: Any) -> Any:
        if next(left, None) is not None:
            monkeypatch.setattr(store, "commit", commit)
            change_elsewhere(store, "Patient/a", birthDate="2000-01-01")
            monkeypatch.setattr(store, "commit", late)
        return commit(*arguments, **named)

    monkeypatch.setattr(store, "commit", late)


def test_a_base_that_moved_on_is_read_again(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    post(store, update(patient(id="a")))
    interrupted(store, monkeypatch, 1)
    (changed,) = post(store, update(patient(id="a", active=True)))
    assert changed["response"]["etag"] == 'W/"3"'


def test_with_if_match_it_fails(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    post(store, update(patient(id="a")))
    interrupted(store, monkeypatch, 1)
    with pytest.raises(PreconditionFailed):
        post(store, create(patient("x")), update(patient(id="a", active=True), ifMatch='W/"1"'))


def test_retries_are_bounded(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bulkhead.bundles.committing.ATTEMPTS", 2)
    post(store, update(patient(id="a")))
    interrupted(store, monkeypatch, 2)
    with pytest.raises(BulkheadError) as caught:
        post(store, update(patient(id="a", active=True)))
    assert caught.value.status == 409


# The rest


def test_reads_fail_before_anything_is_written(store: Store) -> None:
    assert refused(store, NotFound, create(patient()), get("Patient/absent")) == ["Bundle.entry[1].request.url"]
    post(store, update(patient(id="a")))
    assert refused(store, NotFound, delete("Patient/a"), get("Patient/a")) == ["Bundle.entry[1].request.url"]
    assert statuses(post(store, update(patient(id="b")), get("Patient/b"))) == ["201", "200"]


@pytest.mark.parametrize("removed", ["Patient/a", f"Patient?identifier={SYSTEM}|1", "Patient?_id=a"])
@pytest.mark.parametrize("read", ["Patient/a", "Patient/a?_elements=active"])
def test_a_read_of_what_the_transaction_deletes_fails_it(store: Store, removed: str, read: str) -> None:
    """R4 3.1.0.11.2: deletions come first, reads last. By id or by criteria, the fault is the same, and nothing is written."""
    post(store, update(patient("1", id="a")))
    assert refused(store, NotFound, get(read), create(observation("Patient/b")), delete(removed)) == [
        "Bundle.entry[0].request.url"
    ]
    assert store.by_time("Observation") == []
    assert stored(store, "Patient/a")["id"] == "a"
    assert statuses(post(store, delete("Patient?identifier=none"), get("Patient/a"))) == ["204", "200"]
    assert statuses(post(store, delete(removed), get("Patient?_id=other"), kind="batch"))[0] == "204"


def test_a_read_of_what_criteria_select_only_at_the_second_attempt(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    post(store, update(patient("1", id="a")), update(patient(id="b")))
    commit = store.commit

    def late(*arguments: Any, **named: Any) -> Any:
        monkeypatch.setattr(store, "commit", commit)
        post(store, update(patient(id="a")), update(patient("1", id="b")))
        return commit(*arguments, **named)

    monkeypatch.setattr(store, "commit", late)
    with pytest.raises(NotFound) as caught:
        post(store, delete(f"Patient?identifier={SYSTEM}|1"), get("Patient/b"))
    assert [issue.expression for issue in caught.value.issues] == ["Bundle.entry[1].request.url"]
    assert contents(store) == {"Patient/a": 2, "Patient/b": 2}


def test_rights_are_asked_for_each_entry(store: Store) -> None:
    post(store, update(patient(id="a")))
    reader = Caller("somebody", (Scope("system", "Patient", "rsu"), Scope("system", "Observation", "c")))
    for entry in (create(patient()), delete("Patient/a"), update(patient(id="new"))):
        with pytest.raises(Forbidden):
            process(bundle(create(observation("Patient/a")), entry), context(store, caller=reader))
    assert store.by_time("Observation") == []
    process(bundle(update(patient(id="a", active=True))), context(store, caller=reader))


def test_criteria_need_the_right_to_search(store: Store) -> None:
    writer = Caller("somebody", (Scope("system", "*", "cu"),))
    process(bundle(create(patient("1"))), context(store, caller=writer))
    for entry in (create(patient("1"), None, "identifier=1"), update(patient("1"), "Patient?identifier=1")):
        with pytest.raises(Forbidden):
            process(bundle(entry), context(store, caller=writer))


def test_what_the_caller_may_not_see_does_not_exist(store: Store) -> None:
    post(store, update(patient("1", id="a")))
    fenced = Caller("somebody", (Scope("system", "*", "cruds"),), accounts=("Organization/x",))
    for entry in (update(patient(id="a")), delete("Patient/a"), create(observation(f"Patient?identifier={SYSTEM}|1"))):
        with pytest.raises(NotFound):
            process(bundle(entry), context(store, caller=fenced))


def test_an_empty_transaction_succeeds(store: Store) -> None:
    assert post(store) == []


# fullUrls in criteria


@pytest.mark.parametrize(
    "full_url",
    ["urn:uuid:0-1", "urn:oid:1.2.3", "cid:a@b", "http://x.org/fhir/Patient/1", f"{BASE}/Patient/1", "Patient/1"],
)
@pytest.mark.parametrize("encoded", [False, True])
def test_criteria_that_name_an_entry_find_the_same_again(store: Store, full_url: str, encoded: bool) -> None:
    named = quote(full_url, safe="") if encoded else full_url

    def entries() -> list[Json]:
        return [
            create(observation(full_url), None, f"code=718-7&patient={named}"),
            create(patient("1"), full_url, f"identifier={SYSTEM}|1"),
        ]

    assert statuses(post(store, *entries())) == ["201", "201"]
    before = contents(store)
    assert statuses(post(store, *entries())) == ["200", "200"]
    assert contents(store) == before


def test_criteria_of_every_interaction_name_entries(store: Store) -> None:
    _known, mine = post(store, create(patient("1"), "urn:uuid:p"), create(observation("urn:uuid:p")))
    found = create(patient("1"), "urn:uuid:p", f"identifier={SYSTEM}|1")
    changed = update(observation("urn:uuid:p", note=[{"text": "x"}]), "Observation?patient=urn:uuid:p")
    assert statuses(post(store, changed, found)) == ["200", "200"]
    assert stored(store, key_of(mine))["note"] == [{"text": "x"}]
    referring = create(observation("Patient/x", focus=[{"reference": "Observation?patient=urn:uuid:p"}]))
    answers = post(store, found, referring)
    assert stored(store, key_of(answers[1]))["focus"] == [{"reference": key_of(mine)}]
    assert statuses(post(store, delete("Observation?code=718-7&patient=urn%3Auuid%3Ap"), found)) == ["204", "200"]
    head = store.read(key_of(mine))
    assert head is not None
    assert head.deleted


def test_a_chain_of_criteria_is_settled_round_by_round(store: Store) -> None:
    def entries() -> list[Any]:
        return [
            create(
                observation("urn:uuid:p", derivedFrom=[{"reference": "urn:uuid:o"}], status="amended"),
                None,
                "status=amended&derived-from=urn:uuid:o",
            ),
            create(observation("urn:uuid:p"), "urn:uuid:o", "status=final&patient=urn:uuid:p"),
            create(patient("1"), "urn:uuid:p", f"identifier={SYSTEM}|1"),
        ]

    assert statuses(post(store, *entries())) == ["201"] * 3
    assert statuses(post(store, *entries())) == ["200"] * 3


def test_criteria_in_a_circle_are_refused(store: Store) -> None:
    where = refused(
        store,
        BadRequest,
        create(observation("urn:uuid:b"), "urn:uuid:a", "derived-from=urn:uuid:b"),
        create(observation("urn:uuid:a"), "urn:uuid:b", "derived-from=urn:uuid:a"),
    )
    assert where == ["Bundle.entry[0].request.ifNoneExist", "Bundle.entry[1].request.ifNoneExist"]
    assert refused(store, BadRequest, create(observation("x"), "urn:uuid:a", "derived-from=urn:uuid:a"))


def test_criteria_meet_what_the_same_transaction_creates_for_the_entry_that_they_name(store: Store) -> None:
    refused(
        store,
        BadRequest,
        create(patient("1"), "urn:uuid:p"),
        create(observation("urn:uuid:p")),
        create(observation("urn:uuid:p"), None, "code=718-7&patient=urn:uuid:p"),
    )


def test_what_is_deleted_is_not_what_criteria_name(store: Store) -> None:
    known, _mine = post(store, create(patient("1"), "urn:uuid:p"), create(observation("urn:uuid:p")))
    answers = post(
        store,
        delete(key_of(known)),
        create(patient("1"), "urn:uuid:p", f"identifier={SYSTEM}|1"),
        create(observation("urn:uuid:p"), None, "code=718-7&patient=urn:uuid:p"),
    )
    assert statuses(answers) == ["204", "201", "201"]
    assert stored(store, key_of(answers[2]))["subject"]["reference"] == key_of(answers[1]) != key_of(known)


def test_an_identifier_in_criteria_stays_though_it_is_spelt_like_a_full_url(store: Store) -> None:
    urn = "urn:uuid:0-1"
    one = patient(identifier=[{"system": "urn:ietf:rfc3986", "value": urn}])
    assert statuses(post(store, create(one, urn, f"identifier={urn}"))) == ["201"]
    assert statuses(post(store, create(one, urn, f"identifier={urn}"))) == ["200"]


def test_reads_name_what_was_written_also_when_they_are_answered_anew(store: Store) -> None:
    asked: list[str] = []

    class Recorded(Reads):
        def answer(self, entry: Entry) -> Json:
            asked.append(entry.url)
            return {"response": {"status": "200"}}

    told = replace(context(store), reader=Recorded(store))
    sent = bundle(create(patient("1"), "urn:uuid:p"), get("Observation?code=1&patient=urn:uuid:p"))
    answer = bundles.process(sent, told)
    bundles.read_again(sent, answer, told)
    assert asked == [f"Observation?code=1&patient={key_of(answer['entry'][0])}"] * 2


def test_what_a_conditional_update_makes_under_its_id_may_be_read_with_it(store: Store) -> None:
    made, read = post(store, update(patient("5", id="five"), f"Patient?identifier={SYSTEM}|5"), get("Patient/five"))
    assert statuses([made, read]) == ["201", "200"]
    assert read["resource"]["id"] == "five"

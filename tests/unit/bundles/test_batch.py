"""A batch on a real store: independent entries, answered one by one, written together where that can be."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from bulkhead.bundles import batch
from bulkhead.errors import BulkheadError, VersionConflict
from bulkhead.store import Head, Store, Write
from tests.support.bundle_samples import (
    BASE,
    SYSTEM,
    Json,
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


def post_batch(store: Store, *entries: Any) -> list[Json]:
    return post(store, *entries, kind="batch")


def outcome_of(content: Json) -> list[str]:
    """Expressions of a faulty entry."""
    return [issue["expression"][0] for issue in content["response"]["outcome"]["issue"]]


def test_a_fault_stays_with_its_entry(store: Store) -> None:
    post(store, *(create(patient("twice")) for _ in range(2)))
    answers = post_batch(
        store,
        create(patient("1")),
        create(patient(gender="nonsense")),
        {"request": {"method": "POST", "url": "Patient"}},
        get("Patient/absent"),
        update(patient(id="a"), ifMatch='W/"3"'),
        create(observation("Patient?identifier=nobody|1")),
        create(patient(), None, f"identifier={SYSTEM}|twice"),
        create(patient(), None, "nonsense=1"),
        delete("Patient/never"),
        "nonsense",
        create(patient("2")),
    )
    assert statuses(answers) == ["201", "400", "400", "404", "412", "404", "412", "400", "204", "400", "201"]
    faulty = {index: outcome_of(content) for index, content in enumerate(answers) if "outcome" in content["response"]}
    assert faulty == {
        1: ["Bundle.entry[1].resource.gender"],
        2: ["Bundle.entry[2].resource"],
        3: ["Bundle.entry[3]"],
        4: ["Bundle.entry[4].request.ifMatch"],
        5: ["Bundle.entry[5].resource.subject"],
        6: ["Bundle.entry[6].request.ifNoneExist"],
        7: ["Bundle.entry[7].request.ifNoneExist"],
        9: ["Bundle.entry[9]"],
    }
    assert stored(store, key_of(answers[0]))["identifier"][0]["value"] == "1"


FULL_URLS = [
    "urn:uuid:0-1",
    "urn:oid:1.2.3",
    "cid:a@b",
    "http://x.org/fhir/Patient/1",
    f"{BASE}/Patient/1",
    "Patient/1",
]


@pytest.mark.parametrize("full_url", FULL_URLS)
def test_an_entry_that_refers_to_another_by_its_full_url_fails(store: Store, full_url: str) -> None:
    narrative = {
        "status": "generated",
        "div": f'<div xmlns="http://www.w3.org/1999/xhtml"><a href="{full_url}">x</a></div>',
    }
    entries = [
        create(patient("2"), full_url),
        create(observation(full_url)),
        create(observation("Patient/other", extension=[{"url": "http://e", "valueUri": full_url}])),
        create(observation("Patient/other", text=narrative)),
        create(observation("Patient/other"), None, f"code=1&patient={full_url}"),
        update(observation("Patient/other"), f"Observation?code=1&subject={full_url}"),
        delete(f"Observation?code=1&patient={full_url.replace(':', '%3A')}"),
        get(f"Observation?patient={full_url}"),
        create(observation(f"Patient?general-practitioner={full_url}")),
        create(observation("Patient/other")),
    ]
    answers = post_batch(store, *entries)
    assert statuses(answers) == ["201", *["400"] * 8, "201"]
    assert [outcome_of(content)[0] for content in answers[1:9]] == [
        "Bundle.entry[1].resource.subject",
        "Bundle.entry[2].resource",
        "Bundle.entry[3].resource",
        "Bundle.entry[4].request.ifNoneExist",
        "Bundle.entry[5].request.url",
        "Bundle.entry[6].request.url",
        "Bundle.entry[7].request.url",
        "Bundle.entry[8].resource.subject",
    ]


def test_a_relative_reference_is_relative_to_the_full_url(store: Store) -> None:
    answers = post_batch(
        store,
        create(patient("1"), "http://x.org/fhir/Patient/1"),
        create(observation("Patient/1"), "http://x.org/fhir/Observation/1"),
        create(observation("Patient/1/_history/2"), "http://x.org/fhir/Observation/2"),
        create(observation("Patient/1")),
    )
    assert statuses(answers) == ["201", "400", "400", "201"]


@pytest.mark.parametrize("full_url", ["http://x.org/fhir/Patient/a", f"{BASE}/Patient/a", "urn:uuid:a"])
def test_what_an_update_writes_may_be_referred_to_by_its_own_name(store: Store, full_url: str) -> None:
    entries = [
        update(patient(id="a"), full_url=full_url),
        create(observation("Patient/a"), "http://x.org/fhir/Observation/1"),
        create(observation(f"{BASE}/Patient/a")),
        create(observation("Patient/b"), None, "code=1&patient=Patient/a"),
    ]
    assert statuses(post_batch(store, *entries)) == ["201"] * 4


def test_an_identifier_that_is_spelt_like_a_full_url_is_no_reference(store: Store) -> None:
    urn = "urn:uuid:0-1"
    answers = post_batch(
        store, create(patient("1"), urn, f"identifier={urn}"), create(patient("2"), "urn:uuid:2", f"identifier={urn}|5")
    )
    assert statuses(answers) == ["201", "201"]


def test_a_conditional_reference_finds_what_is_there(store: Store) -> None:
    (known,) = post(store, create(patient("1")))
    (there,) = post_batch(store, create(observation(f"Patient?identifier={SYSTEM}|1")))
    assert stored(store, key_of(there))["subject"]["reference"] == key_of(known)


def test_entries_for_one_resource_are_done_in_turn(store: Store) -> None:
    answers = post_batch(
        store,
        update(patient(id="a")),
        update(patient(id="a", active=True)),
        get("Patient/a"),
        delete("Patient/a"),
        get("Patient/a"),
        update(patient(id="a", active=False)),
        get("Patient/a"),
    )
    assert statuses(answers) == ["201", "200", "200", "204", "404", "201", "200"]
    assert answers[2]["resource"]["active"] is True
    assert answers[6]["resource"]["active"] is False


def test_one_condition_in_several_entries_makes_one_resource(store: Store) -> None:
    criteria = f"identifier={SYSTEM}|1"
    entries = [
        create(patient("1"), None, criteria),
        create(patient("1"), None, f"Patient?identifier={SYSTEM.replace(':', '%3A')}%7C1"),
        create(patient("1"), None, criteria),
    ]
    answers = post_batch(store, *entries)
    assert statuses(answers) == ["201", "200", "200"]
    assert len({key_of(content) for content in answers}) == 1


def test_two_names_of_one_resource_do_not_hinder_each_other(store: Store) -> None:
    post(store, update(patient("1", id="a")))
    answers = post_batch(
        store,
        update(patient("1", id="a", active=True)),
        update(patient("1", gender="male"), f"Patient?identifier={SYSTEM}|1"),
    )
    assert statuses(answers) == ["200", "200"]
    assert answers[1]["response"]["etag"] == 'W/"3"'
    assert stored(store, "Patient/a")["gender"] == "male"


def test_thousands_of_conditional_creates_share_commits(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    commits: list[int] = []
    commit = store.commit

    def counted(writes: Sequence[Write], *others: Any, **named: Any) -> list[Head]:
        commits.append(len(writes))
        return commit(writes, *others, **named)

    monkeypatch.setattr(store, "commit", counted)
    number = 3 * batch.GROUP + 1
    entries = [create(patient(str(n)), None, f"identifier={SYSTEM}|{n}") for n in range(number)]
    assert set(statuses(post_batch(store, *entries))) == {"201"}
    assert sorted(commits) == [1, batch.GROUP, batch.GROUP, batch.GROUP]
    assert set(statuses(post_batch(store, *entries))) == {"200"}
    assert len(commits) == 4


def test_where_a_shared_commit_fails_entries_are_made_alone(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    commit = store.commit

    def one_conflicts(writes: Sequence[Write], *arguments: Any, **named: Any) -> list[Head]:
        if any(write.key == "Patient/b" for write in writes):
            raise VersionConflict("Patient/b")
        return commit(writes, *arguments, **named)

    monkeypatch.setattr(store, "commit", one_conflicts)
    monkeypatch.setattr("bulkhead.bundles.committing.ATTEMPTS", 1)
    answers = post_batch(store, *(update(patient(id=name)) for name in ("a", "b", "c")))
    assert statuses(answers) == ["201", "409", "201"]
    assert outcome_of(answers[1]) == ["Bundle.entry[1]"]


def test_claims_of_resources_that_are_gone_are_taken_over(store: Store) -> None:
    entries = [create(patient(str(n)), None, f"identifier={SYSTEM}|{n}") for n in range(3)]
    made = post_batch(store, *entries)
    post_batch(store, *(delete(key_of(content)) for content in made))
    again = post_batch(store, *entries)
    assert statuses(again) == ["201", "201", "201"]
    assert not {key_of(content) for content in again} & {key_of(content) for content in made}


def test_a_batch_that_is_no_bundle_fails_as_a_whole(store: Store) -> None:
    with pytest.raises(BulkheadError):
        post(store, create(patient()), kind="nonsense")

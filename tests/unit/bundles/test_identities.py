"""Entries that are about one resource by different routes: nothing that is made under a condition has another beside it."""

from __future__ import annotations

import base64
import json
from itertools import permutations
from typing import Any

import pytest

from bulkhead.bundles.identities import SameResource
from bulkhead.store import Store
from tests.support.bundle_samples import SYSTEM, Json, create, key_of, patient, post, statuses, stored, update

NINE = f"identifier={SYSTEM}|9"
ZED = [{"family": "Zed"}]


def patch(key: str, *operations: Json) -> Json:
    data = base64.b64encode(json.dumps(operations).encode()).decode()
    binary = {"resourceType": "Binary", "contentType": "application/json-patch+json", "data": data}
    return {"request": {"method": "PATCH", "url": key}, "resource": binary}


def routes() -> dict[str, Json]:
    """Every way to write a Patient with the identifier 9; those without a condition come last."""
    gains = {"op": "add", "path": "/identifier", "value": [{"system": SYSTEM, "value": "9"}]}
    return {
        "ifNoneExist": create(patient("9"), None, NINE),
        "ifNoneExist by value": create(patient("9"), None, "identifier=9"),
        "conditional update": update(patient("9"), f"Patient?{NINE}"),
        "conditional update by value": update(patient("9"), "Patient?identifier=9"),
        "conditional update with an id": update(patient("9", id="given"), f"Patient?{NINE}&gender:missing=true"),
        "create": create(patient("9")),
        "update that makes": update(patient("9", id="made")),
        "update": update(patient("9", id="old")),
        "patch": patch("Patient/old", gains),
    }


CONDITIONAL = list(routes())[:5]
PAIRS = [
    pair for pair in permutations(routes(), 2) if set(pair) & set(CONDITIONAL) and set(pair) != {"update", "patch"}
]


def having(store: Store, value: str) -> set[str]:
    heads = store.read_many(hint.key for hint in store.by_value("Patient", "identifier", value))
    return {key for key, head in heads.items() if not head.deleted}


@pytest.mark.parametrize("pair", PAIRS, ids=" and ".join)
def test_a_transaction_with_two_routes_to_one_identity_fails(store: Store, pair: tuple[str, str]) -> None:
    post(store, update(patient(id="old")))
    with pytest.raises(SameResource) as caught:
        post(store, *(routes()[name] for name in pair))
    named = {str(issue.expression).partition(".request")[0] for issue in caught.value.issues}
    assert named <= {"Bundle.entry[0]", "Bundle.entry[1]"}
    assert named
    assert having(store, "9") == set()


@pytest.mark.parametrize("pair", PAIRS, ids=" and ".join)
def test_the_entries_of_a_batch_see_each_other_in_their_order(store: Store, pair: tuple[str, str]) -> None:
    """As if each had been sent by itself: a second resource is made only where no condition forbids it."""
    post(store, update(patient(id="old")))
    first, second = post(store, *(routes()[name] for name in pair), kind="batch")
    assert statuses([first])[0] in ("200", "201")
    if pair[1] in CONDITIONAL and pair[1] != "conditional update with an id":
        assert statuses([second]) == ["200"]
        assert key_of(second) == key_of(first)
        assert having(store, "9") == {key_of(first)}
    assert key_of(first) in having(store, "9")


def test_criteria_other_than_identifiers_count_too(store: Store) -> None:
    both = [create(patient(name=ZED), None, "family=Zed"), create(patient(name=ZED), None, "name=Zed")]
    answers = post(store, *both, kind="batch")
    assert statuses(answers) == ["201", "200"]
    assert key_of(answers[0]) == key_of(answers[1])
    updates = [update(patient(name=ZED), "Patient?family=Zee"), update(patient(name=[{"family": "Zee"}], id="z"))]
    with pytest.raises(SameResource) as caught:
        post(store, *updates)
    assert [issue.expression for issue in caught.value.issues] == ["Bundle.entry[0].request.url"]


def test_what_leaves_the_criteria_is_no_rival(store: Store) -> None:
    """Written resources count as they will be, not as they were."""
    post(store, update(patient("9", id="old")))
    loses: Any = [{"op": "remove", "path": "/identifier"}]
    made, moved = post(store, create(patient("8"), None, f"identifier={SYSTEM}|8"), patch("Patient/old", *loses))
    assert statuses([made, moved]) == ["201", "200"]
    assert "identifier" not in stored(store, "Patient/old")
    assert having(store, "9") == set()


def test_two_hundred_of_one_identity_in_a_batch_are_one(store: Store) -> None:
    """Across the groups that are committed at once."""
    criteria = [f"identifier={SYSTEM}|7", "identifier=7"]
    answers = post(store, *(create(patient("7"), None, criteria[n % 2]) for n in range(200)), kind="batch")
    assert statuses(answers).count("201") == 1
    assert len({key_of(answer) for answer in answers}) == 1

"""What fullUrls name: one resource each, and none that another entry is about."""

from __future__ import annotations

from typing import Any

import pytest

from bulkhead.errors import BadRequest
from bulkhead.store import Store
from tests.support.bundle_samples import (
    BASE,
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

SERVER = f"{BASE}/Patient"


def removing(full_url: str) -> Json:
    return {**delete("Patient/old"), "fullUrl": full_url}


COLLISIONS: dict[str, tuple[list[Json], int]] = {
    "absolute and relative": ([create(patient(), f"{SERVER}/1"), create(patient(), "Patient/1")], 1),
    "of a create and a deletion": ([create(patient(), "urn:uuid:1"), removing("urn:uuid:1")], 1),
    "of a create and a read": ([create(patient(), "urn:uuid:1"), {**get("Patient/old"), "fullUrl": "urn:uuid:1"}], 1),
    "of another resource than is updated": ([update(patient(id="2"), full_url=f"{SERVER}/1")], 0),
    "of another resource than is deleted": ([removing("Patient/1")], 0),
    "of a create that another updates": ([create(patient(), f"{SERVER}/old"), update(patient(id="old"))], 0),
    "of a create that another deletes": ([delete("Patient/old"), create(patient(), "Patient/old")], 1),
}


@pytest.mark.parametrize("case", COLLISIONS)
@pytest.mark.parametrize("kind", ["transaction", "batch"])
def test_a_full_url_names_one_resource(store: Store, case: str, kind: str) -> None:
    entries, faulty = COLLISIONS[case]
    post(store, update(patient(id="old")))
    place = f"Bundle.entry[{faulty}].fullUrl"
    if kind == "batch":
        answers = post(store, *entries, kind=kind)
        assert statuses(answers)[faulty] == "400"
        assert answers[faulty]["response"]["outcome"]["issue"][0]["expression"] == [place]
        return
    with pytest.raises(BadRequest) as caught:
        post(store, *entries)
    assert [issue.expression for issue in caught.value.issues] == [place]
    old = store.read("Patient/old")
    assert old
    assert old.version == 1


@pytest.mark.parametrize("reference", ["Patient/k", "Patient/k/_history/1", "Patient?_id=Patient/k"])
def test_an_id_that_two_creates_have_is_not_guessed(store: Store, reference: str) -> None:
    entries: list[Any] = [create(patient("1", id="k")), create(patient("2", id="k"))]
    assert statuses(post(store, *entries)) == ["201", "201"]
    with pytest.raises(BadRequest) as caught:
        post(store, *entries, create(observation(reference)))
    assert str(caught.value).startswith("this could refer to Bundle.entry[0] and Bundle.entry[1]")
    named = create(patient("3", id="k"), f"{SERVER}/k")
    answers = post(store, named, *entries, create(observation("Patient/k")))
    assert stored(store, key_of(answers[3]))["subject"]["reference"] == key_of(answers[0])


def test_the_full_url_of_what_is_deleted_leads_to_it(store: Store) -> None:
    """As a Provenance of the deletion names it."""
    post(store, update(patient(id="old")))
    _, seen = post(store, removing("urn:uuid:gone"), create(observation("urn:uuid:gone")))
    assert stored(store, key_of(seen))["subject"] == {"reference": "Patient/old"}


def test_a_create_under_the_url_of_what_is_here_is_another_resource(store: Store) -> None:
    """Copies of what a server answered are made anew, and refer to each other; what was here stays."""
    post(store, update(patient("1", id="old")))
    made, seen = post(store, create(patient("2", id="old"), f"{SERVER}/old"), create(observation("Patient/old")))
    assert key_of(made) != "Patient/old"
    assert stored(store, key_of(seen))["subject"]["reference"] == key_of(made)
    assert stored(store, "Patient/old")["identifier"][0]["value"] == "1"

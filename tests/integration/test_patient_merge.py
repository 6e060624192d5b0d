"""Merging Patients: `Patient/$merge`, and the Bundle that an identity source pushes to `service/patient/merge`."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import httpx
import pytest

from bulkhead.store import Store
from tests.support.door import Door

A, B = "Organization/a", "Organization/b"
SYSTEM = "urn:mpi"
BOTH = pytest.mark.parametrize("way", ["$merge", "bundle"])


@pytest.fixture
def door(store: Store, keys_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Door:
    """Patients 1 to 4, each with an identifier and an Observation."""
    made = Door(store, keys_folder, monkeypatch)
    with made.client() as admin:
        for name in ("a", "b"):
            put(admin, {"resourceType": "Organization", "id": name, "name": name})
        for n in "1234":
            put(admin, patient(n))
            put(
                admin,
                {
                    "resourceType": "Observation",
                    "id": f"o{n}",
                    "status": "final",
                    "code": {"text": "x"},
                    "subject": {"reference": f"Patient/{n}"},
                },
            )
    return made


@pytest.fixture
def admin(door: Door) -> httpx.Client:
    return door.client(subject="admin")


def put(client: httpx.Client, resource: dict[str, Any]) -> None:
    answer = client.put(f"{resource['resourceType']}/{resource['id']}", json=resource)
    assert answer.status_code in (200, 201), answer.text


def patient(identity: str, **more: Any) -> dict[str, Any]:
    identifier = {"system": SYSTEM, "value": f"v{identity}"}
    return {"resourceType": "Patient", "id": identity, "identifier": [identifier], "active": True, **more}


def link(kind: str, other: str) -> dict[str, Any]:
    return {"type": kind, "other": {"reference": f"Patient/{other}"}}


def get(client: httpx.Client, name: str) -> dict[str, Any]:
    found: dict[str, Any] = client.get(f"Patient/{name}").raise_for_status().json()
    return found


def call(client: httpx.Client, source: Any, target: Any, *, url: str = "Patient/$merge", **more: Any) -> httpx.Response:
    """`source` and `target` are ids, or lists of identifiers' values; `more` are values of further parameters."""
    listed: list[dict[str, Any]] = []
    for name, side in (("source", source), ("target", target)):
        if isinstance(side, str):
            listed.append({"name": f"{name}-patient", "valueReference": {"reference": f"Patient/{side}"}})
        else:
            values = [{"system": SYSTEM, "value": value} for value in side]
            listed += [{"name": f"{name}-patient-identifier", "valueIdentifier": value} for value in values]
    for name, value in more.items():
        member = "resource" if isinstance(value, dict) else "valueBoolean"
        listed.append({"name": name.replace("_", "-"), member: value})
    return client.post(url, json={"resourceType": "Parameters", "parameter": listed})


def pushed(source: str, target: str, **more: Any) -> dict[str, Any]:
    """The Bundle of an identity source; `more` are members of the requests, by `source_` and `target_`."""
    pair = {
        "target": patient(target, link=[link("replaces", source)]),
        "source": patient(source, active=False, link=[link("replaced-by", target)]),
    }
    entries = []
    for role, resource in pair.items():
        asked = {"method": "PUT", "url": f"Patient/{resource['id']}"}
        asked |= {name.partition("_")[2]: value for name, value in more.items() if name.startswith(f"{role}_")}
        entries.append({"resource": resource, "request": asked})
    return {"resourceType": "Bundle", "type": "transaction", "entry": entries}


def push(client: httpx.Client, bundle: dict[str, Any]) -> httpx.Response:
    return client.post("service/patient/merge", json=bundle)


def merge(client: httpx.Client, way: str, source: str, target: str) -> httpx.Response:
    return call(client, source, target) if way == "$merge" else push(client, pushed(source, target))


def ids(client: httpx.Client, url: str) -> set[str]:
    bundle = client.get(url).raise_for_status().json()
    return {
        entry["resource"]["id"] for entry in bundle.get("entry", ()) if entry.get("search", {}).get("mode") == "match"
    }


def versions(client: httpx.Client, *names: str) -> list[str]:
    return [get(client, name)["meta"]["versionId"] for name in names]


def part(answer: httpx.Response, name: str) -> dict[str, Any]:
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = next(one for one in answer.json()["parameter"] if one["name"] == name)["resource"]
    return found


def fault(answer: httpx.Response) -> tuple[int, str, str]:
    """Status, and place and text of the first issue."""
    issue = answer.json()["issue"][0]
    return answer.status_code, issue["expression"][0], issue["diagnostics"]


@BOTH
def test_the_target_answers_for_both_and_nothing_moves(admin: httpx.Client, way: str) -> None:
    assert merge(admin, way, "2", "1").status_code == 200
    source, target = get(admin, "2"), get(admin, "1")
    assert (source["active"], source["link"], target["active"], target["link"]) == (
        False,
        [link("replaced-by", "1")],
        True,
        [link("replaces", "2")],
    )
    assert ids(admin, "Patient/1/Observation") == ids(admin, "Observation?patient=1") == {"o1", "o2"}
    assert ids(admin, "Patient/2/Observation") == {"o2"}
    moved = admin.get("Observation/o2").json()
    assert (moved["subject"]["reference"], moved["meta"]["versionId"]) == ("Patient/2", "1")


@BOTH
def test_to_merge_again_changes_nothing(admin: httpx.Client, way: str) -> None:
    merge(admin, way, "2", "1").raise_for_status()
    assert versions(admin, "1", "2") == ["2", "2"]
    for _ in range(2):
        assert merge(admin, way, "2", "1").status_code == 200
    assert versions(admin, "1", "2") == ["2", "2"]


@BOTH
def test_chains_may_grow_and_never_come_round(admin: httpx.Client, way: str) -> None:
    merge(admin, way, "3", "2").raise_for_status()
    # What has taken over another may itself be taken over; pushed, it keeps its link.
    if way == "$merge":
        assert merge(admin, way, "2", "1").status_code == 200
    else:
        bundle = pushed("2", "1")
        bundle["entry"][1]["resource"]["link"].append(link("replaces", "3"))
        assert push(admin, bundle).status_code == 200
    assert ids(admin, "Patient/1/Observation") == {"o1", "o2", "o3"}
    before = versions(admin, "1", "2", "3", "4")
    for source, target in (("1", "3"), ("1", "2"), ("3", "1"), ("3", "4"), ("2", "3")):
        status, place, text = fault(merge(admin, way, source, target))
        assert status == 422, (source, target)
        assert "replaced" in text
        assert place
    assert versions(admin, "1", "2", "3", "4") == before


@BOTH
def test_a_circle_of_links_that_only_one_side_has_is_refused(admin: httpx.Client, way: str) -> None:
    put(admin, patient("1", link=[link("replaces", "3")]))
    put(admin, patient("3", link=[link("replaces", "2")]))
    bundle = pushed("1", "2")
    bundle["entry"][1]["resource"]["link"].append(link("replaces", "3"))
    answer = call(admin, "1", "2") if way == "$merge" else push(admin, bundle)
    assert answer.status_code == 422
    assert "replace" in answer.text
    assert versions(admin, "1", "2", "3") == ["2", "1", "2"]


def test_the_parameters_tell_what_was_done(admin: httpx.Client) -> None:
    answer = call(admin, "2", "1")
    assert [one["name"] for one in answer.json()["parameter"]] == ["input", "outcome", "result"]
    result = part(answer, "result")
    assert result == get(admin, "1")
    assert result["identifier"] == [
        {"system": SYSTEM, "value": "v1"},
        {"system": SYSTEM, "value": "v2", "use": "old"},
    ]
    assert part(answer, "input")["parameter"][0]["valueReference"] == {"reference": "Patient/2"}
    assert part(answer, "outcome")["issue"][0]["severity"] == "information"
    assert "before" in part(call(admin, "2", "1"), "outcome")["issue"][0]["diagnostics"]


def test_a_preview_changes_nothing(admin: httpx.Client) -> None:
    answer = call(admin, "2", "1", preview=True)
    assert part(answer, "result")["link"] == [link("replaces", "2")]
    assert versions(admin, "1", "2") == ["1", "1"]
    merge(admin, "$merge", "2", "1").raise_for_status()
    assert call(admin, "1", "2", preview=True).status_code == 422


def test_by_identifiers_and_again(admin: httpx.Client) -> None:
    """The target has the source's identifiers, too, afterwards: as old ones they do not stand in the way."""
    for _ in range(2):
        assert part(call(admin, ["v2"], ["v1"]), "result")["id"] == "1"
    assert versions(admin, "1", "2") == ["2", "2"]
    assert part(call(admin, ["v3"], ["v1", "v2"]), "result")["id"] == "1"
    status, place, _ = fault(call(admin, ["v1"], ["v2"]))
    assert (status, place) == (422, "Parameters.parameter[1].valueIdentifier")


@pytest.mark.parametrize(
    ("source", "target", "place"),
    [
        ("none", "1", "Parameters.parameter[0].valueReference"),
        ("2", "none", "Parameters.parameter[1].valueReference"),
        (["v9"], "1", "Parameters.parameter[0].valueIdentifier"),
        (["v1", "v2"], "3", "Parameters.parameter[0].valueIdentifier"),
        ("1", "1", "Parameters.parameter[0].valueReference"),
    ],
)
def test_who_is_not_there_cannot_be_merged(admin: httpx.Client, source: Any, target: Any, place: str) -> None:
    assert fault(call(admin, source, target))[:2] == (422, place)


def test_identifiers_that_several_have(admin: httpx.Client) -> None:
    put(admin, {**patient("3"), "identifier": [{"system": SYSTEM, "value": "v2"}]})
    assert fault(call(admin, ["v2"], "1"))[::2] == (422, "several Patients have these identifiers")
    # Together with a reference they need only agree.
    listed = [
        {"name": "source-patient", "valueReference": {"reference": "Patient/3"}},
        {"name": "source-patient-identifier", "valueIdentifier": {"system": SYSTEM, "value": "v2"}},
        {"name": "target-patient", "valueReference": {"identifier": {"system": SYSTEM, "value": "v1"}}},
    ]
    answer = admin.post("Patient/$merge", json={"resourceType": "Parameters", "parameter": listed})
    assert part(answer, "result")["id"] == "1"
    assert get(admin, "3")["active"] is False
    listed[0]["valueReference"] = {"reference": "Patient/4"}
    answer = admin.post("Patient/$merge", json={"resourceType": "Parameters", "parameter": listed})
    assert answer.status_code == 422


def test_a_target_that_is_not_active(admin: httpx.Client) -> None:
    put(admin, patient("1", active=False))
    status, place, text = fault(call(admin, "2", "1"))
    assert (status, place) == (422, "Parameters.parameter[1].valueReference")
    assert "not active" in text


def test_the_result_that_a_client_gives(admin: httpx.Client) -> None:
    given = patient("1", link=[link("replaces", "2")], name=[{"family": "Kept"}])
    assert part(call(admin, "2", ["v1"], result_patient=given), "result")["name"] == [{"family": "Kept"}]
    assert get(admin, "1")["identifier"] == given["identifier"]


@pytest.mark.parametrize(
    ("change", "place"),
    [
        ({"id": "2"}, "id"),
        ({"link": []}, "link"),
        ({"link": [link("replaces", "2")] * 2}, "link"),
        ({"identifier": [{"value": "other"}]}, "identifier"),
        ({"active": False}, ""),
        ({"gender": "unheard of"}, "gender"),
    ],
)
def test_a_result_that_does_not_fit(admin: httpx.Client, change: dict[str, Any], place: str) -> None:
    given = patient("1", link=[link("replaces", "2")]) | change
    given = {name: value for name, value in given.items() if value != []}
    status, found, _ = fault(call(admin, "2", ["v1"], result_patient=given))
    assert status == (400 if place == "gender" else 422)
    assert found == f"Parameters.parameter[2].resource.{place}".removesuffix(".")
    assert versions(admin, "1", "2") == ["1", "1"]


def test_the_source_is_deleted_where_nothing_refers_to_it(admin: httpx.Client) -> None:
    assert fault(call(admin, "2", "1", delete_source=True))[:2] == (422, "delete-source")
    admin.delete("Observation/o2").raise_for_status()
    for _ in range(2):
        result = part(call(admin, "2", "1", delete_source=True), "result")
        assert ("link" in result, [one["value"] for one in result["identifier"]]) == (False, ["v1", "v2"])
    assert admin.get("Patient/2").status_code == 410
    assert versions(admin, "1") == ["2"]
    assert call(admin, "2", "3", delete_source=True).status_code == 422
    assert call(admin, "2", "1").status_code == 422


@pytest.mark.parametrize(
    ("parameter", "place"),
    [
        ({"name": "surprise", "valueBoolean": True}, "Parameters.parameter[2]"),
        ({"name": "preview", "valueString": "true"}, "Parameters.parameter[2]"),
        ({"name": "source-patient", "valueReference": {"reference": "Patient/3"}}, "Parameters.parameter[2]"),
        ({"name": "source-patient-identifier", "valueIdentifier": {"system": "x"}}, "Parameters.parameter[2].valueIdentifier"),
        ({"name": "preview", "valueBoolean": "yes"}, "Parameters.parameter[2].value"),
    ],
)  # fmt: skip
def test_parameters_that_are_not_understood(admin: httpx.Client, parameter: dict[str, Any], place: str) -> None:
    listed = [
        {"name": "source-patient", "valueReference": {"reference": "Patient/2"}},
        {"name": "target-patient", "valueReference": {"reference": "Patient/1"}},
        parameter,
    ]
    answer = admin.post("Patient/$merge", json={"resourceType": "Parameters", "parameter": listed})
    assert fault(answer)[:2] == (400, place)


@pytest.mark.parametrize(
    "reference", ["Organization/a", "urn:uuid:1", "Patient?identifier=x", "http://elsewhere/Patient/1"]
)
def test_references_that_name_no_patient_here(admin: httpx.Client, reference: str) -> None:
    listed = [
        {"name": "source-patient", "valueReference": {"reference": reference}},
        {"name": "target-patient", "valueReference": {"reference": "Patient/1"}},
    ]
    answer = admin.post("Patient/$merge", json={"resourceType": "Parameters", "parameter": listed})
    status, place, _ = fault(answer)
    assert (status, place.startswith("Parameters.parameter[0].value")) == (400, True)
    without = admin.post("Patient/$merge", json={"resourceType": "Parameters", "parameter": listed[:1][:0]})
    assert without.status_code == 400
    assert call(admin, "2", "1", url="Organization/$merge").status_code == 404


# Fences


def share(client: httpx.Client, key: str, *accounts: str) -> None:
    listed: list[dict[str, Any]] = [{"name": "accounts", "valueReference": {"reference": one}} for one in accounts]
    listed.append({"name": "propagate", "valueBoolean": key.startswith("Patient/")})
    body = {"resourceType": "Parameters", "parameter": listed}
    client.post(f"{key}/$set-accounts", json=body).raise_for_status()


@BOTH
def test_a_fenced_caller_merges_what_it_may_write_on_both_sides(door: Door, admin: httpx.Client, way: str) -> None:
    share(admin, "Patient/1", A)
    share(admin, "Patient/2", A)
    share(admin, "Patient/3", B)
    fenced = door.client(accounts=[A])
    before = versions(admin, "1", "2", "3", "4")
    for source, target in (("3", "1"), ("1", "3"), ("4", "1")):
        hidden = merge(fenced, way, source, target)
        assert hidden.status_code in (404, 422), hidden.text
        if way == "$merge":
            nobody = merge(fenced, way, *("nobody" if one in "34" else one for one in (source, target)))
            assert fault(hidden) == fault(nobody)
    assert versions(admin, "1", "2", "3", "4") == before
    assert merge(fenced, way, "2", "1").status_code == 200
    assert ids(fenced, "Patient/1/Observation") == {"o1", "o2"}


@BOTH
def test_who_may_only_read_one_side_merges_nothing(door: Door, admin: httpx.Client, way: str) -> None:
    reader = door.client("system/*.rs system/Patient.u?identifier=v1")
    assert merge(reader, way, "2", "1").status_code == 403
    assert merge(door.client("system/*.rs"), way, "2", "1").status_code == 403
    assert versions(admin, "1", "2") == ["1", "1"]


@BOTH
def test_a_patient_merges_with_nobody(door: Door, way: str) -> None:
    own = door.client("patient/*.cruds", patient="1")
    assert merge(own, way, "2", "1").status_code in (403, 404, 422)
    assert merge(own, way, "1", "2").status_code in (403, 404, 422)


def test_a_fenced_caller_deletes_no_source(door: Door, admin: httpx.Client) -> None:
    share(admin, "Patient/1", A)
    share(admin, "Patient/2", A)
    assert fault(call(door.client(accounts=[A]), "2", "1", delete_source=True))[:2] == (403, "delete-source")


@BOTH
def test_accounts_of_the_two_stay_with_their_members(door: Door, admin: httpx.Client, way: str) -> None:
    share(admin, "Patient/1", A)
    share(admin, "Patient/2", B)
    merge(admin, way, "2", "1").raise_for_status()
    accounts = {
        name: [one["reference"] for one in admin.get(f"Observation/{name}").json()["meta"]["accounts"]]
        for name in ("o1", "o2")
    }
    assert accounts == {"o1": [A], "o2": [B]}
    assert ids(door.client(accounts=[B]), "Observation") == {"o2"}
    assert ids(door.client(accounts=[A]), "Observation") == {"o1"}
    assert ids(door.client(accounts=[A, B]), "Patient/1/Observation") == {"o1", "o2"}


def test_merges_at_once_never_make_a_circle(door: Door, admin: httpx.Client) -> None:
    """Each of four Patients into the next, all at the same time, round and round: what is left is a forest."""
    start, answers = threading.Barrier(4), []

    def run(source: str, target: str) -> None:
        client = door.client()
        start.wait()
        answers.append(call(client, source, target).status_code)

    pairs = [("1", "2"), ("2", "3"), ("3", "4"), ("4", "1")]
    threads = [threading.Thread(target=run, args=pair) for pair in pairs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(answers) <= {200, 409, 422}
    assert 200 in answers
    replaced_by = {
        name: [one["other"]["reference"].partition("/")[2] for one in get(admin, name).get("link", ()) if one["type"] == "replaced-by"]
        for name in "1234"
    }  # fmt: skip
    for name in "1234":
        seen = [name]
        while replaced_by[seen[-1]]:
            [following] = replaced_by[seen[-1]]
            assert following not in seen
            seen.append(following)


# The pushed Bundle


def test_a_merge_of_patients_that_are_new_here(admin: httpx.Client) -> None:
    answer = push(admin, pushed("8", "9"))
    assert [entry["response"]["status"] for entry in answer.json()["entry"]] == ["201 Created", "201 Created"]
    assert [entry["resource"]["id"] for entry in answer.json()["entry"]] == ["9", "8"]


def test_if_match_guards_and_a_merge_that_is_told_again_passes(admin: httpx.Client) -> None:
    stale = pushed("2", "1", source_ifMatch='W/"7"')
    assert fault(push(admin, stale))[:2] == (412, "Bundle.entry[1].request.ifMatch")
    fresh = pushed("2", "1", source_ifMatch='W/"1"', target_ifMatch='W/"1"')
    for _ in range(2):
        assert push(admin, fresh).status_code == 200
    assert versions(admin, "1", "2") == ["2", "2"]
    put(admin, get(admin, "1") | {"gender": "female"})
    assert push(admin, fresh).status_code == 412


def test_by_criteria_and_full_urls(admin: httpx.Client) -> None:
    """An identity source knows its own identifiers, and no ids."""
    entries = []
    for value, kind, other in (("v1", "replaces", "2"), ("v2", "replaced-by", "1")):
        resource = {
            "resourceType": "Patient",
            "identifier": [{"system": SYSTEM, "value": value}],
            "active": kind == "replaces",
            "link": [{"type": kind, "other": {"reference": f"urn:uuid:{other}"}}],
        }
        asked = {"method": "PUT", "url": f"Patient?identifier={SYSTEM}|{value}"}
        entries.append({"fullUrl": f"urn:uuid:{value[1]}", "resource": resource, "request": asked})
    bundle = {"resourceType": "Bundle", "type": "transaction", "entry": entries}
    for _ in range(2):
        assert push(admin, bundle).status_code == 200
    assert (get(admin, "1")["link"], get(admin, "2")["link"]) == ([link("replaces", "2")], [link("replaced-by", "1")])
    assert versions(admin, "1", "2") == ["2", "2"]


def test_a_collection_stands_for_the_transaction(admin: httpx.Client) -> None:
    bundle = pushed("2", "1")
    entries = [{"resource": entry["resource"]} for entry in bundle["entry"]]
    assert push(admin, {**bundle, "type": "collection", "entry": entries}).status_code == 200
    assert get(admin, "2")["active"] is False
    again = admin.post("$patient-merge", json=bundle)
    assert again.status_code == 200


@pytest.mark.parametrize(
    ("index", "change", "place"),
    [
        (0, {"link": None}, "Bundle.entry[0].resource.link"),
        (0, {"link": [link("replaces", "3")]}, "Bundle.entry[0].resource.link"),
        (0, {"active": False}, "Bundle.entry[0].resource.link"),
        (1, {"active": True}, "Bundle.entry[1].resource.active"),
        (1, {"active": None}, "Bundle.entry[1].resource.active"),
        (1, {"link": [link("replaced-by", "3")]}, "Bundle.entry[1].resource.link"),
        (1, {"link": [link("replaced-by", "1"), link("replaced-by", "3")]}, "Bundle.entry[1].resource.link"),
        (0, {"link": [link("replaces", "2"), link("replaced-by", "3")]}, "Bundle.entry[0].resource.link"),
    ],
)
def test_departures_from_the_pattern(admin: httpx.Client, index: int, change: dict[str, Any], place: str) -> None:
    bundle = pushed("2", "1")
    resource = bundle["entry"][index]["resource"] | change
    bundle["entry"][index]["resource"] = {name: value for name, value in resource.items() if value is not None}
    answer = push(admin, bundle)
    assert answer.status_code == 422
    assert place in [issue["expression"][0] for issue in answer.json()["issue"]]
    assert versions(admin, "1", "2") == ["1", "1"]


def test_other_bundles_are_named(admin: httpx.Client) -> None:
    bundle = pushed("2", "1")
    assert fault(push(admin, {**bundle, "type": "batch"}))[:2] == (422, "Bundle.type")
    assert fault(push(admin, {**bundle, "entry": bundle["entry"][:1]}))[:2] == (422, "Bundle.entry")
    more = {"resource": {"resourceType": "Basic", "code": {"text": "x"}}, "request": {"method": "POST", "url": "Basic"}}
    assert fault(push(admin, {**bundle, "entry": [*bundle["entry"], more]}))[:2] == (422, "Bundle.entry[2].resource")
    removal = {"request": {"method": "DELETE", "url": "Patient/3"}}
    status, place, _ = fault(push(admin, {**bundle, "entry": [*bundle["entry"], removal]}))
    assert (status, place) == (422, "Bundle.entry[2].request.method")
    assert push(admin, {"resourceType": "Patient"}).status_code == 400
    assert push(admin, {**bundle, "entry": [{"resource": {"resourceType": "Patient"}}]}).status_code == 400


def test_merges_go_into_batches_and_into_no_transaction(admin: httpx.Client) -> None:
    listed = [
        {"name": "source-patient", "valueReference": {"reference": "Patient/2"}},
        {"name": "target-patient", "valueReference": {"reference": "Patient/1"}},
    ]
    entry = {
        "resource": {"resourceType": "Parameters", "parameter": listed},
        "request": {"method": "POST", "url": "Patient/$merge"},
    }
    refused = admin.post("", json={"resourceType": "Bundle", "type": "transaction", "entry": [entry]})
    assert refused.status_code == 400
    done = admin.post("", json={"resourceType": "Bundle", "type": "batch", "entry": [entry]}).json()["entry"][0]
    assert (done["response"]["status"], get(admin, "2")["active"]) == ("200 OK", False)

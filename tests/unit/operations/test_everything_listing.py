"""`$everything`: the target, its compartment, what these refer to; each once, on whatever pages."""

from __future__ import annotations

from dataclasses import replace
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest

from bulkhead import resources
from bulkhead.access.policy import EVERYBODY, Caller, Scope
from bulkhead.compartments import membership
from bulkhead.errors import BadRequest, BulkheadError, Forbidden, Gone, NotFound
from bulkhead.facts.index_facts import facts
from bulkhead.operations import everything_listing
from bulkhead.session import Session
from bulkhead.settings import Settings
from bulkhead.store import Head, Store, Version, Write

BASE = "https://server.example/fhir/R4"
ALL = (Scope("system", "*", "cruds"),)


def put(store: Store, key: str, **content: Any) -> None:
    resource_type, _, identifier = key.partition("/")
    resources.update(
        Session.of(store, EVERYBODY), {"resourceType": resource_type, "id": identifier, **content}, key, if_match=None
    )


def reference(key: str) -> dict[str, str]:
    return {"reference": key}


@pytest.fixture
def record(store: Store) -> Store:
    """A patient with an encounter, three observations and a condition; and another patient's."""
    for key in ("Practitioner/seen", "Practitioner/unseen", "Organization/general", "Location/ward"):
        put(store, key)
    put(store, "Patient/1", generalPractitioner=[reference("Organization/general")])
    put(store, "Patient/2", generalPractitioner=[reference("Practitioner/unseen")])
    put(store, "Encounter/e", status="finished", subject=reference("Patient/1"),
        **{"class": {"code": "AMB"}}, location=[{"location": reference("Location/ward")}])  # fmt: skip
    for year in (2018, 2020, 2022):
        put(store, f"Observation/{year}", status="final", code={"text": "x"}, subject=reference("Patient/1"),
            effectiveDateTime=f"{year}-06-01", performer=[reference("Practitioner/seen")],
            encounter=reference("Encounter/e"))  # fmt: skip
    # `recorder` is no search parameter of Condition.
    put(store, "Condition/c", subject=reference("Patient/1"), recorder=reference("Practitioner/recorder"))
    put(store, "Practitioner/recorder")
    put(store, "Observation/other", status="final", code={"text": "x"}, subject=reference("Patient/2"))
    return store


MEMBERS = ["Condition/c", "Encounter/e", "Observation/2018", "Observation/2020", "Observation/2022"]
REFERRED = ["Location/ward", "Organization/general", "Practitioner/recorder", "Practitioner/seen"]


def page(store: Store, query: str, key: str = "Patient/1", who: Caller = EVERYBODY) -> dict[str, Any]:
    asked = everything_listing.asked(
        parse_qsl(query, keep_blank_values=True), key, BASE, strict=True, limits=Settings()
    )

    def represent(version: Version) -> dict[str, Any]:
        return resources.represent(version, membership.in_force(store))

    return everything_listing.everything(Session.of(store, who), key, asked, base=BASE, represent=represent)


def keys(bundle: dict[str, Any], mode: str | None = None) -> list[str]:
    entries = bundle.get("entry", [])
    return [e["fullUrl"].removeprefix(f"{BASE}/") for e in entries if mode in (None, e["search"]["mode"])]


def pages(store: Store, query: str, **named: Any) -> list[dict[str, Any]]:
    found = [page(store, query, **named)]
    while following := next((link["url"] for link in found[-1]["link"] if link["relation"] == "next"), None):
        assert len(found) < 50
        found.append(page(store, urlsplit(following).query, **named))
    return found


def test_all_of_a_patient(record: Store) -> None:
    [bundle] = pages(record, "")
    assert keys(bundle, "match") == ["Patient/1", *MEMBERS]
    assert keys(bundle, "include") == REFERRED
    assert bundle["total"] == 6


def test_all_of_an_encounter(record: Store) -> None:
    [bundle] = pages(record, "", key="Encounter/e")
    assert keys(bundle, "match") == ["Encounter/e", "Observation/2018", "Observation/2020", "Observation/2022"]
    assert keys(bundle, "include") == ["Location/ward", "Patient/1", "Practitioner/seen"]


@pytest.mark.parametrize("count", [1, 2, 3, 5, 6, 7, 10])
def test_pages_hold_each_resource_once(record: Store, count: int) -> None:
    found = pages(record, f"_count={count}")
    assert [key for bundle in found for key in keys(bundle)] == ["Patient/1", *MEMBERS, *REFERRED]
    assert all(len(keys(bundle)) <= count for bundle in found)
    assert all("total" not in bundle for bundle in found) or len(found) == 1


@pytest.mark.parametrize(("window", "read"), [(1, 1), (2, 3), (3, 2)])
def test_small_windows_lose_nothing(record: Store, monkeypatch: pytest.MonkeyPatch, window: int, read: int) -> None:
    monkeypatch.setattr(everything_listing, "WINDOW", window)
    monkeypatch.setattr(everything_listing, "READ", read)
    found = [key for bundle in pages(record, "_count=2") for key in keys(bundle)]
    assert [key for key in found if key in MEMBERS] == MEMBERS
    assert set(found) == {"Patient/1", *MEMBERS, *REFERRED}


def test_types(record: Store) -> None:
    assert [key for bundle in pages(record, "_type=Observation,Location") for key in keys(bundle)] == [
        "Observation/2018",
        "Observation/2020",
        "Observation/2022",
        "Location/ward",
    ]


@pytest.mark.parametrize(
    ("period", "years"),
    [
        ("start=2020-01-01", {2020, 2022}),
        ("end=2020-06-01", {2018, 2020}),
        ("start=2019&end=2021", {2020}),
        ("start=2023", set()),
    ],
)
def test_care_dates(record: Store, period: str, years: set[int]) -> None:
    found = {key for bundle in pages(record, period) for key in keys(bundle)}
    assert {key for key in found if key.startswith("Observation/")} == {f"Observation/{year}" for year in years}
    assert {"Patient/1", "Condition/c", "Encounter/e"} <= found
    assert ("Practitioner/seen" in found) == bool(years)


def test_since(record: Store) -> None:
    head = record.read("Observation/2022")
    assert head is not None
    moment = head.updated
    found = {key for bundle in pages(record, f"_since={moment}") for key in keys(bundle)}
    assert found == {"Observation/2022", "Condition/c", "Practitioner/recorder"}


DIRECTORY = ["Practitioner/recorder", "Practitioner/seen", "Organization/general", "Location/ward"]
"""What the members refer to, and is shared."""


def test_a_fenced_caller_sees_what_is_inside_and_what_is_shared(record: Store) -> None:
    patient = Caller("app", (Scope("patient", "*", "rs"),), patient="1")
    assert {key for bundle in pages(record, "", who=patient) for key in keys(bundle)} == {
        "Patient/1",
        *MEMBERS,
        *DIRECTORY,
    }
    some = Caller(
        "app", (Scope("system", "Patient", "r"), Scope("system", "Condition", "rs"), Scope("system", "Encounter", "r"))
    )
    assert [key for bundle in pages(record, "", who=some) for key in keys(bundle)] == ["Patient/1", "Condition/c"]


@pytest.mark.parametrize(
    ("key", "who", "error"),
    [
        ("Patient/none", EVERYBODY, NotFound),
        ("Patient/gone", EVERYBODY, Gone),
        ("Patient/1", Caller("x", ALL, accounts=("Organization/a",)), NotFound),
        ("Patient/1", Caller("x", (Scope("system", "Condition", "rs"),)), Forbidden),
        ("Observation/2018", EVERYBODY, NotFound),
    ],
)
def test_a_target_that_is_not_for_the_caller(record: Store, key: str, who: Caller, error: type[BulkheadError]) -> None:
    put(record, "Patient/gone")
    resources.delete(Session.of(record, EVERYBODY), "Patient/gone", None)
    with pytest.raises(error):
        page(record, "", key=key, who=who)


@pytest.mark.parametrize(
    ("query", "name"),
    [
        ("_type=Nothing", "_type"),
        ("_count=x", "_count"),
        ("start=yesterday", "start"),
        ("end=ge2020", "end"),
        ("_since=now", "_since"),
        ("_cursor=abc", "_cursor"),
        ("code=1", "code"),
    ],
)
def test_what_cannot_be_understood_is_named(store: Store, query: str, name: str) -> None:
    put(store, "Patient/1")
    with pytest.raises(BadRequest) as refused:
        page(store, query)
    assert refused.value.issues[0].expression == name


def test_a_cursor_is_for_its_own_call(record: Store) -> None:
    first = page(record, "_count=2")
    following = next(link["url"] for link in first["link"] if link["relation"] == "next")
    with pytest.raises(BadRequest):
        page(record, urlsplit(following).query + "&_type=Condition")
    with pytest.raises(BadRequest):
        page(record, urlsplit(following).query + "&start=2020")


def test_parameters_of_a_post() -> None:
    body = {
        "resourceType": "Parameters",
        "parameter": [
            {"name": "start", "valueDate": "2020-01-01"},
            {"name": "_type", "valueCode": "Condition"},
            {"name": "_count", "valueInteger": 5},
        ],
    }
    assert everything_listing.from_parameters(body) == [
        ("start", "2020-01-01"),
        ("_type", "Condition"),
        ("_count", "5"),
    ]


@pytest.mark.parametrize(
    "body",
    [
        {"resourceType": "Patient"},
        {"resourceType": "Parameters", "parameter": {}},
        {"resourceType": "Parameters", "parameter": [3]},
        {"resourceType": "Parameters", "parameter": [{"name": "code", "valueCode": "x"}]},
        {"resourceType": "Parameters", "parameter": [{"name": "_count", "valueString": "5"}]},
        {"resourceType": "Parameters", "parameter": [{"name": "_count", "valueInteger": True}]},
    ],
)
def test_other_parameters_are_refused(body: dict[str, Any]) -> None:
    with pytest.raises(BadRequest) as refused:
        everything_listing.from_parameters(body)
    assert refused.value.issues[0].expression


# Behind fences


TENANT = Caller("x", ALL, accounts=("Organization/a",))
"""Sees what carries Organization/a."""


def share(store: Store, *given: str) -> None:
    """Give Organization/a to these resources, and to nothing else."""
    for key in given:
        head = store.read(key)
        assert head is not None
        store.commit([replace(write_of(head), explicit=("Organization/a",))])


def keep(store: Store, key: str) -> None:
    """Give a resource an account of somebody else, so that it is not shared."""
    head = store.read(key)
    if head is not None:
        store.commit([replace(write_of(head), explicit=("Organization/else",))])


def write_of(head: Head) -> Write:
    return Write(head.key, head, head.body, inherited=dict(head.inherited))


@pytest.mark.parametrize("key", ["Patient/1", "Encounter/e"])
@pytest.mark.parametrize("query", ["", "_count=1", "_count=2"])
def test_a_tenant_gets_what_it_sees_of_members_and_of_what_they_refer_to(record: Store, key: str, query: str) -> None:
    inside = {key, "Observation/2018", "Practitioner/seen", "Location/ward"}
    put(record, "Observation/2020", status="final", code={"text": "x"}, subject=reference("Patient/1"),
        encounter=reference("Encounter/e"), performer=[reference("Practitioner/unseen")])  # fmt: skip
    share(record, *inside)
    for hidden in ("Practitioner/recorder", "Practitioner/unseen", "Organization/general"):
        keep(record, hidden)
    found = pages(record, query, key=key, who=TENANT)
    everything_found = [name for bundle in found for name in keys(bundle)]
    assert len(everything_found) == len(set(everything_found))
    # Location/ward is named by Encounter/e alone: who does not see that one does not get there.
    assert set(everything_found) == (inside if key == "Encounter/e" else inside - {"Location/ward"})
    assert all(bundle["total"] == 2 for bundle in found if "total" in bundle)


@pytest.mark.parametrize("key", ["Patient/1", "Encounter/e"])
def test_a_target_outside_is_not_there(record: Store, key: str) -> None:
    share(record, "Observation/2018", "Practitioner/seen")
    with pytest.raises(NotFound):
        page(record, "", key=key, who=TENANT)


def test_a_patient_gets_its_own_and_what_is_shared_and_nothing_else_that_it_refers_to(record: Store) -> None:
    """What members refer to outside of the compartment is outside of the fence, unless everybody may read it."""
    own = Caller("p", ALL, patient="1")
    found = [name for bundle in pages(record, "_count=2", who=own) for name in keys(bundle)]
    assert sorted(found) == sorted(["Patient/1", *MEMBERS, *DIRECTORY])
    share(record, *DIRECTORY)
    assert [name for bundle in pages(record, "_count=2", who=own) for name in keys(bundle)] == ["Patient/1", *MEMBERS]
    assert keys(page(record, "", key="Encounter/e", who=own)) == ["Encounter/e", *MEMBERS[2:], "Patient/1"]
    with pytest.raises(NotFound):
        page(record, "", key="Patient/2", who=own)


def test_types_without_a_scope_are_left_out(record: Store) -> None:
    scopes = tuple(Scope("system", name, "rs") for name in ("Patient", "Condition"))
    assert keys(page(record, "", who=Caller("x", scopes))) == ["Patient/1", "Condition/c"]


# Replaced patients, and the server's own record


def linked(kind: str, other: str) -> list[dict[str, Any]]:
    return [{"other": reference(other), "type": kind}]


@pytest.mark.parametrize("query", ["", "_count=1", "_count=3"])
def test_everything_of_whom_it_replaces_too(record: Store, query: str) -> None:
    put(record, "Patient/2", link=linked("replaces", "Patient/3"))
    put(record, "Patient/3", link=linked("replaces", "Patient/1"))
    put(record, "Patient/1", link=linked("replaces", "Patient/2"))
    put(record, "Condition/d", subject=reference("Patient/3"))
    found = [name for bundle in pages(record, query) for name in keys(bundle, "match")]
    assert found == ["Patient/1", *sorted([*MEMBERS, "Condition/d", "Observation/other", "Patient/2", "Patient/3"])]
    # Patient/4 replaces nobody.
    put(record, "Patient/4", link=linked("replaced-by", "Patient/1"))
    assert keys(page(record, "", key="Patient/4"), "match") == ["Patient/4"]


def test_who_is_replaced_is_behind_the_fence(record: Store) -> None:
    put(record, "Patient/1", link=linked("replaces", "Patient/2"))
    share(record, "Patient/1", "Observation/2018")
    for hidden in DIRECTORY:
        keep(record, hidden)
    assert keys(page(record, "", who=TENANT)) == ["Patient/1", "Observation/2018"]
    own = Caller("p", ALL, patient="1")
    assert "Observation/other" not in keys(page(record, "", who=own))
    put(record, "Patient/2", link=linked("replaced-by", "Patient/1"))
    assert {"Observation/other", "Patient/2"} <= set(keys(page(record, "", who=own)))


def test_what_the_server_has_recorded_is_left_out(record: Store) -> None:
    for identifier in ("audit-1", "own"):
        resource = {"resourceType": "AuditEvent", "id": identifier, "entity": [{"what": reference("Patient/1")}]}
        record.commit([Write(f"AuditEvent/{identifier}", None, record.encode(resource), None, facts(resource))])
    assert [name for name in keys(page(record, "")) if name.startswith("AuditEvent")] == ["AuditEvent/own"]


@pytest.mark.parametrize("query", ["_summary=count", "_count=0"])
def test_what_it_does_not_count_is_refused(record: Store, query: str) -> None:
    with pytest.raises(BadRequest) as refused:
        page(record, query)
    assert refused.value.issues[0].expression == query.partition("=")[0]


def test_elements(record: Store) -> None:
    found = page(record, "_elements=id")
    assert keys(found, "match") == keys(page(record, ""), "match")
    shown = [entry["resource"] for entry in found["entry"] if entry["search"]["mode"] == "match"]
    assert all(resource["meta"]["tag"][0]["code"] == "SUBSETTED" for resource in shown)


def test_a_parameter_that_was_ignored_is_told(record: Store) -> None:
    asked = everything_listing.asked([("code", "1")], "Patient/1", BASE, strict=False, limits=Settings())
    assert asked.query.ignored == ("code",)
    with pytest.raises(BadRequest):
        everything_listing.asked([("code", "1")], "Patient/1", BASE, strict=True, limits=Settings())

"""What governs the server: written by a caller whom nothing fences, and without an account. What a tenant writes never does."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qsl

import pytest

from bulkhead import bundles, resources
from bulkhead.access import policy
from bulkhead.access.policy import EVERYBODY, Caller
from bulkhead.compartments import membership
from bulkhead.compartments.governing import governs
from bulkhead.errors import BadRequest
from bulkhead.operations import meta_change, set_accounts_run
from bulkhead.resources.patches import json_patch
from bulkhead.search import custom, parse, run
from bulkhead.session import Session
from bulkhead.store import Store
from bulkhead.store.capacity import metered
from tests.support.searches import unrecorded
from tests.unit.compartments.test_compartment_definitions import definition as compartment_definition

Json = dict[str, Any]

A, B = "Organization/a", "Organization/b"
TENANT = Caller("a", EVERYBODY.scopes, sets_accounts=True, accounts=(A,))
OTHER = Caller("b", EVERYBODY.scopes, accounts=(B,))
EYES = "http://eyes"
BASE = "http://here/fhir/R4"


def definition(identifier: str = "eyes", **more: Any) -> Json:
    return {
        "resourceType": "SearchParameter",
        "id": identifier,
        "url": f"http://parameters/{identifier}",
        "name": identifier,
        "status": "active",
        "description": "eyes",
        "code": "eyes",
        "base": ["Patient"],
        "type": "string",
        "expression": f"Patient.extension('{EYES}').value",
    } | more


@pytest.fixture
def clinic(store: Store) -> Store:
    for account in (A, B):
        put(store, {"resourceType": "Organization", "id": account.partition("/")[2], "name": "x"})
    for identifier, colour in (("1", "blue"), ("2", "green")):
        eyes = [{"url": EYES, "valueString": colour}]
        put(store, {"resourceType": "Patient", "id": identifier, "extension": eyes})
        set_accounts_run.run(Session.of(store, EVERYBODY), f"Patient/{identifier}", set_accounts_run.Request((A, B)))
    return store


def put(store: Store, resource: Json, who: Caller = EVERYBODY) -> None:
    key = f"{resource['resourceType']}/{resource['id']}"
    resources.update(Session.of(store, who), resources.checked(resource, resource["resourceType"]), key)


def give_up(store: Store, key: str, who: Caller = EVERYBODY) -> None:
    set_accounts_run.run(Session.of(store, who), key, set_accounts_run.Request(()))


def found(store: Store, who: Caller = EVERYBODY, query: str = "eyes=bl") -> list[str]:
    fence = policy.fence(store, who, policy.SEARCH)
    look = custom.stored_in(store, fence)
    parsed = parse.parse(parse_qsl(query), "Patient", base=BASE, strict=True, custom=look)
    bundle = run.search(
        store,
        parsed,
        base=BASE,
        represent=lambda version: {**version.body, "id": version.head.id},
        fence=fence,
        consulted=unrecorded,
    )
    return [entry["resource"]["id"] for entry in bundle.get("entry", [])]


def process(store: Store, who: Caller, bundle: Json) -> None:
    bundles.process(bundle, bundles.Context(Session.of(store, who), BASE, None, lambda head: {}, lambda head: None))  # type: ignore[arg-type] # nothing is read


def is_in_force(store: Store, key: str = "SearchParameter/eyes") -> bool:
    head = store.read(key)
    return head is not None and governs(head)


def require_unknown(store: Store, *callers: Caller) -> None:
    for who in callers:
        with pytest.raises(BadRequest):
            found(store, who)


def test_what_an_unfenced_caller_wrote_is_in_force_for_all(clinic: Store) -> None:
    put(clinic, definition())
    for who in (EVERYBODY, TENANT, OTHER):
        assert found(clinic, who) == ["1"]


def test_a_tenants_parameter_serves_that_tenant_alone(clinic: Store) -> None:
    put(clinic, definition(), TENANT)
    assert found(clinic, TENANT) == ["1"]
    require_unknown(clinic, EVERYBODY, OTHER)


def test_giving_up_its_accounts_does_not_put_it_in_force(clinic: Store) -> None:
    put(clinic, definition(), TENANT)
    give_up(clinic, "SearchParameter/eyes")
    require_unknown(clinic, EVERYBODY, TENANT, OTHER)


def test_with_a_lower_id_it_takes_nothing_from_the_owners(clinic: Store) -> None:
    put(clinic, definition("owner"))
    put(clinic, definition("a", expression="Patient.name.nonsense()"), TENANT)
    put(clinic, definition("b", expression="Patient.birthDate"), TENANT)
    give_up(clinic, "SearchParameter/b")
    for who in (EVERYBODY, TENANT, OTHER):
        assert found(clinic, who) == ["1"]


def test_an_account_takes_it_out_of_force_and_back(clinic: Store) -> None:
    put(clinic, definition())
    set_accounts_run.run(Session.of(clinic, EVERYBODY), "SearchParameter/eyes", set_accounts_run.Request((A,)))
    assert found(clinic, TENANT) == ["1"]
    require_unknown(clinic, EVERYBODY, OTHER)
    give_up(clinic, "SearchParameter/eyes")
    assert found(clinic, OTHER) == ["1"]


def test_what_a_fenced_caller_changed_is_out_of_force_until_it_is_written_anew(clinic: Store) -> None:
    put(clinic, definition())
    set_accounts_run.run(Session.of(clinic, EVERYBODY), "SearchParameter/eyes", set_accounts_run.Request((A,)))
    put(clinic, definition(description="changed"), TENANT)
    give_up(clinic, "SearchParameter/eyes")
    require_unknown(clinic, EVERYBODY, TENANT, OTHER)
    # The same content, from a caller whom nothing fences.
    put(clinic, definition(description="changed"))
    assert found(clinic, OTHER) == ["1"]


def test_patches_and_meta_leave_it_as_it_is(clinic: Store) -> None:
    tag = {"tag": [{"system": "s", "code": "c"}]}
    change = json_patch.parse(b'[{"op": "replace", "path": "/description", "value": "other"}]')
    put(clinic, definition(), TENANT)
    give_up(clinic, "SearchParameter/eyes")
    meta_change.change(Session.of(clinic, EVERYBODY), "SearchParameter/eyes", tag, how=meta_change.added, if_match=None)
    resources.patch(Session.of(clinic, EVERYBODY), "SearchParameter/eyes", change)
    entry = {
        "resource": {"resourceType": "Binary", "contentType": "application/json-patch+json", "data": "W10="},
        "request": {"method": "PATCH", "url": "SearchParameter/eyes"},
    }
    bundle = {"resourceType": "Bundle", "type": "transaction", "entry": [entry]}
    entry["resource"]["data"] = (
        "W3sib3AiOiAicmVwbGFjZSIsICJwYXRoIjogIi9kZXNjcmlwdGlvbiIsICJ2YWx1ZSI6ICJ5ZXQgYW5vdGhlciJ9XQ=="
    )
    process(clinic, EVERYBODY, bundle)
    assert not is_in_force(clinic)
    put(clinic, definition())
    meta_change.change(Session.of(clinic, EVERYBODY), "SearchParameter/eyes", tag, how=meta_change.added, if_match=None)
    resources.patch(Session.of(clinic, EVERYBODY), "SearchParameter/eyes", change)
    assert is_in_force(clinic)


def test_a_deleted_one_is_not_in_force_and_its_id_brings_nothing_back(clinic: Store) -> None:
    put(clinic, definition())
    resources.delete(Session.of(clinic, EVERYBODY), "SearchParameter/eyes")
    require_unknown(clinic, EVERYBODY)
    assert not is_in_force(clinic)
    put(clinic, definition())
    assert is_in_force(clinic)


@pytest.mark.parametrize("entries", [1, 120])
def test_bundles_of_any_size_say_whose_it_is(clinic: Store, entries: int) -> None:
    for who, expected in ((TENANT, False), (EVERYBODY, True)):
        others = [
            {
                "resource": {"resourceType": "Basic", "code": {"text": "x"}},
                "request": {"method": "POST", "url": "Basic"},
            }
            for _ in range(entries - 1)
        ]
        key = f"SearchParameter/of-{entries}-{who.subject}"
        entry = {"resource": definition(key.partition("/")[2]), "request": {"method": "PUT", "url": key}}
        bundle = {"resourceType": "Bundle", "type": "transaction", "entry": [entry, *others]}
        process(clinic, who, bundle)
        if who is TENANT:
            give_up(clinic, key)
            require_unknown(clinic, EVERYBODY)
        assert is_in_force(clinic, key) is expected
    assert found(clinic, OTHER) == ["1"]


def test_propagation_leaves_it_as_it_is(clinic: Store) -> None:
    put(
        clinic,
        {
            "resourceType": "Observation",
            "id": "o",
            "status": "final",
            "code": {"text": "x"},
            "subject": {"reference": "Patient/1"},
        },
    )
    set_accounts_run.run(Session.of(clinic, EVERYBODY), "Patient/1", set_accounts_run.Request((A,), propagate=True))
    head = clinic.read("Observation/o")
    assert head is not None
    assert head.accounts == (A,)
    assert head.unfenced


def test_a_head_without_the_mark_is_not_in_force(clinic: Store) -> None:
    """As one from before the mark: it fails closed, and is in force when it is written again."""
    put(clinic, definition())
    table = clinic.table
    table.write(
        [table.update_action(("SearchParameter/eyes", "#"), "REMOVE #unfenced", {}, condition="attribute_exists(#pk)")]
    )
    require_unknown(clinic, EVERYBODY)
    put(clinic, definition())
    assert found(clinic, OTHER) == ["1"]


def test_a_compartment_definition_with_an_account_is_not_in_force(clinic: Store) -> None:
    put(clinic, compartment_definition("x", "Organization", Encounter=["service-provider"]))
    assert "Organization" in membership.in_force(clinic)
    set_accounts_run.run(Session.of(clinic, EVERYBODY), "CompartmentDefinition/x", set_accounts_run.Request((A,)))
    assert "Organization" not in membership.in_force(clinic)


def test_of_two_in_force_the_first_by_id_decides_and_the_log_tells(
    clinic: Store, caplog: pytest.LogCaptureFixture
) -> None:
    put(clinic, definition("z"))
    put(clinic, definition("y", expression="Patient.name.family"))
    put(clinic, definition("x", base=["Observation"], expression="Observation.note.text"))
    assert found(clinic) == []
    told = {tuple(one.__dict__["resources"]) for one in caplog.records if "resources" in one.__dict__}
    assert told == {("SearchParameter/y", "SearchParameter/z")}


def test_other_tenants_definitions_cost_nothing(clinic: Store) -> None:
    """However many there are under one code, nobody else reads them."""
    put(clinic, definition())
    for number in range(30):
        put(clinic, definition(f"a{number:02d}", expression="Patient.name.nonsense()"), TENANT)
    with metered(clinic.table.client) as meter:
        assert found(clinic) == ["1"]
    assert sum(meter.units.values()) < 20


def test_r4s_own_url_is_not_redefined(clinic: Store) -> None:
    put(clinic, definition(url="http://hl7.org/fhir/SearchParameter/individual-birthdate"))
    require_unknown(clinic, EVERYBODY)

"""JSON Patch and FHIRPath Patch: what they make of a resource, what they refuse, and in bundles."""

from __future__ import annotations

import base64
from contextlib import suppress
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bulkhead import resources
from bulkhead.access.policy import EVERYBODY, Caller
from bulkhead.bundles.context import REPRESENTATION
from bulkhead.errors import (
    BadRequest,
    BulkheadError,
    Gone,
    InvalidResource,
    NotFound,
    PayloadTooLarge,
    PreconditionFailed,
    TooCostly,
    Unprocessable,
)
from bulkhead.fhir import json
from bulkhead.resources import patches
from bulkhead.resources.patches import fhirpath_patch, json_patch, limits
from bulkhead.session import Session
from bulkhead.store import Store
from tests.support.bundle_samples import bundle, context, create, key_of, observation, patient, post, statuses, stored

Json = dict[str, Any]

ANNA: Json = {
    "resourceType": "Patient",
    "id": "anna",
    "active": True,
    "name": [
        {"use": "official", "family": "Berg", "given": ["Anna", "Maria"]},
        {"use": "nickname", "given": ["Ann"]},
    ],
    "birthDate": "1970-01-01",
    "contact": [{"name": {"text": "Ole"}}],
}
SUGAR: Json = {
    "resourceType": "Observation",
    "id": "sugar",
    "status": "final",
    "code": {"text": "sugar"},
    "valueQuantity": {"value": Decimal("1.10"), "unit": "g"},
}


def operation(kind: str, **parts: Any) -> Json:
    """An operation; `value` is a pair of the suffix of value[x] and the content, or a list of parts."""
    types = {"index": "valueInteger", "source": "valueInteger", "destination": "valueInteger"}
    listed: list[Json] = [{"name": "type", "valueCode": kind}]
    for name, content in parts.items():
        if name == "value":
            listed.append({"name": "value", "part": content} if isinstance(content, list) else {"name": "value", f"value{content[0]}": content[1]})  # fmt: skip
        else:
            listed.append({"name": name, types.get(name, "valueString"): content})
    return {"name": "operation", "part": listed}


def parameters(*operations: Json) -> Json:
    return {"resourceType": "Parameters", "parameter": list(operations)}


def fhirpath(resource: Json, *operations: Json) -> Json:
    """What the operations make of a copy of the resource."""
    return patches.from_resource(parameters(*operations))(json.loads(json.dumps(resource)))


def by_json(resource: Json, *operations: Json) -> Json:
    return json_patch.parse(json.dumps(list(operations)))(json.loads(json.dumps(resource)))


# FHIRPath Patch


@pytest.mark.parametrize(
    ("resource", "change", "place", "expected"),
    [
        (ANNA, operation("add", path="Patient", name="gender", value=("Code", "female")), "gender", "female"),
        (ANNA, operation("add", path="Patient", name="telecom", value=("ContactPoint", {"system": "phone", "value": "1"})), "telecom", [{"system": "phone", "value": "1"}]),
        (ANNA, operation("add", path="Patient.name[1]", name="given", value=("String", "B")), "name.1.given", ["Ann", "B"]),
        (ANNA, operation("add", path="Patient.contact[0].name", name="family", value=("String", "B")), "contact.0.name.family", "B"),
        (ANNA, operation("add", path="Patient", name="deceased", value=("Boolean", True)), "deceasedBoolean", True),
        (ANNA, operation("add", path="Patient", name="contact", value=[
            {"name": "name", "valueHumanName": {"text": "Eli"}},
            {"name": "relationship", "valueCodeableConcept": {"text": "aunt"}}]),
         "contact.1", {"name": {"text": "Eli"}, "relationship": [{"text": "aunt"}]}),
        (ANNA, operation("insert", path="Patient.name[0].given", index=0, value=("String", "B")), "name.0.given", ["B", "Anna", "Maria"]),
        (ANNA, operation("insert", path="Patient.name.first().given", index=2, value=("String", "B")), "name.0.given", ["Anna", "Maria", "B"]),
        (ANNA, operation("delete", path="Patient.birthDate"), "birthDate", None),
        (ANNA, operation("delete", path="Patient.gender"), "gender", None),
        (ANNA, operation("delete", path="Patient.name.where(use = 'nickname').given"), "name.1", {"use": "nickname"}),
        (ANNA, operation("replace", path="Patient.birthDate", value=("Date", "1971")), "birthDate", "1971"),
        (ANNA, operation("replace", path="Patient.name.where(use = 'official').where(family = 'Berg').family", value=("String", "B")), "name.0.family", "B"),
        (ANNA, operation("replace", path="Patient.name.given[1]", value=("String", "B")), "name.0.given", ["Anna", "B"]),
        (ANNA, operation("replace", path="name.last().use", value=("Code", "old")), "name.1.use", "old"),
        (ANNA, operation("move", path="Patient.name", source=1, destination=0), "name.0.use", "nickname"),
        (SUGAR, operation("replace", path="Observation.value", value=("String", "high")), "valueString", "high"),
        (SUGAR, operation("replace", path="Observation.value", value=("String", "high")), "valueQuantity", None),
        (SUGAR, operation("replace", path="Observation.value.ofType(Quantity).unit", value=("String", "kg")), "valueQuantity.unit", "kg"),
        (SUGAR, operation("replace", path="(Observation.value as Quantity).unit", value=("String", "kg")), "valueQuantity.unit", "kg"),
        (SUGAR, operation("replace", path="Observation.valueQuantity.unit", value=("String", "kg")), "valueQuantity.unit", "kg"),
    ],
)  # fmt: skip
def test_fhirpath_patch(resource: Json, change: Json, place: str, expected: Any) -> None:
    found: Any = fhirpath(resource, change)
    for step in place.split("."):
        found = found[int(step)] if step.isdigit() else found.get(step)
    assert found == expected


def test_operations_follow_each_other() -> None:
    url = "http://x.org/e"
    made = fhirpath(
        ANNA,
        operation(
            "add",
            path="Patient",
            name="extension",
            value=[{"name": "url", "valueUri": url}, {"name": "value", "valueInteger": 1}],
        ),
        operation("replace", path=f"Patient.extension('{url}').value", value=("Integer", 2)),
        operation("delete", path="Patient.active"),
    )
    assert made["extension"] == [{"url": url, "valueInteger": 2}]
    assert "active" not in made


def test_extensions_of_listed_primitives_keep_their_place() -> None:
    note = {"extension": [{"url": "http://x.org/e", "valueString": "x"}]}
    resource = {**ANNA, "name": [{"given": ["A", "B"], "_given": [None, note]}]}
    inserted = fhirpath(resource, operation("insert", path="Patient.name.given", index=0, value=("String", "C")))
    assert inserted["name"] == [{"given": ["C", "A", "B"], "_given": [None, None, note]}]
    moved = fhirpath(resource, operation("move", path="Patient.name.given", source=1, destination=0))
    assert moved["name"] == [{"given": ["B", "A"], "_given": [note, None]}]
    assert fhirpath(resource, operation("delete", path="Patient.name.given[1]"))["name"] == [{"given": ["A"]}]


@pytest.mark.parametrize(
    ("change", "error", "part"),
    [
        (operation("add", path="Patient", name="active", value=("Boolean", True)), Unprocessable, "name"),
        (operation("add", path="Patient", name="nonsense", value=("Boolean", True)), BadRequest, "name"),
        (operation("add", path="Patient.name", name="family", value=("String", "B")), Unprocessable, "path"),
        (operation("add", path="Patient", name="deceased", value=("String", "B")), BadRequest, "value"),
        (operation("add", path="Patient", name="gender", value=[{"name": "family", "valueString": "x"}]), BadRequest, "value"),
        (operation("add", path="Patient", name="gender"), BadRequest, "value"),
        (operation("insert", path="Patient.name", index=3, value=("HumanName", {"text": "x"})), Unprocessable, "index"),
        (operation("insert", path="Patient.name.given", index=0, value=("String", "B")), Unprocessable, "path"),
        (operation("insert", path="Patient.active", index=0, value=("Boolean", True)), Unprocessable, "path"),
        (operation("delete", path="Patient.name.given"), Unprocessable, "path"),
        (operation("delete", path="Patient"), BadRequest, "path"),
        (operation("delete", path="Patient.nonsense"), BadRequest, "path"),
        (operation("replace", path="Observation.status", value=("Code", "final")), BadRequest, "path"),
        (operation("replace", path="Patient.gender", value=("Code", "male")), Unprocessable, "path"),
        (operation("replace", path="Patient", value=("String", "x")), BadRequest, "path"),
        (operation("replace", path="Patient.name.given.count()", value=("String", "x")), BadRequest, "path"),
        (operation("replace", path="Patient..", value=("String", "x")), BadRequest, "path"),
        (operation("move", path="Patient.name", source=2, destination=0), Unprocessable, "source"),
        (operation("move", path="Patient.name", source=0, destination=-1), Unprocessable, "destination"),
        (operation("nonsense", path="Patient.name"), BadRequest, "type"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_named(change: Json, error: type[BulkheadError], part: str) -> None:
    with pytest.raises(error) as caught:
        fhirpath(ANNA, change)
    assert caught.value.issues[0].expression == f"Parameters.parameter[0].part.where(name='{part}')"


@pytest.mark.parametrize(
    "document",
    [{}, {"resourceType": "Patient"}, {"resourceType": "Parameters"}, {"resourceType": "Parameters", "parameter": [{"name": "other"}]},
     {"resourceType": "Binary", "contentType": "application/json", "data": "W10="},
     {"resourceType": "Binary", "contentType": "application/json-patch+json", "data": "e30="}, []],
)  # fmt: skip
def test_what_is_no_patch_is_refused(document: Any) -> None:
    with pytest.raises(BadRequest):
        patches.from_resource(document)


# JSON Patch


def test_json_patch_keeps_digits() -> None:
    made = by_json(SUGAR, {"op": "replace", "path": "/valueQuantity/unit", "value": "kg"})
    assert json.dumps(made["valueQuantity"]) == b'{"value":1.10,"unit":"kg"}'
    made = by_json(SUGAR, {"op": "add", "path": "/valueQuantity/value", "value": Decimal("2.00")})
    assert str(made["valueQuantity"]["value"]) == "2.00"


@pytest.mark.parametrize("data", [b"", b"{}", b"[1]", b"[{}]", b'[{"op":"x","path":"/a"}]', b'[{"op":"add","path":"a"}]',
                                  b'[{"op":"add","path":1,"value":1}]', b"\xff", b"[" * 5000])  # fmt: skip
def test_malformed_json_patches_are_refused(data: bytes) -> None:
    with pytest.raises(BadRequest):
        json_patch.parse(data)


@pytest.mark.parametrize(
    ("operations", "told"),
    [
        ([1], {"patch[0]": "must be an object"}),
        ([{}], {"patch[0].op": "one of add, remove"}),
        ([{"op": ["add"], "path": ""}], {"patch[0].op": "one of add, remove"}),
        ([{"op": "add", "path": "/active"}], {"patch[0].value": "add must have a value"}),
        ([{"op": "copy", "path": "/x"}], {"patch[0].from": "copy must have a from"}),
        ([{"op": "remove", "path": "/gender"}, {"op": "test", "path": "a"}],
         {"patch[1].path": "JSON Pointer", "patch[1].value": "test must have a value"}),
        ([{"op": "move", "from": "/~3", "path": 1}], {"patch[0].from": "JSON Pointer", "patch[0].path": "JSON Pointer"}),
    ],
)  # fmt: skip
def test_a_malformed_json_patch_names_every_fault_and_its_place(operations: list[Any], told: dict[str, str]) -> None:
    with pytest.raises(BadRequest) as refused:
        json_patch.parse(json.dumps(operations))
    issues = {str(issue.expression): issue.diagnostics for issue in refused.value.issues}
    assert issues.keys() == told.keys()
    assert all(told[place] in text for place, text in issues.items())


@pytest.mark.parametrize(
    "change",
    [{"op": "test", "path": "/active", "value": False}, {"op": "remove", "path": "/gender"}, {"op": "replace", "path": "/x/y", "value": 1},
     {"op": "add", "path": "/name/9", "value": {}}, {"op": "add", "path": "/active/x", "value": 1}, {"op": "move", "from": "/x", "path": "/y"},
     {"op": "replace", "path": "", "value": []}],
)  # fmt: skip
def test_json_patches_that_do_not_fit_are_unprocessable(change: Json) -> None:
    with pytest.raises(Unprocessable):
        by_json(ANNA, change)


@pytest.mark.parametrize(
    ("change", "place"),
    [
        ({"op": "remove", "path": "/nothing"}, "patch[1].path"),
        ({"op": "move", "from": "/nothing", "path": "/x"}, "patch[1].from"),
        # `move` takes its source away before it finds that there is nowhere to go.
        ({"op": "move", "from": "/active", "path": "/name/9"}, "patch[1].path"),
        ({"op": "copy", "from": "/active/x", "path": "/x"}, "patch[1].from"),
        ({"op": "copy", "from": "/active", "path": "/name/9"}, "patch[1].path"),
        ({"op": "test", "path": "/active", "value": "x"}, "patch[1]"),
    ],
)
def test_a_json_patch_that_does_not_fit_names_the_operation(change: Json, place: str) -> None:
    with pytest.raises(Unprocessable) as refused:
        by_json(ANNA, {"op": "test", "path": "/resourceType", "value": "Patient"}, change)
    assert [issue.expression for issue in refused.value.issues] == [place]


pointers = st.sampled_from(["", "/", "/name", "/name/0", "/name/-", "/name/0/given/1", "/active", "/active/x", "/x/~2", "/name/00", "/name/x"])  # fmt: skip
values = st.recursive(st.none() | st.booleans() | st.integers() | st.text(max_size=3), lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner, max_size=2), max_leaves=4)  # fmt: skip
operations = st.dictionaries(st.sampled_from(["op", "path", "from", "value"]), values) | st.fixed_dictionaries(
    {"op": st.sampled_from(["add", "remove", "replace", "move", "copy", "test"]), "path": pointers},
    optional={"from": pointers, "value": values},
)


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(operations, max_size=4))
def test_no_json_patch_breaks_the_server(listed: list[Json]) -> None:
    with suppress(BadRequest, Unprocessable):
        json_patch.parse(json.dumps(listed))(json.loads(json.dumps(ANNA)))


@pytest.mark.parametrize(
    "path", ["Patient" + ".name" * 100_000, "Patient" + "[0]" * 331, "(" * 999, "Patient" + ".a" * 490]
)
def test_a_long_path_breaks_nothing(path: str) -> None:
    with suppress(BadRequest, Unprocessable):
        fhirpath(ANNA, operation("delete", path=path))


paths = st.lists(st.sampled_from(["Patient", "name", "given", "value", "[0]", ".", "(", ")", "where(", "use", "=", "'a'", "first()", "as", "extension('u')", "ofType(Quantity)", " "]), max_size=6).map("".join)  # fmt: skip


@given(st.sampled_from(["add", "insert", "delete", "replace", "move"]), paths.filter(str.strip), st.integers(-2, 3))
def test_no_fhirpath_patch_breaks_the_server(kind: str, path: str, number: int) -> None:
    change = operation(kind, path=path.strip(), name="given", index=number, source=number, destination=number, value=("String", "x"))  # fmt: skip
    with suppress(BadRequest, Unprocessable):
        fhirpath(ANNA, change)


# On the store


RENAME = json_patch.parse(b'[{"op":"replace","path":"/name/0/family","value":"Lund"}]')


@pytest.fixture
def anna(store: Store) -> str:
    resources.update(Session.of(store, EVERYBODY), ANNA, "Patient/anna")
    return "Patient/anna"


def test_a_patch_makes_a_version(store: Store, anna: str) -> None:
    head = resources.patch(Session.of(store, EVERYBODY), anna, RENAME)
    assert head.version == 2
    assert stored(store, anna)["name"][0]["family"] == "Lund"


def test_references_to_this_server_become_relative(store: Store, anna: str) -> None:
    change = json_patch.parse(
        b'[{"op":"add","path":"/managingOrganization","value":{"reference":"http://us/Organization/a"}}]'
    )
    resources.patch(Session.of(store, EVERYBODY), anna, change, if_match=None, url="http://us")
    assert stored(store, anna)["managingOrganization"] == {"reference": "Organization/a"}


def test_a_patch_without_effect_makes_none(store: Store, anna: str) -> None:
    change = json_patch.parse(b'[{"op":"test","path":"/meta/versionId","value":"1"}]')
    assert resources.patch(Session.of(store, EVERYBODY), anna, change).version == 1


def test_a_patch_is_applied_to_what_another_writer_made(store: Store, anna: str) -> None:
    calls: list[int] = []

    def interrupted(resource: Json) -> Json:
        if not calls:
            resources.update(Session.of(store, EVERYBODY), ANNA | {"gender": "female"}, anna)
        calls.append(1)
        return RENAME(resource)

    assert resources.patch(Session.of(store, EVERYBODY), anna, interrupted).version == 3
    assert stored(store, anna)["gender"] == "female"
    assert len(calls) == 2


@pytest.mark.parametrize(
    ("document", "error"),
    [
        ([{"op": "replace", "path": "/id", "value": "x"}], Unprocessable),
        ([{"op": "replace", "path": "/resourceType", "value": "Group"}], Unprocessable),
        ([{"op": "remove", "path": "/id"}], Unprocessable),
        ([{"op": "add", "path": "/nonsense", "value": "x"}], InvalidResource),
        ([{"op": "add", "path": "/gender", "value": "x"}], InvalidResource),
    ],
)
def test_the_result_has_to_be_valid_and_the_same_resource(
    store: Store, anna: str, document: list[Json], error: type[BulkheadError]
) -> None:
    with pytest.raises(error):
        resources.patch(Session.of(store, EVERYBODY), anna, json_patch.parse(json.dumps(document)))
    head = store.read(anna)
    assert head
    assert head.version == 1


def test_who_may_patch_what(store: Store, anna: str) -> None:
    with pytest.raises(NotFound):
        resources.patch(Session.of(store, EVERYBODY), "Patient/nobody", RENAME)
    with pytest.raises(NotFound):
        resources.patch(Session.of(store, Caller("x", EVERYBODY.scopes, accounts=("Organization/a",))), anna, RENAME)
    with pytest.raises(PreconditionFailed):
        resources.patch(Session.of(store, EVERYBODY), anna, RENAME, if_match='W/"2"')
    assert resources.patch(Session.of(store, EVERYBODY), anna, RENAME, if_match='W/"1"').version == 2
    resources.delete(Session.of(store, EVERYBODY), anna)
    with pytest.raises(Gone):
        resources.patch(Session.of(store, EVERYBODY), anna, RENAME)


# In bundles


def entry(url: str, resource: Json, **headers: str) -> Json:
    return {"request": {"method": "PATCH", "url": url, **headers}, "resource": resource}


def binary(*listed: Json) -> Json:
    data = base64.b64encode(json.dumps(list(listed))).decode()
    return {"resourceType": "Binary", "contentType": "application/json-patch+json", "data": data}


LUND = binary({"op": "replace", "path": "/name/0/family", "value": "Lund"})


@pytest.mark.parametrize("kind", ["transaction", "batch"])
def test_patches_in_bundles(store: Store, anna: str, kind: str) -> None:
    resources.update(Session.of(store, EVERYBODY), SUGAR, "Observation/sugar")
    replaced = parameters(operation("replace", path="Observation.status", value=("Code", "amended")))
    made = post(store, entry(anna, LUND), entry("Observation?_id=sugar", replaced), kind=kind, returns=REPRESENTATION)
    assert statuses(made) == ["200", "200"]
    assert made[0]["resource"]["name"][0]["family"] == "Lund"
    assert made[1]["resource"]["status"] == "amended"


def test_a_patch_may_point_at_another_entry(store: Store, anna: str) -> None:
    pointer = binary({"op": "add", "path": "/managingOrganization", "value": {"reference": "urn:uuid:1"}})
    made = post(store, entry(anna, pointer), create({"resourceType": "Organization", "name": "x"}, "urn:uuid:1"))
    assert stored(store, anna)["managingOrganization"]["reference"] == key_of(made[1])


@pytest.mark.parametrize(
    ("change", "status", "place"),
    [
        (entry("Patient/nobody", LUND), 404, "request.url"),
        (entry("Patient?identifier=nobody", LUND), 404, "request.url"),
        (entry("Patient/anna", LUND, ifMatch='W/"7"'), 412, "request.ifMatch"),
        (entry("Patient/anna", binary({"op": "remove", "path": "/gender"})), 422, "resource.data"),
        (entry("Patient/anna", binary({"op": "add", "path": "/gender"})), 400, "resource.data"),
        (entry("Patient/anna", patient()), 400, None),
        ({"request": {"method": "PATCH", "url": "Patient/anna"}}, 400, "resource"),
    ],
)
def test_a_patch_that_fails_fails_the_transaction(
    store: Store, anna: str, change: Json, status: int, place: str | None
) -> None:
    from bulkhead import bundles

    with pytest.raises(BulkheadError) as caught:
        bundles.process(bundle(create(observation(anna)), change), context(store))
    assert caught.value.status == status
    expected = "Bundle.entry[1]" + (f".{place}" if place else "")
    assert caught.value.issues[0].expression == expected
    assert store.by_time("Observation") == []


def test_json_patch_copies_are_bounded_before_they_are_made() -> None:
    grow = [{"op": "copy", "from": "/name", "path": "/name/-"}] * 40
    with pytest.raises(PayloadTooLarge) as refused:
        json_patch.parse(json.dumps(grow))(patch_target())
    assert str(refused.value.issues[0].expression).startswith("patch[")


def patch_target() -> Json:
    return {"resourceType": "Patient", "text": "y" * 1000, "name": [{"family": "z"}]}


def test_the_number_of_operations_is_bounded() -> None:
    with pytest.raises(BadRequest, match="at most 1000"):
        json_patch.parse(json.dumps([{"op": "test", "path": "/id", "value": "x"}] * 1001))
    with pytest.raises(BadRequest, match="at most 1000"):
        fhirpath_patch.parse({"resourceType": "Parameters", "parameter": [{"name": "operation"}] * 1001})


def test_a_member_given_twice_in_a_json_patch_is_named() -> None:
    with pytest.raises(BadRequest, match="repeats a member") as refused:
        json_patch.parse(b'[{"op":"add","path":"/language","value":"en","value":"de"}]')
    assert refused.value.issues[0].expression == "patch[0].value"


@settings(suppress_health_check=[HealthCheck.too_slow], max_examples=60, deadline=None)
@given(st.lists(st.fixed_dictionaries({"op": st.sampled_from(["copy", "move", "add", "replace"]), "path": pointers, "from": pointers, "value": values}), max_size=30))  # fmt: skip
def test_a_patch_never_makes_more_than_it_brings_and_may_copy(listed: list[Json]) -> None:
    """After every operation, whatever the kinds: the document, what the patch brings, and a bounded number of copied bytes."""
    most = 2_000
    before = json.dumps(ANNA)
    with pytest.MonkeyPatch.context() as patching:
        patching.setattr(json_patch, "MOST_COPIED", most)
        for number in range(1, len(listed) + 1):
            data = json.dumps(listed[:number])
            try:
                after = json_patch.parse(data)(json.loads(before))
            except BulkheadError:
                return
            assert limits.size(after, 10**6) <= limits.size(json.loads(before), 10**6) + 5 * len(data) + most


_NOTE = {"extension": [{"url": "http://x.org/e", "valueString": "x"}]}
_STATUS, _CODING = ("CodeableConcept", {"coding": [{"code": "x"}]}), ("Coding", {"code": "y"})
_FITTING = [
    operation("add", path="Patient", name="maritalStatus", value=_STATUS),
    operation("replace", path="Patient.maritalStatus", value=_STATUS),
    operation("add", path="Patient.maritalStatus", name="coding", value=_CODING),
    operation("insert", path="Patient.maritalStatus.coding", index=0, value=_CODING),
    operation("delete", path="Patient.maritalStatus.coding[0]"),
    operation("add", path="Patient", name="name", value=("HumanName", {"given": ["B", "C"]})),
    operation("add", path="Patient.name.last()", name="given", value=("String", "D")),
    operation("add", path="Patient.name[1]", name="family", value=("String", "D")),
    operation("insert", path="Patient.name", index=1, value=("HumanName", {"given": ["E"]})),
    operation("move", path="Patient.name", source=0, destination=1),
    operation("add", path="Patient", name="contact", value=[{"name": "name", "valueHumanName": {"text": "Eli"}}]),
    operation("add", path="Patient.contact.last().name", name="given", value=("String", "F")),
]


@st.composite
def _changes(draw: st.DrawFn) -> Json:
    """Operations that often fit the document, or what others before them have made of it; some with extensions of their value."""
    change: Json = json.loads(json.dumps(draw(st.sampled_from(_FITTING))))
    for part in change["part"]:
        if "valueString" in part and part["name"] == "value" and draw(st.booleans()):
            part["_valueString"] = _NOTE
    return change


@settings(suppress_health_check=[HealthCheck.too_slow], max_examples=100, deadline=None)
@given(st.lists(_changes(), max_size=30))
def test_a_fhirpath_patch_never_makes_more_than_it_brings(listed: list[Json]) -> None:
    """After every operation: the document and what the patch brings, and a null beside each item of a list that has extensions."""
    fitting: list[Json] = []
    before = limits.size(ANNA, 10**6)
    for one in listed:
        brought = before + limits.size([*fitting, one], 10**6)
        with suppress(BadRequest, Unprocessable):
            after = fhirpath_patch.parse(parameters(*fitting, one))(json.loads(json.dumps(ANNA)))
            fitting.append(one)
            assert limits.size(after, 10**6) <= 3 * brought


@settings(suppress_health_check=[HealthCheck.too_slow], max_examples=60, deadline=None)
@given(st.lists(_changes(), max_size=12))
def test_a_patch_that_is_applied_again_makes_the_same(listed: list[Json]) -> None:
    """So it is when another writer was faster: the first result must leave nothing in the patch."""
    fitting: list[Json] = []
    for one in listed:
        change = fhirpath_patch.parse(parameters(*fitting, one))
        with suppress(BadRequest, Unprocessable):
            first = json.dumps(change(json.loads(json.dumps(ANNA))))
            fitting.append(one)
            assert json.dumps(change(json.loads(json.dumps(ANNA)))) == first


@pytest.mark.parametrize(
    "change",
    [
        fhirpath_patch.parse(parameters(
            operation("add", path="Patient", name="maritalStatus", value=("CodeableConcept", {"coding": [{"code": "x"}]})),
            operation("add", path="Patient.maritalStatus", name="coding", value=("Coding", {"code": "y"})))),
        json_patch.parse(json.dumps([
            {"op": "add", "path": "/maritalStatus", "value": {"coding": [{"code": "x"}]}},
            {"op": "add", "path": "/maritalStatus/coding/-", "value": {"code": "y"}}])),
    ],
)  # fmt: skip
def test_a_patch_that_meets_another_writer_adds_once(store: Store, anna: str, change: patches.Patch) -> None:
    calls: list[int] = []

    def interrupted(resource: Json) -> Json:
        made = change(resource)
        if not calls:
            resources.update(Session.of(store, EVERYBODY), ANNA | {"gender": "female"}, anna)
        calls.append(1)
        return made

    assert resources.patch(Session.of(store, EVERYBODY), anna, interrupted).version == 3
    assert stored(store, anna)["maritalStatus"] == {"coding": [{"code": "x"}, {"code": "y"}]}


@pytest.mark.parametrize("path", ["Patient.name" + ".where(use = 'old')" * 40, "Patient.name.where(period.start = '2020')", "Patient.name" + ".ofType(HumanName)" * 40])  # fmt: skip
def test_the_elements_that_paths_visit_are_bounded(path: str) -> None:
    """One path in one small request would keep a process busy for minutes: it goes through a long list again and again."""
    many = ANNA | {"name": [{"use": "old"}] * 300}
    changes = [operation("delete", path=f"{path}.where(use = 'new')")] * 30
    assert fhirpath(many, changes[0])["name"] == many["name"]
    with pytest.MonkeyPatch.context() as patching:
        patching.setattr(limits, "MOST_VISITED", 5_000)
        with pytest.raises(TooCostly) as caught:
            fhirpath(many, *changes)
    assert (caught.value.issues[0].expression or "").endswith(".part.where(name='path')")


def test_a_patch_of_many_operations_on_a_long_list_is_not_refused() -> None:
    many = ANNA | {"name": [{"use": "old"}] * 500}
    made = fhirpath(many, *[operation("replace", path="Patient.name.where(use = 'old').first().use", value=("Code", "usual"))] * 500)  # fmt: skip
    assert {name["use"] for name in made["name"]} == {"usual"}

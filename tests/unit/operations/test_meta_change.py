"""`$meta-add` and `$meta-delete`: sets of profiles, tags and labels, and the resource they change."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulkhead import resources
from bulkhead.access.policy import EVERYBODY, Caller, Scope
from bulkhead.errors import BadRequest, BulkheadError, Forbidden, Gone, NotFound, PreconditionFailed
from bulkhead.operations.meta_change import added, change, parse, removed
from bulkhead.session import Session
from bulkhead.store import Store

CODINGS = st.fixed_dictionaries(
    {"code": st.sampled_from("abc")}, optional={"system": st.sampled_from(["s", "t"]), "display": st.text(max_size=2)}
)
METAS = st.fixed_dictionaries(
    {},
    optional={
        "tag": st.lists(CODINGS, max_size=4),
        "security": st.lists(CODINGS, max_size=4),
        "profile": st.lists(st.sampled_from(["urn:1", "urn:2"]), max_size=3),
        "source": st.just("urn:x"),
    },
)


def identities(meta: dict[str, Any]) -> set[Any]:
    coded = {(name, one.get("system"), one["code"]) for name in ("tag", "security") for one in meta.get(name, ())}
    return coded | set(meta.get("profile", ()))


@given(METAS, METAS)
def test_they_are_union_and_difference(meta: dict[str, Any], more: dict[str, Any]) -> None:
    assert identities(added(meta, more)) == identities(meta) | identities(more)
    assert identities(removed(meta, more)) == identities(meta) - identities(more)
    assert added(added(meta, more), more) == added(meta, more)
    assert added(meta, more).get("source") == removed(meta, more).get("source") == meta.get("source")


@given(METAS, METAS)
def test_nothing_empty_is_left(meta: dict[str, Any], less: dict[str, Any]) -> None:
    assert all(removed({name: value for name, value in meta.items() if value}, less).values())


@pytest.mark.parametrize(
    "body",
    [
        {"resourceType": "Patient"},
        {"resourceType": "Parameters"},
        {"resourceType": "Parameters", "parameter": [{"name": "meta", "valueString": "x"}]},
        {"resourceType": "Parameters", "parameter": [{"name": "other", "valueMeta": {"source": "urn:x"}}]},
        {"resourceType": "Parameters", "parameter": [{"name": "meta", "valueMeta": {"tag": "x"}}]},
    ],
)
def test_what_cannot_be_understood_is_refused(body: dict[str, Any]) -> None:
    with pytest.raises(BadRequest) as refused:
        parse(body)
    assert refused.value.issues[0].expression


TAG = {"tag": [{"system": "urn:s", "code": "record-lost"}]}


def put(store: Store, who: Caller = EVERYBODY, **content: Any) -> str:
    resource = {"resourceType": "Patient", "id": "p", **content}
    return resources.update(Session.of(store, who), resource, "Patient/p", if_match=None)[0].key


def test_a_change_makes_a_version_and_nothing_else_changes(store: Store) -> None:
    key = put(store, gender="female")
    head = change(Session.of(store, EVERYBODY), key, TAG, how=added, if_match=None)
    assert (head.version, store.decode(head)["meta"], store.decode(head)["gender"]) == (2, TAG, "female")
    assert change(Session.of(store, EVERYBODY), key, TAG, how=added, if_match=None).version == 2
    head = change(Session.of(store, EVERYBODY), key, TAG, how=removed, if_match='W/"2"')
    assert (head.version, "meta" in store.decode(head)) == (3, False)
    assert change(Session.of(store, EVERYBODY), key, TAG, how=removed, if_match=None).version == 3


def test_who_may(store: Store) -> None:
    key = put(store)
    with pytest.raises(Forbidden):
        change(Session.of(store, Caller("reader", (Scope("system", "*", "rs"),))), key, TAG, how=added, if_match=None)
    fenced = Caller("fenced", (Scope("system", "*", "cruds"),), accounts=("Organization/a",))
    with pytest.raises(NotFound):
        change(Session.of(store, fenced), key, TAG, how=added, if_match=None)
    head = store.read(key)
    assert head is not None
    assert head.version == 1


@pytest.mark.parametrize(("deleted", "if_match", "error"), [(True, None, Gone), (False, 'W/"7"', PreconditionFailed)])
def test_what_is_gone_or_moved_on(
    store: Store, deleted: bool, if_match: str | None, error: type[BulkheadError]
) -> None:
    key = put(store)
    if deleted:
        resources.delete(Session.of(store, EVERYBODY), key, None)
    with pytest.raises(error):
        change(Session.of(store, EVERYBODY), key, TAG, how=added, if_match=if_match)


def test_another_writer_in_between_loses_nothing(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    key = put(store, gender="female")
    update = resources.update
    others = [
        lambda: update(Session.of(store, EVERYBODY), {"resourceType": "Patient", "id": "p", "gender": "male"}, key)
    ]

    def interrupted(*arguments: Any, **named: Any) -> Any:
        if others:
            others.pop()()
        return update(*arguments, **named)

    monkeypatch.setattr(resources, "update", interrupted)
    head = change(Session.of(store, EVERYBODY), key, TAG, how=added, if_match=None)
    assert (head.version, store.decode(head)["gender"], store.decode(head)["meta"]) == (3, "male", TAG)

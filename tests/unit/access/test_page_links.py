"""Page links of callers who do not see everything."""

from __future__ import annotations

import base64
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bulkhead.access import page_links
from bulkhead.access.policy import EVERYBODY, Caller, Scope
from bulkhead.errors import BadRequest
from bulkhead.store import Store
from bulkhead.store.capacity import metered

FENCED = Caller("x", EVERYBODY.scopes, accounts=("Organization/a",))
POSITION = "Observation-of-somebody-else"


def links(*urls: str) -> dict[str, Any]:
    return {"link": [{"relation": str(number), "url": url} for number, url in enumerate(urls)]}


def cursors(bundle: dict[str, Any]) -> list[str]:
    return [link["url"].partition("_cursor=")[2].partition("&")[0] for link in bundle["link"]]


def test_are_sealed_and_opened(store: Store) -> None:
    bundle = links(f"http://x/Patient?_cursor={POSITION}&_count=1", f"http://x/Patient?_count=1&_cursor={POSITION}", "http://x/P?my_cursor=a")  # fmt: skip
    page_links.sealed(store, FENCED, bundle)
    first, second, other = cursors(bundle)
    assert other == "a"
    for text in (first, second):
        assert POSITION.encode() not in base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
        query = [("_count", "1"), ("_cursor", text)]
        assert page_links.opened(store, replace(FENCED, subject="y"), query) == [("_count", "1"), ("_cursor", POSITION)]
    assert first != second


@pytest.mark.parametrize(
    "other",
    [
        replace(FENCED, accounts=("Organization/b",)),
        replace(FENCED, patient="1"),
        Caller("x", (Scope("system", "Patient", "rs", "active=true"),)),
    ],
)
def test_are_for_who_sees_the_same(store: Store, other: Caller) -> None:
    bundle = page_links.sealed(store, FENCED, links(f"http://x/Patient?_cursor={POSITION}"))
    with pytest.raises(BadRequest) as caught:
        page_links.opened(store, other, [("_cursor", cursors(bundle)[0])])
    assert caught.value.issues[0].expression == "_cursor"


def test_who_sees_everything_has_plain_ones(store: Store) -> None:
    url = f"http://x/Patient?_cursor={POSITION}"
    with metered(store.table.client) as meter:
        assert page_links.sealed(store, EVERYBODY, links(url)) == links(url)
        assert page_links.opened(store, EVERYBODY, [("_cursor", POSITION)]) == [("_cursor", POSITION)]
    assert meter.total == 0


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.text() | st.binary().map(lambda data: base64.urlsafe_b64encode(data).decode().rstrip("=")))
def test_nobody_makes_one_up(store: Store, text: str) -> None:
    if text:
        with pytest.raises(BadRequest):
            page_links.opened(store, FENCED, [("_cursor", text)])


def test_the_secret_is_made_once_for_all(new_store: Any) -> None:
    store: Store = new_store()
    again = Store(store.table.client, None, store.settings)
    assert len(store.secret) == 32
    assert store.secret == again.secret
    assert new_store().secret != store.secret


def test_two_who_make_it_at_once_agree(new_store: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    store: Store = new_store()
    quicker = Store(store.table.client, None, store.settings)
    get, late = store.table.get, [True]

    def overtaken(key: Any) -> Any:
        found = get(key)
        if late.pop() if late else False:
            assert quicker.secret
        return found

    monkeypatch.setattr(store.table, "get", overtaken)
    assert store.secret == quicker.secret

"""Nobody learns of what is not theirs: every route, every kind of caller, against data that is made to tempt.

What must not be known has a mark, which must not come in any header or body, nor in a link's cursor. And what is hidden is answered
as what is not there: the same status, headers and body; where it is named by its id, with the same requests to DynamoDB, which stand
for the time that it takes. (A search takes its time by what it has to look at.)
"""

from __future__ import annotations

import base64
import binascii
import difflib
import json
import re
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from zlib import crc32

import pytest

from bulkhead.api.routes import BASE, DEFAULT, ROUTES, Route
from bulkhead.jobs import executions
from bulkhead.observability import logger
from bulkhead.store import Store, files
from bulkhead.store.capacity import metered
from bulkhead.store.jobs import BUNDLE, SET_ACCOUNTS
from functions import http
from infra.local import server
from infra.local.wsgi import Answer
from tests.support import leak_world
from tests.support.leak_requests import IN_THE_BACKGROUND, Ask, asks, unknown_asks
from tests.support.leak_world import AONE, ATWO, BEE, BUNDLES, JOBS, UPLOADS, Names, World
from tests.support.scene import Machine

NOBODY = Names("qznone")
REFUSED = (
    "no token",
    "garbage",
    "expired",
    "not yet valid",
    "another issuer",
    "another audience",
    "no subject",
    "unsigned",
)
POWERLESS = ("without scopes", "scope of another type")
THOROUGH = ("fenced to A", "patient", "scopes with a query")
FENCED = (
    "fenced to A",
    "fenced to B",
    "patient",
    "both",
    "scopes with a query",
    "patient of nobody",
    "fenced to nothing",
)

_NEUTRAL = re.compile(r"neutral-\d")
_CURSOR = re.compile(r"_cursor=([A-Za-z0-9_\-%]+)")
_CHANGING = re.compile(
    r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}|\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z"
    r"|[A-Z][a-z]{2}, \d\d [A-Z][a-z]{2} \d{4} \d\d:\d\d:\d\d GMT|(?<=_cursor=)[A-Za-z0-9_\-%]+"
)


@pytest.fixture(scope="module")
def world(make_store: Any, keys_folder: Path) -> Iterator[World]:
    # An audit trail would make two answers differ by what it has gained in between: it has a test of its own. And what is read
    # anew every second would make two requests differ.
    store: Store = make_store(history_access="version", history_settle=0, audit="off", definitions_ttl=3600)
    machines = {SET_ACCOUNTS: Machine(store), BUNDLE: Machine(store, "processing")}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(http, "connect", lambda: store)
        for silenced in (logger, server.log):
            patch.setattr(silenced, "info", lambda *arguments, **named: None)
        patch.setattr(executions, "start", lambda store, job: machines[store.jobs.read(job).kind].start(job))
        patch.setattr(executions, "stop", lambda store, job: machines[job.kind].stop(job))
        patch.setattr(executions, "is_running", lambda store, job: machines[job.kind].is_running(job))
        made = leak_world.world(store, keys_folder)
        for owner, caller in ((AONE, "fenced to A"), (ATWO, "fenced to A"), (BEE, "fenced to B")):
            JOBS[owner] = _job(made, caller, f"{BASE}/Patient/{owner}-id/$set-accounts", propagated(owner))
            BUNDLES[owner] = _job(made, caller, BASE, batch_of(owner))
            UPLOADS[owner] = _upload(made, caller)
        for owner in (AONE, ATWO, BEE):
            made.plant(owner)
        yield made


def propagated(owner: str) -> Any:
    accounts = {"name": "accounts", "valueReference": {"reference": leak_world.ORGANIZATIONS[owner]}}
    return {"resourceType": "Parameters", "parameter": [accounts, {"name": "propagate", "valueBoolean": True}]}


def batch_of(owner: str) -> Any:
    entry = {"request": {"method": "GET", "url": f"Patient/{owner}-id"}}
    return {"resourceType": "Bundle", "type": "batch", "entry": [entry]}


def _job(world: World, caller: str, path: str, body: Any) -> str:
    """The id of a job of the caller's that has ended, under a key that others may guess."""
    headers = {"prefer": "respond-async", "idempotency-key": f"tempting {crc32((path + json.dumps(body)).encode())}"}
    answer = world.ask(caller, "POST", path, body, headers)
    assert answer.status == 202, answer.body
    identifier: str = answer.headers["content-location"].split("/")[-2]
    for thread in threading.enumerate():
        if thread.name == identifier:
            thread.join(60)
    return identifier


def _upload(world: World, caller: str) -> str:
    """The id of an upload of the caller's."""
    offer = json.loads(world.ask(caller, "POST", f"{BASE}/$upload").body)
    found = {one["name"]: one for one in offer["parameter"]}
    name = found["url"]["valueUrl"].partition("?")[0].partition(files.UPLOADS)[2]
    files.put(world.store, files.UPLOADS + name, b'{"resourceType": "Bundle", "type": "batch"}')
    identifier: str = found["upload"]["valueId"]
    return identifier


def send(world: World, caller: str, route: Route, ask: Ask, names: Names) -> Answer:
    body = ask.body
    if body is not None:
        filled = names.filled(body if isinstance(body, str) else json.dumps(body))
        body = filled if isinstance(body, str) else json.loads(filled)
    headers = {name: names.filled(text) for name, text in ask.headers.items()}
    method = "POST" if route.path == DEFAULT else route.method
    path = names.filled(ask.path).replace("|", "%7C")
    return world.ask(caller, method, path, body, headers)


def told(answer: Answer) -> str:
    """All that an answer says, cursors and base64 opened."""
    text = json.dumps(dict(answer.headers)) + answer.body.decode(errors="replace")
    opened = [_opened(cursor) for cursor in _CURSOR.findall(text)]
    opened += [_opened(data) for data in re.findall(r'"data":\s*"([^"]+)"', text)]
    return text + "".join(opened)


def _opened(text: str) -> str:
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_").decode(errors="replace")
    except (binascii.Error, ValueError):
        return ""


def leaked(answer: Answer, names: Names, secrets: set[str]) -> list[str]:
    """The secrets in an answer, besides what the request has named itself."""
    text = names.hidden_in(told(answer))
    return [secret for secret in sorted(secrets) if secret in text]


def comparable(answer: Answer, names: Names, ask: Ask) -> tuple[int, str, str]:
    """An answer without what differs between any two: names that were given, new ids, times; neutral ids stand in one's own records."""
    headers = {name: value for name, value in answer.headers.items() if name.lower() != "content-length"}
    texts = (json.dumps(headers, sort_keys=True), answer.body.decode(errors="replace"))
    head, body = (_NEUTRAL.sub("<neutral>", _CHANGING.sub("~", names.hidden_in(text, ask.named))) for text in texts)
    return answer.status, head, body


def assert_alike(hidden: tuple[int, str, str], absent: tuple[int, str, str], request: str) -> None:
    if hidden != absent:
        one, other = (
            re.sub(r"(?<=[,{])", "\n", "\n".join(map(str, answer))).splitlines() for answer in (hidden, absent)
        )
        raise AssertionError(
            "\n".join([request, *difflib.unified_diff(one, other, "hidden", "absent", n=3, lineterm="")])
        )


def shown(route: Route, ask: Ask) -> str:
    return f"{route.method} {ask.path} {json.dumps(ask.body)[:300]} {dict(ask.headers)}"


def test_every_route_is_known() -> None:
    for route in ROUTES:
        assert asks(route), route.key
    assert not unknown_asks()


def test_a_route_that_is_not_known_fails() -> None:
    for route in (Route("GET", f"{BASE}/{{type}}/$new", "x", "y"), Route("GET", f"{BASE}/new", "x", "y", public=True)):
        with pytest.raises(KeyError):
            asks(route)


def taken(route: Route, caller: str) -> list[Ask]:
    """What a caller asks of a route. HEAD is served as GET is: one; and where others have asked it all, every fourth."""
    found = asks(route)[:1] if route.method == "HEAD" else asks(route)
    return found if caller in THOROUGH else found[:: 4 if len(found) > 8 else 1]


@pytest.mark.parametrize("caller", FENCED)
def test_what_is_hidden_is_as_what_is_not_there(world: World, caller: str) -> None:
    own = BEE if caller == "fenced to B" else AONE
    hidden, nobody = Names(world.targets[caller], own), Names("qznone", own)
    secrets = world.secrets[caller]
    before = world.heads()
    for route in ROUTES:
        for ask in taken(route, caller):
            with metered(world.store.table.client) as first:
                answer = send(world, caller, route, ask, hidden)
            assert not leaked(answer, hidden, secrets), (shown(route, ask), told(answer))
            assert answer.status < 500, (shown(route, ask), answer.body)
            if not ask.same:
                assert answer.status in (ask.status, 403), (shown(route, ask), answer.body)
                continue
            with metered(world.store.table.client) as second:
                absent = send(world, caller, route, ask, nobody)
            assert_alike(comparable(answer, hidden, ask), comparable(absent, nobody, ask), shown(route, ask))
            world.forget(answer, absent)
            if answer.status == 404 and not ask.searches:
                assert first.requests == second.requests, shown(route, ask)
    assert world.heads() == before


@pytest.mark.parametrize("caller", THOROUGH)
def test_bundles_in_the_background_tell_no_more(world: World, caller: str) -> None:
    hidden, secrets = Names(world.targets[caller]), world.secrets[caller]
    for number, ask in enumerate(IN_THE_BACKGROUND):
        told_of = []
        for names in (hidden, NOBODY):
            body = json.loads(names.filled(json.dumps(ask.body)))
            job = _job(world, caller, f"{BASE}?{number}{names.mark}", body)
            answer = world.ask(caller, "GET", f"{BASE}/job/{job}/status")
            assert answer.status == 200, answer.body
            assert not leaked(answer, names, secrets), told(answer)
            told_of.append(comparable(answer, names, ask))
            world.forget(answer)
        assert_alike(told_of[0], told_of[1], json.dumps(ask.body))


@pytest.mark.parametrize("caller", FENCED)
def test_how_a_search_is_run_is_for_who_sees_everything(world: World, caller: str) -> None:
    """The plan tells how much was read."""
    assert world.ask(caller, "GET", f"{BASE}/Patient?_explain=true").status == 403


@pytest.mark.parametrize("caller", THOROUGH)
def test_pages_to_their_end_hold_what_is_visible_and_no_more(world: World, caller: str) -> None:
    """Lists and feeds, page by page: links are followed, and cursors opened."""
    starts = [f"{BASE}/{name}?_count=1" for name in ("Patient", "Observation", "List")]
    starts += [f"{BASE}/Patient?_count=1&_sort={order}" for order in ("family", "-_lastUpdated", "birthdate")]
    starts += [f"{BASE}/Observation?code=8302-1&_count=1", f"{BASE}/Patient?name=q&_count=1"]
    starts += [f"{BASE}{where}/_history?_count=40{sort}" for where in ("", "/Patient", "/Observation") for sort in ("", "&_sort=_lastUpdated")]  # fmt: skip
    starts += [f"{BASE}/Patient/{AONE}-id/*?_count=1", f"{BASE}/Patient/{AONE}-id/$everything?_count=1"]
    nothing = Names("?")
    # The last thing that happened is nothing that the caller may know of: a feed has to go on behind it.
    world.touch(world.targets[caller])
    for start in starts:
        url: str | None = start
        seen: list[str] = []
        while url:
            answer = world.ask(caller, "GET", url.removeprefix(leak_world.ISSUER))
            own = Names(AONE) if caller == "fenced to B" else nothing
            assert not leaked(answer, own, world.secrets[caller]), (url, told(answer))
            if answer.status == 404:
                break
            assert answer.status == 200, (url, answer.body)
            bundle = json.loads(answer.body)
            seen += [f"{entry['fullUrl']} {entry.get('response', {}).get('etag')}" for entry in bundle.get("entry", [])]
            links = {link["relation"]: link["url"] for link in bundle["link"]}
            for relation in ("previous", "monitor"):
                if relation in links:
                    back = world.ask(caller, "GET", links[relation].removeprefix(leak_world.ISSUER))
                    assert back.status == 200, links
                    assert not leaked(back, own, world.secrets[caller])
            url = links.get("next")
        assert len(seen) == len(set(seen)), start


@pytest.mark.parametrize("caller", [*REFUSED, *POWERLESS])
def test_who_has_no_right_is_told_nothing(world: World, caller: str) -> None:
    hidden = Names(BEE)
    before = world.heads()
    answers = set()
    for route in ROUTES:
        for ask in asks(route)[:3]:
            answer = send(world, caller, route, ask, hidden)
            assert not leaked(answer, hidden, world.secrets[caller]), shown(route, ask)
            if route.public:
                continue
            if caller in REFUSED:
                assert answer.status == 401, shown(route, ask)
                answers |= {answer.body} - {b""}
            elif ask.same:
                absent = send(world, caller, route, ask, NOBODY)
                assert_alike(comparable(answer, hidden, ask), comparable(absent, NOBODY, ask), shown(route, ask))
                assert answer.status in (200, 400, 403, 404), (shown(route, ask), answer.body)
    assert all(json.loads(answer)["resourceType"] == "OperationOutcome" for answer in answers)
    assert len(answers) == (caller in REFUSED)
    assert world.heads() == before


def test_the_other_side_does_see_it(world: World) -> None:
    """That the requests above ask for something: to the owner every route gives an answer, and its marks with it."""
    own = Names(BEE, BEE)
    answered, marked = set(), set()
    for route in ROUTES:
        if route.method in ("GET", "HEAD") and not route.public:
            answers = [send(world, "fenced to B", route, ask, own) for ask in asks(route)[:10]]
            answered |= {route.key for answer in answers if answer.status == 200}
            marked |= {route.key for answer in answers if answer.status == 200 and BEE in told(answer)}
    reading = {route.key for route in ROUTES if route.method in ("GET", "HEAD") and not route.public}
    assert answered == reading
    silent = {f"GET {BASE}/{{type}}/{{id}}/$meta", f"GET {BASE}/{{type}}/{{id}}/_history/{{version}}/$meta", f"GET {BASE}/job/{{id}}/status"}  # fmt: skip
    assert marked >= {key for key in reading if key.startswith("GET")} - silent


def test_the_other_side_may_change_it(world: World) -> None:
    """The same of what changes something; last, because it does. Deletions come after what they would take away."""
    own = Names(BEE, BEE)
    changing = [route for route in ROUTES if route.method not in ("GET", "HEAD") and not route.public]
    for route in sorted(changing, key=lambda route: (route.method == "DELETE", route.path == BASE, route.method)):
        statuses = {send(world, "fenced to B", route, ask, own).status for ask in asks(route)}
        # Nobody under a fence erases.
        expected = {403} if route.path.endswith("/$purge") else {200, 201, 202, 204}
        assert statuses & expected, (route.key, statuses)


def test_the_audit_trail_tells_no_more(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Events of what others did with what is theirs, and of what was tried in vain."""
    monkeypatch.setattr(
        world.store, "settings", replace(world.store.settings, audit="*.read,*.write,$set-accounts,refusals")
    )
    for caller in FENCED:
        for owner in (AONE, ATWO, BEE):
            for path in (
                f"/Patient/{owner}-id",
                f"/List/{owner}-id",
                f"/Patient/{owner}-gone",
                "/Patient",
                "/Observation",
            ):
                world.ask(caller, "GET", f"{BASE}{path}")
            world.ask(caller, "DELETE", f"{BASE}/Binary/{owner}-id", headers={"if-match": 'W/"7"'})
    recorded = json.loads(world.ask("everything", "GET", f"{BASE}/AuditEvent?_summary=count").body)["total"]
    assert recorded > 50
    for caller in FENCED:
        for query in (
            "",
            "?_include=*",
            f"?patient={AONE}-id&_total=accurate",
            f"?patient={BEE}-id",
            "?outcome=4",
            "?_count=1",
        ):
            answer = world.ask(caller, "GET", f"{BASE}/AuditEvent{query}")
            assert not leaked(
                answer, Names(BEE if BEE in query else AONE), world.secrets[caller] - {BEE if BEE in query else ""}
            ), (caller, query)


class TestBeforeTheMove:
    """A version from before a resource came to its owner."""

    def read(self, world: World, path: str) -> Answer:
        return world.ask("fenced to A", "GET", f"{BASE}/Observation/{AONE}-moved{path}")

    def test_is_not_shown_where_each_version_counts(self, world: World) -> None:
        assert self.read(world, "").status == 200
        assert self.read(world, "/_history/2").status == 200
        hidden, absent = self.read(world, "/_history/1"), self.read(world, "/_history/9")
        assert (hidden.status, hidden.body, hidden.headers) == (404, absent.body, absent.headers)
        bundle = json.loads(self.read(world, "/_history").body)
        assert [entry["response"]["etag"] for entry in bundle["entry"]] == ['W/"2"']
        assert bundle["total"] == 1
        assert "total" not in json.loads(self.read(world, "/_history?_count=0").body) or bundle["total"] == 1

    def test_is_shown_where_the_resource_counts(self, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(world.store, "settings", replace(world.store.settings, history_access="current"))
        assert BEE in self.read(world, "/_history/1").body.decode()
        assert len(json.loads(self.read(world, "/_history").body)["entry"]) == 2
        assert world.ask("fenced to A", "GET", f"{BASE}/Observation/{BEE}-moved/_history/1").status == 404

"""The parts of the console that only compute, called in the browser."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser

from tests.e2e.console.conftest import Scene
from tests.support import browser as browsers

pytestmark = pytest.mark.xdist_group("console")
Run = Callable[..., Any]
LETTER = "DocumentReference/letter"
CLAIMS = {"accounts": ["Organization/a"], "scope": "system/*.rs"}


@pytest.fixture(scope="module")
def run(browser: Browser, scene: Scene) -> Iterator[Run]:
    """`run("fhir", "day(given)", "2026-05")`: an expression with what a module exports, and its JSON."""
    tab = browsers.open_tab(browser, scene.url, zone="America/Los_Angeles")

    def evaluate(module: str, expression: str, given: Any = None) -> Any:
        named = f"const {{{expression.partition('(')[0]}}} = await import(new URL('console/{module}.js', document.baseURI).href)"
        return tab.page.evaluate(f"async (given) => {{ {named}; return {expression}; }}", given)

    yield evaluate
    assert tab.complaints == []
    tab.context.close()


def test_dates(run: Run) -> None:
    """A calendar day is the same in every zone, an instant is in the reader's."""
    shown = [run("fhir", "day(given)", text) for text in ("1957-03-14", "2026-05", "1990", "2026-05-12T03:00:00Z", "")]
    assert shown == ["14 Mar 1957", "May 2026", "1990", "11 May 2026", ""]


@pytest.mark.parametrize(
    ("today", "friday"),
    [
        ("2026-11-29", "2026-12-04"),
        ("2026-12-03", "2026-12-04"),
        ("2026-12-04", "2026-12-11"),
        ("2026-12-05", "2026-12-11"),
    ],
)
def test_until_friday_is_the_end_of_the_next_one(run: Run, today: str, friday: str) -> None:
    shown = run("share", "ends(new Date(given)).friday.toString()", f"{today}T10:00")
    assert run("share", "ends(new Date(given)).friday.toISOString()", f"{today}T10:00").startswith(friday[:8])
    assert "Fri" in shown
    assert f"{int(friday[-2:]):02} 2026 23:59:00" in shown


def test_a_difference_names_each_value(run: Run) -> None:
    before = {"id": "x", "meta": {"versionId": "1"}, "name": [{"family": "A"}, {"family": "B"}], "active": True}
    after = {
        "id": "x",
        "meta": {"versionId": "2", "security": [{"code": "R"}]},
        "name": [{"family": "C"}],
        "active": True,
    }
    found = {
        each["path"]: (each.get("before"), each.get("after"))
        for each in run("versions", "difference(given[0], given[1])", [before, after])
    }
    assert found == {"name[0].family": ("A", "C"), "name[1].family": ("B", None), "meta.security[0].code": (None, "R")}


def test_a_command_survives_the_shell(run: Run) -> None:
    """Whatever is in it; and the token is a variable."""
    body = {"a": 'it\'s $HOME `id` "x" \\', "b": ["\n"]}
    made = {
        "method": "PUT",
        "url": "http://h/fhir/R4/Patient/*?name=O'Neil&x=$(id)",
        "headers": {"Prefer": "a, b"},
        "body": body,
    }
    text = run("api", "curl(given, true)", made)
    script = f'curl() {{ printf "%s\\0" "$@"; }}\nTOKEN=secret\n{text}'
    arguments = subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=True).stdout.split("\0")[:-1]
    assert arguments[:6] == ["-s", "-X", "PUT", "-H", "Authorization: Bearer secret", "-H"]
    assert arguments[6:8] == ["Prefer: a, b", made["url"]]
    assert json.loads(arguments[-1]) == body


def chain(run: Run, rule: str, allowed: bool | None, **more: Any) -> dict[str, dict[str, Any]]:
    """The nodes of a drawing by id."""
    decision = {"rule": rule, "reason": ""} | ({} if allowed is None else {"allowed": allowed})
    found = {
        "key": LETTER,
        "accounts": [],
        "sealed": False,
        "private": False,
        "compartments": [{"target": "Patient/1", "through": ["subject"]}],
        "proxies": [],
        "decisions": {"read": decision},
        **more,
    }
    names = "{name: (key) => key, hue: () => 1}, (key) => key"
    drawn = run("chain", f"layout(given[0], given[1], {names})", [found, more.get("claims", CLAIMS)])
    nodes = {node["id"]: node for row in drawn["rows"] for node in row["nodes"]}
    # A line leads from a box that is drawn to another.
    assert all(line["from"] in nodes or line["from"].startswith("from ") for line in drawn["lines"])
    return nodes


def given_by(account: str, **source: Any) -> dict[str, Any]:
    return {"account": account, "sources": [{"kind": "own", "through": [], **source}]}


def test_the_chain_breaks_where_the_rule_says(run: Run) -> None:
    outside = chain(run, "no-account", False, accounts=[given_by("Organization/b")])
    assert (outside["fence"]["look"], outside["scope"]["look"], outside["read"]["note"]) == ("bad", "good", "refused")
    scoped = chain(run, "no-scope", False, accounts=[given_by("Organization/a")])
    assert (scoped["fence"]["look"], scoped["scope"]["look"], scoped["account Organization/a"]["look"]) == (
        "good",
        "bad",
        "good",
    )
    hidden = chain(run, "hidden-from-you", None)
    assert hidden["read"]["note"] == "not for you to know"
    assert hidden["nothing"]["title"] == "No account"


def test_the_chain_tells_what_keeps_a_record_from_inheriting(run: Run) -> None:
    private = chain(run, "no-account", False, private=True)
    assert private["from Patient/1"]["note"] == "private: nothing is inherited"
    sealed = chain(run, "patient-compartment", True, sealed=True, claims={"patient": "1"})
    # A patient's app sees it for all that.
    assert (sealed["from Patient/1"]["opens"], sealed["fence"]["look"]) == (True, "good")


def test_the_latest_end_counts(run: Run) -> None:
    both = [
        {"kind": "own", "through": [], "until": "2027-01-02T00:00:00Z"},
        {"kind": "inherited", "from": "Patient/1", "through": ["subject"], "until": "2026-12-05T00:00:00Z"},
    ]
    assert (
        "1 Jan 2027"
        in chain(run, "account", True, accounts=[{"account": "Organization/a", "sources": both}])[
            "account Organization/a"
        ]["note"]
    )
    endless = [*both, {"kind": "inherited", "from": "Encounter/1", "through": ["encounter"]}]
    assert (
        chain(run, "account", True, accounts=[{"account": "Organization/a", "sources": endless}])[
            "account Organization/a"
        ]["note"]
        == "without end"
    )


def test_the_chain_says_that_it_leaves_accounts_out(run: Run) -> None:
    found = {
        "key": LETTER,
        "accounts": [given_by(f"Organization/{number}") for number in range(6)],
        "sealed": False,
        "private": False,
        "compartments": [],
        "proxies": [],
        "decisions": {},
    }
    names = "{name: (key) => key, hue: () => 1}, (key) => key"
    drawn = run("chain", f"layout(given[0], given[1], {names})", [found, CLAIMS])
    (row,) = [row for row in drawn["rows"] if row["nodes"][0]["id"].startswith("account ")]
    assert (len(row["nodes"]), row["label"]) == (4, "so it carries, among 6")


@pytest.mark.parametrize(
    ("claims", "query"),
    [
        ({}, ""),
        ({"accounts": ["Organization/a", "Organization/b"]}, "accounts=Organization%2Fa%2COrganization%2Fb"),
        ({"accounts": "[Organization/a Organization/b]"}, "accounts=Organization%2Fa%2COrganization%2Fb"),
        ({"accounts": "Organization/a"}, "accounts=Organization%2Fa"),
        # None of these is what its issuer meant: the server fences them to nothing.
        ({"accounts": "Organization/a, Organization/b"}, "accounts="),
        ({"accounts": ["Organization/a", None]}, "accounts="),
        ({"accounts": []}, "accounts="),
        ({"accounts": None}, "accounts="),
        ({"patient": "1"}, "patient=1"),
        ({"patient": ""}, "accounts="),
        ({"patient": None}, "accounts="),
        ({"patient": "", "accounts": ["Organization/a"]}, "accounts="),
        ({"scope": "patient/*.rs"}, "accounts=&scope=patient%2F*.rs"),
    ],
)
def test_a_fence_that_cannot_be_read_is_asked_about_as_one_to_nothing(
    run: Run, claims: dict[str, Any], query: str
) -> None:
    """As `bulkhead.access.claims` reads them: the page must not say of a token that it sees more than it does."""
    assert run("explanations", "queryOf(given)", claims) == query
    assert run("session", "isFenced(given)", claims) is bool(query)
    if query.partition("&")[0] == "accounts=":
        assert chain(run, "no-account", False, claims=claims)["fence"]["title"] == "nothing"


@pytest.mark.parametrize(
    ("scope", "may"),
    [("user/*.rs accounts.write", True), ("bulkhead/accounts.write", True), ("accounts.writer", False), ("", False)],
)
def test_the_right_to_share_is_known_by_either_name(run: Run, scope: str, may: bool) -> None:
    """The second is Cognito's."""
    assert run("session", "maySetAccounts(given)", {"scope": scope}) is may

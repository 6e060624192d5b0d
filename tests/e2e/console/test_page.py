"""The console for everybody: axe-core, widths, keyboard, thousands of records, a lost connection, signing in."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest
from playwright.sync_api import Browser, Route, expect

from tests.e2e.console.conftest import Scene
from tests.support import browser as browsers
from tests.support import console_scene
from tests.support.browser import Opener
from tests.support.running import Server

pytestmark = pytest.mark.xdist_group("console")
ANNA = "#/Patient/anna"
LETTER = f"{ANNA}/why/{console_scene.LETTER}"
CROWD = 450
# A page that has loaded shows this.
READY = {
    "": "Paste a token",
    "#/": "Anna Keel",
    ANNA: "21 records",
    LETTER: "Who looked, who was refused",
    f"{ANNA}/share/Patient/anna": "Organisations that see it",
    "#/jobs": "Your own runs in the background",
    "#/compartments": "66 types, of R4",
}


def test_axe_finds_nothing(console: Opener) -> None:
    """Every rule in light; in dark, where nothing but colours differs, the contrast."""
    faults = {}
    signing_in = console("", "")
    tab = console(place="#/")
    for place, text in READY.items():
        shown = tab if place else signing_in
        shown.page.emulate_media(color_scheme="light")
        shown.go(place)
        expect(shown.page.get_by_text(text).first).to_be_visible()
        if place == ANNA:
            shown.page.get_by_label("View as").select_option(label="Lighthouse Hospital")
            expect(shown.page.get_by_text("sees 21 of 22 records")).to_be_visible()
        faults[place, "light"] = shown.violations()
        shown.page.emulate_media(color_scheme="dark")
        faults[place, "dark"] = shown.violations("color-contrast")
    assert {where: found for where, found in faults.items() if found} == {}


@pytest.mark.parametrize(("width", "height"), [(360, 780), (1024, 900), (2560, 1300)])
def test_no_width_is_too_small_or_too_large(console: Opener, width: int, height: int) -> None:
    """Nothing sticks out, and nothing moves while the page loads."""
    for scheme, place in (("light", ANNA), ("dark", LETTER)):
        tab = console(place=place, size=(width, height), scheme=scheme)
        expect(tab.page.get_by_text(READY[place]).first).to_be_visible()
        tab.page.wait_for_load_state("networkidle")
        tab.picture(f"{width}-{scheme}", full_page=True)
        assert tab.overflow() <= 0
        assert tab.shifted() < 0.1
        tab.context.close()


def test_the_keyboard_is_enough(console: Opener) -> None:
    page = console(place=ANNA).page
    expect(page.get_by_role("heading", name="21 records")).to_be_visible()
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to the records")).to_be_focused()
    rows = page.get_by_role("listbox", name="Records")
    for _ in range(40):
        if rows.evaluate("element => element === document.activeElement"):
            break
        page.keyboard.press("Tab")
    expect(rows).to_be_focused()
    page.keyboard.press("End")
    page.keyboard.press("Home")
    page.keyboard.press("ArrowDown")
    expect(rows).to_have_attribute("aria-activedescendant", "row-1")
    second = page.get_by_role("option").filter(has=page.locator("b")).nth(1).locator("b").text_content()
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=2, name=re.compile(f"^{second}"))).to_be_focused()
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(rows).to_be_focused()


def test_a_crowd_scrolls_in_a_window(console: Opener, scene: Scene) -> None:
    """All pages are loaded, few rows are in the page, and the last one comes into view, explained."""
    with scene.client() as admin:
        console_scene.crowd(admin, "crowd", CROWD)
    tab = console(place="#/Patient/crowd")
    page = tab.page
    expect(page.get_by_role("heading", name=f"{CROWD} records")).to_be_visible()
    assert len(tab.sent("Patient/crowd/*")) == 3
    assert page.get_by_role("option").count() < 40
    page.get_by_role("listbox", name="Records").focus()
    page.keyboard.press("End")
    last = page.locator(f"[aria-posinset='{CROWD}']")
    expect(last).to_be_in_viewport()
    expect(last.locator(".chip.inherited")).to_be_visible()


def test_a_lost_connection_is_survived(console: Opener) -> None:
    """The page says so, tries again by itself, and keeps what was typed."""
    tab = console(place=f"{ANNA}/share/Patient/anna")
    page = tab.page
    form = page.get_by_role("region", name="Who sees Anna Keel")
    expect(form.get_by_label("Add an organisation")).to_be_visible()
    tab.context.set_offline(True)
    form.get_by_label("Add an organisation").select_option(label="Harbour Clinic")
    expect(page.get_by_text("The server cannot be reached")).to_be_visible()
    tab.picture("offline")
    tab.context.set_offline(False)
    expect(form.locator(".forecast")).to_contain_text(re.compile("Harbour Clinic.*gains", re.S))
    expect(page.get_by_text("The server cannot be reached")).to_have_count(0)


def test_a_lost_connection_is_not_reported_for_ever(console: Opener) -> None:
    """The request that lost it has gone with its view; another one's answer shows that the server is back."""
    tab = console(place=ANNA)
    page = tab.page
    expect(page.get_by_role("heading", name="21 records")).to_be_visible()
    tab.context.set_offline(True)
    tab.go("#/jobs")
    expect(page.get_by_text("The server cannot be reached")).to_be_visible()
    tab.go("#/compartments")
    tab.context.set_offline(False)
    tab.go(ANNA)
    expect(page.get_by_role("heading", name="21 records")).to_be_visible()
    expect(page.get_by_text("The server cannot be reached")).to_have_count(0)


def test_names_go_with_the_token_that_read_them(console: Opener, scene: Scene) -> None:
    """Whoever signs in next sees a reference where the token may not read the name."""
    tab = console(place=ANNA)
    page = tab.page
    expect(page.get_by_role("heading", name="Anna Keel")).to_be_visible()
    page.get_by_role("button", name="Sign out").click()
    page.get_by_label("Paste a token").fill(scene.tokens["harbour"])
    page.get_by_role("button", name="Open").click()
    expect(page.get_by_role("alert")).to_contain_text("Patient/anna is not known")
    assert page.evaluate("document.querySelector('console-app').accounts.name('Patient/anna')") == "Patient/anna"


def test_the_app_of_a_patient_is_not_that_of_the_next_one(console: Opener) -> None:
    tab = console(place=ANNA)
    page = tab.page
    page.get_by_label("View as").select_option(label="the app of Anna Keel")
    expect(page.get_by_text("The app of Anna Keel sees")).to_be_visible()
    tab.go("#/Patient/bruno")
    expect(page.get_by_role("heading", name="Bruno Mast")).to_be_visible()
    expect(page.get_by_label("View as")).to_have_value("")
    expect(page.get_by_text("The app of Anna Keel sees")).to_have_count(0)


def test_older_versions_and_errors_of_them(console: Opener, scene: Scene) -> None:
    """What stands after a deletion was made again; an error of the server ends the waiting."""
    basic = {
        "resourceType": "Basic",
        "id": "again",
        "code": {"text": "x"},
        "subject": {"reference": "Patient/anna"},
    }
    with scene.client() as admin:
        for _ in range(2):
            admin.put("Basic/again", json=basic).raise_for_status()
            admin.delete("Basic/again").raise_for_status()
        admin.put("Basic/again", json=basic).raise_for_status()
        versions = console(place=f"{ANNA}/why/Basic/again").page.get_by_role("region", name="Versions")
        expect(versions.locator(".versions > li")).to_contain_text(
            [re.compile("Version 5.*made again"), "Deleted", re.compile("Version 3.*made again"), "Deleted", "made"]
        )
        tab = console(place=ANNA)
        tab.page.route("**/_history?*", lambda route: route.fulfill(status=500, json={}))
        tab.go(f"{ANNA}/why/Basic/again")
        versions = tab.page.get_by_role("region", name="Versions")
        expect(versions.get_by_role("alert")).to_contain_text("The server answered 500")
        expect(versions.get_by_text("Loading")).to_have_count(0)
        admin.delete("Basic/again").raise_for_status()


def test_an_answer_at_another_host_is_told_and_not_asked_for_again(console: Opener) -> None:
    """It is no lost connection: each attempt would have the server make it anew."""
    tab = console(place=ANNA)
    page = tab.page
    expect(page.get_by_role("heading", name="21 records")).to_be_visible()
    elsewhere = {"location": "https://bucket.example/answer"}
    page.route("**/_history?*", lambda route: route.fulfill(status=303, headers=elsewhere))
    tab.go(LETTER)
    versions = page.get_by_role("region", name="Versions")
    expect(versions.get_by_role("alert")).to_contain_text("The answer is too large for this page")
    expect(page.get_by_text("The server cannot be reached")).to_have_count(0)
    assert len(tab.sent("_history")) == 1


def test_a_token_is_pasted_as_a_terminal_shows_it(console: Opener, scene: Scene) -> None:
    """Broken into lines. What can be no token is refused, and not sent."""
    tab = console("", ANNA)
    page = tab.page
    page.get_by_label("Paste a token").fill("eyJ…")
    page.get_by_role("button", name="Open").click()
    expect(page.get_by_label("Paste a token")).to_have_value("eyJ…")
    token = scene.tokens["admin"]
    page.get_by_label("Paste a token").fill(f"TOKEN={token[:80]}\n  {token[80:160]}\n{token[160:]}\n")
    page.get_by_role("button", name="Open").click()
    expect(page.get_by_role("heading", name="Anna Keel")).to_be_visible()
    expect(page.get_by_text("The server cannot be reached")).to_have_count(0)


def test_a_token_that_is_refused_can_be_replaced(console: Opener, scene: Scene) -> None:
    tab = console("", ANNA)
    page = tab.page
    page.get_by_label("Paste a token").fill(scene.tokens["admin"][:-4])
    page.get_by_role("button", name="Open").click()
    page.get_by_role("button", name="Sign in again").click()
    page.get_by_label("Paste a token").fill(f"TOKEN={scene.tokens['admin']}")
    page.get_by_role("button", name="Open").click()
    expect(page.get_by_role("heading", name="Anna Keel")).to_be_visible()
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_label("Paste a token")).to_have_value("")
    assert page.evaluate(f"sessionStorage.getItem({browsers.TOKEN!r})") is None


def test_a_preview_of_the_first_records_says_nothing_of_the_others(console: Opener) -> None:
    tab = console(place=f"{ANNA}/share/Patient/anna")
    page = tab.page
    parts = [{"name": "resourcesUpdated", "valueInteger": 1001}, {"name": "complete", "valueBoolean": False}]
    page.route("**/$set-accounts", lambda route: route.fulfill(json={"resourceType": "Parameters", "parameter": parts}))
    form = page.get_by_role("region", name="Who sees Anna Keel")
    form.get_by_label("Add an organisation").select_option(label="Harbour Clinic")
    expect(form.locator(".forecast")).to_contain_text("Of the records that were looked at, nobody gains or loses one.")
    expect(form.locator(".forecast")).to_contain_text("The preview looked at the first ones only")


def test_a_preview_answers_for_the_form_that_asked(console: Opener) -> None:
    """One that comes after Undo is not shown, and opens no Share."""
    tab = console(place=f"{ANNA}/share/Patient/anna")
    page = tab.page
    held: list[Route] = []
    page.route("**/$set-accounts", lambda route: held.append(route))
    form = page.get_by_role("region", name="Who sees Anna Keel")
    with page.expect_request("**/$set-accounts"):
        form.get_by_label("Add an organisation").select_option(label="Harbour Clinic")
    form.get_by_role("button", name="Undo").click()
    expect(form.locator(".grants > li")).to_have_count(1)
    with page.expect_response("**/$set-accounts"):
        held[0].fallback()
    expect(form.locator(".forecast")).to_contain_text("Change something")
    expect(form.get_by_role("button", name="Share", exact=True)).to_be_disabled()


def test_a_share_does_not_undo_what_somebody_else_shared(console: Opener, scene: Scene) -> None:
    """The form was opened before: the server refuses it, and the page reads it again."""
    with scene.client() as admin:
        admin.put("Patient/two", json={"resourceType": "Patient", "id": "two"}).raise_for_status()
        page = console(place="#/Patient/two/share/Patient/two").page
        form = page.get_by_role("region", name="Who sees")
        form.get_by_label("Add an organisation").select_option(label="Lighthouse Hospital")
        expect(form.locator(".forecast")).to_contain_text(re.compile("Lighthouse Hospital.*gains 1 record", re.S))
        share = console_scene.accounts("Organization/harbour", propagate=True)
        admin.post("Patient/two/$set-accounts", json=share).raise_for_status()
        form.get_by_role("button", name="Share", exact=True).click()
        form.get_by_role("button", name="Read it again").click()
        expect(form.locator(".grants > li")).to_contain_text(["Harbour Clinic"])
        form.get_by_label("Add an organisation").select_option(label="Lighthouse Hospital")
        form.get_by_role("button", name="Share", exact=True).click()
        expect(form.locator(".verdict")).to_contain_text("now stands as asked")
        given = {each["reference"] for each in admin.get("Patient/two").json()["meta"]["accounts"]}
    assert given == {"Organization/harbour", "Organization/lighthouse"}


def test_a_definition_that_takes_the_place_of_another_says_so(console: Opener) -> None:
    """Of R4's own, fences hang on it."""
    page = console(place="#/compartments").page
    expect(page.get_by_text("66 types, of R4")).to_be_visible()
    page.get_by_label("Its id").fill("patient")
    page.get_by_label("The compartment of each").fill("Patient")
    page.get_by_label("Type").first.fill("Encounter")
    page.get_by_label("that points there by").first.fill("subject")
    expect(page.get_by_text("It takes the place of the patient that is in force.")).to_be_visible()
    expect(page.get_by_role("button", name="Replace patient")).to_be_enabled()
    expect(page.get_by_role("button", name="Put it in force")).to_have_count(0)


def test_an_end_stays_with_its_account(console: Opener) -> None:
    """Where the account above it is removed, each account is shown with its own end."""
    page = console(place=f"{ANNA}/share/Patient/anna").page
    form = page.get_by_role("region", name="Who sees Anna Keel")
    form.get_by_label("Add an organisation").select_option(label="Harbour Clinic")
    for end in ("friday", "none", "friday"):
        form.get_by_label("End of Lighthouse Hospital").select_option(end)
    form.get_by_role("button", name="Remove Lighthouse Hospital").click()
    expect(form.get_by_label("End of Harbour Clinic")).to_have_value("none")


def test_an_inherited_account_is_shown_with_the_end_that_it_inherits(console: Opener, scene: Scene) -> None:
    """And not with that of the record's own, where it has both."""
    key = console_scene.PULSE
    own = {
        "resourceType": "Parameters",
        "parameter": [
            {
                "name": "accounts",
                "part": [
                    {"name": "account", "valueReference": {"reference": "Organization/lighthouse"}},
                    {"name": "until", "valueInstant": "2099-01-02T00:00:00Z"},
                ],
            }
        ],
    }
    with scene.client() as admin:
        admin.post(f"{key}/$set-accounts", json=own).raise_for_status()
        page = console(place=f"{ANNA}/share/{key}").page
        expect(page.locator(".grants > li").get_by_text("Lighthouse Hospital").first).to_be_visible()
        expect(page.locator(".also .chip")).to_have_text("Lighthouse Hospital, inherited")
        admin.post(f"{key}/$set-accounts", json={"resourceType": "Parameters", "parameter": []}).raise_for_status()


def test_what_a_record_holds_is_text(console: Opener, scene: Scene) -> None:
    """Markup in a name, a title and a narrative stays text, and is never HTML."""
    markup = "<img src=x onerror=document.title='caught'>"
    person = {"resourceType": "Patient", "id": "markup", "name": [{"family": markup}]}
    plan = {
        "resourceType": "CarePlan",
        "id": "markup",
        "status": "active",
        "intent": "plan",
        "title": markup,
        "subject": {"reference": "Patient/markup"},
        "text": {
            "status": "generated",
            "div": '<div xmlns="http://www.w3.org/1999/xhtml"><b id="narrative">x</b></div>',
        },
    }
    with scene.client() as admin:
        for resource in (person, plan):
            admin.put(f"{resource['resourceType']}/markup", json=resource).raise_for_status()
    page = console(place="#/Patient/markup/why/CarePlan/markup").page
    expect(page.get_by_role("heading", name=markup)).to_have_count(2)
    expect(page.get_by_text("Who looked, who was refused")).to_be_visible()
    assert page.locator("#main img, #narrative").count() == 0
    assert page.title() == "Bulkhead console"


@pytest.mark.parametrize(
    "place", ["#/Patient/anna%3F_format=xml", "#/Patient/..%2F..%2Fdocs", "#/Patient/%", "#/Patient/anna/why/x/y?z"]
)
def test_a_crafted_link_asks_for_nothing_of_its_own(console: Opener, place: str) -> None:
    tab = console(place=place)
    expect(tab.page.get_by_text("Anna Keel").first).to_be_visible()
    assert [request.url for request in tab.sent("Patient/")] == []


def test_times_are_in_the_zone_of_the_reader(console: Opener, scene: Scene) -> None:
    """The same version in two zones; a calendar day stays the same day."""
    shown = []
    for zone in ("Pacific/Auckland", "America/Los_Angeles"):
        page = console(place=LETTER, zone=zone).page
        shown.append(page.locator(".versions time").first.text_content(timeout=10_000))
        expect(page.get_by_text("born 14 Mar 1957")).to_be_visible()
    assert shown[0] != shown[1]


class Issuer(BaseHTTPRequestHandler):
    """An issuer that signs everybody in: it gives a code, and for the code and its verifier the token that it was told."""

    token = ""
    challenges: dict[str, str]

    def do_GET(self) -> None:
        asked = {name: values[0] for name, values in parse_qs(urlsplit(self.path).query).items()}
        assert (asked["response_type"], asked["code_challenge_method"], asked["client_id"]) == (
            "code",
            "S256",
            "console",
        )
        self.challenges["c1"] = asked["code_challenge"]
        self.send_response(302)
        self.send_header("Location", f"{asked['redirect_uri']}?{urlencode({'code': 'c1', 'state': asked['state']})}")
        self.end_headers()

    def do_POST(self) -> None:
        form = parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
        hashed = hashlib.sha256(form["code_verifier"][0].encode()).digest()
        proven = base64.urlsafe_b64encode(hashed).decode().rstrip("=") == self.challenges.pop(form["code"][0], "")
        self.send_response(200 if proven else 400)
        self.send_header("Access-Control-Allow-Origin", "*")
        self.send_header("Content-Type", "application/json")
        self.end_headers()
        self.wfile.write(json.dumps({"access_token": self.token} if proven else {"error": "invalid_grant"}).encode())

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def issuer() -> Iterator[str]:
    Issuer.challenges = {}
    server = ThreadingHTTPServer(("127.0.0.1", 0), Issuer)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()


def test_sign_in_by_code(browser: Browser, issuer: str) -> None:
    """Code with PKCE at the issuer's endpoints; the code leaves the URL, and the place is the one that was left."""
    settings = {
        "AUTHORIZATION_ENDPOINT": f"{issuer}/auth",
        "TOKEN_ENDPOINT": f"{issuer}/token",
        "CONSOLE_CLIENT": "console",
    }
    with Server("--quiet", **settings) as server:
        Issuer.token = server.printed("TOKEN")
        url = server.url.removesuffix("/fhir/R4")
        tab = browsers.open_tab(browser, url, place=ANNA)
        tab.page.get_by_role("button", name=re.compile("Sign in at")).click()
        expect(tab.page.get_by_role("heading", name="Anna Keel")).to_be_visible()
        assert tab.page.url == f"{url}/console{ANNA}"
        assert tab.strangers() == {urlsplit(issuer).netloc}
        assert tab.complaints == []
        tab.context.close()


def test_the_page_of_the_api_works_within_its_policy_and_forgets_the_token(scene: Scene, browser: Browser) -> None:
    with browser.new_context() as context:
        page = context.new_page()
        refused: list[str] = []
        page.on("console", lambda message: refused.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: refused.append(str(error)))
        page.goto(f"{scene.url}/docs")
        page.click("button.authorize")
        page.fill(".auth-container input", scene.tokens["admin"])
        page.click(".auth-btn-wrapper button.authorize")
        page.click(".btn-done")
        expect(page.locator("button.authorize.locked")).to_be_visible()
        assert page.evaluate("localStorage.length + sessionStorage.length") == 0
        page.reload()
        expect(page.locator("button.authorize.unlocked")).to_be_visible()
        assert refused == []

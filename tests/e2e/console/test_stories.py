"""The four stories of the console, each from beginning to end, in a real browser."""

from __future__ import annotations

import os
import re
import subprocess
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from playwright.sync_api import Page, Route, expect

from tests.e2e.console.conftest import Scene
from tests.support import console_scene
from tests.support.browser import Opener

pytestmark = pytest.mark.xdist_group("console")
ANNA = "#/Patient/anna"
LETTER = f"{ANNA}/why/{console_scene.LETTER}"
ZONE = ZoneInfo("Europe/Berlin")


def friday() -> datetime:
    """The end of the next Friday in the browser's zone: a minute before midnight."""
    today = datetime.now(ZONE)
    return (today + timedelta(days=(4 - today.weekday()) % 7 or 7)).replace(hour=23, minute=59, second=0, microsecond=0)


def listed(page: Page, text: str) -> Any:
    return page.get_by_role("option", name=re.compile(text))


def test_a_compartment(console: Opener) -> None:
    """Find Anna by name: her records, who has how many, what is not shared."""
    tab = console(place="#/")
    page = tab.page
    page.get_by_label("Find a patient").fill("Kee")
    page.get_by_role("button", name=re.compile("Anna Keel")).click()
    expect(page.get_by_role("heading", name="Anna Keel")).to_be_visible()
    expect(page.get_by_role("heading", name="21 records")).to_be_visible()
    row = page.get_by_role("row", name=re.compile("DocumentReference"))
    expect(row).to_contain_text("0 of 1")
    expect(row).to_contain_text("all 1")
    letter, pulse = listed(page, "Consult note"), listed(page, "Heart rate 81")
    expect(letter).to_contain_text("Sealed")
    expect(letter).to_contain_text("Not with Lighthouse Hospital")
    expect(letter.locator(".chip")).to_have_class(re.compile("own"))
    expect(pulse.locator(".chip")).to_have_class(re.compile("inherited"))
    expect(page.get_by_role("img", name=re.compile("21 records between 12 Jan 2026 and 12 May 2026"))).to_be_visible()
    tab.picture("compartment", full_page=True)
    page.get_by_role("button", name="Show them").click()
    expect(page.get_by_role("heading", name="1 record of 21")).to_be_visible()
    expect(page.get_by_role("listbox", name="Records").get_by_role("option")).to_have_count(1)


def test_why_not_this_letter(console: Opener, scene: Scene) -> None:
    """Look as Lighthouse: the letter is hidden, because it is sealed; below it who was refused. No name is in a URL."""
    tab = console(place=ANNA)
    page = tab.page
    expect(page.get_by_label("View as").locator("option")).to_contain_text(
        ["yourself", "Harbour Clinic", "Lighthouse Hospital"]
    )
    page.get_by_label("View as").select_option(label="Lighthouse Hospital")
    expect(page.get_by_text("Lighthouse Hospital sees 21 of 22 records")).to_be_visible()
    expect(listed(page, "Consult note")).to_contain_text("Hidden")
    expect(listed(page, "Heart rate 81")).to_contain_text("Sees it")
    listed(page, "Consult note").click()
    why = page.get_by_role("region", name="Consult note")
    expect(why.get_by_role("heading", name="Consult note")).to_be_focused()
    expect(why.locator(".verdict")).to_contain_text("Lighthouse Hospital does not see this record")
    expect(why.locator(".verdict")).to_contain_text("It is sealed, so it inherits nothing from Anna Keel")
    expect(why.locator(".node.broken")).to_contain_text("Anna Keel")
    nodes = why.locator(".node")
    expect(nodes.filter(has_text="Harbour Clinic")).to_contain_text("without end")
    expect(nodes.filter(has_text="Read")).to_contain_text("refused")
    expect(why.get_by_role("listitem").filter(has_text="local-lighthouse was refused")).to_contain_text(
        "asked to read it"
    )
    tab.picture("why", full_page=True)
    page.get_by_label("View as").select_option(label="yourself")
    expect(why.locator(".verdict")).to_contain_text("You see this record")
    page.get_by_label("View as").select_option(label="the app of Anna Keel")
    expect(why.locator(".verdict")).to_contain_text("The app of Anna Keel sees this record")
    assert not any(token in request.url for request in tab.requests for token in scene.tokens.values())


def test_versions_differ_readably(console: Opener) -> None:
    page = console(place=f"{ANNA}/why/{console_scene.PULSE}").page
    change = page.locator(".changes > div").filter(has_text="valueQuantity.value")
    expect(change.locator("del")).to_have_text("78")
    expect(change.locator("ins")).to_have_text("81")
    expect(page.locator(".versions > li").filter(has_text="Version 2")).to_contain_text("only its accounts changed")


def test_a_pasted_token_is_looked_as_and_never_sent(console: Opener, scene: Scene) -> None:
    tab = console(place=LETTER)
    page = tab.page
    page.get_by_label("View as").select_option(label="the holder of a token…")
    page.get_by_label("Token to look as").fill(scene.tokens["harbour"])
    page.get_by_role("button", name="Look").click()
    expect(page.get_by_role("region", name="Consult note").locator(".verdict")).to_contain_text(
        "A token of Harbour Clinic sees this record"
    )
    assert all(scene.tokens["harbour"] not in request.headers.get("authorization", "") for request in tab.requests)


def test_a_fenced_token_learns_what_the_server_tells_it(console: Opener) -> None:
    """Its words for a patient outside; and nothing is asked that it may not ask."""
    outside = console("harbour", ANNA)
    expect(outside.page.get_by_role("alert")).to_contain_text("Patient/anna is not known")
    inside = console("lighthouse", ANNA)
    expect(inside.page.get_by_role("heading", name="20 records")).to_be_visible()
    expect(listed(inside.page, "Consult note")).to_have_count(0)
    listed(inside.page, "Heart rate 81").click()
    expect(inside.page.get_by_text("The server explains access to tokens that read without a fence")).to_be_visible()
    expect(inside.page.get_by_role("button", name="Share…")).to_have_count(0)
    for tab in (outside, inside):
        assert tab.sent("explain-access") == []
        assert [request.url for request in tab.requests if request.method == "POST"] == []


def test_a_share_until_friday(console: Opener, scene: Scene) -> None:
    """Add Harbour until Friday to Bruno's: the preview says what it gains, the run has a progress, the job is listed."""
    with scene.client() as admin:
        admin.post(
            "Patient/bruno/$set-accounts", json=console_scene.accounts("Organization/lighthouse", propagate=True)
        ).raise_for_status()
    tab = console(place="#/Patient/bruno")
    page = tab.page
    page.get_by_role("button", name="Share…").click()
    form = page.get_by_role("region", name="Who sees Bruno Mast")
    form.get_by_label("Add an organisation").select_option(label="Harbour Clinic")
    form.get_by_label("End of Harbour Clinic").select_option("friday")
    forecast = form.locator(".forecast")
    expect(forecast).to_contain_text(re.compile(r"Harbour Clinic.*gains 20 records until Fri, .*23:59", re.S))
    expect(forecast).to_contain_text("12 Observation")
    tab.picture("share", full_page=True)
    with scene.client("harbour") as harbour:
        assert harbour.get("Patient/bruno").status_code == 404
        form.get_by_role("button", name="Share", exact=True).click()
        expect(form.locator(".verdict")).to_contain_text("now stand as asked")
        assert harbour.get("Patient/bruno").status_code == 200
    with scene.client() as admin:
        given = {each["reference"]: each for each in admin.get("Patient/bruno").json()["meta"]["accounts"]}
    end = datetime.fromisoformat(given["Organization/harbour"]["extension"][0]["valueInstant"])
    assert end == friday()
    expect(page.locator(".person .chip").filter(has_text="Harbour Clinic")).to_contain_text("until Fri")
    tab.go("#/jobs")
    first = page.locator(".jobs > li").first
    expect(first).to_contain_text("is done")
    first.get_by_role("button", name="Result").click()
    expect(first).to_contain_text("now stand as asked")
    tab.picture("jobs", full_page=True)


def test_a_run_is_followed_and_cancelled(console: Opener) -> None:
    """The status is held at 202 until the page cancels; the cancellation reaches the server."""
    tab = console(place="#/Patient/chidi/share/Patient/chidi")
    page = tab.page
    cancelled: list[int | None] = []

    def status(route: Route) -> None:
        if route.request.method == "DELETE":
            answer = route.fetch()
            cancelled.append(answer.status)
            route.fulfill(response=answer)
        elif cancelled:
            route.fallback()
        else:
            route.fulfill(status=202, headers={"X-Progress": "7 of 22 resources", "Retry-After": "1"})

    page.route("**/job/*/status", status)
    form = page.get_by_role("region", name="Who sees Chidi Stern")
    form.get_by_label("Add an organisation").select_option(label="Harbour Clinic")
    form.get_by_role("button", name="Share", exact=True).click()
    expect(form.get_by_text("7 of 22 resources")).to_be_visible()
    expect(form.get_by_role("progressbar")).to_have_attribute("value", "7")
    form.get_by_role("button", name="Cancel").click()
    expect(form.locator(".verdict")).to_be_visible()
    assert cancelled == [202]


def test_a_compartment_of_ones_own(console: Opener, scene: Scene) -> None:
    """The form says what is wrong while one types; what it puts in force works at once."""
    tab = console(place="#/compartments")
    page = tab.page
    expect(page.get_by_text("66 types, of R4")).to_be_visible()
    page.get_by_label("Its id").fill("organization")
    page.get_by_label("The compartment of each").fill("Organization")
    page.get_by_label("Type").first.fill("Encounter")
    page.get_by_label("that points there by").first.fill("subject, nothing")
    expect(page.get_by_text("nothing is not a search parameter of Encounter")).to_be_visible()
    expect(page.get_by_role("button", name="Put it in force")).to_be_disabled()
    tab.picture("definition", full_page=True)
    page.get_by_label("that points there by").first.fill("service-provider")
    expect(page.get_by_text("The server accepts it.")).to_be_visible()
    page.get_by_role("button", name="Put it in force").click()
    expect(page.get_by_text("organization is in force.")).to_be_visible()
    expect(page.locator(".definition").filter(has_text="Organization")).to_contain_text("1 type")
    with scene.client() as admin:
        assert admin.get("Organization/lighthouse/Encounter").json()["entry"]


def test_the_raw_request_can_be_run(console: Opener, scene: Scene) -> None:
    page = console(place=LETTER).page
    why = page.get_by_role("region", name="Consult note")
    why.locator("> .raw summary, > raw-calls summary").first.click()
    commands = [text for text in why.locator("pre code").all_text_contents() if text.startswith("curl")]
    explained = next(text for text in commands if "explain-access" in text)
    assert scene.tokens["admin"] not in "".join(commands)
    done = subprocess.run(
        ["sh", "-c", explained],
        env={**os.environ, "TOKEN": scene.tokens["admin"]},
        capture_output=True,
        text=True,
        check=True,
    )
    assert '"sealed","valueBoolean":true' in done.stdout

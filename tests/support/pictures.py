"""Draws the pictures of the console for the README and docs/console.md: `make pictures`, into docs/images."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

from playwright.sync_api import Browser, expect

from tests.support import browser as browsers
from tests.support import console_scene
from tests.support.browser import Tab
from tests.support.running import Server

IMAGES = browsers.ROOT / "docs" / "images"
ANNA = "#/Patient/anna"


@contextmanager
def clinic() -> Iterator[tuple[str, str]]:
    """The address of a server with the scene, and a token without a fence."""
    with Server("--quiet") as server:
        tokens = (server.printed(name) for name in ("TOKEN", "TOKEN_HARBOUR", "TOKEN_LIGHTHOUSE"))
        admin, harbour, lighthouse = (server.client(token) for token in tokens)
        with admin, harbour, lighthouse:
            console_scene.play(admin, harbour, lighthouse)
        parts = urlsplit(server.url)
        yield f"{parts.scheme}://{parts.netloc}", server.printed("TOKEN")


def why(tab: Tab) -> None:
    """What Lighthouse sees of Anna, and why not the letter."""
    tab.page.get_by_label("View as").select_option(label="Lighthouse Hospital")
    tab.page.get_by_role("option", name=re.compile("Consult note")).click()
    expect(tab.page.get_by_text("was refused", exact=True)).to_be_visible()
    expect(tab.page.get_by_text("sees 21 of 22 records")).to_be_visible()


def share(tab: Tab) -> None:
    """What happens if Harbour is added until Friday."""
    form = tab.page.get_by_role("region", name="Who sees Anna Keel")
    form.get_by_label("Add an organisation").select_option(label="Harbour Clinic")
    form.get_by_label("End of Harbour Clinic").select_option("friday")
    expect(form.locator(".forecast")).to_contain_text("until Fri")


def compartments(tab: Tab) -> None:
    """A definition with a fault, while one types it."""
    tab.page.get_by_label("Its id").fill("organization")
    tab.page.get_by_label("The compartment of each").fill("Organization")
    tab.page.get_by_label("Type").first.fill("Encounter")
    tab.page.get_by_label("that points there by").first.fill("service-provider, ward")
    expect(tab.page.get_by_text("ward is not a search parameter")).to_be_visible()


PICTURES = {
    "console-why": (f"{ANNA}", (1280, 1120), "light", why),
    "console-share": (f"{ANNA}/share/Patient/anna", (1280, 840), "dark", share),
    "console-compartments": ("#/compartments", (1280, 620), "light", compartments),
}


def draw(browser: Browser, url: str, token: str, folder: Path = IMAGES) -> list[Path]:
    """Every picture, as a file in `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    drawn = []
    for name, (place, size, scheme, play) in PICTURES.items():
        tab = browsers.open_tab(browser, url, token=token, place=place, size=size, scheme=scheme)
        play(tab)
        tab.page.wait_for_load_state("networkidle")
        tab.page.mouse.move(0, 0)
        drawn.append(folder / f"{name}.png")
        tab.page.screenshot(
            path=drawn[-1], animations="disabled", clip={"x": 0, "y": 0, "width": size[0], "height": size[1]}
        )
        tab.context.close()
    return drawn


if __name__ == "__main__":
    if browsers.executable() is None:
        sys.exit("there is no Chromium: install it, or set CHROMIUM to its path")
    with browsers.chromium() as found, clinic() as (address, admin_token):
        for path in draw(found, address, admin_token):
            print(f"{path.relative_to(browsers.ROOT)}: {path.stat().st_size} bytes")

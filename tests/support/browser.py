"""Chromium, driven by Playwright: the browser that is installed, with a profile of its own, which asks no other host for anything."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from playwright.sync_api import Browser, BrowserContext, Page, Request, sync_playwright

ROOT = Path(__file__).resolve().parents[2]
SCREENSHOTS = ROOT / "build" / "screenshots"
AXE = ROOT / "node_modules" / "axe-core" / "axe.min.js"
ARGUMENTS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
TOKEN = "bulkhead-token"
# Sums up how far content has moved by itself (Layout Instability, W3C draft).
_SHIFTS = """
window.shifted = 0;
new PerformanceObserver((list) => { for (const entry of list.getEntries()) if (!entry.hadRecentInput) window.shifted += entry.value; })
  .observe({type: "layout-shift", buffered: true});
"""


def executable() -> str | None:
    """The path of Chromium: `CHROMIUM`, else what is on PATH; None where there is none."""
    return os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, ("chromium", "chromium-browser"))), None)


@contextmanager
def chromium() -> Iterator[Browser]:
    """A browser. Playwright gives each a fresh profile, and removes it."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable(), args=list(ARGUMENTS))
        yield browser
        browser.close()


@dataclass
class Tab:
    """A page of the console, and what it sent and complained of."""

    page: Page
    context: BrowserContext
    host: str
    requests: list[Request] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)

    def go(self, place: str) -> None:
        """Open a place of the console, such as `#/jobs`."""
        self.page.evaluate("place => { location.hash = place }", place)

    def strangers(self) -> set[str]:
        """The hosts that were asked, other than the server."""
        hosts = {urlsplit(request.url).netloc for request in self.requests if request.url.startswith("http")}
        return hosts - {self.host}

    def sent(self, text: str) -> list[Request]:
        return [request for request in self.requests if text in request.url]

    def violations(self, *rules: str) -> list[str]:
        """What axe-core finds by all rules, or by these: rule, and where."""
        if not self.page.evaluate("'axe' in window"):
            self.page.evaluate(AXE.read_text())
        options = {"resultTypes": ["violations"], **({"runOnly": list(rules)} if rules else {})}
        found: dict[str, Any] = self.page.evaluate("options => axe.run(options)", options)
        return [f"{each['id']}: {[node['html'][:120] for node in each['nodes'][:3]]}" for each in found["violations"]]

    def shifted(self) -> float:
        """The sum of all layout shifts that no input caused."""
        return float(self.page.evaluate("window.shifted"))

    def overflow(self) -> int:
        """Pixels by which the page is wider than the window."""
        return int(self.page.evaluate("document.documentElement.scrollWidth - innerWidth"))

    def picture(self, name: str, **options: Any) -> Path:
        """Keep a screenshot in build/screenshots."""
        SCREENSHOTS.mkdir(parents=True, exist_ok=True)
        path = SCREENSHOTS / f"{name}.png"
        self.page.screenshot(path=path, animations="disabled", **options)
        return path


Opener = Callable[..., Tab]


def open_tab(
    browser: Browser,
    url: str,
    *,
    token: str = "",
    place: str = "",
    size: tuple[int, int] = (1280, 900),
    scheme: str = "light",
    zone: str = "Europe/Berlin",
) -> Tab:
    """The console of the server at `url`, signed in with `token` if there is one."""
    named: dict[str, Any] = {"color_scheme": scheme, "timezone_id": zone, "locale": "en-GB", "reduced_motion": "reduce"}
    context = browser.new_context(viewport={"width": size[0], "height": size[1]}, **named)
    context.set_default_timeout(10_000)
    context.add_init_script(_SHIFTS)
    if token:
        # Once: a token that the page gives up must not come back.
        once = f"if (!sessionStorage.getItem('begun')) {{ sessionStorage.setItem({TOKEN!r}, {token!r}); sessionStorage.setItem('begun', '1') }}"
        context.add_init_script(once)
    page = context.new_page()
    tab = Tab(page, context, urlsplit(url).netloc)
    page.on("request", lambda request: tab.requests.append(request))
    page.on("pageerror", lambda error: tab.complaints.append(str(error)))
    page.on("console", lambda message: _note(tab, message.type, message.text))
    page.goto(f"{url}/console{place}")
    return tab


def _note(tab: Tab, kind: str, text: str) -> None:
    # The browser itself reports each answer of 4xx, and each lost connection.
    if kind in ("error", "warning") and "Failed to load resource" not in text:
        tab.complaints.append(text)

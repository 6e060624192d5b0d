"""One server with the scene of tests/support/console_scene.py, and one browser, for all tests of the console."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import urlsplit

import httpx
import pytest
from playwright.sync_api import Browser

from tests.support import browser as browsers
from tests.support import console_scene
from tests.support.browser import Opener, Tab
from tests.support.running import Server

NO_BROWSER = "there is no Chromium: apt-get install chromium, or set CHROMIUM to its path"


@dataclass
class Scene:
    """The server, its address without a path, and tokens by who has them."""

    server: Server
    url: str
    tokens: dict[str, str]

    def client(self, name: str = "admin") -> httpx.Client:
        return self.server.client(self.tokens[name])


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    if browsers.executable() is None:
        pytest.skip(NO_BROWSER)
    with browsers.chromium() as found:
        yield found


@pytest.fixture(scope="session")
def scene(browser: Browser) -> Iterator[Scene]:
    with Server() as server:
        names = {"admin": "TOKEN", "harbour": "TOKEN_HARBOUR", "lighthouse": "TOKEN_LIGHTHOUSE"}
        parts = urlsplit(server.url)
        made = Scene(
            server, f"{parts.scheme}://{parts.netloc}", {name: server.printed(key) for name, key in names.items()}
        )
        with made.client() as admin, made.client("harbour") as harbour, made.client("lighthouse") as lighthouse:
            console_scene.play(admin, harbour, lighthouse)
        yield made


@pytest.fixture
def console(browser: Browser, scene: Scene) -> Iterator[Opener]:
    """Opens tabs: `console("admin", "#/Patient/anna")`. At the end none has complained, nor asked another host."""
    opened: list[Tab] = []

    def opener(name: str = "admin", place: str = "", **options: object) -> Tab:
        token = scene.tokens[name] if name else ""
        opened.append(browsers.open_tab(browser, scene.url, token=token, place=place, **options))  # type: ignore[arg-type]
        return opened[-1]

    yield opener
    for tab in opened:
        tab.context.close()
    assert [tab.complaints for tab in opened if tab.complaints] == []
    assert [tab.strangers() for tab in opened if tab.strangers()] == []

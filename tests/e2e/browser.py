"""A real Chromium that shows the page, and what it says about it: its console, accessibility, sizes."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, Literal

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, sync_playwright

from tests.e2e.harness import Running

PHONE: Final = (390, 844)
DESKTOP: Final = (1440, 900)
Scheme = Literal["light", "dark"]
_SERIOUS: Final = frozenset({"serious", "critical"})
_FLAGS: Final = ("--no-sandbox", "--disable-dev-shm-usage", "--autoplay-policy=no-user-gesture-required")


def chromium() -> str:
    """The browser of the machine; a test that needs it is skipped where there is none."""
    found = shutil.which("chromium")
    if found is None:
        pytest.skip("install chromium")
    return found


@contextmanager
def open_browser() -> Iterator[Browser]:
    """Closed at the end, with everything that it showed."""
    program = chromium()
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=program, args=list(_FLAGS))
        try:
            yield browser
        finally:
            browser.close()


class Seen:
    """What a page complains about: errors and warnings of its console, and what its scripts threw."""

    def __init__(self, page: Page) -> None:
        self.complaints: list[str] = []
        page.on("console", lambda message: self._said(message.type, message.text, message.location.get("url", "")))
        page.on("pageerror", lambda error: self.complaints.append(f"thrown: {error}"))

    def _said(self, kind: str, text: str, url: str) -> None:
        if kind in {"error", "warning"}:
            self.complaints.append(f"{kind}: {text} ({url})")


@contextmanager
def tab(
    browser: Browser,
    running: Running,
    size: tuple[int, int] = DESKTOP,
    scheme: Scheme = "light",
    *,
    signed_in: bool = True,
) -> Iterator[Page]:
    """A tab with cookies and a cache of its own."""
    width, height = size
    context = browser.new_context(
        base_url=running.addresses["gateway"],
        viewport={"width": width, "height": height},
        color_scheme=scheme,
        locale="en-GB",
        timezone_id="UTC",
        reduced_motion="reduce",
    )
    context.set_default_timeout(20_000)
    try:
        if signed_in:
            answer = context.request.post("/session", data={"token": running.addresses["token"]})
            assert answer.status == 204, answer.text()
        yield context.new_page()
    finally:
        context.close()


def barriers(page: Page) -> list[str]:
    """What axe-core finds that keeps somebody out: serious and critical violations, each with its first element."""
    violations = Axe().run(page).response["violations"]
    return [
        f"{one['id']} ({one['impact']}): {one['nodes'][0]['html'][:200]}"
        for one in violations
        if one["impact"] in _SERIOUS
    ]


def wider_than_screen(page: Page) -> bool:
    """Whether somebody has to scroll sideways to see all of it."""
    return bool(page.evaluate("document.documentElement.scrollWidth > innerWidth"))


def transferred(page: Page, path: str) -> int:
    """Bytes over the network for a view that nothing is kept of yet: heads and compressed bodies together."""
    session = page.context.new_cdp_session(page)
    sizes: list[int] = []
    session.on("Network.loadingFinished", lambda event: sizes.append(int(event["encodedDataLength"])))
    session.send("Network.enable")
    page.goto(path)
    page.locator("main[data-ready]").wait_for()
    page.wait_for_load_state("load")
    session.detach()
    return sum(sizes)


def shoot(page: Page, folder: Path, name: str) -> Path:
    """Keep a picture of all of the page."""
    target = folder / f"{name}.png"
    page.screenshot(path=target, full_page=True)
    return target

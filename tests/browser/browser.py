"""The distribution's Chromium at the dashboard, and what every page of it owes whoever looks at it."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import urlsplit

import httpx
from axe_playwright_python.async_playwright import Axe
from playwright.async_api import Browser, BrowserContext, ConsoleMessage, Locator, Page, Request, ViewportSize, async_playwright, expect

CHROMIUM: Final = "/usr/bin/chromium"
PATIENCE_MS: Final = 60_000
GRAVE: Final = ("serious", "critical")
DESK: Final[ViewportSize] = {"width": 1280, "height": 900}
PHONE: Final[ViewportSize] = {"width": 375, "height": 740}

expect.set_options(timeout=PATIENCE_MS)


@dataclass
class Visitor:
    """Somebody with a browser, who sees only what the process at `address` serves.

    asked: every address that a page asked for; strangers: those of others; complaints: what scripts and policy said against it.
    """

    browser: Browser
    address: str
    strangers: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)
    contexts: list[BrowserContext] = field(default_factory=list)

    async def leave(self) -> None:
        """Closes every page that is still open."""
        for context in self.contexts:
            await context.close()
        self.contexts.clear()

    async def open(self, path: str, *, dark: bool = False, viewport: ViewportSize | None = None, script: str = "") -> Page:
        """The page at that path, in a context of its own. script: what runs in it before anything of its own does."""
        context = await self.browser.new_context(
            base_url=self.address, color_scheme="dark" if dark else "light", viewport=viewport or DESK, reduced_motion="reduce"
        )
        self.contexts.append(context)
        page = await context.new_page()
        page.set_default_timeout(PATIENCE_MS)
        if script:
            await page.add_init_script(script)
        page.on("request", self._asked)
        page.on("console", self._said)
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        await page.goto(path)
        return page

    def _asked(self, request: Request) -> None:
        self.asked.append(request.url)
        if urlsplit(request.url).netloc != urlsplit(self.address).netloc and not request.url.startswith("data:"):
            self.strangers.append(request.url)

    def _said(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            self.complaints.append(message.text)


@asynccontextmanager
async def browsing() -> AsyncIterator[Browser]:
    """The browser; it is closed at the end, with all pages and their streams."""
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        try:
            yield browser
        finally:
            await browser.close()


@asynccontextmanager
async def visiting(address: str) -> AsyncIterator[Visitor]:
    """Somebody who visits that address with a browser of their own."""
    async with browsing() as browser:
        yield Visitor(browser, address)


async def grave_findings(page: Page) -> list[str]:
    """What axe-core finds against the page that keeps somebody out: each with its elements."""
    response: dict[str, Any] = (await Axe().run(page)).response
    return [
        f"{found['id']}: {found['help']}: {[node['html'] for node in found['nodes']]}"
        for found in response["violations"]
        if found["impact"] in GRAVE
    ]


async def too_wide_px(page: Page) -> int:
    """By how much it has to be scrolled sideways."""
    width: int = await page.evaluate("() => document.documentElement.scrollWidth - document.documentElement.clientWidth")
    return width


async def drawn(page: Page) -> None:
    """Returns when every panel of the page shows an answer, or says why it has none."""
    await expect(page.locator("main[data-open]")).to_be_visible()
    await expect(page.locator(".panel.awaited")).to_have_count(0)


def most_watched(address: str) -> str:
    """The title with the most viewers. Exits when nobody watches anything: then there is nothing to see."""
    cells = httpx.get(f"{address}/v1/views/concurrents", params={"top": 1}, timeout=30).json()["cells"]
    if not cells:
        sys.exit("nobody is watching; start `marquee load --rate 2000 --duration 600 --run pictures` and come back in a few minutes")
    title: str = cells[0]["title"]
    return title


def panel(page: Page, heading: str) -> Locator:
    """The panel of that heading."""
    return page.get_by_role("region", name=heading, exact=True)

"""The distribution's Chromium at the dashboard, and what every page of it owes whoever looks at it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import urlsplit

from axe_playwright_python.async_playwright import Axe
from playwright.async_api import Browser, ConsoleMessage, Locator, Page, Request, ViewportSize, async_playwright, expect

CHROMIUM: Final = "/usr/bin/chromium"
PATIENCE_MS: Final = 60_000
GRAVE: Final = ("serious", "critical")
DESK: Final[ViewportSize] = {"width": 1280, "height": 900}
PHONE: Final[ViewportSize] = {"width": 375, "height": 740}

expect.set_options(timeout=PATIENCE_MS)


@dataclass
class Visitor:
    """Somebody with a browser, who sees only what the process at `address` serves.

    strangers: addresses of others that a page asked for; complaints: what its scripts and its policy said against it.
    """

    browser: Browser
    address: str
    strangers: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)

    async def open(self, path: str, *, dark: bool = False, viewport: ViewportSize | None = None) -> Page:
        """The page at that path, in a context of its own."""
        context = await self.browser.new_context(
            base_url=self.address, color_scheme="dark" if dark else "light", viewport=viewport or DESK, reduced_motion="reduce"
        )
        page = await context.new_page()
        page.set_default_timeout(PATIENCE_MS)
        page.on("request", self._asked)
        page.on("console", self._said)
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        await page.goto(path)
        return page

    def _asked(self, request: Request) -> None:
        if urlsplit(request.url).netloc != urlsplit(self.address).netloc and not request.url.startswith("data:"):
            self.strangers.append(request.url)

    def _said(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            self.complaints.append(message.text)


@asynccontextmanager
async def visiting(address: str) -> AsyncIterator[Visitor]:
    """Somebody who visits that address; the browser is closed at the end, with all its streams."""
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        try:
            yield Visitor(browser, address)
        finally:
            await browser.close()


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
    await expect(page.locator(".message .waiting")).to_have_count(0)


def panel(page: Page, heading: str) -> Locator:
    """The panel of that heading."""
    return page.get_by_role("region", name=heading, exact=True)

"""Pictures of the dashboard as it is now. `scripts/screenshots` runs it."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Final
from urllib.parse import quote

from playwright.async_api import Page, expect

from tests.browser.browser import PHONE, drawn, most_watched, visiting

WATCHED_MS: Final = 20_000
"""A page is looked at for so long before its picture is taken: what it draws while it is open has come about."""
STARTUP: Final = "/explore?view=quality&by=cdn&window=minute&last=1h&show=chart&measure=startup_p95"


async def take(address: str, directory: Path) -> None:
    """Every page once, by day or by night, and one on a phone."""
    named = f"/title?title={quote(await asyncio.to_thread(most_watched, address))}"
    pictures = {
        "now": ("/", False, None),
        "now-dark": ("/", True, None),
        "phone": ("/", True, PHONE),
        "title": (named, False, None),
        "quality": ("/quality", False, None),
        "pipeline": ("/pipeline", True, None),
        "explore": (STARTUP, False, None),
    }
    async with visiting(address) as visitor:
        for name, (path, dark, viewport) in pictures.items():
            page = await visitor.open(path, dark=dark, viewport=viewport)
            await _complete(page)
            await page.screenshot(path=directory / f"{name}.png", full_page=True)
            await page.context.close()


async def _complete(page: Page) -> None:
    await drawn(page)
    await page.wait_for_timeout(WATCHED_MS)
    await expect(page.locator(".plot canvas").first).to_be_visible()
    await expect(page.locator('.spark[aria-label^="not known"]')).to_have_count(0)


if __name__ == "__main__":
    pictured = Path(sys.argv[2])
    pictured.mkdir(parents=True, exist_ok=True)
    asyncio.run(take(sys.argv[1], pictured))

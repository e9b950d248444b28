"""The dashboard where a token is needed: asked for, kept in its tab, sent in a header alone, forgotten."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from dataclasses import replace

import httpx
import pytest
from playwright.async_api import Browser, Page, expect

from cluster.process import wait_until
from connectors.cassandra import close, connect
from connectors.tokens import Tokens, make
from tests.browser.browser import Visitor, grave_findings, panel
from tests.browser.conftest import Stage
from tests.serving.api.conftest import served
from tests.serving.test_answers import live, watched

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest.fixture(scope="module")
def tokens(stage: Stage) -> Iterator[Tokens]:
    session = connect(stage.world.settings.cassandra)
    yield Tokens(session, stage.world.settings.cassandra)
    close(session)


@pytest.fixture(scope="module")
def closed(stage: Stage) -> Iterator[httpx.Client]:
    settings = stage.world.settings
    with served(replace(settings, api=replace(settings.api, access="tokens"))) as client:
        yield client


def made(tokens: Tokens, *scopes: str) -> tuple[str, str]:
    """A token's id and text."""
    token, text = make("dashboard", scopes, 1)
    tokens.put(token)
    return token.id, text


async def give(page: Page, text: str) -> None:
    await page.get_by_label("Token", exact=True).fill(text)
    await page.get_by_role("button", name="Use it").click()


def refuses(api: httpx.Client, text: str) -> bool:
    return api.get("/v1/views", headers={"Authorization": f"Bearer {text}"}).status_code == 401


async def test_a_token_opens_every_page_and_stands_nowhere_else(
    stage: Stage, tokens: Tokens, closed: httpx.Client, browser: Browser, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    await stage.show(live("t", 7), watched("t", "eu", 5_000))
    _, text = made(tokens, "read", "operate")
    visitor = Visitor(browser, str(closed.base_url))
    page = await visitor.open("/")
    await expect(page.get_by_role("region", name="A token is needed here")).to_contain_text("marquee token make dashboard --scope read")
    await expect(page.get_by_label("Token", exact=True)).to_be_focused()
    assert await grave_findings(page) == []
    await give(page, text)
    await expect(panel(page, "Top 10").locator(".chip")).to_have_text("stale")  # pushed, of a clock that nobody moves
    await stage.show(live("t", 8))
    await expect(panel(page, "Top 10").get_by_role("row", name="t 8")).to_be_visible()
    await page.get_by_role("link", name="Pipeline").click()
    await expect(page.get_by_role("table", name="Servers")).to_contain_text("cassandra")
    await page.goto("/explore?view=watch_time&by=region")
    async with page.expect_download() as coming:
        await panel(page, "watch_time").get_by_role("link", name="CSV").click()
    fetched = await coming.value
    assert fetched.suggested_filename == "watch_time.csv"
    assert ",eu,5000,1,1\n" in await asyncio.to_thread((await fetched.path()).read_text)
    await page.get_by_role("button", name="Forget the token").click()
    await expect(page.get_by_label("Token", exact=True)).to_be_visible()
    assert await page.evaluate("() => sessionStorage.length") == 0
    await visitor.leave()
    assert not any(text in address for address in visitor.asked)
    assert text not in caplog.text


async def test_what_a_token_is_not_for_is_said_and_the_rest_goes_on(tokens: Tokens, closed: httpx.Client, browser: Browser) -> None:
    (_, other), (identity, text) = made(tokens, "write"), made(tokens, "read")
    visitor = Visitor(browser, str(closed.base_url))
    page = await visitor.open("/explore?view=concurrents")
    await give(page, "mq_000000000000_" + "x" * 43)
    await expect(page.get_by_role("alert")).to_have_text("This token is not known here, or it has been revoked.")
    await give(page, other)
    await expect(page.get_by_role("alert")).to_contain_text("is not for read")
    await give(page, text)
    await expect(panel(page, "concurrents")).to_be_visible()
    await page.goto("/pipeline")
    await expect(panel(page, "What became of every event").locator(".verdict")).to_be_visible()
    await expect(panel(page, "Workers and partitions").locator(".problem")).to_contain_text("is not for operate")
    await asyncio.to_thread(tokens.revoke, identity, 2)
    assert await asyncio.to_thread(wait_until, lambda: refuses(closed, text), 60)
    await page.goto("/title")
    await expect(page.get_by_role("alert")).to_have_text("This token is not known here, or it has been revoked.")
    await visitor.leave()

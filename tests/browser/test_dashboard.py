"""The dashboard in a real browser over the real stores: as things change, by keyboard, and when something is wrong."""

from __future__ import annotations

import asyncio
import contextlib
import re

import pytest
from playwright.async_api import Browser, expect

from tests.browser.browser import Visitor, drawn, panel
from tests.browser.conftest import Stage
from tests.serving.api.conftest import served
from tests.serving.test_answers import Cell, World, live, watched
from topologies.concurrents import CONCURRENTS
from topologies.view import MINUTE

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_a_change_is_pushed_to_the_open_page(stage: Stage, visitor: Visitor) -> None:
    await stage.show(live("a", 1_000_003), live("b", 1_000_005))  # more than any other test's
    page = await visitor.open("/")
    top = panel(page, "Top 10")
    await expect(top.locator("tbody th").first).to_have_text("b")
    await expect(top.locator(".chip")).to_have_text(re.compile("live|stale"))
    link = top.get_by_role("link", name="a", exact=True)
    await link.focus()
    await stage.show(live("a", 1_000_009), live("b", 1_000_005))
    await expect(top.locator("tbody th").first).to_have_text("a")
    await expect(top.locator("tbody td.number").first).to_have_text("1,000,009")
    await expect(link).to_be_focused()  # though its row has moved


async def test_each_panel_says_as_of_when_it_is_and_what_that_is_worth(stage: Stage, visitor: Visitor) -> None:
    minute_ms = (stage.clock_ms() // 60_000 - 1) * 60_000
    await stage.show(live("worth", 3), Cell(CONCURRENTS, MINUTE, minute_ms, 3, (), (3,)))
    page = await visitor.open("/")
    standing = panel(page, "Top 10").locator(".standing")
    await expect(standing).to_contain_text("1 of 1 sources · provisional")
    await expect(standing.locator("time")).to_have_attribute("title", re.compile(r"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC$"))
    await expect(standing.locator(".chip")).to_have_text("stale")  # nobody moves this clock
    await expect(panel(page, "The last hour").get_by_role("img")).to_have_attribute(
        "aria-label", re.compile(r"^Viewers in .* last [0-9,]+$")
    )
    await stage.store_only(1)
    await expect(standing).to_contain_text("2 of 2 sources")
    await expect(standing.locator("details")).to_contain_text("not all of 1 of the 2 sources")


async def test_before_the_first_event_it_says_how_to_have_one_and_then_shows_it(world: World, browser: Browser) -> None:
    with served(world.settings) as api:
        visitor = Visitor(browser, str(api.base_url))
        page, pipeline = await visitor.open("/"), await visitor.open("/pipeline")
        for heading in ("Watching now", "Top 10", "Trending"):
            await expect(panel(page, heading)).to_contain_text("No event yet. Start a load: marquee load")
        await expect(pipeline.locator("main")).to_contain_text("No worker has a partition. Start one: marquee worker")
        await world.both(world.status(0), [live("first", 1)])
        await expect(panel(page, "Top 10").locator("tbody th")).to_have_text("first")
        await visitor.leave()


async def test_a_mistake_is_shown_with_what_to_do(stage: Stage, visitor: Visitor) -> None:
    await stage.show(live("mistake", 3))
    page = await visitor.open("/explore?view=concurrents&by=title,region")
    await expect(page.locator(".problem")).to_contain_text("is not kept by region and title together; it is kept by title")
    assert all("400" in said for said in visitor.complaints)
    visitor.complaints.clear()  # the browser's own word for it
    await page.get_by_role("group", name="region").get_by_label("a row for each").uncheck()
    await expect(panel(page, "concurrents").get_by_role("cell", name="mistake", exact=True)).to_be_visible()
    await expect(page.locator(".problem")).to_have_count(0)


async def test_what_is_asked_in_explore_is_in_its_address_and_can_be_taken_along(stage: Stage, visitor: Visitor) -> None:
    await stage.show(watched("a", "taken", 5_000), watched("b", "taken", 7_000), watched("b", "left", 1))
    page = await visitor.open("/explore?view=watch_time")
    await page.get_by_role("group", name="region").get_by_label("or only").fill("taken")
    await page.get_by_role("button", name="Ask").click()
    shown = panel(page, "watch_time")
    await expect(shown.locator("tbody tr")).to_have_count(2)
    assert "region=taken" in page.url
    await page.goto(page.url)
    await expect(shown.locator("tbody tr")).to_have_count(2)
    async with page.expect_download() as coming:
        await shown.get_by_role("link", name="CSV").click()
    path = await (await coming.value).path()
    lines = (await asyncio.to_thread(path.read_text)).splitlines()
    assert lines == ["title,region,watched_ms,plays,attempts", "b,taken,7000,1,1", "a,taken,5000,1,1"]
    await page.get_by_label("Show").select_option("chart")
    await expect(shown.locator(".bar")).to_have_count(2)
    assert "show=chart" in page.url


async def test_the_keyboard_is_enough(stage: Stage, visitor: Visitor) -> None:
    await stage.show(live("keys", 3))
    page = await visitor.open("/")
    await drawn(page)
    await page.keyboard.press("Tab")
    await expect(page.get_by_role("link", name="Skip to the content")).to_be_focused()
    await page.keyboard.press("Enter")
    await expect(page.locator("main")).to_be_focused()
    await page.goto("/")
    reached = []
    for _ in range(8):
        await page.keyboard.press("Tab")
        reached.append(await page.evaluate("() => document.activeElement.textContent"))
    assert reached == ["Skip to the content", "Marquee", "Now", "Title", "Quality", "Pipeline", "Explore", "Theme: auto"]
    outline = await page.evaluate("() => getComputedStyle(document.activeElement).outlineStyle")
    assert outline == "solid"
    await page.keyboard.press("Enter")
    assert await page.evaluate("() => document.documentElement.dataset.theme") == "dark"
    await page.keyboard.press("Shift+Tab")
    await page.keyboard.press("Enter")
    await expect(page).to_have_title("Explore · Marquee")
    assert await page.evaluate("() => document.documentElement.dataset.theme") == "dark"


async def test_a_server_that_is_gone_is_said_and_one_that_is_back_is_found(stage: Stage, browser: Browser) -> None:
    await stage.show(live("cut", 2_000_003))
    settings = stage.world.settings
    with contextlib.ExitStack() as first:
        api = first.enter_context(served(settings))
        port = api.base_url.port
        assert port is not None
        visitor = Visitor(browser, str(api.base_url))
        page = await visitor.open("/")
        number = panel(page, "Top 10").locator("tbody td.number").first
        await expect(number).to_have_text("2,000,003")
        await asyncio.to_thread(first.close)
        await expect(page.get_by_role("status").first).to_contain_text("Cut off from the server")
        await expect(panel(page, "Top 10").locator(".chip")).to_have_text("cut off, trying again")
        await expect(number).to_have_text("2,000,003")  # as of then
        await stage.show(live("cut", 2_000_004))
        with served(settings, port):
            await expect(number).to_have_text("2,000,004")
            await expect(page.get_by_role("status").first).to_contain_text("The numbers stand still since")  # nobody moves this clock
            await visitor.leave()
    await stage.show(live("cut", 0))


async def test_on_loopback_it_says_that_no_token_is_needed(visitor: Visitor) -> None:
    page = await visitor.open("/explore")
    await expect(page.get_by_role("contentinfo")).to_contain_text("No token is needed here: only this machine is served.")


PIECES = """async (pieces) => {
    const { Parser } = await import("/assets/dashboard/stream.js");
    const parser = new Parser();
    return [pieces.flatMap((piece) => parser.take(piece)), parser.id, parser.retryMs];
}"""


async def test_a_stream_is_read_whatever_pieces_it_comes_in(visitor: Visitor) -> None:
    page = await visitor.open("/explore")
    text = 'retry: 250\r\n\r\nid: W/"1"\nevent: answer\ndata: {"a":\ndata:1}\n\n: alive\n\nnothing: of this\ndata\rid: 2\r\r'
    events = [{"name": "answer", "data": '{"a":\n1}'}, {"name": "message", "data": ""}]
    for size in (1, 2, 3, 5, 7, len(text)):
        pieces = [text[at : at + size] for at in range(0, len(text), size)]
        assert await page.evaluate(PIECES, pieces) == [events, "2", 250], size
    assert await page.evaluate(PIECES, ["data: not whole\nid: 3"]) == [[], None, None]

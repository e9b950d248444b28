"""The dashboard in a real browser over the real stores: every page, by day and by night, on a phone, by keyboard, and as things change."""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator

import httpx
import pytest
from playwright.async_api import expect

from serving.api.pages import PAGES
from tests.browser.browser import Visitor, drawn, panel, visiting
from tests.serving.api.conftest import served
from tests.serving.test_answers import World, live, watched


@pytest.fixture
async def visitor(api: httpx.Client) -> AsyncIterator[Visitor]:
    """Somebody at the dashboard of `world`."""
    async with visiting(str(api.base_url)) as visitor:
        yield visitor
        assert (visitor.strangers, visitor.complaints) == ([], [])


async def test_a_change_is_pushed_to_the_open_page(world: World, visitor: Visitor) -> None:
    await world.both(world.status(0), [live("a", 3), live("b", 5)])
    page = await visitor.open("/")
    top = panel(page, "Top 10")
    await expect(top.locator("tbody tr")).to_have_count(2)
    assert await top.locator("tbody th").all_inner_texts() == ["b", "a"]
    await expect(top.locator(".chip")).to_have_text(re.compile("live|stale"))
    link = top.get_by_role("link", name="a", exact=True)
    await link.focus()
    await world.both(world.status(0, 200), [live("a", 9), live("b", 5)])
    await expect(top.locator("tbody th").first).to_have_text("a")
    await expect(top.locator("tbody td.number").first).to_have_text("9")
    await expect(link).to_be_focused()  # though its row has moved


async def test_each_panel_says_as_of_when_it_is_and_what_that_is_worth(world: World, visitor: Visitor) -> None:
    await world.both(world.status(0), [live("a", 3)])
    page = await visitor.open("/")
    standing = panel(page, "Top 10").locator(".standing")
    await expect(standing).to_contain_text("1 of 1 sources · provisional")
    await expect(standing.locator("time")).to_have_attribute("title", re.compile(r"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC$"))
    await expect(standing.locator(".chip")).to_have_text("stale")  # nobody moves this clock
    await world.store(world.status(1), [])  # a source that Redis has not heard of
    await expect(standing).to_contain_text("2 of 2 sources")
    await expect(standing.locator("details")).to_contain_text("not all of 1 of the 2 sources")


async def test_before_the_first_event_it_says_how_to_have_one(visitor: Visitor) -> None:
    page = await visitor.open("/")
    for heading in ("Watching now", "Top 10", "Trending"):
        await expect(panel(page, heading)).to_contain_text("No event yet. Start a load: marquee load")
    await page.goto("/pipeline")
    await expect(page.locator("main")).to_contain_text("No worker has a partition. Start one: marquee worker")


async def test_a_mistake_is_shown_with_what_to_do(world: World, visitor: Visitor) -> None:
    await world.both(world.status(0), [live("a", 3)])
    page = await visitor.open("/explore?view=concurrents&by=title,region")
    await expect(page.locator(".problem")).to_contain_text("is not kept by region and title together; it is kept by title")
    assert all("400" in said for said in visitor.complaints)
    visitor.complaints.clear()  # the browser's own word for it
    await page.get_by_role("group", name="region").get_by_label("a row for each").uncheck()
    await expect(panel(page, "concurrents").locator("tbody th, tbody td").first).to_have_text("a")
    await expect(page.locator(".problem")).to_have_count(0)


async def test_what_is_asked_in_explore_is_in_its_address_and_can_be_taken_along(world: World, visitor: Visitor) -> None:
    await world.both(world.status(0), [watched("a", "eu", 5_000), watched("b", "eu", 7_000), watched("b", "us", 1)])
    page = await visitor.open("/explore?view=watch_time")
    await page.get_by_role("group", name="region").get_by_label("or only").fill("eu")
    await page.get_by_role("button", name="Ask").click()
    shown = panel(page, "watch_time")
    await expect(shown.locator("tbody tr")).to_have_count(2)
    assert "region=eu" in page.url
    await page.goto(page.url)
    await expect(shown.locator("tbody tr")).to_have_count(2)
    async with page.expect_download() as coming:
        await shown.get_by_role("link", name="CSV").click()
    path = await (await coming.value).path()
    lines = (await asyncio.to_thread(path.read_text)).splitlines()
    assert lines == ["title,region,watched_ms,plays,attempts", "b,eu,7000,1,1", "a,eu,5000,1,1"]
    await page.get_by_label("Show").select_option("chart")
    await expect(shown.locator(".bar")).to_have_count(2)
    assert "show=chart" in page.url


async def test_the_keyboard_is_enough(world: World, visitor: Visitor) -> None:
    await world.both(world.status(0), [live("a", 3)])
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


async def test_a_server_that_is_gone_is_said_and_one_that_is_back_is_found(world: World) -> None:
    await world.both(world.status(0), [live("a", 3)])
    with contextlib.ExitStack() as first:
        api = first.enter_context(served(world.settings))
        port = api.base_url.port
        assert port is not None
        async with visiting(str(api.base_url)) as visitor:
            page = await visitor.open("/")
            await expect(panel(page, "Top 10").locator("tbody td.number").first).to_have_text("3")
            await asyncio.to_thread(first.close)
            await expect(page.get_by_role("status").first).to_contain_text("Cut off from the server")
            await expect(panel(page, "Top 10").locator(".chip")).to_have_text("cut off, trying again")
            await expect(panel(page, "Top 10").locator("tbody td.number").first).to_have_text("3")  # as of then
            await world.both(world.status(0, 200), [live("a", 4)])
            with served(world.settings, port):
                await expect(panel(page, "Top 10").locator("tbody td.number").first).to_have_text("4")
                await expect(page.get_by_role("status").first).to_have_text("")
                await page.context.close()


def test_pages_are_guarded_kept_by_their_tags_and_load_nothing_of_others(api: httpx.Client) -> None:
    for path in PAGES:
        answer = api.get(path)
        assert answer.status_code == 200
        assert "default-src 'self'" in answer.headers["content-security-policy"]
        assert "unsafe" not in answer.headers["content-security-policy"]
        assert answer.headers["x-content-type-options"] == "nosniff"
        again = api.get(path, headers={"If-None-Match": answer.headers["etag"]})
        assert (again.status_code, again.content) == (304, b"")
    loaded = re.findall(r'(?:src|href)="(/assets/[^"]+)"', api.get("/").text)
    answers = [api.get(path) for path in loaded]
    assert {answer.status_code for answer in answers} == {200}
    assert {answer.headers["content-encoding"] for answer in answers if len(answer.content) > 1_000} == {"gzip"}
    assert sum(int(answer.headers["content-length"]) for answer in answers) < 64 << 10  # what a page costs, all of it
    assert api.get("/assets/../serving/api/pages.py").status_code == 404
    assert api.get("/assets/%2e%2e/api/pages.py").status_code == 404
    assert api.get("/assets/dashboard/nothing.js").status_code == 404

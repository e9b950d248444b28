"""The dashboard over workers and a load: every page has its numbers, for everybody, and shows workers come and go before one's eyes."""

from __future__ import annotations

import asyncio
import dataclasses
import re
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, quote, urlsplit

import httpx
import pytest
from playwright.async_api import Page, expect

from cluster.supervisor import Workers
from connectors.kafka import ensure_topics
from loadgen.load import LoadOptions, run_load
from tests.browser.browser import DESK, PHONE, Visitor, drawn, grave_findings, panel, too_wide_px, visiting
from tests.serving.api.conftest import served
from topologies.settings import Settings


@dataclasses.dataclass
class Running:
    """Workers under a load that goes on, and the API beside them."""

    workers: Workers
    address: str
    title: str


SINCE_MS = 1_790_000_000_000


def roster() -> dict[str, Any]:
    """Of an autoscaler that leads and a worker that vanished."""

    def one(name: str, role: str, vanished_s: float | None = None, *, leader: bool = False) -> dict[str, Any]:
        where = {"id": name, "role": role, "address": "http://127.0.0.1:9", "version": "0.1.0"}
        return {**where, "load": 0.42, "since_ms": SINCE_MS, "leader": leader, "vanished_s": vanished_s}

    return {
        "answers": True,
        "heard_s": 0.2,
        "members": [one("worker-0", "worker"), one("worker-9", "worker", 61.0), one("scaler-0", "autoscaler", leader=True)],
        "leader": {"epoch": 3, "id": "scaler-0", "since_ms": SINCE_MS},
        "workers": {"running": 1, "wanted": 4, "why": "up for lag", "ordered_ms": SINCE_MS},
    }


@pytest.fixture
def running(all_views: Settings, tmp_path: Path) -> Iterator[Running]:
    kafka = dataclasses.replace(all_views.kafka, partitions=2, session_timeout_s=6.0)  # who is killed is missed soon
    settings = dataclasses.replace(all_views, kafka=kafka, worker=dataclasses.replace(all_views.worker, cassandra_flush_s=0.5))
    ensure_topics(settings)
    enough = threading.Event()
    failures: list[Exception] = []

    def load() -> None:
        options = LoadOptions(duration_s=900, rate=150, titles=12, run="tour", faults="duplicates,late,malformed", processes=1)
        try:
            run_load(settings, options, lambda _: None, enough.is_set)
        except Exception as error:  # noqa: BLE001  # told by the thread that waits for it
            failures.append(error)

    with Workers(settings, 1, tmp_path) as workers, served(settings, roster=roster) as api:
        driving = threading.Thread(target=load)
        driving.start()
        try:
            workers.wait_ready()
            yield Running(workers, str(api.base_url), _first_title(api))
        finally:
            enough.set()
            driving.join(120)
        assert failures == []


def _first_title(api: httpx.Client) -> str:
    """One that is watched, as soon as any is."""
    with api.stream("GET", "/v1/views/concurrents/stream?top=10") as answer:
        for line in answer.iter_lines():
            if titles := re.findall(r'"title":"([^"]+)"', line):
                return str(titles[0])
    raise AssertionError("the stream ended before anybody watched anything")


async def test_every_page_shows_a_load_to_everybody_and_workers_that_come_and_go(running: Running) -> None:
    async with visiting(running.address) as visitor:
        pipeline = await visitor.open("/pipeline")
        first, second = (pipeline.locator(f'[data-worker="worker-{index}"]') for index in (0, 1))
        await expect(first.locator(".chip")).to_have_text("alive")
        await asyncio.to_thread(running.workers.add)  # it comes while the other pages are looked at
        await _numbers_are_there(visitor, running.title)
        for path in ("/explore", "/explore?view=sessions", "/explore?view=quality&by=cdn&show=chart"):
            await _everybody_can_use(await visitor.open(path), path)
        await _every_view_can_be_explored(visitor)
        await expect(second.locator(".chip")).to_have_text("alive")
        await _equation_holds(pipeline)
        await _members_are_told(pipeline)
        await asyncio.to_thread(running.workers.kill, 0)
        await expect(first.locator(".chip")).to_have_text("silent")
        await expect(first.locator(".chip")).to_have_text("gone")
        for said in ("worker-1 has come", "worker-0 is silent", "worker-0 is gone"):
            await expect(pipeline.get_by_role("log")).to_contain_text(said)
        await _everybody_can_use(pipeline, "/pipeline")
        assert (visitor.strangers, visitor.complaints) == ([], [])


async def _members_are_told(page: Page) -> None:
    members = panel(page, "Members")
    await expect(members).to_contain_text(re.compile("1 worker runs, 4 wanted \\(up for lag, .+\\); scaler-0 leads in epoch 3, since"))
    rows = members.locator("tbody tr")
    await expect(rows).to_have_count(3)
    await expect(rows.nth(0)).to_contain_text("0.42")
    await expect(rows.nth(1)).to_contain_text(re.compile("vanished .+ ago"))
    await expect(rows.nth(2)).to_contain_text("leads")


async def _numbers_are_there(visitor: Visitor, title: str) -> None:
    page = await visitor.open("/")
    await expect(panel(page, "Watching now").locator(".big")).to_have_text(re.compile(r"^[1-9][0-9,]*$"))
    await expect(panel(page, "By region").locator("tbody tr")).not_to_have_count(0)
    await expect(panel(page, "Trending").locator("tbody tr")).not_to_have_count(0)
    await _everybody_can_use(page, "/")
    await panel(page, "Top 10").get_by_role("link").first.click()
    await expect(page).to_have_title(re.compile(".+ · Marquee"))
    await page.goto(f"/title?title={quote(title)}")
    await expect(page.locator("h1")).to_have_text(title)
    for heading in ("Watched, last 24 hours", "Audience, last 24 hours"):
        await expect(panel(page, heading).get_by_role("img").first).to_have_attribute("aria-label", re.compile(" to .*last "))
    await expect(panel(page, "Where, today (UTC)").locator("tbody tr")).not_to_have_count(0)
    await _everybody_can_use(page, "/title")
    await page.goto("/quality")
    field = panel(page, "CDN × region").get_by_role("button").first
    await expect(field).to_have_text(re.compile("%$|^–$"))
    await page.get_by_label("Show").select_option("startup_p95")
    await expect(panel(page, "CDN × region").get_by_role("button", name=re.compile("s$")).first).to_be_visible()
    await field.click()
    await expect(field).to_have_attribute("aria-pressed", "true")
    asked = parse_qs(urlsplit(page.url).query)
    assert (asked["measure"], set(asked)) == (["startup_p95"], {"span", "measure", "cdn", "region"})
    await expect(page.get_by_role("img", name=re.compile("^Startup by the minute"))).to_be_visible()
    await _everybody_can_use(page, "/quality")
    await page.context.close()


async def _everybody_can_use(page: Page, path: str) -> None:
    """By day and by night, at a desk and on a phone."""
    await drawn(page)
    for details in await page.locator(".rows > summary:visible").all():
        await details.click()
    assert await grave_findings(page) == [], path
    await page.emulate_media(color_scheme="dark")
    await page.set_viewport_size(PHONE)
    assert await grave_findings(page) == [], path
    assert await too_wide_px(page) <= 0, path
    await page.emulate_media(color_scheme="light")
    await page.set_viewport_size(DESK)


async def _equation_holds(page: Page) -> None:
    shown = panel(page, "What became of every event")
    await expect(shown.locator(".verdict")).to_have_text("✓ it holds at every one of 2 partitions")
    await expect(shown.locator(".term", has_text="dead").locator("strong")).not_to_have_text("0")
    received, *classes = [int(text.replace(",", "")) for text in await shown.locator(".term strong").all_inner_texts()]
    assert received == sum(classes) > 0
    rows = panel(page, "Workers and partitions").get_by_role("table").first.locator("tbody tr")
    await expect(rows.first).to_contain_text("✓ yes")
    await expect(rows.first).to_contain_text("worker-")


async def _every_view_can_be_explored(visitor: Visitor) -> None:
    page = await visitor.open("/explore")
    await expect(page.locator(".views dt").first).to_be_visible()
    names = await page.locator(".views dt").all_inner_texts()
    assert {"concurrents", "trending", "accounting", "continue_watching"} < set(names)
    for name in names:
        await page.get_by_role("navigation", name="Views").get_by_role("link", name=name, exact=True).click()
        await expect(page).to_have_url(re.compile(f"view={name}"))
        await expect(page.get_by_role("button", name="Ask")).to_be_visible()
        if name != "continue_watching":  # which is a profile's
            await drawn(page)
            await expect(page.locator(".problem")).to_have_count(0)
    await page.context.close()

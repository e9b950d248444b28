"""`scripts/bench pages`: how soon each page of the dashboard is alive in a browser that has nothing of it yet, and how soon Pipeline shows
that a worker was killed; both under a load, with servers, workers, load and browser on one machine.

answered  from the navigation's start until every panel shows an answer
drawn     until its charts and sparklines are drawn too
loaded    until document and scripts are there (DOMContentLoaded)
"""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any, Final
from urllib.parse import quote

import click
import httpx
from playwright.async_api import expect

from cluster.process import wait_until
from cluster.supervisor import Workers
from loadgen.load import LoadOptions, run_load, shape_of
from marquee.arena import arena, cluster_option, show
from marquee.benches.query import SETTLE_S
from marquee.door import Door
from marquee.invocation import Invocation
from marquee.numbers import FiniteRange
from marquee.output import json_option, say
from tests.browser.browser import Visitor, most_watched, visiting
from topologies.errors import MarqueeError

WORKERS: Final = 2
LOAD_S: Final = 900.0
"""Longer than all of it takes: a load is planned before it begins, which takes the longer the more it is."""
PATHS: Final = {
    "now": "/",
    "title": "/title?title={title}",
    "quality": "/quality",
    "pipeline": "/pipeline",
    "explore": "/explore?view=sessions",
}
WATCH: Final = """
(() => {
  const moments = (window.moments = { shift: 0 });
  const alive = () => document.querySelector("main[data-open] .panel") && !document.querySelector(".panel.awaited");
  const drawn = () =>
    ![...document.querySelectorAll(".plot")].some((plot) => plot.clientWidth > 0 && !plot.querySelector("canvas")) &&
    !document.querySelector('.spark[aria-label^="not known"]');
  const look = () => {
    if (moments.answered === undefined && alive()) moments.answered = performance.now();
    if (moments.drawn === undefined && moments.answered !== undefined && drawn()) {
      moments.drawn = performance.now();
      document.documentElement.dataset.drawn = "";
    }
  };
  new MutationObserver(look).observe(document, { subtree: true, childList: true, attributes: true });
  const shifted = (seen) => seen.getEntries().forEach((one) => (moments.shift += one.value));
  new PerformanceObserver(shifted).observe({ type: "layout-shift", buffered: true });
})();
"""
"""Notes in the page itself when it is so; its document is not there yet when this runs. shift: the cumulative layout shift."""
MOMENTS: Final = "() => ({ ...window.moments, loaded: performance.getEntriesByType('navigation')[0].domContentLoadedEventEnd })"
CHIPS: Final = """
(() => {
  const states = (window.states = {});
  const look = () => {
    for (const one of document.querySelectorAll("[data-worker]")) {
      const state = `${one.dataset.worker} ${one.querySelector(".chip").textContent}`;
      states[state] ??= Date.now();
    }
  };
  new MutationObserver(look).observe(document, { subtree: true, childList: true, characterData: true });
})();
"""
"""Notes when each worker was first shown in each state, epoch ms."""


@click.command()
@click.option("--rate", type=FiniteRange(min=1), default=5_000.0, show_default=True, help="Events a second that flow meanwhile.")
@click.option("--loads", type=click.IntRange(1), default=10, show_default=True, help="How often each page is opened.")
@click.option("--kills", type=click.IntRange(1), default=3, show_default=True, help="How often a worker is killed.")
@cluster_option
@json_option
def pages(rate: float, loads: int, kills: int, given: bool, as_json: bool) -> None:
    """Open every page again and again, each time in a context that has nothing cached; then kill a worker by SIGKILL under an open page."""
    load = LoadOptions(rate=rate, duration_s=LOAD_S)
    shape_of(load)
    settings = Invocation().settings
    everything = replace(settings, worker=replace(settings.worker, views=()))
    with arena(everything, "pages", given, short_lived=False) as (running, directory, _), Workers(running, WORKERS, directory) as workers:
        workers.wait_ready(progress=say)
        enough: list[bool] = []
        with Door(running, directory / "api", "api") as api, ThreadPoolExecutor(1) as driver:
            driven = driver.submit(run_load, running, load, lambda _: None, lambda: bool(enough))
            try:
                if not wait_until(lambda: driven.done() or watched(api.url), 10 * SETTLE_S, every_s=1.0):
                    raise MarqueeError("nobody watches anything: the load has not begun")
                if driven.done():
                    raise MarqueeError("the load ended before anything was measured") from driven.exception()
                time.sleep(SETTLE_S)
                measured = asyncio.run(_measured(api.url, workers, loads, kills))
            finally:
                enough.append(True)
            late = driven.result().late_sends
            document = {**measured, "rate": rate, "workers": WORKERS, "loads": loads, "kills": kills, "late_sends": late}
    show(document, as_json)


async def _measured(address: str, workers: Workers, loads: int, kills: int) -> dict[str, Any]:
    title = quote(await asyncio.to_thread(most_watched, address))
    async with visiting(address) as visitor:
        opened: dict[str, list[dict[str, float]]] = {name: [] for name in PATHS}
        for nth in range(loads):
            say(f"opening every page, {nth + 1} of {loads}")
            for name, path in PATHS.items():
                opened[name].append(await _open(visitor, path.format(title=title)))
        say("killing workers")
        shown = [await _kill(visitor, address, workers, nth % WORKERS) for nth in range(kills)]
        if visitor.complaints:
            raise MarqueeError(f"the browser complained: {visitor.complaints[0]}")
    moments = ("answered", "drawn", "loaded")
    return {
        **{f"{moment}_ms": {name: summary([one[moment] for one in found]) for name, found in opened.items()} for moment in moments},
        "layout_shift": {name: round(max(one["shift"] for one in found), 4) for name, found in opened.items()},
        **{f"{state}_s": summary([one[state] for one in shown], 2) for state in ("silent", "gone")},
    }


def watched(address: str) -> bool:
    """Whether somebody watched something in a whole minute: then there is something to draw."""
    return bool(httpx.get(f"{address}/v1/views/concurrents", params={"window": "minute"}, timeout=30).json()["cells"])


def summary(values: Sequence[float], digits: int = 0) -> dict[str, float]:
    """Median and greatest."""
    return {"median": round(statistics.median(values), digits or None), "max": round(max(values), digits or None)}


async def _open(visitor: Visitor, path: str) -> dict[str, float]:
    """Opens the page once; ms from the navigation's start, by the page's own clock."""
    page = await visitor.open(path, script=WATCH)
    await expect(page.locator("html[data-drawn]")).to_have_count(1)
    if await page.locator(".problem").count():
        raise MarqueeError(f"{path} shows a problem: {await page.locator('.problem').first.inner_text()}")
    moments: dict[str, float] = await page.evaluate(MOMENTS)
    await visitor.leave()
    return moments


async def _kill(visitor: Visitor, address: str, workers: Workers, index: int) -> dict[str, float]:
    """Kills that worker under an open page and starts it again; seconds until it was shown as silent, and as gone."""
    name = workers[index].name
    await asyncio.to_thread(_settled, address)
    page = await visitor.open("/pipeline", script=CHIPS)
    for worker in range(WORKERS):
        await expect(page.locator(f'[data-worker="{workers[worker].name}"] .chip')).to_have_text("alive")
    killed_ms = time.time() * 1000
    await asyncio.to_thread(workers.kill, index)
    found = {}
    for state in ("silent", "gone"):
        await expect(page.locator(f'[data-worker="{name}"] .chip')).to_have_text(state)
        since_ms: float = await page.evaluate("(state) => window.states[state]", f"{name} {state}")
        found[state] = (since_ms - killed_ms) / 1000
    await visitor.leave()
    workers.restart(index)
    await asyncio.to_thread(workers.wait_ready)
    return found


def _settled(address: str) -> None:
    """Returns when every worker has partitions and is heard of. Raises MarqueeError when that takes minutes."""
    for _ in range(240):
        found = httpx.get(f"{address}/v1/status", timeout=30).json()["workers"]
        if sum(1 for worker in found if worker["heard_s"] is not None and worker["heard_s"] < 3) == WORKERS:
            return
        time.sleep(0.5)
    raise MarqueeError("the workers did not come back")


if __name__ == "__main__":
    pages()

"""`marquee bench query`: questions over HTTP while events flow, from each place that an answer comes from."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final

import click

from cluster.process import wait_until
from cluster.supervisor import Workers
from connectors.cassandra import close, connect
from connectors.cassandra_schema import ensure_schema
from loadgen.load import LoadOptions, run_load, shape_of
from marquee.arena import apart, arena, cluster_option, show
from marquee.catching_up import catch_up
from marquee.door import Door
from marquee.http_load import Clients, Course, get
from marquee.invocation import Invocation, pass_invocation
from marquee.numbers import FiniteRange
from marquee.output import json_option, say
from marquee.series import HOUR_MS, HOURS, store_month
from marquee.under_load import must_flow, under_load
from serving.answers import ask
from serving.questions import Question
from serving.stores import Stores
from topologies.errors import MarqueeError
from topologies.settings import Settings
from topologies.sketch_packs import decode_cells
from topologies.view import parts_of
from topologies.views import every_part, selected

EACH_S: Final = 12.0
"""Each kind of question is asked for so long."""
CONNECTIONS: Final = 16
SERIES_TITLES: Final = 60
SERIES_RATE: Final = 10.0
"""Questions a second for a month of hours: with each title once they are cold, asked again they are warm."""
REGIONS: Final = 6
LIVE_TITLES: Final = 200
STORED_H: Final = 6
SETTLE_S: Final = 20.0
"""From the load's begin until its viewers are there and its rate is its own."""


@click.command()
@click.option("--rate", type=FiniteRange(min=1), default=200.0, show_default=True, help="Requests a second of points and lists.")
@click.option("--load-rate", type=FiniteRange(min=1), default=20_000.0, show_default=True, help="Events a second that flow meanwhile.")
@click.option("--stored-events", type=click.IntRange(min=1), default=4_000_000, show_default=True, help="Events of the hours before.")
@cluster_option
@json_option
@pass_invocation
def query(invocation: Invocation, rate: float, load_rate: float, stored_events: int, given: bool, as_json: bool) -> int:
    """Ask one API process for points, lists and series at a fixed rate, and then as much as it gives; all views are computed meanwhile.

    redis: a title's viewers now. past_hour: an hour that has become final, of the same titles over and over. cassandra: a title's hour of
    the past month, each asked for once. top: the ten titles with most viewers. series: a title's 720 hours out of final rows, cold and
    warm. throughput: one point, over and over, by the CPU of the API's process. A request's time counts from when it was to be sent, by a
    client of its own that weighs as much as the API.

    \b
    Examples:
      marquee bench query
      marquee bench query --load-rate 5000 --json
    """
    duration_s = SETTLE_S + 6 * EACH_S + 60.0
    live = LoadOptions(rate=load_rate, duration_s=duration_s)
    stored = LoadOptions(events=stored_events, backfill_s=STORED_H * 3600.0, format="arrow")
    shape_of(live)
    shape_of(stored)
    everything = replace(invocation.settings, worker=replace(invocation.settings.worker, views=()))
    with arena(everything, "query", given, short_lived=False) as (settings, directory, _), Workers(settings, 1, directory) as workers:
        workers.wait_ready(progress=say)
        say(f"storing the cells of {stored_events:,} events")
        run = run_load(settings, stored, lambda _: None)
        catch_up(settings, run.topic, lambda _: None)
        month = apart(settings, "month")
        end_ms = _stored_month(month)
        with (
            Door(settings, directory / "api", "api") as api,
            Door(month, directory / "month", "api") as history,
            under_load(settings, live) as driven,
            Clients() as clients,
        ):
            measured = _measured(settings, clients, api, history, end_ms, rate)
            must_flow(driven, "the last question")
            late = driven.result().late_sends
        show({**measured, "rate": rate, "load_rate": load_rate, "late_sends": late, "cells": _cells(settings)}, as_json)
    return 0


def _stored_month(settings: Settings) -> int:
    """Stores a month of hours apart from what flows, and says when it ended, epoch ms."""
    end_ms = (int(time.time() * 1000) // HOUR_MS - 2) * HOUR_MS
    session = connect(settings.cassandra)
    try:
        ensure_schema(session, settings.cassandra, every_part())
        asyncio.run(store_month(settings, session, end_ms, SERIES_TITLES, REGIONS))
    finally:
        close(session)
    return end_ms


def _measured(settings: Settings, clients: Clients, api: Door, history: Door, end_ms: int, rate: float) -> dict[str, Any]:
    port, titles = api.port, _live_titles(settings)
    points = [get(port, f"/v1/views/concurrents?title={title}") for title in titles]
    hour = (int(time.time()) // 3600 - 2) * 3600
    past = [get(port, f"/v1/views/sessions?title={title}&from={hour}&to={hour + 3600}") for title in titles]
    top = [get(port, "/v1/views/concurrents?top=10")]
    span = f"from={end_ms - HOURS * HOUR_MS}&to={end_ms}"
    hours = [get(history.port, _hour(end_ms, number)) for number in range(int(rate * EACH_S))]
    series = [get(history.port, f"/v1/views/watch_time?title=t{title:05}&{span}") for title in range(SERIES_TITLES)]
    found: dict[str, Course] = {}
    every = {"redis": (port, points), "past_hour": (port, past), "cassandra": (history.port, hours), "top": (port, top)}
    for name, (asked, requests) in every.items():
        say(name)
        found[name] = clients.drive(asked, requests, CONNECTIONS, EACH_S, rate)
    for name in ("series_cold", "series_warm"):
        say(name)
        found[name] = clients.drive(history.port, series, CONNECTIONS, SERIES_TITLES / SERIES_RATE, SERIES_RATE)
    say("throughput")
    before = api.cpu_s()
    most = clients.drive(port, points[:1], CONNECTIONS, EACH_S)
    cpu_s = api.cpu_s() - before
    return {
        **{name: course.document() for name, course in found.items()},
        "throughput": most.document() | {"requests_per_core_second": round(len(most.latencies_ms) / max(cpu_s, 0.01))},
        "errors": sum(course.errors for course in (*found.values(), most)),
    }


def _hour(end_ms: int, number: int) -> str:
    """The address of an hour of a title, another one for each number, one title and day after the other."""
    title, hour = number % SERIES_TITLES, number // SERIES_TITLES * 25 % HOURS + 1
    return f"/v1/views/watch_time?title=t{title:05}&from={end_ms - hour * HOUR_MS}&to={end_ms - (hour - 1) * HOUR_MS}"


def _live_titles(settings: Settings) -> Sequence[str]:
    """Titles that somebody watches, once that many are watched or the load has settled."""
    titles: list[str] = []

    def watched() -> bool:
        with Stores(settings) as stores:
            titles[:] = [row.key[0] for row in ask(stores, Question("concurrents", top=LIVE_TITLES)).rows]
        return len(titles) >= LIVE_TITLES

    settled = time.monotonic() + SETTLE_S
    if not wait_until(lambda: watched() and time.monotonic() > settled, 10 * SETTLE_S, every_s=1.0) and not titles:
        raise MarqueeError("nobody watches anything: the load has not begun")
    return titles


def _cells(settings: Settings) -> int:
    """How many cells Cassandra has of all views, each source's counted by itself."""
    total = 0
    with Stores(settings) as stores:
        for view in parts_of(selected(settings.worker.views)):
            for window in view.windows:
                for pack_ms in stores.rows.pack_spans(view, window.name):
                    packs = stores.rows.packs(view, window.name, pack_ms)
                    total += sum(1 for pack in packs for _ in decode_cells(pack.blob))
    return total


COMMAND = query

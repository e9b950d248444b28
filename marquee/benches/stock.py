"""`marquee bench stock`: a stock Faust agent with a tumbling Table, and then one Marquee worker, on the same topic and the same core."""

from __future__ import annotations

import json
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any, Final

import click
import orjson
from confluent_kafka import Consumer, TopicPartition

from cluster.process import Guarded, wait_until
from cluster.supervisor import Workers
from connectors.kafka import client_options, partition_offsets
from loadgen.audit import audit
from loadgen.load import LoadOptions, run_load
from marquee.arena import arena, show, wait_durable, worker_cores
from marquee.invocation import Invocation, pass_invocation
from marquee.output import json_option, say
from topologies.errors import MarqueeError, SetupError
from topologies.settings import Settings

SCRIPT: Final = Path(__file__).resolve().parents[2] / "benchmarks" / "stock_faust.py"
SPAN_S: Final = 3600.0
HOUR_MS: Final = 3_600_000
PATIENCE_S: Final = 900.0
FETCHED: Final = 20_000
Cell = tuple[str, str, int]
"""Title, region, start of the hour in epoch ms."""


@click.command()
@click.option("--events", type=click.IntRange(min=1_000), default=100_000, show_default=True, help="How many events stock Faust reads.")
@click.option("--drained", type=click.IntRange(min=1_000), default=4_000_000, show_default=True, help="How many Marquee drains.")
@click.option("--seed", type=click.IntRange(min=0), default=1, show_default=True, help="Seed of the audience.")
@json_option
@pass_invocation
def stock(invocation: Invocation, events: int, drained: int, seed: int, as_json: bool) -> int:
    """Compare one Marquee worker, all stores and views on, with a stock Faust agent that computes one of those views and stores nothing.

    Both read the same topic of the same servers, in turn, pinned to the same core. Stock Faust reads only the beginning of it (--events),
    since it would take half an hour for all; its sums are compared with the log's. Marquee drains all of it and is audited.

    \b
    Examples:
      marquee bench stock
      marquee bench stock --events 50000 --drained 1000000 --json
    """
    if events > drained:
        raise click.UsageError("--events is at most --drained: stock Faust reads the beginning of what Marquee drains")
    if not SCRIPT.is_file():
        raise SetupError(f"{SCRIPT} is not there: run this from a checkout of the repository.")
    with arena(invocation.settings, "stock", given=False) as (settings, directory, _):
        say(f"preloading {drained:,} events")
        run = run_load(settings, LoadOptions(events=drained, backfill_s=SPAN_S, seed=seed), lambda _: None)
        theirs = run_stock(settings, run.topic, events, directory)
        equal = theirs["cells"] == watch_time_below(settings, run.topic, theirs["offsets"])
        ours = _marquee(settings, run.topic, directory)
        say("auditing")
        exact = audit(settings, run.name, say).proven
    stock_rate, marquee_rate = theirs["events"] / theirs["cpu_s"], run.generated / ours["cpu_s"]
    document = {
        "events_per_core_second": round(stock_rate),
        "marquee_events_per_core_second": round(marquee_rate),
        "ratio": round(marquee_rate / stock_rate, 1),
        "events": theirs["events"],
        "cpu_s": round(theirs["cpu_s"], 2),
        "wall_s": round(theirs["wall_s"], 2),
        "cells": len(theirs["cells"]),
        "cells_equal": equal,
        "marquee_events": run.generated,
        "marquee_cpu_s": round(ours["cpu_s"], 2),
        "marquee_views": list(settings.worker.views) or "all",
        "exact": exact,
        "note": f"stock Faust read the first {theirs['events']:,} of the {run.generated:,} events that Marquee drained",
    }
    show(document, as_json)
    return 0 if exact and equal else 1


def run_stock(settings: Settings, topic: str, events: int, directory: Path) -> dict[str, Any]:
    """The stock agent's report, its offsets by partition and its cells as {cell: sums}."""
    report, config = directory / "stock-report.json", directory / "stock-config.json"
    words = {
        "bootstrap": settings.kafka.bootstrap, "topic": topic, "partitions": settings.kafka.partitions, "group": "stock-faust",
        "directory": str(directory / "stock-faust"), "events": events, "report": str(report),
    }  # fmt: skip
    config.write_text(json.dumps(words))
    (directory / "logs").mkdir(exist_ok=True)
    log = directory / "logs" / "stock-faust.log"
    say(f"stock Faust reads {events:,} events")
    process = Guarded([sys.executable, str(SCRIPT), str(config)], log, cores=worker_cores()[:1])
    try:
        wait_until(lambda: report.exists() or not process.alive(), PATIENCE_S)
    finally:
        process.stop(15.0)
    if not report.exists():
        raise MarqueeError(f"stock Faust did not process {events:,} events; {log} says why")
    found: dict[str, Any] = json.loads(report.read_bytes())
    found["offsets"] = {int(partition): offset for partition, offset in found["offsets"].items()}
    found["cells"] = {(title, region, start_ms): tuple(sums) for title, region, start_ms, *sums in found["cells"]}
    return found


def watch_time_below(settings: Settings, topic: str, offsets: dict[int, int]) -> dict[Cell, tuple[int, ...]]:
    """What watch time of the log below these offsets is: plain sums of every event in it, which a run without faults has once."""
    sums: dict[Cell, list[int]] = defaultdict(lambda: [0, 0, 0])
    consumer = Consumer(client_options(settings.kafka) | {"group.id": "marquee-stock-truth", "enable.auto.commit": False})
    for partition, end in offsets.items():
        consumer.assign([TopicPartition(topic, partition, 0)])
        at = 0
        while at < end:
            for message in consumer.consume(FETCHED, 1.0):
                at = (message.offset() or 0) + 1
                if at <= end:
                    _add(sums, orjson.loads(message.value() or b""))
    consumer.close()
    return {cell: tuple(found) for cell, found in sums.items()}


def _add(sums: dict[Cell, list[int]], event: dict[str, Any]) -> None:
    if event["type"] == "tick":
        return
    added = (event.get("watched_ms") or 0, int(event["type"] == "play_start"), int(event["type"] == "play_request"))
    if any(added):
        found = sums[event["title"], event["region"], event["ts"] // HOUR_MS * HOUR_MS]
        for place, value in enumerate(added):
            found[place] += value


def _marquee(settings: Settings, topic: str, directory: Path) -> dict[str, float]:
    """One worker's CPU from the first event until cells and checkpoint of the last one are durable, seconds."""
    ends = sum(end for _, end in partition_offsets(settings, topic).values())
    say(f"Marquee drains {ends:,} records")
    with Workers(settings, 1, directory, cores=worker_cores()[:1]) as workers:
        workers.wait_ready(120.0)
        started = (workers.ready(0) or {})["cpu_s"]
        wait_durable(settings, topic, lambda _: None)
        return {"cpu_s": workers.cpu_seconds(0) - started}


COMMAND = stock

"""`marquee bench collector`: events by HTTP until Kafka has acknowledged them, in batches from keep-alive connections."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from typing import Final

import click

from cluster.ports import LOOPBACK
from connectors.kafka import partition_offsets
from marquee.arena import arena, cluster_option, servers_cpu_s, show, worker_cores
from marquee.door import Door
from marquee.http_load import drive
from marquee.invocation import Invocation, pass_invocation
from marquee.numbers import FiniteRange
from marquee.output import json_option
from topologies.settings import Settings

BODIES: Final = 200
"""So many different bodies are prepared, which are sent again and again: what is in them is new to workers only once."""
WARM_UP_S: Final = 2.0
ACCEPTED: Final = 202
_EVENT: Final = (
    '{"v":1,"type":"heartbeat","session":"%016x","seq":%d,"ts":%d,"account":"a-%07d","profile":"p1","title":"t%05d","region":"eu",'
    '"device":"tv","app":"tv-5.2","cdn":"cdn-a","position_s":%d,"watched_ms":10000,"stall_ms":0,"bitrate_kbps":4500,"dropped_frames":0}'
)


@click.command()
@click.option("--duration", "duration_s", type=FiniteRange(min=1), default=20.0, show_default=True, help="Seconds, behind a warm-up of 2.")
@click.option("--connections", type=click.IntRange(1, 1_000), default=8, show_default=True, help="Keep-alive connections.")
@click.option("--batch", type=click.IntRange(1, 10_000), default=100, show_default=True, help="Events a request.")
@click.option("--rate", type=FiniteRange(min=1), help="Events a second in open loop; as fast as answers come unless given.")
@click.option(
    "--skew", "skew_s", type=FiniteRange(-3_600, 3_600), default=0.0, show_default=True, help="Players' clocks are off by so much, s."
)
@cluster_option
@json_option
@pass_invocation
def collector(
    invocation: Invocation,
    duration_s: float,
    connections: int,
    batch: int,
    rate: float | None,
    skew_s: float,
    given: bool,
    as_json: bool,
) -> int:
    """Post batches of events and measure the collector's CPU and the time to each acknowledgement.

    With --rate a request's time counts from when it was to be sent. The collector has a core of its own, if there are several.

    \b
    Examples:
      marquee bench collector
      marquee bench collector --rate 20000 --json
    """
    with arena(invocation.settings, "collector", given, ("kafka",)) as (settings, directory, cluster):
        unlimited = replace(settings, collector=replace(settings.collector, events_per_s=0.0))
        with Door(unlimited, directory, "collector", worker_cores()[-1:]) as door:
            requests = _requests(door.port, batch, skew_s)
            asyncio.run(drive(door.port, requests, connections, WARM_UP_S, wanted=ACCEPTED))
            before, cpu_s, servers_s = _logged(settings), door.cpu_s(), servers_cpu_s(cluster)
            course = asyncio.run(drive(door.port, requests, connections, duration_s, rate and rate / batch, ACCEPTED))
            cpu_s = door.cpu_s() - cpu_s
            events = len(course.latencies_ms) * batch
            show(course.document() | {
                "events": events,
                "events_per_core_second": round(events / max(cpu_s, 0.01)),
                "events_per_s": round(events / course.wall_s),
                "wall_s": round(course.wall_s, 2),
                "cpu_s": round(cpu_s, 2),
                "batch": batch,
                "connections": connections,
                "rate": rate,
                "skew_s": skew_s,
                "broker_cpu_s": {name: round(used - servers_s[name], 2) for name, used in servers_cpu_s(cluster).items()},
                "exact": _logged(settings) - before == events,
            }, as_json)  # fmt: skip
    return 0


def _logged(settings: Settings) -> int:
    """How many records the live topic has."""
    return sum(end for _, end in partition_offsets(settings, settings.kafka.topics[0]).values())


def _requests(port: int, batch: int, skew_s: float) -> list[bytes]:
    """Whole HTTP requests. With a skew, their stamp stays what it was when they were made: so their clock is ever further behind."""
    now_ms = int((time.time() - skew_s) * 1000)
    stamp = f"Marquee-Sent-At: {now_ms}\r\n" if skew_s else ""
    found: list[bytes] = []
    for number in range(BODIES):
        events = [
            _EVENT % (account * 7919, number, now_ms, account * 7919 % 1_000_000, account % 18_214, 10 * number)
            for account in range(number * batch, (number + 1) * batch)
        ]
        body = f"[{','.join(events)}]"
        head = f"POST /v1/events HTTP/1.1\r\nHost: {LOOPBACK}:{port}\r\nContent-Type: application/json\r\n"
        found.append(f"{head}{stamp}Content-Length: {len(body)}\r\n\r\n{body}".encode())
    return found


COMMAND = collector

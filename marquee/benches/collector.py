"""`marquee bench collector`: events by HTTP until Kafka has acknowledged them, in batches from keep-alive connections."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any, Final

import click
import numpy as np

from cluster.ports import LOOPBACK
from connectors.kafka import partition_offsets
from marquee.arena import arena, cluster_option, servers_cpu_s, show, worker_cores
from marquee.collecting import CollectorProcess
from marquee.invocation import Invocation, pass_invocation
from marquee.numbers import FiniteRange
from marquee.output import json_option
from topologies.settings import Settings

BODIES: Final = 200
"""So many different bodies are prepared, which are sent again and again: what is in them is new to workers only once."""
WARM_UP_S: Final = 2.0
_EVENT: Final = (
    '{"v":1,"type":"heartbeat","session":"%016x","seq":%d,"ts":%d,"account":"a-%07d","profile":"p1","title":"t%05d","region":"eu",'
    '"device":"tv","app":"tv-5.2","cdn":"cdn-a","position_s":%d,"watched_ms":10000,"stall_ms":0,"bitrate_kbps":4500,"dropped_frames":0}'
)


@dataclass
class Course:
    """What came back: ms of each answer 202, and how many answers were others."""

    latencies_ms: list[float] = field(default_factory=list)
    errors: int = 0


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
        with CollectorProcess(unlimited, directory, worker_cores()[-1:]) as process:
            requests = _requests(process.port, batch, skew_s)
            asyncio.run(_drive(process.port, requests, connections, WARM_UP_S, None))
            before, cpu_s, servers_s, begun = _logged(settings), _cpu_s(process), servers_cpu_s(cluster), time.monotonic()
            course = asyncio.run(_drive(process.port, requests, connections, duration_s, rate and rate / batch))
            wall_s, cpu_s = time.monotonic() - begun, _cpu_s(process) - cpu_s
            events = len(course.latencies_ms) * batch
            show(_document(course, events, wall_s, cpu_s) | {
                "batch": batch,
                "connections": connections,
                "rate": rate,
                "skew_s": skew_s,
                "broker_cpu_s": {name: round(used - servers_s[name], 2) for name, used in servers_cpu_s(cluster).items()},
                "exact": _logged(settings) - before == events,
            }, as_json)  # fmt: skip
    return 0


def _document(course: Course, events: int, wall_s: float, cpu_s: float) -> dict[str, Any]:
    times = np.array(course.latencies_ms)
    p50, p99, most = np.percentile(times, (50, 99, 100)) if len(times) else (0.0, 0.0, 0.0)
    return {
        "events": events,
        "events_per_core_second": round(events / max(cpu_s, 0.01)),
        "events_per_s": round(events / wall_s),
        "requests_per_s": round(len(times) / wall_s),
        "p50_ms": round(float(p50), 2),
        "p99_ms": round(float(p99), 2),
        "max_ms": round(float(most), 2),
        "errors": course.errors,
        "wall_s": round(wall_s, 2),
        "cpu_s": round(cpu_s, 2),
    }


def _cpu_s(process: CollectorProcess) -> float:
    assert process.process is not None
    return process.process.cpu_seconds()


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


async def _drive(port: int, requests: list[bytes], connections: int, duration_s: float, requests_per_s: float | None) -> Course:
    """Sends until the time is over, a request a connection at a time. At a rate each is due at its time, whatever became of others."""
    course = Course()
    begun = time.perf_counter()
    due = (begun + number / requests_per_s for number in range(int(duration_s * requests_per_s))) if requests_per_s else None
    work = zip(_around(requests), due, strict=False) if due else ((request, None) for request in _around(requests))
    await asyncio.gather(*(_converse(port, work, begun + duration_s, course) for _ in range(connections)))
    return course


def _around(requests: list[bytes]) -> Iterator[bytes]:
    while True:
        yield from requests


async def _converse(port: int, work: Iterator[tuple[bytes, float | None]], until: float, course: Course) -> None:
    reader, writer = await asyncio.open_connection(LOOPBACK, port)
    for request, due in work:
        now = time.perf_counter()
        if due is not None and due > now:
            await asyncio.sleep(due - now)
        elif due is None and now >= until:
            break
        begun = time.perf_counter() if due is None else due
        writer.write(request)
        status = await _status(reader)
        if status == 202:
            course.latencies_ms.append((time.perf_counter() - begun) * 1000)
        else:
            course.errors += 1
    writer.close()
    await writer.wait_closed()


async def _status(reader: asyncio.StreamReader) -> int:
    """Of one answer, which is read to its end."""
    head = await reader.readuntil(b"\r\n\r\n")
    lines = head.lower().split(b"\r\n")
    length = next(int(line.partition(b":")[2]) for line in lines if line.startswith(b"content-length:"))
    await reader.readexactly(length)
    return int(lines[0].split()[1])


COMMAND = collector

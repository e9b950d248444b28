"""`marquee bench push`: from an event to the last of a thousand subscribers, while events flow."""

from __future__ import annotations

import asyncio
import re
import time
from dataclasses import dataclass, field
from typing import Final

import click
import numpy as np

from cluster.ports import LOOPBACK
from cluster.supervisor import Workers
from loadgen.load import LoadOptions, shape_of
from marquee.arena import arena, cluster_option, show
from marquee.benches.query import SETTLE_S
from marquee.door import Door
from marquee.freshness import MOMENT_MS, Waits, waits_ms
from marquee.invocation import Invocation, pass_invocation
from marquee.numbers import FiniteRange
from marquee.output import json_option, say
from marquee.under_load import must_flow, under_load
from topologies.errors import MarqueeError

QUESTION: Final = "/v1/views/concurrents/stream?top=10"
_AS_OF: Final = re.compile(rb'"as_of_ms":(\d+)')


@dataclass
class Heard:
    """Of one subscriber: when each answer came, and as of when it was, both epoch ms."""

    at_ms: list[float] = field(default_factory=list)
    as_of_ms: list[int] = field(default_factory=list)

    def latencies_ms(self) -> Waits:
        """For times of the log from its first answer to its last: how long until an answer came that was as of then or later."""
        times = np.arange(self.as_of_ms[0] + 1, self.as_of_ms[-1] + 1, MOMENT_MS)
        return waits_ms(self.as_of_ms, self.at_ms, times)


@click.command()
@click.option("--subscribers", type=click.IntRange(1, 20_000), default=1_000, show_default=True, help="Open streams.")
@click.option("--rate", type=FiniteRange(min=1), default=5_000.0, show_default=True, help="Events a second.")
@click.option("--duration", "duration_s", type=FiniteRange(min=5), default=30.0, show_default=True, help="Seconds that are listened.")
@cluster_option
@json_option
@pass_invocation
def push(invocation: Invocation, subscribers: int, rate: float, duration_s: float, given: bool, as_json: bool) -> int:
    """Let many subscribe to the ten titles with most viewers, and measure how long each waits for what is in the log.

    An answer shows every event up to its as_of: so an event is seen when the first answer comes that is as of its record's time or later.

    \b
    Examples:
      marquee bench push
      marquee bench push --subscribers 100 --json
    """
    load = LoadOptions(rate=rate, duration_s=SETTLE_S + duration_s + 60.0)
    shape_of(load)
    with arena(invocation.settings, "push", given) as (settings, directory, _), Workers(settings, 1, directory) as workers:
        workers.wait_ready(progress=say)
        with Door(settings, directory / "api", "api") as api, under_load(settings, load) as driven:
            time.sleep(SETTLE_S)
            before = api.cpu_s()
            heard = asyncio.run(_listen(api.port, subscribers, duration_s))
            cpu_s = api.cpu_s() - before
            must_flow(driven, "the last answer")
            late = driven.result().late_sends
    latencies = np.concatenate([one.latencies_ms() for one in heard if len(one.at_ms) > 1])
    p50, p99, most = np.percentile(latencies, (50, 99, 100))
    show({
        "subscribers": len(heard), "p50_ms": round(float(p50), 1), "p99_ms": round(float(p99), 1), "max_ms": round(float(most), 1),
        "answers_per_subscriber": round(sum(len(one.at_ms) for one in heard) / len(heard), 1),
        "errors": sum(1 for one in heard if len(one.at_ms) < 2), "rate": rate, "cpu_s": round(cpu_s, 2),
        "answers_per_core_second": round(sum(len(one.at_ms) for one in heard) / max(cpu_s, 0.01)), "late_sends": late,
    }, as_json)  # fmt: skip
    return 0


async def _listen(port: int, subscribers: int, duration_s: float) -> list[Heard]:
    heard = [Heard() for _ in range(subscribers)]
    tasks = [asyncio.create_task(_subscribe(port, one)) for one in heard]
    await asyncio.sleep(duration_s)
    for task in tasks:
        task.cancel()
    ended = await asyncio.gather(*tasks, return_exceptions=True)
    failed = [error for error in ended if not isinstance(error, asyncio.CancelledError)]
    if failed:
        raise MarqueeError(f"{len(failed)} of {subscribers} streams ended, the first with {failed[0]!r}")
    return heard


async def _subscribe(port: int, heard: Heard) -> None:
    reader, writer = await asyncio.open_connection(LOOPBACK, port, limit=1 << 20)
    try:
        writer.write(f"GET {QUESTION} HTTP/1.1\r\nHost: {LOOPBACK}:{port}\r\nAccept: text/event-stream\r\n\r\n".encode())
        while line := await reader.readline():
            if line.startswith(b"data: ") and (found := _AS_OF.search(line)):
                heard.at_ms.append(time.time() * 1000)
                heard.as_of_ms.append(int(found.group(1)))
    finally:
        writer.close()
    raise MarqueeError("the stream ended")


COMMAND = push

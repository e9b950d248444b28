"""`marquee bench roll`: every worker and API replaced one by one under load and reads: what it costs those who read."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Final

import click

from cluster.balancing import Balancer, takes
from cluster.haproxy import Runtime
from cluster.local import ALL_SERVICES, LocalCluster
from cluster.process import wait_until
from cluster.registries import open_registry
from cluster.rolling import Fleet, Roll
from cluster.supervisor import SERVE, Workers, at_any_port, start_all
from loadgen.audit import audit
from loadgen.load import LoadOptions, shape_of
from marquee.applied import AppliedWatch, Course
from marquee.arena import arena, show
from marquee.catching_up import catch_up
from marquee.formats import format_option
from marquee.freshness import intended_waits_ms, percentiles
from marquee.http_load import Course as Answers
from marquee.http_load import drive, get
from marquee.invocation import Invocation, pass_invocation
from marquee.numbers import FiniteRange
from marquee.output import json_option, say
from marquee.under_load import must_flow, under_load
from topologies.errors import MarqueeError
from topologies.settings import Settings

WARM_UP_S: Final = 20.0
AFTER_S: Final = 15.0
ROLL_S: Final = 150.0
"""What a roll may take, of a few workers on a busy machine; the load is as long."""
WINDOW_MS: Final = 10_000.0
FRESH_MS: Final = 5_000.0
CONNECTIONS: Final = 8
SLICE_S: Final = 2.0
"""Then readers connect anew, as others would that come now."""
STEP_S: Final = 0.2
TARGETS: Final = (
    "/v1/views/concurrents?top=10",
    "/v1/views/concurrents?by=region",
    "/v1/views/watch_time?top=10",
    *(f"/v1/views/concurrents?title=t{title:05}" for title in range(1, 61)),
)


@click.command()
@click.option("--rate", type=FiniteRange(min=1), default=20_000.0, show_default=True, help="Events a second.")
@click.option("--reads", type=FiniteRange(min=1), default=200.0, show_default=True, help="GETs a second at HAProxy's address.")
@click.option("--workers", type=click.IntRange(1, 16), default=2, show_default=True, help="Worker processes.")
@click.option("--apis", type=click.IntRange(1, 16), default=2, show_default=True, help="API processes.")
@format_option
@json_option
@pass_invocation
def roll(invocation: Invocation, rate: float, reads: float, workers: int, apis: int, encoding: str, as_json: bool) -> int:
    """A rolling restart under load in open loop and reads. Freshness: from when an event was to be sent until Redis has it, the worst ten
    seconds' p99. Exit code 0 when no read failed, that is under 5 s, and the audit is exact.

    \b
    Examples:
      marquee bench roll
      marquee bench roll --rate 5000 --reads 50 --json
    """
    load = LoadOptions(rate=rate, duration_s=WARM_UP_S + ROLL_S + AFTER_S, format=encoding)
    shape_of(load)
    with arena(invocation.settings, "roll", given=False, services=ALL_SERVICES) as (settings, directory, cluster):
        assert cluster is not None
        with _running(settings, cluster, directory, workers, apis) as (fleet, port):
            document = {"rate": rate, "reads": reads, "workers": workers, "apis": apis, **_measured(settings, fleet, port, load, reads)}
    show(document, as_json)
    return 0 if document["passed"] else 1


@contextmanager
def _running(settings: Settings, cluster: LocalCluster, directory: Path, workers: int, apis: int) -> Iterator[tuple[Fleet, int]]:
    """What `marquee up` runs, and HAProxy's port."""
    proxy, anywhere = cluster.haproxy, at_any_port(settings)
    spare = Workers(anywhere, 1, directory, command=SERVE, role="spare")
    groups = Workers(settings, workers, directory), Workers(anywhere, apis, directory, command=SERVE, role="api")
    with ExitStack() as opened:
        for group in (*groups, spare):
            opened.callback(group.stop_all)
        start_all(groups, say)
        opened.enter_context(Balancer(opened.enter_context(open_registry(settings)), proxy.admin))
        fleet = Fleet(*groups, spare, lambda url: takes(Runtime(proxy.admin), url))
        if not wait_until(lambda: all(fleet.takes(fleet.doors.http(index)) for index in fleet.doors.meant()), 60.0):
            raise MarqueeError("HAProxy does not send requests to every API")
        yield fleet, proxy.ports["haproxy"]


def _measured(settings: Settings, fleet: Fleet, port: int, load: LoadOptions, reads: float) -> dict[str, Any]:
    topic, over = settings.kafka.topics[0], threading.Event()
    with AppliedWatch.of(settings, topic) as applied, ThreadPoolExecutor(1) as reader:
        with under_load(settings, load) as driven:
            reading = reader.submit(_read, port, reads, over)
            try:
                time.sleep(WARM_UP_S)
                from_ms = time.time() * 1000
                told = _roll(fleet)
                roll_s = time.time() - from_ms / 1000
                time.sleep(AFTER_S)
                to_ms = time.time() * 1000
                must_flow(driven, "all were replaced")
            finally:
                over.set()
            answers = reading.result()
            run = driven.result()
        catch_up(settings, topic, lambda _: None)
    say("auditing")
    result = audit(settings, run.name, say)
    by_ten_s = p99s_ms(applied.courses, from_ms, to_ms)
    p99_ms = worst(by_ten_s)
    return {
        "roll_s": round(roll_s, 1),
        "freshness_p99_ms": p99_ms,
        "freshness_p99_ms_by_ten_s": by_ten_s,
        "replaced_s": [[round(at_s - from_ms / 1000, 1), what] for at_s, what in told],
        "answers": answers.document(),
        "failed_reads": answers.errors,
        "exact": result.proven,
        "events": run.generated,
        "late_sends": run.late_sends,
        "passed": result.proven and not answers.errors and p99_ms is not None and p99_ms < FRESH_MS,
    }


def _roll(fleet: Fleet) -> list[tuple[float, str]]:
    """Replaces all; what was said on the way, and when (epoch s)."""
    told: list[tuple[float, str]] = []

    def progress(what: str) -> None:
        told.append((time.time(), what))
        say(what)

    rolling = Roll(fleet, progress)
    while not rolling.step():
        for group in fleet.groups:
            if ended := [index for index in group.watch() if not rolling.coming(group, index)]:
                raise MarqueeError(f"{group[ended[0]].name} ended on its own; {group[ended[0]].log} says why")
        time.sleep(STEP_S)
    return told


def _read(port: int, rate: float, over: threading.Event) -> Answers:
    requests, found = [get(port, target) for target in TARGETS], Answers()
    while not over.is_set():
        part = asyncio.run(drive(port, requests, CONNECTIONS, SLICE_S, rate))
        found.latencies_ms += part.latencies_ms
        found.errors += part.errors
        found.wall_s += part.wall_s
    return found


def p99s_ms(courses: Sequence[Course], from_ms: float, to_ms: float) -> list[float | None]:
    """Of each ten seconds of the span how fresh Redis was, p99 from the intended time. None where something never came."""
    found: list[float | None] = []
    at_ms = from_ms
    while at_ms < to_ms:
        found += percentiles(intended_waits_ms(courses, at_ms, min(at_ms + WINDOW_MS, to_ms)), 99)
        at_ms += WINDOW_MS
    return found


def worst(p99s: Sequence[float | None]) -> float | None:
    """The greatest, or None if there is one."""
    known = [p99 for p99 in p99s if p99 is not None]
    return max(known) if len(known) == len(p99s) else None


COMMAND = roll

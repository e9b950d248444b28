"""`marquee bench recovery`: a worker dies by SIGKILL under load; how long until all is fresh again; then the audit."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import click

from cluster.supervisor import Workers
from loadgen.audit import audit
from loadgen.load import LoadOptions, shape_of
from marquee.applied import AppliedWatch, Course, EndsWatch, stale_until_ms
from marquee.arena import arena, cluster_option, show
from marquee.catching_up import catch_up
from marquee.formats import format_option
from marquee.invocation import Invocation, pass_invocation
from marquee.numbers import FiniteRange
from marquee.output import json_option, say
from marquee.sustaining import greatest_lag_s
from marquee.under_load import under_load
from topologies.errors import MarqueeError
from topologies.settings import Settings

BEFORE_S: Final = 15.0
"""Load before the kill: producers connect, workers compile and have written a checkpoint or two."""
AFTER_S: Final = 30.0
READY_S: Final = 180.0
FRESH_S: Final = 2.0
"""A partition is fresh when Redis has all that stood in the log so long ago: at this rate it is written about once a second."""


@click.command()
@click.option("--rate", type=FiniteRange(min=1), default=50_000.0, show_default=True, help="Events a second.")
@click.option("--session-timeout", "session_s", type=FiniteRange(1, 1_800), default=6.0, show_default=True, help="Seconds.")
@format_option
@cluster_option
@json_option
@pass_invocation
def recovery(invocation: Invocation, rate: float, session_s: float, encoding: str, given: bool, as_json: bool) -> int:
    """Two workers under load in open loop; one gets SIGKILL. Measures the seconds until the other has every partition and Redis holds,
    of each, all that stood in the log two seconds ago. Most of it is the session time-out, within which the broker waits for the dead one.

    \b
    Examples:
      marquee bench recovery --rate 50000
      marquee bench recovery --rate 50000 --format arrow --json
    """
    load = LoadOptions(rate=rate, duration_s=BEFORE_S + AFTER_S, format=encoding)
    shape_of(load)
    settings = replace(invocation.settings, kafka=replace(invocation.settings.kafka, session_timeout_s=session_s))
    with arena(settings, "recovery", given) as (running, directory, _):
        document = {"rate": rate, "format": encoding, "session_timeout_s": session_s, **_measured(running, directory, load)}
    show(document, as_json)
    return 0 if document["exact"] and document["recovered"] else 1


def _measured(settings: Settings, directory: Path, load: LoadOptions) -> dict[str, Any]:
    topic = settings.kafka.topics[0]
    with Workers(settings, 2, directory) as workers:
        workers.wait_ready(READY_S)
        applied, ends = AppliedWatch.of(settings, topic), EndsWatch(settings, topic)
        applied.start()
        ends.start()
        cpu_before = workers.cpu_seconds(0) + workers.cpu_seconds(1)
        with under_load(settings, load) as driven:
            time.sleep(BEFORE_S)
            say("SIGKILL")
            killed_ms = time.time() * 1000
            workers.kill(1)
            run = driven.result()
        catch_up(settings, topic, lambda _: None)
        cpu_s = workers.cpu_seconds(0) + workers.cpu_seconds(1) - cpu_before
        applied.end()
        ends.end()
        say("auditing")
        result = audit(settings, run.name, say)
        say(f"audit: {'exact' if result.proven else 'NOT EXACT'}")
    until_ms = killed_ms + (AFTER_S - FRESH_S) * 1000
    return {
        **timed(applied.courses, ends.courses, killed_ms, until_ms),
        "lag_s": {
            str(second): round(greatest_lag_s(applied.courses, ends.courses, killed_ms + second * 1000), 2)
            for second in range(-5, int(AFTER_S))
        },
        "exact": result.proven,
        "events": run.generated,
        "cpu_s": round(cpu_s, 2),
        "events_per_core_second": round(run.generated / cpu_s),
        "late_sends": run.late_sends,
    }


def timed(applied: list[Course], ends: list[Course], killed_ms: float, until_ms: float) -> dict[str, Any]:
    """Seconds from the kill until all is fresh again for good, as seen up to `until_ms`; `moved_s`: until the first progress of the
    partition that waited longest for a new owner. Not recovered: something was stale at the end. Raises MarqueeError if nothing was stale
    ever: then nothing flowed, nobody died, or it was over before anything could be stale."""
    stale_ms = [stale_until_ms(course, end, killed_ms, until_ms, FRESH_S * 1000) for course, end in zip(applied, ends, strict=True)]
    if max(stale_ms) <= killed_ms:
        raise MarqueeError(f"nothing was late after the kill: nobody died, or it was over within {FRESH_S:g} s; nothing was measured")
    first = [next((seen for seen in course.seen_ms if seen > killed_ms + FRESH_S * 1000), until_ms) for course in applied]
    return {
        "seconds": round((max(stale_ms) - killed_ms) / 1000, 2),
        "recovered": max(stale_ms) < until_ms,
        "moved_s": round((max(first) - killed_ms) / 1000, 2),
    }


COMMAND = recovery

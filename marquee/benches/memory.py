"""`marquee bench memory`: one worker under a live load, its resident memory watched for as long as one likes."""

from __future__ import annotations

import resource
import time
from dataclasses import dataclass, field
from itertools import combinations
from statistics import median
from typing import Any, Final

import click

from cluster.supervisor import Workers
from loadgen.audit import audit
from loadgen.crew import LoadProgress
from loadgen.load import LoadOptions, run_load, shape_of
from marquee.arena import arena, cluster_option, show
from marquee.benches.drain import computing, views_option
from marquee.catching_up import catch_up
from marquee.durations import DURATION
from marquee.formats import format_option
from marquee.invocation import Invocation, pass_invocation
from marquee.numbers import FiniteRange
from marquee.output import json_option, say
from marquee.watching import Watcher
from marquee.worker_metrics import samples
from topologies.errors import MarqueeError, ServerAway
from topologies.settings import Settings
from topologies.views import selected

SAMPLE_S: Final = 5.0
SAY_S: Final = 60.0
WARM_UP_S: Final = 2_100.0
"""A session is remembered until any event of it would be late, 15 min behind a watermark that is up to 1 min behind the clock, and until
the hand that forgets comes by (LOOKED_AT_A_SESSION: within 4 min at 50,000 events a second): 20 min before as many sessions are forgotten
as begin. A quarter of an hour's minutes are kept until the last of them is final: 31 min before as many are dropped as come."""
JUDGED_MIN: Final = 30.0
FLAT_SHARE: Final = 0.05
"""Flat: the slope, carried on over JUDGED_MIN minutes, adds less than this share of the memory at the start of the stretch; and the last
fifth of the stretch, by its median, has not more than so much above the first."""


@dataclass(frozen=True)
class Sample:
    """at_s: seconds since the load began; rss_mb: the worker's, MiB; state_mb: of that, its partitions' tables; cpu_s: the worker's so far;
    sessions: live ones, None unknown."""

    at_s: float
    rss_mb: float
    state_mb: float
    cpu_s: float
    sessions: int | None


def slope_per_hour(samples: list[Sample]) -> float:
    """MiB an hour: the median of the slopes between all pairs (Theil 1950, Sen 1968), which a few outliers do not move."""
    slopes = [(b.rss_mb - a.rss_mb) / (b.at_s - a.at_s) for a, b in combinations(_thinned(samples), 2) if b.at_s > a.at_s]
    return median(slopes) * 3600 if slopes else 0.0


def _thinned(samples: list[Sample], most: int = 400) -> list[Sample]:
    """Evenly spaced ones: 400 make 80,000 pairs."""
    step = max(1, len(samples) // most)
    return samples[::step]


def is_flat(samples: list[Sample]) -> bool:
    """Whether neither the slope over JUDGED_MIN minutes nor the last fifth against the first says more than FLAT_SHARE. Falling is flat."""
    if not samples:
        return False
    fifth = max(1, len(samples) // 5)
    first, last = (median(sample.rss_mb for sample in some) for some in (samples[:fifth], samples[-fifth:]))
    return slope_per_hour(samples) * JUDGED_MIN / 60 < FLAT_SHARE * samples[0].rss_mb and last - first < FLAT_SHARE * first


@dataclass
class Watch:
    """Samples the worker while the load's progress is told."""

    settings: Settings
    workers: Workers
    samples: list[Sample] = field(default_factory=list)
    began_s: float = 0.0
    said_s: float = 0.0

    def __post_init__(self) -> None:
        self._watcher = Watcher(self.settings)

    def look(self, progress: LoadProgress) -> None:
        """Called about four times a second. Raises ServerAway when the worker has ended on its own."""
        if progress.phase != "sending":
            return
        now = time.monotonic()
        self.began_s = self.began_s or now
        at_s = now - self.began_s
        if self.samples and at_s - self.samples[-1].at_s < SAMPLE_S:
            return
        self.workers.require_all()
        self.samples.append(Sample(at_s, self.workers.rss_mb(0), self._state_mb(), self.workers.cpu_seconds(0), self._sessions()))
        if now - self.said_s >= SAY_S:
            self.said_s = now
            last = self.samples[-1]
            memory = f"{last.rss_mb:.0f} MiB, {last.state_mb:.0f} of them state"
            say(f"{last.at_s:7.0f} s  {memory}, {last.sessions} live sessions, {progress.rate:,.0f} ev/s")

    def _state_mb(self) -> float:
        held = samples(self.workers.http(0), "marquee_held_bytes")
        return sum(sample.value for sample in held if sample.labels["kind"] == "state") / 2**20

    def _sessions(self) -> int | None:
        try:
            return self._watcher.look().viewers
        except ServerAway:
            return None

    def close(self) -> None:
        self._watcher.close()


@click.command()
@click.option("--rate", type=FiniteRange(min=1), default=50_000.0, show_default=True, help="Events a second.")
@click.option("--minutes", type=FiniteRange(min=0.1), default=30.0, show_default=True, help="The measured stretch, after the warm-up.")
@click.option("--warm-up", "warm_up_s", type=DURATION, default=WARM_UP_S, show_default=True, help="Not measured: while sessions fill up.")
@click.option("--no-audit", is_flag=True, help="Do not audit at the end: it takes 20 µs a record.")
@views_option
@format_option
@cluster_option
@json_option
@pass_invocation
def memory(
    invocation: Invocation,
    rate: float,
    minutes: float,
    warm_up_s: float,
    no_audit: bool,
    views: str,
    encoding: str,
    given: bool,
    as_json: bool,
) -> int:
    """Watch one worker's resident memory under live load and tell whether it grows.

    Flat means: the slope of the measured stretch (the median of the slopes between all its samples), carried on over 30 minutes, is under
    5 % of the memory at its start, and so is what its last fifth has more than its first. The warm-up is not judged: sessions are
    remembered for 15 minutes of lateness, minutes kept for up to 31, so the state fills for so long before it is level; and when an hour
    begins, its cells come beside those of the last one, for a quarter of an hour. A shorter warm-up judges memory that has reason to grow.
    With all views it has, for more than an hour: an hour's sketches, histograms and counts by many dimensions fill up until its end.

    \b
    Examples:
      marquee bench memory --rate 50000 --minutes 30 --views concurrents,watch_time --no-audit
      marquee bench memory --rate 50000 --minutes 30 --warm-up 80m --no-audit
      marquee bench memory --rate 5000 --minutes 1 --warm-up 30s --json
    """
    load = LoadOptions(rate=rate, duration_s=warm_up_s + minutes * 60, format=encoding)
    shape_of(load)
    with (
        arena(computing(invocation.settings, views), "memory", given) as (settings, directory, _),
        Workers(settings, 1, directory) as workers,
    ):
        workers.wait_ready(120.0)
        watch = Watch(settings, workers)
        try:
            run = run_load(settings, load, watch.look)
        finally:
            watch.close()
        generator_mb = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024  # the greatest of the children that have ended
        if run.state != "finished":
            raise MarqueeError(
                f"the load was {run.state} after {watch.samples[-1].at_s if watch.samples else 0:.0f} s: memory is not judged"
            )
        catch_up(settings, run.topic, lambda _: None)
        exact = None if no_audit else audit(settings, run.name, say).proven
    document = {
        **_measured(watch.samples, warm_up_s),
        "views": [view.name for view in selected(settings.worker.views)],
        "rate": rate,
        "format": encoding,
        "minutes": minutes,
        "warm_up_s": warm_up_s,
        "events": run.generated,
        "late_sends": run.late_sends,
        "max_lateness_ms": run.max_lateness_ms,
        "generator_rss_mb": round(generator_mb),
        "exact": exact,
    }
    show(document, as_json)
    return exit_status(document)


def exit_status(document: dict[str, Any]) -> int:
    """1 when memory grew or the audit found something; 0 without an audit, if memory is flat."""
    return 0 if document["flat"] and document["exact"] is not False else 1


def _measured(samples: list[Sample], warm_up_s: float) -> dict[str, Any]:
    """The stretch after the warm-up, as the document has it."""
    stretch = [sample for sample in samples if sample.at_s >= warm_up_s] or samples[-1:]
    first, last = stretch[0], stretch[-1]
    slope = slope_per_hour(stretch)
    return {
        "rss_mb": round(first.rss_mb, 1),
        "max_mb": round(max(sample.rss_mb for sample in stretch), 1),
        "end_mb": round(last.rss_mb, 1),
        "state_mb": [round(first.state_mb, 1), round(last.state_mb, 1)],
        "slope_mb_per_hour": round(slope, 2),
        "flat": is_flat(stretch),
        "flat_rule": f"slope × {JUDGED_MIN:g} min and last fifth - first < {FLAT_SHARE:.0%}, from {warm_up_s:g} s on",
        "cpu_s": round(last.cpu_s - first.cpu_s, 2),
        "live_sessions": last.sessions,
        "samples": len(stretch),
        "by_minute": _by_minute(samples),
    }


def _by_minute(samples: list[Sample]) -> list[dict[str, float | int | None]]:
    """The first sample of each minute, warm-up and all."""
    firsts: dict[int, Sample] = {}
    for sample in samples:
        firsts.setdefault(int(sample.at_s // 60), sample)
    return [
        {"minute": minute, "rss_mb": round(found.rss_mb, 1), "state_mb": round(found.state_mb, 1), "live_sessions": found.sessions}
        for minute, found in firsts.items()
    ]


COMMAND = memory

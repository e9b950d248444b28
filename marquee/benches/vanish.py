"""`marquee bench vanish`: every viewer falls silent at once, without a stop; how long until nobody is watching; then their sessions close.

No event comes after that: what is seen is what the clock alone does.
"""

from __future__ import annotations

import time
from contextlib import closing
from dataclasses import dataclass
from typing import Any, Final

import click
import polars as pl

from cluster.supervisor import Workers
from connectors.kafka import stamp_ms
from connectors.redis_reader import CellReader
from loadgen.audit import audit
from loadgen.ledger import Run
from loadgen.load import LoadOptions, run_load, shape_of
from loadgen.truth import sessions_of
from marquee.arena import arena, cluster_option, show
from marquee.catching_up import catch_up
from marquee.invocation import Invocation, pass_invocation
from marquee.numbers import FiniteRange
from marquee.output import json_option, say
from marquee.watching import Watcher
from topologies.concurrents import EXPIRY_MS
from topologies.playbacks import SESSIONS, SILENCE_MS
from topologies.settings import Settings
from topologies.view import HOUR
from topologies.views import every_part

READY_S: Final = 90.0
LOOK_S: Final = 0.1
GONE_S: Final = 35.0
"""Nobody is to be watching any more so long after the last event (design §4: 30 s of silence, and a flush)."""
CLOSED_S: Final = 60.0 + SILENCE_MS / 1000 + 60.0
"""All sessions are to be closed so long after it: the watermark is a minute behind the clock where no events come; and a minute's grace."""


@dataclass(frozen=True)
class Silence:
    """What Redis showed after the last event, which the broker took at last_ms (epoch). `most`: viewers at that time. `gone_s`: from then
    until nobody was watching; None, not in time."""

    last_ms: int
    most: int
    gone_s: float | None


def over(reader: CellReader) -> dict[str, int]:
    """Sessions that are over, those ended by an event and those closed by silence, of all hours."""
    at = {measure.name: number for number, measure in enumerate(SESSIONS.measures)}
    cells = [
        values for start_ms in reader.windows(SESSIONS, HOUR.name) for values in reader.totals(SESSIONS, HOUR.name, start_ms, 0).values()
    ]
    return {name: sum(values[at[name]] for values in cells) for name in ("sessions", "ended", "closed")}


def fall_silent(settings: Settings, load: LoadOptions) -> tuple[Run, Silence]:
    """Drive a load of viewers who never say that they stop, and watch until nobody is watching, GONE_S at the most."""
    run = run_load(settings, load, lambda _: None)
    last_ms = max(stamp_ms(settings, run.topic, span.partition, span.last) for span in run.partitions if span.last >= span.first)
    with closing(Watcher(settings)) as watcher:
        most = watcher.viewers()
        while (viewers := watcher.viewers()) and _since_s(last_ms) < GONE_S:
            most = max(most, viewers)
            time.sleep(LOOK_S)
    return run, Silence(last_ms, most, None if viewers else _since_s(last_ms))


def _since_s(epoch_ms: int) -> float:
    return time.time() - epoch_ms / 1000


@click.command()
@click.option("--rate", type=FiniteRange(min=1), default=2_000.0, show_default=True, help="Events a second.")
@click.option("--seconds", type=FiniteRange(min=1), default=20.0, show_default=True, help="Of load, before all fall silent.")
@cluster_option
@json_option
@pass_invocation
def vanish(invocation: Invocation, rate: float, seconds: float, given: bool, as_json: bool) -> int:
    """All viewers fall silent at once, without a stop, and no event comes any more. Measures the seconds until nobody is watching; waits
    until silence has closed every session, 11 minutes later, and a minute more: each is to be counted once. Then the audit.

    \b
    Examples:
      marquee bench vanish
    """
    load = LoadOptions(rate=rate, duration_s=seconds, vanish=1.0)
    shape_of(load)
    with arena(invocation.settings, "vanish", given) as (settings, directory, _), Workers(settings, 1, directory) as workers:
        workers.wait_ready(READY_S)
        say(f"driving {rate:,.0f} events a second for {seconds:.0f} s")
        run, silence = fall_silent(settings, load)
        say(f"nobody is watching; {CLOSED_S / 60:.0f} minutes until every session is closed" if silence.gone_s else "viewers are left")
        found = _closed(settings, silence, workers)
        catch_up(settings, run.topic, lambda _: None)
        say("auditing")
        result = audit(settings, run.name, say)
    document = {"rate": rate, **told(silence, found, sessions_of(run)), "exact": result.proven}
    show(document, as_json)
    return 0 if document["exact"] and document["gone_in_time"] and document["counted_once"] else 1


def _closed(settings: Settings, silence: Silence, workers: Workers) -> dict[str, int]:
    """What is over CLOSED_S after the last event."""
    with closing(CellReader(settings.redis, every_part())) as reader:
        while _since_s(silence.last_ms) < CLOSED_S:
            workers.require_all()
            time.sleep(1)
        return over(reader)


def told(silence: Silence, found: dict[str, int], sent: pl.DataFrame) -> dict[str, Any]:
    """The figures. `found`: as `over` has it. `sent`: the ledger's sessions (loadgen.ledger)."""
    sessions = sent.filter(pl.col("events") > 0)["session"].n_unique()
    return {
        "most_viewers": silence.most,
        "gone_s": None if silence.gone_s is None else round(silence.gone_s, 1),
        "gone_in_time": silence.most > 0 and silence.gone_s is not None and silence.gone_s >= EXPIRY_MS / 1000 - 1,
        "sessions_sent": sessions,
        "sessions_over": found["sessions"],
        "sessions_ended": found["ended"],
        "sessions_closed": found["closed"],
        "counted_once": found["closed"] > 0 and found["sessions"] == found["ended"] + found["closed"] == sessions,
    }


COMMAND = vanish

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
from connectors.redis_reader import CellReader
from loadgen.audit import audit
from loadgen.crew import LoadProgress
from loadgen.ledger import Run
from loadgen.load import LoadOptions, run_load, shape_of
from loadgen.truth import sessions_of
from marquee.arena import arena, cluster_option, show
from marquee.catching_up import catch_up
from marquee.invocation import Invocation, pass_invocation
from marquee.numbers import FiniteRange
from marquee.output import json_option, say
from topologies.concurrents import CONCURRENTS, EXPIRY_MS
from topologies.errors import ServerAway
from topologies.playbacks import SESSIONS, SILENCE_MS
from topologies.settings import Settings
from topologies.view import HOUR, LIVE
from topologies.views import every_part

READY_S: Final = 90.0
LOOK_S: Final = 0.1
GONE_S: Final = 35.0
"""Nobody is to be watching any more so long after the last event (design §4: 30 s of silence, and a flush)."""
CLOSED_S: Final = 60.0 + SILENCE_MS / 1000 + 60.0
"""All sessions are to be closed so long after it: the watermark is a minute behind the clock where no events come; and a minute's grace."""


@dataclass
class LastSend:
    """When the load was last seen sending, by this clock (s): at most a quarter of a second before its last event."""

    at_s: float = 0.0

    def note(self, progress: LoadProgress) -> None:
        """For run_load."""
        if progress.phase == "sending":
            self.at_s = time.monotonic()


@dataclass(frozen=True)
class Silence:
    """What Redis showed after the last event. `most`: viewers at that time. `gone_s`: until nobody was watching; None, not in time."""

    last_s: float
    most: int
    gone_s: float | None


class Room:
    """What Redis shows of viewers and of sessions that are over."""

    def __init__(self, settings: Settings) -> None:
        self._reader = CellReader(settings.redis, every_part())

    def close(self) -> None:
        self._reader.close()

    def viewers(self) -> int:
        """Sessions that count as live now."""
        cells = self._reader.totals(CONCURRENTS, LIVE.name, 0, CONCURRENTS.groupings.index(()))
        return sum(values[0] for values in cells.values())

    def over(self) -> dict[str, int]:
        """Sessions that are over, those ended by an event and those closed by silence, of all hours."""
        at = {measure.name: number for number, measure in enumerate(SESSIONS.measures)}
        cells = [
            values
            for start_ms in self._reader.windows(SESSIONS, HOUR.name)
            for values in self._reader.totals(SESSIONS, HOUR.name, start_ms, 0).values()
        ]
        return {name: sum(values[at[name]] for values in cells) for name in ("sessions", "ended", "closed")}


def fall_silent(settings: Settings, load: LoadOptions) -> tuple[Run, Silence]:
    """Drive a load of viewers who never say that they stop, and watch until nobody is watching, GONE_S at the most."""
    last = LastSend()
    run = run_load(settings, load, last.note)
    with closing(Room(settings)) as room:
        most = room.viewers()
        while (viewers := room.viewers()) and time.monotonic() - last.at_s < GONE_S:
            most = max(most, viewers)
            time.sleep(LOOK_S)
    return run, Silence(last.at_s, most, None if viewers else time.monotonic() - last.at_s)


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
        over = _closed(settings, silence, workers)
        catch_up(settings, run.topic, lambda _: None)
        say("auditing")
        result = audit(settings, run.name, say)
    document = {"rate": rate, **told(silence, over, sessions_of(run)), "exact": result.proven}
    show(document, as_json)
    return 0 if document["exact"] and document["gone_in_time"] and document["counted_once"] else 1


def _closed(settings: Settings, silence: Silence, workers: Workers) -> dict[str, int]:
    """What is over CLOSED_S after the last event."""
    with closing(Room(settings)) as room:
        while time.monotonic() - silence.last_s < CLOSED_S:
            if workers.watch():
                raise ServerAway(f"{workers[0].name} ended on its own; {workers[0].log} says why")
            time.sleep(1)
        return room.over()


def told(silence: Silence, over: dict[str, int], sent: pl.DataFrame) -> dict[str, Any]:
    """The figures. `sent`: the ledger's sessions (loadgen.ledger)."""
    sessions = sent.filter(pl.col("events") > 0)["session"].n_unique()
    return {
        "most_viewers": silence.most,
        "gone_s": None if silence.gone_s is None else round(silence.gone_s, 1),
        "gone_in_time": silence.most > 0 and silence.gone_s is not None and silence.gone_s >= EXPIRY_MS / 1000 - 1,
        "sessions_sent": sessions,
        **{f"sessions_{name}" if name != "sessions" else "sessions_over": count for name, count in over.items()},
        "counted_once": over["closed"] > 0 and over["sessions"] == over["ended"] + over["closed"] == sessions,
    }


COMMAND = vanish

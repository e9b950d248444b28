"""Keeping the course of a run: once a second, from outside, how the generator, the log and Redis stand. For the panel and the report.

It looks at the newest offsets in Redis twenty times a second, which is how exactly it knows how fresh things were: to 50 ms.
"""

from __future__ import annotations

import threading
import time
from contextlib import suppress
from dataclasses import replace
from types import TracebackType
from typing import Final, Self

import numpy as np

from loadgen.ledger import open_run
from marquee.applied import AppliedWatch, Course, EndsWatch
from marquee.freshness import percentiles, shown_waits_ms
from marquee.moment import Driven, Moment
from marquee.watching import Snapshot, Watcher
from topologies import accounting
from topologies.errors import MarqueeError, ServerAway
from topologies.settings import Settings

LOOK_S: Final = 0.05
MOMENT_S: Final = 1.0
ANSWER_S: Final = 10.0
"""At the end, for a server that does not answer: longer is not waited."""
MOST_MOMENTS: Final = 2_000
"""Of more, each two become one: a chart is not wider, and a run may take days."""


class Recorder:
    """Keeps the course of one run, as a context manager, in a thread of its own. A server that is away costs what it knows, and no more.

    Told how far the generator is by `driven`; it begins to look at the log with the first one, when the run's ledger says which it is.
    """

    def __init__(self, settings: Settings, name: str) -> None:
        """name: the run's."""
        self._settings = settings
        self._name = name
        self._watcher = Watcher(settings)
        self._thread = threading.Thread(target=self._keep, name="recorder", daemon=True)
        self._ending = threading.Event()
        self._driven: Driven | None = None
        self._base: dict[str, int] | None = None
        self._log: _Log | None = None
        self._every_s = MOMENT_S
        self.moments: list[Moment] = []
        self.latest: Moment | None = None
        self.trouble = ""
        """Why something is not known, the last time that this was so."""

    def driven(self, driven: Driven) -> None:
        """The generator is so far."""
        self._driven = driven

    def percentiles_ms(self) -> tuple[float | None, float | None]:
        """Of the whole run, after its end: how long what came to be shown had stood in the log, median and 99th percentile, to 10 ms."""
        return (None, None) if self._log is None else self._log.percentiles_ms()

    def _keep(self) -> None:
        due_s, waited_s = 0.0, LOOK_S
        while not self._ending.wait(waited_s):
            try:
                if self._look(time.monotonic() >= due_s):
                    due_s = time.monotonic() + self._every_s
                waited_s = LOOK_S
            except MarqueeError as error:
                self._missed(error)
                waited_s = self._every_s
            except Exception as error:  # noqa: BLE001  # a run that goes well is not to fail by being looked at
                self.trouble = f"an unexpected {type(error).__name__}: {error}"
                return
        with suppress(MarqueeError):
            self._look(due=True)

    def _look(self, due: bool) -> bool:
        """One look at Redis; when a moment is due, at everything. Whether there is one moment more."""
        if self._base is None:
            self._base = _counted(self._watcher.look())
        if self._driven is None:
            return False
        if self._log is None:
            self._log = _Log(self._settings, self._name)
        self._log.applied.look()
        if due:
            self._add(self._moment(self._driven, self._log, self._base))
        return due

    def _missed(self, error: MarqueeError) -> None:
        self.trouble = str(error)
        if self._driven is not None:
            self._add(Moment(time.time_ns() // 1_000_000, self._driven))

    def _moment(self, driven: Driven, log: _Log, base: dict[str, int]) -> Moment:
        seen = self._watcher.look()
        counted = {name: count - base[name] for name, count in _counted(seen).items()}
        known = Moment(time.time_ns() // 1_000_000, driven, counted, workers=seen.workers, viewers=seen.viewers)
        return replace(log.look(known), seen=seen)

    def _add(self, moment: Moment) -> None:
        self.latest = moment
        self.moments.append(replace(moment, seen=None))
        if len(self.moments) > MOST_MOMENTS:
            self.moments[:] = [merged(*self.moments[at : at + 2]) for at in range(0, len(self.moments), 2)]
            self._every_s *= 2

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._ending.set()
        self._thread.join(ANSWER_S)
        if not self._thread.is_alive():
            self._watcher.close()


class _Log:
    """The run's topic: where it ends, and how far and how fast Redis is. Raises as the ledger's and Kafka's readers do."""

    def __init__(self, settings: Settings, name: str) -> None:
        run = open_run(settings, name)
        self._live = run.live
        self._begun_ms = self._since_ms = time.time() * 1000
        self.applied = AppliedWatch.of(settings, run.topic)
        self._ends = EndsWatch(settings, run.topic)
        self._tally = np.zeros(60_001, np.int64)
        """Waits by hundredths of a second; the last for all of ten minutes and more."""

    def look(self, moment: Moment) -> Moment:
        """The moment with what the log and its courses say."""
        try:
            self._ends.look()
        except ServerAway:  # Kafka hangs or is gone: what Redis shows goes on
            return moment
        until_ms = float(moment.at_ms)
        waits = np.maximum(shown_waits_ms(self.applied.courses, self._since_ms, until_ms, self._begun_ms), 0.0)
        self._since_ms = until_ms
        self._tally += np.bincount(np.minimum(waits // 10, len(self._tally) - 1).astype(np.int64), minlength=len(self._tally))
        missing = sum(max(0, _at(end) - _at(course)) for course, end in zip(self.applied.courses, self._ends.courses, strict=True))
        behind = [until_ms - course.clocks_ms[-1] for course in self.applied.courses if course.clocks_ms and course.clocks_ms[-1] >= 0]
        for course in (*self.applied.courses, *self._ends.courses):
            course.forget_before(until_ms)
        if not self._live:  # its records' times are not when they came
            return replace(moment, backlog=missing)
        p50_ms, p99_ms = percentiles(waits, 50, 99)
        return replace(moment, backlog=missing, behind_ms=max(0.0, *behind) if behind else None, p50_ms=p50_ms, p99_ms=p99_ms)

    def percentiles_ms(self) -> tuple[float | None, float | None]:
        """Median and 99th percentile of all waits so far."""
        if not self._live or not self._tally.any():
            return None, None
        total = self._tally.cumsum()
        p50, p99 = (float(np.searchsorted(total, total[-1] * share) * 10) for share in (0.5, 0.99))
        return p50, p99


def merged(first: Moment, last: Moment | None = None) -> Moment:
    """Two moments as one: the later, with the worst of both."""
    if last is None:
        return first
    return replace(last, p99_ms=_worst(first.p99_ms, last.p99_ms), behind_ms=_worst(first.behind_ms, last.behind_ms))


def _worst(*values: float | None) -> float | None:
    return max((value for value in values if value is not None), default=None)


def _counted(seen: Snapshot) -> dict[str, int]:
    return {name: seen.total(name) for name in accounting.MEASURES}


def _at(course: Course) -> int:
    return course.offsets[-1] if course.offsets else 0

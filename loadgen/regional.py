"""Handing records to the logs of several regions, each to its home's; and elsewhere while that is lost (loadgen.way)."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from typing import Any, Final

import numpy as np
import polars as pl
from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from connectors.kafka import client_options
from loadgen.ledger import Run, write_part
from loadgen.measured import add_delays
from loadgen.moves import MOVE_SCHEMA, TABLE
from loadgen.produce import ARROW_HEADERS, CONFIRMED, MAX_CONFIRMED_MS, SENT, SLICE, WAITING, Records
from loadgen.way import Moved, Sent, Way
from topologies.bins import BINS
from topologies.errors import StoreError
from topologies.settings import KafkaSettings

HOME_S: Final = 5.0
"""A region that was lost takes its own records again when it has answered for so long."""
_LOOK_S: Final = 0.2
_ASK_S: Final = 1.0
_PATIENCE_S: Final = 310.0


class RegionalSender:
    """What loadgen.produce.Sender is for one log. A second sender of a run has other places."""

    def __init__(
        self, brokers: dict[str, KafkaSettings], run: Run, places: Sequence[int], process: int, counters: Any, *, batches: bool
    ) -> None:
        """brokers: of each region of run.logs."""
        self.counters = counters
        self._run = run
        self._process = process
        self._batches = batches
        self._confirmed = np.frombuffer(counters, np.int64)[CONFIRMED : CONFIRMED + BINS]
        self._one = np.ones(1, np.int64)
        count, headers = run.log_partitions, ARROW_HEADERS if batches else None
        self._ways = {
            at: Way(log.region, brokers, run.topic, [place for place in places if place // count == at], count, headers)
            for at, log in enumerate(run.logs)
            if any(place // count == at for place in places)
        }
        self._answering = Answering(brokers)
        self._looked_s = 0.0
        self._moves: list[tuple[Any, ...]] = []
        self._parts = 0

    def send(self, records: Records, first: int, end: int, stopped: Callable[[], bool]) -> int:
        """As loadgen.produce.Sender.send."""
        at = first
        while at < end:
            goal = min(at + SLICE, end)
            reached = self._hand_over(records, at, goal)
            self.counters[SENT] += reached - at if records.sizes is None else int(records.sizes[at:reached].sum())
            at = reached
            self.note()
            if at < goal:
                time.sleep(0.005)
                if stopped():
                    break
        return at

    def _hand_over(self, records: Records, first: int, end: int) -> int:
        ways, count = self._ways, self._run.log_partitions
        for at in range(first, end):
            place, size = records.partitions[at], 1 if records.sizes is None else int(records.sizes[at])
            sent = Sent(records.values[at], records.keys[at], size, records.timestamps_ms[at])
            if not ways[place // count].send(place, sent):
                return at
        return end

    def note(self) -> None:
        """Takes what was acknowledged, refreshes the counters, and sees whether a region is lost or is back."""
        for way in self._ways.values():
            oldest_ms = way.poll()
            if oldest_ms is not None:
                late = max(0.0, time.time() * 1000 - oldest_ms)
                add_delays(np.array([late]), self._one, self._confirmed)
                self.counters[MAX_CONFIRMED_MS] = max(self.counters[MAX_CONFIRMED_MS], int(late))
        self.counters[WAITING] = sum(way.waiting for way in self._ways.values())
        now_s = time.monotonic()
        if now_s - self._looked_s >= _LOOK_S:
            self._looked_s = now_s
            for way in self._ways.values():
                self._look(way)

    def _look(self, way: Way) -> None:
        if way.lost:
            self._answering.ask(way.region)
            if (other := self._other(way)) is not None:
                self._moved(way.move(other))
        elif way.region != way.home and self._answering.for_s(way.home) >= HOME_S:
            self._moved(way.go_home())

    def _other(self, way: Way) -> str | None:
        """A region that is not known to be lost, home first; None for none."""
        regions = [way.home, *(log.region for log in self._run.logs if log.region != way.home)]
        return next((one for one in regions if one != way.region and not self._answering.is_lost(one)), None)

    def _moved(self, moves: list[Moved]) -> None:
        if moves:
            now_ms = time.time_ns() // 1_000_000
            rows = [(one.place, one.region, one.first, one.clean, now_ms) for one in moves]
            write_part(self._run.path, TABLE, self._process, self._parts, pl.DataFrame(rows, schema=MOVE_SCHEMA, orient="row"))
            self._parts += 1

    def flush(self, patience_s: float = _PATIENCE_S) -> None:
        """Waits until every record is acknowledged by some log. StoreError when it is not in time."""
        limit_s = time.monotonic() + patience_s
        while True:
            self.note()
            waiting = sum(way.waiting for way in self._ways.values())
            if not waiting:
                self._answering.close()
                return
            if time.monotonic() > limit_s:
                raise StoreError(f"no region has confirmed {waiting:,} events of {self._run.topic} in {patience_s:.0f} s; is one up?")
            time.sleep(0.01)


class Answering:
    """Whether the Kafka of each region answers: of those that were lost it is asked again and again, on a thread."""

    def __init__(self, brokers: dict[str, KafkaSettings]) -> None:
        self._brokers = brokers
        self._since_s: dict[str, float | None] = {}
        """Of each region that was lost, since when it answers again; None: it does not."""
        self._over = threading.Event()
        self._thread: threading.Thread | None = None

    def ask(self, region: str) -> None:
        """The region was lost just now."""
        self._since_s[region] = None
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="answering", daemon=True)
            self._thread.start()

    def is_lost(self, region: str) -> bool:
        """Whether it was lost and has not answered since."""
        return region in self._since_s and self._since_s[region] is None

    def for_s(self, region: str) -> float:
        """For how long it has answered since it was lost, seconds; 0 while it does not."""
        since_s = self._since_s.get(region)
        return 0.0 if since_s is None else time.monotonic() - since_s

    def close(self) -> None:
        """Asks no more. Twice does nothing more."""
        self._over.set()

    def _run(self) -> None:
        while not self._over.wait(_ASK_S):
            for region in list(self._since_s):
                if not _answers(self._brokers[region]):
                    self._since_s[region] = None
                elif self._since_s[region] is None:
                    self._since_s[region] = time.monotonic()


def _answers(kafka: KafkaSettings) -> bool:
    admin = AdminClient(client_options(kafka) | {"socket.connection.setup.timeout.ms": 1000})
    try:
        return bool(admin.list_topics(timeout=_ASK_S).brokers)
    except KafkaException:
        return False

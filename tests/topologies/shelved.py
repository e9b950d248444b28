"""Bookmarks for tests: their definition with dicts, logs that move them, and a store that is given what flushes take."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

from tests.topologies.logs import SOURCE, T0, Record, event, tick
from tests.topologies.reference import Reference
from topologies.events import decode_event
from topologies.fold import PartitionState
from topologies.marks import Mark, MarkBatch
from topologies.sources import LATENESS_MS
from topologies.watch_time import WATCH_TIME

Key = tuple[str, str, str]
Shelf = tuple[str, str]
VIEWS = (WATCH_TIME,)
MINUTE_MS = 60_000


class Shelves(Reference):
    """Marks by (account, profile, title), and since when a profile waits; `due`: what a store must have at least."""

    def __init__(self) -> None:
        super().__init__(VIEWS)
        self.marks: dict[Key, Mark] = {}
        self.due: dict[Key, Mark] = {}
        self.dues: dict[Shelf, list[int]] = {}
        """Clocks at which each profile fell due."""
        self._since: dict[Shelf, int] = {}
        self._runtimes: dict[str, int] = {}

    def feed(self, record: Record) -> None:
        applied = self.classes["applied"]
        super().feed(record)
        for shelf, since in list(self._since.items()):
            if self.clock - since >= MINUTE_MS:
                self._fall_due(shelf)
        if self.classes["applied"] > applied:
            found = decode_event(record.value)
            assert found is not None
            self._follow(found)

    def _follow(self, found: dict[str, Any]) -> None:
        shelf, title = (found["account"], found["profile"]), found["title"]
        if found["runtime_s"]:
            self._runtimes[title] = found["runtime_s"]
        if found["position_s"] is not None or found["type"] == "finish":
            position, runtime = found["position_s"] if found["position_s"] is not None else -1, self._runtimes.get(title, -1)
            finished = found["type"] == "finish" or 0 < runtime <= position
            mark = Mark(found["ts"], found["seq"], finished, position, runtime)
            if mark > self.marks.get((*shelf, title), Mark(-1, -1, False, -1, -1)):
                self.marks[*shelf, title] = mark
                self._since.setdefault(shelf, self.clock)
        stops = found["type"] in ("pause", "stop", "finish") or (found["type"] == "error" and found["fatal"])
        if stops and shelf in self._since:
            self._fall_due(shelf)

    def _fall_due(self, shelf: Shelf) -> None:
        del self._since[shelf]
        self.dues.setdefault(shelf, []).append(self.clock)
        self.due |= {key: mark for key, mark in self.marks.items() if key[:2] == shelf}

    def remembered(self) -> dict[Key, Mark]:
        return {key: mark for key, mark in self.marks.items() if self.watermark() - mark.ts <= LATENESS_MS}


def random_log(seed: int, count: int) -> list[Record]:
    """Few profiles and titles, events out of order, pauses of minutes and of more than what is remembered."""
    draw = random.Random(seed)
    rts, seqs, records = T0, [0] * 6, []
    for _ in range(count):
        rts += draw.choice((0, 1, 500, 3_000, 10_000, 30_000)) if draw.random() < 0.97 else draw.choice((59_999, 60_000, 61_000, 1_000_000))
        if draw.random() < 0.1:
            records.append(tick(rts))
            continue
        who = draw.randrange(6)
        seqs[who] += 1
        fields: dict[str, Any] = {"session": f"s{who}", "account": f"a{who % 3}", "profile": f"p{who % 2}", "seq": seqs[who]}
        fields |= {"title": f"t{draw.randrange(3)}", "ts": max(0, rts - draw.choice((0, 0, 5, 20_000, 400_000, 899_000, 950_000)))}
        fields |= {
            "type": draw.choices(("heartbeat", "pause", "stop", "finish", "error"), (20, 1, 1, 1, 1))[0],
            "fatal": draw.random() < 0.5,
        }
        if draw.random() < 0.9:
            fields["position_s"] = draw.randrange(100)
        if draw.random() < 0.1:
            fields["runtime_s"] = draw.choice((0, 80, 100))
        records.append(event(rts, **fields))
    return records


def walked_through(records: Sequence[Record]) -> Shelves:
    reference = Shelves()
    for record in records:
        reference.feed(record)
    return reference


class Stored(dict[Key, Mark]):
    """A store that is given what flushes take."""

    def take(self, state: PartitionState, store: int, *, fails: bool = False) -> list[Key]:
        assert state.bookmarks is not None
        batch, taken = state.bookmarks.take(store)
        if fails:
            state.bookmarks.put_back(taken, store)
            return []
        return self.keep(batch)

    def keep(self, batch: MarkBatch) -> list[Key]:
        given = []
        for shelf in batch.shelves():
            for title, mark, version in zip(shelf.titles, shelf.marks, shelf.versions, strict=True):
                key, found = (shelf.account.decode(), shelf.profile.decode(), title.decode()), Mark.of(mark)
                assert version == min(found.ts, 2**43 - 1) << 20 | min(found.seq, 2**20 - 1)
                assert found >= self.get(key, found)
                self[key] = found
                given.append(key)
        return given


def empty_state() -> PartitionState:
    return PartitionState(SOURCE, VIEWS, bookmarks=True)

"""One process's part of the audience: the lanes whose accounts' partitions are its own, as records in the order of their arrival.

    lanes ── fill ──► events due ── sending_order, cut ──► Due ── written ──► Chunk

Whatever the number of shards, they make the same records together, and each partition's records in the same order: where a record begins
and ends depends on its partition's events and on the chunk's length alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from loadgen import batches
from loadgen.audience import Plan, account_of, fill, horizon, seat
from loadgen.draws import partitions_of
from loadgen.encode import ROW_BYTES, encode, make_fragments
from loadgen.encode_arrow import ArrowEncoder
from loadgen.faults import mangle, misversion
from loadgen.homes import homes_of_regions
from loadgen.keys import homes_of, keys_of, other_key, prefix_of
from loadgen.order import sending_order
from loadgen.reaching import bytes_of, gathered
from loadgen.rows import DONE, EVENT, LANE, LOST, MALFORMED, MOVED, VERSION

LIVE_CHUNK_MS: Final = 200
LEAST_CHUNK_MS: Final = 20
"""Of 100 M events in two minutes 8 partitions' records are full after 69 ms."""
CHUNK_RECORDS: Final = 50_000
MOST_CHUNK_RECORDS: Final = 400_000
_LEAST_ROOM: Final = 16_384
_BLOCK: Final = 65_536
_SOON_CHUNKS: Final = 8


def chunk_ms_of(records: int, span_ms: int, live: bool, partitions: int) -> int:
    """How much time a chunk is, of so many records in all: whatever the number of processes, for records in Arrow end with their chunk.

    Live: short, so that making a chunk delays nothing. Backfill: so that a partition's events fill an Arrow record, within bounds that
    bound the memory; of whole lingers, where it is longer than one, so that no record is what they have left over.
    """
    if live:
        return LIVE_CHUNK_MS
    # an eighth less than records can hold, so that few partitions have a little more than that
    wanted = min(max(CHUNK_RECORDS, batches.MOST_ROWS * partitions * 7 // 8), MOST_CHUNK_RECORDS)
    chunk_ms = int(max(LEAST_CHUNK_MS, span_ms * wanted / records))
    return chunk_ms if chunk_ms < batches.LINGER_MS else chunk_ms - chunk_ms % batches.LINGER_MS


@dataclass(frozen=True)
class Due:
    """Records of a stretch of time, not written yet: each partition's in order of arrival, and all of them if live.

    rows are the events in that order; record r holds those from bounds[r] to below bounds[r + 1], one in JSON. partitions i32, arrivals_ms
    (its last event's, since the span began): by record. lost: events that are sent in none, and lost_partitions: to which they would have
    gone.
    """

    rows: NDArray[Any]
    bounds: NDArray[np.int64]
    partitions: NDArray[np.int32]
    arrivals_ms: NDArray[np.int64]
    lost: NDArray[Any]
    lost_partitions: NDArray[np.int32]

    def picked(self, records: NDArray[np.int64]) -> Due:
        """These records alone, in this order."""
        sizes = np.diff(self.bounds)[records]
        bounds = np.concatenate([[0], np.cumsum(sizes)])
        within = np.arange(bounds[-1]) - np.repeat(bounds[:-1], sizes)
        return Due(
            rows=gathered(self.rows, np.repeat(self.bounds[records], sizes) + within),
            bounds=bounds,
            partitions=self.partitions[records],
            arrivals_ms=self.arrivals_ms[records],
            lost=self.lost,
            lost_partitions=self.lost_partitions,
        )

    def only(self, wanted: NDArray[np.bool_], lost: NDArray[np.bool_]) -> Due:
        """The wanted records and lost events."""
        kept = self if wanted.all() else self.picked(np.flatnonzero(wanted))
        return kept if lost.all() else replace(kept, lost=self.lost[lost], lost_partitions=self.lost_partitions[lost])


@dataclass(frozen=True)
class Chunk:
    """Records as they are sent, their events as in Due.

    values, keys (a record's first event's), partitions, arrivals_ms (its last event's, epoch ms): by record. reasons: of the mangled
    events, by place in `rows`. lost: events that are sent in none.
    """

    rows: NDArray[Any]
    bounds: NDArray[np.int64]
    values: list[bytes | None]
    keys: list[bytes]
    partitions: NDArray[np.int32]
    arrivals_ms: NDArray[np.int64]
    reasons: dict[int, str]
    lost: NDArray[Any]


class Shard:
    """What goes to `mine` of `partitions` partitions. `base_ms`: epoch ms at which the span begins; `tag`: the run's.

    A lane whose sessions change their key goes to two partitions, so it may live in two shards, of which each sends its part.
    10 M lanes take 1.9 GB, and as long as a run is, no more than that.
    """

    def __init__(
        self,
        plan: Plan,
        tag: str,
        regions: int,
        base_ms: int,
        partitions: int,
        mine: frozenset[int],
        encoding: str = "json",
        logs: Sequence[str] = (),
    ) -> None:
        """logs: the regions that have a log each, whose partitions are numbered through (loadgen.homes); one log when empty."""
        self.plan = plan
        self.prefix = prefix_of(tag)
        self._arrow_wanted = encoding == "arrow"
        self._tag = tag
        self._regions = regions
        self.begin_at(base_ms)
        self._some_move = bool(plan.world.faults[1, MOVED] > 0)
        self._mine = np.isin(np.arange(partitions), list(mine))
        self._logs = homes_of_regions(regions, logs) if logs else None
        self._log_partitions = partitions // max(1, len(logs))
        numbers, self._homes = self._seats()
        self.lanes = self._seated(numbers)
        self._next_ms = _next_ms(self.lanes["phase"], self.lanes["at"])
        self._soon, self._soon_until = np.empty(0, np.int64), 0
        self._scratch = np.empty(_LEAST_ROOM, EVENT)
        self._out = np.empty(0, np.uint8)

    def _seats(self) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
        """The numbers of this shard's lanes, and i4[2, n] the partition of each under its own key, and under the other."""
        numbers, homes = [np.empty(0, np.int64)], [np.empty((2, 0), np.int32)]
        for first in range(0, self.plan.lanes, _BLOCK):
            block = np.arange(first, min(first + _BLOCK, self.plan.lanes))
            home = np.stack([homes_of(self.prefix, account_of(block), self._log_partitions)] * 2)
            if self._some_move:
                movers = np.flatnonzero(self._seated(block)["moves"])
                moved = [other_key(key) for key in keys_of(self.prefix, account_of(block[movers]))]
                home[1, movers] = partitions_of(moved, self._log_partitions) if moved else 0
            if self._logs is not None:
                home += self._log_partitions * self._logs[self._seated(block)["region"]]
            own = np.flatnonzero(self._mine[home].any(axis=0))
            numbers.append(block[own])
            homes.append(home[:, own])
        return np.concatenate(numbers), np.ascontiguousarray(np.concatenate(homes, axis=1))

    def _seated(self, numbers: NDArray[np.int64]) -> NDArray[Any]:
        """The lanes of these numbers, ascending, before their first event."""
        lanes = np.zeros(len(numbers), LANE)
        for first in range(0, len(numbers), _BLOCK):
            seat(lanes[first : first + _BLOCK], self.plan.world, numbers[first : first + _BLOCK])
        if len(numbers) and numbers[-1] == self.plan.lanes - 1:
            lanes[-1]["records_left"] = self.plan.last_lane_records
        return lanes

    def begin_at(self, base_ms: int) -> None:
        """Sets the epoch ms at which the span begins, before the first is written: a live run knows it when all processes are ready."""
        self.base_ms = base_ms
        self._pieces = make_fragments(self._tag, self._regions, base_ms)
        self._arrow = ArrowEncoder(self._tag, self._regions, len(self.plan.world.popularity), base_ms)

    def keys(self, lanes: NDArray[np.integer[Any]]) -> list[bytes]:
        """The accounts of these lanes."""
        return keys_of(self.prefix, self.lanes["account"][lanes])

    def chunks(self, chunk_ms: int) -> Iterator[Chunk]:
        """All records, in chunks of so much time each (before levelling)."""
        for due in self.due(chunk_ms):
            yield self.written(due)

    def due(self, chunk_ms: int) -> Iterator[Due]:
        """All records, to be written: in chunks of so much time each (before levelling)."""
        world = self.plan.world
        pending = np.empty(0, EVENT)
        for start in range(0, world.span_ms, chunk_ms):
            until = min(start + chunk_ms, world.span_ms)
            rows = self._with_fresh(pending, until, chunk_ms)
            limit = horizon(world, until) if until < world.span_ms else np.iinfo(np.int64).max
            arrived = rows["arrival"] < limit
            pending = gathered(rows, np.flatnonzero(~arrived))
            picks = np.flatnonzero(arrived)
            if len(picks):
                yield self._in_order(rows, picks)

    def _with_fresh(self, pending: NDArray[Any], until: int, chunk_ms: int) -> NDArray[Any]:
        """The pending events, and behind them those that are due before `until`."""
        picks = self._due_lanes(until, chunk_ms)
        self._make_room(len(pending) + _LEAST_ROOM, 0)
        bytes_of(self._scratch[: len(pending)])[:] = bytes_of(pending)  # a structured array is copied field by field
        count, at = len(pending), 0
        while at < len(picks):
            made, at = fill(self.lanes, bytes_of(self.lanes), picks, self.plan.world, until, at, self._scratch[count:])
            count += made
            if at < len(picks):
                self._make_room(2 * count + _LEAST_ROOM, count)
        self._next_ms[picks] = _next_ms(self.lanes["phase"][picks], self.lanes["at"][picks])
        rows = self._scratch[:count]
        return gathered(rows, np.flatnonzero(self._mine[self._homes_of(rows)])) if self._some_move else rows

    def _make_room(self, count: int, kept: int) -> None:
        """For so many events in all, of which the first `kept` stay, where they are made before they are put in order: the same memory for
        each chunk, for to get so much anew takes longer than to fill it."""
        if len(self._scratch) < count:
            room = np.empty(count, EVENT)
            bytes_of(room[:kept])[:] = bytes_of(self._scratch[:kept])
            self._scratch = room

    def _due_lanes(self, until: int, chunk_ms: int) -> NDArray[np.int64]:
        """The lanes that have something due before `until`, ascending.

        Of ten million lanes a few have, and to look at each takes longer than to make it: so they are looked for in a column of their own,
        and in all of it for some chunks at once.
        """
        if until > self._soon_until:
            self._soon_until = until + (_SOON_CHUNKS - 1) * chunk_ms
            self._soon = np.flatnonzero(self._next_ms < self._soon_until)
        return self._soon[self._next_ms[self._soon] < until]

    def _homes_of(self, rows: NDArray[Any]) -> NDArray[np.int32]:
        """The partitions of events."""
        found: NDArray[np.int32] = self._homes[rows["moved"], rows["lane"]] if self._some_move else self._homes[0][rows["lane"]]
        return found

    def _in_order(self, rows: NDArray[Any], picks: NDArray[np.int64]) -> Due:
        live = self.plan.world.live
        gone = rows["fault"][picks] == LOST
        lost, picks = rows[picks[gone]], picks[~gone]
        # Partition by partition: the producer fills one batch after the other, which takes a fifth off its CPU.
        by_partition = self._homes if self._arrow_wanted or not live else None
        events = gathered(rows, sending_order(rows, picks, self.lanes, by_partition, len(self._mine)))
        homes = self._homes_of(events)
        bounds = batches.cut(events, homes) if self._arrow_wanted else np.arange(len(events) + 1)
        due = Due(
            rows=events,
            bounds=bounds,
            partitions=homes[bounds[:-1]],
            arrivals_ms=events["arrival"][bounds[1:] - 1],
            lost=lost,
            lost_partitions=self._homes_of(lost),
        )
        return due.picked(np.argsort(due.arrivals_ms, kind="stable")) if self._arrow_wanted and live else due

    def written(self, due: Due) -> Chunk:
        """The records as bytes."""
        if self._arrow_wanted:
            values, reasons = batches.written(due.rows, due.bounds, self.lanes, self._arrow)
        else:
            values, reasons = self._in_json(due)
        return Chunk(
            rows=due.rows,
            bounds=due.bounds,
            values=values,
            keys=self._record_keys(due),
            partitions=due.partitions,
            arrivals_ms=due.arrivals_ms + self.base_ms,
            reasons=reasons,
            lost=due.lost,
        )

    def _record_keys(self, due: Due) -> list[bytes]:
        """Kafka's keys of the records."""
        firsts = due.bounds[:-1]
        keys = self.keys(due.rows["lane"][firsts])
        if self._some_move:
            for i in np.flatnonzero(due.rows["moved"][firsts]).tolist():
                keys[i] = other_key(keys[i])
        return keys

    def _in_json(self, due: Due) -> tuple[list[bytes | None], dict[int, str]]:
        count = len(due.rows)
        if len(self._out) < count * ROW_BYTES:
            self._out = np.empty(count * ROW_BYTES, np.uint8)
        ends = np.empty(count, np.int64)
        size = encode(due.rows, self.lanes, self._pieces, self._out, ends)
        blob = self._out[:size].tobytes()
        stops = ends.tolist()
        values: list[bytes | None] = [blob[start:stop] for start, stop in zip([0, *stops], stops, strict=False)]
        return values, _mangle(due, values)


def _next_ms(phases: NDArray[np.uint8], due_ms: NDArray[np.int64]) -> NDArray[np.int64]:
    """When lanes' next events are due, since the span began; never for those that are done."""
    return np.where(phases == DONE, np.iinfo(np.int64).max, due_ms)


def _mangle(due: Due, values: list[bytes | None]) -> dict[int, str]:
    """Makes the malformed ones malformed, and those of another version of that, in place; → their reasons."""
    reasons: dict[int, str] = {}
    faults = due.rows["fault"]
    for i in np.flatnonzero((faults == MALFORMED) | (faults == VERSION)).tolist():
        value = values[i]
        assert value is not None
        broken = mangle if faults[i] == MALFORMED else misversion
        values[i], reasons[i] = broken(value, int(due.rows["chance"][i]))
    return reasons

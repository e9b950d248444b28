"""One process's part of the audience: the lanes whose accounts' partitions are its own, as records in the order of their arrival.

Whatever the number of shards, they make the same records together, and each partition's records in the same order.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from loadgen.audience import Plan, fill, horizon, seat
from loadgen.batches import batched
from loadgen.draws import partitions_of
from loadgen.encode import ROW_BYTES, encode, make_fragments
from loadgen.encode_arrow import ArrowEncoder
from loadgen.faults import mangle, misversion
from loadgen.rows import EVENT, LANE, LOST, MALFORMED, VERSION

_BLOCK: Final = 65_536


@dataclass(frozen=True)
class Chunk:
    """Records of a stretch of time, each partition's in order of arrival, and all of them if live.

    rows[order[i]] are the events; record r holds those from bounds[r] to below bounds[r + 1], one in JSON. values, keys (a record's first
    event's), partitions, arrivals_ms (its last event's): by record. reasons: of the mangled events, by i. lost: events
    that are sent in none.
    """

    rows: NDArray[Any]
    order: NDArray[np.int64]
    bounds: NDArray[np.int64]
    values: list[bytes | None]
    keys: list[bytes]
    partitions: list[int]
    arrivals_ms: NDArray[np.int64]
    reasons: dict[int, str]
    lost: NDArray[Any]


class Shard:
    """What goes to `mine` of `partitions` partitions. `base_ms`: epoch ms at which the span begins; `tag`: the run's.

    A lane whose sessions change their key goes to two partitions, so it may live in two shards, of which each sends its part.
    """

    def __init__(
        self, plan: Plan, tag: str, regions: int, base_ms: int, partitions: int, mine: frozenset[int], encoding: str = "json"
    ) -> None:
        self.plan = plan
        self._encoding = encoding
        self._tag = tag
        self._regions = regions
        self.begin_at(base_ms)
        self._mine = np.isin(np.arange(partitions), list(mine))
        chosen: list[NDArray[Any]] = []
        homes: list[NDArray[np.int32]] = []
        self.keys: list[bytes] = []
        """The accounts of the lanes."""
        for first in range(0, plan.lanes, _BLOCK):
            block = np.zeros(min(_BLOCK, plan.lanes - first), LANE)
            seat(block, plan.world, np.arange(first, first + len(block)))
            if first + len(block) == plan.lanes:
                block[-1]["records_left"] = plan.last_lane_records
            keys = [f"{tag}-{account:07d}".encode() for account in block["account"].tolist()]
            home = np.stack([partitions_of(keys, partitions)] * 2)
            movers = np.flatnonzero(block["moves"])
            if len(movers):
                home[1, movers] = partitions_of([other_key(keys[i]) for i in movers.tolist()], partitions)
            own = np.flatnonzero(self._mine[home].any(axis=0))
            chosen.append(block[own])
            homes.append(home[:, own])
            self.keys += [keys[i] for i in own.tolist()]
        self.lanes = np.concatenate(chosen)
        self._homes = np.concatenate(homes, axis=1)
        self._some_move = bool(self.lanes["moves"].any())
        self.share = len(self.lanes) / plan.lanes

    def begin_at(self, base_ms: int) -> None:
        """Sets the epoch ms at which the span begins, before the first chunk: a live run knows it when all processes are ready."""
        self.base_ms = base_ms
        self._pieces = make_fragments(self._tag, self._regions, base_ms)
        self._arrow = ArrowEncoder(self._tag, self._regions, len(self.plan.world.popularity), base_ms)

    def chunks(self, chunk_ms: int) -> Iterator[Chunk]:
        """All records, in chunks of so much time each (before levelling)."""
        world = self.plan.world
        pending = np.empty(0, EVENT)
        for start in range(0, world.span_ms, chunk_ms):
            until = min(start + chunk_ms, world.span_ms)
            fresh = self._due(until)
            rows = np.concatenate([pending, *fresh]) if len(pending) or len(fresh) != 1 else fresh[0]
            limit = horizon(world, until) if until < world.span_ms else np.iinfo(np.int64).max
            arrived = rows["arrival"] < limit
            if arrived.all():
                pending = np.empty(0, EVENT)
            else:
                pending = rows[~arrived]
                rows = rows[arrived]
            if len(rows):
                yield self._chunk(rows)

    def _due(self, until: int) -> list[NDArray[Any]]:
        parts: list[NDArray[Any]] = []
        lane = 0
        room = 16_384
        while lane < len(self.lanes):
            rows = np.empty(room, EVENT)
            count, lane = fill(self.lanes, self.plan.world, until, lane, rows)
            rows = rows[:count]
            parts.append(rows[self._mine[self._homes_of(rows, ...)]] if self._some_move else rows)
            room = 131_072
        return parts

    def _chunk(self, rows: NDArray[Any]) -> Chunk:
        gone = rows["fault"] == LOST
        lost = rows[gone]
        rows = rows[~gone] if len(lost) else rows
        # One order whatever the shards: by arrival, then by event, then the copy after its original.
        order = np.lexsort((rows["copy"], rows["seq"], rows["ordinal"], self._order_of(rows), rows["arrival"]))
        if not self.plan.world.live or self._encoding == "arrow":
            # Partition by partition: the producer fills one batch after the other, which takes a fifth off its CPU.
            order = order[np.argsort(self._homes_of(rows, order), kind="stable")]
        arrow = self._encoding == "arrow" and len(order) > 0
        return self._in_arrow(rows, order, lost) if arrow else self._in_json(rows, order, lost)

    def _homes_of(self, rows: NDArray[Any], picks: Any) -> NDArray[np.int32]:
        """The partitions of rows[picks]."""
        lanes = rows["lane"][picks]
        found: NDArray[np.int32] = self._homes[rows["moved"][picks], lanes] if self._some_move else self._homes[0][lanes]
        return found

    def _keys_of(self, rows: NDArray[Any], picks: NDArray[np.int64]) -> list[bytes]:
        """Kafka's keys of rows[picks]."""
        keys, lanes = self.keys, rows["lane"][picks].tolist()
        if not self._some_move:
            return [keys[lane] for lane in lanes]
        return [other_key(keys[lane]) if moved else keys[lane] for lane, moved in zip(lanes, rows["moved"][picks].tolist(), strict=True)]

    def _in_arrow(self, rows: NDArray[Any], order: NDArray[np.int64], lost: NDArray[Any]) -> Chunk:
        made = batched(rows, order, self._homes_of(rows, order), self.lanes, self._arrow)
        firsts = order[made.bounds[:-1]]
        chunk = Chunk(
            rows=rows,
            order=order,
            bounds=made.bounds,
            values=made.values,
            keys=self._keys_of(rows, firsts),
            partitions=self._homes_of(rows, firsts).tolist(),
            arrivals_ms=rows["arrival"][order[made.bounds[1:] - 1]] + self.base_ms,
            reasons=made.reasons,
            lost=lost,
        )
        return _by_arrival(chunk) if self.plan.world.live else chunk

    def _in_json(self, rows: NDArray[Any], order: NDArray[np.int64], lost: NDArray[Any]) -> Chunk:
        out = np.empty(len(rows) * ROW_BYTES, np.uint8)
        ends = np.empty(len(rows), np.int64)
        size = encode(rows, order, self.lanes, self._pieces, out, ends)
        blob = out[:size].tobytes()
        stops = ends.tolist()
        values: list[bytes | None] = [blob[start:stop] for start, stop in zip([0, *stops], stops, strict=False)]
        return Chunk(
            rows=rows,
            order=order,
            bounds=np.arange(len(order) + 1),
            values=values,
            keys=self._keys_of(rows, order),
            partitions=self._homes_of(rows, order).tolist(),
            arrivals_ms=rows["arrival"][order] + self.base_ms,
            reasons=_mangle(rows, order, values),
            lost=lost,
        )

    def _order_of(self, rows: NDArray[Any]) -> NDArray[np.uint64]:
        found: NDArray[np.uint64] = self.lanes["key"][rows["lane"]]
        return found


def _by_arrival(chunk: Chunk) -> Chunk:
    """The records in the order in which they are due."""
    due = np.argsort(chunk.arrivals_ms, kind="stable")
    sizes = np.diff(chunk.bounds)[due]
    bounds = np.concatenate([[0], np.cumsum(sizes)])
    places = np.concatenate([np.arange(chunk.bounds[record], chunk.bounds[record + 1]) for record in due.tolist()])
    moved = np.empty(len(places), np.int64)
    moved[places] = np.arange(len(places))
    return Chunk(
        rows=chunk.rows,
        order=chunk.order[places],
        bounds=bounds,
        values=[chunk.values[record] for record in due.tolist()],
        keys=[chunk.keys[record] for record in due.tolist()],
        partitions=[chunk.partitions[record] for record in due.tolist()],
        arrivals_ms=chunk.arrivals_ms[due],
        reasons={int(moved[at]): reason for at, reason in chunk.reasons.items()},
        lost=chunk.lost,
    )


def other_key(account: bytes) -> bytes:
    """The key under which the rest of a session comes whose key changes. It begins with the run's tag, as every key does."""
    return account + b".moved"


def _mangle(rows: NDArray[Any], order: NDArray[np.int64], values: list[bytes | None]) -> dict[int, str]:
    """Makes the malformed ones malformed, and those of another version of that, in place; → their reasons."""
    reasons: dict[int, str] = {}
    faults = rows["fault"][order]
    for i in np.flatnonzero((faults == MALFORMED) | (faults == VERSION)).tolist():
        value = values[i]
        assert value is not None
        broken = mangle if faults[i] == MALFORMED else misversion
        values[i], reasons[i] = broken(value, int(rows["chance"][order[i]]))
    return reasons

"""The cache's writer: one source's changed cells into Redis, versioned, from asyncio.

    await cache.flush(status, batches, last_applied=…, …)   WRITTEN: `status.offset` is what Redis holds of this source
                                                            REFUSED: keep the cells dirty and flush again later
                                                            MISMATCH: await cache.reset(…), then flush all cells with last_applied=None

Measured with 20,000 cells of three measures and a leaderboard, all values new at random, Redis 7.0 on a machine busy with other work:
0.5 µs of client CPU and 6-8 µs of server CPU a cell (one measure: 4-5 µs); of the server's, the leaderboard's ZADD is 1.6. Asking
before each call whether a key is gone is lost in that with 500 cells a call, and up to a tenth with ten.
"""

from __future__ import annotations

import asyncio
import enum
import secrets
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from typing import Any, Final, TypeVar, cast

import numpy as np
import redis.asyncio
import redis.exceptions
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from connectors.cell_names import arrays_of
from connectors.redis import (
    LIBRARY,
    STATUS_FIELDS,
    RedisKeys,
    board_place,
    connection_options,
    evicting,
    expires_at_s,
    parse_source,
    redis_errors,
    shown,
)
from connectors.shelves import ShelfWriter
from connectors.turns import Turns
from topologies.flushes import CellBatch
from topologies.marks import MarkBatch
from topologies.settings import RedisSettings
from topologies.sources import Source, SourceStatus
from topologies.view import LIVE, View

CELLS_A_CALL: Final = 100
"""A function call holds the server, and all who ask it: 100 cells for about half a millisecond (0068)."""
CALLS_IN_FLIGHT: Final = 4
"""The server does what one client has sent before it turns to the next."""
FLUSHES_AT_ONCE: Final = 2
"""So many sources' calls are in flight together: one is done while the other comes. Of eight, who asks would wait for all."""
TURN_S: Final = 0.5
_T = TypeVar("_T")
_Call = tuple[str, int, list[str], list[Any]]
_Begun = tuple[int | str, str]
"""Version and token of a flush or reset."""


class FlushOutcome(enum.Enum):
    """What became of a flush or a reset."""

    WRITTEN = "ok"
    REFUSED = "refused"
    MISMATCH = "mismatch"


class CellCache:
    """Redis as a worker writes it. One for a process; flushes of several sources may run at once, of one source one after another.

    Every method raises ServerAway when Redis does not answer and StoreError when it cannot; then nothing, some or all of the call
    may be stored, and calling again with the same or a newer version is right.
    """

    def __init__(self, settings: RedisSettings, views: Sequence[View]) -> None:
        self._settings = settings
        self._views = {(view.name, view.logic_version): view for view in views}
        self._keys = RedisKeys(settings.prefix)
        self._loading = asyncio.Lock()
        self.address = ""
        """Where the worker that writes serves its metrics; stands beside its name in the sources' statuses."""
        self._policy = "noeviction"
        """As it was when the server was last inspected."""
        self._client: redis.asyncio.Redis = redis.asyncio.Redis.from_url(
            settings.url, retry=Retry(NoBackoff(), 1), **connection_options(settings)
        )
        self._turns = Turns(FLUSHES_AT_ONCE, TURN_S)
        self._shelves = ShelfWriter(settings, self._turns)

    async def connect(self) -> None:
        """Loads the functions and checks that the server never evicts, and has not. Calling again does it again."""
        with redis_errors(self._settings):
            await self._client.function_load(LIBRARY, replace=True)
            await self._look()
            if self._policy != "noeviction":
                raise evicting(self._settings.url, self._policy)

    async def close(self) -> None:
        await self._shelves.close()
        await self._client.aclose()

    async def flush(
        self, status: SourceStatus, batches: Sequence[CellBatch], *, last_applied: int | None, worker: str, at_ms: int
    ) -> FlushOutcome:
        """Writes the source's changed cells at version `status.offset`, then its status.

        last_applied: version that Redis must hold at least: this owner's last WRITTEN one, or the offset of the checkpoint that it
        restored; None when `batches` are all cells of the source. at_ms: the time, epoch milliseconds; windows expired by then are
        left out, as are views' windows that are not cached. Keys within a batch are distinct.
        """
        with redis_errors(self._settings):
            if self._policy != "noeviction":
                raise evicting(self._settings.url, self._policy)
            return await self._with_library(lambda: self._send(self._calls(status, batches, last_applied, worker, at_ms)))

    async def write_marks(self, batch: MarkBatch) -> None:
        """Brings bookmarks to their profiles' shelves, where the greater ones stand: again, or out of order, changes nothing."""
        if len(batch):
            with redis_errors(self._shelves.settings):
                await self._with_library(lambda: self._shelves.put(batch))

    async def reset(self, source: Source, version: int) -> FlushOutcome:
        """Takes away all that `source` has in Redis, a few hundred cells a step; from now until its next flush it is not consistent."""
        with redis_errors(self._settings):
            return await self._with_library(lambda: self._reset(source, version))

    # -- what is not a flush's business ---------------------------------------------------------------------------

    async def inspect(self, sources: Iterable[Source]) -> list[str]:
        """Look whether the server keeps what it is given; returns a sentence for each thing that it lost, and then holds nothing of ours.

        Found are: an eviction policy set under us (until it is noeviction again, flushes raise StoreError and readers go to Cassandra),
        evictions since the last look, the shelves' database emptied, and keys of these sources that are gone before their time. What is
        left of the cells is taken away in the same step, so that no total is made of a part; each owner's next flush is a MISMATCH, and it
        writes all cells again, and the bookmarks that it remembers.
        """
        with redis_errors(self._settings):
            return await self._with_library(lambda: self._inspect([str(source) for source in sources]))

    async def sources(self) -> list[tuple[Source, bool]]:
        """Every source that Redis has heard of, and whether it has ended."""
        with redis_errors(self._settings):
            names = sorted(name.decode() for name in await cast(Any, self._client.smembers(self._keys.sources)))
            pipe = self._client.pipeline(transaction=False)
            for name in names:
                pipe.hmget(self._keys.status(name), ["topic", "ended"])
            found = await pipe.execute()
        return [(parse_source(name, topic.decode()), ended is not None) for name, (topic, ended) in zip(names, found, strict=True) if topic]

    async def conclude(self, source: Source, at_ms: int) -> None:
        """The source has ended: its topic is no more. From now on nobody writes it; its live cells go, what it counted in windows stays
        until they expire. Calling again does what is left to do."""
        with redis_errors(self._settings):
            await self._with_library(lambda: self._conclude(str(source), at_ms))

    async def _inspect(self, sources: Sequence[str]) -> list[str]:
        where, (gone, emptied) = shown(self._settings.url), await self._look()
        lost: list[str] = []
        if self._policy != "noeviction":
            lost.append(str(evicting(self._settings.url, self._policy)))
        elif gone >= 0 and emptied:
            lost.append(f"Redis at {where} has lost all shelves; {gone:,} keys of cells are taken away, and all is written again")
        elif gone >= 0:
            lost.append(f"Redis at {where} has evicted keys; {gone:,} that were left are taken away, and all is written again")
        missing = [key for source in sources if (key := await self._census(source))]
        told = "before its time; what was left is taken away, and all is written again"
        return [*lost, *(f"Redis at {where} has lost {key!r} {told}" for key in missing)]

    async def _look(self) -> tuple[int, bool]:
        """Notes the policy; how many keys of ours were taken away because the server has lost some, −1 when it has not, and whether what it
        lost was all shelves. Their database's mark is set afterwards: who dies in between leaves that to the next."""
        marked = await self._shelves.is_marked()
        policy, gone, emptied = await self._call("mq_look", [self._keys.server], [self._keys.prefix, int(not marked)])
        self._policy = policy.decode()
        if not marked:
            await self._shelves.set_mark()
        return int(gone), bool(emptied)

    async def _census(self, source: str) -> str:
        register = self._keys.register(source)
        keys, windows = [self._keys.status(source), register], list[int]()
        for key in sorted(await cast(Any, self._client.smembers(register))):
            stem, view, expiry_s = self._declared(key.decode())
            if view is not None:
                keys += [key.decode(), self._keys.totals(stem), self._keys.board(stem, view) or ""]
                windows.append(expiry_s)
        missing = await self._call("mq_census", keys, [self._keys.prefix, *windows])
        return str(missing.decode())

    def _declared(self, cells_key: str) -> tuple[str, View | None, int]:
        """The stem of an s-key, its view and when it expires (s). No view: it is left of one, or of a window of one, that is not declared
        to be here any more; nobody writes or reads it."""
        name, logic, window, start_ms, grouping = self._keys.parsed(cells_key)
        stem = self._keys.stem_of(name, logic, window, start_ms, grouping)
        view = self._views.get((name, logic))
        declared = [each for each in (view.windows if view is not None else ()) if each.name == window and each.cached]
        return (stem, view, expires_at_s(declared[0], start_ms)) if declared else (stem, None, 0)

    async def _conclude(self, source: str, at_ms: int) -> None:
        whole, keys = await self._call("mq_conclude", [self._keys.status(source), self._keys.register(source)], [at_ms])
        for key in sorted(keys):
            if not whole or self._keys.parsed(key.decode())[2] == LIVE.name:
                await self._take(source, key.decode(), ("ended", ""))

    async def _with_library(self, work: Callable[[], Awaitable[_T]]) -> _T:
        try:
            return await work()
        except redis.exceptions.ResponseError as error:
            if "Function not found" not in str(error):
                raise
        async with self._loading:
            await self.connect()
        return await work()

    def _calls(
        self, status: SourceStatus, batches: Sequence[CellBatch], last_applied: int | None, worker: str, at_ms: int
    ) -> Iterator[_Call]:
        """A flush: its begin, its puts, its end."""
        source, version, flush = str(status.source), status.offset, _token()
        names = [self._keys.status(source), self._keys.register(source), self._keys.sources]
        begun = [version, "" if last_applied is None else last_applied, source, status.source.topic, self._keys.prefix, flush]
        yield "mq_begin", len(names), names, begun
        puts = 0
        for put in self._puts(source, (version, flush), batches, at_ms):
            puts += 1
            put[3].append(puts)
            yield put
        values = (
            status.clock_ms, status.watermark_ms, status.received, status.applied, status.duplicate, status.late, status.dead,
        )  # fmt: skip
        fields = [item for pair in zip(STATUS_FIELDS, values, strict=True) for item in pair]
        ended = [version, flush, puts, *fields, "worker", worker, "http", self.address, "at_ms", at_ms]
        yield "mq_end", 3, [*names[:2], self._keys.flushed], ended

    def _puts(self, source: str, begun: _Begun, batches: Sequence[CellBatch], at_ms: int) -> Iterator[_Call]:
        for batch in batches:
            expiry_s = expires_at_s(batch.window, batch.start_ms)
            if not batch.window.cached or (expiry_s and expiry_s * 1000 <= at_ms):
                continue
            stem = self._keys.stem(batch.view, batch.window.name, batch.start_ms, batch.grouping)
            names = self._names(source, stem, batch.view)
            width = 8 * len(batch.view.measures)
            values = np.ascontiguousarray(batch.values, dtype="<i8").tobytes()
            head = [*begun, width, board_place(batch.view), expiry_s]
            for at, keys in enumerate(arrays_of(batch.keys, CELLS_A_CALL)):
                some = values[at * CELLS_A_CALL * width : (at + 1) * CELLS_A_CALL * width]
                yield "mq_put", len(names), names, [*head, keys, some, self._keys.prefix]

    def _names(self, source: str, stem: str, view: View) -> list[str]:
        board = self._keys.board(stem, view)
        names = [self._keys.status(source), self._keys.register(source), self._keys.cells(stem, source), self._keys.totals(stem)]
        return names if board is None else [*names, board]

    async def _send(self, calls: Iterator[_Call]) -> FlushOutcome:
        """Sends the calls, a few in flight; stops after those among which one was not ok, behind which no other was either."""
        waiting: list[_Call] = []
        for call in calls:
            waiting.append(call)
            if len(waiting) == CALLS_IN_FLIGHT:
                outcome = await self._pipelined(waiting)
                if outcome is not FlushOutcome.WRITTEN:
                    return outcome
                waiting = []
        return await self._pipelined(waiting) if waiting else FlushOutcome.WRITTEN

    async def _pipelined(self, calls: list[_Call]) -> FlushOutcome:
        pipe = self._client.pipeline(transaction=False)
        for name, count, names, arguments in calls:
            pipe.execute_command("FCALL", name, count, *names, *arguments)
        async with self._turns.turn():
            states = await pipe.execute()
        for state in states:
            if state != b"ok":
                return FlushOutcome(state.decode())
        return FlushOutcome.WRITTEN

    async def _reset(self, source: Source, version: int) -> FlushOutcome:
        text, flush = str(source), _token()
        names = [self._keys.status(text), self._keys.register(text), self._keys.sources]
        state, keys = await self._call("mq_reset", names, [version, flush, text, self._keys.prefix])
        if state != b"ok":
            return FlushOutcome(state.decode())
        for key in sorted(keys):
            outcome = await self._take(text, key.decode(), (version, flush))
            if outcome is not FlushOutcome.WRITTEN:
                return outcome
        return FlushOutcome.WRITTEN

    async def _take(self, source: str, cells_key: str, begun: _Begun) -> FlushOutcome:
        stem, view, expiry_s = self._declared(cells_key)
        if view is None:
            names = [self._keys.status(source), self._keys.register(source), cells_key, self._keys.totals(stem)]
            return FlushOutcome((await self._call("mq_drop", names, [*begun])).decode())
        others = [self._keys.board_by(stem, each.name) for each in view.measures if each.name != view.leaderboard]
        ours = self._names(source, stem, view)
        names = [*ours, *([""] if view.leaderboard is None else []), *others]
        head = [*begun, 8 * len(view.measures), board_place(view)]
        cursor, left = b"0", 1
        while left:
            state, cursor, left = await self._call("mq_take", names, [*head, cursor, CELLS_A_CALL, expiry_s, self._keys.prefix])
            if state != b"ok":
                return FlushOutcome(state.decode())
        return FlushOutcome.WRITTEN

    async def _call(self, name: str, keys: list[str], arguments: list[Any]) -> Any:
        return await self._client.execute_command("FCALL", name, len(keys), *keys, *arguments)  # type: ignore[no-untyped-call]


def _token() -> str:
    """Of one flush or reset. Of this client's own making: a number that the server counts up would begin anew with the key it stands in."""
    return secrets.token_hex(8)

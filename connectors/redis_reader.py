"""The cache's reader, for queries and the audit: whole statuses, totals, leaderboards, and atomic looks at cells."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from connectors.cell_id import CellId, join_key, split_key
from connectors.redis import STATUS_FIELDS, RedisKeys, connection_options, parse_source, redis_errors
from topologies.errors import StoreError
from topologies.settings import RedisSettings
from topologies.sources import Source, SourceStatus
from topologies.view import View

Values = tuple[int, ...]
Totals = dict[tuple[str, ...], Values]
_PAUSE_S: Final = 0.02


@dataclass(frozen=True)
class CachedStatus:
    """A source in Redis. `status` is None before its first flush has ended and while it is rewritten; `seen` is the last flush begun."""

    source: Source
    status: SourceStatus | None
    seen: int
    worker: str
    at_ms: int
    ended: bool = False
    """Its topic is no more: nobody writes it, its live cells are gone, what it counted in windows stays until they expire."""
    http: str = ""
    """Where its worker serves metrics, health and readiness."""

    @property
    def consistent(self) -> bool:
        """Whether the source's cells are exactly those of `status.offset`."""
        return self.status is not None and self.status.offset == self.seen


@dataclass(frozen=True)
class WindowLook:
    """One window of one grouping as it stood at one instant: cells of each source, their totals, and the leaderboard by key (or None).

    The leaderboard has the greatest totals: all down to some total, which may be all there are.
    """

    view: str
    logic: int
    window: str
    start_ms: int
    grouping: int
    sources: dict[Source, Totals]
    totals: Totals
    board: dict[tuple[str, ...], int] | None


class CellReader:
    """Redis as queries and the audit read it. Every method raises ServerAway or StoreError; nothing answers empty for an error."""

    def __init__(self, settings: RedisSettings, views: Sequence[View]) -> None:
        self._settings = settings
        self._views = {(view.name, view.logic_version): view for view in views}
        self._keys = RedisKeys(settings.prefix)
        self._client: Any = redis.Redis.from_url(settings.url, retry=Retry(NoBackoff(), 1), **connection_options(settings))
        self._heard_of: list[str] = []
        """The sources that Redis had heard of when it was last asked."""

    def close(self) -> None:
        self._client.close()

    def statuses(self) -> dict[str, CachedStatus]:
        """Every source that Redis has heard of, by its text; of those that have ended, the ones whose cells are of one version.

        One round trip, and a second where it has heard of others since it was last asked.
        """
        with redis_errors(self._settings):
            before = self._heard_of
            heard, *found = self._together([("SMEMBERS", self._keys.sources), *self._asked_for(before)])
            names = sorted(name.decode() for name in heard)
            if names != before:
                found = self._together(self._asked_for(names))
                self._heard_of = names
        statuses = {name: _status(name, _pairs(fields)) for name, fields in zip(names, found, strict=True) if fields}
        return {name: status for name, status in statuses.items() if status.status is not None or not status.ended}

    def totals(self, view: View, window: str, start_ms: int, grouping: int, keys: Sequence[tuple[str, ...]] | None = None) -> Totals:
        """Sums over sources by key, of all keys or of those asked for (the absent ones are left out)."""
        name = self._keys.totals(self._keys.stem(view, window, start_ms, grouping))
        with redis_errors(self._settings):
            if keys is None:
                return _cells(_pairs(self._client.execute_command("HGETALL", name)))
            if not keys:
                return {}
            found = self._client.execute_command("HMGET", name, *(join_key(key) for key in keys))
        return {key: _values(value) for key, value in zip(keys, found, strict=True) if value is not None}

    def top(self, view: View, window: str, start_ms: int, grouping: int, k: int) -> list[tuple[tuple[str, ...], int]]:
        """The k greatest totals of the view's leaderboard, greatest first, equal ones by key.

        Raises StoreError when the view declares no leaderboard.
        """
        stem = self._keys.stem(view, window, start_ms, grouping)
        name = self._keys.board(stem, view)
        if name is None or view.ranked is None:
            raise StoreError(f"view {view.name} has no leaderboard; declare one in topologies/{view.name}.py")
        with redis_errors(self._settings), self._client.pipeline(transaction=True) as pipe:
            found, held, there = pipe.zrange(name, 0, max(k, 1) - 1, withscores=True).zcard(name).hlen(self._keys.totals(stem)).execute()
        best = [(split_key(key), -int(score)) for key, score in found]
        if held < min(k, there):  # a leaderboard ends somewhere
            values = {key: cell[view.ranked] for key, cell in self.totals(view, window, start_ms, grouping).items()}
            best = sorted(values.items(), key=lambda cell: (-cell[1], join_key(cell[0])))
        return [(key, total) for key, total in best[: max(k, 0)] if total]

    def windows(self, view: View, window: str) -> list[int]:
        """Starts of this window that have cells, ascending, epoch milliseconds."""
        with redis_errors(self._settings):
            stems = {stem for stem in self._registered(None) if stem[:3] == (view.name, view.logic_version, window)}
            stems_there = sorted(stems)
            there = self._together([("EXISTS", self._keys.totals(self._keys.stem(view, *stem[2:]))) for stem in stems_there])
        return sorted({stem[3] for stem, exists in zip(stems_there, there, strict=True) if exists})

    def source_cells(self, source: str, timeout_s: float = 30.0) -> tuple[CachedStatus, dict[CellId, Values]]:
        """The cells of one source exactly as of `status.offset` (not None), from one atomic look.

        Looks again until the source is consistent; StoreError after timeout_s seconds, or at once if Redis has never heard of it.
        """
        deadline = time.monotonic() + timeout_s
        while True:
            status, cells = self._look(source)
            if status is not None and status.consistent:
                return status, cells
            if status is None:
                raise StoreError(f"Redis has never heard of source {source}; is its worker running?")
            if time.monotonic() >= deadline:
                stands = "unfinished" if status.status is None else f"applied to {status.status.offset}"
                where = f"source {source} was not consistent in Redis for {timeout_s:g} s ({stands}, flushing {status.seen})"
                raise StoreError(f"{where}; see whether its worker lives (`marquee status`)")
            time.sleep(_PAUSE_S)

    def snapshot(self, sources: Sequence[Source]) -> Iterator[WindowLook]:
        """Every window of these views that these sources have in Redis, each from one atomic look: its totals are the sums of its sources'
        cells.

        `sources` must be all that Redis knows for that to hold. A window that expires in between is left out.
        """
        with redis_errors(self._settings):
            stems = sorted(self._registered([str(source) for source in sources]))
        for stem in stems:
            if (view := self._views.get(stem[:2])) is not None:
                with redis_errors(self._settings):
                    look = self._window(view, stem, sources)
                if look.totals or look.sources:
                    yield look

    def _asked_for(self, sources: Sequence[str]) -> list[tuple[str, str]]:
        return [("HGETALL", self._keys.status(source)) for source in sources]

    def _window(self, view: View, stem: tuple[str, int, str, int, int], sources: Sequence[Source]) -> WindowLook:
        text = self._keys.stem(view, *stem[2:])
        board = self._keys.board(text, view)
        with self._client.pipeline(transaction=True) as pipe:
            pipe.execute_command("HGETALL", self._keys.totals(text))
            for source in sources:
                pipe.execute_command("HGETALL", self._keys.cells(text, str(source)))
            if board is not None:
                pipe.zrange(board, 0, -1, withscores=True)
            found = pipe.execute()
        by_source = {source: _cells(_pairs(cells)) for source, cells in zip(sources, found[1:], strict=False) if cells}
        ranked = None if board is None else {split_key(key): -int(score) for key, score in found[-1]}
        return WindowLook(*stem, sources=by_source, totals=_cells(_pairs(found[0])), board=ranked)

    def _look(self, source: str) -> tuple[CachedStatus | None, dict[CellId, Values]]:
        status_key, register = self._keys.status(source), self._keys.register(source)
        with redis_errors(self._settings):
            keys = sorted(key.decode() for key in self._client.smembers(register))
            while True:
                with self._client.pipeline(transaction=True) as pipe:
                    pipe.smembers(register)
                    for key in (status_key, *keys):
                        pipe.execute_command("HGETALL", key)
                    members, fields, *found = pipe.execute()
                now = sorted(key.decode() for key in members)
                if set(now) <= set(keys):
                    break
                keys = now
        if not fields:
            return None, {}
        cells: dict[CellId, Values] = {}
        for name, hashed in zip(keys, found, strict=True):
            place = self._keys.parsed(name)
            for key, value in _pairs(hashed).items():
                cells[CellId(*place, split_key(key))] = _values(value)
        return _status(source, _pairs(fields)), cells

    def _registered(self, sources: Sequence[str] | None) -> set[tuple[str, int, str, int, int]]:
        if sources is None:
            sources = [name.decode() for name in self._client.smembers(self._keys.sources)]
        found = self._together([("SMEMBERS", self._keys.register(source)) for source in sources])
        return {self._keys.parsed(key.decode()) for keys in found for key in keys}

    def _together(self, commands: Sequence[tuple[str, str]]) -> list[Any]:
        if not commands:
            return []
        with self._client.pipeline(transaction=False) as pipe:
            for command in commands:
                pipe.execute_command(*command)
            return list(pipe.execute())


def _pairs(answer: Any) -> dict[bytes, bytes]:
    return answer if isinstance(answer, dict) else dict(zip(answer[::2], answer[1::2], strict=True))


def _values(stored: bytes) -> Values:
    return tuple(memoryview(stored).cast("q"))


def _cells(hashed: dict[bytes, bytes]) -> Totals:
    return {split_key(key): _values(value) for key, value in hashed.items()}


def _status(text: str, fields: dict[bytes, bytes]) -> CachedStatus:
    named = {name.decode(): value.decode() for name, value in fields.items()}
    source = parse_source(text, named.get("topic", ""))
    status = None
    if "applied" in named:
        status = SourceStatus(source, int(named["applied"]), *(int(named[name]) for name in STATUS_FIELDS))
    seen, at_ms = int(named["seen"]), int(named.get("at_ms", "0"))
    return CachedStatus(source, status, seen, named.get("worker", ""), at_ms, "ended" in named, named.get("http", ""))

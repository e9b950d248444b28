"""The other regions as this process reads them: their Redis, and what Cassandra's other data centres have. Behind circuit breakers.

    links     of this process: a breaker for each region's Redis, and one for all other data centres together
    cells     of one thread: a reader of each region's Redis, this process's own first; sums over them, and their best keys

Best keys over several leaderboards are found by the threshold algorithm (Fagin, Lotem, Naor, PODS 2001): the first n of each, with their
totals everywhere, until the last wanted one is above the sum of the n-th ones, which no key that was not met can exceed.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Final, TypeVar

from connectors.breaker import Breaker
from connectors.cell_id import join_key
from connectors.closing import Closing
from connectors.redis_reader import CachedStatus, CellReader, Totals
from serving.cells import Key
from topologies.errors import ServerAway
from topologies.regions import in_region, others_of
from topologies.settings import RedisSettings, Settings
from topologies.view import View

T = TypeVar("T")
DEEPER: Final = 4


class RegionAway(ServerAway):
    """Another region went while a question was being answered: who asks again is told without it."""


class Links(Closing):
    """The ways to the other regions, of one process; any number of threads."""

    def __init__(self, settings: Settings) -> None:
        retry_s = settings.regions.retry_s
        self.redis = {region: Breaker(f"Redis of {region}", retry_s) for region in others_of(settings)}
        self.cassandra = Breaker("Cassandra elsewhere", retry_s)

    def close(self) -> None:
        """Twice does nothing more."""
        for breaker in (*self.redis.values(), self.cassandra):
            breaker.close()


def patient(settings: Settings, region: str) -> RedisSettings:
    """The settings of a region's Redis, with the time-out of those that are elsewhere."""
    redis = in_region(settings, region).redis
    return redis if region == settings.worker.region else replace(redis, timeout_s=min(redis.timeout_s, settings.regions.timeout_s))


class RegionalCells(Closing):
    """Every region's Redis; one thread."""

    def __init__(self, settings: Settings, parts: Sequence[View], links: Links, own: CellReader) -> None:
        """own: the reader of this process's region, which stays its owner's."""
        self._links = links
        self._own = settings.worker.region
        self._others = {region: CellReader(patient(settings, region), parts) for region in others_of(settings)}
        self._readers = {self._own: own, **self._others}

    def close(self) -> None:
        """Twice does nothing more."""
        for reader in self._others.values():
            reader.close()

    def statuses(self) -> dict[str, Mapping[str, CachedStatus] | ServerAway]:
        """By region, every source that its Redis has heard of; or why it does not answer."""
        found: dict[str, Mapping[str, CachedStatus] | ServerAway] = {}
        for region, reader in self._readers.items():
            try:
                found[region] = self._asked(region, reader.statuses)
            except ServerAway as error:
                found[region] = error
        return found

    def totals(self, regions: Collection[str], view: View, window: str, start_ms: int, grouping: int, keys: Sequence[Key] | None) -> Totals:
        """Sums over the sources of these regions; of these keys, or of all. Raises RegionAway when one of the others does not answer."""
        sums: dict[Key, tuple[int, ...]] = {}
        for region in regions:
            reader = self._readers[region]
            found = self._required(region, partial(reader.totals, view, window, start_ms, grouping, keys))
            for key, values in found.items():
                sums[key] = tuple(map(sum, zip(sums[key], values, strict=True))) if key in sums else values
        return sums

    def best(self, regions: Collection[str], view: View, window: str, start_ms: int, grouping: int, count: int) -> list[Key]:
        """The keys with the greatest totals over these regions, greatest first, equal ones by key. Raises as `totals`."""
        assert view.ranked is not None
        depth = count
        while True:
            met: set[Key] = set()
            beyond, ended = 0, True
            for region in regions:
                reader = self._readers[region]
                first = self._required(region, partial(reader.top, view, window, start_ms, grouping, depth))
                met.update(key for key, _ in first)
                if len(first) == depth:
                    beyond, ended = beyond + first[-1][1], False
            totals = self.totals(regions, view, window, start_ms, grouping, sorted(met))
            ranked = sorted(((key, values[view.ranked]) for key, values in totals.items()), key=lambda one: (-one[1], join_key(one[0])))
            if ended or (len(ranked) >= count and ranked[count - 1][1] > beyond):
                return [key for key, total in ranked[:count] if total]
            depth *= DEEPER

    def _required(self, region: str, ask: Callable[[], T]) -> T:
        try:
            return self._asked(region, ask)
        except ServerAway as error:
            if region == self._own:
                raise
            raise RegionAway(str(error)) from error

    def _asked(self, region: str, ask: Callable[[], T]) -> T:
        if region == self._own:
            return ask()
        with self._links.redis[region].guarded(self._others[region].statuses):
            return ask()

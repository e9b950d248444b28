"""Where each window is read: what can still change from Redis, what is final from Cassandra.

    a window is read from Redis      while it is kept there and final at no source, and Redis knows every source at least as far as
                                     Cassandra does: an owner forgets what is final, and could not bring it back to a Redis that lost it
    else from its final rows         where Cassandra has them, of every source that is known (serving/finals.py)
    else from Cassandra              its packs, merged over sources; one Cassandra flush older (5 s, of a backfill 15 s)

Of a view only its integers are kept in Redis. What is read in Cassandra is read through Memcached (connectors/read_through.py).
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Generic

from serving.cells import Cell, Sums
from serving.columns import Columns
from serving.finals import Taken, take_final
from serving.known import Known
from serving.partials import read_partials
from serving.questions import Plan
from serving.stores import Stores
from topologies.errors import ServerAway
from topologies.sources import LATENESS_MS, SourceStatus
from topologies.view import View, Window

NEVER: Final = 2**62
"""Later than any window starts."""


@dataclass(frozen=True)
class Reading(Generic[Cell]):
    """The cells of one part, and which starts of its windows were read where. Of the stored ones, `final`: those that had final rows;
    `remembered`: those that Memcached had, so that Cassandra was not asked. Of several regions, `apart`: those whose share of the cached
    ones is Cassandra's; `near`: what other regions stored last may be missing, since their data centres did not answer."""

    sums: Sums[Cell]
    cached: tuple[int, ...]
    stored: tuple[int, ...]
    final: frozenset[int] = frozenset()
    remembered: frozenset[int] = frozenset()
    apart: frozenset[str] = frozenset()
    near: bool = False


def read(stores: Stores, known: Known, columns: Columns[Cell], starts_ms: Sequence[int], now_ms: int) -> Reading[Cell]:
    """The cells of these windows (ascending). Raises ServerAway when a store that is needed does not answer, or just did not."""
    plan, sums = columns.plan, columns.sums()
    begins = bisect_left(starts_ms, cached_from(plan.stored, known, now_ms))
    stored, cached = tuple(starts_ms[:begins]), tuple(starts_ms[begins:])
    if stored and known.away:
        raise ServerAway(known.away)
    apart, near = frozenset[str](), False
    if known.regions:
        apart, near = _add_regions(stores, known, columns, sums, cached, now_ms, alone=len(starts_ms) == 1)
    else:
        for start_ms in cached:
            _add_cached(stores, sums, start_ms, alone=len(starts_ms) == 1)
    taken = take_final(stores, known, columns, sums, stored, alone=len(starts_ms) == 1) if stored and plan.stored.length_ms else Taken()
    remembered = taken.remembered
    if partial := set(stored).difference(taken.starts_ms):
        partials = read_partials(stores, known, plan, partial)
        near |= partials.near
        for pack in partials.packs:
            sums.take(columns.decoded_partial(pack, partial), partial)
        remembered |= {start_ms for start_ms in partial if plan.stored.pack_of(start_ms) in partials.remembered}
    return Reading(sums, cached, stored, taken.starts_ms, remembered, apart, near)


def _add_regions(
    stores: Stores, known: Known, columns: Columns[Cell], sums: Sums[Cell], starts_ms: Sequence[int], now_ms: int, *, alone: bool
) -> tuple[frozenset[str], bool]:
    """Adds windows that some regions' Redis have, and of the other regions, which are told, what Cassandra has of them; whether that is
    what has come here alone. While Cassandra is away they are left out."""
    plan, away = columns.plan, dict[frozenset[str], list[int]]()
    begins = {region: region_cached_from(plan.stored, one, known, now_ms) for region, one in known.regions.items()}
    for start_ms in starts_ms:
        there = [region for region, begin_ms in begins.items() if start_ms >= begin_ms]
        elsewhere = frozenset(begins) - frozenset(there)
        _add_cached(stores, sums, start_ms, alone=alone and not elsewhere, regions=there)
        if elsewhere:
            away.setdefault(elsewhere, []).append(start_ms)
    near = bool(away and known.away)
    for regions, missing_ms in away.items() if not known.away else ():
        partials = read_partials(stores, known, plan, missing_ms, regions)
        near |= partials.near
        for pack in partials.packs:
            sums.take(columns.decoded_partial(pack, set(missing_ms)), set(missing_ms))
    return frozenset[str]().union(*away), near


def is_cached(plan: Plan, start_ms: int, known: Known, now_ms: int) -> bool:
    """Whether this window is to be read from Redis."""
    return start_ms >= cached_from(plan.stored, known, now_ms)


def cached_from(window: Window, known: Known, now_ms: int) -> int:
    """From which start on windows are to be read from Redis: it has them still, none is final at any source, and what it lacks
    (`Known.doubt`) is older. NEVER when none is; 0 of the live window, when that is."""
    if known.regions:
        return min(region_cached_from(window, one, known, now_ms) for one in known.regions.values())
    return region_cached_from(window, known, known, now_ms)


def region_cached_from(window: Window, known: Known, every: Known, now_ms: int) -> int:
    """The same of one region's Redis. known: of its sources; every: of those of all regions, at none of which a window may be final."""
    if not window.cached or not known.cached or known.redis_away or known.lacking - known.ended:
        return NEVER
    if not window.length_ms:
        return 0
    forgotten_ms = now_ms - window.retention_s * 1000
    passed_ms = max((status.watermark_ms for status in every.going(every.best)), default=-NEVER) - LATENESS_MS
    lacked_ms = max((known.reached_ms(name) for name in known.lacking), default=-NEVER)
    return max(max(forgotten_ms, passed_ms) - window.length_ms, lacked_ms) + 1


def _passed(window: Window, start_ms: int, status: SourceStatus) -> bool:
    """Whether the source's watermark has passed the window's end + 15 min."""
    return status.watermark_ms >= start_ms + window.length_ms + LATENESS_MS


def is_settled(view: View, window: Window, start_ms: int, known: Known) -> bool:
    """Whether what an answer has of this window is final: one source has passed it, and so has every one that goes on, and the view is
    counted at all; the live window never is. That is asked of Cassandra's statuses: what is final at any source is read there, and Redis'
    may be a flush ahead, which of a backfill is hours."""
    if not all(known.counted.whole(part.table) for part in view.parts):
        return False
    passed = {name for name, status in known.stored.items() if _passed(window, start_ms, status)}
    return bool(window.length_ms) and bool(passed) and known.names - known.over <= passed


def _add_cached(stores: Stores, sums: Sums[Any], start_ms: int, *, alone: bool, regions: Sequence[str] = ()) -> None:
    """Adds a window's totals: of the leaderboard's first or of the one key asked for, when nothing else can be in the answer. regions:
    whose Redis are summed, where there are several."""
    plan = sums.plan
    view, window, names = plan.view, plan.stored.name, plan.view.groupings[plan.grouping]
    keys = None
    if len(plan.fixed) == len(names):
        keys = [tuple(plan.fixed[at] for at in range(len(names)))]
    elif plan.top is not None and view.leaderboard and len(view.parts) == 1 and alone and not plan.fixed and len(plan.kept) == len(names):
        keys = stores.best(view, window, start_ms, plan.grouping, plan.top, regions)
    for key, values in stores.totals(view, window, start_ms, plan.grouping, keys, regions).items():
        sums.add(start_ms, key, values)

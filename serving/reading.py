"""Where each window is read: what can still change from Redis, what is final from Cassandra.

    a window is read from Redis      while it is kept there and final at no source, and Redis knows every source at least as far as
                                     Cassandra does: an owner forgets what is final, and could not bring it back to a Redis that lost it
    else from its final rows         where Cassandra has them, of every source that is known (serving/finals.py)
    else from Cassandra              its packs, merged over sources; one Cassandra flush older (5 s, of a backfill 15 s)

Of a view only its integers are kept in Redis. What is read in Cassandra is read through Memcached (connectors/read_through.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Generic

from serving.cells import Cell, Sums
from serving.columns import Columns
from serving.finals import Taken, take_final
from serving.partials import read_partials
from serving.questions import Plan
from serving.stores import Known, Stores
from topologies.errors import ServerAway
from topologies.sources import LATENESS_MS, SourceStatus
from topologies.view import View, Window


@dataclass(frozen=True)
class Reading(Generic[Cell]):
    """The cells of one part, and which starts of its windows were read where. Of the stored ones, `final`: those that had final rows;
    `remembered`: those that Memcached had, so that Cassandra was not asked."""

    sums: Sums[Cell]
    cached: tuple[int, ...]
    stored: tuple[int, ...]
    final: frozenset[int] = frozenset()
    remembered: frozenset[int] = frozenset()


def read(stores: Stores, known: Known, columns: Columns[Cell], starts_ms: Sequence[int], now_ms: int) -> Reading[Cell]:
    """The cells of these windows. Raises ServerAway when a store that is needed does not answer, or just did not."""
    plan, sums = columns.plan, columns.sums()
    cached = tuple(start_ms for start_ms in starts_ms if is_cached(plan, start_ms, known, now_ms))
    stored = tuple(sorted(set(starts_ms) - set(cached)))
    if stored and known.away:
        raise ServerAway(known.away)
    for start_ms in cached:
        _add_cached(stores, sums, start_ms, alone=len(starts_ms) == 1)
    taken = take_final(stores, known, columns, sums, stored, alone=len(starts_ms) == 1) if stored and plan.stored.length_ms else Taken()
    remembered = taken.remembered
    if partial := set(stored) - taken.starts_ms:
        partials = read_partials(stores, known, plan, partial)
        for pack in partials.packs:
            sums.take(columns.decoded_partial(pack, partial), partial)
        remembered |= {start_ms for start_ms in partial if plan.stored.pack_of(start_ms) in partials.remembered}
    return Reading(sums, cached, stored, taken.starts_ms, remembered)


def is_cached(plan: Plan, start_ms: int, known: Known, now_ms: int) -> bool:
    """Whether this window is to be read from Redis."""
    window = plan.stored
    if not window.cached or not known.cached or known.doubt(window, start_ms):
        return False
    if not window.length_ms:
        return True
    kept = now_ms < start_ms + window.length_ms + window.retention_s * 1000
    return kept and not any(_passed(window, start_ms, status) for status in known.going(known.best))


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


def _add_cached(stores: Stores, sums: Sums[Any], start_ms: int, *, alone: bool) -> None:
    """Adds a window's totals: of the leaderboard's first or of the one key asked for, when nothing else can be in the answer."""
    plan = sums.plan
    view, window, names = plan.view, plan.stored.name, plan.view.groupings[plan.grouping]
    keys = None
    if len(plan.fixed) == len(names):
        keys = [tuple(plan.fixed[at] for at in range(len(names)))]
    elif plan.top is not None and view.leaderboard and len(view.parts) == 1 and alone and not plan.fixed and len(plan.kept) == len(names):
        keys = stores.best(view, window, start_ms, plan.grouping, plan.top)
    for key, values in stores.totals(view, window, start_ms, plan.grouping, keys).items():
        sums.add(start_ms, key, values)

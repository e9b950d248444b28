"""One source's recount against what a store serves of it."""

from __future__ import annotations

from typing import Final

import duckdb

from loadgen import audit_views
from loadgen.audit_report import Difference, ViewTally
from topologies import accounting
from topologies.sources import SourceStatus
from topologies.view import View

EXPIRY_MARGIN_MS: Final = 60_000
_KEPT: Final = 1_000
_COUPONS_SHOWN: Final = 8

_WRONG: Final = """
SELECT "view", "window", start_ms, grouping, key, r."values", s."values"
FROM (SELECT r.* FROM recounted r JOIN windows w USING ("view", "window") WHERE w.kept) r
FULL JOIN (SELECT * EXCLUDE (store, source) FROM served WHERE store = $store AND source = $source) s
  USING ("view", "window", start_ms, grouping, key)
LEFT JOIN windows w USING ("view", "window")
WHERE r."values" IS DISTINCT FROM s."values" AND NOT (s."values" IS NULL AND w.excused_before_ms >= start_ms)
"""


def compare_cells(
    database: duckdb.DuckDBPyConnection,
    views: tuple[View, ...],
    store: str,
    source: str,
    watermark_ms: int,
    now_ms: int,
    tallies: dict[str, ViewTally],
) -> list[Difference]:
    """Compare table `recounted` with what `store` serves of this source at the same offset; counts into `tallies`, returns what is wrong.

    Cassandra must serve every cell. Redis must serve those of cached windows that are neither final at the source's
    recounted watermark nor past their retention at `now_ms` (the time, epoch ms); what it serves besides must still be right.
    """
    _declare_windows(database, views, store, watermark_ms, now_ms)
    parameters = {"store": store, "source": source}
    compared = """SELECT "view", count(*) FROM (
        SELECT "view", "window", start_ms, grouping, key FROM recounted JOIN windows USING ("view", "window") WHERE kept
        UNION SELECT "view", "window", start_ms, grouping, key FROM served WHERE store = $store AND source = $source) GROUP BY "view\""""
    cells = dict(database.execute(compared, parameters).fetchall())
    wrong = dict(database.execute(f'SELECT "view", count(*) FROM ({_WRONG}) GROUP BY "view"', parameters).fetchall())
    for view in views:
        tallies[view.family].add(store, cells.get(view.name, 0), wrong.get(view.name, 0))
    if not wrong:
        return []
    sketches = {view.name for view in views if view.distinct is not None}
    found = database.execute(f"{_WRONG} ORDER BY ALL LIMIT {_KEPT}", parameters).fetchall()
    return [
        Difference(name, window, start_ms, grouping, key, source, store, told[0], told[1])
        for name, window, start_ms, grouping, key, expected, given in found
        for told in [_told(expected, given, only_differing=name in sketches)]
    ]


def _declare_windows(database: duckdb.DuckDBPyConnection, views: tuple[View, ...], store: str, watermark_ms: int, now_ms: int) -> None:
    """Table `windows`: whether the store keeps the window at all (kept), and from which start downwards a cell may be missing there."""
    database.execute('CREATE OR REPLACE TABLE windows ("view" VARCHAR, "window" VARCHAR, kept BOOLEAN, excused_before_ms BIGINT)')
    for view in views:
        for window in view.windows:
            excused = -1
            if store == "redis" and window.length_ms:
                excused = watermark_ms - audit_views.LATE_MS - window.length_ms
                if window.retention_s:
                    excused = max(excused, now_ms + EXPIRY_MARGIN_MS - window.length_ms - window.retention_s * 1000)
            row = [view.name, window.name, store == "cassandra" or window.cached, excused]
            database.execute("INSERT INTO windows VALUES (?, ?, ?, ?)", row)


def compare_status(recounted: audit_views.RecountedStatus, store: str, status: SourceStatus, tally: ViewTally) -> list[Difference]:
    """Compare the source's own figures with the recounted ones."""
    expected = (recounted.clock_ms, recounted.watermark_ms, *(getattr(recounted, name) for name in accounting.MEASURES))
    served = (status.clock_ms, status.watermark_ms, *(getattr(status, name) for name in accounting.MEASURES))
    is_wrong = expected != served or not accounting.balanced(status)
    tally.add(store, 1, int(is_wrong))
    key = "clock_ms, watermark_ms, " + ", ".join(accounting.MEASURES)
    return [Difference(accounting.NAME, "", 0, 0, key, str(status.source), store, expected, served)] if is_wrong else []


def missing_in_redis(status: SourceStatus, tally: ViewTally) -> list[Difference]:
    """A source that Cassandra knows and Redis does not is wrong: Redis hears of it first, and again within a flush of losing it."""
    tally.add("redis", 1, 1)
    expected = tuple(getattr(status, name) for name in accounting.MEASURES)
    return [Difference(accounting.NAME, "", 0, 0, ", ".join(accounting.MEASURES), str(status.source), "redis", expected, None)]


def _told(expected: list[int] | None, given: list[int] | None, *, only_differing: bool) -> tuple[tuple[int, ...] | None, ...]:
    """Both as a difference tells them: of sketches the first coupons that the other has not."""
    same = set(expected or ()) & set(given or ()) if only_differing else set()
    kept = _COUPONS_SHOWN if only_differing else None
    return tuple(None if values is None else tuple(value for value in values if value not in same)[:kept] for values in (expected, given))

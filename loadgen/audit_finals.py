"""Final rows against the cells that each source has in Cassandra: what they were made of, summed once more, in SQL.

A final row counts while it is of every source that is known, which is when readers take it; one that lacks a source is of the past, and
one that is not there yet comes: how many are to come is told, and how many of these should have. They are in table `served` as stores FINAL
and TOP. The volumes that they are bound into are audit_volumes.py's.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import Final

import duckdb

from connectors.cassandra_finals import FinalPack, FinalRows, Mark, top_bucket
from loadgen.audit_report import EVERY, Difference, FinalsTally, ViewTally
from loadgen.audit_sql import total
from topologies.finals import BEST, Bases, Basis
from topologies.packs import BUCKETS
from topologies.sketch_packs import decode_cells
from topologies.sources import LATENESS_MS, SKEW_MS, Counted, Finish, SourceStatus, finished
from topologies.view import KEY_SEPARATOR, View, Window
from topologies.volumes import VolumeBasis

FINAL: Final = "cassandra final"
TOP: Final = "cassandra top"
VOLUME: Final = "cassandra volume"
_KEPT: Final = 1_000
_SPANS_ASKED: Final = 200
"""The final rows of so many spans of a part are asked for, those of more are walked through."""
_TOLD: Final = 16
"""So many of a cell's integers, of which a sketch has thousands."""

_WRONG: Final = """
SELECT start_ms, grouping, key, e."values", s."values" FROM {expected} e
FULL JOIN (SELECT start_ms, grouping, key, "values" FROM served JOIN spans ON start_ms - start_ms % $pack_ms = first_ms
           WHERE store = $store AND "view" = $view AND "window" = $window) s USING (start_ms, grouping, key)
WHERE e."values" IS DISTINCT FROM s."values"
"""

GRACE_MS: Final = 900_000
"""Historians make a month of hours in 2.5 min, and make what comes then as it comes."""

Spans = dict[tuple[str, str, int], str]
"""Of view, window and span: the digest of what its final rows are made of; empty where there are none."""
FinalCell = tuple[str, str, str, str, int, int, str, tuple[int, ...]]
"""Store, source (none), view, window, start, grouping, key, values."""


@dataclass(frozen=True)
class SourcesAudited:
    """The sources as the audit knows them. ended: when they were found to have ended (epoch ms). live_topics: whose clock is the time.
    counted: by source and table, below which offset its cells are there."""

    statuses: Mapping[str, SourceStatus]
    ended: Mapping[str, int]
    finished: Mapping[str, Finish]
    live_topics: Collection[str]
    counted: Mapping[str, Mapping[str, int]] = field(default_factory=dict)

    @cached_property
    def bases(self) -> Bases:
        """What final rows are to be made of."""
        return Bases(self.statuses, self.over, Counted(self.statuses, self.counted, self.ended))

    @cached_property
    def over(self) -> Collection[str]:
        """Those of which nothing is awaited."""
        return self.ended.keys() | finished(self.statuses, self.finished)

    def final_by_ms(self, window: Window, pack_ms: int) -> int | None:
        """When the span was final at the latest (epoch ms), if it is; None while a backfill goes on, whose clock is not the time."""
        latest_ms, over = pack_ms + window.pack_ms + LATENESS_MS + SKEW_MS, self.over
        for text, status in self.statuses.items():
            if text in over:
                latest_ms = max(latest_ms, self.ended[text] if text in self.ended else self.finished[text].at_ms)
            elif status.source.topic not in self.live_topics:
                return None
        return latest_ms


def read(finals: FinalRows, view: View, marks: Mapping[str, dict[int, Mark]]) -> Iterator[FinalCell]:
    """The cells of a part's final rows that have marks, by window and span. Whose rows are just made anew goes out of `marks`. Raises
    ServerAway or StoreError."""
    for window, pack in _packs(finals, view, marks):
        if pack.upto > marks[window][pack.pack_ms].upto:
            del marks[window][pack.pack_ms]
            continue
        store = FINAL if pack.bucket >= 0 else TOP
        for cell in decode_cells(pack.blob):
            yield store, "", view.name, window, cell.start_ms, cell.grouping, KEY_SEPARATOR.join(cell.key), cell.values


def _packs(finals: FinalRows, view: View, marks: Mapping[str, dict[int, Mark]]) -> Iterator[tuple[str, FinalPack]]:
    """Many spans' by a walk through all that there are; what goes out of `marks` meanwhile, no more of."""
    found = finals.every(view)
    if sum(map(len, marks.values())) <= _SPANS_ASKED:
        buckets = [*range(BUCKETS), *(top_bucket(grouping) for grouping in range(len(view.groupings)))]
        asked = {window: finals.packs(view, window, sorted(spans), buckets) for window, spans in marks.items()}
        found = ((window, pack) for window, packs in asked.items() for pack in packs)
    return ((window, pack) for window, pack in found if pack.pack_ms in marks.get(window, ()))


def current_of(spans: Spans, view: View, window: Window, basis_of: Callable[[int], Basis | VolumeBasis | None]) -> list[int]:
    """Those of a part's window, final spans or volumes by their start, that are of every source that is known."""
    digests = {start_ms: digest for (name, of, start_ms), digest in spans.items() if (name, of) == (view.name, window.name)}
    return [start_ms for start_ms, digest in digests.items() if (basis := basis_of(start_ms)) is not None and basis.digest == digest]


def compare(
    database: duckdb.DuckDBPyConnection,
    views: tuple[View, ...],
    spans: Spans,
    sources: SourcesAudited,
    tallies: dict[str, ViewTally],
) -> list[Difference]:
    """Compare the final rows of `spans` with the cells of all sources, which table `served` has as of their statuses; counts into
    `tallies`, returns what is wrong."""
    bases, found = sources.bases, list[Difference]()
    for view in views:
        for window in view.windows:
            current = current_of(spans, view, window, partial(bases.of, view, window))
            if current:
                stores = (FINAL,) if view.ranked is None else (FINAL, TOP)
                found += compare_spans(database, view, window, current, stores, tallies[view.family])
    return found


def count_missing(views: tuple[View, ...], spans: Spans, sources: SourcesAudited, now_ms: int) -> FinalsTally:
    """How many of these spans are final, and how many of those have no final rows of all that is known. Those with rows of something else
    are not overdue: a new source makes all of history so, and workers make it anew however long that takes."""
    bases, counted = sources.bases, FinalsTally()
    declared = {(view.name, window.name): (view, window) for view in views for window in view.windows}
    for (name, of, pack_ms), digest in spans.items():
        view, window = declared[name, of]
        if (basis := bases.of(view, window, pack_ms)) is None:
            continue
        counted.spans += 1
        if basis.digest != digest:
            final_ms = sources.final_by_ms(window, pack_ms)
            counted.missing += 1
            counted.overdue += not digest and final_ms is not None and now_ms > final_ms + GRACE_MS
    return counted


def compare_spans(
    database: duckdb.DuckDBPyConnection, view: View, window: Window, spans: Sequence[int], stores: Sequence[str], tally: ViewTally
) -> Iterator[Difference]:
    """What is wrong of a part in these spans of a window, in each of these stores."""
    database.execute("CREATE OR REPLACE TEMP TABLE spans AS SELECT unnest($spans) AS first_ms", {"spans": spans})
    name = {"view": view.name, "window": window.name, "pack_ms": window.pack_ms}
    database.execute(f"CREATE OR REPLACE TEMP TABLE expected AS {_united() if view.distinct is not None else _added(view)}", name)
    for store in stores:
        yield from _wrong(database, _best(view) if store == TOP else "expected", {**name, "store": store}, tally)


def _best(view: View) -> str:
    """SQL of those of the expected that stand in top lists."""
    assert view.ranked is not None
    return f"""(SELECT * FROM expected
        QUALIFY row_number() OVER (PARTITION BY start_ms, grouping ORDER BY "values"[{view.ranked + 1}] DESC, key) <= {BEST})"""


_PARTIALS: Final = """FROM served JOIN spans ON start_ms - start_ms % $pack_ms = first_ms
WHERE store = 'cassandra' AND "view" = $view AND "window" = $window"""


def _added(view: View) -> str:
    """SQL of one cell of all that sources have of it. A kept value stands as value + 1, so that 0 is none."""
    sums = [total(f'"values"[{at}]') for at in range(1, len(view.measures) + 1)]
    merged = f"[{', '.join(sums)}]"
    if view.extreme is not None and view.extreme.keep == "last":
        merged = 'max("values")'  # ts, seq and value, compared in this order
    elif view.extreme is not None:
        merged = f'[coalesce({view.extreme.keep}(nullif("values"[1], 0)), 0)]'
    return f"""SELECT start_ms, grouping, key, {merged} AS "values" {_PARTIALS} GROUP BY start_ms, grouping, key
        HAVING list_max("values") <> 0 OR list_min("values") <> 0"""


def _united() -> str:
    """SQL of the same of sketches: of each register (coupon ÷ 64) the greatest."""
    coupons = f'SELECT start_ms, grouping, key, unnest("values") AS coupon {_PARTIALS}'
    greatest = f"SELECT start_ms, grouping, key, max(coupon) AS coupon FROM ({coupons}) GROUP BY start_ms, grouping, key, coupon // 64"
    return f'SELECT start_ms, grouping, key, list(coupon ORDER BY coupon) AS "values" FROM ({greatest}) GROUP BY start_ms, grouping, key'


def _wrong(database: duckdb.DuckDBPyConnection, expected: str, name: dict[str, object], tally: ViewTally) -> Iterator[Difference]:
    [(cells,)] = database.execute(f"SELECT count(*) FROM {expected} e").fetchall()
    wrong = database.execute(_WRONG.format(expected=expected), name).fetchall()
    store = str(name["store"])
    tally.add(store, cells, len(wrong))
    for start_ms, grouping, key, made, served in sorted(wrong, key=lambda row: row[:3])[:_KEPT]:
        told = [None if values is None else tuple(values[:_TOLD]) for values in (made, served)]
        yield Difference(str(name["view"]), str(name["window"]), start_ms, grouping, key, EVERY, store, told[0], told[1])

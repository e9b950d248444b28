"""Of what a cell that differs is made: where its events stand in one source's log, so that a person can look at them.

    applied                 they make what was expected, at the store's offset
    later                   applied too, but at or beyond that offset: a store that has them says less than it has
    duplicate, late, dead   of the same window and key, and to be counted nowhere: a worker that counts one is wrong by it
    clock                   the record that the source's clock goes by

Which events are a cell's is asked as the view is declared, of built-in views too: this judges no number. The tables of the source that is
recounted stand in the database (loadgen.audit_views.recount, at the same offset). A difference takes one or two walks over its rows.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any, Final

import duckdb

from loadgen import audit_generated, audit_views
from loadgen.audit_report import EVERY, RANGES, TOTAL, Difference, Origin, OriginEvent, first_differences
from loadgen.audit_sql import ROWS_A_RECORD, position_of
from topologies import accounting
from topologies.sources import Source
from topologies.view import LIVE, View

SAMPLE: Final = 5
"""So many events of an origin are told."""

_WALKED: Final = """
SELECT n, CASE WHEN class = 'applied' AND n >= $below THEN 'later' ELSE class END AS what
FROM (SELECT *, 'applied' AS class FROM counted UNION ALL BY NAME SELECT others.*, class FROM others JOIN classes USING (n))
WHERE ts IS NOT NULL AND (class = 'applied' OR n < $below) AND {start} = $start AND {key} = $key AND {counted}
"""
_OVER: Final = """
SELECT n, 'applied' AS what FROM applied SEMI JOIN (FROM over WHERE {start} = $start AND {key} = $key AND {counted}) USING (sid, life)
WHERE n < $below
"""
_LIVE: Final = """
SELECT n, 'applied' AS what FROM ({viewers}) JOIN dims USING (did) WHERE "window" = $window AND start_ms = $start AND {key} = $key
"""
_CLASSES: Final = "SELECT n, class AS what FROM timeline WHERE n < $below AND list_contains($classes::VARCHAR[], class)"
_CLOCK: Final = """
SELECT min(n), 'clock' FROM timeline WHERE rts = (SELECT max(clock) FROM timeline WHERE n < $below) AND class <> 'dead' HAVING count(*) > 0
"""
_FOUND: Final = "CREATE OR REPLACE TEMP TABLE found AS SELECT DISTINCT n, what FROM ({events})"
_RANGES: Final = f"""
WITH islands AS (
  SELECT what, min("offset") AS first, max("offset") AS last FROM (
    SELECT what, "offset", "offset" - row_number() OVER (PARTITION BY what ORDER BY "offset") AS island
    FROM (SELECT DISTINCT what, n // {ROWS_A_RECORD} AS "offset" FROM found))
  GROUP BY what, island QUALIFY row_number() OVER (PARTITION BY what ORDER BY first) <= {RANGES}
)
SELECT what, any_value(events), list([first, last] ORDER BY first)
FROM islands JOIN (SELECT what, count(*) AS events FROM found GROUP BY what) USING (what) GROUP BY what ORDER BY what
"""
_SAMPLE: Final = f"""
SELECT n // {ROWS_A_RECORD}, n % {ROWS_A_RECORD}, session, seq, "type", ts
FROM (SELECT n, session, seq, "type", ts FROM counted UNION ALL SELECT n, session, seq, "type", ts FROM others)
SEMI JOIN (FROM found WHERE what = $what ORDER BY n LIMIT {SAMPLE}) USING (n) ORDER BY n
"""


_Asked = tuple[str, dict[str, Any]]


class Origins:
    """Finds the origins of what differs, of one source after another."""

    def __init__(self, database: duckdb.DuckDBPyConnection, parts: Iterable[View]) -> None:
        self._database = database
        self._parts = {part.name: part for part in parts}

    def added(self, differences: Sequence[Difference], store: str, source: Source, offset: int) -> list[Difference]:
        """All of them; those with the store that would be shown with what this source, as it was recounted last, has of them: of its own
        and of sums over all sources."""
        told = {
            each: replace(each, origins=(*each.origins, *self.find(each, source, offset)))
            for each in first_differences(differences)
            if each.store.startswith(store) and each.source in (str(source), TOTAL, EVERY)
        }
        return [told.get(each, each) for each in differences]

    def find(self, difference: Difference, source: Source, offset: int) -> tuple[Origin, ...]:
        """What the source has of it, at the offset at which it was recounted last; nothing where no event makes it."""
        asked = self._counted(difference) if difference.view == accounting.NAME else self._cells(difference, offset)
        if asked is None:
            return ()
        sql, given = asked
        needed = {name: value for name, value in {**given, "below": position_of(offset)}.items() if f"${name}" in sql}
        self._database.execute(_FOUND.format(events=sql), needed)
        return tuple(
            Origin(str(source), source.topic, source.partition, what, events, tuple(map(tuple, offsets)), self._sample(what))
            for what, events, offsets in self._database.execute(_RANGES).fetchall()
        )

    def _cells(self, difference: Difference, offset: int) -> _Asked | None:
        """Of a cell: SQL of n and what, and its parameters."""
        part = self._parts.get(difference.view)
        if part is None:
            return None
        given = {"start": difference.start_ms, "key": difference.key, "window": difference.window}
        key = audit_generated.key_of(part.groupings[difference.grouping])
        if LIVE in part.windows:
            return _LIVE.format(viewers=audit_views.viewers_sql(offset), key=key), given
        form, start = _OVER if part.of == "session" else _WALKED, audit_generated.start_of(part.window(difference.window))
        return form.format(start=start, key=key, counted=audit_generated.counted_if(part)), given

    def _counted(self, difference: Difference) -> _Asked | None:
        """Of a source's own figures: the records of each class that is counted otherwise, and the one that the clock goes by."""
        if difference.expected is None or difference.served is None:
            return None
        pairs = zip(("clock_ms", "watermark_ms", *accounting.MEASURES), difference.expected, difference.served, strict=True)
        wrong = [name for name, expected, served in pairs if expected != served]
        sql, given = _CLASSES, {"classes": [name for name in accounting.MEASURES if name in wrong]}
        return (sql, given) if given["classes"] == wrong else (f"{sql} UNION ALL {_CLOCK}", given)

    def _sample(self, what: str) -> tuple[OriginEvent, ...]:
        return tuple(OriginEvent(*row) for row in self._database.execute(_SAMPLE, {"what": what}).fetchall())

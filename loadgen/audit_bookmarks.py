"""continue_watching recounted in SQL, from tables `rows` and `timeline` of one source after another, and compared once they are all told.

The definition is written here a second time, from docs/architecture.md. A bookmark is compared as hexadecimal digits of what makes it, in
the order in which bookmarks supersede each other. Of each account, profile and title what stands in a store is
    one of an applied event of that very title and profile, with its position, runtime and end
    not older than what was due at the offset that the store says of each source.
A shelf in Redis that does not say that it is whole is read together with Cassandra: it may lack titles, but what it has is not older than
what was due. A whole one may lack those that it has no room for: if it has fifty, one that is finished, and if all fifty are unfinished,
one whose bookmark was due no newer than the oldest of theirs. What was due so long ago that Cassandra keeps it no more may be gone from
both.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, Final, TypeVar

import duckdb
import pyarrow as pa

from connectors.bookmark_store import BookmarkRows
from connectors.shelves import ShelfReader
from loadgen.audit_report import DIFFERENCES_SHOWN, Difference, Origin, OriginEvent, ViewTally
from loadgen.audit_sql import ROWS_A_RECORD, position_of
from topologies.sources import Source

Item = TypeVar("Item")
NAME: Final = "continue_watching"
WAIT_MS: Final = 60_000
SHELF: Final = 50
KEPT_MS: Final = 90 * 86_400_000
"""Cassandra keeps a bookmark so long after it was written; that is not before its event, but for a minute by which a clock may be ahead."""
_SKEW_MS: Final = 60_000
ASKED: Final = frozenset({"profile", "position_s", "runtime_s"})
"""Columns of `rows` that it is recounted from, besides audit_sql.ALWAYS."""
_ROWS_A_TABLE: Final = 100_000
_SHOWN: Final = 1_000
_ROWS_A_PART: Final = 500_000
"""So many of what is due and of what stands are compared at once, by accounts: five joins of them are held in memory, 1 KB a row. Each
part goes through all six tables, which is little beside recounting the log."""
_PART: Final = "hash(account) % $parts = $part"
TABLES: Final = """
CREATE OR REPLACE TABLE stood (store VARCHAR, account VARCHAR, profile VARCHAR, title VARCHAR, mark VARCHAR);
CREATE OR REPLACE TABLE due (store VARCHAR, account VARCHAR, profile VARCHAR, title VARCHAR, mark VARCHAR, source VARCHAR, n BIGINT);
CREATE OR REPLACE TABLE known (account VARCHAR, profile VARCHAR, title VARCHAR, mark VARCHAR, source VARCHAR, n BIGINT);
CREATE OR REPLACE TABLE newest (account VARCHAR, profile VARCHAR, title VARCHAR, mark VARCHAR);
CREATE OR REPLACE TABLE ended (account VARCHAR, profile VARCHAR, title VARCHAR, mark VARCHAR);
CREATE OR REPLACE TABLE shelves (account VARCHAR, profile VARCHAR, whole BOOLEAN, titles INTEGER);
"""
_FINISHED: Final = "substr(mark, 25, 2) = '01'"
"""Behind the digits of ts and seq."""
_MARKED: Final = """
CREATE OR REPLACE TABLE marked AS
  WITH told AS (
    SELECT n, clock, account, profile, title, ts, seq, position_s, "type" = 'finish' AS finishes,
      "type" IN ('pause', 'stop', 'finish') OR ("type" = 'error' AND coalesce(fatal, false)) AS stops,
      last_value(nullif(runtime_s, 0) IGNORE NULLS)
        OVER (PARTITION BY title ORDER BY n ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW) AS runtime
    FROM counted
  )
  SELECT n, clock, account, profile, title, stops, CASE WHEN finishes OR position_s IS NOT NULL THEN
      format('{:016x}{:08x}{:02x}{:08x}{:08x}', ts, seq, (finishes OR coalesce(position_s >= runtime, false))::INTEGER,
        coalesce(position_s + 1, 0), coalesce(runtime + 1, 0)) END AS mark
  FROM told
"""
_DUE: Final = f"""
INSERT INTO due
  WITH ends AS (SELECT coalesce(max(clock), -1) AS now FROM timeline WHERE n < $offset),
  ended AS (SELECT account, profile, max(n) AS stop_n FROM marked WHERE stops AND n < $offset GROUP BY account, profile)
  SELECT $store, account, profile, title, max(mark), $source, arg_max(n, mark) FROM marked LEFT JOIN ended USING (account, profile), ends
  WHERE mark IS NOT NULL AND n < $offset AND (clock + {WAIT_MS} <= now OR n <= stop_n) GROUP BY account, profile, title
"""
_FOUND: Final = (
    """INSERT INTO known SELECT account, profile, title, mark, $source, min(n) FROM marked
    SEMI JOIN stood USING (account, profile, title, mark) GROUP BY account, profile, title, mark""",
    """INSERT INTO newest SELECT account, profile, title, max(mark) FROM marked
    SEMI JOIN stood USING (account, profile, title) WHERE mark IS NOT NULL GROUP BY account, profile, title""",
    f"""INSERT INTO ended SELECT account, profile, title, max(mark) FROM marked
    SEMI JOIN (SELECT account, profile FROM shelves WHERE whole AND titles >= {SHELF}) USING (account, profile)
    WHERE {_FINISHED} GROUP BY account, profile, title""",
)
_COMPARED: Final = f"""
CREATE OR REPLACE TABLE compared AS
  WITH must AS (SELECT store, account, profile, title, max(mark) AS due FROM due WHERE {_PART} GROUP BY store, account, profile, title),
  stands AS (SELECT * FROM stood WHERE {_PART}),
  proven AS (SELECT DISTINCT account, profile, title, mark, true AS is_known FROM known WHERE {_PART}),
  furthest AS (SELECT account, profile, title, max(mark) AS last FROM newest WHERE {_PART} GROUP BY account, profile, title),
  ends AS (SELECT account, profile, title, max(mark) AS ended FROM ended WHERE {_PART} GROUP BY account, profile, title),
  room AS (SELECT account, profile, min(mark) AS oldest, count(*) FILTER ({_FINISHED}) AS finished
    FROM stands WHERE store = 'redis' GROUP BY account, profile),
  kept AS (SELECT * FROM shelves WHERE {_PART})
  SELECT store, account, profile, title, due, mark,
    CASE WHEN mark IS NULL THEN due < $kept_from OR store = 'redis' AND (whole IS NULL OR NOT whole
           OR titles >= {SHELF} AND ($growing OR coalesce(ended >= due, false) OR finished = 0 AND due <= oldest))
         WHEN due IS NOT NULL AND mark < due THEN false
         ELSE coalesce(is_known, false) OR ($growing AND mark > coalesce(last, '')) END AS is_right
  FROM must FULL JOIN stands USING (store, account, profile, title)
    LEFT JOIN proven USING (account, profile, title, mark)
    LEFT JOIN furthest USING (account, profile, title)
    LEFT JOIN ends USING (account, profile, title)
    LEFT JOIN room USING (account, profile)
    LEFT JOIN kept USING (account, profile)
"""
_WRONG: Final = f"SELECT store, account, profile, title, due, mark FROM compared WHERE NOT is_right ORDER BY ALL LIMIT {_SHOWN}"
_ORIGINS: Final = """
SELECT 'due' AS what, source, n, mark FROM due WHERE store = $store AND mark = $due AND account = $account AND profile = $profile
  AND title = $title
UNION ALL SELECT 'served', source, n, mark FROM known WHERE mark = $mark AND account = $account AND profile = $profile AND title = $title
ORDER BY ALL
"""
Row = tuple[object, ...]


def load(database: duckdb.DuckDBPyConnection, rows: BookmarkRows, readers: Sequence[ShelfReader]) -> None:
    """Bring in every bookmark that stands in a store; readers: of each region's Redis, whose shelves are read as one. The stores' statuses
    were read before. Raises ServerAway or StoreError."""
    database.execute(TABLES)
    every = (("cassandra", account, profile, title, mark.packed().hex()) for account, profile, title, mark in rows.every())
    _insert(database, "stood", every)
    for shelves in _chunks(shelf for reader in readers for shelf in reader.every()):
        _insert(database, "shelves", ((account, profile, shelf.whole, len(shelf.marks)) for account, profile, shelf in shelves))
        marks = ((account, profile, title, mark) for account, profile, shelf in shelves for title, mark in shelf.marks.items())
        _insert(database, "stood", (("redis", account, profile, title, mark.packed().hex()) for account, profile, title, mark in marks))
    if len(readers) > 1:  # of each title the greatest; whole is what is so everywhere
        greatest = "SELECT store, account, profile, title, max(mark) AS mark FROM stood GROUP BY ALL"
        database.execute(f"CREATE OR REPLACE TABLE stood AS {greatest}")
        whole = f"bool_and(whole) AND count(*) = {len(readers)} AS whole, max(titles) AS titles"
        database.execute(f"CREATE OR REPLACE TABLE shelves AS SELECT account, profile, {whole} FROM shelves GROUP BY ALL")


def recount(database: duckdb.DuckDBPyConnection, source: str, offsets: Mapping[str, int]) -> None:
    """Note what the source of that text, whose log is in the tables, has due at each store's offset, and which of what stands is of it."""
    database.execute(_MARKED)
    for store, offset in offsets.items():
        database.execute(_DUE, {"store": store, "source": source, "offset": position_of(offset)})
    for statement in _FOUND:
        database.execute(statement, {"source": source} if "$source" in statement else None)
    database.execute("DROP TABLE marked")


def compare(
    database: duckdb.DuckDBPyConnection, tally: ViewTally, now_ms: int, sources: Iterable[Source], *, growing: bool
) -> list[Difference]:
    """Compare, when every source is noted; counts into `tally`, returns what is wrong, the first of it with the events whose bookmark was
    due (origin `due`) and stands there (`served`). now_ms: the time, epoch ms. sources: those that were noted. growing: not all of the log
    was read, so a bookmark may be of an event behind that."""
    kept_from_ms = max(0, now_ms - KEPT_MS + 2 * _SKEW_MS)  # once for the event's clock, once for this one
    asked = {"growing": growing, "kept_from": f"{kept_from_ms:016x}"}
    [(rows,)] = database.execute("SELECT (SELECT count(*) FROM due) + (SELECT count(*) FROM stood)").fetchall()
    parts = 1 + rows // _ROWS_A_PART
    found: list[tuple[Any, ...]] = []
    for part in range(parts):
        database.execute(_COMPARED, asked | {"parts": parts, "part": part})
        counts = database.execute("SELECT store, count(*), count(*) FILTER (NOT is_right) FROM compared GROUP BY store").fetchall()
        for store, cells, wrong in counts:
            tally.add(store, cells, wrong)
        found += database.execute(_WRONG).fetchall()
    found = sorted(found)[:_SHOWN]  # no two are of one store, account, profile and title
    known = {str(source): source for source in sources}
    return [
        Difference(
            NAME, "live", 0, 0, "/".join(of), "(all)", store, due and (due,), mark and (mark,),
            _origins(database, known, store, of, due, mark) if number < DIFFERENCES_SHOWN else (),
        )
        for number, (store, *of, due, mark) in enumerate(found)
    ]  # fmt: skip


def _origins(
    database: duckdb.DuckDBPyConnection, sources: Mapping[str, Source], store: str, of: list[str], due: str | None, mark: str | None
) -> tuple[Origin, ...]:
    """Where the events stand of which these bookmarks are. `of`: account, profile and title."""
    asked = {"store": store, "due": due, "mark": mark, **dict(zip(("account", "profile", "title"), of, strict=True))}
    found = []
    for what, text, n, told in database.execute(_ORIGINS, asked).fetchall():
        offset, row = divmod(n, ROWS_A_RECORD)
        event = OriginEvent(offset, row, None, int(told[16:24], 16), None, int(told[:16], 16))
        found.append(Origin(text, sources[text].topic, sources[text].partition, what, 1, ((offset, offset),), (event,)))
    return tuple(found)


def _insert(database: duckdb.DuckDBPyConnection, table: str, rows: Iterable[Row]) -> None:
    for chunk in _chunks(rows):
        names = [f"c{place}" for place in range(len(chunk[0]))]
        database.register("arrived", pa.table(dict(zip(names, zip(*chunk, strict=True), strict=True))))
        database.execute(f"INSERT INTO {table} SELECT * FROM arrived")
        database.unregister("arrived")


def _chunks(rows: Iterable[Item]) -> Iterator[list[Item]]:
    """Lists of so many, for as long as there are."""
    left = iter(rows)
    while chunk := list(islice(left, _ROWS_A_TABLE)):
        yield chunk

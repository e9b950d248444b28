"""The letters against the recount: one for each dead and each late event, with its place, its reason and its bytes, and no others.

A letter has to stand where its event is below the source's newest checkpoint: that is written, and the log acknowledged, only when all
letters below it are delivered (streams/checkpointing.py). Further on it may stand already, and must be right if it does. A letter may
stand several times, for a replay sends it again. Of an event in JSON the letter has the record's key and value, byte for byte; of a row
of an Arrow record it has that row alone, of which session, seq and ts are compared where the row is an event (late, ahead, seq_jump).

Both topics are read once an audit, whatever else stands in them; what is not of an audited source is left out as it comes.
Measured (CPU): 18 µs a letter of an audited source beside reading it from Kafka, 70 µs more for an Arrow one of an event; 0.15 to 0.33 µs
a record of a JSON log to find the bytes of 0.2 to 4 % of them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final

import duckdb
import pyarrow as pa

from connectors.letters import Letter, every_letter, gone_before_ms
from loadgen import audit_sql
from loadgen.audit_arrow import MIME
from loadgen.audit_log import CopiedLog
from loadgen.audit_report import DIFFERENCES_SHOWN, Difference, LetterTally
from topologies.errors import NoTopic
from topologies.settings import KafkaSettings, Settings
from topologies.sources import Source

VIEW: Final = "letters"
LATE: Final = "late"
KINDS: Final = ("dead", LATE)
_OF_EVENTS: Final = frozenset((LATE, "ahead", "seq_jump"))
"""Reasons for which a valid event is in no view."""
_ROWS_A_BATCH: Final = 10_000
_BYTES_A_BATCH: Final = 16 * 1024 * 1024
_SCHEMA: Final = pa.schema({
    "topic": pa.string(), "source": pa.string(), "offset": pa.int64(), "row": pa.int64(), "reason": pa.string(),
    "at_home": pa.bool_(), "record_ts": pa.int64(), "is_arrow": pa.bool_(), "is_cut": pa.bool_(),
    "session": pa.string(), "seq": pa.int64(), "ts": pa.int64(), "key": pa.binary(), "value": pa.binary(),
})  # fmt: skip
_HASHED: Final = '* REPLACE (md5("key") AS "key", md5("value") AS "value")'
_Row = tuple[Any, ...]

_REFUSED: Final = f"""
CREATE OR REPLACE TABLE refused AS
  SELECT n // {audit_sql.ROWS_A_RECORD} AS "offset", n % {audit_sql.ROWS_A_RECORD} AS "row", t.rts, class AS kind,
    coalesce(t.reason, '{LATE}') AS reason, CASE WHEN class = '{LATE}' THEN $late ELSE $dead END AS topic, session, seq, ts
  FROM timeline t JOIN others USING (n) WHERE class IN {KINDS} AND n < $end
"""

_STANDING: Final = "CREATE OR REPLACE TABLE standing AS SELECT DISTINCT * EXCLUDE (source) FROM letters WHERE source = $source"

_LETTERS: Final = """
CREATE OR REPLACE TABLE judged_letters AS
  SELECT "offset", "row", l.topic, l.reason, r.kind, r.reason AS due_reason,
    CASE WHEN r.kind IS NULL THEN 'spurious'
         WHEN l.reason <> r.reason THEN 'reason'
         WHEN l.topic <> r.topic THEN 'topic'
         WHEN NOT l.at_home OR l.record_ts <> r.rts THEN 'place'
         WHEN l.is_arrow <> o.is_arrow THEN 'content-type'
         WHEN o.is_arrow THEN CASE WHEN r.session IS NOT NULL AND (l.session, l.seq, l.ts) IS DISTINCT FROM (r.session, r.seq, r.ts)
                                   THEN 'row' END
         WHEN l."key" IS DISTINCT FROM o."key" AND NOT l.is_cut THEN 'key'
         WHEN l."value" IS DISTINCT FROM o."value" AND NOT l.is_cut THEN 'value' END AS fault
  FROM standing l LEFT JOIN refused r USING ("offset", "row") LEFT JOIN originals o USING ("offset")
"""

_EVENTS: Final = """
CREATE OR REPLACE TABLE judged_events AS
  WITH found AS (SELECT "offset", "row", count(fault) AS faults FROM judged_letters GROUP BY ALL)
  SELECT r.*, CASE WHEN faults IS NOT NULL THEN CASE WHEN faults > 0 THEN 'wrong' ELSE 'right' END
                   WHEN "offset" >= $durable THEN 'undue'
                   WHEN gone_ms < 0 OR ($live AND rts > gone_ms) THEN 'missing' ELSE 'deleted' END AS verdict
  FROM refused r JOIN (SELECT topic, gone_ms FROM letter_topics WHERE region = $region) USING (topic)
    LEFT JOIN found USING ("offset", "row")
"""

_FAULTY: Final = """
SELECT "offset", "row", topic, due_reason, reason, fault FROM judged_letters WHERE fault IS NOT NULL
UNION ALL SELECT "offset", "row", topic, reason, NULL, 'missing' FROM judged_events WHERE verdict = 'missing'
ORDER BY ALL LIMIT $most
"""


def load_letters(regions: Sequence[Settings], database: duckdb.DuckDBPyConnection, wanted: dict[Source, int]) -> None:
    """Make tables `letters` of these sources' letters below these offsets, and `letter_topics` (region, topic, gone_ms: see
    gone_before_ms). regions: the settings in each region.

    A topic that is not there has none. What the stores say must have been read before: what they have, has its letters. Raises ServerAway,
    and StoreError for what is no letter.
    """
    sources = {str(source): source for source in wanted}
    upto = {str(source): offset for source, offset in wanted.items()}
    database.execute("CREATE OR REPLACE TABLE letter_topics (region VARCHAR, topic VARCHAR, gone_ms BIGINT)")
    database.register("arrived", _SCHEMA.empty_table())
    database.execute(f"CREATE OR REPLACE TABLE letters AS SELECT {_HASHED} FROM arrived")
    database.unregister("arrived")
    for settings, topic in ((one, topic) for one in regions for topic in sorted({one.kafka.dead_topic, one.kafka.late_topic})):
        gone_ms = -1
        try:
            for batch in _batches(settings, topic, sources, upto):
                database.register("arrived", batch)
                database.execute(f"INSERT INTO letters SELECT {_HASHED} FROM arrived")
                database.unregister("arrived")
            gone_ms = gone_before_ms(settings, topic)  # behind the letters: what is deleted meanwhile is in it
        except NoTopic:
            pass
        database.execute("INSERT INTO letter_topics VALUES (?, ?, ?)", [settings.worker.region, topic, gone_ms])


def _batches(settings: Settings, topic: str, sources: dict[str, Source], upto: dict[str, int]) -> Iterator[pa.Table]:
    rows: list[_Row] = []
    size = 0
    for letter in every_letter(settings, topic, frozenset(text.encode() for text in sources)):
        if letter.offset >= upto[letter.source]:
            continue
        rows.append(_row(topic, letter, sources[letter.source]))
        size += len(letter.key or b"") + len(letter.value or b"")
        if len(rows) >= _ROWS_A_BATCH or size >= _BYTES_A_BATCH:
            yield _table(rows)
            rows, size = [], 0
    if rows:
        yield _table(rows)


def _table(rows: list[_Row]) -> pa.Table:
    columns = zip(*rows, strict=True)
    return pa.table([pa.array(column, kind) for column, kind in zip(columns, _SCHEMA.types, strict=True)], schema=_SCHEMA)


def _row(topic: str, letter: Letter, source: Source) -> _Row:
    is_arrow = letter.content_type == MIME.decode()
    at_home = (letter.topic, letter.partition) == (source.topic, source.partition)
    event = _event_of(letter.value) if is_arrow and letter.reason in _OF_EVENTS else (None, None, None)
    place = (topic, letter.source, letter.offset, _stored(letter.row), letter.reason)
    return (*place, at_home, _stored(letter.record_ts_ms), is_arrow, letter.cut is not None, *event, letter.key, letter.value)


def _event_of(value: bytes | None) -> tuple[str | None, int | None, int | None]:
    """session, seq and ts of an Arrow stream of one event; None for what is none."""
    try:
        batch = pa.ipc.open_stream(pa.py_buffer(value or b"")).read_next_batch()
        [row] = batch.select(["session", "seq", "ts"]).to_pylist()
    except (pa.ArrowException, KeyError, ValueError, StopIteration):
        return None, None, None
    session, seq, ts = row["session"], row["seq"], row["ts"]
    if not isinstance(session, str) or type(seq) is not int or type(ts) is not int:
        return None, None, None
    return session, _stored(seq), _stored(ts)


def _stored(number: int) -> int:
    """As a column holds it; what no column can is as wrong as what stands for it."""
    return number if abs(number) < 2**63 else -1


def compare(
    database: duckdb.DuckDBPyConnection,
    kafka: KafkaSettings,
    source: Source,
    copied: CopiedLog,
    durable: int,
    read_to: int,
    tallies: dict[str, LetterTally],
) -> list[Difference]:
    """Compare a source's letters with the recount below `read_to`, whose tables (loadgen.audit_views.prepare) stand in the database.

    `durable`: below this offset each dead and late event must have one. Counts into `tallies`; returns the first of what is wrong.
    """
    topics = {"dead": kafka.dead_topic, "late": kafka.late_topic}
    database.execute(_REFUSED, {**topics, "end": audit_sql.position_of(read_to)})
    database.execute(_STANDING, {"source": str(source)})
    [(refused, standing)] = database.execute("SELECT (SELECT count(*) FROM refused), (SELECT count(*) FROM standing)").fetchall()
    if not refused and not standing:
        return []
    _find_originals(database, copied)
    database.execute(_LETTERS)
    database.execute(_EVENTS, {"durable": durable, "live": source.topic in kafka.topics, "region": source.region})
    for kind, verdict, count in database.execute("SELECT kind, verdict, count(*) FROM judged_events GROUP BY ALL").fetchall():
        tally = tallies[kind]
        if verdict in ("right", "wrong", "missing"):
            tally.compared += count
        if verdict != "right":
            setattr(tally, verdict, getattr(tally, verdict) + count)
    spurious = "SELECT topic, count(*) FROM judged_letters WHERE fault = 'spurious' GROUP BY topic"
    for topic, count in database.execute(spurious).fetchall():
        tallies["late" if topic == kafka.late_topic else "dead"].spurious += count
    found = database.execute(_FAULTY, {"most": DIFFERENCES_SHOWN}).fetchall()
    return [_difference(source, *row) for row in found]


def _find_originals(database: duckdb.DuckDBPyConnection, copied: CopiedLog) -> None:
    """Table `originals`: of each record with a dead or late event, key and value as their hashes; of an Arrow record without the value."""
    places = 'WHERE "offset" IN (SELECT "offset" FROM refused)'
    sql = f'SELECT "offset", false AS is_arrow, md5("key") AS "key", md5("value") AS "value" FROM read_parquet($json) {places}'
    files = {"json": str(copied.json)}
    if copied.arrow.exists():
        sql += f' UNION ALL SELECT DISTINCT "offset", true, NULL, NULL FROM read_parquet($arrow) {places}'
        files["arrow"] = str(copied.arrow)
    database.execute(f"CREATE OR REPLACE TABLE originals AS {sql}", files)


def _difference(source: Source, offset: int, row: int, topic: str, due: str | None, reason: str | None, fault: str) -> Difference:
    served = None if reason is None else (reason,) if fault in ("reason", "spurious") else (reason, f"another {fault}")
    return Difference(VIEW, "", 0, 0, f"{source}@{offset}#{row}", str(source), topic, None if due is None else (due,), served)

"""The ledger of a run: what it was, what was sent when, and what was broken on purpose. Under `{local.directory}/runs/RUN/`:

    run.json        the Run below; written at the start, every second and at the end, each time by renaming
    sends.parquet   a row a partition's records of a chunk of a load:
                      stretch process partition              who sent them, and where
                      first records events                   the number of the first in its partition, from 0; how many; of how many events
                      intended_ms intended_last_ms           when the first and the last were to be sent (epoch ms)
                      handed_ms late                         when the last was handed to Kafka; events handed over late
    faults.parquet  a row a broken event: kind, reason, key (= account), session, seq, times
                      kind: one of loadgen.faults.KINDS; reason: the way of duplicates and late ones, of what is dead that of
                      the dead letter, else empty; times: 1 (a copy, for duplicates; what was never sent, for lost-stops)
    sent.parquet    a row a session. Of a load the audit makes it, by making the events again from the seed (loadgen.truth):
                      session account profile title region device                         text
                      events                 valid events, each once, neither shifted late nor malformed
                      play_request … stop    those events by type
                      watched_ms stall_ms    their sums
                      duplicates late malformed out_of_order    records of the session broken so; late: by a clock that is behind
                             too; malformed: of another version, or by a clock that is ahead, too
                      first_ts last_ts       of the valid events, epoch ms (0, 0 when there is none)
    moves.parquet   of a load into several regions: which records went elsewhere while a region was lost (loadgen.moves)
    scenario.toml   of a load: the scenario, as its file was
    parts/          what each process has written of the tables while the run goes on; merged and removed at its end
    *.lock          held while the run goes on (loadgen.holding)

generated = events + duplicates + late + malformed, summed over sent.parquet = events handed to Kafka, ticks excepted.
Events that are out of order, held back, under another key or of a clock that is a little off are valid ones, so they are in `events` too.
acknowledged = generated − failed.
A partition's records are in the log in the order in which they are made, and none is left out: so the first n that are there are the first
n that the seed makes, whatever became of the processes.
"""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Final

import msgspec
import polars as pl

from loadgen.faults import CLASSES
from loadgen.measured import Measured
from topologies.errors import MarqueeError, UsageError
from topologies.events import TYPES
from topologies.settings import Settings

NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,79}")
"""Of a run; it can name a topic too."""
SENT_TEXTS: Final = ("session", "account", "profile", "title", "region", "device")
SENT_SUMS: Final = ("events", *TYPES, "watched_ms", "stall_ms", "duplicates", "late", "malformed", "out_of_order")
SENT_SCHEMA: Final[dict[str, pl.DataType]] = {
    **dict.fromkeys(SENT_TEXTS, pl.String()),
    **dict.fromkeys(SENT_SUMS, pl.Int64()),
    "first_ts": pl.Int64(),
    "last_ts": pl.Int64(),
}
SEND_SCHEMA: Final[dict[str, pl.DataType]] = {
    **dict.fromkeys(("stretch", "process", "partition"), pl.Int32()),
    **dict.fromkeys(("first", "records", "events", "intended_ms", "intended_last_ms", "handed_ms", "late"), pl.Int64()),
}
FAULT_SCHEMA: Final[dict[str, pl.DataType]] = {
    "kind": pl.String(),
    "reason": pl.String(),
    "key": pl.String(),
    "session": pl.String(),
    "seq": pl.Int64(),
    "times": pl.Int64(),
}


@dataclass(frozen=True)
class RegionLog:
    """A region's log that a run writes to, and Kafka's id of its topic there."""

    region: str
    topic_id: str


@dataclass(frozen=True)
class PartitionSpan:
    """Where a run's records lie: first ≤ offset ≤ last. `last` is first − 1 when there are none, and −1 while the run goes on."""

    partition: int
    first: int
    last: int
    records: int = 0
    """How many of a load's records are there; 0 while the run goes on."""


@dataclass(frozen=True)
class Stretch:
    """What a load sent without a stop: of each partition the records from the number first[partition] on, until the next stretch begins."""

    started_ms: int
    base_ms: int
    """When the span begins, by the times of this stretch's events; epoch ms."""
    first: tuple[int, ...]


@dataclass(frozen=True)
class Run:
    """A run as run.json has it. `path` is its directory. Times are epoch ms; `span_*` is event time."""

    name: str
    path: Path
    tag: str
    kind: str
    """load | replay"""
    state: str
    """running | finished | stopped (before its end, with all that was sent in the ledger) | failed"""
    live: bool
    topic: str
    topic_id: str
    seed: int
    options: dict[str, Any]
    started_ms: int
    ended_ms: int
    span_start_ms: int
    span_end_ms: int
    partitions: tuple[PartitionSpan, ...]
    generated: int = 0
    acknowledged: int = 0
    failed: int = 0
    unmapped: int = 0
    """Rows of a replayed trace from which no event could be made."""
    late_sends: int = 0
    """Records handed to Kafka more than 100 ms after their intended time."""
    max_lateness_ms: int = 0
    faults: dict[str, int] = field(default_factory=dict)
    """Broken events by kind (loadgen.faults.KINDS); of duplicates the copies."""
    malformed: dict[str, int] = field(default_factory=dict)
    """Those that are dead by the reason of the dead letter that they become."""
    error: str = ""
    processes: int = 0
    chunk_ms: int = 0
    """Of a load, how much time its records are made for at once (loadgen.shard.chunk_ms_of): where records in Arrow end follows from it. 0
    of one that an earlier version wrote."""
    stretches: tuple[Stretch, ...] = ()
    """Of a load; more than one when it was resumed."""
    measured: Measured | None = None
    logs: tuple[RegionLog, ...] = ()
    """Of a load into the logs of several regions, which; their `partitions` are numbered one log behind the other (loadgen.homes)."""

    @property
    def log_partitions(self) -> int:
        """How many partitions each log has."""
        return len(self.partitions) // max(1, len(self.logs))

    def place_of(self, region: str, topic_id: str, partition: int) -> int | None:
        """The number among `partitions` of that partition, if the run writes there."""
        if not self.logs:
            return partition if topic_id == self.topic_id else None
        found = [at for at, log in enumerate(self.logs) if (log.region, log.topic_id) == (region, topic_id)]
        return found[0] * self.log_partitions + partition if found else None

    @property
    def sends(self) -> Path:
        return self.path / "sends.parquet"

    @property
    def sent(self) -> Path:
        return self.path / "sent.parquet"

    @property
    def broken(self) -> Path:
        return self.path / "faults.parquet"

    @property
    def scenario(self) -> Path:
        """What the scenario's file said when the run began."""
        return self.path / "scenario.toml"

    @property
    def parts(self) -> Path:
        return self.path / "parts"


def runs_directory(settings: Settings) -> Path:
    return Path(settings.local.directory) / "runs"


def refuse_taken(path: Path) -> None:
    """UsageError when there is a run in this directory already: said before anything that takes long."""
    if path.exists():
        raise UsageError(f"there is a run {path.name!r} already ({path}); choose another --run name")


def create_run(run: Run) -> None:
    """Makes the run's directory and its first run.json. UsageError when there is a run of that name."""
    try:
        run.path.mkdir(parents=True)
    except FileExistsError:
        refuse_taken(run.path)
        raise
    run.parts.mkdir()
    save_run(run)


def reopen_run(run: Run) -> None:
    """Makes the directory of a run that goes on ready for its next stretch: what was made of the earlier ones is not all of it."""
    run.sent.unlink(missing_ok=True)
    run.parts.mkdir(exist_ok=True)
    save_run(run)


def save_run(run: Run) -> None:
    """Writes run.json so that a reader sees the old one or the new one, never a part."""
    content = asdict(run) | {"path": str(run.path)}
    fresh = run.path / "run.json.new"
    fresh.write_text(json.dumps(content, indent=1) + "\n")
    fresh.replace(run.path / "run.json")


def open_run(settings: Settings, name: str) -> Run:
    """The run of that name, finished or not. UsageError when there is none, MarqueeError when it cannot be read."""
    if not NAME.fullmatch(name):
        raise UsageError(f"{name!r} is no name of a run: that has 1 to 80 letters, digits, - and _, the first a letter or a digit")
    return _read(runs_directory(settings) / name, name)


def _read(path: Path, name: str) -> Run:
    try:
        run = msgspec.json.decode((path / "run.json").read_bytes(), type=Run, dec_hook=lambda kind, value: kind(value))
    except FileNotFoundError:
        raise UsageError(f"there is no run {name!r} under {path.parent}; `marquee load` makes one") from None
    except (msgspec.DecodeError, UnicodeDecodeError, TypeError) as error:
        raise MarqueeError(f"the ledger {path / 'run.json'} cannot be read ({error}); delete the run or restore the file") from error
    if any(len(stretch.first) != len(run.partitions) for stretch in run.stretches):
        raise MarqueeError(f"the ledger {path / 'run.json'} contradicts itself: a stretch is of other partitions; delete the run")
    return replace(run, path=path)


def runs(settings: Settings) -> list[Run]:
    """All runs, by the time they started."""
    found = [_read(path.parent, path.parent.name) for path in runs_directory(settings).glob("*/run.json")]
    return sorted(found, key=lambda run: run.started_ms)


def write_part(run_path: Path, table: str, process: int, number: int, rows: pl.DataFrame) -> None:
    """One part of `sends`, `sent` or `faults`, written by a process; complete or absent. No two parts of a run have one number."""
    target = run_path / "parts" / f"{table}-{process:03d}-{number:05d}.parquet"
    fresh = target.with_suffix(".new")
    rows.write_parquet(fresh)
    fresh.replace(target)


def read_sends(run: Run) -> pl.DataFrame:
    """sends.parquet; while the run goes on, what its processes have written so far too. Columns: SEND_SCHEMA."""
    return _table(run.path, "sends", SEND_SCHEMA).collect()


def read_sent(run: Run) -> pl.DataFrame:
    """sent.parquet; while a replay goes on, what it has written so far. Columns: SENT_SCHEMA."""
    return pl.read_parquet(run.sent) if run.sent.exists() else whole_sessions(_table(run.path, "sent", SENT_SCHEMA)).collect()


def read_faults(run: Run) -> pl.DataFrame:
    """faults.parquet; while the run goes on, what its processes have written so far too. Columns: FAULT_SCHEMA."""
    return _table(run.path, "faults", FAULT_SCHEMA).collect()


def records_of(run: Run) -> dict[int, int]:
    """How many records of a load each partition was sent, by sends.parquet and by what the last stretch found there."""
    sent = dict(read_sends(run).group_by("partition").agg((pl.col("first") + pl.col("records")).max()).iter_rows())
    found = enumerate(run.stretches[-1].first) if run.stretches else ()
    return sent | {partition: max(first, sent.get(partition, 0)) for partition, first in found}


def counts_of(faults: pl.LazyFrame) -> tuple[dict[str, int], dict[str, int]]:
    """A run's `faults` and `malformed`, of a table of its faults."""
    dead = [kind for kind, name in CLASSES.items() if name == "dead"]
    bad = faults.filter(pl.col("kind").is_in(dead)).group_by("reason").agg(pl.len()).sort("reason")
    kinds = faults.group_by("kind").agg(pl.col("times").sum()).sort("kind")
    return dict(kinds.collect().iter_rows()), dict(bad.collect().iter_rows())


def merge_parts(run_path: Path) -> None:
    """Adds the parts to the tables, then removes them. A second call leaves the tables as they are."""
    tables = {
        "faults": _table(run_path, "faults", FAULT_SCHEMA),
        "sends": _table(run_path, "sends", SEND_SCHEMA),
        "sent": whole_sessions(_table(run_path, "sent", SENT_SCHEMA)),
    }
    if moves := sorted((run_path / "parts").glob("moves-*.parquet")):
        write_table(run_path, "moves", pl.scan_parquet(moves))
    for name, rows in tables.items():
        if name == "faults" or list((run_path / "parts").glob(f"{name}-*.parquet")):
            write_table(run_path, name, rows)
    shutil.rmtree(run_path / "parts", ignore_errors=True)


def write_table(run_path: Path, table: str, rows: pl.LazyFrame) -> None:
    """Replaces a table by these rows, which may be read from it, without holding them all: a reader sees the old one or the new one."""
    target = run_path / f"{table}.parquet"
    fresh = target.with_suffix(".new")
    rows.sink_parquet(fresh)
    fresh.replace(target)


def _table(run_path: Path, table: str, schema: dict[str, pl.DataType]) -> pl.LazyFrame:
    whole = run_path / f"{table}.parquet"
    parts = sorted((run_path / "parts").glob(f"{table}-*.parquet"))
    paths = [whole, *parts] if whole.exists() else parts
    return pl.scan_parquet(paths) if paths else pl.LazyFrame(schema=schema)


def whole_sessions(rows: pl.LazyFrame) -> pl.LazyFrame:
    """A session's rows of `sent`, of which there may be several, as one."""
    seen = pl.col("events") > 0
    return (
        rows.group_by(SENT_TEXTS)
        .agg(
            *(pl.col(name).sum() for name in SENT_SUMS),
            pl.col("first_ts").filter(seen).min().fill_null(0),
            pl.col("last_ts").filter(seen).max().fill_null(0),
        )
        .sort("account", "session")
    )

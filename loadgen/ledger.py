"""The ledger of a run: what was sent, and what was broken on purpose. Under `{local.directory}/runs/RUN/`:

    run.json        the Run below; written at the start, every second and at the end, each time by renaming
    sent.parquet    a row a session:
                      session account profile title region device                         text
                      events                 valid events, each once, neither shifted late nor malformed
                      play_request … stop    those events by type
                      watched_ms stall_ms    their sums
                      duplicates late malformed out_of_order    records of the session broken so; late: by a clock that is behind
                             too; malformed: of another version, or by a clock that is ahead, too
                      first_ts last_ts       of the valid events, epoch ms (0, 0 when there is none)
    faults.parquet  a row a broken event: kind, reason, key (= account), session, seq, times
                      kind: one of loadgen.faults.KINDS; reason: the way of duplicates and late ones, of what is dead that of
                      the dead letter, else empty; times: 1 (a copy, for duplicates; what was never sent, for lost-stops)
    scenario.toml   of a load: the scenario, as its file was
    parts/          what each process has written of the two tables while the run goes on; merged and removed at its end

generated = events + duplicates + late + malformed, summed over sent.parquet = records handed to Kafka, ticks excepted.
Events that are out of order, held back, under another key or of a clock that is a little off are valid ones, so they are in `events` too.
acknowledged = generated − failed.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Final

import polars as pl

from topologies.errors import MarqueeError, UsageError
from topologies.events import TYPES
from topologies.settings import Settings

SENT_TEXTS: Final = ("session", "account", "profile", "title", "region", "device")
SENT_SUMS: Final = ("events", *TYPES, "watched_ms", "stall_ms", "duplicates", "late", "malformed", "out_of_order")
SENT_SCHEMA: Final[dict[str, pl.DataType]] = {
    **dict.fromkeys(SENT_TEXTS, pl.String()),
    **dict.fromkeys(SENT_SUMS, pl.Int64()),
    "first_ts": pl.Int64(),
    "last_ts": pl.Int64(),
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
class PartitionSpan:
    """Where a run's records lie: first ≤ offset ≤ last. `last` is first − 1 when there are none, and −1 while the run goes on."""

    partition: int
    first: int
    last: int


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


def save_run(run: Run) -> None:
    """Writes run.json so that a reader sees the old one or the new one, never a part."""
    content = asdict(run) | {"path": str(run.path)}
    fresh = run.path / "run.json.new"
    fresh.write_text(json.dumps(content, indent=1) + "\n")
    fresh.replace(run.path / "run.json")


def open_run(settings: Settings, name: str) -> Run:
    """The run of that name, finished or not. UsageError when there is none, MarqueeError when it cannot be read."""
    return _read(runs_directory(settings) / name, name)


def _read(path: Path, name: str) -> Run:
    try:
        content = json.loads((path / "run.json").read_text())
        known = {item.name for item in fields(Run)}
        values = {key: value for key, value in content.items() if key in known}
        spans = tuple(PartitionSpan(**span) for span in content["partitions"])
        return replace(Run(**values), path=path, partitions=spans)
    except FileNotFoundError:
        raise UsageError(f"there is no run {name!r} under {path.parent}; `marquee load` makes one") from None
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise MarqueeError(f"the ledger {path / 'run.json'} cannot be read ({error}); delete the run or restore the file") from error


def runs(settings: Settings) -> list[Run]:
    """All runs, by the time they started."""
    found = [_read(path.parent, path.parent.name) for path in runs_directory(settings).glob("*/run.json")]
    return sorted(found, key=lambda run: run.started_ms)


def write_part(run_path: Path, table: str, process: int, number: int, rows: pl.DataFrame) -> None:
    """One part of `sent` or `faults`, written by a process; complete or absent."""
    target = run_path / "parts" / f"{table}-{process:03d}-{number:05d}.parquet"
    fresh = target.with_suffix(".new")
    rows.write_parquet(fresh)
    fresh.replace(target)


def read_sent(run: Run) -> pl.DataFrame:
    """sent.parquet; while the run goes on, what its processes have written so far. Columns: SENT_SCHEMA."""
    return pl.read_parquet(run.sent) if run.sent.exists() else _merged_sent(run.path)


def read_faults(run: Run) -> pl.DataFrame:
    """faults.parquet; while the run goes on, what its processes have written so far. Columns: FAULT_SCHEMA."""
    return pl.read_parquet(run.broken) if run.broken.exists() else _parts(run.path, "faults", FAULT_SCHEMA).collect()


def merge_parts(run_path: Path) -> None:
    """Makes the two tables of the parts, then removes those. A second call leaves the tables as they are."""
    for name, rows in (("sent", _merged_sent(run_path)), ("faults", _parts(run_path, "faults", FAULT_SCHEMA).collect())):
        target = run_path / f"{name}.parquet"
        if not target.exists():
            fresh = target.with_suffix(".new")
            rows.write_parquet(fresh)
            fresh.replace(target)
    shutil.rmtree(run_path / "parts", ignore_errors=True)


def _parts(run_path: Path, table: str, schema: dict[str, pl.DataType]) -> pl.LazyFrame:
    paths = sorted((run_path / "parts").glob(f"{table}-*.parquet"))
    return pl.scan_parquet(paths) if paths else pl.LazyFrame(schema=schema)


def _merged_sent(run_path: Path) -> pl.DataFrame:
    """A session's rows may stand in several parts; here they become one."""
    seen = pl.col("events") > 0
    parts = _parts(run_path, "sent", SENT_SCHEMA)
    return (
        parts.group_by(SENT_TEXTS)
        .agg(
            *(pl.col(name).sum() for name in SENT_SUMS),
            pl.col("first_ts").filter(seen).min().fill_null(0),
            pl.col("last_ts").filter(seen).max().fill_null(0),
        )
        .sort("account", "session")
        .collect()
    )

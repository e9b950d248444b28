"""A load whose processes are gone before they could finish it: its ledger made right from the log, and the load gone on with.

killed | failed ── records_in_log, truth.tell ──► stopped ── resume_load ──► running, in another stretch ──► finished
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Final

import polars as pl

from loadgen.holding import goes_on, owned
from loadgen.ledger import Run, open_run, read_sends, reopen_run, save_run, write_table
from loadgen.load import OnProgress, options_of, plan_again, send, shape_of, to_its_end
from loadgen.run_log import records_in_log
from loadgen.truth import can_be_made_again, tell
from topologies.errors import UsageError
from topologies.settings import Settings

RESUMED_WITHIN_MS: Final = 600_000
"""A live run is gone on with so long after its end: an event may come again, and is a duplicate only while its session is remembered,
which is for 15 minutes."""


def recovered(settings: Settings, run: Run) -> Run:
    """The run itself, unless nobody is at work on it though it was not finished: then as the log has it, which is written down.

    What the broker acknowledged is what the log has: `generated`, `acknowledged`, `partitions`, faults and tables are of that.
    Raises ServerAway, StoreError, and SourceError when its topic is gone. A second call changes nothing.
    """
    if run.state in ("finished", "stopped") or run.logs or not can_be_made_again(run) or goes_on(run.path):
        return run
    with owned(run.path):
        return _found_again(settings, open_run(settings, run.name))


def _found_again(settings: Settings, run: Run) -> Run:
    if run.state in ("finished", "stopped"):
        return run
    ended_ms = run.ended_ms or round(1000 * (run.path / "run.json").stat().st_mtime)
    spans = records_in_log(settings, run)
    records = {span.partition: span.records for span in spans}
    told = tell(run, records, run.path)
    known = pl.col("partition").replace_strict(records, default=0, return_dtype=pl.Int64)
    sends = read_sends(run).unique(["stretch", "partition", "first"], keep="first", maintain_order=True)
    sends = sends.with_columns(records=pl.min_horizontal(pl.col("records"), known - pl.col("first"))).filter(pl.col("records") > 0)
    write_table(run.path, "sends", sends.lazy())
    shutil.rmtree(run.parts, ignore_errors=True)
    everything = run.live and told.generated == shape_of(options_of(run)).records
    found = replace(
        run,
        state="finished" if everything else "stopped",
        ended_ms=ended_ms,
        partitions=spans,
        generated=told.generated,
        acknowledged=told.generated,
        failed=0,
        faults=told.faults,
        malformed=told.malformed,
    )
    save_run(found)
    return found


def resume_load(
    settings: Settings,
    name: str,
    processes: int | None,
    on_progress: OnProgress,
    enough: Callable[[], bool] = to_its_end,
    broker_cpu_s: Callable[[], float] | None = None,
) -> Run:
    """Goes on with a load that was stopped, failed or killed, from the first record of each partition that the log does not have.

    processes: as many as it had when None. A live run's events go on from now, within RESUMED_WITHIN_MS. UsageError for a run that is
    going on, is no load, is too old or has nothing left; otherwise as run_load.
    """
    run = open_run(settings, name)
    if run.logs:
        raise UsageError(f"the run {name!r} went into the logs of several regions: it cannot be resumed; start another")
    if not can_be_made_again(run):
        why = "was begun by an earlier version, which cut its records otherwise" if run.kind == "load" else "is no load"
        raise UsageError(f"the run {name!r} {why}: it cannot be resumed; start another")
    with owned(run.path):
        run = _found_again(settings, open_run(settings, name))
        now_ms = time.time_ns() // 1_000_000
        _refuse(run, now_ms)
        stretch = replace(run.stretches[-1], started_ms=now_ms, first=tuple(span.records for span in run.partitions))
        count = max(1, min(processes or run.processes, len(run.partitions)))
        again = replace(run, state="running", error="", ended_ms=0, processes=count, stretches=(*run.stretches, stretch), measured=None)
        planned = plan_again(again, on_progress)
        reopen_run(again)
        return send(settings, again, planned, on_progress, enough, broker_cpu_s)


def _refuse(run: Run, now_ms: int) -> None:
    if run.state == "finished":
        raise UsageError(f"all of the run {run.name!r} has been sent; nothing is left to resume")
    gone_ms = now_ms - run.ended_ms
    if run.live and gone_ms > RESUMED_WITHIN_MS:
        raise UsageError(
            f"the live run {run.name!r} ended {gone_ms / 60_000:.0f} minutes ago, and sessions are forgotten after a while: "
            f"it can be resumed within {RESUMED_WITHIN_MS // 60_000} minutes"
        )

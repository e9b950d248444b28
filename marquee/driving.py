"""What `load`, `replay` and `demo` share: progress on stderr, the course of the run kept, its summary, its report, the exit code."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from marquee.moment import Driven
from marquee.output import emit, instant, number
from marquee.recording import Recorder
from marquee.report import Recorded, accounts, recorded, report
from marquee.report_page import write_report
from marquee.screen import Screen
from topologies.settings import Settings

if TYPE_CHECKING:
    from loadgen.crew import LoadProgress
    from loadgen.ledger import Run
    from loadgen.measured import Measured

INTERRUPTED = 130
FOLLOW_S: Final = 30.0
STILL_S: Final = 5.0
"""Workers that apply nothing for so long are not waited for."""
LOOK_S: Final = 0.25


def driven(progress: LoadProgress) -> Driven:
    """The generator's progress as the screen shows it."""
    return Driven(
        progress.total, progress.sent, progress.acknowledged, progress.intended_rate, progress.rate, late_sends=progress.late_sends
    )


def drive(
    title: str,
    settings: Settings,
    name: str,
    run: Callable[[Callable[[LoadProgress], None]], Run],
    *,
    progress: str = "auto",
    file: Path | None = None,
    as_json: bool = False,
) -> int:
    """Runs with live progress and reports the ledger: 0 all confirmed, 1 some failed, 130 stopped before its end.

    name: the run's. file: where its report goes, into its ledger when None.
    """
    with Screen(title, progress) as screen:
        with Recorder(settings, name) as recorder:
            ran = run(_shown(screen, recorder))
            if ran.live and ran.state == "finished":
                follow(screen, recorder)
        if recorder.latest is not None:
            screen.show(recorder.latest.driven, recorder.latest)
        file = file or ran.path / "report.html"
        kept = recorded(ran, recorder)
        write_report(file, report(kept))
        if not as_json:
            for line in [*summary(ran), *accounted(kept), f"report: {file}"]:
                screen.say(line)
    if as_json:
        emit({**asdict(ran), "path": str(ran.path), "report": str(file)})
    if ran.state == "stopped":
        return INTERRUPTED
    return 0 if ran.state == "finished" and not ran.failed else 1


_BOTTLENECKS: Final = {
    "generator": ": the generator is the bottleneck, its processes have no CPU left; try more --processes",
    "broker": ": the broker is the bottleneck, it did not take what the generator had",
    "machine": ": the machine is the bottleneck, others had its cores when events were due",
}


def _cost(measured: Measured) -> str:
    broker = "" if measured.broker_cpu_s is None else f", the broker {measured.broker_cpu_s:.1f} s"
    return (
        f"{number(round(measured.events_per_s))} events/s; the generator used {measured.cpu_s:.1f} s of CPU{broker}; "
        f"its ceiling is about {number(round(measured.ceiling_events_per_s))} events/s"
    )


def _shown(screen: Screen, recorder: Recorder) -> Callable[[LoadProgress], None]:
    phase = ""

    def on_progress(progress: LoadProgress) -> None:
        nonlocal phase
        if progress.phase != phase and progress.phase in ("planning", "starting", "finishing"):
            screen.say(f"{progress.phase} …")
        phase = progress.phase
        if progress.phase in ("sending", "done"):
            recorder.driven(driven(progress))
        if progress.phase == "sending":
            screen.show(driven(progress), recorder.latest)

    return on_progress


def follow(screen: Screen, recorder: Recorder) -> None:
    """Looks on until Redis has all that was sent, while workers get on with it: FOLLOW_S seconds at the most, or until Ctrl-C."""
    begun_s = moved_s = time.monotonic()
    sent_ms, least = time.time() * 1000, float("inf")
    try:
        while (now := recorder.latest) is not None and now.workers and time.monotonic() - begun_s < FOLLOW_S:
            backlog = now.backlog or 0
            if not backlog and now.at_ms > sent_ms:
                return
            if backlog < least:
                least, moved_s = backlog, time.monotonic()
            elif time.monotonic() - moved_s > STILL_S:
                return
            screen.show(replace(now.driven, waiting_for=f"{number(backlog)} records to reach Redis"), now)
            time.sleep(LOOK_S)
    except KeyboardInterrupt:
        return


def accounted(kept: Recorded) -> list[str]:
    """The view `accounting` against what was sent, in a line; in none where no worker has counted anything."""
    found = accounts(kept)
    if not any(one.counted for one in found):
        return []
    counts = ", ".join(f"{one.name} {number(one.counted or 0)}" for one in found)
    worths = {one.worth for one in found} - {"equal"}
    return [f"the workers counted: {counts}: {'as sent' if not worths else '; '.join(sorted(worths))}"]


def summary(run: Run) -> list[str]:
    """The run in a few lines."""
    took = f"{(run.ended_ms - run.started_ms) / 1000:.1f} s" if len(run.stretches) < 2 else f"{len(run.stretches)} stretches"
    counts = f"{number(run.generated)} generated, {number(run.acknowledged)} acknowledged, {number(run.failed)} failed"
    lines = [f"run {run.name} {run.state}: {counts} in {took}, topic {run.topic}"]
    if run.faults:
        lines.append("broken on purpose: " + ", ".join(f"{kind} {number(count)}" for kind, count in sorted(run.faults.items())))
    if run.unmapped:
        lines.append(f"{number(run.unmapped)} rows of the trace made no event")
    if run.measured is not None:
        lines.append(_cost(run.measured))
    if run.late_sends:
        whose = _BOTTLENECKS.get(run.measured.bottleneck if run.measured else "", "")
        lines.append(
            f"{number(run.late_sends)} sent more than 100 ms after their intended time, {number(run.max_lateness_ms)} ms at worst{whose}"
        )
    lines.append(f"event time {instant(run.span_start_ms)} to {instant(run.span_end_ms)}; `marquee audit {run.name}` checks it")
    return lines

"""What `load` and `replay` share: progress on stderr, the run's summary, the exit code."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from typing import TYPE_CHECKING, Final

from marquee.output import emit, instant, number, say
from marquee.screen import Driven, Screen

if TYPE_CHECKING:
    from loadgen.crew import LoadProgress
    from loadgen.ledger import Run
    from loadgen.measured import Measured

INTERRUPTED = 130


def driven(progress: LoadProgress) -> Driven:
    """The generator's progress as the screen shows it."""
    return Driven(
        progress.total, progress.sent, progress.acknowledged, progress.intended_rate, progress.rate, late_sends=progress.late_sends
    )


def drive(title: str, run: Callable[[Callable[[LoadProgress], None]], Run], as_json: bool) -> int:
    """Runs with live progress and reports the ledger: 0 all confirmed, 1 some failed, 130 stopped before its end."""
    with Screen(title) as screen:
        phase = ""

        def on_progress(progress: LoadProgress) -> None:
            nonlocal phase
            if progress.phase != phase and progress.phase in ("planning", "starting", "finishing"):
                screen.say(f"{progress.phase} …")
            phase = progress.phase
            if progress.phase == "sending":
                screen.show(driven(progress))

        ran = run(on_progress)
    if as_json:
        emit({**asdict(ran), "path": str(ran.path)})
    else:
        for line in summary(ran):
            say(line)
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


def summary(run: Run) -> list[str]:
    """The run in a few lines."""
    seconds = (run.ended_ms - run.started_ms) / 1000
    counts = f"{number(run.generated)} generated, {number(run.acknowledged)} acknowledged, {number(run.failed)} failed"
    lines = [f"run {run.name} {run.state}: {counts} in {seconds:.1f} s, topic {run.topic}"]
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

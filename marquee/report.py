"""What stands in the report of a run: its figures, its course as charts, and what became of its events beside what was sent."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from loadgen.audit_report import AuditResult
from loadgen.faults import CLASSES
from loadgen.ledger import Run
from marquee.audit_table import verdict
from marquee.moment import Moment
from marquee.output import instant, number
from marquee.recording import Recorder
from topologies import accounting

MOST_LINES: Final = 8
"""Of a chart: as many as the page has colours."""


@dataclass(frozen=True)
class Recorded:
    """What was kept of a run, and its audit where there was one. p50_ms, p99_ms: of the whole run's freshness, None where nothing is known;
    trouble: why something is not."""

    run: Run
    moments: Sequence[Moment]
    p50_ms: float | None = None
    p99_ms: float | None = None
    trouble: str = ""
    audit: AuditResult | None = None


def recorded(run: Run, recorder: Recorder, audit: AuditResult | None = None) -> Recorded:
    """What a recorder, which is at its end, has kept of this run."""
    return Recorded(run, recorder.moments, *recorder.percentiles_ms(), recorder.trouble, audit)


def report(course: Recorded) -> dict[str, Any]:
    """The document that `report_page` shows."""
    run = course.run
    return {
        "title": f"{run.kind} {run.name}",
        "lead": f"{run.state}; event time {instant(run.span_start_ms)} to {instant(run.span_end_ms)}; topic {run.topic}",
        "verdict": None if course.audit is None else {"good": course.audit.proven, "text": verdict(course.audit)},
        "facts": [[name, value if isinstance(value, int | float) else str(value)] for name, value in _facts(course)],
        "tables": [_accounted(course), *([] if course.audit is None else [_audited(course.audit), *_broken(course.audit)])],
        "charts": _charts(course.moments),
        "notes": _notes(course),
    }


def _facts(course: Recorded) -> list[tuple[str, object]]:
    run = course.run
    seconds = max(0.001, (run.ended_ms - run.started_ms) / 1000)
    asked = {name: value for name, value in run.options.items() if value not in (None, "", False) and name not in ("run", "tag", "seed")}
    return [
        ("generated", run.generated), ("acknowledged", run.acknowledged), ("failed", run.failed),
        ("took", f"{seconds:,.1f} s"), ("sent late (over 100 ms)", run.late_sends), ("at worst", f"{number(run.max_lateness_ms)} ms"),
        ("freshness, median", _seconds(course.p50_ms)), ("freshness, p99", _seconds(course.p99_ms)),
        ("greatest backlog", max((moment.backlog or 0 for moment in course.moments), default=0)),
        *((f"broken on purpose: {kind}", count) for kind, count in sorted(run.faults.items())),
        *_cost(run), ("seed", str(run.seed)), *((name, value) for name, value in asked.items()),
    ]  # fmt: skip


def _cost(run: Run) -> list[tuple[str, object]]:
    """What the generator measured of itself."""
    if run.measured is None:
        return []
    told = run.measured
    broker = "not known" if told.broker_cpu_s is None else f"{told.broker_cpu_s:,.1f} s"
    return [
        ("events/s", round(told.events_per_s)), ("generator's CPU", f"{told.cpu_s:,.1f} s"), ("broker's CPU", broker),
        ("generator's events/core-second", round(told.events_per_core_second)), ("its ceiling, events/s", round(told.ceiling_events_per_s)),
        ("confirmed within, p99", _seconds(told.confirmed.p99_ms)), ("late because of the", told.bottleneck or "(not late)"),
    ]  # fmt: skip


def _seconds(value_ms: float | None) -> str:
    return "not known" if value_ms is None else f"{value_ms / 1000:.2f} s"


@dataclass(frozen=True)
class Account:
    """Of one class of events: how many the generator sent, how many the view `accounting` counted meanwhile (None: not known), and what
    that is worth: "equal", "not all is applied yet", "not known" or "differs"."""

    name: str
    sent: int
    counted: int | None
    worth: str


def accounts(course: Recorded) -> list[Account]:
    """The view's totals against the truth, class by class. They differ, too, where others have written while the run went on."""
    last = next((moment for moment in reversed(course.moments) if moment.counted), None)
    sent = dict.fromkeys(accounting.MEASURES, 0) | {"received": course.run.acknowledged}
    for kind, count in course.run.faults.items():
        if kind in CLASSES:
            sent[CLASSES[kind]] += count
    sent["applied"] = sent["received"] - sum(sent[name] for name in set(CLASSES.values()))

    def account(name: str) -> Account:
        counted = None if last is None else last.counted[name]
        open_ = "not all is applied yet" if last is None or last.backlog != 0 else "differs"
        return Account(name, sent[name], counted, "not known" if counted is None else "equal" if counted == sent[name] else open_)

    return [account(name) for name in accounting.MEASURES]


def _accounted(course: Recorded) -> dict[str, Any]:
    columns = [{"label": "class"}, {"label": "sent", "numeric": True}, {"label": "counted", "numeric": True}, {"label": "which is"}]
    rows = [[one.name, one.sent, one.counted, one.worth] for one in accounts(course)]
    return {"caption": "What became of the events", "columns": columns, "rows": rows}


def _audited(result: AuditResult) -> dict[str, Any]:
    rows = [
        [name, view.cells, view.wrong, "empty" if not view.cells else "wrong" if view.wrong else "equal"]
        for name, view in sorted(result.views.items())
    ]
    columns = [{"label": "view"}, {"label": "cells", "numeric": True}, {"label": "wrong", "numeric": True}, {"label": "against the truth"}]
    return {"caption": "The views against a recount of the log", "columns": columns, "rows": rows}


def _broken(result: AuditResult) -> list[dict[str, Any]]:
    rows = [
        [kind, injected, found, "equal" if found == injected else "differs"] for kind, (injected, found) in sorted(result.faults.items())
    ]
    columns = [{"label": "kind"}, {"label": "injected", "numeric": True}, {"label": "found", "numeric": True}, {"label": "which is"}]
    return [{"caption": "What was broken on purpose, looked for in the log", "columns": columns, "rows": rows}] if rows else []


def _charts(moments: Sequence[Moment]) -> list[dict[str, Any]]:
    def line(label: str, of: Callable[[Moment], float | None]) -> dict[str, Any]:
        return {"label": label, "values": [of(moment) for moment in moments]}

    def chart(label: str, lead: str, unit: str, *lines: dict[str, Any]) -> dict[str, Any]:
        drawn = [one for one in lines if any(value is not None for value in one["values"])]
        return {"label": label, "lead": lead, "unit": unit, "x": [moment.at_ms for moment in moments], "series": drawn[:MOST_LINES]}

    owners = sorted({name for moment in moments for name in moment.workers})
    charts = [
        chart(
            "Rate", "events a second that were to be sent, and that were", "",
            line("intended", lambda moment: moment.driven.intended_rate or None), line("actual", lambda moment: moment.driven.rate),
        ),
        chart("Backlog", "records that stand in the log and not yet in Redis", "", line("records", lambda moment: moment.backlog)),
        chart(
            "Freshness", "how long what came to be shown had stood in the log; and how old what is shown is", "ms",
            line("median", lambda moment: moment.p50_ms), line("p99", lambda moment: moment.p99_ms),
            line("age", lambda moment: moment.behind_ms),
        ),
        chart("Workers", "partitions of each", "", *(line(name, _owned(name)) for name in owners)),
        chart(
            "Accounting", "events since the run began: what Kafka acknowledged, and what the workers counted", "",
            line("acknowledged", lambda moment: moment.driven.acknowledged), *(line(name, _counted(name)) for name in accounting.MEASURES),
        ),
        chart("Viewers", "sessions that are live", "", line("watching", lambda moment: moment.viewers)),
        chart("Sent late", "records handed to Kafka more than 100 ms after their time", "", line("records", _late)),
    ]  # fmt: skip
    return [one for one in charts if one["series"]]


def _owned(name: str) -> Callable[[Moment], float | None]:
    return lambda moment: moment.workers.get(name, 0) if moment.counted else None


def _counted(name: str) -> Callable[[Moment], float | None]:
    return lambda moment: moment.counted.get(name)


def _late(moment: Moment) -> float | None:
    return moment.driven.late_sends


def _notes(course: Recorded) -> list[str]:
    notes = [f"Something was not seen: {course.trouble}"] if course.trouble else []
    if course.run.late_sends:
        notes.append("The generator sent records after their time: in part it, and not the system, was the bottleneck.")
    if course.audit is None:
        notes.append(f"`marquee audit {course.run.name}` recounts the log and compares every cell of every view.")
    return notes

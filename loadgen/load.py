"""`marquee load`: a run of the audience, planned, shared among processes, watched, and written down.

run_load ── plan ──► processes (loadgen.process), each its partitions, each its producer
    ▲                    │ counters in shared memory, parts of the ledger
    └── progress, run.json every second, stop on SIGINT or SIGTERM, the ledger merged at the end
"""

from __future__ import annotations

import hashlib
import math
import re
import secrets
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import Final

import msgspec

from loadgen import catalogue
from loadgen.audience import Plan, make_plan, make_world
from loadgen.crew import Crew, Job, LoadProgress
from loadgen.destination import open_destination, open_everywhere
from loadgen.faults import Faults, parse_faults
from loadgen.holding import owned
from loadgen.ledger import NAME, Run, Stretch, create_run, refuse_taken, runs_directory
from loadgen.process import Assignment, warm_up
from loadgen.scenario import course_of, scenario_of, text_of
from loadgen.shard import chunk_ms_of
from topologies.errors import MarqueeError, UsageError
from topologies.regions import in_region
from topologies.settings import Settings

DEFAULT_RATE: Final = 20_000.0
"""Events a second of a live run that says only how many."""
BOUNDS: Final = {"events": (1, 10**10), "duration": (0.001, 30 * 86_400), "rate": (0.001, 1e7), "backfill": (1, 400 * 86_400)}
"""Least and most of what a load may be asked for; seconds, and events a second."""
DAY_MS: Final = 86_400_000
MOST_REGIONS: Final = 200
"""An event's place is a byte, and the known regions have several each."""

FORMATS: Final = ("json", "arrow")

OnProgress = Callable[[LoadProgress], None]


@dataclass(frozen=True)
class LoadOptions:
    """What `marquee load` was asked for. Two of events, duration_s and rate decide the third of a live run.

    A backfill takes `events` over the `backfill_s` seconds that end now, or start at `span_start_ms` (epoch ms).
    """

    events: int | None = None
    duration_s: float | None = None
    rate: float | None = None
    """Events a second."""
    backfill_s: float | None = None
    format: str = "json"
    seed: int = 1
    run: str | None = None
    """The run's name; made up when None."""
    faults: str = ""
    """As `--faults` has it: duplicates,late=0.01,late:days=0.001 or all (loadgen.faults)."""
    scenario: str = "steady"
    """The name of one that is shipped, or the path of a file (loadgen.scenario)."""
    processes: int = 2
    titles: int = 18_214
    regions: int = 6
    vanish: float = 0.02
    """Share of sessions that never send a stop."""
    span_start_ms: int | None = None
    everywhere: bool = False
    """Into the logs of all regions, each viewer's into that of the home; live only (loadgen.homes)."""
    tag: str | None = None
    """What every account starts with; made of the run's name and its time when None."""


@dataclass(frozen=True)
class Shape:
    """How many records, over how long."""

    records: int
    span_ms: int
    live: bool

    @property
    def rate(self) -> float:
        return self.records / (self.span_ms / 1000)


def shape_of(options: LoadOptions) -> Shape:
    """UsageError, saying what to change, when the options do not fit together."""
    _check(options)
    if options.backfill_s is not None:
        over = options.events if options.events is not None else round((options.rate or 0) * options.backfill_s)
        if over < 1:
            raise UsageError("--backfill needs --events N, or a --rate R that makes one event at least in its span")
        if options.duration_s is not None or (options.events is not None and options.rate is not None):
            raise UsageError("--backfill takes --events N or --rate R, one of them, and no --duration")
        return Shape(over, round(options.backfill_s * 1000), live=False)
    events, duration_s, rate = options.events, options.duration_s, options.rate
    if events is None and duration_s is None:
        duration_s = scenario_of(options.scenario).duration_s
    if events is None and duration_s is None:
        raise UsageError("say how much: --events N, or --duration S with --rate R")
    if events is not None and duration_s is not None and rate is not None:
        raise UsageError("--events, --duration and --rate together say one thing too many; leave one out")
    if events is None:
        assert duration_s is not None
        events = max(1, round(duration_s * (rate or DEFAULT_RATE)))
    if duration_s is None:
        duration_s = events / (rate or DEFAULT_RATE)
    return Shape(events, max(1, math.ceil(duration_s * 1000)), live=True)


def _check(options: LoadOptions) -> None:
    if options.format not in FORMATS:
        raise UsageError(f"--format {options.format}: choose json or arrow")
    for name, value in (
        ("events", options.events),
        ("duration", options.duration_s),
        ("rate", options.rate),
        ("backfill", options.backfill_s),
    ):
        least, most = BOUNDS[name]
        if value is not None and not least <= value <= most:
            raise UsageError(f"--{name} must be a number from {least:g} to {most:g}")
    for name, count, many in (
        ("processes", options.processes, 256),
        ("titles", options.titles, 10**7),
        ("regions", options.regions, MOST_REGIONS),
    ):
        if not 1 <= count <= many:
            raise UsageError(f"--{name} must be from 1 to {many:,}")
    if not 0 <= options.vanish <= 1:
        raise UsageError("--vanish must be between 0 and 1")
    if not 0 <= options.seed < 2**63:
        raise UsageError("--seed must be between 0 and 2^63 − 1")
    if options.everywhere and options.backfill_s is not None:
        raise UsageError("a backfill goes into one region's log: leave --backfill out, or load into one region")
    parse_faults(options.faults)
    scenario_of(options.scenario)
    if options.tag is not None and not re.fullmatch(r"[a-z0-9]{1,16}", options.tag):
        raise UsageError("a tag has 1 to 16 lower-case letters and digits")


def run_name(wanted: str | None, kind: str) -> str:
    """The wanted name if it can name a topic too, or a new one. UsageError when it cannot."""
    if wanted is None:
        return f"{kind}-{time.strftime('%Y%m%d-%H%M%S', time.gmtime())}-{secrets.token_hex(2)}"
    if not NAME.fullmatch(wanted):
        raise UsageError(f"--run {wanted!r}: use 1 to 80 letters, digits, - and _, the first a letter or a digit")
    return wanted


def tag_of(name: str) -> str:
    """A tag for this run, unlike any other run's: 8 letters and digits of a hash of its name and the time."""
    return hashlib.blake2b(f"{name} {time.time_ns()}".encode(), digest_size=4).hexdigest()


def to_its_end() -> bool:
    """Never enough: the load ends as planned."""
    return False


def run_load(
    settings: Settings,
    options: LoadOptions,
    on_progress: OnProgress,
    enough: Callable[[], bool] = to_its_end,
    broker_cpu_s: Callable[[], float] | None = None,
) -> Run:
    """Plays the audience and returns the finished (or stopped) run. Calls `on_progress` about four times a second.

    `enough` is asked as often while events are sent; the run is stopped before its planned end when it says so, as a signal would.
    `broker_cpu_s`: CPU that the broker has used so far, if it is on this machine.

    Raises UsageError (options), ServerAway and StoreError (Kafka), MarqueeError when a process ends early; the ledger then
    says `failed`. A second call is another run.
    """
    run = _new_run(settings, options)
    planned = plan_again(run, on_progress)
    create_run(run)
    run.scenario.write_text(text_of(options.scenario))
    with owned(run.path):
        return send(settings, run, planned, on_progress, enough, broker_cpu_s)


def _new_run(settings: Settings, options: LoadOptions) -> Run:
    shape = shape_of(options)
    name = run_name(options.run, "load")
    refuse_taken(runs_directory(settings) / name)
    started_ms = time.time_ns() // 1_000_000
    span_start = started_ms if shape.live else started_ms - shape.span_ms if options.span_start_ms is None else options.span_start_ms
    if span_start + shape.span_ms > started_ms and not shape.live:
        raise UsageError("the backfill would end in the future, whose times Kafka refuses: begin earlier, or leave --start out")
    course_of(scenario_of(options.scenario), shape.span_ms, 0, catalogue.regions_of(options.regions))  # refuses what does not fit
    target = open_everywhere(settings, name) if options.everywhere else open_destination(settings, name, shape.live)
    return Run(
        name=name,
        path=runs_directory(settings) / name,
        tag=options.tag or tag_of(name),
        kind="load",
        state="running",
        live=shape.live,
        topic=target.topic,
        topic_id=target.topic_id,
        seed=options.seed,
        options=asdict(options),
        started_ms=started_ms,
        ended_ms=0,
        span_start_ms=span_start,
        span_end_ms=span_start + shape.span_ms,
        partitions=target.partitions,
        processes=max(1, min(options.processes, len(target.partitions))),
        chunk_ms=chunk_ms_of(shape.records, shape.span_ms, shape.live, len(target.partitions)),
        stretches=(Stretch(started_ms, span_start, (0,) * len(target.partitions)),),
        logs=target.logs,
    )


@dataclass(frozen=True)
class Planned:
    """A run's plan and shape, and what planning took of the CPU."""

    plan: Plan
    shape: Shape
    cpu_s: float


def plan_again(run: Run, on_progress: OnProgress) -> Planned:
    """The plan of a load, from its ledger alone: the same whenever it is made."""
    options = options_of(run)
    shape = shape_of(options)
    on_progress(LoadProgress(phase="planning", total=shape.records, intended_rate=shape.rate if shape.live else 0.0))
    warm_up(options.format)  # also for the processes, which find the kernels compiled
    before_s = time.thread_time()
    plan = _plan(options, shape, parse_faults(options.faults), run.started_ms if run.live else run.span_start_ms)
    return Planned(plan, shape, time.thread_time() - before_s)


def send(
    settings: Settings,
    run: Run,
    planned: Planned,
    on_progress: OnProgress,
    enough: Callable[[], bool],
    broker_cpu_s: Callable[[], float] | None,
) -> Run:
    """Sends the run's last stretch; the caller owns the run (loadgen.holding). As run_load."""
    options, shape = options_of(run), planned.shape
    brokers = {log.region: in_region(settings, log.region).kafka for log in run.logs}
    assignments = [
        Assignment(
            settings=settings.kafka, plan=planned.plan, run=run, regions=options.regions, partitions=len(run.partitions),
            mine=tuple(range(index, len(run.partitions), run.processes)), process=index, encoding=options.format,
            brokers=brokers,
        )
        for index in range(run.processes)
    ]  # fmt: skip
    intended = shape.rate if shape.live else 0.0
    job = Job(settings, run, shape.records, intended, assignments, on_progress, enough, broker_cpu_s, planned.cpu_s)
    return Crew(job).work()


def options_of(run: Run) -> LoadOptions:
    """What the load was asked for."""
    try:
        options = msgspec.convert(run.options, LoadOptions)
    except msgspec.ValidationError as error:
        why = f"options: {error}; delete the run or restore the file"
        raise MarqueeError(f"the ledger {run.path / 'run.json'} cannot be read ({why})") from error
    return replace(options, scenario=str(run.scenario)) if run.scenario.exists() else options


def _plan(options: LoadOptions, shape: Shape, faults: Faults, span_start_ms: int) -> Plan:
    world = make_world(
        seed=options.seed,
        span_ms=shape.span_ms,
        live=shape.live,
        titles=options.titles,
        regions=options.regions,
        vanish=options.vanish,
        faults=faults.limits(),
        first_hour=span_start_ms % DAY_MS // 3_600_000,
        scenario=scenario_of(options.scenario),
    )
    return make_plan(world, shape.records)

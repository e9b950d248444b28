"""How much a system sustains, by the two metrics of Theodolite (Henning and Hasselbring, "Theodolite: Scalability Benchmarking of
Distributed Stream Processing Engines in Microservice Architectures", Big Data Research 25, 2021,
https://doi.org/10.1016/j.bdr.2021.100209):

    capacity    for each number of workers, the highest rate that they sustain
    demand      for each rate, the fewest workers that sustain it
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from typing import Any, Final

from cluster.supervisor import Workers
from connectors.kafka import ensure_topics
from loadgen.load import LoadOptions, run_load, run_name
from marquee.arena import apart, arena
from marquee.catching_up import catch_up
from marquee.searching import Found, Search, fewest, highest, majority
from marquee.sustaining import TRIAL_S, Bounds, Trial, tried
from marquee.worker_metrics import cpu_s
from serving.overview import SILENT_S, look
from topologies.errors import MarqueeError
from topologies.settings import Settings

WARM_UP: Final = 0.4
"""Of a trial's time, before the first one: a load that nobody judges, in which producers connect, kernels are loaded, sessions begin."""

Say = Callable[[str], None]
Systems = Generator["System", None, None]


@dataclass(frozen=True)
class Method:
    """How rates are tried. repeats: trials a rate, of which more than half have to pass. most_s: of searching, for each number of
    workers."""

    search: Search = field(default_factory=Search)
    bounds: Bounds = field(default_factory=Bounds)
    encoding: str = "json"
    trial_s: float = TRIAL_S
    repeats: int = 1
    most_s: float = 900.0


@dataclass(frozen=True)
class System:
    """A system that runs: so many workers behind these settings; what they have used of the CPU, seconds, where that is known."""

    settings: Settings
    workers: int
    cpu_s: Callable[[], float] | None = None


class Tester:
    """Tries rates on one system, says what came of each, and keeps the trials."""

    def __init__(self, system: System, method: Method, say: Say) -> None:
        self._system = system
        self._method = method
        self._say = say
        self.trials: list[Trial] = []

    def warm_up(self, rate: float) -> None:
        """A short load at that rate, which nobody judges. KeyboardInterrupt when it was stopped."""
        settings, method = self._system.settings, self._method
        warm_up_s = WARM_UP * method.trial_s
        self._say(f"warming up: {rate:,.0f} events/s for {warm_up_s:.0f} s")
        load = LoadOptions(rate=rate, duration_s=warm_up_s, format=method.encoding, run=run_name(None, "capacity"))
        run = run_load(settings, load, lambda _: None)
        if run.state == "stopped":
            raise KeyboardInterrupt
        catch_up(settings, run.topic, lambda _: None)

    def sustains(self, rate: float) -> bool:
        """Whether the rate is sustained in more than half of `repeats` trials."""
        return majority(partial(self._tried, rate), self._method.repeats)

    def _tried(self, rate: float) -> bool:
        method = self._method
        trial = tried(self._system.settings, method.encoding, rate, method.bounds, method.trial_s, self._system.cpu_s)
        self.trials.append(trial)
        self._say(told(trial, method.bounds))
        return not trial.gave_out

    def limit(self, rate: float | None) -> str:
        """Who gave out at that rate, the last time."""
        return next((trial.gave_out for trial in reversed(self.trials) if trial.rate == rate and trial.gave_out), "")


def told(trial: Trial, bounds: Bounds) -> str:
    """A trial in one line."""
    fresh = "load ended before its time" if trial.p99_ms is None else f"p99 {trial.p99_ms / 1000:.2f} s"
    bound = "" if bounds.p99_ms is None or trial.p99_ms is None else f" of {bounds.p99_ms / 1000:g} s"
    lag = f"lag {trial.lag_s:.2f} s, growing by {trial.growth:+.3f} s/s"
    late = f", {trial.late_share:.0%} sent late" if trial.late_share else ""
    return f"{trial.rate:,.0f} events/s: {lag}, {fresh}{bound}{late}: {f'{trial.gave_out} gave out' if trial.gave_out else 'sustained'}"


@dataclass(frozen=True)
class Capacity:
    """Of so many workers. rate: the highest that they sustained, 0 for none; failed: the lowest that they did not, None when none failed;
    limited_by: who gave out there; whole: whether the search was as precise as wanted before its time was over."""

    workers: int
    rate: float
    failed: float | None
    limited_by: str
    whole: bool
    seconds: float
    trials: tuple[Trial, ...]

    @property
    def proof(self) -> Trial | None:
        """The last trial in which `rate` was sustained."""
        return next((trial for trial in reversed(self.trials) if trial.rate == self.rate and not trial.gave_out), None)

    def document(self) -> dict[str, Any]:
        """As JSON has it."""
        proof = self.proof
        cost = None if proof is None or not proof.cpu_s else round(proof.events / proof.cpu_s)
        return {
            "workers": self.workers, "rate": round(self.rate), "not_sustained": None if self.failed is None else round(self.failed),
            "limited_by": self.limited_by or None, "p50_ms": proof and proof.p50_ms, "p99_ms": proof and proof.p99_ms,
            "cpu_s": proof and proof.cpu_s, "events_per_core_second": cost, "as_precise_as_wanted": self.whole,
            "seconds": round(self.seconds, 1), "trials": [asdict(trial) for trial in self.trials],
        }  # fmt: skip


@dataclass(frozen=True)
class Demand:
    """Of one rate: the fewest workers that sustain it, None when none of those tried did, and its trials by number of workers."""

    rate: float
    workers: int | None
    trials: tuple[tuple[int, Trial], ...]

    def document(self) -> dict[str, Any]:
        """As JSON has it."""
        trials = [{"workers": workers, **asdict(trial)} for workers, trial in self.trials]
        return {"rate": round(self.rate), "workers": self.workers, "trials": trials}


def capacities(systems: Systems, method: Method, say: Say) -> list[Capacity]:
    """The capacity of each. The next one's search begins at the last one's answer."""
    found: list[Capacity] = []
    with closing(systems):
        for system in systems:
            first = found[-1].rate if found and found[-1].rate and not method.search.linear else method.search.first
            found.append(_capacity(system, replace(method, search=replace(method.search, first=first)), say))
    return found


def _capacity(system: System, method: Method, say: Say) -> Capacity:
    tester = Tester(system, method, say)
    tester.warm_up(method.search.first / 2)
    begun = time.monotonic()
    deadline = begun + method.most_s
    found: Found = highest(tester.sustains, method.search, lambda: time.monotonic() > deadline)
    workers = _workers(system.workers)
    least = "no rate that was tried" if not found.best else f"{found.best:,.0f} events/s"
    most = "" if found.failed is None else f", and not {found.failed:,.0f}: {tester.limit(found.failed)} gave out"
    say(f"{workers} sustain{'s' if system.workers == 1 else ''} {least}{most}{'' if found.whole else '; the time was over'}")
    limit, seconds = tester.limit(found.failed), time.monotonic() - begun
    return Capacity(system.workers, found.best, found.failed, limit, found.whole, seconds, tuple(tester.trials))


def demands(systems: Systems, rates: Sequence[float], method: Method, say: Say) -> list[Demand]:
    """The demand of each rate, ascending. Systems come with ever more workers; none is asked for once every rate has its answer."""
    testers: list[tuple[int, Tester]] = []

    def tests() -> Iterator[tuple[int, Callable[[float], bool]]]:
        for system in systems:
            tester = Tester(system, method, say)
            testers.append((system.workers, tester))
            tester.warm_up(min(rates) / 2)
            yield system.workers, tester.sustains

    with closing(systems):
        answers = fewest(tests(), rates)
    trials = [(workers, trial) for workers, tester in testers for trial in tester.trials]
    return [Demand(rate, workers, tuple(one for one in trials if one[1].rate == rate)) for rate, workers in answers.items()]


def _workers(count: int) -> str:
    return f"{count} worker{'' if count == 1 else 's'}"


def running_system(settings: Settings) -> System:
    """The system of the settings, with those workers that have partitions. Raises MarqueeError when there is none, or a server is away."""
    seen = look(settings)
    if seen.troubles or not all(server.ok for server in seen.servers if server.name != "memcached"):
        away = ", ".join(server.name for server in seen.servers if not server.ok) or "; ".join(seen.troubles)
        raise MarqueeError(f"the system does not run: {away}; `marquee up` starts it, or give --workers 1..2 for one of its own")
    alive = {
        name: next((one.http for one in owned if one.http), "")
        for name, owned in seen.workers().items()
        if any(one.heard_s is not None and one.heard_s <= SILENT_S for one in owned)
    }
    if not alive:
        raise MarqueeError("no worker has a partition; `marquee up` starts some, or give --workers 1..2 for a system of its own")
    return System(settings, len(alive), partial(cpu_s, tuple(alive.values())) if all(alive.values()) else None)


def own_systems(settings: Settings, counts: Sequence[int], given: bool, say: Say) -> Systems:
    """For each of these numbers of workers a system of its own, on servers of its own or, if they are given, on those of the settings:
    topics, group, keyspace and prefix are nobody else's. Each is up until the next one is asked for."""
    with arena(settings, "capacity", given) as (running, directory, _):
        for count in counts:
            mark = f"capacity{os.getpid()}x{count}"
            own = apart(running, mark)
            ensure_topics(own)
            with Workers(own, count, directory / mark) as workers:
                workers.wait_ready(progress=say)
                yield System(own, count, partial(_cpu_s, workers))


def _cpu_s(workers: Workers) -> float:
    return sum(workers.cpu_seconds(index) for index in range(len(workers)))

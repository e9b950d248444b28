"""The autoscaler: what is measured → the policy → the workers, while this process leads.

    Meter.newest ──► decide ──► Candidate.act(order), refused to whoever leads no more ──► Actuator.scale

Of several autoscalers one leads (cluster/leadership.py). One that comes to lead begins with as many workers as are wanted then, and with
what it measures from then on. When somebody has changed the number by hand it goes on from that one, as after a change of its own.

There is one election, whatever is scaled: what is measured is all that the workers of a system have to do, so two sets of them, each sized
for it, would be twice as many. Where there is no ZooKeeper there is one autoscaler: that of the supervisor whose workers they are.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from typing import Final

import msgspec

from cluster.leadership import AUTOSCALER, Candidate
from cluster.registries import member_id
from cluster.scaling.actuator import Actuator
from cluster.scaling.meter import Meter
from cluster.scaling.orders import Order
from cluster.scaling.policy import Measurement, Past, Rules, decide, paced
from topologies.errors import Conflict, Deposed, MarqueeError
from topologies.settings import Settings

log = logging.getLogger(__name__)
DECIDE_EVERY_S: Final = 5.0


@dataclass(frozen=True)
class Change:
    """A change of the number of workers; at_s: epoch seconds."""

    at_s: float
    before: int
    wanted: int
    why: str


class Autoscaler:
    """Steps are its caller's: on the thread that looks after the workers. Nothing that is away ends it; it holds, and says why."""

    def __init__(
        self,
        rules: Rules,
        newest: Callable[[], Measurement | None],
        actuator: Actuator,
        candidate: Candidate | None = None,
        clock_s: Callable[[], float] = time.time,
        ticks_s: Callable[[], float] = time.monotonic,
    ) -> None:
        """newest: the newest measurement, at once. candidate: who stands for election for this process; None: nobody else scales. clock_s:
        epoch seconds; ticks_s: by which it is due, whatever is done to the clock."""
        self._rules = rules
        self._newest = newest
        self._actuator = actuator
        self._candidate = candidate
        self._clock_s = clock_s
        self._ticks_s = ticks_s
        self._past: Past | None = None
        self._epoch = 0
        self._due_s = float("-inf")
        self.why = "not decided yet"
        """Why there are as many as there are."""

    def step(self) -> Change | None:
        """Decides, if DECIDE_EVERY_S are over since it did last and this process leads. A change of the number, once it is made."""
        ticks_s = self._ticks_s()
        if ticks_s < self._due_s:
            return None
        self._due_s = ticks_s + DECIDE_EVERY_S
        try:
            return self._decided(self._clock_s())
        except Deposed as error:
            log.warning("%s", error)
            self._past = None
        except Conflict as error:
            log.warning("the number of workers was changed by somebody else: %s", error)
        except MarqueeError as error:
            log.warning("not scaled: %s", error)
        return None

    def _decided(self, now_s: float) -> Change | None:
        if not self._leads():
            self.why = "another autoscaler leads, or none can be elected"
            return None
        before = self._actuator.wanted()
        past = self._past or Past(wanted=before)
        by_hand = past.wanted != before
        if by_hand:
            log.info("somebody has changed %d workers to %d", past.wanted, before)
            past = replace(past, wanted=before, changed_s=now_s)
        decision = decide(self._rules, past, self._newest(), now_s)
        first, self.why = self._past is None, decision.why
        if decision.wanted != before or by_hand or first:
            self._act(Order(decision.wanted, decision.why, int(now_s * 1000)))
        if decision.wanted != before:
            self._actuator.scale(decision.wanted)
        self._past = decision.past  # only now: what could not be done is decided again
        return Change(now_s, before, decision.wanted, decision.why) if decision.wanted != before else None

    def _leads(self) -> bool:
        if self._candidate is None:
            return True
        term = self._candidate.term()
        if term is None:  # perhaps for a moment: who leads meanwhile begins another epoch
            return False
        if term.epoch != self._epoch:
            self._epoch, self._past = term.epoch, None
        return True

    def _act(self, order: Order) -> None:
        if self._candidate is not None:
            self._candidate.act(msgspec.json.encode(order).decode(), self._epoch)


def rules_of(settings: Settings, least: int, most: int) -> Rules:
    """The policy's rules by `scaling.…`, within these limits."""
    scaling = settings.scaling
    rules = paced(least, most, scaling.start_s)
    return replace(rules, hold_s=scaling.hold_s or rules.hold_s, cool_s=scaling.cool_s)


@contextmanager
def autoscaling(settings: Settings, limits: tuple[int, int], actuator: Actuator) -> Iterator[Autoscaler]:
    """An autoscaler of these workers, from `least` to `most`, which stands for election where there is a ZooKeeper. Its caller steps it."""
    with ExitStack() as opened:
        meter = opened.enter_context(Meter(settings, settings.scaling.capacity_per_s))
        candidate = None
        if settings.zookeeper.hosts:
            from connectors.zookeeper import Session  # only here: kazoo is of no use to who has no ZooKeeper

            session = Session(settings.zookeeper)
            opened.callback(session.close)
            candidate = opened.enter_context(Candidate(session, AUTOSCALER, member_id(settings)))
        yield Autoscaler(rules_of(settings, *limits), meter.newest, actuator, candidate)

"""Carrying a plan out: a thread a lane strikes and heals in the plan's order, at the plan's times or as soon after as there is something
to hit. What hit nothing is not counted."""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Final

from marquee.chaos.ground import Ground
from marquee.chaos.kinds import BY_NAME
from marquee.chaos.plan import Plan, Planned

PATIENCE_S: Final = 300.0
"""A fault waits so long for what it strikes: a worker that was killed and restores its state while servers are struck, say."""


class Lanes:
    """The lanes of one plan. `begin` when the load has begun, `finish` to wait for the last heal; both once."""

    def __init__(self, plan: Plan, ground: Ground, say: Callable[[str], None]) -> None:
        self._plan = plan
        self._ground = ground
        self._say = say
        self._work: list[Future[None]] = []
        self._hits: list[Planned] = []

    @property
    def struck(self) -> dict[str, int]:
        """Faults that hit something, by kind."""
        return dict(Counter(fault.kind for fault in [*self._hits]))

    @property
    def missed(self) -> tuple[Planned, ...]:
        """Faults of the plan that have hit nothing, so far or in the end."""
        hits = {fault.number for fault in [*self._hits]}
        return tuple(fault for fault in self._plan.faults if fault.number not in hits)

    def begin(self) -> None:
        """Starts the lanes; the plan's time begins now."""
        lanes = self._plan.by_lane()
        self._ground.began_s = time.monotonic()
        pool = ThreadPoolExecutor(len(lanes), thread_name_prefix="chaos")
        self._work = [pool.submit(self._run, faults) for faults in lanes.values()]
        pool.shutdown(wait=False)

    def healed_for_s(self) -> float:
        """Seconds since the last fault of the plan was healed; 0 before that."""
        if not self._work or not all(work.done() for work in self._work):
            return 0.0
        return self._ground.elapsed_s() - max(self._ground.struck_until.values(), default=0.0)

    def end(self) -> None:
        """Strikes no more: what is struck is healed now, and what was not struck yet is missed."""
        self._ground.ending.set()

    def finish(self) -> None:
        """Returns when all is healed. Raises what a lane raised: something did not come back."""
        for work in self._work:
            work.result()

    def give_up(self) -> None:
        """Strikes no more and heals what is struck, as far as it can be; for a run that has failed already."""
        self.end()
        for work in self._work:
            work.exception()

    def failed(self) -> bool:
        """Whether a lane has ended by an error, so that `finish` would raise."""
        return any(work.done() and work.exception() is not None for work in self._work)

    def _run(self, faults: list[Planned]) -> None:
        settled_s = 0.0
        for fault in faults:
            if self._ground.ending.wait(max(0.0, max(fault.at_s, settled_s) - self._ground.elapsed_s())):
                return
            self._carry_out(fault)
            # Where healing took longer than planned, what was struck still has its time to recover before it is struck again.
            settled_s = self._ground.elapsed_s() + BY_NAME[fault.kind].settle_s

    def _carry_out(self, fault: Planned) -> None:
        """Strikes and heals until it hit something. Leaves it when there was nothing to hit for PATIENCE_S, or no more is to be struck."""
        ground = self._ground
        hit = ground.wait_until(lambda: ground.stands(fault.lane) and self._hit(fault), PATIENCE_S)
        if not (hit or ground.ending.is_set()):
            self._say(f"{ground.elapsed_s():7.1f} s  {fault.kind} of {fault.lane} had nothing to hit for {PATIENCE_S:.0f} s")

    def _hit(self, fault: Planned) -> bool:
        """Strikes once, and heals. Whether it hit something."""
        kind, began = BY_NAME[fault.kind], self._ground.elapsed_s()
        self._say(f"{began:7.1f} s  {fault.kind} of {fault.lane}" + (f" for {fault.for_s:.1f} s" if fault.for_s else ""))
        self._ground.struck_until[fault.lane] = math.inf
        try:
            try:
                if hit := kind.strike(self._ground, fault):
                    self._hits.append(fault)
                    self._ground.ending.wait(max(0.0, began + fault.for_s - self._ground.elapsed_s()))
            finally:
                kind.heal(self._ground, fault)
        finally:
            self._ground.struck_until[fault.lane] = self._ground.elapsed_s()
        if fault.for_s or not hit:
            self._say(f"{self._ground.elapsed_s():7.1f} s  {fault.kind} of {fault.lane} {'is over' if hit else 'hit nothing'}")
        return hit

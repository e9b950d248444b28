"""The autoscaler's steps: who leads, what it holds, what it does again."""

from __future__ import annotations

import json
from dataclasses import dataclass, field

from cluster.leadership import Candidate, last_act
from cluster.process import wait_until
from cluster.scaling.actuator import Actuator
from cluster.scaling.autoscaler import DECIDE_EVERY_S, Autoscaler
from cluster.scaling.policy import Measurement, Rules
from tests.cluster.registry_conformance import PATIENCE_S
from tests.cluster.scaling.scenes import measured
from tests.cluster.test_leadership import NAME, standing
from topologies.errors import Conflict, MarqueeError, ServerAway
from topologies.settings import ZooKeeperSettings

RULES = Rules(most=4)


@dataclass
class Count(Actuator):
    """A number, and what is to go wrong when it is changed next."""

    count: int = 1
    failing: list[MarqueeError] = field(default_factory=list)

    def wanted(self) -> int:
        return self.count

    def scale(self, count: int) -> None:
        if self.failing:
            raise self.failing.pop()
        self.count = count


@dataclass
class Scene:
    """A clock, a rate, and the autoscaler that follows it."""

    actuator: Count = field(default_factory=Count)
    now_s: float = 0.0
    rate: float | None = 900.0
    candidate: Candidate | None = None

    def __post_init__(self) -> None:
        self.scaler = Autoscaler(RULES, self.newest, self.actuator, self.candidate, lambda: self.now_s)

    def newest(self) -> Measurement | None:
        return None if self.rate is None else measured(self.now_s, self.rate)

    def go(self, seconds: float, rate: float | None) -> list[tuple[int, int]]:
        """What was changed meanwhile, from and to."""
        self.rate, until, changes = rate, self.now_s + seconds, []
        while self.now_s < until:
            self.now_s += 1.0
            change = self.scaler.step()
            if change is not None:
                changes.append((change.before, change.wanted))
        return changes


def test_workers_follow_the_rate_up_at_once_and_down_later() -> None:
    scene = Scene()
    assert scene.go(60, 900) == []
    up = scene.go(60, 3_500)
    assert up[0][0] == 1
    assert up[-1][1] == scene.actuator.count == 4
    down = [change for rate in range(3_400, 500, -100) for change in scene.go(120, rate)] + scene.go(1_200, 600)
    assert all(wanted < before for before, wanted in down)
    assert scene.actuator.count == 1


def test_it_decides_every_few_seconds_however_often_it_is_asked() -> None:
    asked: list[float] = []
    scene = Scene()

    def newest() -> None:
        asked.append(scene.now_s)

    scaler = Autoscaler(RULES, newest, scene.actuator, None, lambda: scene.now_s)
    for _ in range(100):
        scene.now_s += 0.5
        scaler.step()
    assert len(asked) == 50 / DECIDE_EVERY_S


def test_without_a_measurement_it_holds_and_says_so() -> None:
    scene = Scene(Count(3))
    assert scene.go(1_200, None) == []
    assert (scene.actuator.count, scene.scaler.why) == (3, "held: no measurement")


def test_what_could_not_be_done_is_decided_again() -> None:
    scene = Scene(Count(1, [ServerAway("away"), Conflict("somebody wrote")]))
    scene.go(120, 3_500)
    assert scene.actuator.failing == []
    assert scene.actuator.count == 4


def test_of_two_one_leads_and_the_next_takes_over_from_what_is_wanted(place: ZooKeeperSettings) -> None:
    with standing(place, "first") as (first, session), standing(place, "second") as (second, _):
        assert wait_until(lambda: bool(first.term() or second.term()), PATIENCE_S)
        leading, waiting = (first, second) if first.term() else (second, first)
        actuator = Count()
        leads, waits = Scene(actuator, candidate=leading), Scene(actuator, candidate=waiting)
        assert waits.go(60, 3_500) == []
        assert "leads" in waits.scaler.why
        assert leads.go(60, 3_500)[-1][1] == 4
        act = last_act(session, NAME)
        assert act is not None
        assert json.loads(act.order)["workers"] == 4
        leading.close()
        assert waiting.wait(PATIENCE_S)
        assert waits.go(60, 3_500) == []
        assert actuator.count == 4
        assert leads.go(30, 100) == []

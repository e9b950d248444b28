"""The autoscaler's steps: who leads, what it holds, what it does again."""

from __future__ import annotations

import json
from dataclasses import dataclass, field

from cluster.leadership import Act, Candidate, Term, last_act
from cluster.process import wait_until
from cluster.scaling.actuator import Actuator
from cluster.scaling.autoscaler import DECIDE_EVERY_S, Autoscaler
from cluster.scaling.policy import Measurement, Rules
from tests.cluster.registry_conformance import PATIENCE_S
from tests.cluster.scaling.scenes import measured
from tests.cluster.test_leadership import NAME, standing
from topologies.errors import Conflict, Deposed, MarqueeError, ServerAway
from topologies.settings import ZooKeeperSettings

RULES = Rules(most=4)


@dataclass
class Count(Actuator):
    """A number, and what is to go wrong when it is changed next."""

    count: int = 1
    failing: list[MarqueeError] = field(default_factory=list)
    meanwhile: int | None = None
    """What somebody else has made of it when it fails."""

    def wanted(self) -> int:
        return self.count

    def scale(self, count: int) -> None:
        if self.failing:
            self.count = self.meanwhile or self.count
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
        self.scaler = Autoscaler(RULES, self.newest, self.actuator, self.candidate, lambda: self.now_s, lambda: self.now_s)

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

    scaler = Autoscaler(RULES, newest, scene.actuator, None, lambda: scene.now_s, lambda: scene.now_s)
    for _ in range(100):
        scene.now_s += 0.5
        scaler.step()
    assert len(asked) == 50 / DECIDE_EVERY_S


def test_a_clock_that_is_set_back_holds_nothing_up() -> None:
    asked: list[float] = []
    ticks_s = [0.0]
    scaler = Autoscaler(RULES, lambda: asked.append(ticks_s[0]), Count(), None, lambda: 1e9 - 1e6 * ticks_s[0], lambda: ticks_s[0])
    for second in range(10):
        ticks_s[0] = float(second)
        scaler.step()
    assert asked == [0.0, DECIDE_EVERY_S]


def test_who_changes_the_number_by_hand_is_not_overruled() -> None:
    """Whether anything is measured or not; later it goes down as after any change."""
    scene = Scene(Count(1))
    assert scene.go(400, 900) == []
    scene.actuator.count = 3
    assert scene.go(60, None) == []
    assert scene.actuator.count == 3
    scene.actuator.count = 4
    assert scene.go(RULES.cool_s - DECIDE_EVERY_S, 900) == []
    assert scene.actuator.count == 4
    assert scene.go(1_200, 900)[-1][1] == scene.actuator.count == 1


class Standing(Candidate):
    """A candidate whose term is what a test says; what it did, by epoch."""

    def __init__(self, epoch: int | None) -> None:
        self.epoch, self.leader = epoch, epoch
        self.done: list[int | None] = []

    def term(self) -> Term | None:
        return None if self.epoch is None else Term(self.epoch, "self", 0)

    def act(self, order: str, epoch: int | None = None) -> Act:
        if epoch != self.leader:
            raise Deposed(f"an act of epoch {epoch} is refused.")
        self.done.append(epoch)
        return Act(epoch or 0, "self", order)


def test_a_connection_that_was_away_for_a_moment_costs_no_memory() -> None:
    standing = Standing(1)
    scene = Scene(Count(4), candidate=standing)
    assert scene.go(RULES.hold_s - 70, 900) == []
    standing.epoch = None
    assert scene.go(10, 900) == []
    standing.epoch = 1
    assert scene.go(30, 900)[0] == (4, 3)


def test_a_new_term_begins_with_what_is_measured_in_it() -> None:
    standing = Standing(1)
    scene = Scene(Count(4), candidate=standing)
    assert scene.go(RULES.hold_s - 70, 900) == []
    standing.epoch = standing.leader = 2
    assert scene.go(60, 900) == []


def test_a_deposed_leader_changes_nothing() -> None:
    """It believes that it leads: its connection is up, and nobody has told it."""
    standing = Standing(1)
    scene = Scene(Count(1), candidate=standing)
    scene.go(30, 900)
    standing.leader = 2
    assert scene.go(120, 3_500) == []
    assert scene.actuator.count == 1


def test_an_order_is_given_in_the_epoch_in_which_it_was_decided() -> None:
    """Deposed and elected again between the decision and the act, it knows what somebody else left as little as anybody."""
    standing = Standing(1)
    scene = Scene(Count(1), candidate=standing)
    scene.go(30, 900)

    def elected_again() -> Measurement:
        standing.epoch = standing.leader = 2
        return measured(scene.now_s, 3_500)

    scaler = Autoscaler(RULES, elected_again, scene.actuator, standing, lambda: scene.now_s, lambda: scene.now_s)
    assert scaler.step() is None
    assert (standing.done, scene.actuator.count) == ([1], 1)
    assert scaler.step() is None
    scene.now_s += DECIDE_EVERY_S
    assert scaler.step() is not None
    assert standing.done == [1, 2]


def test_a_leader_that_stood_still_before_it_scaled_does_not_write_over_the_next_ones_number() -> None:
    """Its act was in time and its write is late: whoever keeps the number refuses it, and it begins anew with the number that is there."""
    late = Count(1)
    scene = Scene(late, candidate=Standing(1))
    scene.go(30, 900)
    late.failing.append(Conflict("the next leader has written 2"))
    late.meanwhile = 2
    scene.go(DECIDE_EVERY_S, 3_500)
    assert late.count == 2


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

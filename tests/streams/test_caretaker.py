"""A source ends when its topic was made anew, and never because a worker was held up while it looked."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest

from streams import caretaker as caretaker_module
from streams.assignor import Place
from streams.caretaker import CHECK_S, Caretaker
from streams.partition import PartitionOwner
from tests.topologies.logs import SOURCE, T0, Record, apply, event, tick
from topologies.errors import NoTopic, SourceError
from topologies.fold import PartitionState
from topologies.sources import LATENESS_MS, SKEW_MS, Finish, Source
from topologies.watch_time import WATCH_TIME

OLD, NEW = (Source("local", "viewing-events", name, 0) for name in ("old", "new"))
ELSEWHERE = Source("other", "viewing-events", "third", 0)


def never(_place: Place, _offset: int) -> bool:
    """No log ends."""
    return False


@dataclass
class World:
    """A topic, the notes and the cache, in memory. held_up: what goes on while the caretaker is stopped behind its first question."""

    topic_id: str = "old"
    known: dict[Source, bool] = field(default_factory=lambda: {OLD: False, ELSEWHERE: False})
    concluded: list[Source] = field(default_factory=list)
    notes: list[tuple[Source, int]] = field(default_factory=list)
    """Where sources were noted to have finished."""
    now_s: float = 0.0
    held_up: Callable[[], None] | None = None

    def make_anew(self) -> None:
        """The topic, and another worker computes its new source."""
        self.topic_id = "new"
        self.known[NEW] = False

    def _go_on(self) -> None:
        held_up, self.held_up = self.held_up, None
        if held_up is not None:
            held_up()

    def ids(self) -> Mapping[str, str]:
        found = {"viewing-events": self.topic_id}
        self._go_on()
        return found

    def end(self, source: Source, at_ms: int) -> None:
        assert at_ms > 0
        self.known[source] = True

    async def inspect(self, sources: Iterable[Source]) -> list[str]:
        assert not list(sources)
        return []

    async def conclude(self, source: Source, at_ms: int) -> None:
        assert at_ms > 0
        self.concluded.append(source)

    def caretaker(self) -> Caretaker:
        return Caretaker("local", list, Kept(self), Noted(self), self.ids, lambda: None, lambda: self.now_s, caught_up=never)

    def ended(self) -> set[Source]:
        return {source for source, ended in self.known.items() if ended}


@dataclass
class Noted:
    world: World

    def sources(self) -> list[tuple[Source, bool]]:
        found = list(self.world.known.items())
        self.world._go_on()
        return found

    def end(self, source: Source, at_ms: int) -> None:
        self.world.end(source, at_ms)

    def finish(self, source: Source, finish: Finish) -> None:
        self.world.notes.append((source, finish.upto))

    def finished(self) -> Mapping[str, Finish]:
        return {str(source): Finish(upto, 1) for source, upto in self.world.notes}


@dataclass
class Kept:
    world: World

    async def sources(self) -> list[tuple[Source, bool]]:
        return [(source, False) for source in self.world.known]

    async def inspect(self, sources: Iterable[Source]) -> list[str]:
        return await self.world.inspect(sources)

    async def conclude(self, source: Source, at_ms: int) -> None:
        await self.world.conclude(source, at_ms)


async def test_a_source_ends_at_the_second_look_that_finds_its_topic_made_anew() -> None:
    world = World()
    caretaker = world.caretaker()
    await caretaker.end_sources()
    world.make_anew()
    await caretaker.end_sources()
    assert (world.ended(), world.concluded) == (set(), [])
    await caretaker.end_sources()
    assert (world.ended(), world.concluded) == ({OLD}, [OLD])


async def test_a_worker_held_up_while_a_topic_is_made_anew_does_not_end_the_new_source() -> None:
    world = World(held_up=None)
    caretaker = world.caretaker()
    for _ in range(3):
        world.topic_id, world.held_up = "old", world.make_anew
        await caretaker.end_sources()
    await caretaker.end_sources()
    assert NEW not in world.ended()
    assert NEW not in world.concluded


async def test_another_verdict_between_two_or_of_another_topic_begins_anew() -> None:
    world = World()
    caretaker = world.caretaker()
    for topic_id in ("new", "old", "new", "newer"):
        world.topic_id = topic_id
        await caretaker.end_sources()
    assert (world.ended(), world.concluded) == (set(), [])


async def test_a_look_that_took_longer_than_its_interval_counts_for_nothing() -> None:
    world = World(topic_id="new")
    caretaker = world.caretaker()

    def late() -> None:
        world.now_s += CHECK_S + 1

    await caretaker.end_sources()
    world.held_up = late
    await caretaker.end_sources()
    await caretaker.end_sources()
    assert (world.ended(), world.concluded) == (set(), [])
    await caretaker.end_sources()
    assert (world.ended(), world.concluded) == ({OLD}, [OLD])


async def test_a_topic_that_is_deleted_while_it_is_asked_about_ends_no_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(caretaker_module, "CHECK_S", 0.0)
    world = World()
    looks = 0

    def ids() -> Mapping[str, str]:
        raise NoTopic("there is no topic viewing-events.backfill.gone")

    def require() -> None:
        nonlocal looks
        looks += 1
        if looks < 3:
            raise NoTopic("there is no topic viewing-events")
        raise SourceError("topic viewing-events has 9 partitions instead of 8")

    caretaker = Caretaker("local", list, Kept(world), Noted(world), ids, require, caught_up=never)
    with pytest.raises(SourceError, match="9 partitions"):
        await caretaker.run()
    assert looks == 3


def ended_by_a_tick() -> PartitionOwner:
    """A backfill's partition, all of it stored, whose last record is the tick of its end."""
    owner = PartitionOwner(SOURCE, PartitionState(SOURCE, (WATCH_TIME,)), live=False, durable=0, cached=None)
    apply(owner.state, [event(T0), event(T0 + 9_000, seq=1), tick(T0 + 9_000 + LATENESS_MS)])
    owner.stored = owner.state.offset
    return owner


@pytest.mark.parametrize(
    ("changed", "over"),
    [({}, True), ({"live": True}, False), ({"stored": 2}, False), ({"stored": None}, False), ({"spoiled": True}, False)],
)
def test_a_source_is_over_when_its_log_ends_in_silence_and_that_is_stored(changed: Mapping[str, Any], over: bool) -> None:
    """A live one's silence is answered with ticks, and says nothing."""
    owner = ended_by_a_tick()
    for name, value in changed.items():
        setattr(owner, name, value)
    assert owner.over is over


def test_a_source_that_goes_on_is_over_no_more() -> None:
    owner = ended_by_a_tick()
    apply(owner.state, [event(T0 + 10_000 + LATENESS_MS, seq=2)])
    owner.stored = owner.state.offset
    assert not owner.over


@pytest.mark.parametrize(
    ("records", "over"),
    [
        ([tick(T0)], True),
        ([event(T0, ts=T0 - 2 * LATENESS_MS)], False),
        ([event(T0, ts=T0 + 2 * SKEW_MS), tick(T0)], False),
        ([event(T0, ts=T0 - 2 * LATENESS_MS), event(T0, seq=1), tick(T0 + LATENESS_MS)], True),
    ],
    ids=["ticks alone", "late alone", "dead alone", "some applied"],
)
def test_a_source_that_got_records_and_applied_none_may_be_in_its_midst(records: Sequence[Record], over: bool) -> None:
    owner = PartitionOwner(SOURCE, PartitionState(SOURCE, (WATCH_TIME,)), live=False, durable=0, cached=None)
    apply(owner.state, records)
    owner.stored = owner.state.offset
    assert owner.over is over


async def test_a_backfill_finishes_once_and_anew_when_it_was_loaded_again() -> None:
    world, owner, end = World(), ended_by_a_tick(), 9
    owners = [owner]

    def caretaker() -> Caretaker:
        looks = (world.ids, lambda: None, lambda: world.now_s)
        return Caretaker("local", lambda: owners, Kept(world), Noted(world), *looks, caught_up=lambda _, offset: offset >= end)

    first = caretaker()
    await first.finish_sources()
    assert world.notes == []  # its log goes on
    end = 3
    await first.finish_sources()
    await first.finish_sources()
    await caretaker().finish_sources()  # of another worker, that has taken it over
    assert world.notes == [(SOURCE, 3)]
    later = T0 + 3 * LATENESS_MS
    apply(owner.state, [event(later, seq=2), tick(later + LATENESS_MS)])
    owner.stored, end = owner.state.offset, owner.state.offset
    await first.finish_sources()
    assert world.notes == [(SOURCE, 3), (SOURCE, 5)]

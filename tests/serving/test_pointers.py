"""A reader follows what a view was switched to, with the declaration that it needs, and says so."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from cassandra.cluster import Session
from click.testing import CliRunner, Result

from connectors.cassandra import close, connect
from connectors.cassandra_schema import ensure_schema
from connectors.pointers import Pointer, Pointers
from marquee.cli import cli
from serving import stores as stores_module
from serving.answers import Answer, ask
from serving.questions import Question
from serving.stores import POINTERS_S, Stores
from tests.serving.test_answers import NOON, NOW, Cell, World, found, without_cassandra, without_redis
from topologies.editions import LIVE_EDITION, in_edition
from topologies.errors import ServerAway, StoreError, UsageError
from topologies.settings import CassandraSettings, Settings
from topologies.view import HOUR, View
from topologies.views import VIEWS, every_part
from topologies.watch_time import WATCH_TIME

PLAYED = dataclasses.replace(WATCH_TIME.measures[1], name="plays_of_a_minute")
CORRECTED = dataclasses.replace(WATCH_TIME, logic_version=2, measures=(PLAYED,), leaderboard=None)
"""That no reader here has."""
HOURS = Question("watch_time")


@contextmanager
def declared_alone(view: View) -> Iterator[None]:
    """No other view is declared; afterwards all are again, in their order."""
    declared = dict(VIEWS)
    VIEWS.clear()
    VIEWS[view.name] = view
    try:
        yield
    finally:
        VIEWS.clear()
        VIEWS.update(declared)


async def count(settings: Settings, session: Session, view: View, values: tuple[int, ...], key: tuple[str, ...] = ("a", "eu")) -> None:
    """One cell, as a worker of this view alone leaves it in both stores."""
    with declared_alone(view):
        ensure_schema(session, settings.cassandra, every_part())
        world = World(settings, session)
        await world.both(world.status(0), [Cell(view, HOUR, NOON, 0, key, values)])


@pytest.fixture
def session(settings: Settings) -> Iterator[Session]:
    opened = connect(settings.cassandra)
    yield opened
    close(opened)


def answered(stores: Stores) -> Answer:
    return ask(stores, HOURS, lambda: NOW + 1_500)


async def test_a_reader_follows_a_switch_and_back_within_seconds(settings: Settings, session: Session) -> None:
    await count(settings, session, WATCH_TIME, (7_000, 4, 4))
    await count(in_edition(settings, "fix"), session, CORRECTED, (3,))
    pointers, now_s = Pointers(session, settings.cassandra), 0.0
    with Stores(settings, clock=lambda: now_s) as stores:
        assert (found(answered(stores)), answered(stores).notes) == ({("a", "eu"): (7_000, 4, 4)}, ())
        pointers.point(Pointer(CORRECTED, "fix", NOW, "test"))
        assert found(answered(stores)) == {("a", "eu"): (7_000, 4, 4)}
        now_s = POINTERS_S
        answer = answered(stores)
        assert (answer.measures, found(answer)) == (("plays_of_a_minute",), {("a", "eu"): (3,)})
        assert answer.notes == ("answered by edition fix, version 2",)
        pointers.point(Pointer(CORRECTED, LIVE_EDITION, NOW, "test"))
        now_s = 2 * POINTERS_S
        assert (found(answered(stores)), answered(stores).notes) == ({("a", "eu"): (7_000, 4, 4)}, ())


async def test_a_reader_that_cannot_look_up_the_pointer_says_so(settings: Settings, session: Session) -> None:
    await count(settings, session, WATCH_TIME, (7_000, 4, 4))
    with Stores(without_cassandra(settings)) as stores:
        answer = answered(stores)
    assert found(answer) == {("a", "eu"): (7_000, 4, 4)}
    assert answer.notes[0] == "whether another edition answers is not known, so this is the live one's"


def test_a_cassandra_that_is_away_is_asked_once_for_an_answer_and_again_for_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    asked, now_s = 0, 0.0

    def connecting(settings: CassandraSettings) -> Session:
        nonlocal asked
        asked += 1
        return connect(settings)

    monkeypatch.setattr(stores_module, "connect", connecting)
    with Stores(without_redis(without_cassandra(Settings())), clock=lambda: now_s) as stores:
        for answer in (1, 2):
            with pytest.raises(ServerAway, match=r"neither store answers: Redis .* Cassandra"):
                answered(stores)
            assert asked == answer
            now_s += POINTERS_S
        with pytest.raises(ServerAway, match="neither store answers"):
            stores.known()
        assert asked == 3


def test_what_no_store_is_needed_to_refuse_is_refused_where_there_are_no_tables(monkeypatch: pytest.MonkeyPatch) -> None:
    def connecting(_: CassandraSettings) -> Session:
        raise StoreError("there is no keyspace marquee")

    monkeypatch.setattr(stores_module, "connect", connecting)
    with Stores(Settings()) as stores:
        with pytest.raises(UsageError, match="there is no view 'wach_time'; there are"):
            ask(stores, Question("wach_time"))
        with pytest.raises(UsageError, match="not kept by 'cdn'"):
            ask(stores, Question("watch_time", {"cdn": None}))
        with pytest.raises(StoreError, match="no keyspace"):
            ask(stores, HOURS)


async def test_a_question_is_judged_by_the_declaration_of_who_answers(settings: Settings, session: Session) -> None:
    by_device = dataclasses.replace(CORRECTED, groupings=(("title", "device"),))
    ensure_schema(session, settings.cassandra, ())
    await count(in_edition(settings, "fix"), session, by_device, (3,), ("a", "tv"))
    Pointers(session, settings.cassandra).point(Pointer(by_device, "fix", NOW, "test"))

    def asked(dimension: str) -> Result:
        return CliRunner().invoke(cli, ["query", "watch_time", "--by", dimension, "--json"], env=settings.environment())

    cells = json.loads(asked("device").stdout)["cells"]
    assert [(cell["device"], cell["plays_of_a_minute"]) for cell in cells] == [("tv", 3)]
    with pytest.raises(UsageError, match="not kept by 'region'"):
        raise asked("region").exception or AssertionError


async def test_every_pointer_is_kept_with_its_declaration(settings: Settings, session: Session) -> None:
    ensure_schema(session, settings.cassandra, ())
    pointers = Pointers(session, settings.cassandra)
    written = {view.name: Pointer(dataclasses.replace(view, logic_version=9), "fix", NOW, "test") for view in VIEWS.values()}
    for pointer in written.values():
        pointers.point(pointer)
    assert pointers.all() == written

"""Answers through Memcached are Cassandra's answers, whatever becomes of Memcached; and they say where they were read."""

from __future__ import annotations

import dataclasses
import socket
from collections.abc import Awaitable, Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from cluster.local import LocalCluster
from connectors.cassandra_finals import FinalPack, FinalRows
from connectors.memcached import Memcached
from connectors.read_through import Found, ReadThrough, Store
from serving import partials
from serving.answers import Answer, ask
from serving.questions import Question
from serving.stores import Stores
from streams.historian import Historian, History
from tests.serving.test_answers import HOUR_MS, NOON, NOW, World, at_minute, found, live, watched, without_redis, world_of
from topologies import volumes
from topologies.errors import StoreError
from topologies.settings import MemcachedSettings, Settings
from topologies.view import HOUR, View
from topologies.views import every_part

HOURS = 26
OLD = NOON - (HOURS + 4) * HOUR_MS
SERIES = Question("watch_time", {"title": "a"}, from_ms=OLD, to_ms=OLD + HOURS * HOUR_MS)
PATIENT_S = 30.0
"""A machine that does much else may take so long to answer."""
Settle = Callable[[], Awaitable[None]]


@pytest.fixture
def lone(bare_settings: Settings, tmp_path: Path) -> Iterator[LocalCluster]:
    """A Memcached of this test's own, so that it can be killed."""
    with LocalCluster(tmp_path / "lone", bare_settings, services=("memcached",), preferred={"memcached": 0}) as running:
        yield running


@pytest.fixture
def world(settings: Settings, lone: LocalCluster) -> Iterator[World]:
    """What is remembered is so for long: whatever is wrong for being old is seen."""
    memcached = dataclasses.replace(lone.settings.memcached, timeout_s=PATIENT_S, provisional_ttl_s=60)
    settings = dataclasses.replace(settings, memcached=memcached)
    with world_of(settings) as opened:
        yield opened


@pytest.fixture
def settle(world: World) -> Settle:
    """Makes all final rows that can be made."""
    opened = partial(History.opened, world._session, world.settings.cassandra, every_part())
    historian = Historian(every_part(), opened, "w", share=1.0)

    async def settled() -> None:
        while await historian.round():
            pass

    return settled


def without_memcached(settings: Settings) -> Settings:
    return dataclasses.replace(settings, memcached=dataclasses.replace(settings.memcached, servers=()))


def impatient(settings: Settings) -> Settings:
    return dataclasses.replace(settings, memcached=dataclasses.replace(settings.memcached, timeout_s=0.1))


def told(answer: Answer) -> Answer:
    """The answer without how it was read."""
    return dataclasses.replace(answer, memcached=0)


async def store_hours(world: World, watched_ms: int = 1) -> None:
    for number in range(2):
        hours = range(OLD, OLD + HOURS * HOUR_MS, HOUR_MS)
        cells = [watched(title, region, watched_ms + number, start) for start in hours for region in ("eu", "us") for title in ("a", "b")]
        await world.store(world.status(number), cells)


async def test_final_windows_are_read_once_and_then_remembered(world: World, settle: Settle) -> None:
    await store_hours(world)
    await settle()
    plain = world.ask(SERIES, without_memcached(world.settings))
    first, second = world.ask(SERIES), world.ask(SERIES)
    assert told(first) == told(second) == plain
    assert [answer.memcached for answer in (plain, first, second)] == [0, 0, HOURS]
    assert second.read == {"redis": 0, "final": HOURS, "cassandra": 0}
    assert second.document()["memcached"] == HOURS
    for by in ({"title": "b"}, {"title": "a", "region": "eu"}, {"title": "a", "region": None}):
        other = dataclasses.replace(SERIES, by=by)
        plain = world.ask(other, without_memcached(world.settings))
        assert [(told(answer), answer.memcached) for answer in (world.ask(other), world.ask(other))] == [(plain, 0), (plain, HOURS)]
    shorter = dataclasses.replace(SERIES, to_ms=OLD + (HOURS - 1) * HOUR_MS)
    assert world.ask(shorter).memcached > 0, "whole days are shared"


async def test_what_is_remembered_of_fewer_sources_is_not_told_when_there_are_more(world: World, settle: Settle) -> None:
    await store_hours(world)
    await settle()
    before = [world.ask(SERIES) for _ in range(2)][1]
    assert before.memcached == HOURS
    await world.store(world.status(2, clock_ms=OLD), [watched("a", "eu", 100, OLD)])  # a backfill begins
    during = world.ask(SERIES)
    assert (during.rows[0].values, during.final, during.memcached) == ((106, 5, 5), False, 0)
    await world.store(world.status(2, offset=200), [watched("a", "eu", 100, OLD), watched("a", "eu", 1_000, OLD + HOUR_MS)])
    passed = world.ask(SERIES)
    assert ([row.values[0] for row in passed.rows[:3]], passed.final, passed.read["final"]) == ([106, 1_006, 6], True, 0)
    await settle()
    for remembered in (0, HOURS):
        after = world.ask(SERIES)
        assert (after.rows, after.read["final"], after.memcached) == (passed.rows, HOURS, remembered)


async def test_final_windows_of_nothing_are_remembered_too(world: World) -> None:
    await world.store(world.status(0), [watched("a", "eu", 1)])
    assert [world.ask(SERIES).memcached for _ in range(2)] == [0, HOURS]
    assert world.ask(SERIES).rows == ()


async def test_a_final_hour_that_has_no_final_rows_yet_is_merged_once(world: World) -> None:
    await store_hours(world)
    hour = dataclasses.replace(SERIES, to_ms=OLD + HOUR_MS)
    plain = world.ask(hour, without_memcached(world.settings))
    assert (plain.rows[0].values, plain.final, plain.read["cassandra"]) == ((6, 4, 4), True, 1)
    other = dataclasses.replace(hour, by={"title": "a", "region": "us"})
    for question, remembered in ((hour, 0), (hour, 1), (other, 1)):  # of the same bucket
        answer = world.ask(question)
        assert told(answer).rows == world.ask(question, without_memcached(world.settings)).rows
        assert (answer.read["cassandra"], answer.memcached) == (1, remembered)
    for number in range(2):  # what else they did since is no other hour's business
        await world.store(world.status(number, offset=101), [watched("a", "eu", 1, NOON)])
    assert (told(world.ask(hour)).rows, world.ask(hour).memcached) == (plain.rows, 1)


async def test_a_merged_hour_is_not_told_when_there_are_more_sources(world: World) -> None:
    await store_hours(world)
    hour = dataclasses.replace(SERIES, to_ms=OLD + HOUR_MS)
    assert [world.ask(hour).memcached for _ in range(2)] == [0, 1]
    await world.store(world.status(2, clock_ms=OLD), [watched("a", "eu", 100, OLD)])  # a backfill begins
    during = world.ask(hour)
    assert (during.rows[0].values, during.final, during.memcached) == ((106, 5, 5), False, 0)
    await world.end(world.status(2).source)  # it stands where it stood, for ever
    assert [(answer.rows[0].values, answer.memcached) for answer in (world.ask(hour), world.ask(hour))] == [
        ((106, 5, 5), 0),
        ((106, 5, 5), 1),
    ]


async def test_an_hour_of_a_source_that_goes_on_though_it_was_over_is_not_kept_as_merged(world: World) -> None:
    await store_hours(world)
    hour, over = dataclasses.replace(SERIES, to_ms=OLD + HOUR_MS), world.status(2, clock_ms=OLD)
    await world.store(over, [watched("a", "eu", 100, OLD)])
    await world.end(over.source)
    ahead = dataclasses.replace(over, offset=over.offset + 1)
    await world.write_packs(ahead, [watched("a", "eu", 1_000, OLD)])  # its status comes behind them
    assert world.ask(hour).rows[0].values == (1_006, 5, 5)
    await world.store(dataclasses.replace(ahead, offset=ahead.offset + 1), [watched("a", "eu", 2_000, OLD)])
    answers = [world.ask(hour) for _ in range(2)]
    assert [(answer.rows[0].values, answer.memcached) for answer in answers] == [((2_006, 5, 5), 0), ((2_006, 5, 5), 1)]


async def test_a_day_of_which_an_hour_lacks_its_final_rows_is_not_remembered(
    world: World, settle: Settle, monkeypatch: pytest.MonkeyPatch
) -> None:
    await store_hours(world)
    monkeypatch.setattr("serving.partials.MOST_KEYS", 0)
    assert [(answer.read["final"], answer.memcached) for answer in (world.ask(SERIES), world.ask(SERIES))] == [(0, 0)] * 2
    await settle()
    assert [(answer.read["final"], answer.memcached) for answer in (world.ask(SERIES), world.ask(SERIES))] == [(HOURS, 0), (HOURS, HOURS)]


async def test_top_lists_minutes_and_estimates_are_remembered_as_they_are(world: World, settle: Settle) -> None:
    await store_hours(world)
    await world.store(world.status(0, offset=101), [at_minute(minute, 5) for minute in range(-240, -180)])
    await settle()
    questions = [
        Question("watch_time", top=2, from_ms=OLD, to_ms=OLD + HOUR_MS),
        Question("watch_time", {"region": "eu"}, top=2, from_ms=OLD, to_ms=OLD + HOUR_MS),
        Question("watch_time", {"region": None}, from_ms=OLD, to_ms=OLD + 3 * HOUR_MS),
        Question("concurrents", window="minute", from_ms=NOON - 4 * HOUR_MS, to_ms=NOON - 3 * HOUR_MS),
        Question("audience", {"title": "a"}, from_ms=OLD, to_ms=OLD + HOUR_MS),
        Question("quality", from_ms=OLD, to_ms=OLD + HOUR_MS),
    ]
    for question in questions:
        plain = world.ask(question, without_memcached(world.settings))
        assert told(world.ask(question)) == plain
        again = world.ask(question)
        assert told(again) == plain
        assert again.memcached == sum(again.read.values()), question


async def test_what_can_still_change_is_never_older_than_the_answer_says(world: World) -> None:
    settings, viewers = without_redis(world.settings), Question("concurrents", {"title": "a"})
    for number, remembered in ((0, 0), (0, 1)):
        if not remembered:
            await world.store(world.status(number), [live("a", 5)])
        answer = world.ask(viewers, settings)
        assert (found(answer), answer.standing.as_of_ms, answer.memcached) == ({("a",): (5,)}, NOW, remembered)
    await world.store(world.status(0, offset=101, clock_ms=NOW + 1_000), [live("a", 7)])
    answer = world.ask(viewers, settings)
    assert (found(answer), answer.standing.as_of_ms, answer.memcached) == ({("a",): (7,)}, NOW + 1_000, 0)
    await world.store(world.status(1), [live("a", 1)])
    assert found(world.ask(viewers, settings)) == {("a",): (8,)}
    assert world.ask(viewers, settings).memcached == 1
    await world.end(world.status(1).source)
    assert found(world.ask(viewers, settings)) == {("a",): (7,)}, "what has ended is left out of what is remembered"


async def test_editions_and_views_do_not_share_what_is_remembered(world: World) -> None:
    await world.store(world.status(0), [watched("a", "eu", 7, OLD)])
    with Stores(world.settings) as stores:
        keyspace = dataclasses.replace(world.settings.cassandra, keyspace="other")
        with Stores(dataclasses.replace(world.settings, cassandra=keyspace)) as others:
            places = [("t_1", "hour"), ("t_2", "hour"), ("t_1", "day")]
            keys = {one.key_of(*place, "a", 1) for one in (stores, others) for place in places}
    assert len(keys) == 2 * len(places)


@pytest.mark.parametrize("fault", ["killed", "paused", "emptied", "restarted"])
async def test_whatever_becomes_of_memcached_the_answer_is_cassandras(world: World, lone: LocalCluster, settle: Settle, fault: str) -> None:
    await store_hours(world)
    await settle()
    plain = world.ask(SERIES, without_memcached(world.settings))
    with Stores(impatient(world.settings)) as stores:
        asked = partial(ask, stores, SERIES, lambda: NOW + 1_500)
        assert told(asked()) == plain
        if fault == "paused":
            lone.pause("memcached")
        elif fault == "emptied":
            host, _, port = lone.settings.memcached.servers[0].rpartition(":")
            with socket.create_connection((host, int(port)), timeout=PATIENT_S) as connection:
                connection.sendall(b"flush_all\r\n")
                assert connection.recv(10) == b"OK\r\n"
        else:
            lone.kill("memcached")
        if fault == "restarted":
            lone.restart("memcached")
        struck = asked()
        if fault == "paused":
            lone.resume("memcached")
        assert (told(struck), struck.memcached) == (plain, 0)
        assert told(asked()) == plain


@pytest.mark.parametrize("other", ["redis", "kafka"])
async def test_another_server_in_its_place_makes_no_answer_wrong(world: World, cluster: LocalCluster, settle: Settle, other: str) -> None:
    await store_hours(world)
    await settle()
    memcached = dataclasses.replace(world.settings.memcached, servers=(f"127.0.0.1:{cluster.server(other).ports[other]}",), timeout_s=1.0)
    strange = dataclasses.replace(world.settings, memcached=memcached)
    assert world.ask(SERIES, strange) == world.ask(SERIES, without_memcached(world.settings))


async def test_what_somebody_else_wrote_under_our_keys_is_not_told(world: World, settle: Settle) -> None:
    await store_hours(world)
    await settle()
    plain = world.ask(SERIES, without_memcached(world.settings))
    keys = keys_of(world)
    client = Memcached(world.settings.memcached)
    client.put(dict.fromkeys(keys, b"\x80\x04K\x01."), 60)
    assert world.ask(SERIES) == plain
    assert all(isinstance(value, bytes) and value.startswith(b"MQP1") for value in client.look(keys).values())
    client.close()


class Noting(ReadThrough):
    """One that notes what it is asked for."""

    def __init__(self) -> None:
        super().__init__(Memcached(MemcachedSettings()))
        self.keys: list[str] = []

    def read(self, keys: Sequence[str], store: Store[Any]) -> dict[str, Found[Any]]:
        self.keys += keys
        return super().read(keys, store)


def keys_of(world: World) -> list[str]:
    """Those that an answer to the series asks for."""
    noting = Noting()
    with Stores(world.settings, through=noting) as stores:
        ask(stores, SERIES, lambda: NOW + 1_500)
    return noting.keys


async def test_a_stampede_reads_cassandra_once(world: World, settle: Settle, monkeypatch: pytest.MonkeyPatch) -> None:
    """Four processes of four threads each, so to speak, ask for what nobody has asked for before."""
    await store_hours(world)
    await settle()
    blocks, real = len(keys_of(world)), FinalRows.packs
    reads: list[tuple[str, int]] = []

    def counted(rows: FinalRows, view: View, window: str, spans_ms: Sequence[int], buckets: Sequence[int]) -> Iterator[FinalPack]:
        reads.extend((window, span_ms) for span_ms in spans_ms)
        return real(rows, view, window, spans_ms, buckets)

    monkeypatch.setattr(FinalRows, "packs", counted)
    monkeypatch.setattr("connectors.read_through.WAIT_S", PATIENT_S)
    monkeypatch.setattr("connectors.memcached.LEASE_S", int(PATIENT_S))
    clients = [Memcached(world.settings.memcached) for _ in range(4)]
    throughs = [ReadThrough(client) for client in clients]

    def asks(number: int) -> Answer:
        with Stores(world.settings, through=throughs[number % 4]) as stores:
            return ask(stores, SERIES, lambda: NOW + 1_500)

    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(asks, range(16)))
    for client in clients:
        client.close()
    assert blocks > 1
    assert {told(answer).rows for answer in answers} == {answers[0].rows}
    assert len(answers[0].rows) == HOURS
    bound = {hour for window, first in reads if window != "hour" for hour in volumes.spans_of(HOUR, first)}
    hours = {hour for window, hour in reads if window == "hour"}
    assert len(set(reads)) == len(reads), "each row once, whoever got the lease of its day"
    assert not bound & hours
    assert set(range(OLD, OLD + HOURS * HOUR_MS, HOUR_MS)) <= bound | hours


def test_remembered_packs_are_whole_or_none() -> None:
    held = [("local:AAAA:0", b"one"), ("local:AAAA:1", b""), ("", b"three")]
    payload = partials.packed(held)
    assert partials.unpacked("", payload) == held
    assert partials.unpacked("", b"") == []
    for cut in range(1, len(payload)):
        try:
            assert partials.unpacked("", payload[:cut]) in (held[:1], held[:2])
        except StoreError:
            continue

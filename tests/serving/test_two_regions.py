"""Two regions, Cassandra with two data centres: each answers with the sum of both; one is lost, and comes back without what it missed."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace

import pytest
import redis

from cluster.process import wait_until
from cluster.regions import OPTIONS, RegionalCluster
from connectors.cassandra import close, connect
from serving.answers import Answer, ask
from serving.questions import Question
from serving.stores import Stores
from tests.serving.test_answers import NOW, World, live, watched
from topologies.settings import Settings
from topologies.view import parts_of
from topologies.views import selected

EU, US = "eu-west-1", "us-east-1"
PATIENCE_S = 60.0
NO_HINTS = "-Dcassandra.settings.hinted_handoff_enabled=false"
"""What a data centre misses while it is away nobody keeps for it: what is read all the same is read in the other."""
VIEWERS = Question("concurrents", by={"title": None})


class TwoRegions:
    """The servers of both, and in each who writes and who asks, as long-lived as workers and doors."""

    def __init__(self, cluster: RegionalCluster, opened: ExitStack) -> None:
        self.cluster = cluster
        self.worlds: dict[str, World] = {}
        self.doors: dict[str, Stores] = {}
        for name in (EU, US):
            settings = cluster.settings(name)
            settings = replace(settings, regions=replace(settings.regions, retry_s=0.2))
            session = connect(settings.cassandra)
            opened.callback(close, session)
            self.worlds[name] = World(settings, session, parts_of(selected(settings.worker.views)))
            self.doors[name] = opened.enter_context(Stores(settings))

    def ask(self, region: str, question: Question = VIEWERS) -> Answer:
        return ask(self.doors[region], question, lambda: NOW + 1_500)


@pytest.fixture(scope="module")
def two(bare_settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TwoRegions]:
    # the clients' own time-outs are what is tested
    settings = replace(bare_settings, redis=Settings().redis, cassandra=Settings().cassandra)
    directory, services = tmp_path_factory.mktemp("regions"), ("cassandra", "redis")
    with RegionalCluster(directory, settings, (EU, US), services=services, options=(*OPTIONS, NO_HINTS)) as cluster, ExitStack() as opened:
        yield TwoRegions(cluster, opened)
        for name in (EU, US):  # in good order they would take their time
            cluster.lose(name)


def rows(answer: Answer, of: str = "") -> dict[str, int | float | None]:
    """The first measure of the titles whose names begin so."""
    return {row.key[0]: row.values[0] for row in answer.rows if row.key[0].startswith(of)}


async def test_a_read_in_either_region_gives_the_sum_of_both(two: TwoRegions) -> None:
    eu, us = two.worlds[EU], two.worlds[US]
    await eu.both(eu.status(0), [live("t1", 3), live("t3", 2), watched("t1", "eu", 500)])
    await us.both(us.status(0, clock_ms=NOW - 1_000), [live("t1", 4), live("t2", 6), watched("t1", "us", 70)])
    hour = Question("watch_time", by={"title": "t1", "region": None}, window="hour")
    for region in (EU, US):
        answer = two.ask(region)
        assert rows(answer, "t") == {"t1": 7, "t2": 6, "t3": 2}
        assert answer.document()["complete"] == 1.0
        shares = answer.standing.regions
        assert {name: (one.standing.as_of_ms, one.read, one.why) for name, one in shares.items()} == {
            EU: (NOW, "redis", ""),
            US: (NOW - 1_000, "redis", ""),
        }
        assert answer.standing.as_of_ms == NOW - 1_000
        assert rows(two.ask(region, Question("concurrents", by={"title": None}, top=1))) == {"t1": 7}
        assert sum(row.values[0] or 0 for row in two.ask(region, hour).rows) == 570


async def test_a_lost_region_slows_nothing_is_said_and_is_whole_again_without_repair(two: TwoRegions) -> None:
    eu, us = two.worlds[EU], two.worlds[US]
    await eu.both(eu.status(0, offset=200), [live("l1", 3), live("l3", 2)])
    await us.both(us.status(0, offset=200), [live("l1", 4)])
    assert two.ask(US).standing.complete == 1.0
    two.cluster.lose(EU)
    two.ask(US)  # who finds out may wait
    begun_s = time.monotonic()
    lost = [two.ask(US) for _ in range(20)]
    assert time.monotonic() - begun_s < 20 * 0.1
    for answer in lost:
        assert rows(answer, "l") == {"l1": 7, "l3": 2}  # what the lost region had stored is here
        assert (answer.standing.heard, answer.standing.known, answer.final) == (1, 2, False)
        assert answer.standing.regions[EU].read == "cassandra"
        assert answer.standing.regions[EU].why.endswith("what it stored last may be missing")
        assert answer.standing.regions[US].why == ""
    await us.both(us.status(0, offset=300), [live("l1", 9), live("l4", 1)])  # while nobody keeps it for eu

    two.cluster.revive(EU)
    assert wait_until(lambda: _answers(two, EU), PATIENCE_S)
    await eu.cache(eu.status(0, offset=200), [live("l1", 3), live("l3", 2)])
    await us.store(us.status(0, offset=310), [])  # a status alone: eu has it, and none of the cells that it speaks for
    with redis.Redis.from_url(us.settings.redis.url) as client:
        client.flushall()  # so us is read in Cassandra
    assert wait_until(lambda: two.ask(EU).standing.complete == 1.0, PATIENCE_S)
    back = two.ask(EU)
    assert back.standing.regions[US].read == "cassandra"
    assert rows(back, "l") == {"l1": 12, "l3": 2, "l4": 1}
    await us.cache(us.status(0, offset=310), [live("l1", 9), live("l4", 1)])
    assert wait_until(lambda: two.ask(US).standing.complete == 1.0 and not any(_whys(two.ask(US))), PATIENCE_S)
    assert rows(two.ask(US), "l") == rows(two.ask(EU), "l") == {"l1": 12, "l3": 2, "l4": 1}


def _whys(answer: Answer) -> list[str]:
    return [share.why for share in answer.standing.regions.values()]


def _answers(two: TwoRegions, region: str) -> bool:
    """Whether the region's door has its own stores again."""
    return not two.doors[region].known().away

"""What is away is waited for once."""

from __future__ import annotations

import threading

import pytest

from cluster.process import wait_until
from connectors.breaker import Breaker
from topologies.errors import ServerAway, StoreError

PATIENCE_S = 20.0


class Thing:
    """Answers while `there`."""

    def __init__(self) -> None:
        self.there = False
        self.asked = 0
        self.by: set[str] = set()

    def ask(self) -> str:
        self.asked += 1
        self.by.add(threading.current_thread().name)
        if not self.there:
            raise ServerAway("nobody is there")
        return "here"


def test_who_asks_while_it_is_away_is_refused_without_its_being_asked() -> None:
    thing = Thing()
    with Breaker("a thing", retry_s=PATIENCE_S) as breaker:
        for _ in range(3):
            with pytest.raises(ServerAway, match="nobody is there"), breaker.guarded(thing.ask):
                thing.ask()
        assert thing.asked == 1
        assert breaker.why == "nobody is there"


def test_a_probe_of_its_own_finds_out_that_it_is_back() -> None:
    thing = Thing()
    with Breaker("a thing", retry_s=0.01) as breaker:
        with pytest.raises(ServerAway), breaker.guarded(thing.ask):
            thing.ask()
        assert wait_until(lambda: thing.asked > 2, PATIENCE_S)
        assert breaker.why
        thing.there = True
        assert wait_until(lambda: not breaker.why, PATIENCE_S)
        assert thing.by == {threading.current_thread().name, "probe a thing"}
        with breaker.guarded(thing.ask):
            assert thing.ask() == "here"


def test_an_error_that_is_an_answer_opens_nothing() -> None:
    with Breaker("a thing", retry_s=PATIENCE_S) as breaker:
        with pytest.raises(StoreError), breaker.guarded(lambda: None):
            raise StoreError("no such table")
        assert not breaker.why

"""Catching up: both stores and the checkpoints come to the log's end, in this order, and what is waited for is told."""

from __future__ import annotations

import pytest

from marquee import catching_up
from marquee.catching_up import catch_up
from tests.loadgen.test_audit import LENGTH, filled
from tests.loadgen.test_audit_letters import checkpoint
from topologies.errors import MarqueeError, ServerAway
from topologies.settings import Settings


def test_it_waits_for_both_stores_and_then_for_every_checkpoint(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(catching_up, "LOOK_EVERY_S", 0.01)
    place = filled(settings, cassandra_offset=LENGTH - 1)
    said: list[str] = []
    first, last = place.logs

    def look(what: str) -> None:
        """Do what is missing, one thing after the other."""
        if what not in said:
            said.append(what)
        if what == "0 records to reach Redis, 2 Cassandra":
            place.serve(LENGTH, LENGTH)
        elif what == f"{2 * LENGTH} records to be checkpointed":
            checkpoint(place, first, LENGTH)
            checkpoint(place, last, LENGTH - 1)
        else:
            assert what == "1 records to be checkpointed"
            checkpoint(place, last, LENGTH)

    catch_up(settings, place.topic, look)
    assert len(said) == 3


def test_checkpoints_that_do_not_come_are_said_to_be_what_does_not_move(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    place = filled(settings)
    with pytest.raises(MarqueeError, match=f"nothing has moved for 1 s while waiting for {2 * LENGTH} records to be checkpointed"):
        catch_up(settings, place.topic, lambda _: None, 1.0)

    asked = 0

    def away(*_: object) -> dict[str, int]:
        nonlocal asked
        asked += 1
        if asked < 3:
            raise ServerAway("no answer in time")
        return {str(source): LENGTH for source in place.logs}

    monkeypatch.setattr("serving.stores.checkpoint_offsets", away)
    catch_up(settings, place.topic, lambda _: None)
    assert asked == 3

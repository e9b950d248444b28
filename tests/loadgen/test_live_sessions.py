"""The log of live sessions: everyone of them is live at its end, and only whose the events are depends on how many there are."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from loadgen.live_sessions import EVENTS_A_MS, MOST, PLACES, LiveSessions
from tests.topologies.logs import SOURCE, T0, Record, apply
from topologies.concurrents import EXPIRY_MS
from topologies.errors import UsageError
from topologies.fold import PartitionState
from topologies.session_rows import LIVE
from topologies.views import every_part

EVENTS = 2 * 2 * PLACES


def folded(sessions: int) -> PartitionState:
    log = LiveSessions(sessions, EVENTS, T0)
    state = PartitionState(SOURCE, every_part())
    for first in range(0, EVENTS, PLACES):
        apply(state, [Record(at_ms, value) for at_ms, _, value in log.values(first, PLACES)])
    return state


def test_all_are_live_and_the_cells_are_the_same_whatever_their_number() -> None:
    few, many = folded(PLACES), folded(2 * PLACES - 3)
    assert [int(state.sessions.counters[LIVE]) for state in (few, many)] == [PLACES, 2 * PLACES - 3]
    assert few.status().applied == few.status().received == EVENTS
    assert few.status() == many.status()
    cells = [state.canonical()["cells"] for state in (few, many)]
    assert cells[0]["watch_time"] == cells[1]["watch_time"] != {}
    assert cells[0]["concurrents"].keys() == cells[1]["concurrents"].keys()


@pytest.mark.parametrize("sessions", [7, PLACES, 5 * PLACES, 3 * PLACES + 11])
def test_a_session_has_its_events_in_turn_and_in_another_order_each_time(sessions: int) -> None:
    log = LiveSessions(sessions, 20 * PLACES, T0)
    taken, numbers = log.sessions_of(0, log.events)
    assert set(taken.tolist()) == set(range(sessions))
    for session in (0, sessions // 2, sessions - 1):
        mine = np.flatnonzero(taken == session)
        assert numbers[mine].tolist() == list(range(len(mine)))
        assert np.diff(mine).max() <= 2 * -(-sessions // PLACES) * PLACES
    if sessions >= 2 * PLACES:
        assert np.abs(np.diff(taken)).mean() > PLACES / 2  # neighbours in the log are no neighbours in a table
        assert not (taken[numbers == 0] == taken[numbers == 1]).all()


def test_an_event_says_the_same_but_for_its_session() -> None:
    def told(sessions: int) -> list[dict[str, Any]]:
        values = [json.loads(value) for _, _, value in LiveSessions(sessions, EVENTS, T0).values(29_990, 20)]
        return [{name: text for name, text in value.items() if name not in ("session", "account", "seq")} for value in values]

    assert told(PLACES) == told(2 * PLACES) == told(99)


def test_sessions_are_heard_of_again_before_they_are_silent() -> None:
    assert 2 * MOST / EVENTS_A_MS < EXPIRY_MS


@pytest.mark.parametrize(("sessions", "events"), [(0, 10), (MOST + 1, 10 * MOST), (2 * PLACES, PLACES), (1, PLACES - 1)])
def test_what_cannot_be_laid_out_is_refused(sessions: int, events: int) -> None:
    with pytest.raises(UsageError, match="live"):
        LiveSessions(sessions, events, T0)

"""How many different viewers there were: sketches united over sources, windows and regions, never added."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import pytest
from cassandra.cluster import Session

from connectors.cassandra import close, connect
from connectors.cassandra_reader import CellRows
from connectors.cassandra_schema import ensure_schema
from connectors.cassandra_store import CellStore
from connectors.cell_id import CellId
from serving.answers import Answer, ask
from serving.columns import columns_of, joined
from serving.questions import Question, plan
from serving.stores import Stores
from tests.topologies.crowds import crowd, records
from tests.topologies.logs import apply
from topologies.audience import AUDIENCE
from topologies.fold import PartitionState
from topologies.settings import Settings
from topologies.sketches import STANDARD_ERROR
from topologies.sources import Source
from topologies.view import DAY, HOUR
from topologies.views import every_part

CROWDS = (crowd(1, 3000, 1500), crowd(2, 3000, 1500))
"""Of two sources: of the accounts many are in both."""
NEAR = 4 * STANDARD_ERROR


def state_of(events: list[dict[str, Any]], source: Source) -> PartitionState:
    state = PartitionState(source, AUDIENCE.parts)
    apply(state, records(events))
    return state


def exact(events: Iterable[dict[str, Any]]) -> int:
    return len({(event["account"], event["profile"]) for event in events})


def named(partition: int) -> Source:
    return Source("local", "viewing-events", "AAAAAAAAAAAAAAAAAAAAAA", partition)


EVERY = [event for events in CROWDS for event in events]


@pytest.mark.parametrize(
    ("by", "window", "top"),
    [
        ({"title": "t1", "region": "r0"}, DAY, None),
        ({"title": "t1"}, DAY, None),
        ({"region": "r1"}, HOUR, None),
        ({"title": "t0", "region": "r0"}, HOUR, 5),
        ({"region": "r1"}, HOUR, 1),
    ],
)
def test_a_viewer_counts_once_whatever_is_left_out(by: dict[str, str], window: Any, top: int | None) -> None:
    asked = plan(Question("audience", by, top=top, window=window.name))
    (viewers,) = columns_of(asked)
    sums = viewers.sums()
    for number, events in enumerate(CROWDS):
        for pack in state_of(events, named(number)).take_packs()[0]:
            if pack.window.name == window.name:
                found = list(viewers.decoded(pack.blob))
                sums.take(found, {start_ms for start_ms, *_ in found})
    shown = joined((viewers,), (viewers.shown(sums.settled()),))
    mine = [event for event in EVERY if all(event[name] == value for name, value in by.items())]
    assert shown
    for (start_ms, key), (count,) in shown.items():
        kept = dict(zip(asked.dimensions, key, strict=True))
        these = [event for event in mine if all(event[name] == value for name, value in kept.items())]
        if top is None:
            these = [event for event in these if window.start_of(event["ts"]) == start_ms]
        assert count == pytest.approx(exact(these), rel=NEAR)


@pytest.fixture
def session(settings: Settings) -> Iterator[Session]:
    opened = connect(settings.cassandra)
    try:
        ensure_schema(opened, settings.cassandra, every_part())
        yield opened
    finally:
        close(opened)


async def test_viewers_are_answered_from_the_sketches_of_all_sources(settings: Settings, session: Session) -> None:
    store, reader = CellStore(session, settings.cassandra, every_part()), CellRows(session, settings.cassandra, AUDIENCE.parts)
    for number, events in enumerate(CROWDS):
        state = state_of(events, named(number))
        await store.write_packs(state.source, state.offset, state.take_packs()[0])
        await store.write_status(state.status())
        _, cells = reader.source_cells(str(state.source))
        canonical = state.canonical()["cells"]["audience.viewers:hour+day"]
        assert cells == {
            CellId("audience.viewers", 1, window, start_ms, grouping, tuple(key.decode().split("\x1f"))): coupons
            for (window, start_ms, key, grouping), coupons in canonical.items()
        }

    def asked(**question: Any) -> Answer:
        with Stores(settings) as stores:
            return ask(stores, Question("audience", **question), lambda: EVERY[-1]["ts"])

    answer = asked(by={"title": "t1"}, window="day")
    (row,) = answer.rows
    assert row.values[0] == pytest.approx(exact(event for event in EVERY if event["title"] == "t1"), rel=NEAR)
    assert answer.read == {"redis": 0, "cassandra": 1}
    document = answer.document()
    assert (document["measures"], document["errors"]) == (["viewers"], {"viewers": 0.0081})
    assert document["notes"] == ["viewers: estimated by HyperLogLog, standard error 0.81 %", "united over region"]
    start_ms = HOUR.start_of(EVERY[0]["ts"])
    best = asked(by={"region": "r0"}, top=1, window="hour", from_ms=start_ms, to_ms=start_ms + 2 * HOUR.length_ms)
    (row,) = best.rows
    assert row.key == ("t1", "r0")
    assert row.values[0] == pytest.approx(exact(e for e in EVERY if (e["title"], e["region"]) == ("t1", "r0")), rel=NEAR)
    assert best.read == {"redis": 0, "cassandra": 2}

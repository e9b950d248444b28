"""Where each log ends: all of it, or an error."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from connectors.kafka import LogEnds, ensure_topic, produce_bytes
from topologies.errors import NoTopic
from topologies.settings import Settings


def test_every_partition_that_workers_consume_is_told_and_no_other(settings: Settings) -> None:
    live, backfill = settings.kafka.topics[0], f"{settings.kafka.backfill_prefix}r1"
    ensure_topic(settings, live, live=True)
    ensure_topic(settings, backfill, live=False, partitions=2)
    ensure_topic(settings, settings.kafka.dead_topic, live=True)
    ends = LogEnds(settings)
    places = [(live, number) for number in range(settings.kafka.partitions)] + [(backfill, 0), (backfill, 1)]
    assert ends.read() == dict.fromkeys(places, 0)
    produce_bytes(settings, backfill, [(b"a key", b"1", ())] * 3)
    assert sorted(end for (topic, _), end in ends.read().items() if topic == backfill) == [0, 3]


def test_without_a_live_topic_nothing_is_told(settings: Settings) -> None:
    ensure_topic(settings, f"{settings.kafka.backfill_prefix}r1", live=False, partitions=1)
    with pytest.raises(NoTopic, match=settings.kafka.topics[0]):
        LogEnds(settings).read()


@pytest.mark.parametrize("there", [{}, {"viewing-events": SimpleNamespace(partitions={})}])
def test_a_live_topic_that_the_metadata_leave_out_is_an_error(there: dict[str, SimpleNamespace], monkeypatch: pytest.MonkeyPatch) -> None:
    admin = SimpleNamespace(list_topics=lambda timeout: SimpleNamespace(topics=there))  # noqa: ARG005
    monkeypatch.setattr("connectors.kafka.AdminClient", lambda options: admin)  # noqa: ARG005
    with pytest.raises(NoTopic, match="viewing-events"):
        LogEnds(Settings()).read()

"""How a producer sends, so that what is acknowledged stands in the log."""

from __future__ import annotations

import json
import time

from confluent_kafka import KafkaError, Message, Producer

from cluster.local import LocalCluster
from cluster.process import wait_until
from connectors.kafka import ensure_topic, partition_offsets, producer_options
from topologies.settings import Settings


def test_a_request_is_on_its_way_only_when_the_one_before_was_answered(settings: Settings, cluster: LocalCluster) -> None:
    """Else the acknowledgement of a second counts for a first that a broker without a leader refused (decision 0065)."""
    topic = settings.kafka.topics[0]
    ensure_topic(settings, topic, live=True)
    waiting: list[int] = []

    def on_statistics(told: str) -> None:
        waiting.append(max(broker["waitresp_cnt"] for broker in json.loads(told)["brokers"].values()))

    acknowledged: list[int] = []
    watched = {"statistics.interval.ms": 50, "stats_cb": on_statistics, "batch.num.messages": 1, "linger.ms": 0}
    producer = Producer(producer_options(settings.kafka) | watched)

    def on_delivery(error: KafkaError | None, message: Message) -> None:
        assert error is None
        acknowledged.append(int(message.value() or b""))

    def produce(numbers: range) -> None:
        for number in numbers:
            producer.produce(topic, b"%d" % number, partition=number % settings.kafka.partitions, on_delivery=on_delivery)

    produce(range(settings.kafka.partitions))
    assert producer.flush(60) == 0  # it knows its id and the topic: what it asks from here on is to append
    cluster.pause("kafka")
    try:
        waiting.clear()
        produce(range(settings.kafka.partitions, 400))
        until = time.monotonic() + 2
        assert wait_until(lambda: producer.poll(0.01) >= 0 and time.monotonic() > until, 10)
    finally:
        cluster.resume("kafka")
    assert max(waiting) == 1
    assert producer.flush(60) == 0
    assert sorted(acknowledged) == list(range(400))
    assert sum(end for _, end in partition_offsets(settings, topic).values()) == 400

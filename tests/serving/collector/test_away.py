"""Kafka away, a collector that is killed: what is answered 202 is in the log, and what was sent until it was is there once for workers."""

from __future__ import annotations

import json
import time
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from cluster.local import LocalCluster
from cluster.process import wait_until
from marquee.door import Door
from tests.serving.collector.conftest import Start, events_at
from tests.serving.collector.log import Logged, admitted, event, log_of, written
from topologies.settings import Settings

JSON = {"Content-Type": "application/json"}
PATIENCE_S = 100.0
BATCH = 50
STEADY = {"clock_tolerance_s": 60.0}
"""However long this machine stands still between a stamp and its receipt, no ts is moved for it."""


def post_until_accepted(client: httpx.Client, url: str, body: dict[str, Any]) -> int:
    """Sends the envelope, stamped each time anew, until it is answered 202; how often it was not."""
    deadline = time.monotonic() + PATIENCE_S
    failures = 0
    while time.monotonic() < deadline:
        body["sent_at"] = time.time_ns() // 1_000_000
        try:
            answer = client.post(url, content=written(body), headers=JSON)
        except httpx.TransportError:
            failures += 1
            continue
        if answer.status_code == 202:
            assert answer.json() == {"accepted": len(body["events"]), "ignored": 0, "rejected": []}
            return failures
        assert answer.status_code == 503, answer.text
        assert int(answer.headers["retry-after"]) >= 1
        failures += 1
    raise AssertionError(f"{url} accepted nothing in {PATIENCE_S} s")


def records_by_identity(log: list[Logged]) -> dict[tuple[str, int], list[Logged]]:
    found: dict[tuple[str, int], list[Logged]] = defaultdict(list)
    for record in log:
        found[record.event["session"], record.event["seq"]].append(record)
    return found


def assert_once(log: list[Logged], identities: set[tuple[str, int]]) -> None:
    """These and no others; what stands there more than once does so byte for byte in one partition, and workers apply it once."""
    found = records_by_identity(log)
    assert found.keys() == identities
    for records in found.values():
        assert len({(record.partition, record.key, record.value) for record in records}) == 1
    assert admitted(log) == (len(identities), len(log) - len(identities))


def test_killed_in_mid_stream_nothing_is_lost_and_nothing_double(start: Start, settings: Settings) -> None:
    collector = start(**STEADY)
    begun = time.time_ns() // 1_000_000
    clients, batches = 4, 30
    sent = [0] * clients

    def run(client: int) -> int:
        failures = 0
        with httpx.Client(timeout=PATIENCE_S) as connection:
            for batch in range(batches):
                events = [
                    event(seq, session=f"s-{client}", account=f"a-{client}-{seq % 7}", ts=begun)
                    for seq in range(batch * BATCH, (batch + 1) * BATCH)
                ]
                failures += post_until_accepted(connection, events_at(collector), {"events": events})
                sent[client] += 1
        return failures

    def kill() -> int:
        """Three times, each when more has been accepted since the last."""
        kills = 0
        for goal in (10, 40, 80):
            assert wait_until(lambda goal=goal: sum(sent) >= goal, PATIENCE_S, every_s=0.001)  # type: ignore[misc]
            collector.kill()
            kills += 1
            collector.start()
        return kills

    with ThreadPoolExecutor(clients + 1) as pool:
        killed = pool.submit(kill)
        failures = sum(pool.map(run, range(clients)))
        assert killed.result() == 3
    assert failures >= 1
    assert_once(log_of(settings), {(f"s-{client}", seq) for client in range(clients) for seq in range(batches * BATCH)})


def test_while_kafka_is_away_nothing_is_accepted_and_when_it_is_back_it_is(start: Start, cluster: LocalCluster, settings: Settings) -> None:
    collector = start(**STEADY, ack_timeout_s=3.0, stalled_s=1.0)
    now = time.time_ns() // 1_000_000
    with httpx.Client(timeout=PATIENCE_S) as client:
        post_until_accepted(client, events_at(collector), {"events": [event(1, ts=now)]})
        cluster.halt("kafka")
        try:
            answer = client.post(events_at(collector), content=written(event(2, ts=now)), headers=JSON)
            assert answer.status_code == 503
            assert "send it again" in answer.json()["detail"]
            assert int(answer.headers["retry-after"]) >= 1
        finally:
            cluster.restart("kafka")
        post_until_accepted(client, events_at(collector), {"events": [event(2, ts=now)]})
    assert_once(log_of(settings), {("s-1", 1), ("s-1", 2)})


def test_while_kafka_stands_still_what_is_in_flight_is_bounded_and_the_rest_is_sent_away_at_once(
    start: Start, cluster: LocalCluster, settings: Settings
) -> None:
    collector = start(**STEADY, ack_timeout_s=30.0, stalled_s=30.0, max_in_flight_mb=0.1)
    now = time.time_ns() // 1_000_000
    with httpx.Client(timeout=PATIENCE_S) as client:
        post_until_accepted(client, events_at(collector), {"events": [event(1, ts=now)]})
        cluster.pause("kafka")
        try:
            assert wait_until(lambda: sent_away(client, events_at(collector), now), PATIENCE_S)
        finally:
            cluster.resume("kafka")
        post_until_accepted(client, events_at(collector), {"events": [event(2, ts=now)]})
    log = [record for record in log_of(settings) if record.event["session"] != "held"]
    assert_once(log, {("s-1", 1), ("s-1", 2)})


def sent_away(client: httpx.Client, url: str, now: int) -> bool:
    """Whether 60 KB more are not even tried. A short time-out: what is tried waits for Kafka."""
    body = written([event(seq, ts=now, session="held", more="x" * 20_000) for seq in range(3)])
    try:
        answer = client.post(url, content=body, headers=JSON, timeout=1.0)
    except httpx.TimeoutException:
        return False
    return answer.status_code == 503 and "wait for Kafka already" in answer.json()["detail"]


def test_a_collector_that_starts_without_kafka_takes_events_when_it_comes(start: Start, cluster: LocalCluster, settings: Settings) -> None:
    cluster.halt("kafka")
    try:
        collector = start(**STEADY)
        answer = httpx.post(events_at(collector), content=written(event(1)), headers=JSON, timeout=PATIENCE_S)
        assert answer.status_code == 503
        assert "kafka.bootstrap" in answer.json()["detail"]
    finally:
        cluster.restart("kafka")
    with httpx.Client(timeout=PATIENCE_S) as client:
        post_until_accepted(client, events_at(collector), {"events": [event(1, ts=time.time_ns() // 1_000_000)]})
    assert_once(log_of(settings), {("s-1", 1)})


@pytest.mark.parametrize("status", [400, 415])
def test_a_refused_request_leaves_the_connection_usable(status: int, collector: Door) -> None:
    with httpx.Client(timeout=PATIENCE_S) as client:
        headers = JSON if status == 400 else {"Content-Type": "text/plain"}
        assert client.post(events_at(collector), content=b"[{]", headers=headers).status_code == status
        assert client.post(events_at(collector), content=json.dumps(event()).encode(), headers=JSON).status_code == 202

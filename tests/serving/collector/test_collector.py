"""Over HTTP into the real log: what is accepted stands there, keyed by account, and what is not is told why."""

from __future__ import annotations

import gzip
import time
from typing import Any

import cramjam
import httpx
import pytest

from connectors.kafka import partition_counts
from loadgen.draws import partitions_of
from marquee.door import Door
from tests.serving.collector.conftest import Start, events_at
from tests.serving.collector.log import admitted, event, log_of, written
from topologies.settings import Settings

PATIENCE_S = 90.0
JSON = {"Content-Type": "application/json"}
CMCD = "?account=a-7&profile=kids&region=eu&device=tv"


def post(collector: Door, body: bytes, headers: dict[str, str] = JSON, query: str = "") -> httpx.Response:
    return httpx.post(events_at(collector) + query, content=body, headers=headers, timeout=PATIENCE_S)


def problem(answer: httpx.Response, status: int) -> dict[str, Any]:
    """The problem document of an answer with this status."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    found: dict[str, Any] = answer.json()
    assert found["status"] == status
    assert found["detail"]
    return found


def accepted(answer: httpx.Response) -> int:
    assert answer.status_code == 202, answer.text
    found = answer.json()
    assert found["rejected"] == []
    count: int = found["accepted"]
    return count


def test_what_is_accepted_stands_in_the_log_as_it_was_sent_whatever_the_body(collector: Door, settings: Settings) -> None:
    events = [written(event(seq, account=f"a-{seq}", more=[seq])) for seq in range(60)]
    assert accepted(post(collector, events[0])) == 1
    assert accepted(post(collector, b"[" + b",".join(events[1:20]) + b"]")) == 19
    assert accepted(post(collector, b'{"events":[' + b",".join(events[20:30]) + b"]}")) == 10
    assert accepted(post(collector, b"\n".join(events[30:40]) + b"\n", {"Content-Type": "application/x-ndjson"})) == 10
    assert accepted(post(collector, gzip.compress(b"[" + b",".join(events[40:50]) + b"]"), JSON | {"Content-Encoding": "gzip"})) == 10
    packed = bytes(cramjam.zstd.compress(b"\n".join(events[50:])))
    assert accepted(post(collector, packed, {"Content-Type": "application/x-ndjson", "Content-Encoding": "zstd"})) == 10
    log = log_of(settings)
    assert sorted(record.value for record in log) == sorted(events)
    assert all(record.key == record.event["account"].encode() for record in log)
    count = partition_counts(settings, settings.kafka.topics)[settings.kafka.topics[0]]
    assert [record.partition for record in log] == partitions_of([record.key for record in log], count).tolist()


def test_one_accounts_events_stand_in_the_order_in_which_they_were_sent(collector: Door, settings: Settings) -> None:
    for first in range(0, 500, 100):
        assert accepted(post(collector, written([event(seq) for seq in range(first, first + 100)]))) == 100
    assert [record.event["seq"] for record in log_of(settings)] == list(range(500))


def test_what_is_wrong_in_a_batch_is_told_and_the_good_ones_count(collector: Door, settings: Settings) -> None:
    body = written([event(1), event(2) | {"seq": -1}, "no event", event(3), {"v": 1, "type": "tick"}, event(4, title=None)])
    answer = post(collector, body)
    assert answer.status_code == 202
    assert answer.json() == {
        "accepted": 2,
        "rejected": [
            {"index": 1, "reason": "out_of_range:seq"},
            {"index": 2, "reason": "not_object"},
            {"index": 4, "reason": "type"},
            {"index": 5, "reason": "missing:title"},
        ],
        "ignored": 0,
    }
    assert [record.event["seq"] for record in log_of(settings)] == [1, 3]


def test_where_nothing_is_valid_nothing_is_accepted(collector: Door, settings: Settings) -> None:
    found = problem(post(collector, b'{}\n{"v":1}\n{', {"Content-Type": "application/x-ndjson"}), 422)
    assert found["accepted"] == 0
    assert found["rejected"] == [
        {"index": 0, "reason": "version"}, {"index": 1, "reason": "type"}, {"index": 2, "reason": "not_json"}
    ]  # fmt: skip
    assert log_of(settings) == []


def test_cmcd_reports_stand_in_the_log_as_events(collector: Door, settings: Settings) -> None:
    reports = [
        'cid="t1",e=ps,sid="s",sn=0,sta=s,ts=1767225600000,v=2',
        'cid="t1",e=ps,sid="s",sn=1,sta=d,ts=1767225600001,v=2',
        'cid="t1",e=ps,msd=800,sid="s",sn=2,sta=p,ts=1767225600800,v=2',
        'cid="t1",e=t,sid="s",ts=1767225610800,v=2',
        'br=(5000;v),cid="t1",e=t,marquee-watched-ms=10000,pt=10000,sid="s",sn=3,ts=1767225610800,v=2',
    ]
    headers = {"Content-Type": "application/cmcd", "Marquee-Country": "de", "Marquee-Account": "a-8"}
    answer = post(collector, "\n".join(reports).encode(), headers, CMCD)
    assert answer.status_code == 202
    assert answer.json() == {"accepted": 3, "ignored": 1, "rejected": [{"index": 3, "reason": "missing:seq"}]}
    log = log_of(settings)
    assert [record.event["type"] for record in log] == ["play_request", "play_start", "heartbeat"]
    assert {record.key for record in log} == {b"a-7"}
    assert {record.event["country"] for record in log} == {"de"}
    assert log[2].event["watched_ms"] == 10_000


@pytest.mark.parametrize("how", ["envelope", "header", "query", "header before the envelope"])
def test_a_players_clock_is_set_right_by_its_stamp(how: str, collector: Door, settings: Settings) -> None:
    before = time.time_ns() // 1_000_000
    off = before - 3_600_000
    events = [event(seq, ts=off - 5_000) for seq in range(2)]
    body: Any = events
    headers, query = dict(JSON), ""
    if how == "envelope":
        body = {"sent_at": off, "events": events}
    elif how == "query":
        query = f"?sent_at={off}"
    else:
        headers["Marquee-Sent-At"] = str(off)
        body = {"sent_at": 5, "events": events} if how.endswith("envelope") else events
    assert accepted(post(collector, written(body), headers, query)) == 2
    after = time.time_ns() // 1_000_000
    times = [record.event["ts"] for record in log_of(settings)]
    assert len(set(times)) == 1
    assert before - 5_000 <= times[0] <= after - 5_000


def test_a_request_that_is_sent_again_adds_duplicates_alone(collector: Door, settings: Settings) -> None:
    now = time.time_ns() // 1_000_000
    events = written([event(seq, ts=now) for seq in range(10)])
    for _ in range(2):
        assert accepted(post(collector, events)) == 10
    log = log_of(settings)
    assert len(log) == 20
    assert {record.value for record in log[:10]} == {record.value for record in log[10:]}
    assert admitted(log) == (10, 10)


def test_a_request_that_cannot_be_read_is_told_why(start: Start, settings: Settings) -> None:
    collector = start(max_body_mb=0.01, max_inflated_mb=0.02, max_events=5)
    assert "no JSON" in problem(post(collector, b"[{]"), 400)["detail"]
    assert "Content-Type" in problem(post(collector, b"{}", {}), 415)["detail"]
    assert "text/plain" in problem(post(collector, b"{}", {"Content-Type": "text/plain"}), 415)["detail"]
    assert "gzip" in problem(post(collector, b"{}", JSON | {"Content-Encoding": "br"}), 415)["detail"]
    assert "0.01 MiB" in problem(post(collector, bytes(20_000)), 413)["detail"]
    assert "inflated" in problem(post(collector, gzip.compress(bytes(100_000)), JSON | {"Content-Encoding": "gzip"}), 413)["detail"]
    assert "6 events" in problem(post(collector, written([event(seq) for seq in range(6)])), 413)["detail"]
    for stamp in ("soon", "-1", "1.5"):
        assert "sent_at" in problem(post(collector, written(event()), JSON | {"Marquee-Sent-At": stamp}), 400)["detail"]
    assert "behind" in problem(post(collector, written(event()), JSON | {"Marquee-Sent-At": "5"}), 400)["detail"]
    assert log_of(settings) == []


def test_a_body_without_a_length_is_bounded_too(start: Start) -> None:
    collector = start(max_body_mb=0.01)
    answer = httpx.post(events_at(collector), content=(bytes(1_000) for _ in range(100)), headers=JSON, timeout=PATIENCE_S)
    problem(answer, 413)


def test_a_client_that_sends_too_much_is_sent_away_for_a_while(start: Start, settings: Settings) -> None:
    collector = start(events_per_s=0.01, burst_s=100)
    assert accepted(post(collector, written([event(seq) for seq in range(5)]))) == 5
    answer = post(collector, written(event(6)))
    problem(answer, 429)
    assert 1 <= int(answer.headers["retry-after"]) <= 500
    assert len(log_of(settings)) == 5

"""What a process of the doors serves at /metrics: all that is listed, with the numbers of what it did."""

from __future__ import annotations

import asyncio

import httpx
from prometheus_client.parser import text_string_to_metric_families

from connectors.kafka import ensure_topics
from serving.metrics import DECLARED
from tests.serving.api.test_routes import HOURS
from tests.serving.collector.log import event
from tests.serving.test_answers import HOUR_MS, NOON, World, watched

Samples = dict[tuple[str, frozenset[str]], float]


def scraped(api: httpx.Client) -> tuple[set[str], Samples]:
    """Names served, and every sample by name and labels' values."""
    families = list(text_string_to_metric_families(api.get("/metrics").text))
    names = {f"{family.name}_total" if family.type == "counter" else family.name for family in families}
    return names, {(one.name, frozenset(one.labels.values())): one.value for family in families for one in family.samples}


def test_all_that_is_listed_is_served_and_counts_what_was_asked_and_sent(world: World, api: httpx.Client) -> None:
    ensure_topics(world.settings)
    asyncio.run(world.store(world.status(0, clock_ms=NOON + 2 * HOUR_MS), [watched("a", "eu", 1)]))
    _, before = scraped(api)
    assert api.get(HOURS).status_code == 200
    assert api.post("/v1/events", json=[event(0), event(1), {}]).status_code == 202
    assert api.post("/v1/events", content=b"[", headers={"Content-Type": "application/json"}).status_code == 400
    names, after = scraped(api)
    assert {one.name for one in DECLARED} <= names

    def grown(name: str, *labels: str) -> float:
        key = name, frozenset(labels)
        return after.get(key, 0) - before.get(key, 0)

    assert grown("marquee_http_requests_total", "/v1/views/watch_time", "200") == 1
    assert grown("marquee_http_requests_total", "/v1/events", "202") == 1
    assert grown("marquee_http_request_seconds_count", "/v1/events") == 2
    assert grown("marquee_http_readings_total") == 1
    assert grown("marquee_history_windows_total", "cassandra") + grown("marquee_history_windows_total", "memcached") == 1
    assert grown("marquee_collector_events_total", "accepted") == 2
    assert grown("marquee_collector_events_total", "rejected") == 1
    assert grown("marquee_collector_refused_total", "400") == 1
    assert after["marquee_collector_in_flight_bytes", frozenset()] == 0

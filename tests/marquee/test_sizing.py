"""What a load takes, by hand: figures that can be reckoned in the head, and the page that is made of the measured ones."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import pytest

from marquee.sizing import FULL, PRICES, REPLICAS, Figures, Load, bill, clouds, need

FIGURES = Figures(
    worker_s=6e-6,
    servers_s={"kafka": 1e-6, "redis": 0.2e-6, "cassandra": 4e-6},
    log_bytes=50,
    session_bytes=1_000,
    checkpoint_bytes=10,
    shelf_s=12e-6,
    shelf_bytes=400,
    collector_s=3e-6,
)
LOAD = Load(viewers=10_000_000, events_per_s=1_000_000)


def test_what_a_load_takes_is_what_an_event_costs_times_the_events() -> None:
    needed = need(LOAD, FIGURES)
    assert (needed.workers, needed.partitions, needed.collectors) == (10, 20, 5)
    assert (needed.kafka_cores, needed.cassandra_cores, needed.redis_cores) == pytest.approx((3.0, 12.0, 0.2))
    assert (needed.log_mb_s, needed.log_gb_a_day) == pytest.approx((50.0, 4_320.0))
    assert (needed.worker_memory_gb, needed.redis_memory_gb, needed.checkpoints_mb_s, needed.shelves_cores) == pytest.approx((10, 4, 20, 2))
    assert needed.systems == 1


def test_a_redis_that_would_be_too_busy_asks_for_another_marquee() -> None:
    for redis_s, systems in ((0.6e-6, 1), (0.61e-6, 2), (6e-6, 10)):
        figures = dataclasses.replace(FIGURES, servers_s={**FIGURES.servers_s, "redis": redis_s})
        assert need(LOAD, figures).systems == systems


def test_no_machine_is_planned_to_be_more_than_full_and_none_is_bought_in_vain() -> None:
    needed = need(Load(50_000_000, 5_000_000), FIGURES)
    _, places = clouds()
    assert {place.name for place in places} == {"aws", "azure"}
    for place in places:
        lines = {line.what: line for line in bill(needed, place, by_http=True)}
        brokers, nodes = lines["Kafka brokers"].count, lines["Cassandra nodes"].count
        log_gb = REPLICAS * needed.log_gb_a_day
        for count, busy in ((nodes, needed.cassandra_cores / place.store.cores), (brokers, log_gb / place.store.disk_gb)):
            assert busy / count <= FULL < busy / (count - 1)
        assert lines["workers"].count * place.worker.cores >= needed.workers
        assert lines["workers"].day == pytest.approx(lines["workers"].count * place.worker.hour * 24)
        crossing_gb = needed.log_gb_a_day * (2 / 3 + 2 + 2 / 3)
        assert lines["between zones, of the log"].day == pytest.approx(crossing_gb * place.zone_gb)
        assert "collectors" not in {line.what for line in bill(needed, place, by_http=False)}


def test_every_price_has_a_source_and_a_day() -> None:
    read, places = clouds()
    assert re.fullmatch(r"20\d\d-\d\d-\d\d", read)
    for place in places:
        assert place.url.startswith("https://")
        assert place.zone_url.startswith("https://")
        assert all(machine.hour > 0 for machine in (place.store, place.worker, place.small))


def test_a_changed_price_changes_the_bill(tmp_path: Path) -> None:
    changed = tmp_path / "prices.toml"
    changed.write_text(PRICES.read_text().replace("hour = 1.373", "hour = 2.746"))
    bills = [{line.what: line for line in bill(need(LOAD, FIGURES), clouds(path)[1][0], by_http=False)} for path in (PRICES, changed)]
    assert bills[1]["Kafka brokers"].day == pytest.approx(2 * bills[0]["Kafka brokers"].day)
    assert bills[1]["workers"] == bills[0]["workers"]

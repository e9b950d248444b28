"""What benchmarks say is what they measured."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest

from connectors.kafka import ensure_topics
from loadgen.crew import LoadProgress
from loadgen.load import LoadOptions, run_load
from marquee.applied import Course, Watch
from marquee.benches.load import Growth
from marquee.benches.memory import Sample, exit_status, is_flat, slope_per_hour
from marquee.benches.rebalance import Span, paused
from marquee.benches.recovery import timed
from marquee.benches.roll import p99s_ms, worst
from marquee.benches.stock import run_stock, watch_time_below
from marquee.benches.views import folded, made
from marquee.sustaining import TRIAL_S, WARM_UP_SHARE, Bounds, gave_out, growth_and_lag
from marquee.under_load import must_flow, under_load
from tests.marquee.running import document, marquee
from topologies.errors import MarqueeError, ServerAway, UsageError
from topologies.fold import PartitionState
from topologies.settings import Settings
from topologies.sources import Source
from topologies.views import VIEWS, every_part


def test_the_worst_ten_seconds_are_told() -> None:
    course = Course()
    for ms in range(0, 30_000, 50):
        course.note(ms, ms + (4_000.0 if 10_000 <= ms < 20_000 else 100.0), clock_ms=ms, intended_ms=ms)
    found = p99s_ms([course], 0.0, 29_900.0)
    assert found == [pytest.approx(of, abs=100) for of in (100, 4_000, 100)]
    assert worst(found) == max(one for one in found if one is not None)
    assert worst([*found, None]) is None


def test_a_loads_memory_is_told_by_how_much_was_sent() -> None:
    growth = Growth()
    growth.note(LoadProgress("starting", sent=0, total=100, rss_mb=50.0))
    for sent in (5, 10, 11, 39, 95, 100):
        growth.note(LoadProgress("sending", sent=sent, total=100, rss_mb=100.0 + sent))
    assert growth.rss_mb_by_tenth == [110.0, 139.0, 139.0, *[195.0] * 6]


def grown(mb_per_hour: float, minutes: int = 10, spikes: int = 0) -> list[Sample]:
    """Samples every 5 s of a worker of 500 MiB that grows so."""
    times = range(0, minutes * 60, 5)
    every = len(times) // spikes if spikes else len(times) + 1
    return [
        Sample(s, 500 + mb_per_hour * s / 3600 + (200 if i % every == 1 and spikes else 0), 0.0, 0.0, None) for i, s in enumerate(times)
    ]


@pytest.mark.parametrize(("mb_per_hour", "flat"), [(0, True), (-300, True), (40, True), (60, False), (1_000, False)])
def test_memory_is_flat_when_half_an_hour_of_its_slope_is_under_a_twentieth(mb_per_hour: float, flat: bool) -> None:
    assert is_flat(grown(mb_per_hour)) is flat
    assert slope_per_hour(grown(mb_per_hour)) == pytest.approx(mb_per_hour)


def test_memory_that_grew_first_and_then_stood_is_not_flat() -> None:
    minutes = [686, 688, 700, 700, 701, 724, 737, 744, 767, 767, 768, *[771] * 10, *range(772, 781)]
    samples = [Sample(minute * 60.0 + s, rss_mb, 0.0, 0.0, None) for minute, rss_mb in enumerate(minutes) for s in range(0, 60, 5)]
    assert slope_per_hour(samples) * 0.5 < 0.05 * 686
    assert not is_flat(samples)


def test_a_few_spikes_do_not_bend_the_slope() -> None:
    assert slope_per_hour(grown(20, spikes=5)) == pytest.approx(20, abs=10)
    assert is_flat(grown(20, spikes=5))
    assert not is_flat([])


@pytest.mark.parametrize(
    ("flat", "exact", "status"), [(True, True, 0), (True, None, 0), (False, True, 1), (False, None, 1), (True, False, 1)]
)
def test_memory_that_grows_fails_its_bench(flat: bool, exact: bool | None, status: int) -> None:
    assert exit_status({"flat": flat, "exact": exact}) == status


@pytest.mark.parametrize(("from_s", "end_s", "by"), [(0.9, 0.9, ""), (2.0, 0.5, "workers"), (1.1, 1.1, "workers")])
def test_a_rate_at_which_workers_stay_far_behind_is_not_sustained(from_s: float, end_s: float, by: str) -> None:
    # a record a millisecond, applied so long after it was sent, from the beginning of what is judged to its end
    applied, ends = Course(), Course()
    for ms in range(0, 26_000, 50):
        ends.note(ms, float(ms))
        applied.note(ms, ms + 1000 * (from_s + (end_s - from_s) * max(0, min(1.0, (ms - 8_000) / 16_000))))
    assert gave_out(*growth_and_lag([applied], [ends], 8_000.0, 24_000.0), None, 0.0, Bounds()) == by


@pytest.mark.parametrize(("above", "by"), [(0.0, ""), (0.02, ""), (0.05, "workers"), (0.10, "workers")])
def test_a_rate_a_twentieth_above_what_workers_keep_up_with_is_not_sustained(above: float, by: str) -> None:
    # records come `1 + above` times as fast as they are applied; a flush a second; workers catch up when the load has ended
    applied, ends = Course(), Course()
    for tenth in range(1, int(TRIAL_S * 10) + 1):
        ends.note(round(tenth * 100 * (1 + above)), tenth * 100.0)
        if tenth % 10 == 0:
            applied.note(tenth * 100, tenth * 100.0)
    last = TRIAL_S * 1000
    applied.note(ends.offsets[-1], last + 2_000.0)
    ends.note(ends.offsets[-1] + 1, last + 5_000.0)  # a tick
    growth, lag_s = growth_and_lag([applied], [ends], last * WARM_UP_SHARE, last)
    assert growth == pytest.approx(above, abs=0.01)
    assert lag_s == pytest.approx(0.5 + TRIAL_S * above, abs=0.4)
    assert gave_out(growth, lag_s, 600.0, 0.0, Bounds(lag_s=None)) == by


@pytest.mark.parametrize(
    ("growth", "p99_ms", "late", "by"),
    [(0.5, 9_000, 0.5, "workers"), (0.0, 9_000, 0.5, "generator"), (0.0, 1_001, 0.05, "freshness"), (0.0, None, 0, "freshness")],
)
def test_who_gave_out_is_who_the_others_waited_for(growth: float, p99_ms: float | None, late: float, by: str) -> None:
    assert gave_out(growth, 0.5, p99_ms, late, Bounds(p99_ms=1_000)) == by
    assert gave_out(0.0, 0.5, 1_000, 0.05, Bounds(p99_ms=1_000)) == ""


def test_workers_that_stay_seconds_behind_do_not_keep_up_though_the_lag_grows_no_more() -> None:
    assert gave_out(0.0, 3.0, 3_500, 0.0, Bounds()) == "workers"
    assert gave_out(0.0, 3.0, 3_500, 0.0, Bounds(p99_ms=4_000, lag_s=None)) == ""


def test_a_rebalance_in_which_nothing_moved_is_no_measurement() -> None:
    stays, moves = Course(), Course()
    for second in range(1, 21):
        stays.note(second, second * 1000.0, "a")
        if second < 10 or second > 13:
            moves.note(second, second * 1000.0, "a" if second < 10 else "b")
    joined, quiet = Span("join", 5_000, 15_000), Span("quiet", 1_000, 5_000)
    assert paused([stays, moves], [quiet, joined]) == {"quiet_pause_s": 1.0, "join_pause_s": 1.0, "join_moved_s": 5.0}
    with pytest.raises(MarqueeError, match="no partition moved to another worker: leave"):
        paused([stays, moves], [joined, Span("leave", 15_000, 20_000)])


def test_a_kill_after_which_nothing_was_late_is_no_measurement() -> None:
    # a record a second; one partition's owner dies at 5 s, and at 13 s another has caught up
    ends, stays, moves = Course(), Course(), Course()
    for second in range(1, 31):
        ends.note(second, second * 1000.0)
        stays.note(second, second * 1000.0 + 500)
        if not 5 <= second < 13:
            moves.note(second, second * 1000.0 + 500)
    assert timed([stays, moves], [ends, ends], 5_000, 28_000) == {"seconds": 8.5, "recovered": True, "moved_s": 8.5}
    with pytest.raises(MarqueeError, match="nothing was late after the kill"):
        timed([stays, stays], [ends, ends], 5_000, 28_000)


def test_what_is_measured_under_a_load_begins_when_it_flows_and_one_that_fails_is_told(settings: Settings) -> None:
    ensure_topics(settings)

    with under_load(settings, LoadOptions(rate=200, duration_s=5, processes=1)) as driven:
        begun_ms = time.time() * 1000
        assert not driven.done()
        must_flow(driven, "its end")
        run = driven.result()
        with pytest.raises(MarqueeError, match="the load ended before this"):
            must_flow(driven, "this")
    assert run.generated == 1_000
    assert begun_ms >= run.span_start_ms  # which is a second after all is planned
    with pytest.raises(UsageError), under_load(settings, LoadOptions(rate=500, duration_s=3, scenario="nowhere")):
        raise AssertionError("it did not begin")


@pytest.mark.parametrize("encoding", ["json", "arrow"])
def test_the_log_on_which_views_are_measured_has_as_many_events_as_asked_for_and_each_view_is_measured(encoding: str) -> None:
    log = made(3_000, encoding)
    assert [block.first_offset for block in log] == [0, *(block.next_offset for block in log[:-1])]
    state = PartitionState(Source("bench", "views", "0" * 22, 0), every_part())
    for block in log:
        assert state.apply(block) == []
    assert state.status().applied == 3_000
    assert all(state.canonical()["cells"].values())
    found = folded(log, 3_000, 1)
    assert found["views"].keys() == VIEWS.keys()
    assert min(found["no_view_us_an_event"], found["all_views_us_an_event"]) > 0


class Failing(Watch):
    """A watch that looks until it has met each of these errors."""

    def __init__(self, *errors: Exception) -> None:
        super().__init__(0.001)
        self.errors = [*errors]
        self.looked = threading.Event()

    def look(self) -> None:
        if self.errors:
            raise self.errors.pop(0)
        self.looked.set()


def test_a_watch_that_died_fails_the_bench_and_one_whose_server_was_away_for_a_moment_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    dead = Failing(ValueError("no offset"))
    dead.start()
    dead.join()
    with pytest.raises(ValueError, match="no offset"):
        dead.end()
    struck = Failing(ServerAway("Redis does not answer."), ServerAway("Redis does not answer."))
    struck.start()
    assert struck.looked.wait(60)
    struck.end()
    monkeypatch.setattr("marquee.applied.AWAY_S", 0.0)
    gone = Failing(ServerAway("Redis does not answer."))
    gone.start()
    gone.join()
    with pytest.raises(ServerAway):
        gone.end()


def test_the_collector_is_measured_on_servers_that_are_given(settings: Settings, tmp_path: Path) -> None:
    run = ("bench", "collector", "--cluster", "--duration", "1", "--connections", "2", "--batch", "10", "--json")
    found = document(marquee(tmp_path, *run, environment=settings.environment(), timeout_s=300))
    assert found.keys() >= {"events", "events_per_core_second", "requests_per_s", "p50_ms", "p99_ms", "errors", "cpu_s", "exact"}
    assert found["events"] % 10 == 0


def test_the_generator_is_measured_on_servers_that_are_given(settings: Settings, tmp_path: Path) -> None:
    run = ("bench", "load", "--cluster", "--events", "400000", "--format", "arrow", "--span", "1m", "--json")
    found = document(marquee(tmp_path, *run, environment=settings.environment(), timeout_s=300))
    assert found["events"] == found["acknowledged"] == 400_000
    assert found["cpu_s"] > 0
    assert len(found["rss_mb_by_tenth"]) == 9
    assert 0 < min(found["rss_mb_by_tenth"]) <= max(found["rss_mb_by_tenth"]) <= found["rss_mb"]


def test_a_live_workers_microseconds_are_told_by_stage(settings: Settings, tmp_path: Path) -> None:
    run = ("bench", "profile", "--cluster", "--rate", "500", "--events", "2500", "--json")
    found = document(marquee(tmp_path, *run, environment=settings.environment(), timeout_s=300))
    assert (found["events"], found["rate"]) == (2_500, 500)
    assert found["stages"]["Redis: send"]["calls"] > 10
    assert found["us_an_event"] == pytest.approx(sum(stage["us_an_event"] for stage in found["stages"].values()), rel=0.01)


def test_stock_faust_does_the_work_that_marquee_is_compared_with(settings: Settings, tmp_path: Path) -> None:
    run = run_load(settings, LoadOptions(events=6_000, backfill_s=7_200.0, titles=50, processes=1), lambda _: None)
    found = run_stock(settings, run.topic, 4_000, tmp_path)
    assert found["events"] == 4_000
    assert sum(found["offsets"].values()) >= 4_000
    assert found["cpu_s"] > 0
    assert len({start_ms for _, _, start_ms in found["cells"]}) >= 2
    assert found["cells"] == watch_time_below(settings, run.topic, found["offsets"])
    less = {partition: offset - 100 for partition, offset in found["offsets"].items() if offset > 100}
    assert found["cells"] != watch_time_below(settings, run.topic, less)

"""What the doors' benchmarks reckon from what came back."""

from __future__ import annotations

from marquee.benches.push import Heard
from marquee.http_load import Course


def test_an_event_is_seen_with_the_first_answer_that_is_as_of_its_time_or_later() -> None:
    heard = Heard(at_ms=[1_000.0, 1_300.0, 1_500.0], as_of_ms=[900, 900, 1_000])
    latencies = heard.latencies_ms()
    assert latencies.max() == 1_500 - 901
    assert latencies.min() == 1_500 - 991
    assert len(latencies) == 10


def test_a_course_tells_its_percentiles_and_what_went_wrong() -> None:
    course = Course([float(number) for number in range(1, 101)], errors=2, wall_s=10.0)
    assert course.document() == {"requests": 100, "requests_per_s": 10, "p50_ms": 50.5, "p99_ms": 99.01, "max_ms": 100.0, "errors": 2}
    assert Course().document()["requests"] == 0

"""`marquee simulate` on days made for the test: its table, its JSON, its chart, and what it refuses."""

from __future__ import annotations

import json
from pathlib import Path
from xml.etree import ElementTree as ET

import numpy as np
import pytest

from cluster.scaling.days import PLAIN
from cluster.scaling.fleet import Ground
from cluster.scaling.simulator import FIXED, FIXED_OWN, HPA, HPA_THAT_DAY, KEDA, KEDA_THAT_DAY, OURS, Judged, judge
from marquee.commands.simulate import RIGHT, document, figures, told
from marquee.numbers import Span
from marquee.scaling_chart import drawn_days
from tests.cluster.scaling.scenes import hill
from tests.marquee.running import marquee, sentence

DAYS = [hill(PLAIN, 90_000, 10_000), hill("high", 260_000, 10_000)]


@pytest.fixture(scope="module")
def judged() -> Judged:
    return judge(Ground(), DAYS, np.random.default_rng(1), plain_days=1)


def test_the_document_has_every_contender_on_every_day_and_can_be_written(judged: Judged) -> None:
    found = json.loads(json.dumps(document(judged)))
    assert list(found["days"]) == [PLAIN, "high"]
    for day in found["days"].values():
        assert list(day) == [FIXED, FIXED_OWN, HPA, KEDA, HPA_THAT_DAY, KEDA_THAT_DAY, OURS]
        assert all(one["worker_hours"] > 0 for one in day.values())
    assert found["days"]["high"][FIXED]["violated_s"] > 0
    assert found["measured"]["capacity_per_s"] == Ground().measured.capacity_per_s
    assert found["holds"] is False  # two days are not three
    assert [one["day"] for one in found["verdicts"]] == [PLAIN, "high"]


def test_what_is_told_says_what_holds_and_where_it_was_measured(judged: Judged) -> None:
    lines = told(judged)
    assert "a worker sustains 31,560 events/s and starts in 3.52 s" in lines[0]
    assert lines[1] == "measured in no file that is here"
    assert lines[2] == "no more violations than the fixed fleet: on every day"
    assert tuple(figures(judged.outcomes[0])) == RIGHT


def test_the_chart_has_a_panel_a_day_and_a_line_a_contender(judged: Judged) -> None:
    svg = ET.fromstring(drawn_days(judged, DAYS))
    names = "{http://www.w3.org/2000/svg}"
    texts = [text.text for text in svg.iter(f"{names}text")]
    assert {PLAIN, "high", FIXED, HPA, KEDA, OURS} <= set(texts)
    assert len(list(svg.iter(f"{names}polyline"))) == 2 * 4
    assert len(list(svg.iter(f"{names}polygon"))) == 2


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--days", "nowhere"), "no diurnal.csv"),
        (("--workers", "8..1"), "not A..B"),
        (("--workers", "4"), "not A..B"),
        (("--workers", "0..4"), "not A..B"),
        (("--capacity", "nan"), "--capacity"),
        (("--partitions", "0"), "--partitions"),
    ],
)
def test_what_cannot_be_simulated_is_refused_with_a_sentence(tmp_path: Path, arguments: tuple[str, ...], words: str) -> None:
    assert words in sentence(marquee(tmp_path, "simulate", *arguments), 2)


def test_a_span_has_two_ends() -> None:
    assert Span().convert("1..8", None, None) == (1, 8)
    assert Span().convert((2, 3), None, None) == (2, 3)

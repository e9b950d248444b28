"""View declarations: each mistake gets a sentence that names what to change."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from topologies.errors import DeclarationError, UsageError
from topologies.view import DAY, HOUR, LIVE, MINUTE, RECENT_MINUTE, Distinct, Extreme, Histogram, Measure, Rate, Trend, View, parts_of
from topologies.views import OTHERS, VIEWS, selected, view_named

GOOD: dict[str, Any] = {
    "name": "stalls",
    "summary": "",
    "groupings": (("title",),),
    "windows": (HOUR,),
    "measures": (Measure("stalls", "", sum_of="stalls"),),
}


HISTOGRAM, EXTREME, DISTINCT = (
    Histogram("length", "", of="stall_ms"),
    Extreme("least", "", keep="min", of="stall_ms"),
    Distinct("viewers", ""),
)
TRENDING: dict[str, Any] = {
    "windows": (RECENT_MINUTE, DAY),
    "measures": (Measure("plays", "", count_of="play_start"), Measure("past", "", count_of="play_start", half_life_s=21_600)),
    "trend": Trend("plays", "past"),
}
OF_SESSIONS: dict[str, Any] = {"of": "session", "measures": (Measure("over", "", sum_of="sessions"),)}
MISTAKES: list[tuple[dict[str, Any], str]] = [
    ({"name": "Stalls"}, "view name 'Stalls': use at most 21 lower-case letters"),
    ({"name": ""}, "view name ''"),
    ({"name": "x" * 22}, "use at most 21 lower-case letters"),
    ({"name": "stalls__long"}, "single underscores"),
    ({"of": "viewer"}, "there are no views of 'viewer'; choose from event, session"),
    # groupings and windows
    ({"groupings": ()}, "at least one grouping"),
    ({"groupings": (("title",), ("title",))}, "each once"),
    ({"groupings": (("title", "region"), ("region", "title"))}, "each once"),
    ({"groupings": (("planet",),)}, "'planet' is no dimension of an event; choose from title, region"),
    ({"groupings": (("title", "title"),)}, "at most 4 dimensions, each once"),
    ({"groupings": (("title", "region", "device", "cdn", "os"),)}, "at most 4 dimensions"),
    ({"groupings": ("title",)}, "a grouping is no tuple; write them as in (('title',), ('title', 'region'))"),
    ({"windows": ()}, "at least one window"),
    ({"windows": (HOUR, HOUR)}, "each once"),
    ({"windows": (MINUTE, RECENT_MINUTE)}, "each once"),
    ({"windows": HOUR}, "windows is no tuple; put a comma behind the only one"),
    ({"windows": (replace(HOUR, length_ms=7_200_000),)}, "there is no window hour of 7200000 ms; choose from LIVE, MINUTE, HOUR, DAY"),
    ({"windows": (replace(MINUTE, name="second"),)}, "there is no window second of 60000 ms"),
    ({"windows": (LIVE,)}, "the live window holds viewers and nothing else"),
    # measures
    ({"measures": ()}, "at least one measure"),
    ({"measures": (Measure("a", "", count_of="any"), Measure("a", "", count_of="stall"))}, "a name of its own"),
    ({"histograms": (replace(HISTOGRAM, name="stalls"),)}, "a name of its own"),
    ({"histograms": (HISTOGRAM,), "extremes": (replace(EXTREME, name="length_p50"),)}, "answers would have two columns length_p50; rename"),
    ({"measures": (Measure("start_ms", "", sum_of="startup_ms"),)}, "two columns start_ms"),
    ({"histograms": (replace(HISTOGRAM, quantiles=(0.5, 0.5)),)}, "two columns length_p50"),
    (TRENDING | {"measures": (*TRENDING["measures"], Measure("score", "", count_of="stall"))}, "two columns score"),
    ({"measures": (Measure("a b", "", count_of="any"),)}, "measure name 'a b': use at most 21"),
    ({"measures": (Measure("title", "", count_of="any"),)}, "measure name 'title': use at most 21 lower-case letters, digits and single"),
    ({"measures": (Measure("a", ""),)}, "a is neither a sum nor a count; give it sum_of or count_of"),
    ({"measures": (Measure("a", "", sum_of="title"),)}, "'title' cannot be summed; choose from watched_ms"),
    ({"measures": (Measure("a", "", count_of="tick"),)}, "'tick' cannot be counted; there are play_request"),
    ({"measures": (Measure("a", "", sum_of="stalls", count_of="stall"),)}, "a sum or a count, not both"),
    ({"measures": (Measure("a", "", sum_of="stalls", times="title"),)}, "'title' cannot be summed"),
    ({"measures": (Measure("a", "", sum_of="stalls", times="stall_ms"),)}, "a is a product, and Redis adds up to 2^53 only"),
    ({"measures": (Measure("a", "", count_of="stall", times="stalls"),)}, "a is stalls times nothing; name a field with sum_of"),
    ({"measures": (Measure("a", "", sum_of="stalls", half_life_s=21_600),)}, "a may decay if it is a count"),
    ({"measures": (Measure("a", "", count_of="stall", half_life_s=60),)}, "with a half-life of 2 hours to 30 days"),
    ({"leaderboard": "plays"}, "leaderboard 'plays' is none of its measures stalls"),
    # histograms, extremes, distinct counts
    ({"histograms": (replace(HISTOGRAM, of="title"),)}, "'title' of an event has no bins; choose from watched_ms, stall_ms"),
    ({"histograms": (replace(HISTOGRAM, of="length_s"),)}, "'length_s' of an event has no bins; choose from watched_ms"),
    ({"histograms": (replace(HISTOGRAM, on="tick"),)}, "'tick' is no type of event; choose from play_request"),
    ({"histograms": (replace(HISTOGRAM, quantiles=()),)}, "length has quantiles (); give some between 0 and 1"),
    ({"histograms": (replace(HISTOGRAM, quantiles=(50, 95)),)}, "give some between 0 and 1"),
    ({"name": "x" * 21, "histograms": (replace(HISTOGRAM, name="y" * 21),)}, "make its name 4 shorter"),
    ({"extremes": (replace(EXTREME, of="region"),)}, "'region' of an event is not kept; choose from watched_ms"),
    ({"extremes": (replace(EXTREME, keep="first"),)}, "least keeps 'first'; choose from min, max, last"),  # type: ignore[arg-type]
    ({"distincts": (replace(DISTINCT, of=("title",)),)}, "different (title) of an event are not counted; choose (account,)"),
    # rates
    ({"rates": (Rate("share", "", of=("stalls",), over=("plays",)),)}, "share is of measures that it does not have; it has stalls"),
    ({"rates": (Rate("share", "", of=("stalls",), over=()),)}, "share is of measures that it does not have"),
    # trends
    ({**TRENDING, "trend": Trend("views", "past")}, "its trend is of a count without a half-life and of a baseline with one"),
    ({**TRENDING, "trend": Trend("plays", "plays")}, "a baseline with one; declare both as measures"),
    ({**TRENDING, "trend": Trend("past", "past")}, "a count without a half-life"),
    ({**TRENDING, "windows": (HOUR, DAY)}, "a trend is read from minutes and days; declare both windows"),
    ({**TRENDING, "trend": Trend("plays", "past", floor=0)}, "a floor above 0"),
    ({**TRENDING, "trend": Trend("plays", "past", spans_s=(90,))}, "spans of whole minutes up to an hour"),
    ({**TRENDING, "trend": Trend("plays", "past", spans_s=(7_200,))}, "up to an hour"),
    # sessions
    ({**OF_SESSIONS, "groupings": (("region",),)}, "'region' is no dimension of a session; choose from title, device"),
    ({**OF_SESSIONS, "measures": (Measure("a", "", sum_of="watched_ms"),)}, "'watched_ms' cannot be summed; choose from sessions, ended"),
    ({**OF_SESSIONS, "measures": (Measure("a", "", count_of="stop"),)}, "there are none of a session; sum one of sessions"),
    ({**OF_SESSIONS, "histograms": (HISTOGRAM,)}, "'stall_ms' of a session has no bins; choose from length_s"),
    ({**OF_SESSIONS, "extremes": (EXTREME,)}, "'stall_ms' of a session is not kept; declare it in a view of events"),
    ({**OF_SESSIONS, "distincts": (DISTINCT,)}, "of a session are not counted; declare it in a view of events"),
]  # fmt: skip


@pytest.mark.parametrize(("change", "sentence"), MISTAKES)
def test_a_mistaken_declaration_gets_a_sentence(change: dict[str, Any], sentence: str) -> None:
    with pytest.raises(DeclarationError) as caught:
        View(**{**GOOD, **change})
    assert sentence in str(caught.value)


def test_a_view_is_folded_and_stored_in_parts() -> None:
    rate = Rate("share", "", of=("stalls",), over=("stalls",))
    view = View(**GOOD, histograms=(HISTOGRAM,), extremes=(EXTREME, replace(EXTREME, name="newest", keep="last")), rates=(rate,))
    assert [part.name for part in view.parts] == ["stalls", "stalls.length", "stalls.least", "stalls.newest"]
    assert {part.family for part in view.parts} == {"stalls"}
    assert view.part("length").groupings == (("title", "stall_ms~"),)
    assert view.part("length").table == "cells_stalls__length_1"
    assert [measure.name for measure in view.part("newest").measures] == ["ts", "seq", "newest"]
    assert [[window.cached for window in part.windows] for part in view.parts] == [[True], [False], [False], [False]]
    assert parts_of((view,)) == view.parts


def test_a_window_is_found_by_its_name() -> None:
    view = View(**GOOD)
    assert view.window("hour") is HOUR
    with pytest.raises(DeclarationError, match="no window 'day'; it has hour"):
        view.window("day")


def test_a_table_is_named_by_view_and_logic() -> None:
    assert View(**GOOD, logic_version=3).table == "cells_stalls_3"


@pytest.mark.parametrize(
    ("window", "start", "pack"),
    [
        (HOUR, 1_759_996_800_000, 1_759_996_800_000),
        (DAY, 1_759_968_000_000, 1_759_968_000_000),
        (MINUTE, 1_760_000_040_000, 1_759_999_500_000),
    ],
)
def test_windows_and_packs_start_at_whole_spans_of_utc(window: Any, start: int, pack: int) -> None:
    ts = start + window.length_ms - 1
    assert (window.start_of(ts), window.start_of(start), window.pack_of(start)) == (start, start, pack)


def test_the_live_window_has_one_start() -> None:
    assert (LIVE.start_of(1_760_000_000_000), LIVE.pack_of(0)) == (0, 0)


def test_the_registry_finds_views_by_name() -> None:
    assert view_named("watch_time").name == "watch_time"
    assert selected(()) == tuple(VIEWS.values())
    assert [view.name for view in selected(("watch_time",))] == ["watch_time"]
    with pytest.raises(UsageError, match=f"there is no view 'plays'; there are {', '.join(sorted({*VIEWS, *OTHERS}))} and accounting"):
        view_named("plays")

"""View declarations: each mistake gets a sentence that names what to change."""

from __future__ import annotations

from typing import Any

import pytest

from topologies.errors import DeclarationError, UsageError
from topologies.view import DAY, HOUR, LIVE, MINUTE, Measure, View
from topologies.views import VIEWS, selected, view_named

GOOD: dict[str, Any] = {
    "name": "stalls",
    "summary": "",
    "groupings": (("title",),),
    "windows": (HOUR,),
    "measures": (Measure("stalls", "", sum_of="stalls"),),
}


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"name": "Stalls"}, "view name 'Stalls': use lower-case"),
        ({"name": ""}, "view name ''"),
        ({"name": "x" * 50}, "use lower-case"),
        ({"groupings": ()}, "at least one grouping"),
        ({"groupings": (("title",), ("title",))}, "each once"),
        ({"groupings": (("title", "region"), ("region", "title"))}, "each once"),
        ({"groupings": (("planet",),)}, "'planet' is no dimension; choose from title, region"),
        ({"groupings": (("title", "title"),)}, "at most 3 dimensions, each once"),
        ({"groupings": (("title", "region", "device", "cdn"),)}, "at most 3 dimensions"),
        ({"windows": ()}, "at least one window"),
        ({"windows": (HOUR, HOUR)}, "each once"),
        ({"measures": ()}, "at least one measure"),
        ({"measures": (Measure("a", ""), Measure("a", ""))}, "a name of its own"),
        ({"measures": (Measure("a", "", sum_of="title"),)}, "'title' cannot be summed; choose from watched_ms"),
        ({"measures": (Measure("a", "", count_of="tick"),)}, "'tick' is no type of event; choose from play_request"),
        ({"measures": (Measure("a", "", sum_of="stalls", count_of="stall"),)}, "a sum or a count, not both"),
        ({"leaderboard": "plays"}, "leaderboard 'plays' is none of its measures stalls"),
    ],
)
def test_a_mistaken_declaration_gets_a_sentence(change: dict[str, Any], sentence: str) -> None:
    with pytest.raises(DeclarationError) as caught:
        View(**{**GOOD, **change})
    assert sentence in str(caught.value)


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
    with pytest.raises(UsageError, match="there is no view 'plays'; there are concurrents, watch_time and accounting"):
        view_named("plays")

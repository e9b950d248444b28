"""When an edition may answer: it has every going source as far as what answers now, and what it can never have is told."""

from __future__ import annotations

from pathlib import Path

import pytest

from marquee.switching import MOST_BEHIND_MS, Edition, lacking, lost
from tests.marquee.running import document, marquee, sentence
from topologies.sources import Source, SourceStatus


def stand(partition: int, offset: int, clock_ms: int) -> dict[str, SourceStatus]:
    source = Source("local", "viewing-events", "A" * 22, partition)
    return {str(source): SourceStatus(source, offset, clock_ms, clock_ms - 60_000, offset, offset, 0, 0, 0)}


NOW = 1_000_000_000
ENDED = next(iter(stand(1, 0, 0)))
LIVE = Edition("", {**stand(0, 900, NOW), **stand(1, 500, NOW - 3_600_000)}, frozenset({ENDED}))


def test_an_edition_that_has_what_answers_now_lacks_nothing() -> None:
    assert lacking(Edition("fix", stand(0, 900, NOW)), LIVE) == []
    assert lacking(Edition("fix", stand(0, 1_000, NOW + 5_000)), LIVE) == []


def test_what_one_flush_of_each_may_differ_is_no_lack() -> None:
    assert lacking(Edition("fix", stand(0, 800, NOW - MOST_BEHIND_MS)), LIVE) == []
    assert lacking(Edition("fix", stand(0, 800, NOW - MOST_BEHIND_MS - 1)), LIVE) != []


def test_each_source_that_has_not_caught_up_is_told_the_furthest_behind_first() -> None:
    live = Edition("", {**stand(0, 900, NOW), **stand(2, 9_000, NOW), **stand(3, 70, NOW)})
    assert lacking(Edition("fix", {**stand(0, 800, NOW - 20_000), **stand(2, 10, NOW - 90_000)}), live) == [
        "viewing-events partition 3 has never been stored there and stands at offset 70 here",
        "viewing-events partition 2 stands at offset 10 of 9,000, 90 s behind",
        "viewing-events partition 0 stands at offset 800 of 900, 20 s behind",
    ]


def test_what_no_log_has_any_more_is_told_and_no_lack() -> None:
    gone = frozenset({("local:A:0", 0, 120)})
    fix = Edition("fix", stand(0, 900, NOW), lost=gone)
    assert lacking(fix, LIVE) == []
    assert lost(fix, LIVE) == (
        f"what these sources counted before they ended is not in edition fix: {ENDED}",
        "local:A:0: records 0 to 119 were gone from the log before edition fix counted them",
    )
    assert lost(fix, Edition("", stand(0, 900, NOW), lost=gone)) == ()  # neither has them


def test_an_edition_is_named_once_for_everything_that_is_its_own(tmp_path: Path) -> None:
    shown = document(marquee(tmp_path, "--edition", "fix", "config", "--json"))
    assert shown["cassandra.keyspace"] == {"value": "marquee_fix", "from": "edition fix"}
    assert shown["kafka.topics"]["from"] == "default"
    assert "edition 'Fix': name it with" in sentence(marquee(tmp_path, "--edition", "Fix", "config"), 2)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("switch", "watch_time"), "name the edition that is to answer, or give --back"),
        (("switch", "watch_time", "fix", "--back"), "name the edition that is to answer, or give --back"),
        (("--edition", "fix", "switch", "watch_time", "fix"), "leave --edition out"),
        (("switch", "plays", "fix"), "there is no view 'plays'"),
        (("switch", "continue_watching", "fix"), "continue_watching is no declared view"),
        (("switch", "accounting", "--back"), "accounting is no declared view"),
    ],
)
def test_a_switch_used_wrongly_gets_a_sentence(tmp_path: Path, arguments: tuple[str, ...], words: str) -> None:
    assert words in sentence(marquee(tmp_path, *arguments), 2)

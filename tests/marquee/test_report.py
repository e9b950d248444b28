"""The report of a run: one file that loads nothing, with the run's course and what became of its events."""

from __future__ import annotations

import base64
import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from loadgen.audit_report import AuditResult, ViewTally
from loadgen.ledger import Run
from marquee.driving import accounted
from marquee.moment import Driven, Moment
from marquee.recording import merged
from marquee.report import Recorded, accounts, report
from marquee.report_page import report_page, write_report

RUN = Run(
    name="first", path=Path("var/runs/first"), tag="abc", kind="load", state="finished", live=True, topic="viewing-events",
    topic_id="A" * 22, seed=7, options={"rate": 50.0, "format": "json", "faults": "late<b>", "events": None}, started_ms=1_000,
    ended_ms=6_000, span_start_ms=1_000, span_end_ms=5_000, partitions=(), generated=200, acknowledged=200,
    faults={"duplicates": 6, "late": 3},
)  # fmt: skip


def moment(second: int, **changes: Any) -> Moment:
    """One of a run of four seconds with two workers, of which the second comes late."""
    driven = Driven(200, 50 * second, 50 * second, 50.0, 49.0)
    counted = {"received": 48 * second, "applied": 45 * second, "duplicate": 2 * second, "late": second, "dead": 0}
    workers = {"worker-0": 8} if second < 3 else {"worker-0": 4, "worker-1": 4}
    return replace(Moment(1_000_000 + 1_000 * second, driven, counted, 2 * second, 400.0, 200.0, 500.0 + second, workers, 30), **changes)


MOMENTS = [moment(second) for second in range(1, 5)]
AWAY = Moment(1_000_500, Driven(200, 20, 20, 50.0, 49.0))


def charts(document: dict[str, Any]) -> dict[str, dict[str, list[float | None]]]:
    """The lines of each chart, by name."""
    return {chart["label"]: {one["label"]: one["values"] for one in chart["series"]} for chart in document["charts"]}


def test_the_course_of_a_run_is_drawn_with_gaps_where_nothing_is_known() -> None:
    drawn = charts(report(Recorded(RUN, [AWAY, *MOMENTS], 190.0, 620.0)))
    assert drawn["Rate"] == {"intended": [50.0] * 5, "actual": [49.0] * 5}
    assert drawn["Backlog"] == {"records": [None, 2, 4, 6, 8]}
    assert drawn["Freshness"]["p99"] == [None, 501.0, 502.0, 503.0, 504.0]
    assert drawn["Workers"] == {"worker-0": [None, 8, 8, 4, 4], "worker-1": [None, 0, 0, 4, 4]}
    assert drawn["Accounting"]["received"] == [None, 48, 96, 144, 192]
    assert drawn["Accounting"]["acknowledged"] == [20, 50, 100, 150, 200]


def test_it_says_what_was_sent_and_what_the_workers_counted() -> None:
    document = report(Recorded(RUN, MOMENTS, 190.0, 620.0))
    early = "not all is applied yet"
    assert document["tables"][0]["rows"] == [
        ["received", 200, 192, early], ["applied", 191, 180, early], ["duplicate", 6, 8, early], ["late", 3, 4, early],
        ["dead", 0, 0, "equal"],
    ]  # fmt: skip
    facts = dict(document["facts"])
    assert (facts["freshness, median"], facts["freshness, p99"], facts["took"]) == ("0.19 s", "0.62 s", "5.0 s")
    assert (facts["rate"], facts["seed"], facts["greatest backlog"]) == (50.0, "7", 8)
    assert "events" not in facts
    assert document["verdict"] is None


def test_what_was_counted_is_held_against_what_was_sent() -> None:
    counted = {"received": 200, "applied": 191, "duplicate": 6, "late": 3, "dead": 0}
    whole = Recorded(RUN, [*MOMENTS, moment(5, counted=counted, backlog=0)])
    assert {one.worth for one in accounts(whole)} == {"equal"}
    assert accounted(whole) == ["the workers counted: received 200, applied 191, duplicate 6, late 3, dead 0: as sent"]
    others = Recorded(RUN, [moment(5, counted={**counted, "received": 210, "applied": 201}, backlog=0)])
    assert [one.worth for one in accounts(others)] == ["differs", "differs", "equal", "equal", "equal"]
    assert accounted(others)[0].endswith(": differs")
    assert accounted(Recorded(RUN, [AWAY])) == []


def test_a_run_that_nobody_watched_has_a_report_too() -> None:
    document = report(Recorded(replace(RUN, kind="replay", late_sends=3), [], trouble="Redis does not answer; start it"))
    assert document["charts"] == []
    assert dict(document["facts"])["freshness, p99"] == "not known"
    assert document["notes"][0] == "Something was not seen: Redis does not answer; start it"
    assert "bottleneck" in document["notes"][1]


def test_an_audit_is_the_verdict() -> None:
    audit = AuditResult(
        run="first", generated=200, received=200, applied=191, duplicate=6, late=3, dead=0, crossed=0, unaccounted=0,
        views={"watch_time": ViewTally(40, 0), "concurrents": ViewTally(12, 1), "trending": ViewTally()}, ledger="equal",
        differences=(), sources=(), dead_reasons={}, seconds=1.0, faults={"late": (3, 3), "duplicates": (6, 5)},
    )  # fmt: skip
    document = report(Recorded(RUN, MOMENTS, audit=audit))
    assert document["verdict"]["good"] is False
    assert document["tables"][1]["rows"] == [["concurrents", 12, 1, "wrong"], ["trending", 0, 0, "empty"], ["watch_time", 40, 0, "equal"]]
    assert document["tables"][2]["rows"] == [["duplicates", 6, 5, "differs"], ["late", 3, 3, "equal"]]


def test_moments_that_become_one_keep_the_worst() -> None:
    one = merged(moment(1, p99_ms=900.0, behind_ms=None), moment(2))
    assert (one.at_ms, one.p99_ms, one.behind_ms) == (1_002_000, 900.0, 400.0)
    assert merged(moment(1)) == moment(1)
    assert merged(AWAY, AWAY).p99_ms is None


class Loads(HTMLParser):
    """What a page would ask for, and the text of its elements that have one."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.asked: list[str] = []
        self.texts: dict[str, str] = {}
        self._open: tuple[str, dict[str, str | None]] = ("", {})
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._open = (tag, dict(attrs))
        self.asked += [value or "" for name, value in attrs if name in ("src", "href", "action", "data", "srcset")]

    def handle_endtag(self, _: str) -> None:
        self._open = ("", {})

    def handle_data(self, data: str) -> None:
        tag, attributes = self._open
        name = attributes.get("id") or attributes.get("type") or tag
        self.texts[name] = self.texts.get(name, "") + data


@pytest.fixture(scope="module")
def page() -> Loads:
    return Loads(report_page(report(Recorded(replace(RUN, name="</script><b>"), MOMENTS))))


def test_the_page_is_one_file_that_asks_for_nothing(page: Loads) -> None:
    assert page.asked == []
    assert not re.search(r"url\(|@import", page.texts["style"])
    assert "uPlot" in page.texts["script"]
    assert ":root" in page.texts["style"]


def test_every_module_finds_what_it_imports_in_the_page(page: Loads) -> None:
    modules = json.loads(page.texts["importmap"])["imports"]
    texts = {name: base64.b64decode(address.partition(",")[2]).decode() for name, address in modules.items()}
    assert "marquee/report.js" in texts
    for name, text in texts.items():
        found = set(re.findall(r'\bfrom "([^"]+)"', text))
        assert found <= texts.keys(), name
    assert "import(" not in "".join(texts.values())


def test_what_it_shows_stands_in_it_and_no_name_breaks_out_of_it(page: Loads) -> None:
    document = json.loads(page.texts["report"])
    assert document["title"] == "load </script><b>"
    assert dict(document["facts"])["faults"] == "late<b>"
    assert page.texts["title"] == "load </script><b> · Marquee"


def test_it_is_written_whole_where_it_is_wanted(tmp_path: Path) -> None:
    file = tmp_path / "new" / "report.html"
    for _ in range(2):
        write_report(file, report(Recorded(RUN, MOMENTS)))
    assert [found.name for found in file.parent.iterdir()] == ["report.html"]
    assert file.read_text().startswith("<!doctype html>")

"""What an audit that found differences tells a person."""

from __future__ import annotations

from typing import Any

import pytest

from loadgen.audit_report import (
    AuditResult,
    Difference,
    ErrorTally,
    FinalsTally,
    LetterTally,
    Origin,
    OriginEvent,
    SourceAudit,
    ViewTally,
)
from marquee.audit_table import show


def test_a_difference_says_who_has_what(capsys: pytest.CaptureFixture[str]) -> None:
    origins = (
        Origin("local:x:0", "x", 0, "applied", 1_204, ((3, 9), (12, 12)), (OriginEvent(3, 0, "s9", 4, "stop", 1),)),
        Origin("local:x:0", "x", 0, "duplicate", 1, ((17, 17),), (OriginEvent(17, 2, None, None, None, None),)),
    )
    found = (
        Difference("watch_time", "hour", 3_600_000, 0, "tt7\x1feu", "local:x:0", "redis", (5,), (6,), origins),
        Difference("ledger", "", 0, 0, "late", "", "ledger", (7,), (8,)),
        Difference("letters", "", 0, 0, "local:x:0@7#0", "local:x:0", "events.dead", ("empty",), None),
        Difference("letters", "", 0, 0, "local:x:0@9#2", "local:x:0", "events.late", None, ("late",)),
    )
    letters = {"dead": LetterTally(compared=1_200, missing=1, deleted=3), "late": LetterTally(compared=34, spurious=1)}
    counts = dict.fromkeys(("generated", "received", "applied", "duplicate", "late", "dead", "crossed", "unaccounted"), 0)
    told: dict[str, Any] = {**counts, "views": {}, "letters": letters}
    show(AuditResult("r", ledger="different", differences=found, sources=(), dead_reasons={}, seconds=1.0, **told))
    shown = capsys.readouterr()
    assert [line.split() for line in shown.out.splitlines() if "letters" in line] == [
        ["letters", "1,234", "2", "WRONG", "independently", "dead", "1,200,", "late", "34"]
    ]
    said = shown.err
    assert "letter local:x:0@7#0 in events.dead: there is none, and by the log empty" in said
    assert "letter local:x:0@9#2 in events.late: late, and by the log there is none" in said
    assert "of 3 events they may have been deleted" in said
    assert "tt7 × eu: redis has (6,), the log says (5,)" in said
    assert "  applied: 1,204 in partition 0 of x, offsets 3-9, 12 (first 3#0 stop of s9, seq 4)" in said
    assert "  duplicate: 1 in partition 0 of x, offsets 17 (first 17#2 ? of ?, seq ?)" in said
    assert "late: the ledger says (7,), the log has (8,)" in said


def test_final_rows_that_are_missing_are_told_and_no_wrong_number(capsys: pytest.CaptureFixture[str]) -> None:
    counts = dict.fromkeys(("generated", "received", "applied", "duplicate", "late", "dead", "crossed", "unaccounted"), 0)
    told: dict[str, Any] = {**counts, "views": {}, "differences": (), "sources": (), "dead_reasons": {}, "seconds": 1.0}
    result = AuditResult("r", ledger="equal", finals=FinalsTally(spans=1_200, missing=7, overdue=2), **told)
    show(result)
    said = capsys.readouterr().err
    assert "of 1,200 final spans 7 have no final rows yet, 2 of them overdue" in said
    assert "exact: ledger equal" in said
    assert result.document()["finals"] == {"spans": 1_200, "missing": 7, "overdue": 2}
    show(AuditResult("r", ledger="equal", finals=FinalsTally(spans=9), **told))
    assert "history" not in capsys.readouterr().err


def test_sources_that_redis_has_nothing_of_are_counted(capsys: pytest.CaptureFixture[str]) -> None:
    counts = dict.fromkeys(("generated", "received", "applied", "duplicate", "late", "dead", "crossed", "unaccounted"), 0)
    stores = ((None, 9), (None, 9), (9, 9), (None, None))
    sources = tuple(SourceAudit(f"local:x:{i}", "x", i, 0, 9, *offsets, None, 0) for i, offsets in enumerate(stores))
    told: dict[str, Any] = {**counts, "views": {}, "differences": (), "dead_reasons": {}, "seconds": 1.0}
    show(AuditResult("r", ledger="equal", sources=sources, **told))
    assert "redis: has nothing of 2 of 4 sources" in capsys.readouterr().err
    show(AuditResult("r", ledger="equal", sources=sources[2:], **told))
    assert "redis: has nothing" not in capsys.readouterr().err


def test_who_recounted_a_view_and_how_far_estimates_are_off_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    views = {"quality": ViewTally(cells=7), "own": ViewTally(cells=8, independent=False)}
    errors = {"quality.startup": ErrorTally(stated=1 / 64), "own.x": ErrorTally(stated=1 / 64)}
    errors["own.x"].add(None)
    for found in (0.001, 0.0125, 0.003):
        errors["quality.startup"].add(found)
    counts = dict.fromkeys(("generated", "received", "applied", "duplicate", "late", "dead", "crossed", "unaccounted"), 0)
    told: dict[str, Any] = {**counts, "views": views, "errors": errors, "letters": {}}
    result = AuditResult("r", ledger="equal", differences=(), sources=(), dead_reasons={}, seconds=1.0, **told)
    show(result)
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["own", "8", "0", "equal", "as", "declared"] in lines
    assert ["quality", "7", "0", "equal", "independently"] in lines
    assert ["quality.startup", "1.56", "%", "1.25", "%"] in lines
    assert ["own.x", "1.56", "%", "-"] in lines
    document = result.document()
    assert {name: view["independent"] for name, view in document["views"].items()} == {"quality": True, "own": False}
    assert document["errors"]["quality.startup"] == {"stated": 0.015625, "measured": 0.0125}
    assert document["errors"]["own.x"]["measured"] is None

"""What an audit that found differences tells a person."""

from __future__ import annotations

from typing import Any

import pytest

from loadgen.audit_report import AuditResult, Difference, LetterTally
from marquee.audit_table import show


def test_a_difference_says_who_has_what(capsys: pytest.CaptureFixture[str]) -> None:
    found = (
        Difference("watch_time", "hour", 3_600_000, 0, "tt7\x1feu", "local:x:0", "redis", (5,), (6,)),
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
        ["letters", "1,234", "2", "WRONG", "dead", "1,200,", "late", "34"]
    ]
    said = shown.err
    assert "letter local:x:0@7#0 in events.dead: there is none, and by the log empty" in said
    assert "letter local:x:0@9#2 in events.late: late, and by the log there is none" in said
    assert "of 3 events they may have been deleted" in said
    assert "tt7 × eu: redis has (6,), the log says (5,)" in said
    assert "late: the ledger says (7,), the log has (8,)" in said

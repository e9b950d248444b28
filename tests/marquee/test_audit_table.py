"""What an audit that found differences tells a person."""

from __future__ import annotations

import pytest

from loadgen.audit_report import AuditResult, Difference
from marquee.audit_table import show


def test_a_difference_says_who_has_what(capsys: pytest.CaptureFixture[str]) -> None:
    found = (
        Difference("watch_time", "hour", 3_600_000, 0, "tt7\x1feu", "local:x:0", "redis", (5,), (6,)),
        Difference("ledger", "", 0, 0, "late", "", "ledger", (7,), (8,)),
    )
    counts = dict.fromkeys(("generated", "received", "applied", "duplicate", "late", "dead", "crossed", "unaccounted"), 0)
    show(AuditResult("r", views={}, ledger="different", differences=found, sources=(), dead_reasons={}, seconds=1.0, **counts))
    said = capsys.readouterr().err
    assert "tt7 × eu: redis has (6,), the log says (5,)" in said
    assert "late: the ledger says (7,), the log has (8,)" in said

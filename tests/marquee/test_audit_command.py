"""`marquee audit` as a person ends it."""

from __future__ import annotations

import signal
from pathlib import Path

from loadgen.load import LoadOptions, run_load
from tests.marquee.running import Foreground
from topologies.settings import Settings


def test_an_audit_that_is_told_to_end_leaves_no_files(settings: Settings, tmp_path: Path) -> None:
    run_load(settings, LoadOptions(events=2_000, backfill_s=600, run="ended", processes=1), lambda _: None)
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    with Foreground(tmp_path, "audit", "ended", environment={**settings.environment(), "TMPDIR": str(scratch)}) as going:
        going.wait_said("reading", 120)
        assert list(scratch.glob("marquee-audit-*"))
        going.signal(signal.SIGTERM)
        assert going.ended(120) == 130
    assert list(scratch.iterdir()) == []

"""`scripts/compose-trial`: what it needs it says, and where a daemon runs it is gone through.

Whether one runs is known before there are tests: where none does, the second is not one of them. The command itself starts a daemon.
"""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from tests.containers.daemon import running

REPOSITORY = Path(__file__).parents[2]
TRIAL = REPOSITORY / "scripts" / "compose-trial"


def test_a_trial_without_a_daemon_says_what_is_missing_and_leaves_nothing(tmp_path: Path) -> None:
    for name in ("bash", "dirname", "env"):
        (tmp_path / name).symlink_to(f"/usr/bin/{name}")
    left = tmp_path / "left"
    left.mkdir()
    ran = subprocess.run(
        [str(TRIAL), "--events", "1"],
        env={"PATH": str(tmp_path), "TMPDIR": str(left), "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert (ran.returncode, ran.stdout) == (1, "")
    assert "there is no Docker client: install docker.io" in ran.stderr
    assert "Traceback" not in ran.stderr
    assert list(left.iterdir()) == []


if running() is not None:

    @pytest.mark.timeout(1_800)
    def test_a_daemon_that_runs_builds_starts_and_counts_exactly() -> None:
        ran = subprocess.run(
            [str(TRIAL), "--events", "20000", "--rate", "4000"], env=os.environ, capture_output=True, text=True, check=False, timeout=1_700
        )
        assert ran.returncode == 0, ran.stderr
        result = json.loads(ran.stdout)
        assert (result["audit"]["exact"], result["audit"]["generated"]) == (True, 20_000)

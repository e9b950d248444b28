"""Who is at work on a run is known, whatever becomes of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from loadgen.holding import goes_on, owned, senders_gone, sending
from topologies.errors import UsageError


def test_a_run_is_one_owners_at_a_time(tmp_path: Path) -> None:
    assert not goes_on(tmp_path)
    with owned(tmp_path):
        assert goes_on(tmp_path)
        with pytest.raises(UsageError, match="another process"), owned(tmp_path):
            pass
    assert not goes_on(tmp_path)


def test_a_run_whose_processes_still_send_is_not_taken_over(tmp_path: Path) -> None:
    with sending(tmp_path), sending(tmp_path):
        assert goes_on(tmp_path)
        assert not senders_gone(tmp_path)
        with pytest.raises(UsageError, match="still send"), owned(tmp_path, patience_s=0.0):
            pass
    with owned(tmp_path, patience_s=0.0):
        assert senders_gone(tmp_path)

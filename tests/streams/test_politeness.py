"""Preparing yields to whoever works, and the process as a whole does not."""

import os
import subprocess
import sys
import threading

import pytest

from streams.politeness import GROUP, NICENESS, politely

OWN_SESSION = """
from streams.politeness import politely, session_niceness
print(session_niceness(), politely(session_niceness), session_niceness())
"""


def niceness() -> int:
    return os.getpriority(os.PRIO_PROCESS, threading.get_native_id())


def test_only_the_preparing_thread_yields() -> None:
    before = niceness()
    assert politely(niceness) == max(NICENESS, before)
    assert niceness() == before


def test_what_fails_there_is_raised_here() -> None:
    with pytest.raises(ZeroDivisionError):
        politely(lambda: 1 // 0)


def test_a_session_of_its_own_yields_as_long_as_it_prepares() -> None:
    told = subprocess.run([sys.executable, "-c", OWN_SESSION], start_new_session=True, check=True, capture_output=True, text=True)
    there = GROUP.exists()
    assert told.stdout.split() == (["0", str(NICENESS), "0"] if there else ["None"] * 3)


def test_a_session_that_others_share_is_left_alone() -> None:
    """As a shell's job: a process group of its own in the shell's session."""
    told = subprocess.run([sys.executable, "-c", OWN_SESSION], process_group=0, check=True, capture_output=True, text=True)
    assert told.stdout.split() == ["None"] * 3

"""Preparing yields to whoever works, and the process as a whole does not."""

import os
import threading

import pytest

from streams.politeness import NICENESS, politely


def niceness() -> int:
    return os.getpriority(os.PRIO_PROCESS, threading.get_native_id())


def test_only_the_preparing_thread_yields() -> None:
    before = niceness()
    assert politely(niceness) == max(NICENESS, before)
    assert niceness() == before


def test_what_fails_there_is_raised_here() -> None:
    with pytest.raises(ZeroDivisionError):
        politely(lambda: 1 // 0)

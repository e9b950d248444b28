"""A process prepares itself without standing in the way of those that work already, on the same cores.

Linux weighs threads by their niceness only within a session, where it groups by sessions (sched(7), "The autogroup feature"; Debian does):
between sessions the groups' own niceness counts. So both are raised while a process prepares, the session's where that is its own.
"""

from __future__ import annotations

import os
import re
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Final, TypeVar

NICENESS: Final = 10
"""About a tenth of the weight of a thread that works, and all of a core that nobody wants."""
GROUP: Final = Path("/proc/self/autogroup")
TRIES: Final = 20
AGAIN_S: Final = 0.1
"""The kernel lets ordinary users move a group ten times a second, all of them together."""

Result = TypeVar("Result")


def politely(work: Callable[[], Result]) -> Result:
    """What `work` returns, done on a thread of its own that yields to whoever works. Raises what it raises.

    On a thread, as Linux gives each its own niceness and an ordinary user's process may not take it back. Preparing is four seconds of
    CPU, for modules and kernels: beside workers on full cores, as much is taken from them.
    """
    with _session_yields(), ThreadPoolExecutor(1, "preparing", _yield_to_others) as thread:
        return thread.submit(work).result()


def imported(*modules: str) -> None:
    """They are imported when this returns; nothing is done in a process that was forked with them. Raises what one raises."""
    if missing := [name for name in modules if name not in sys.modules]:
        politely(lambda: [import_module(name) for name in missing])


def session_niceness() -> int | None:
    """That of this process' session; None where sessions have none that it could set, or this one is others' too: a terminal's."""
    if os.getpgrp() != os.getsid(0) or not os.access(GROUP, os.W_OK):
        return None
    found = re.search(r"nice (-?\d+)", GROUP.read_text())
    return int(found[1]) if found else None


def _yield_to_others() -> None:
    me = threading.get_native_id()
    os.setpriority(os.PRIO_PROCESS, me, max(NICENESS, os.getpriority(os.PRIO_PROCESS, me)))


@contextmanager
def _session_yields() -> Iterator[None]:
    before = session_niceness()
    if before is None or before >= NICENESS:
        yield
        return
    _move_session(NICENESS)
    try:
        yield
    finally:
        _move_session(before)


def _move_session(niceness: int) -> None:
    """Raises OSError where the kernel refuses, which it does not to who goes back to what it was given."""
    for left in reversed(range(TRIES)):
        try:
            GROUP.write_text(str(niceness))
            return
        except BlockingIOError:
            if not left:
                raise
            time.sleep(AGAIN_S)

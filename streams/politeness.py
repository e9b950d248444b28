"""A worker prepares itself without standing in the way of those that work already, on the same cores."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final, TypeVar

NICENESS: Final = 10
"""About a tenth of the weight of a thread that works, and all of a core that nobody wants."""

Result = TypeVar("Result")


def politely(work: Callable[[], Result]) -> Result:
    """What `work` returns, done on a thread of its own that yields to whoever works. Raises what it raises.

    On a thread, as Linux gives each its own niceness and an ordinary user's process may not take it back. Preparing is four seconds of
    CPU, for modules and kernels: beside workers on full cores, as much is taken from them.
    """
    with ThreadPoolExecutor(1, "preparing", _yield_to_others) as thread:
        return thread.submit(work).result()


def _yield_to_others() -> None:
    me = threading.get_native_id()
    os.setpriority(os.PRIO_PROCESS, me, max(NICENESS, os.getpriority(os.PRIO_PROCESS, me)))

"""A thread that looks after something again and again: whenever it is woken, and every so often without."""

from __future__ import annotations

import threading
from collections.abc import Callable


class Looking:
    """Calls `look` on a thread of its own from `start` to `close`. A wake during a look is another look after it."""

    def __init__(self, name: str, look: Callable[[], None], every_s: float) -> None:
        """look: must not raise."""
        self._look = look
        self._every_s = every_s
        self._woken = threading.Event()
        self._ended = False
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def wake(self) -> None:
        """Any thread; does not block."""
        self._woken.set()

    def close(self, timeout_s: float) -> None:
        """No look begins any more; waits for the one under way. Twice does nothing more."""
        self._ended = True
        self._woken.set()
        if self._thread.is_alive() and self._thread is not threading.current_thread():
            self._thread.join(timeout_s)

    def _run(self) -> None:
        while not self._ended:
            self._woken.clear()
            self._look()
            self._woken.wait(self._every_s)

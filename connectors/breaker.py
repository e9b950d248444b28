"""A circuit breaker: what does not answer is not asked for a while, so that nobody waits for it once more.

It opens at the first failure. While it is open who asks is refused at once; a probe asks again and again, on a thread of its own, and
closes it. So of all questions of a process only those that were under way when something went have waited for it.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from connectors.closing import Closing
from topologies.errors import MarqueeError, ServerAway

log = logging.getLogger(__name__)


class Breaker(Closing):
    """Of one thing that may be away; for any number of threads."""

    def __init__(self, what: str, retry_s: float) -> None:
        """what: what it is called in the log. retry_s: so often the probe asks."""
        self._what = what
        self._retry_s = retry_s
        self._why = ""
        self._changing = threading.Lock()
        self._over = threading.Event()

    @property
    def why(self) -> str:
        """Why it is open; empty while it is closed."""
        return self._why

    @contextmanager
    def guarded(self, probe: Callable[[], object]) -> Iterator[None]:
        """Within, the thing is asked. Raises ServerAway at once while the breaker is open; opens it when ServerAway is raised within.

        probe: asks anything of it, on another thread, and raises a MarqueeError while there is no answer.
        """
        if self._why:
            raise ServerAway(self._why)
        try:
            yield
        except ServerAway as error:
            self._open(str(error), probe)
            raise

    def close(self) -> None:
        """Probes no more. Twice does nothing more."""
        self._over.set()

    def _open(self, why: str, probe: Callable[[], object]) -> None:
        with self._changing:
            if self._why or self._over.is_set():
                return
            self._why = why
            log.warning("%s is away: %s", self._what, why)
            threading.Thread(target=self._probe, args=(probe,), name=f"probe {self._what}", daemon=True).start()

    def _probe(self, probe: Callable[[], object]) -> None:
        while not self._over.wait(self._retry_s):
            try:
                probe()
            except MarqueeError as error:
                log.debug("%s is away still: %s", self._what, error)
                continue
            with self._changing:
                self._why = ""
            log.warning("%s answers again", self._what)
            return

"""How long nothing new was to be seen in Redis: what a reader of the live views noticed of the faults."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Final, Protocol

from topologies.errors import MarqueeError
from topologies.sources import SourceStatus

NOT_BEFORE_S: Final = 3.0
"""The first records need so long to be there at all."""


class Offsets(Protocol):
    """marquee.watching.Watcher, as far as it is needed here."""

    def statuses(self) -> Mapping[str, SourceStatus]: ...
    def close(self) -> None: ...


class Standstill:
    """Looks at the applied offsets when told to; one thread. A Redis that does not answer shows nothing new."""

    def __init__(self, watcher: Offsets, clock: Callable[[], float] = time.monotonic) -> None:
        """watcher: closed at the end. clock: seconds."""
        self._watcher = watcher
        self._clock = clock
        self._seen = 0
        self._moved_at = 0.0
        self._longest_s = 0.0

    def look(self) -> None:
        """The state of things now."""
        try:
            seen = sum(status.offset for status in self._watcher.statuses().values())
        except MarqueeError:  # away: the struck Redis itself
            seen = self._seen
        now = self._clock()
        if not self._moved_at:
            self._moved_at = now + NOT_BEFORE_S
        if seen != self._seen:  # less, too: an emptied Redis that is being filled again
            self._longest_s = max(self._longest_s, now - self._moved_at)
            self._seen, self._moved_at = seen, now

    def end(self, *, complete: bool) -> float:
        """The longest time without a change, seconds; looks no more. The last stretch counts unless all had been applied by then."""
        self._watcher.close()
        if not complete and self._moved_at:
            self._longest_s = max(self._longest_s, self._clock() - self._moved_at)
        return self._longest_s

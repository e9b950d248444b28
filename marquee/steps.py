"""The steps of a long command, told as they end."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager


class Steps(dict[str, float]):
    """Seconds of each step that has ended, by its name, in the order in which they ended."""

    @contextmanager
    def timed(self, name: str, say: Callable[[str], None]) -> Iterator[None]:
        """One step, however it ends."""
        begun = time.monotonic()
        try:
            yield
        finally:
            self[name] = round(time.monotonic() - begun, 2)
            say(f"{name}: {self[name]:.1f} s")

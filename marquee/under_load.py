"""What is measured while a load flows."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager

from loadgen.crew import LoadProgress
from loadgen.ledger import Run
from loadgen.load import LoadOptions, run_load
from topologies.errors import MarqueeError
from topologies.settings import Settings


@contextmanager
def under_load(settings: Settings, options: LoadOptions) -> Iterator[Future[Run]]:
    """Within, a load flows: from when its first events have left, for its planning takes seconds, and more at a higher rate. It ends in its
    own time and is waited for; its result is the run. One that fails before raises what it failed with."""
    flowing = threading.Event()

    def on_progress(progress: LoadProgress) -> None:
        if progress.sent:
            flowing.set()

    with ThreadPoolExecutor(1) as driver:
        driven = driver.submit(run_load, settings, options, on_progress)
        driven.add_done_callback(lambda _: flowing.set())
        flowing.wait()
        if driven.done():
            driven.result()
        yield driven


def must_flow(driven: Future[Run], until: str) -> None:
    """Raises what the load failed with, and MarqueeError when it ended before `until`, which was to be measured under it."""
    if driven.done():
        driven.result()
        raise MarqueeError(f"the load ended before {until}; nothing was measured under load")

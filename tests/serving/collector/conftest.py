"""A collector in a process of its own, on the shared Kafka."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from marquee.door import Door
from topologies.settings import Settings

Start = Callable[..., Door]


@pytest.fixture
def start(settings: Settings, tmp_path: Path) -> Iterator[Start]:
    """Starts a collector with these settings of its section; it ends with the test."""
    with ExitStack() as stack:

        def started(**own: Any) -> Door:
            changed = replace(settings, collector=replace(settings.collector, **own))
            return stack.enter_context(Door(changed, tmp_path, "collector"))

        yield started


@pytest.fixture
def collector(start: Start) -> Door:
    """One with the settings as they are."""
    return start()


def events_at(collector: Door) -> str:
    """Where events go."""
    return f"{collector.url}/v1/events"

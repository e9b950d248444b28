"""Where `/metrics` and `/readyz` of a worker look: its owners, its cycles, its consumer."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from streams.app import App
from streams.assignor import Place
from streams.collector import SourceCollector
from streams.flush import Cycle
from streams.handover import Handover
from streams.health import Health
from streams.letters import Letters
from streams.metrics import REBALANCES, REGISTRY
from streams.owners import Owners
from streams.room import Held, Room
from streams.watchdog import Watchdog


@dataclass(frozen=True)
class Running:
    """The parts of a worker that works, for whoever asks how it is."""

    app: App
    owners: Owners
    handover: Handover
    letters: Letters
    room: Room
    watchdog: Watchdog

    def held(self) -> Held:
        """What the worker holds now, in bytes."""
        return Held(
            fetched_bytes=self.app.batches.fetched_bytes(),
            unacked_bytes=self.owners.unacked_bytes(),
            letters_bytes=self.letters.waiting_bytes,
            state_bytes=self.owners.state_bytes(),
        )


def observe(health: Health, running: Running, cycles: Mapping[str, Cycle]) -> Callable[[], None]:
    """From now on `/metrics` and `/readyz` read from these. cycles: by store. Returns what ends it."""

    handover, room = running.handover, running.room
    health.stores = {store: partial(_trouble, cycle) for store, cycle in cycles.items()}
    health.waits = lambda: room.waits
    health.away = lambda: handover.away
    health.held = lambda: {f"{topic}/{partition}": why for (topic, partition), why in handover.held.items()}
    up = {store: partial(_takes, cycle) for store, cycle in cycles.items()}
    end = partial(log_end, running.app)
    collector = SourceCollector(running.owners.all, lambda: handover.held, end, up, lambda: room.open, running.held)
    REGISTRY.register(collector)
    running.app.on_rebalance_complete.connect(_counting())
    return partial(REGISTRY.unregister, collector)


def log_end(app: App, place: Place) -> int | None:
    """Next offset of the partition's log, as far as the consumer knows; None while partitions move, and where it is another's."""
    return None if app.rebalancing else app.batches.known_end(place)


def _counting() -> Any:
    """For Faust's signal that partitions have been assigned."""

    async def count(_app: Any, **_: Any) -> None:
        REBALANCES.inc()

    return count


def _trouble(cycle: Cycle) -> str:
    return cycle.trouble


def _takes(cycle: Cycle) -> bool:
    return not cycle.trouble

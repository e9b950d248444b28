"""Where `/metrics` and `/readyz` of a worker look: its owners, its cycles, its consumer."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

from faust.types import TP

from streams.app import App
from streams.collector import SourceCollector
from streams.flush import Cycle
from streams.handover import Handover
from streams.health import Health
from streams.metrics import REBALANCES, REGISTRY
from streams.owners import Owners, Place
from streams.room import Room


def observe(health: Health, app: App, owners: Owners, handover: Handover, cycles: Mapping[str, Cycle], room: Room) -> None:
    """From now on both read from these. cycles: by store."""

    def fetching() -> bool:
        return room.open

    health.stores = {store: partial(_trouble, cycle) for store, cycle in cycles.items()}
    health.fetching = fetching
    health.held = lambda: {f"{topic}/{partition}": why for (topic, partition), why in handover.held.items()}
    up = {store: partial(_takes, cycle) for store, cycle in cycles.items()}
    REGISTRY.register(SourceCollector(owners.all, lambda: handover.held, partial(log_end, app), up, fetching))


def log_end(app: App, place: Place) -> int | None:
    """Next offset of the partition's log, as far as the consumer knows; None while partitions move."""
    end: int | None = None if app.rebalancing else app.consumer.highwater(TP(*place))
    return end


def counting() -> Any:
    """For Faust's signal that partitions have been assigned."""

    async def count(_app: Any, **_: Any) -> None:
        REBALANCES.inc()

    return count


def _trouble(cycle: Cycle) -> str:
    return cycle.trouble


def _takes(cycle: Cycle) -> bool:
    return not cycle.trouble

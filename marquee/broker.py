"""The broker's CPU, where `marquee up` started it on this machine."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from cluster import state
from marquee.config import LOCAL
from topologies.settings import Settings


def broker_cpu_s(settings: Settings) -> Callable[[], float] | None:
    """What tells the CPU that the settings' broker has used so far, seconds, all threads; None for a broker that is not the local one."""
    found = state.load(Path(settings.local.directory) / LOCAL)
    if found is None or found.addresses.get("MARQUEE_KAFKA__BOOTSTRAP") != settings.kafka.bootstrap or "kafka" not in found.services:
        return None
    broker = found.services["kafka"]
    return broker.cpu_seconds if broker.alive() else None

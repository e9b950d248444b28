"""Decoded values as columns: where each field stands, and what became of each row."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from topologies.events import FIELDS
from topologies.view import IDENTITIES

TEXTS: Final = tuple(field.name for field in FIELDS if field.form == "str")
INTEGERS: Final = tuple(field.name for field in FIELDS if field.form in ("int", "enum", "bool"))
TEXT: Final[dict[str, int]] = {name: at for at, name in enumerate(TEXTS)}
"""Column of each text field in `Columns.spans`."""
INTEGER: Final[dict[str, int]] = {name: at for at, name in enumerate(INTEGERS)}
"""Column of each integer, enum (its index in TYPES or KINDS) and boolean field in `Columns.integers`."""
HASH: Final[dict[tuple[str, ...], int]] = {texts: len(INTEGERS) + at for at, texts in enumerate(IDENTITIES)}
"""Column, behind those, of the 64-bit hash of these texts (topologies.murmur), where a view asks for it."""

EVENT: Final = 0
TICK_ROW: Final = 1
MALFORMED: Final = 2
UNDECIDED: Final = 3
"""Only between the scanner and the strict decoder."""


@dataclass(frozen=True)
class Columns:
    """n decoded values.

    kind u8[n]: EVENT, TICK_ROW or MALFORMED. integers i64[fields + hashes, n], column by column: NULL where absent.
    spans i64[n, texts, 2]: start and length of each text in `buffer` (length 0 where absent).
    Of rows that are no event, integers and spans mean nothing. reasons: row → reason, for the malformed ones.
    """

    buffer: NDArray[np.uint8]
    kind: NDArray[np.uint8]
    integers: NDArray[np.int64]
    spans: NDArray[np.int64]
    reasons: dict[int, str]

    def integer(self, name: str) -> NDArray[np.int64]:
        """The column of that field."""
        column: NDArray[np.int64] = self.integers[INTEGER[name]]
        return column

"""What each session has sent, counted as it is sent: the rows of sent.parquet.

A lane's session is counted in place; when a record of another session of the lane comes, the counts so far go out as one
row. A session may so make several rows, which the ledger adds up.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from loadgen import catalogue
from loadgen.encode import session_bits
from loadgen.ledger import SENT_SCHEMA, SENT_SUMS
from loadgen.rows import AHEAD, BEHIND, DELAYED, MALFORMED, MINUTES
from topologies.compiled import kernel
from topologies.events import TYPES

_TYPES: Final = len(TYPES)
EVENTS = 0
FIRST_TYPE = 1
WATCHED, STALLED, DUPLICATES, LATES, MALFORMEDS, DELAYEDS, FIRST_TS, LAST_TS, ORDINAL, TITLE, PROFILE, LANE_INDEX = range(
    FIRST_TYPE + _TYPES, FIRST_TYPE + _TYPES + 12
)
COLUMNS: Final = LANE_INDEX + 1


@kernel
def count(rows: Any, tallies: Any, out: Any) -> int:
    """Counts rows (what was handed to Kafka) into tallies i8[lanes, COLUMNS]; finished ones into out. → rows of out."""
    done = 0
    for i in range(len(rows)):
        row = rows[i]
        tally = tallies[row.lane]
        if tally[ORDINAL] != row.ordinal + 1:
            if tally[ORDINAL] > 0:
                out[done] = tally
                done += 1
            tally[:] = 0
            tally[ORDINAL] = row.ordinal + 1
            tally[TITLE] = row.title
            tally[PROFILE] = row.profile
            tally[LANE_INDEX] = row.lane
        if row.copy:
            tally[DUPLICATES] += 1
        elif MINUTES <= row.fault <= BEHIND:
            tally[LATES] += 1
        elif MALFORMED <= row.fault <= AHEAD:
            tally[MALFORMEDS] += 1
        else:
            tally[FIRST_TS] = min(tally[FIRST_TS], row.ts) if tally[EVENTS] else row.ts
            tally[LAST_TS] = max(tally[LAST_TS], row.ts) if tally[EVENTS] else row.ts
            tally[EVENTS] += 1
            tally[FIRST_TYPE + row.type] += 1
            tally[WATCHED] += row.watched
            tally[STALLED] += row.stalled
            tally[DELAYEDS] += row.fault == DELAYED
    return done


@kernel
def _sessions(lanes: Any, tallies: Any) -> Any:
    bits = np.empty(len(tallies), np.uint64)
    for i in range(len(tallies)):
        bits[i] = session_bits(lanes[tallies[i, LANE_INDEX]], tallies[i, ORDINAL] - 1)
    return bits


def sessions_of(lanes: NDArray[Any], tallies: NDArray[np.int64]) -> list[str]:
    """The session of each tally."""
    return [f"{bits:016x}" for bits in _sessions(lanes, tallies).tolist()]


def sent_rows(lanes: NDArray[Any], keys: list[bytes], tallies: NDArray[np.int64], regions: int, base_ms: int) -> pl.DataFrame:
    """Tallies [n, COLUMNS] as rows of the ledger. keys [n]: the accounts of their lanes."""
    index = tallies[:, LANE_INDEX]
    region_names = np.array([place[0] for place in catalogue.places(regions)])
    devices = np.array([platform[0] for platform in catalogue.PLATFORMS])
    empty = tallies[:, EVENTS] == 0
    columns: dict[str, Any] = {
        "session": sessions_of(lanes, tallies),
        "account": [key.decode() for key in keys],
        "profile": [f"p{profile + 1}" for profile in tallies[:, PROFILE].tolist()],
        "title": [catalogue.title_name(title) for title in tallies[:, TITLE].tolist()],
        "region": region_names[lanes["place"][index]].tolist(),
        "device": devices[lanes["platform"][index]].tolist(),
        **{name: tallies[:, EVENTS + number] for number, name in enumerate(SENT_SUMS)},
        "first_ts": np.where(empty, 0, tallies[:, FIRST_TS] + base_ms),
        "last_ts": np.where(empty, 0, tallies[:, LAST_TS] + base_ms),
    }
    return pl.DataFrame(columns, schema=SENT_SCHEMA)

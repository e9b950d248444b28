"""A sum of events at the bounds of their fields stops at 2^63 − 1, wherever it is added up."""

from __future__ import annotations

import dataclasses
import itertools
from typing import Final

import pytest

from tests.topologies.logs import SOURCE, T0, apply, event
from tests.topologies.packed import encode_pack
from topologies.events import DAY_MS, FIELDS
from topologies.finals import merge
from topologies.fold import PartitionState
from topologies.packs import PackedCell, decode_pack
from topologies.quality import QUALITY
from topologies.view import MOST, STORED_DAY, View

GREATEST: Final = {field.name: field.high for field in FIELDS if field.name in ("watched_ms", "bitrate_kbps")}
BITS: Final = 864 * 10**12
"""Of one event."""
ENOUGH: Final = 10_676
"""Such events reach the bound (loadgen's test_audit_definitions)."""
BY_DAY: Final = dataclasses.replace(QUALITY, windows=(STORED_DAY,), histograms=())


@pytest.mark.parametrize("view", [QUALITY.parts[0], BY_DAY])
def test_a_cell_of_the_greatest_events_stops_at_its_bound_and_stays_there(view: View) -> None:
    state = PartitionState(SOURCE, (view,))
    records = [event(T0, session=f"s{at // 1000}", seq=at % 1000, **GREATEST) for at in range(ENOUGH + 1)]
    for low, high in itertools.pairwise((0, ENOUGH - 1, ENOUGH, ENOUGH + 1)):
        apply(state, records[low:high])
        cells = next(found for found in state.canonical()["cells"].values() if found)
        assert list(cells.values()) == [(0, 0, 0, 0, high * DAY_MS, 0, 0, min(high * BITS, MOST))]
    [pack] = state.take_packs()[0]
    [cell] = decode_pack(pack.blob)
    assert cell.values[-1] == MOST


@pytest.mark.parametrize(
    "bits", [(MOST, 1), (MOST, MOST, MOST, 5), (MOST - 1, 1), (MOST - 1, 0), (2**62, 2**62), (2**32 - 1, 1), (2**62, 2**62 - 1)]
)
def test_a_final_row_of_such_cells_stops_there_too(bits: tuple[int, ...]) -> None:
    packs = [encode_pack([PackedCell(0, 0, ("c", "r", "d", "a"), (0, 0, 0, 0, 7, 0, 0, amount))]) for amount in bits]
    for order in (packs, packs[::-1]):
        [cell] = decode_pack(merge(QUALITY.parts[0], order))
        assert cell.values == (0, 0, 0, 0, 7 * len(bits), 0, 0, min(sum(bits), MOST))
    halves = [merge(QUALITY.parts[0], packs[:1]), merge(QUALITY.parts[0], packs[1:])]
    assert merge(QUALITY.parts[0], halves) == merge(QUALITY.parts[0], packs)

"""Packs of many cells at once hold what the pack of each bucket's cells, written one by one, would hold, in as many bytes."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tests.topologies.logs import examples
from tests.topologies.packed import encode_pack
from topologies.dictionary import Dictionary
from topologies.keys import KeyTable
from topologies.packing import packs_of
from topologies.packs import BUCKETS, PackedCell, bucket_of, decode_pack
from topologies.view import MINUTE
from topologies.watch_time import WATCH_TIME

TITLES, REGIONS = [f"title {at}" for at in range(1, 60)], ["eu", "ö"]
KEYS = [(title, region) for region in ("", *REGIONS) for title in ("", *TITLES)]
EDGES = sorted({sign * (1 << bits) + step for bits in (7, 15, 31) for sign in (1, -1) for step in (-1, 0)} | {0, 2**63 - 1, -(2**63)})


def table() -> KeyTable:
    dictionaries = {"title": Dictionary([text.encode() for text in TITLES]), "region": Dictionary([text.encode() for text in REGIONS])}
    words = [[at % 60 << 8, at // 60, 0] for at in range(len(KEYS))]
    return KeyTable(WATCH_TIME, dictionaries, np.array(words, dtype=np.int64))


CELLS = st.dictionaries(
    st.tuples(st.integers(0, len(KEYS) - 1), st.integers(0, 2**60)), st.tuples(*[st.sampled_from(EDGES)] * 3), min_size=1, max_size=60
)


@given(CELLS, st.sets(st.integers(0, BUCKETS - 1)))
@examples(150)
def test_each_wanted_bucket_gets_its_cells_in_the_fewest_bytes(cells: dict[tuple[int, int], tuple[int, ...]], more: set[int]) -> None:
    wanted = np.zeros(BUCKETS, dtype=np.bool_)
    wanted[[*more, *(bucket_of(KEYS[key]) for key, _ in cells)]] = True
    held, starts = (np.array(column, dtype=np.int64) for column in zip(*cells, strict=True))
    values = np.array(list(cells.values()), dtype=np.int64)
    packs = packs_of(WATCH_TIME, MINUTE, 0, table(), held.astype(np.intp), starts, values, wanted)
    assert [pack.bucket for pack in packs] == np.flatnonzero(wanted).tolist()
    for pack in packs:
        mine = [PackedCell(start, 0, KEYS[key], row) for (key, start), row in cells.items() if bucket_of(KEYS[key]) == pack.bucket]
        assert decode_pack(pack.blob) == mine
        assert len(pack.blob) == len(encode_pack(mine)) + (0 if mine else 3)

"""Volumes as an answer reads them (topologies/volumes.py): a title's day of hours is one row, where a question is answered from one bucket.

    of each volume of which FEWEST spans or more are asked for
      its basis is reckoned     of all its spans, asked for or not; it has none while one of them is not final
      its mark has that digest  else its spans are read by themselves
      its mark tells the bucket its row is read, else there is nothing for ever

A row above its mark, or that is not there, is of a volume that is just made anew: its spans are read by themselves. So a keyspace without
volumes, of an older version, is one small read slower.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from serving.cells import Cell, Sums
from serving.columns import Columns
from serving.known import Known
from serving.stores import Stores
from topologies import volumes
from topologies.finals import Bases
from topologies.view import Window
from topologies.volumes import Contents

FEWEST: Final = 4
"""Of fewer spans the final packs are read, which are as many rows, and not larger ones."""


def take_volumes(
    stores: Stores, known: Known, columns: Columns[Cell], sums: Sums[Cell], bases: Bases, spans_ms: Iterable[int], first: str
) -> frozenset[int]:
    """Takes in the cells of these spans, and maybe of others that are bound with them, as far as there are volumes; returns which of the
    spans. first: the first dimension value that is asked for, "" of a grouping by nothing. Raises ServerAway or StoreError."""
    view, window = columns.plan.view, columns.plan.stored
    if not volumes.are_kept(view, window):
        return frozenset()
    asked = _asked(window, spans_ms)
    digests = {volume: basis.digest for volume in asked if (basis := volumes.basis_of(bases, view, window, volume)) is not None}
    if not digests:
        return frozenset()
    name, bucket = volumes.name_of(window), volumes.bucket_of(first)
    marks = stores.marks(view, name, min(digests), max(digests), known)
    there = {volume: marks[volume] for volume, digest in digests.items() if volume in marks and marks[volume].basis == digest}
    held = sorted(volume for volume, mark in there.items() if Contents.parsed(mark.sources).has(bucket))
    packs = {pack.pack_ms: pack for pack in stores.finals.packs(view, name, held, [bucket])} if held else {}
    whole = [volume for volume in there if volume not in held or (volume in packs and packs[volume].upto <= there[volume].upto)]
    for volume in whole:
        if volume in packs:
            sums.take(columns.decoded_final(packs[volume].blob), range(volume, volume + volumes.length_ms(window)))
    return frozenset(pack_ms for volume in whole for pack_ms in asked[volume])


def _asked(window: Window, spans_ms: Iterable[int]) -> dict[int, list[int]]:
    """By volume, its spans that are asked for, where those are enough."""
    asked: dict[int, list[int]] = {}
    for pack_ms in spans_ms:
        asked.setdefault(volumes.start_of(window, pack_ms), []).append(pack_ms)
    return {volume: within for volume, within in asked.items() if len(within) >= FEWEST}

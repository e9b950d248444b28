"""Volumes: the final packs of SPANS spans in a row bound together, so that a title's hours of a day are one row, and not 24. Pure.

    final packs       hour 0          hour 1                hour 23        a span's bucket: crc32(first dimension value) % 16
      bucket 0       a0 c0 g0        a1 c1 g1       …      a23 c23
      bucket 1       b0 d0           d1             …      b23 d23

    the day's volume
      bucket 0, 16   a0 a1 … a23  │  c0 c1 … c23 g0 g1   …, 240            a volume's bucket: crc32(first dimension value) % 256
      bucket 1, 17   b0 … b23     │  d0 d1 … d23         …, 241

A volume's pack has the cells of its spans in the order of grouping, key and start, as a final pack has them (topologies.pack_search finds
them in either). A question for one title wants one of 256 buckets: with 16, a day of a large catalogue's hours would be megabytes a row.
Of an hour, the volume is a day (UTC); of the quarters of an hour in which minutes are stored, 6 hours; of days, 24 days.

A volume is a function of its basis, as a final pack is: of the bases of all its spans, in their order. A span without a cell has a basis
too, and makes the volume another one when that changes: what has no row in any span is known to have none. So it is final with its last
span, never repaired, and whoever finds none, or one of another basis, reads the spans. Of top lists there are none, nor of sketches, one of
which takes up to 16 KiB: a day's would be moved about whole, and an answer has to unite each hour's anyhow.
"""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import numpy as np

from topologies.errors import StoreError
from topologies.finals import Bases, Basis, merged_columns
from topologies.packs import PackColumns, encode_columns
from topologies.view import KEY_SEPARATOR, View, Window

SPANS: Final = 24
BUCKETS: Final = 256
"""A multiple of a span's: what a volume's bucket has, one bucket of its spans has."""
_SEPARATOR: Final = KEY_SEPARATOR.encode()


def are_kept(view: View, window: Window) -> bool:
    """Whether there are volumes of this part's window."""
    return bool(window.length_ms) and view.distinct is None


def name_of(window: Window) -> str:
    """What stands as the window in the rows of its volumes, which share the tables of its spans': "hour x24/256"."""
    return f"{window.name} x{SPANS}/{BUCKETS}"


def length_ms(window: Window) -> int:
    """How long a volume is."""
    return SPANS * window.pack_ms


def start_of(window: Window, pack_ms: int) -> int:
    """Start of the volume that holds the span."""
    return pack_ms - pack_ms % length_ms(window)


def spans_of(window: Window, first_ms: int) -> range:
    """Starts of the spans of the volume that starts then."""
    return range(first_ms, first_ms + length_ms(window), window.pack_ms)


def bucket_of(first: str) -> int:
    """The bucket of cells of that first dimension value; of cells that have no dimension, that of no characters."""
    return _bucket_of(first.encode())


def _bucket_of(first: bytes) -> int:
    return zlib.crc32(first) % BUCKETS


@dataclass(frozen=True)
class VolumeBasis:
    """What a volume is made of. version, digest: as those of topologies.finals.Basis."""

    version: int
    digest: str

    @classmethod
    def of(cls, spans: Sequence[Basis]) -> VolumeBasis:
        """Of the bases of all spans, in their order. Versions only grow, so their sum is equal where each is. 24 spans of 20,000 sources
        fit 63 bits."""
        return _made_of(tuple((basis.version, basis.digest) for basis in spans))


@lru_cache(maxsize=1024)
def _made_of(spans: tuple[tuple[int, str], ...]) -> VolumeBasis:
    told = " ".join(digest for _, digest in spans)
    return VolumeBasis(sum(version for version, _ in spans), hashlib.sha256(told.encode()).hexdigest()[:32])


def basis_of(bases: Bases, view: View, window: Window, first_ms: int) -> VolumeBasis | None:
    """The basis of the volume that starts then; None while one of its spans is not final."""
    spans_ms = spans_of(window, first_ms)
    last = bases.of(view, window, spans_ms[-1])
    if last is None:
        return None
    if last is bases.everyone:
        return VolumeBasis.of([last] * SPANS)
    found = bases.of_spans(view, window, spans_ms)
    return VolumeBasis.of(list(found.values())) if len(found) == SPANS else None


@dataclass(frozen=True)
class Contents:
    """What a volume's mark says of what is in it. sources: digest of which sources have cells in each span; equal where the packs are.
    buckets: bit b is set where bucket b has a pack. Any other row is of another volume, and nobody's."""

    sources: str
    buckets: int

    @classmethod
    def of(cls, spans: Sequence[str], buckets: Collection[int]) -> Contents:
        """spans: of each span in their order, the sources that have cells in it, as its mark has them; "" of one without."""
        return cls(digest_of(spans), sum(1 << bucket for bucket in buckets))

    @classmethod
    def parsed(cls, text: str) -> Contents:
        """What `text` has been made of. Raises StoreError if that is none."""
        sources, _, buckets = text.partition(" ")
        try:
            return cls(sources, int(buckets, 16))
        except ValueError as error:
            raise StoreError(f"a volume's mark says {text!r}, which is none of this version's") from error

    @property
    def text(self) -> str:
        return f"{self.sources} {self.buckets:x}"

    def has(self, bucket: int) -> bool:
        """Whether that bucket has a pack."""
        return bool(self.buckets >> bucket & 1)


def digest_of(spans: Sequence[str]) -> str:
    """Contents.sources of what the marks of the spans say, in their order."""
    return hashlib.sha256("|".join(spans).encode()).hexdigest()[:32]


def bind(view: View, packs: Sequence[bytes]) -> dict[int, bytes]:
    """The packs of a volume, by bucket, of what one bucket of all its spans has: no empty ones. The order of the spans does not matter.
    Raises StoreError for a pack that cannot be read."""
    merged = merged_columns(view, packs)
    if merged is None:
        return {}
    buckets = np.array([_bucket_of(key.partition(_SEPARATOR)[0]) for key in merged.keys], dtype=np.int64)
    return {bucket: encode_columns(_of_bucket(merged, buckets == bucket)) for bucket in np.unique(buckets).tolist()}


def _of_bucket(columns: PackColumns, keys: np.ndarray[tuple[int], np.dtype[np.bool_]]) -> PackColumns:
    """The cells of those keys, in their order."""
    places = np.cumsum(keys) - 1
    cells = keys[columns.index]
    chosen = [columns.keys[place] for place in np.flatnonzero(keys).tolist()]
    return PackColumns(chosen, columns.groupings[keys], places[columns.index[cells]], columns.starts[cells], columns.values[cells])

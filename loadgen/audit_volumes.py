"""Volumes (topologies/volumes.py) against the cells that each source has in Cassandra, as the final rows that they are bound of.

Read as readers read them: the buckets that a mark tells of, and in each the cells that belong there; a cell in another bucket is one that
is missing. A volume counts while it is of every source that is known. That one is not there yet is told of nobody: its spans are read then.
They are in table `served` as store VOLUME.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import duckdb

from connectors.cassandra_finals import FinalRows, Mark
from loadgen.audit_finals import VOLUME, FinalCell, SourcesAudited, Spans, compare_spans, current_of
from loadgen.audit_report import Difference, ViewTally
from topologies import volumes
from topologies.sketch_packs import decode_cells
from topologies.view import KEY_SEPARATOR, View, Window
from topologies.volumes import Contents


def read(finals: FinalRows, view: View, window: Window, marks: dict[int, Mark]) -> Iterator[FinalCell]:
    """The cells of the volumes of a part in one of its windows. Which is just bound anew goes out of `marks`. Raises ServerAway or
    StoreError."""
    told = {first_ms: Contents.parsed(mark.sources) for first_ms, mark in marks.items()}
    buckets = [bucket for bucket in range(volumes.BUCKETS) if any(contents.has(bucket) for contents in told.values())]
    for pack in finals.packs(view, volumes.name_of(window), sorted(marks), buckets):
        if pack.pack_ms not in marks or not told[pack.pack_ms].has(pack.bucket):
            continue
        if pack.upto > marks[pack.pack_ms].upto:
            del marks[pack.pack_ms]
            continue
        for cell in decode_cells(pack.blob):
            if volumes.bucket_of(cell.key[0] if cell.key else "") == pack.bucket:
                yield VOLUME, "", view.name, window.name, cell.start_ms, cell.grouping, KEY_SEPARATOR.join(cell.key), cell.values


def compare(
    database: duckdb.DuckDBPyConnection,
    views: tuple[View, ...],
    found: Spans,
    sources: SourcesAudited,
    tallies: dict[str, ViewTally],
) -> list[Difference]:
    """Compare the volumes that were `found` with the cells of all sources in their spans, which table `served` has as of their statuses;
    counts into `tallies`, returns what is wrong."""
    bases, wrong = sources.bases, list[Difference]()
    for view in views:
        for window in view.windows:
            current = current_of(found, view, window, partial(volumes.basis_of, bases, view, window))
            spans = [pack_ms for first_ms in current for pack_ms in volumes.spans_of(window, first_ms)]
            if spans:
                wrong += compare_spans(database, view, window, spans, (VOLUME,), tallies[view.family])
    return wrong

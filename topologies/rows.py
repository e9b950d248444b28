"""From a block of records to the rows that admission takes: JSON and Arrow records of one log, in its order.

A JSON record is one row, an Arrow record as many as its stream has, one if it is dead as a whole. Texts get their numbers in
the order of the log, whatever the blocks.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from topologies import arrow_judge
from topologies.admission import identities
from topologies.arrow_plan import COLUMN
from topologies.arrow_rows import documents
from topologies.arrow_stream import ArrowRecord, open_record, reading
from topologies.binning import BIN_TEXTS, number_bins
from topologies.bins import BINNED
from topologies.blocks import RecordBlock
from topologies.columns import EVENT, HASH, INTEGER, INTEGERS, MALFORMED, TEXT, TICK_ROW, UNDECIDED, Columns
from topologies.compiled import PADDING
from topologies.decode import decode
from topologies.dictionary import ABSENT, Dictionary
from topologies.events import FIELDS, KINDS, NULL, Malformed, check_event
from topologies.hashing import hash_columns, hash_spans
from topologies.murmur import WORDS
from topologies.profiles import VIEWER, Profiles
from topologies.view import BIN_MARK

KNOWN_TEXTS: Final = {"kind": [kind.encode() for kind in KINDS], **{field + BIN_MARK: BIN_TEXTS for field in BINNED}}
"""Dimensions of few values, which are numbered by their index: a value's number is its index + 1, so that NULL is ABSENT."""
ASKED: Final = frozenset({"type", "seq", "ts", "watched_ms", "stall_ms", "fatal"})
"""What admission asks for."""
_FIELD: Final = {field.name: at for at, field in enumerate(FIELDS)}


@dataclass(frozen=True)
class Rows:
    """n rows, as admission.Batch and the folds take them.

    kinds u8[n]: columns.EVENT, TICK_ROW or MALFORMED. timestamps i64[n]: their records', epoch ms. integers i64[fields + hashes, n]: of
    hashes, and of Arrow rows, those that were asked for. ids i64[n, 2], tells i8[n]: admission.identities'. dims i32[n, dimensions]:
    numbers of the dimensions' texts.
    Of rows that are no event all these mean nothing. reasons: row → reason, of the malformed ones. firsts i64[records + 1]: each record's
    first row; None where every record is one row.
    """

    kinds: NDArray[np.uint8]
    timestamps: NDArray[np.int64]
    integers: NDArray[np.int64]
    ids: NDArray[np.int64]
    tells: NDArray[np.int8]
    dims: NDArray[np.int32]
    reasons: dict[int, str]
    firsts: NDArray[np.int64] | None = None

    def place(self, row: int) -> tuple[int, int]:
        """The record of a row, and which of that record's it is."""
        if self.firsts is None:
            return row, 0
        record = int(np.searchsorted(self.firsts, row, side="right")) - 1
        return record, row - int(self.firsts[record])

    def part(self, first: int, end: int) -> Rows:
        """Views of these rows; the reasons stay behind."""
        at = slice(first, end)
        return Rows(self.kinds[at], self.timestamps[at], self.integers[:, at], self.ids[at], self.tells[at], self.dims[at], {})


class RowReader:
    """Reads blocks into rows: the texts of these dimensions as their numbers in the dictionaries, at least these integers, and the hashes
    of these texts. With `viewers`, one more dimension behind those: the profile's number there."""

    def __init__(
        self,
        dimensions: Sequence[str],
        dictionaries: Mapping[str, Dictionary],
        integers: Iterable[str] = INTEGERS,
        hashed: Iterable[tuple[str, ...]] = (),
        viewers: Profiles | None = None,
    ) -> None:
        if viewers is not None:
            dimensions = (*dimensions, VIEWER)
        self._dimensions = tuple(dimensions)
        self._binned = {place: name.removesuffix(BIN_MARK) for place, name in enumerate(dimensions) if name.endswith(BIN_MARK)}
        wanted = ASKED | set(integers) | (KNOWN_TEXTS.keys() & set(dimensions)) | set(self._binned.values())
        self._wanted = np.array([field.form != "str" and field.name in wanted for field in FIELDS])
        self._dictionaries = dictionaries
        self._hashed = tuple(hashed)
        self._words = np.zeros(WORDS, dtype=np.uint64)
        self._viewers = viewers

    def read(self, block: RecordBlock) -> Rows:
        """Every record's rows. Raises nothing, whatever the bytes."""
        rows = self._rows(block)
        for place, name in self._binned.items():
            number_bins(rows.kinds, rows.integers[INTEGER[name]], rows.dims[:, place])
        return rows

    def _rows(self, block: RecordBlock) -> Rows:
        """As `read`, but for the bins."""
        arrow = block.arrow_records()
        if not len(arrow):
            return self._of_json(block.buffer, block.starts, block.ends, block.timestamps)
        opened = {record: _opened(block, record) for record in arrow.tolist()}
        counts = np.ones(len(block), dtype=np.int64)
        for record, found in opened.items():
            counts[record] = found.rows if isinstance(found, ArrowRecord) else 1
        firsts = np.concatenate([[0], np.cumsum(counts)])
        rows = _empty(np.repeat(block.timestamps, counts), len(self._dimensions), firsts)
        unread: list[int] = []
        for first, end in _stretches(arrow, len(block)):
            if first in opened:
                try:
                    self._read_arrow(block, opened[first], int(firsts[first]), rows)
                except Malformed:
                    unread.append(first)
            else:
                json_rows = self._of_json(block.buffer, block.starts[first:end], block.ends[first:end], block.timestamps[first:end])
                _put(json_rows, rows, slice(int(firsts[first]), int(firsts[end])), int(firsts[first]))
        return _dead(rows, firsts, unread) if unread else rows

    def _of_json(
        self, buffer: NDArray[np.uint8], starts: NDArray[np.int64], ends: NDArray[np.int64], timestamps: NDArray[np.int64]
    ) -> Rows:
        columns = decode(buffer, starts, ends)
        ids, tells = identities(columns)
        for texts in self._hashed:
            places = np.array([TEXT[name] for name in texts], dtype=np.int64)
            hash_spans(columns.buffer, columns.kind, columns.spans, places, self._words, columns.integers[HASH[texts]])
        return Rows(columns.kind, timestamps, columns.integers, ids, tells, self._numbers(columns), columns.reasons)

    def _numbers(self, columns: Columns) -> NDArray[np.int32]:
        dims = np.empty((len(columns.kind), len(self._dimensions)), dtype=np.int32)
        others = np.flatnonzero(columns.kind != EVENT)
        for place, dimension in enumerate(self._dimensions):
            if place in self._binned:
                continue
            if dimension == VIEWER and self._viewers is not None:
                names = (columns.spans[:, TEXT[name]] for name in ("account", "profile"))
                dims[:, place] = self._viewers.intern(columns.buffer, columns.kind, *names)
                continue
            if dimension in KNOWN_TEXTS:
                dims[:, place] = columns.integer(dimension) - NULL
                dims[others, place] = ABSENT
                continue
            spans = np.ascontiguousarray(columns.spans[:, TEXT[dimension]])
            spans[others] = 0
            dims[:, place] = self._dictionaries[dimension].intern(columns.buffer, spans)
        return dims

    # -- Arrow --------------------------------------------------------------------------------------------------

    def _read_arrow(self, block: RecordBlock, found: ArrowRecord | str, first: int, rows: Rows) -> None:
        if isinstance(found, str):
            rows.kinds[first] = MALFORMED
            rows.reasons[first] = found
            return
        base = block.buffer.ctypes.data
        for number, batch in enumerate(found.batches):
            part = rows.part(first, first + batch.rows)
            if batch.rows:
                undecided = arrow_judge.judge(
                    block.buffer, base, batch.address, found.plan.table, self._wanted, np.empty(batch.rows, np.int8),
                    part.kinds, first, rows.integers, part.ids, part.tells,
                )  # fmt: skip
                self._number_texts(block.buffer, base, batch.address, found, part)
                self._hash_texts(block.buffer, base, batch.address, found, part)
                if undecided:
                    self._judge_strictly(found, number, part, first, rows.reasons)
            first += batch.rows

    def _number_texts(self, buffer: NDArray[np.uint8], base: int, address: int, record: ArrowRecord, part: Rows) -> None:
        count = len(part.kinds)
        entries, used, spans = np.empty(count, np.int32), np.empty(count, np.int32), np.empty((count, 2), np.int64)
        for place, dimension in enumerate(self._dimensions):
            if place in self._binned:
                continue
            if dimension == VIEWER and self._viewers is not None:
                names = [
                    arrow_judge.spans_of_rows(base, address, record.plan.table[_FIELD[name]], part.kinds) for name in ("account", "profile")
                ]
                part.dims[:, place] = self._viewers.intern(buffer, part.kinds, *names)
                continue
            column = record.plan.table[_FIELD[dimension]]
            if dimension in KNOWN_TEXTS:
                part.dims[:, place] = np.where(part.kinds == EVENT, part.integers[INTEGERS.index(dimension)] - NULL, ABSENT)
            elif column[COLUMN] < 0 or not arrow_judge.has_texts(column):
                part.dims[:, place] = ABSENT
            else:
                found = arrow_judge.spans_of(base, address, column, part.kinds, entries, used, spans)
                numbers = self._dictionaries[dimension].intern(buffer, spans if found < 0 else spans[:found])
                if found < 0:
                    part.dims[:, place] = numbers
                else:
                    arrow_judge.spread(entries, used, numbers, place, part.dims)

    def _hash_texts(self, buffer: NDArray[np.uint8], base: int, address: int, record: ArrowRecord, part: Rows) -> None:
        for texts in self._hashed:
            plan = record.plan.table[[_FIELD[name] for name in texts]]
            # they are required: without one of them no row is an event
            if all(column[COLUMN] >= 0 and arrow_judge.has_texts(column) for column in plan):
                hash_columns(buffer, base, address, plan, part.kinds, self._words, part.integers[HASH[texts]])

    def _judge_strictly(self, record: ArrowRecord, batch: int, part: Rows, first: int, reasons: dict[int, str]) -> None:
        """Judge the UNDECIDED rows of a batch one by one; what is valid goes the way of its JSON.

        Raises Malformed if the record is not to be read after all.
        """
        events: list[bytes] = []
        places: list[int] = []
        undecided = np.flatnonzero(part.kinds == UNDECIDED).tolist()
        with reading():
            for row, document in zip(undecided, documents(record, batch, undecided), strict=True):
                try:
                    event = check_event(document)
                except Malformed as malformed:
                    part.kinds[row] = MALFORMED
                    reasons[first + row] = malformed.reason
                    continue
                if event is None:
                    part.kinds[row] = TICK_ROW
                else:
                    events.append(msgspec.json.encode(event))
                    places.append(row)
        if events:
            ends = np.cumsum([len(event) for event in events], dtype=np.int64)
            buffer = np.frombuffer(b"".join(events) + bytes(PADDING), dtype=np.uint8)
            starts = np.concatenate([[0], ends[:-1]])
            _put(self._of_json(buffer, starts, ends, part.timestamps[places]), part, np.array(places), first)


def _opened(block: RecordBlock, record: int) -> ArrowRecord | str:
    """The Arrow record, or why it is dead as a whole."""
    start, end = int(block.starts[record]), int(block.ends[record])
    if end <= start:
        return "empty"
    try:
        return open_record(block.buffer, start, end)
    except Malformed as malformed:
        return malformed.reason


def _stretches(arrow: NDArray[np.intp], records: int) -> Iterator[tuple[int, int]]:
    """Each Arrow record alone, and the records between two of them together, in order."""
    at = 0
    for record in arrow.tolist():
        if record > at:
            yield at, record
        yield record, record + 1
        at = record + 1
    if at < records:
        yield at, records


def _empty(timestamps: NDArray[np.int64], dimensions: int, firsts: NDArray[np.int64]) -> Rows:
    count = len(timestamps)
    return Rows(
        np.empty(count, np.uint8), timestamps, np.empty((len(INTEGERS) + len(HASH), count), np.int64), np.empty((count, 2), np.int64),
        np.empty(count, np.int8), np.empty((count, dimensions), np.int32), {}, firsts,
    )  # fmt: skip


def _dead(rows: Rows, firsts: NDArray[np.int64], records: list[int]) -> Rows:
    """The rows, of each of these records as one dead one, `not_arrow`."""
    kept = np.ones(len(rows.kinds), dtype=np.bool_)
    reasons = dict(rows.reasons)
    for record in records:
        first, end = int(firsts[record]), int(firsts[record + 1])
        kept[first + 1 : end] = False
        rows.kinds[first] = MALFORMED
        reasons[first] = "not_arrow"
    place = np.concatenate([[0], np.cumsum(kept)])
    return Rows(
        rows.kinds[kept], rows.timestamps[kept], np.compress(kept, rows.integers, axis=1), rows.ids[kept], rows.tells[kept],
        rows.dims[kept],
        {int(place[row]): reason for row, reason in reasons.items() if kept[row]}, place[firsts],
    )  # fmt: skip


def _put(found: Rows, rows: Rows, places: slice | NDArray[np.int64], first: int) -> None:
    """Put rows at their places among others, whose row 0 is the block's row `first` − that of a slice, whose start it is."""
    rows.integers[:, places] = found.integers
    for name in ("kinds", "ids", "tells", "dims"):
        getattr(rows, name)[places] = getattr(found, name)
    for row, reason in found.reasons.items():
        rows.reasons[first + row] = reason

"""The judge of a record batch's rows: column by column, in place, without an object a row.

It accepts only what the strict decoder would (topologies.events.check_event); what it leaves UNDECIDED goes there, row by row
(topologies.arrow_rows). It calls nothing malformed.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from topologies.admission import identify, told
from topologies.arrow_columns import Column, bit_at, bounds, column_of, entry_at, entry_of, integer_at, is_good_text, is_null, text_at
from topologies.arrow_plan import BOOL, COLUMN, FORM, INT32, INT64, NULLS, UINT8, UINT16, UTF8, WRONG
from topologies.columns import EVENT, TICK_ROW, UNDECIDED
from topologies.compiled import Word, inlined, lean, peek_i32, peek_i64, peek_u8, peek_u16, signed
from topologies.events import FIELDS, NULL, TYPES
from topologies.names import FORM_KIND, FORM_STR, FORM_TYPE, FORMS, HIGHS, KIND_NAMES, LOWS, PLACES, TYPE_NAMES, look_up

_TYPE_WORDS, _TYPE_FOUND = TYPE_NAMES
_KIND_WORDS, _KIND_FOUND = KIND_NAMES
_NEEDED: Final = np.array([field.required for field in FIELDS])
_NAMES: Final = [field.name for field in FIELDS]
_TYPE, _ACCOUNT, _SESSION = _NAMES.index("type"), _NAMES.index("account"), _NAMES.index("session")
_TYPE_PLACE: Final = PLACES[_TYPE]
_TICK_INDEX: Final = len(TYPES)
_BAD: Final = -2
"""Verdict on a text that its field does not allow; −1 (NULL) on an absent one; else its number among the enum's, or 0."""


@inlined
def _undecided(kinds: np.ndarray) -> None:
    for row in range(kinds.shape[0]):
        kinds[row] = UNDECIDED


@inlined
def _without(field: Word, wanted: Word, kinds: np.ndarray, first: Word, integers: np.ndarray) -> None:
    """A field that no row has."""
    if _NEEDED[field]:
        _undecided(kinds)
    elif wanted:
        for row in range(kinds.shape[0]):
            integers[PLACES[field], first + row] = NULL


@inlined
def _copy(column: Column, count: Word, first: Word, place: Word, integers: np.ndarray) -> None:
    if column.form == INT32:
        for row in range(count):
            integers[place, first + row] = peek_i32(column.values + 4 * (column.offset + row))
    elif column.form == INT64:
        for row in range(count):
            integers[place, first + row] = peek_i64(column.values + 8 * (column.offset + row))
    elif column.form == UINT16:
        for row in range(count):
            integers[place, first + row] = peek_u16(column.values + 2 * (column.offset + row))
    elif column.form == UINT8:
        for row in range(count):
            integers[place, first + row] = peek_u8(column.values + (column.offset + row))
    else:
        for row in range(count):
            integers[place, first + row] = integer_at(column.form, column.values, column.offset + row)


@inlined
def _integers(column: Column, field: Word, wanted: Word, kinds: np.ndarray, first: Word, integers: np.ndarray) -> None:
    low, high, place, needed = LOWS[field], HIGHS[field], PLACES[field], _NEEDED[field]
    if column.form != BOOL and (column.valid == 0 or not (needed or wanted)):
        least, most = bounds(column.form, column.values, column.offset, kinds.shape[0])
        if low <= least and most <= high:
            if wanted:
                _copy(column, kinds.shape[0], first, place, integers)
            return
    for row in range(kinds.shape[0]):
        at = column.offset + row
        if is_null(column.valid, at):
            integers[place, first + row] = NULL
            if needed:
                kinds[row] = UNDECIDED
            continue
        value = bit_at(column.values, at) if column.form == BOOL else integer_at(column.form, column.values, at)
        integers[place, first + row] = value
        if column.form != BOOL and (value < low or value > high):
            kinds[row] = UNDECIDED


@inlined
def _verdict(buffer: np.ndarray, column: Column, entry: Word, base: Word, form: Word) -> Word:
    """On one of the column's texts, for a field of that form."""
    start, length = entry_at(column, entry, base)
    if length < 0:
        return signed(NULL)
    if form == FORM_STR:
        return signed(0) if is_good_text(buffer, start, length) else signed(_BAD)
    found = signed(-1)
    if form == FORM_TYPE:
        found = signed(look_up(buffer, start, length, _TYPE_WORDS, _TYPE_FOUND))
    elif form == FORM_KIND:
        found = signed(look_up(buffer, start, length, _KIND_WORDS, _KIND_FOUND))
    return found if found >= 0 else signed(_BAD)


@inlined
def _texts(
    buffer: np.ndarray,
    column: Column,
    field: Word,
    base: Word,
    wanted: Word,
    verdicts: np.ndarray,
    kinds: np.ndarray,
    first: Word,
    integers: np.ndarray,
) -> None:
    form, place, needed = FORMS[field], PLACES[field], _NEEDED[field]
    # a dictionary that is longer than the batch is not judged whole
    once = 0 < column.entries <= verdicts.shape[0]
    if once:
        worst = signed(0)
        for entry in range(column.entries):
            verdicts[entry] = _verdict(buffer, column, entry, base, form)
            worst = min(worst, signed(verdicts[entry]))
        if worst == 0 and (column.valid == 0 or not needed) and not wanted:
            return
    for row in range(kinds.shape[0]):
        entry = entry_of(column, row)
        if entry < 0:
            verdict = signed(NULL)
        elif once:
            verdict = signed(verdicts[entry])
        else:
            verdict = _verdict(buffer, column, entry, base, form)
        if wanted:
            integers[place, first + row] = verdict
        if verdict == _BAD or (verdict == NULL and needed):
            kinds[row] = UNDECIDED


@lean
def judge(
    buffer: np.ndarray,
    base: Word,
    batch: Word,
    plan: np.ndarray,
    wanted: np.ndarray,
    verdicts: np.ndarray,
    kinds: np.ndarray,
    first: Word,
    integers: np.ndarray,
    ids: np.ndarray,
    tells: np.ndarray,
) -> Word:
    """Judge the n rows of the batch whose ArrowArray stands at address `batch`; how many are UNDECIDED.

    buffer, base: the block's buffer and its address. plan: Plan.table. wanted bool[fields]: which are to be put into `integers`.
    verdicts i8[n]: the kernel's own room. kinds, ids, tells: these rows of Rows', which it fills in; integers: all of Rows', in which
    `first` is the first of these rows. What is said of a row that is no EVENT means nothing.
    """
    for row in range(kinds.shape[0]):
        kinds[row] = EVENT
    for field in range(plan.shape[0]):
        form = plan[field, FORM]
        if plan[field, COLUMN] < 0 or form == NULLS:
            _without(field, wanted[field], kinds, first, integers)
        elif form == WRONG:
            _undecided(kinds)
        elif form >= UTF8:
            _texts(buffer, column_of(batch, plan[field, COLUMN], plan[field]), field, base, wanted[field], verdicts, kinds, first, integers)
        else:
            _integers(column_of(batch, plan[field, COLUMN], plan[field]), field, wanted[field], kinds, first, integers)
    undecided = signed(0)
    if plan[_ACCOUNT, FORM] < UTF8 or plan[_SESSION, FORM] < UTF8:
        for row in range(kinds.shape[0]):
            undecided += kinds[row] == UNDECIDED
        return undecided
    accounts = column_of(batch, plan[_ACCOUNT, COLUMN], plan[_ACCOUNT])
    sessions = column_of(batch, plan[_SESSION, COLUMN], plan[_SESSION])
    for row in range(kinds.shape[0]):
        if kinds[row] != EVENT:
            undecided += 1
            continue
        if integers[_TYPE_PLACE, first + row] == _TICK_INDEX:
            kinds[row] = TICK_ROW
            continue
        account, account_length = text_at(accounts, row, base)
        session, session_length = text_at(sessions, row, base)
        identify(buffer, account, account_length, session, session_length, ids[row])
        tells[row] = told(integers, first + row)
    return undecided


def has_texts(plan: NDArray[np.int64]) -> bool:
    """Whether the column of this row of Plan.table holds texts."""
    return bool(plan[FORM] >= UTF8)


@lean
def spans_of(
    base: Word, batch: Word, plan: np.ndarray, kinds: np.ndarray, entries: np.ndarray, used: np.ndarray, spans: np.ndarray
) -> Word:
    """The texts that a column's events have, to be numbered. Returns how many spans; −1: one a row, in order.

    plan i64[3]: the field's row of Plan.table. entries, used i32[n]: the kernel's own room. spans i64[n, 2]: start (from `base`), length.
    Of a dictionary that is no longer than the batch it gives each entry that is used once: in `entries` stands each row's, −1 for none,
    and in `used` which span an entry's is.
    """
    column = column_of(batch, plan[COLUMN], plan)
    if not 0 < column.entries <= used.shape[0]:
        for row in range(kinds.shape[0]):
            spans[row, 1] = 0
            if kinds[row] == EVENT:
                start, length = text_at(column, row, base)
                spans[row, 0] = start
                spans[row, 1] = max(length, signed(0))
        return signed(-1)
    _entries(column, kinds, entries)
    return _spans_once(column, base, entries, used, spans)


@inlined
def _entries(column: Column, kinds: np.ndarray, entries: np.ndarray) -> None:
    """Which entry each event has. A loop of its own for what producers send: the form is asked once, not for each row."""
    if column.index == UINT8 and column.valid == 0:
        for row in range(kinds.shape[0]):
            entries[row] = peek_u8(column.values + (column.offset + row)) if kinds[row] == EVENT else signed(-1)
    elif column.index == UINT16 and column.valid == 0:
        for row in range(kinds.shape[0]):
            entries[row] = peek_u16(column.values + 2 * (column.offset + row)) if kinds[row] == EVENT else signed(-1)
    else:
        for row in range(kinds.shape[0]):
            entries[row] = entry_of(column, row) if kinds[row] == EVENT else signed(-1)


@inlined
def _spans_once(column: Column, base: Word, entries: np.ndarray, used: np.ndarray, spans: np.ndarray) -> Word:
    for entry in range(column.entries):
        used[entry] = -1
    count = signed(0)
    for row in range(entries.shape[0]):
        entry = signed(entries[row])
        if entry >= 0 and used[entry] < 0:
            start, length = entry_at(column, entry, base)
            if length > 0:
                used[entry] = count
                spans[count, 0] = start
                spans[count, 1] = length
                count += 1
    return count


@lean
def spread(entries: np.ndarray, used: np.ndarray, numbers: np.ndarray, place: Word, dims: np.ndarray) -> None:
    """Each event's number into dims[:, place], where `spans_of` gave every text once; numbers i32: of these spans."""
    for row in range(entries.shape[0]):
        entry = signed(entries[row])
        dims[row, place] = numbers[used[entry]] if entry >= 0 and used[entry] >= 0 else 0


def spans_of_rows(base: int, batch: int, plan: NDArray[np.int64], kinds: NDArray[np.uint8]) -> NDArray[np.int64]:
    """The text of each event in a column: i64[n, 2], start (from `base`) and length, 0 where there is none."""
    count = len(kinds)
    spans = np.zeros((count, 2), np.int64)
    if plan[COLUMN] < 0 or not has_texts(plan):
        return spans
    entries, used = np.empty(count, np.int32), np.empty(count, np.int32)
    if spans_of(base, batch, plan, kinds, entries, used, spans) < 0:
        return spans
    numbers = np.where(entries >= 0, used[entries], -1)
    each: NDArray[np.int64] = np.where((numbers >= 0)[:, None], spans[numbers], 0)
    return each

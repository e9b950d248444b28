"""What is remembered of a bookmark: a row of eight words, in the list of its profile; and how events, the clock and flushes move it."""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from topologies.admission import APPLIED, DUPLICATE, LATE, Batch
from topologies.cells import BOTH
from topologies.columns import INTEGER, TICK_ROW
from topologies.compiled import Word, inlined, lean, signed
from topologies.continue_watching import EVERY_MS
from topologies.events import TYPES, Tells
from topologies.profiles import FLAGS, FREE, HEAD, LOOKED_AT, NOTHING_WAITS, SINCE, USED, ProfileArrays, free_row
from topologies.sources import LATENESS_MS

# words of a bookmark's row; of the profile's other bookmarks the next + 1, or of free rows
TITLE, TS, SEQ, FINISHED, POSITION, RUNTIME, LACKED, NEXT = range(8)
WORDS: Final = 8
FLYING: Final = 4
"""A profile's flag: the last flush to the cache took bookmarks of it; whether it succeeded is known at the next. CACHE and DURABLE are
flags too: the profile is in that store's list of what is due."""

MARKS, FIRST_FREE, WAITING_FROM, WAITING_TO, DUE = range(5)
COUNTS: Final = 6
_STOPPED: Final = int(Tells.PAUSED)
_FINISH: Final = TYPES.index("finish")
_TYPE, _TS, _SEQ, _POSITION, _RUNTIME = (INTEGER[name] for name in ("type", "ts", "seq", "position_s", "runtime_s"))


class MarkArrays(NamedTuple):
    """Bookmarks as kernels take them.

    marks i64[capacity, WORDS]. runtimes i64[titles]: seconds, by the title's number, 0 where no event has told. waiting i64[n, 2]: profile
    and since when, in that order; stale where its row says otherwise. due i64[2, profiles]: for the cache, and for the durable store.
    counts i64[COUNTS]: rows of marks in use; first free one + 1; where `waiting` begins and ends; how many are due for each store.
    """

    marks: NDArray[np.int64]
    runtimes: NDArray[np.int64]
    waiting: NDArray[np.int64]
    due: NDArray[np.int64]
    counts: NDArray[np.int64]


@inlined
def _fall_due(number: Word, row: np.ndarray, state: MarkArrays) -> None:
    row[SINCE] = NOTHING_WAITS
    for store in range(2):
        bit = signed(1) << signed(store)
        if not row[FLAGS] & bit:
            row[FLAGS] |= bit
            state.due[store, state.counts[DUE + store]] = number
            state.counts[DUE + store] += 1


@inlined
def _mark_of(title: Word, row: np.ndarray, state: MarkArrays) -> Word:
    """The profile's bookmark of that title, made if new."""
    marks, counts = state.marks, state.counts
    number = row[HEAD] - 1
    while number >= 0:
        if marks[number, TITLE] == title:
            return number
        number = marks[number, NEXT] - 1
    number = counts[FIRST_FREE] - 1
    if number >= 0:
        counts[FIRST_FREE] = marks[number, NEXT]
    else:
        number = counts[MARKS]
        counts[MARKS] = number + 1
    marks[number, TITLE] = title
    marks[number, TS] = -1
    marks[number, LACKED] = 0
    marks[number, NEXT] = row[HEAD]
    row[HEAD] = number + 1
    return number


@inlined
def _supersedes(ts: Word, seq: Word, finished: Word, position: Word, runtime: Word, mark: np.ndarray) -> Word:
    if ts != mark[TS]:
        return ts > mark[TS]
    if seq != mark[SEQ]:
        return seq > mark[SEQ]
    if finished != mark[FINISHED]:
        return finished > mark[FINISHED]
    if position != mark[POSITION]:
        return position > mark[POSITION]
    return runtime > mark[RUNTIME]


@inlined
def _bear(batch: Batch, at: Word, title: Word, number: Word, row: np.ndarray, clock: Word, state: MarkArrays) -> None:
    """An event with a position, or `finish`, was applied: move the title's bookmark if it is the greatest."""
    ts, seq, position = batch.integers[_TS, at], batch.integers[_SEQ, at], batch.integers[_POSITION, at]
    told = state.runtimes[title]
    runtime = told if told > 0 else signed(-1)
    finished = signed(batch.integers[_TYPE, at] == _FINISH or (told > 0 and position >= told))
    mark = state.marks[_mark_of(title, row, state)]
    if not _supersedes(ts, seq, finished, position, runtime, mark):
        return
    mark[TS] = ts
    mark[SEQ] = seq
    mark[FINISHED] = finished
    mark[POSITION] = position
    mark[RUNTIME] = runtime
    mark[LACKED] = BOTH
    if row[SINCE] == NOTHING_WAITS:
        row[SINCE] = clock
        end = state.counts[WAITING_TO]
        state.waiting[end, 0] = number
        state.waiting[end, 1] = clock
        state.counts[WAITING_TO] = end + 1


@lean
def follow(batch: Batch, title_place: Word, viewer_place: Word, clock: Word, profiles: ProfileArrays, state: MarkArrays) -> None:
    """Follow n rows. `clock`: the partition's before them. There is room for a bookmark and a waiting profile a row."""
    for at in range(batch.kinds.shape[0]):
        kind = batch.classes[at]
        if kind == APPLIED or kind == DUPLICATE or kind == LATE or batch.kinds[at] == TICK_ROW:  # dead ones do not move the clock
            clock = max(clock, batch.timestamps[at])
        if kind != APPLIED:
            continue
        title, number = batch.dims[at, title_place], batch.dims[at, viewer_place]
        row = profiles.rows[number]
        if row[SINCE] != NOTHING_WAITS and clock - row[SINCE] >= EVERY_MS:
            _fall_due(number, row, state)
        if batch.integers[_RUNTIME, at] > 0:
            state.runtimes[title] = batch.integers[_RUNTIME, at]
        if batch.integers[_POSITION, at] >= 0 or batch.integers[_TYPE, at] == _FINISH:
            _bear(batch, at, title, number, row, clock, state)
        if row[SINCE] != NOTHING_WAITS and batch.tells[at] >= _STOPPED:
            _fall_due(number, row, state)
    _pass_time(clock, profiles, state)


@inlined
def _pass_time(clock: Word, profiles: ProfileArrays, state: MarkArrays) -> None:
    """What has waited long enough at this clock is due."""
    counts, waiting = state.counts, state.waiting
    while counts[WAITING_FROM] < counts[WAITING_TO] and clock - waiting[counts[WAITING_FROM], 1] >= EVERY_MS:
        number, since = waiting[counts[WAITING_FROM], 0], waiting[counts[WAITING_FROM], 1]
        counts[WAITING_FROM] += 1
        if profiles.rows[number, SINCE] == since:
            _fall_due(number, profiles.rows[number], state)


@lean
def count_lacking(numbers: np.ndarray, store: Word, flags: Word, profiles: ProfileArrays, marks: np.ndarray, bounds: np.ndarray) -> None:
    """bounds i64[n + 1]: how many bookmarks of these profiles the store lacks, added up. They are in its list no more, and get `flags`."""
    for at in range(numbers.shape[0]):
        row = profiles.rows[numbers[at]]
        count, mark = signed(0), row[HEAD] - 1
        while mark >= 0:
            count += (marks[mark, LACKED] & store) != 0
            mark = marks[mark, NEXT] - 1
        row[FLAGS] &= ~store
        if count > 0:
            row[FLAGS] |= flags
        bounds[at + 1] = bounds[at] + count


@lean
def take_lacking(numbers: np.ndarray, store: Word, profiles: ProfileArrays, marks: np.ndarray, taken: np.ndarray) -> None:
    """The bookmarks that the store lacks, profile by profile; they are not lacking any more."""
    found = signed(0)
    for at in range(numbers.shape[0]):
        mark = profiles.rows[numbers[at], HEAD] - 1
        while mark >= 0:
            if marks[mark, LACKED] & store:
                marks[mark, LACKED] &= ~store
                taken[found] = mark
                found += 1
            mark = marks[mark, NEXT] - 1


@lean
def list_due(numbers: np.ndarray, store: Word, profiles: ProfileArrays, state: MarkArrays) -> None:
    """Have these profiles in the store's list once. What waits of them goes on waiting."""
    place = signed(store) >> signed(1)
    for at in range(numbers.shape[0]):
        row = profiles.rows[numbers[at]]
        if not row[FLAGS] & (store | FREE):
            row[FLAGS] |= store
            state.due[place, state.counts[DUE + place]] = numbers[at]
            state.counts[DUE + place] += 1


@lean
def lack_all(store: Word, profiles: ProfileArrays, marks: np.ndarray) -> None:
    for number in range(profiles.counts[USED]):
        if profiles.rows[number, FLAGS] & FREE:
            continue
        mark = profiles.rows[number, HEAD] - 1
        while mark >= 0:
            marks[mark, LACKED] |= store
            mark = marks[mark, NEXT] - 1


@inlined
def _forget_marks(row: np.ndarray, watermark: Word, state: MarkArrays) -> None:
    """Take the profile's bookmarks that both stores have, and that nothing older can move, out of its list."""
    marks, counts = state.marks, state.counts
    before, mark = signed(-1), row[HEAD] - 1
    while mark >= 0:
        following = marks[mark, NEXT]
        if watermark - marks[mark, TS] > LATENESS_MS and not marks[mark, LACKED]:
            if before < 0:
                row[HEAD] = following
            else:
                marks[before, NEXT] = following
            marks[mark, NEXT] = counts[FIRST_FREE]
            counts[FIRST_FREE] = mark + 1
        else:
            before = mark
        mark = following - 1


@lean
def gather_marks(profiles: ProfileArrays, marks: np.ndarray, kept: np.ndarray) -> Word:
    """Copy the bookmarks that are somebody's into `kept`, where the profiles' lists are from now on; how many there are."""
    count = signed(0)
    for number in range(profiles.counts[USED]):
        row = profiles.rows[number]
        mark = row[HEAD] - 1
        row[HEAD] = 0
        while mark >= 0:
            for word in range(WORDS):
                kept[count, word] = marks[mark, word]
            kept[count, NEXT] = row[HEAD]
            count += 1
            row[HEAD] = count
            mark = marks[mark, NEXT] - 1
    return count


@lean
def forget_some(watermark: Word, looked_at: Word, profiles: ProfileArrays, state: MarkArrays) -> None:
    """The hand passes so many profiles, and what can be forgotten makes room."""
    counts = profiles.counts
    for _ in range(looked_at):
        number = counts[LOOKED_AT] if counts[LOOKED_AT] < counts[USED] else signed(0)
        counts[LOOKED_AT] = number + 1
        row = profiles.rows[number]
        if row[FLAGS] or row[SINCE] != NOTHING_WAITS:
            continue
        _forget_marks(row, watermark, state)
        if row[HEAD] == 0:
            free_row(number, profiles)

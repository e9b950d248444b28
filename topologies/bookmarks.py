"""Bookmarks: where each profile of a partition stopped in each title, and what of that a store is to be told.

What is due is a function of the log: a change waits from the clock of its event on; EVERY_MS of the clock later, or when the viewer stops,
all that has changed of its profile is due. So a store is told of a profile once a minute at the most, unless the viewer stops. It is told
what stands when it is written, which is what was due or newer. A bookmark is forgotten when both stores have it and everything older would
be late: whatever moves it then is greater.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from topologies.admission import APPLIED, DUPLICATE, LATE, Batch
from topologies.cells import BOTH, CACHE, DURABLE
from topologies.columns import INTEGER, TICK_ROW
from topologies.compiled import Word, inlined, lean, signed
from topologies.continue_watching import EVERY_MS
from topologies.dictionary import Dictionary
from topologies.events import TYPES, Tells
from topologies.marks import MarkBatch
from topologies.profiles import FLAGS, FREE, HEAD, LOOKED_AT, NOTHING_WAITS, SINCE, USED, ProfileArrays, Profiles, free_row
from topologies.sources import LATENESS_MS

# words of a bookmark's row; of the profile's other bookmarks the next + 1, or of free rows
TITLE, TS, SEQ, FINISHED, POSITION, RUNTIME, LACKED, NEXT = range(8)
WORDS: Final = 8
FLYING: Final = 4
"""A profile's flag: the last flush to the cache took bookmarks of it; whether it succeeded is known at the next. CACHE and DURABLE are
flags too: the profile is in that store's list of what is due."""

MARKS, FIRST_FREE, WAITING_FROM, WAITING_TO, DUE = range(5)
COUNTS: Final = 6
_STORES: Final = (CACHE, DURABLE)
_STOPPED: Final = int(Tells.PAUSED)
_FINISH: Final = TYPES.index("finish")
_TYPE, _TS, _SEQ, _POSITION, _RUNTIME = (INTEGER[name] for name in ("type", "ts", "seq", "position_s", "runtime_s"))
_ROOM: Final = 1024
_LOOKED_AT_A_TIME: Final = 20_000
"""Profiles that one call of `close` looks at, or an eighth of them all if that is more."""


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
def _fold(batch: Batch, title_place: Word, viewer_place: Word, clock: Word, profiles: ProfileArrays, state: MarkArrays) -> None:
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
def _lacking(numbers: np.ndarray, store: Word, flags: Word, profiles: ProfileArrays, marks: np.ndarray, bounds: np.ndarray) -> None:
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
def _taken(numbers: np.ndarray, store: Word, profiles: ProfileArrays, marks: np.ndarray, taken: np.ndarray) -> None:
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
def _list_due(numbers: np.ndarray, store: Word, profiles: ProfileArrays, state: MarkArrays) -> None:
    """Have these profiles in the store's list once. What waits of them goes on waiting."""
    place = signed(store) >> signed(1)
    for at in range(numbers.shape[0]):
        row = profiles.rows[numbers[at]]
        if not row[FLAGS] & (store | FREE):
            row[FLAGS] |= store
            state.due[place, state.counts[DUE + place]] = numbers[at]
            state.counts[DUE + place] += 1


@lean
def _lack_all(store: Word, profiles: ProfileArrays, marks: np.ndarray) -> None:
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
def _close(watermark: Word, looked_at: Word, profiles: ProfileArrays, state: MarkArrays) -> None:
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


@dataclass(frozen=True, eq=False)
class MarksTaken:
    """What a flush took: rows of bookmarks, and the profiles whose they are."""

    marks: NDArray[np.int64]
    profiles: NDArray[np.int64]


class Bookmarks:
    """The bookmarks of one partition. Rows name profiles by their number in `profiles`."""

    def __init__(self, titles: Dictionary) -> None:
        self.profiles = Profiles()
        self._titles = titles
        counts, marks = np.zeros(COUNTS, dtype=np.int64), np.zeros((_ROOM, WORDS), dtype=np.int64)
        self._arrays = MarkArrays(marks, np.zeros(0, np.int64), np.zeros((0, 2), np.int64), np.zeros((2, 0), np.int64), counts)
        self._flying = np.zeros(0, dtype=np.int64)

    def rebind(self, titles: Dictionary) -> None:
        """Take the dictionary of a restored state."""
        self._titles = titles

    @property
    def nbytes(self) -> int:
        return self.profiles.nbytes + sum(array.nbytes for array in self._arrays)

    def fold(self, batch: Batch, title_place: int, viewer_place: int, clock_ms: int) -> None:
        """Follow the next rows, whose titles and profiles stand in these columns of `dims`; clock_ms: the partition's before them."""
        self._make_room(len(batch.kinds))
        _fold(batch, title_place, viewer_place, clock_ms, self.profiles.arrays, self._arrays)

    def _make_room(self, rows: int) -> None:
        """For so many more bookmarks and waiting profiles, and for every title and profile that is known."""
        state = self._arrays
        begin, end = int(state.counts[WAITING_FROM]), int(state.counts[WAITING_TO])
        if end + rows > len(state.waiting):  # what has waited long enough stands at the beginning
            state = state._replace(waiting=_grown(state.waiting[begin:end], end - begin + rows))
            state.counts[WAITING_FROM], state.counts[WAITING_TO] = 0, end - begin
        state = state._replace(
            marks=_grown(state.marks, int(state.counts[MARKS]) + rows), runtimes=_grown(state.runtimes, len(self._titles))
        )
        if state.due.shape[1] < len(self.profiles.arrays.rows):
            due = np.zeros((2, len(self.profiles.arrays.rows)), dtype=np.int64)
            due[:, : state.due.shape[1]] = state.due
            state = state._replace(due=due)
        self._arrays = state

    # -- flushes ------------------------------------------------------------------------------------------------

    def take(self, store: int) -> tuple[MarkBatch, MarksTaken]:
        """The bookmarks that are due and that the store lacks, as they stand."""
        state, table = self._arrays, self.profiles.arrays
        place = _STORES.index(store)
        if store == CACHE:
            table.rows[self._flying, FLAGS] &= ~FLYING
        numbers = state.due[place, : int(state.counts[DUE + place])].copy()
        state.counts[DUE + place] = 0
        bounds = np.zeros(len(numbers) + 1, dtype=np.int64)
        _lacking(numbers, store, FLYING if store == CACHE else 0, table, state.marks, bounds)
        taken = np.empty(int(bounds[-1]), dtype=np.int64)
        _taken(numbers, store, table, state.marks, taken)
        some = np.diff(bounds) > 0
        numbers, bounds = numbers[some], np.concatenate([bounds[:1], bounds[1:][some]])
        if store == CACHE:
            self._flying = numbers
        rows = state.marks[taken]
        batch = MarkBatch(table.pool, self.profiles.people(numbers), bounds, rows[:, TITLE], rows[:, TS : RUNTIME + 1], self._titles)
        return batch, MarksTaken(taken, numbers)

    def put_back(self, taken: MarksTaken, store: int) -> None:
        """The store did not get it: it lacks these still."""
        self._arrays.marks[taken.marks, LACKED] |= store
        _list_due(taken.profiles, store, self.profiles.arrays, self._arrays)

    def mark_all(self, store: int) -> None:
        """That store is to get every bookmark that is known here again."""
        self._make_room(0)
        table = self.profiles.arrays
        _lack_all(store, table, self._arrays.marks)
        _list_due(np.arange(int(table.counts[USED])), store, table, self._arrays)

    def close(self, watermark_ms: int) -> None:
        """Forget some of what can be forgotten. Not while a flush to the durable store is under way."""
        used = int(self.profiles.arrays.counts[USED])
        _close(watermark_ms, min(used, max(_LOOKED_AT_A_TIME, used // 8)), self.profiles.arrays, self._arrays)

    # -- checkpoints --------------------------------------------------------------------------------------------

    def dump(self) -> dict[str, NDArray[Any]]:
        """For a checkpoint. What waits and what is due stands in the profiles' rows."""
        state = self._arrays
        mine = {"marks": state.marks[: int(state.counts[MARKS])].copy(), "runtimes": state.runtimes.copy(), "counts": state.counts.copy()}
        return {**mine, **{f"profile_{name}": column for name, column in self.profiles.dump().items()}}

    def load(self, dumped: Mapping[str, NDArray[Any]]) -> None:
        """Take what `dump` gave."""
        self.profiles.load({name.removeprefix("profile_"): column for name, column in dumped.items() if name.startswith("profile_")})
        counts = dumped["counts"].copy()
        counts[WAITING_FROM:] = 0
        self._arrays = self._arrays._replace(marks=dumped["marks"], runtimes=dumped["runtimes"], counts=counts)
        self._make_room(len(dumped["profile_rows"]))
        state, table = self._arrays, self.profiles.arrays
        rows = table.rows[: int(table.counts[USED])]
        rows[:, FLAGS] &= ~FLYING  # who owned it then may have failed: then the cache is behind, and is given every cell
        waiting = np.flatnonzero(rows[:, SINCE] != NOTHING_WAITS)
        waiting = waiting[np.argsort(rows[waiting, SINCE], kind="stable")]
        state.waiting[: len(waiting), 0], state.waiting[: len(waiting), 1] = waiting, rows[waiting, SINCE]
        counts[WAITING_TO] = len(waiting)
        for place, store in enumerate(_STORES):
            due = np.flatnonzero(rows[:, FLAGS] & store)
            state.due[place, : len(due)] = due
            counts[DUE + place] = len(due)

    def canonical(self, watermark_ms: int) -> dict[Any, Any]:
        """What cannot be forgotten, by name, and the runtimes. For comparing states."""
        found: dict[Any, Any] = {
            title: int(runtime)
            for title, runtime in zip([b"", *self._titles.texts()], self._arrays.runtimes.tolist(), strict=False)
            if runtime
        }
        table, marks = self.profiles.arrays, self._arrays.marks
        for number in np.flatnonzero(table.rows[: int(table.counts[USED]), FLAGS] & FREE == 0).tolist():
            mine, mark = {}, int(table.rows[number, HEAD]) - 1
            while mark >= 0:
                row = marks[mark].tolist()
                if watermark_ms - row[TS] <= LATENESS_MS:
                    mine[self._titles.text(row[TITLE])] = tuple(row[TS : RUNTIME + 1])
                mark = row[NEXT] - 1
            since = int(table.rows[number, SINCE])
            if mine or since != NOTHING_WAITS:
                found[self.profiles.name(number)] = (since, mine)
        return found


def _grown(rows: NDArray[np.int64], needed: int) -> NDArray[np.int64]:
    """The rows if they are so many, else twice as many and those."""
    if needed <= len(rows):
        return rows
    grown = np.zeros((2 * needed, *rows.shape[1:]), dtype=np.int64)
    grown[: len(rows)] = rows
    return grown

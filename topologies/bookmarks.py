"""Bookmarks: where each profile of a partition stopped in each title, and what of that a store is to be told.

What is due is a function of the log: a change waits from the clock of its event on; EVERY_MS of the clock later, or when the viewer stops,
all that has changed of its profile is due. So a store is told of a profile once a minute at the most, unless the viewer stops. It is told
what stands when it is written, which is what was due or newer. A bookmark is forgotten when both stores have it and everything older would
be late: whatever moves it then is greater.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from topologies.admission import Batch
from topologies.cells import CACHE, DURABLE
from topologies.dictionary import Dictionary
from topologies.mark_rows import (
    COUNTS,
    DUE,
    FLYING,
    LACKED,
    MARKS,
    NEXT,
    RUNTIME,
    TITLE,
    TS,
    WAITING_FROM,
    WAITING_TO,
    WORDS,
    MarkArrays,
    count_lacking,
    follow,
    forget_some,
    gather_marks,
    lack_all,
    list_due,
    take_lacking,
)
from topologies.marks import MarkBatch
from topologies.profiles import FLAGS, FREE, HEAD, NOTHING_WAITS, SINCE, USED, Profiles
from topologies.sources import LATENESS_MS

_STORES: Final = (CACHE, DURABLE)
_ROOM: Final = 1024
_LOOKED_AT_A_TIME: Final = 20_000
"""Profiles that one call of `close` looks at, or an eighth of them all if that is more."""


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
        follow(batch, title_place, viewer_place, clock_ms, self.profiles.arrays, self._arrays)

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
        count_lacking(numbers, store, FLYING if store == CACHE else 0, table, state.marks, bounds)
        taken = np.empty(int(bounds[-1]), dtype=np.int64)
        take_lacking(numbers, store, table, state.marks, taken)
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
        list_due(taken.profiles, store, self.profiles.arrays, self._arrays)

    def mark_all(self, store: int) -> None:
        """That store is to get every bookmark that is known here again."""
        self._make_room(0)
        table = self.profiles.arrays
        lack_all(store, table, self._arrays.marks)
        list_due(np.arange(int(table.counts[USED])), store, table, self._arrays)

    def close(self, watermark_ms: int) -> None:
        """Forget some of what can be forgotten. Not while a flush to the durable store is under way."""
        used = int(self.profiles.arrays.counts[USED])
        forget_some(watermark_ms, min(used, max(_LOOKED_AT_A_TIME, used // 8)), self.profiles.arrays, self._arrays)

    # -- checkpoints --------------------------------------------------------------------------------------------

    def dump(self) -> dict[str, NDArray[Any]]:
        """For a checkpoint. What waits and what is due stands in the profiles' rows."""
        state = self._arrays
        mine = {"marks": state.marks[: int(state.counts[MARKS])].copy(), "runtimes": state.runtimes.copy(), "counts": state.counts.copy()}
        return {**mine, **{f"profile_{name}": column for name, column in self.profiles.dump().items()}}

    def load(self, dumped: Mapping[str, NDArray[Any]]) -> None:
        """Take what `dump` gave. Rows that are nobody's stay behind: there are many of them when a store was away for long."""
        self.profiles.load({name.removeprefix("profile_"): column for name, column in dumped.items() if name.startswith("profile_")})
        table = self.profiles.arrays
        counts, marks = np.zeros(COUNTS, dtype=np.int64), np.empty_like(dumped["marks"])
        counts[MARKS] = gather_marks(table, dumped["marks"], marks)
        self._arrays = self._arrays._replace(marks=marks[: counts[MARKS]].copy(), runtimes=dumped["runtimes"], counts=counts)
        rows = table.rows[: int(table.counts[USED])]
        rows[:, FLAGS] &= ~FLYING  # who owned it then may have failed: then the cache is behind, and is given every cell
        waiting = np.flatnonzero(rows[:, SINCE] != NOTHING_WAITS)
        waiting = waiting[np.argsort(rows[waiting, SINCE], kind="stable")]
        self._make_room(len(waiting))
        state = self._arrays
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

"""The profiles of one partition: (account, profile) → number, found by 128 bits of their hash; their texts; numbers are used again."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from topologies.columns import EVENT
from topologies.compiled import Word, inlined, lean, load8, load64, mix, prefetch, signed, unsigned
from topologies.row_lookup import enter, find_slot, take_out

VIEWER: Final = "account+profile"
"""What stands for it among a row's dimensions."""
NOBODY: Final = -1

# words of a profile's row: identity; where its account begins in the pool; bytes of account and, above 32 bits, of both; first mark + 1;
# clock since when a change waits to be written, NOTHING_WAITS; flags; next free row + 1
ID_1, ID_2, BEGIN, LENGTHS, HEAD, SINCE, FLAGS, NEXT_FREE = range(8)
WORDS: Final = 8
NOTHING_WAITS: Final = -2
"""No clock: one without an event stands at −1."""
FREE: Final = 16
"""A flag: the row is nobody's. The others are topologies.bookmarks'."""

USED, FIRST_FREE, POOL_END, GARBAGE, LOOKED_AT = range(5)
COUNTS: Final = 5
_AHEAD: Final = 12
_ROOM: Final = 32_768
_ODD_1: Final = np.uint64(0x9E3779B97F4A7C15)
_ODD_2: Final = np.uint64(0xC2B2AE3D27D4EB4F)
_SEED_1: Final = np.uint64(0x13198A2E03707344)
_SEED_2: Final = np.uint64(0xA4093822299F31D0)


class ProfileArrays(NamedTuple):
    """The table as kernels take it.

    lookup i32[2^k]: row + 1 by hash of the identity, 0 where free. rows i64[capacity, WORDS]. pool u8: texts, account then profile.
    counts i64[COUNTS]: rows in use, free ones among them; first free row + 1; bytes of the pool in use, and of nobody's texts among them;
    the row that the hand looks at next.
    """

    lookup: NDArray[np.int32]
    rows: NDArray[np.int64]
    pool: NDArray[np.uint8]
    counts: NDArray[np.int64]


@inlined
def _stir(buffer: np.ndarray, start: Word, length: Word, ids: np.ndarray) -> None:
    """Go on with both words of an identity by one text. The second's steps are short: they are done while the first's multiply."""
    one, two = unsigned(ids[0]) ^ unsigned(length) * _ODD_1, unsigned(ids[1]) + unsigned(length) * _ODD_2
    at, rest = start, length
    while rest > 0:
        word = load64(buffer, at)
        if rest < 8:
            word &= (unsigned(1) << unsigned(8 * rest)) - unsigned(1)
        one = mix(one ^ word)
        two = (two ^ word) * _ODD_2
        two ^= two >> unsigned(29)
        at += 8
        rest -= 8
    ids[0] = signed(one)
    ids[1] = signed(two)


@inlined
def _identify(buffer: np.ndarray, account: Word, account_length: Word, profile: Word, length: Word, ids: np.ndarray) -> None:
    ids[0] = signed(_SEED_1)
    ids[1] = signed(_SEED_2)
    _stir(buffer, account, account_length, ids)
    _stir(buffer, profile, length, ids)
    ids[1] = signed(mix(unsigned(ids[1])))


@inlined
def _new_row(buffer: np.ndarray, account: np.ndarray, profile: np.ndarray, ids: np.ndarray, table: ProfileArrays) -> Word:
    counts, rows = table.counts, table.rows
    number = counts[FIRST_FREE] - 1
    if number >= 0:
        counts[FIRST_FREE] = rows[number, NEXT_FREE]
    else:
        number = counts[USED]
        counts[USED] = number + 1
    end = counts[POOL_END]
    row = rows[number]
    row[:] = 0
    row[ID_1] = ids[0]
    row[ID_2] = ids[1]
    row[BEGIN] = end
    row[LENGTHS] = account[1] | (account[1] + profile[1]) << signed(32)
    row[SINCE] = NOTHING_WAITS
    for at in range(account[1]):
        table.pool[end + at] = load8(buffer, account[0] + at)
    for at in range(profile[1]):
        table.pool[end + account[1] + at] = load8(buffer, profile[0] + at)
    counts[POOL_END] = end + account[1] + profile[1]
    return number


@lean
def _identify_all(buffer: np.ndarray, kinds: np.ndarray, accounts: np.ndarray, profiles: np.ndarray, ids: np.ndarray) -> Word:
    """ids i64[n, 2]: each event's. Returns the bytes of all their texts."""
    length = signed(0)
    for row in range(kinds.shape[0]):
        if kinds[row] == EVENT:
            _identify(buffer, accounts[row, 0], accounts[row, 1], profiles[row, 0], profiles[row, 1], ids[row])
            length += accounts[row, 1] + profiles[row, 1]
    return length


@lean
def _intern(
    buffer: np.ndarray,
    kinds: np.ndarray,
    accounts: np.ndarray,
    profiles: np.ndarray,
    ids: np.ndarray,
    table: ProfileArrays,
    numbers: np.ndarray,
) -> None:
    """numbers i32[n], NOBODY of what is no event; the table has room."""
    count, mask = kinds.shape[0], unsigned(table.lookup.shape[0] - 1)
    for row in range(count):
        far, near = row + 2 * _AHEAD, row + _AHEAD
        if far < count:
            prefetch(table.lookup, signed(unsigned(ids[far, 0]) & mask))
        if near < count:
            number = signed(table.lookup[unsigned(ids[near, 0]) & mask]) - 1
            if number >= 0:
                prefetch(table.rows, number * WORDS)
        if kinds[row] != EVENT:
            numbers[row] = NOBODY
            continue
        slot = find_slot(table.lookup, table.rows, ids[row, 0], ids[row, 1])
        number = signed(table.lookup[slot]) - 1
        if number < 0:
            number = _new_row(buffer, accounts[row], profiles[row], ids[row], table)
            table.lookup[slot] = number + 1
        numbers[row] = number


@lean
def _reindex(table: ProfileArrays) -> None:
    """Have each row found; the lookup is empty."""
    for number in range(table.counts[USED]):
        if not table.rows[number, FLAGS] & FREE:
            enter(number, table.lookup, table.rows)


@lean
def _identify_again(table: ProfileArrays) -> None:
    """Each row's identity, from its texts."""
    for number in range(table.counts[USED]):
        row = table.rows[number]
        if not row[FLAGS] & FREE:
            account, both = row[LENGTHS] & signed(0xFFFFFFFF), row[LENGTHS] >> signed(32)
            _identify(table.pool, row[BEGIN], account, row[BEGIN] + account, both - account, row[ID_1 : ID_2 + 1])


@lean
def _gather_texts(table: ProfileArrays, pool: np.ndarray) -> Word:
    """Copy the texts that are somebody's into `pool`; where they end."""
    end = signed(0)
    for number in range(table.counts[USED]):
        row = table.rows[number]
        if row[FLAGS] & FREE:
            continue
        begin, length = row[BEGIN], row[LENGTHS] >> signed(32)
        row[BEGIN] = end
        for at in range(length):
            pool[end + at] = table.pool[begin + at]
        end += length
    return end


@inlined
def free_row(number: Word, table: ProfileArrays) -> None:
    """The profile is forgotten."""
    lookup, rows, counts = table.lookup, table.rows, table.counts
    take_out(number, lookup, rows)
    counts[GARBAGE] += rows[number, LENGTHS] >> signed(32)
    rows[number, FLAGS] = FREE
    rows[number, SINCE] = NOTHING_WAITS
    rows[number, NEXT_FREE] = counts[FIRST_FREE]
    counts[FIRST_FREE] = number + 1


class Profiles:
    """The table, and how it grows. A profile that nobody has a bookmark of is forgotten by topologies.bookmarks."""

    def __init__(self) -> None:
        counts = np.zeros(COUNTS, dtype=np.int64)
        self.arrays = ProfileArrays(_lookup(1024), np.zeros((1024, WORDS), dtype=np.int64), np.zeros(_ROOM, dtype=np.uint8), counts)

    @property
    def nbytes(self) -> int:
        return sum(array.nbytes for array in self.arrays)

    def intern(
        self, buffer: NDArray[np.uint8], kinds: NDArray[np.uint8], accounts: NDArray[np.int64], profiles: NDArray[np.int64]
    ) -> NDArray[np.int32]:
        """Number the profiles of n rows, NOBODY of what is no event; new ones get numbers. accounts, profiles i64[n, 2]: start and length,
        as Dictionary.intern has them."""
        ids, numbers = np.zeros((len(kinds), 2), dtype=np.int64), np.empty(len(kinds), dtype=np.int32)
        self._make_room(len(kinds), _identify_all(buffer, kinds, accounts, profiles, ids))
        _intern(buffer, kinds, accounts, profiles, ids, self.arrays, numbers)
        return numbers

    def _make_room(self, profiles: int, length: int) -> None:
        """For so many more profiles, whose texts are so long together."""
        table = self.arrays
        needed = int(table.counts[USED]) + profiles
        if needed > len(table.rows):
            rows = np.zeros((max(needed, 2 * len(table.rows)), WORDS), dtype=np.int64)
            rows[: len(table.rows)] = table.rows
            self.arrays = table = table._replace(rows=rows, lookup=_lookup(len(rows)))
            _reindex(table)
        if int(table.counts[POOL_END]) + length > len(table.pool):
            used = int(table.counts[POOL_END] - table.counts[GARBAGE])
            pool = np.zeros(2 * (used + length) + _ROOM, dtype=np.uint8)  # a new one: what a flush took still reads the old
            table.counts[POOL_END] = _gather_texts(table, pool)
            table.counts[GARBAGE] = 0
            self.arrays = table._replace(pool=pool)

    def dump(self) -> dict[str, NDArray[Any]]:
        """For a checkpoint: the rows, whose identities follow from their texts, and the texts."""
        table = self.arrays
        rows = table.rows[: int(table.counts[USED])].copy()
        rows[:, :BEGIN] = 0
        return {"rows": rows, "pool": table.pool[: int(table.counts[POOL_END])].copy(), "counts": table.counts.copy()}

    def load(self, dumped: Mapping[str, NDArray[Any]]) -> None:
        """Take what `dump` gave, without what is nobody's: a profile's number is another one then."""
        known = dumped["rows"][dumped["rows"][:, FLAGS] & FREE == 0]
        used, length = len(known), int((known[:, LENGTHS] >> 32).sum())
        rows, pool = np.zeros((max(1024, 2 * used), WORDS), dtype=np.int64), np.zeros(2 * length + _ROOM, dtype=np.uint8)
        rows[:used] = known
        counts = np.zeros(COUNTS, dtype=np.int64)
        counts[USED] = used
        counts[POOL_END] = _gather_texts(ProfileArrays(_lookup(1), rows, dumped["pool"], counts), pool)
        self.arrays = ProfileArrays(_lookup(len(rows)), rows, pool, counts)
        _identify_again(self.arrays)
        _reindex(self.arrays)

    def people(self, numbers: NDArray[np.int64]) -> NDArray[np.int64]:
        """i64[n, 3]: where each one's account begins in the pool, where it ends and the profile begins, and where that ends."""
        begins, lengths = self.arrays.rows[numbers, BEGIN], self.arrays.rows[numbers, LENGTHS]
        return np.stack([begins, begins + (lengths & 0xFFFFFFFF), begins + (lengths >> 32)], axis=1)

    def name(self, number: int) -> tuple[bytes, bytes]:
        """Account and profile."""
        [(begin, middle, end)] = self.people(np.array([number])).tolist()
        return self.arrays.pool[begin:middle].tobytes(), self.arrays.pool[middle:end].tobytes()


def _lookup(capacity: int) -> NDArray[np.int32]:
    """An empty one, a quarter full when all rows are."""
    return np.zeros(1 << (4 * capacity - 1).bit_length(), dtype=np.int32)

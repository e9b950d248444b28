"""Accounts' names, `TAG-0000123`, which are Kafka's keys: written by kernels, and kept as numbers until a record needs one."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from loadgen.draws import murmur2
from topologies.compiled import kernel, lean

_LEAST_DIGITS: Final = 7
_DIGITS: Final = 19


def prefix_of(tag: str) -> NDArray[np.uint8]:
    """What every account of a run begins with, u8."""
    return np.frombuffer(f"{tag}-".encode(), np.uint8)


@lean
def write_account(prefix: Any, number: int, out: Any, at: int) -> int:
    """Writes the account's name at `at`; → where it ends."""
    for i in range(len(prefix)):
        out[np.uint64(at + i)] = prefix[i]
    at += len(prefix)
    rest, digits, limit = np.uint64(number), np.uint64(_LEAST_DIGITS), np.uint64(10**_LEAST_DIGITS)
    while rest >= limit and digits < np.uint64(_DIGITS):
        digits += np.uint64(1)
        limit *= np.uint64(10)
    end = np.uint64(at) + digits
    for j in range(np.uint64(1), digits + np.uint64(1)):
        fewer = rest // np.uint64(10)
        out[end - j] = np.uint8(np.uint64(48) + rest - fewer * np.uint64(10))
        rest = fewer
    return int(end)


def other_key(account: bytes) -> bytes:
    """The key under which the rest of a session comes whose key changes. It begins with the run's tag, as every key does."""
    return account + b".moved"


@kernel
def _write_all(prefix: Any, accounts: Any, width: int, out: Any) -> None:
    for i in range(len(accounts)):
        write_account(prefix, accounts[i], out, i * width)


def keys_of(prefix: NDArray[np.uint8], accounts: NDArray[np.int64]) -> list[bytes]:
    """The names of accounts i8[n]."""
    width = len(prefix) + max(7, len(str(int(accounts.max(initial=0)))))
    out = np.zeros(width * len(accounts), np.uint8)  # numpy takes the zeros behind a shorter name for its end
    _write_all(prefix, accounts, width, out)
    found: list[bytes] = out.view(f"S{width}").tolist() if len(accounts) else []
    return found


@kernel
def _homes(prefix: Any, accounts: Any, partitions: int, homes: Any) -> None:
    name = np.empty(len(prefix) + _DIGITS, np.uint8)
    for i in range(len(accounts)):
        homes[i] = murmur2(name, 0, write_account(prefix, accounts[i], name, 0)) % partitions


def homes_of(prefix: NDArray[np.uint8], accounts: NDArray[np.int64], partitions: int) -> NDArray[np.int32]:
    """The partition of each account among so many, as the Java client's default partitioner chooses it by its name."""
    homes = np.empty(len(accounts), np.int32)
    _homes(prefix, accounts, partitions, homes)
    return homes

"""Who is at work on a run: its parent alone, and its processes, told by locks on files that the kernel lets go when they die."""

from __future__ import annotations

import fcntl
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from topologies.errors import UsageError

_OWNER: Final = "owner.lock"
_SENDERS: Final = "senders.lock"
GONE_S: Final = 320.0
"""A process whose parent has died ends when the broker has confirmed or failed what it had handed over: after five minutes at the most."""


@contextmanager
def owned(path: Path, patience_s: float = GONE_S) -> Iterator[None]:
    """Within, the run in this directory is this process's alone. UsageError while another has it, or its processes do not end."""
    with (path / _OWNER).open("a") as owner:
        if not _taken(owner.fileno(), fcntl.LOCK_EX):
            raise UsageError(f"the run {path.name!r} is going on in another process; stop that first")
        deadline = time.monotonic() + patience_s
        while not senders_gone(path):
            if time.monotonic() > deadline:
                raise UsageError(f"processes of the run {path.name!r} still send; try again when they have ended")
            time.sleep(0.05)
        yield


@contextmanager
def sending(path: Path) -> Iterator[None]:
    """Within, this process may hand over records of the run, or have some that the broker has not confirmed."""
    with (path / _SENDERS).open("a") as senders:
        fcntl.flock(senders, fcntl.LOCK_SH)
        yield


def senders_gone(path: Path) -> bool:
    """Whether no process sends for the run."""
    return _free(path / _SENDERS)


def goes_on(path: Path) -> bool:
    """Whether anybody is at work on the run."""
    return not (_free(path / _OWNER) and _free(path / _SENDERS))


def _free(lock: Path) -> bool:
    with lock.open("a") as file:
        return _taken(file.fileno(), fcntl.LOCK_EX)


def _taken(descriptor: int, how: int) -> bool:
    try:
        fcntl.flock(descriptor, how | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True

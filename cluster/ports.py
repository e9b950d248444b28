"""Free ports on the loopback interface.

A server listens seconds after its port was chosen. Who chooses a port therefore holds a lock on a file of that name until it ends, and no
other process that looks for one here chooses it meanwhile.
"""

from __future__ import annotations

import fcntl
import os
import random
import socket
import tempfile
import threading
from collections.abc import Iterable
from pathlib import Path
from typing import Final

LOOPBACK: Final = "127.0.0.1"
# Below Linux' range for outgoing connections (32768 and up), which could take a port between its choice and its use.
_RANGE: Final = range(20_000, 32_768)
_LOCKS: Final = Path(tempfile.gettempdir()) / f"marquee-ports-{os.getuid()}"
_choosing = threading.Lock()
"""Two threads that try one port at once would each find it taken, by the other."""
_random = random.SystemRandom()
_chosen: dict[int, int] = {}
"""The descriptors that hold this process's locks, by port."""


def is_free(port: int) -> bool:
    """Whether a server could listen there now."""
    with socket.socket() as probe:
        # As servers do: a closed connection that lingers is no hindrance, a listener is.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
            probe.listen(1)
        except OSError:
            return False
    return True


def listening(port: int) -> bool:
    """Whether somebody accepts connections there."""
    with socket.socket() as probe:
        probe.settimeout(1.0)
        return probe.connect_ex((LOOPBACK, port)) == 0


def pick(preferred: int = 0, taken: Iterable[int] = ()) -> int:
    """The preferred port if it is free and not among `taken`, else any free one. 0 prefers none.

    No other process is given it while this one lives; this one may be given it again.
    """
    avoid = set(taken)
    if preferred and preferred not in avoid and _choose(preferred):
        return preferred
    for port in _random.sample(_RANGE, len(_RANGE)):
        if port not in avoid and _choose(port):
            return port
    raise OSError("no free port between 20000 and 32767 on 127.0.0.1")


def _choose(port: int) -> bool:
    """Whether it is free, and no other process's choice."""
    with _choosing:
        return _taken(port)


def _taken(port: int) -> bool:
    if port in _chosen:
        return is_free(port)
    _LOCKS.mkdir(mode=0o700, exist_ok=True)
    lock = os.open(_LOCKS / str(port), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock)
        return False
    if not is_free(port):
        os.close(lock)
        return False
    _chosen[port] = lock
    return True

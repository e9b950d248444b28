"""Free ports on the loopback interface."""

from __future__ import annotations

import random
import socket
from collections.abc import Iterable
from typing import Final

LOOPBACK: Final = "127.0.0.1"
# Below Linux' range for outgoing connections (32768 and up), which could take a port between its choice and its use.
_RANGE: Final = range(20_000, 32_768)
_random = random.SystemRandom()


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
    """The preferred port if it is free and not among `taken`, else any free one. 0 prefers none."""
    avoid = set(taken)
    if preferred and preferred not in avoid and is_free(preferred):
        return preferred
    for port in _random.sample(_RANGE, len(_RANGE)):
        if port not in avoid and is_free(port):
            return port
    raise OSError("no free port between 20000 and 32767 on 127.0.0.1")

"""Who gives a command: for what is kept of it."""

from __future__ import annotations

import getpass
import socket


def who() -> str:
    """The operating system's user and machine."""
    try:
        return f"{getpass.getuser()}@{socket.gethostname()}"
    except (KeyError, OSError):  # a container's user may have no name
        return socket.gethostname()

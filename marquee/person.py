"""Who gives a command, and what is kept of it."""

from __future__ import annotations

import getpass
import socket
import time

from connectors.operations import Operation


def who() -> str:
    """The operating system's user and machine."""
    try:
        return f"{getpass.getuser()}@{socket.gethostname()}"
    except (KeyError, OSError):  # a container's user may have no name
        return socket.gethostname()


def operation(command: str, target: str) -> Operation:
    """The entry of the audit log for a command that is about to be carried out: `source accept-gap`, say, and of what."""
    return Operation(time.time_ns() // 1_000_000, who(), "", command, target, "")

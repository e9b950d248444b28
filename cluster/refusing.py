"""Whether nobody is behind an address any more: its machine says so by refusing the connection."""

from __future__ import annotations

import socket
from typing import Final
from urllib.parse import urlsplit

from cluster.discovery import Member

PATIENCE_S: Final = 0.5


def refuses(member: Member) -> bool:
    """True when the member's machine answers that nobody listens there. One that says nothing, or whose name cannot be looked up, shows
    nothing; nor does a member without an address."""
    there = urlsplit(member.address)
    if there.hostname is None or there.port is None:
        return False
    try:
        socket.create_connection((there.hostname, there.port), PATIENCE_S).close()
    except ConnectionRefusedError:
        return True
    except OSError:
        return False
    return False

"""Where our own doors listen, and how who started them is told that they answer."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Final

from topologies.errors import UsageError

Presence = Callable[[str], AbstractContextManager[object]]
"""Given the address at which a door answers, `http://host:port`: a context within which others find it there. It must not wait for anybody,
nor raise."""
EVERYWHERE: Final = ("0.0.0.0", "::")
"""What a door listens on that listens at all addresses of its machine."""


def unannounced(_address: str) -> AbstractContextManager[object]:
    """The presence of a door that nobody is told of."""
    return nullcontext()


def listen(host: str, port: int, section: str, what: str) -> tuple[socket.socket, str]:
    """A listening socket, and its address, `http://host:port`. port 0: any free one. At all addresses of the machine (0.0.0.0, ::) the
    address that others are told has the machine's name, which is the one that they can ask.

    section: of the settings `http_host` and `http_port` that said so; what: whose port it is, for the message. Raises UsageError when it
    cannot be had.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        opened = socket.create_server((host, port), family=family)
    except OSError as error:
        raise UsageError(
            f"the {what}'s HTTP port {port} at {host} cannot be had ({error.strerror or error}); "
            f"set {section}.http_port to a free one, or to 0 for any, and {section}.http_host to an address of this machine"
        ) from error
    shown = socket.gethostname() if host in EVERYWHERE else f"[{host}]" if family == socket.AF_INET6 else host
    return opened, f"http://{shown}:{opened.getsockname()[1]}"


@contextmanager
def short_path(path: Path) -> Iterator[str]:
    """The path of a Unix socket by way of its open directory: it may be longer than the 107 bytes that a socket's name can have (unix(7)).
    Raises OSError where there is no such directory."""
    directory = os.open(path.parent, os.O_PATH | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{directory}/{path.name}"
    finally:
        os.close(directory)


def tell_ready(file: Path, about: Mapping[str, object]) -> None:
    """Writes the ready file, JSON: who waits for it sees nothing or all of it."""
    partial = file.with_suffix(".partial")
    partial.write_text(json.dumps(about))
    partial.rename(file)

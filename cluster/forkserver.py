"""The owner's side of a fork server: workers and APIs are forked from a process that has loaded and compiled what they need, instead of
each spending two to four seconds of CPU on it. The server's own side is marquee/forkserver.py."""

from __future__ import annotations

import atexit
import json
import os
import select
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from topologies.errors import ServerAway

COMMAND: Final = (sys.executable, "-m", "marquee.forkserver")
ORDER_BYTES: Final = 512 * 1024
"""An order, which has a whole environment in it, is to be smaller."""
_READ_AT_IMPORT: Final = ("PYTHON", "NUMBA_", "OPENBLAS_", "OMP_", "ARROW_", "MALLOC_", "LD_")
"""Variables that begin so are read when a process or a library starts, and say what there is to import: they are the server's. Of the
others each child has its own."""


class ForkServer:
    """A process that prepares itself once and then forks what is ordered, until its owner ends, however that happens."""

    def __init__(self, log: Path) -> None:
        """Starts it; returns at once. What it has to say is appended to `log`."""
        self.log = log
        self._orders, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs, log.open("ab") as output:
            self._orders.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, ORDER_BYTES)
            self._process = subprocess.Popen(
                [*COMMAND, str(theirs.fileno())],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                pass_fds=(theirs.fileno(),),
                # Ctrl-C in a terminal goes to the owner alone, which stops its children in order.
                start_new_session=True,
            )

    def alive(self) -> bool:
        return self._process.poll() is None

    def prepared(self) -> bool:
        """Whether it forks at once, or is gone. Does not wait."""
        told = select.poll()
        told.register(self._orders, select.POLLIN)
        return bool(told.poll(0))

    def fork(
        self, command: Sequence[str], log: int, words: int, environment: Mapping[str, str], cwd: Path, cores: str, niceness: int
    ) -> None:
        """Orders a guardian (cluster/guardian.py) with a child that runs `marquee COMMAND…`; returns at once. What both say goes to `log`,
        the guardian's lines to `words`, file descriptors of the caller. Raises ServerAway when the server is gone."""
        order = {
            "command": list(command),
            "environment": dict(environment),
            "cwd": str(cwd),
            "cores": cores,
            "niceness": niceness,
            "owner": os.getpid(),
        }
        message = json.dumps(order).encode()
        if len(message) > ORDER_BYTES:
            raise ServerAway(
                f"`marquee {command[0]}` cannot be started: its environment is {len(message):,} bytes, of at most {ORDER_BYTES:,}."
            )
        try:
            socket.send_fds(self._orders, [message], [log, words])
        except OSError as error:
            raise ServerAway(
                f"`marquee {command[0]}` could not be started: its fork server is gone ({error}); {self.log} says why."
            ) from error

    def close(self) -> None:
        """It ends at once, prepared or not; those it forked go on. Twice is the same as once."""
        self._orders.close()
        self._process.kill()
        self._process.wait()

    def forget(self) -> None:
        """For a process forked from the owner: the server does not wait for this one's end too."""
        self._orders.close()


_lock = threading.Lock()
_server: ForkServer | None = None
_prepared_for: dict[str, str] = {}


def fork_server(log: Path) -> ForkServer:
    """This process' fork server: started when first asked for, when the last one ended, or when this process' environment asks for
    another one (by PYTHONPATH, say, which tells what views there are). `log` is that of a server which is started, and may go before it.
    Ends with this process."""
    global _server, _prepared_for
    environment = {name: value for name, value in os.environ.items() if name.startswith(_READ_AT_IMPORT)}
    with _lock:
        if _server is not None and (environment != _prepared_for or not _server.alive()):
            old, _server = _server, None
            old.close()
        if _server is None:
            _server, _prepared_for = ForkServer(log), environment
        return _server


def set_aside() -> ForkServer | None:
    """The next worker is forked from a server that is started then, out of the code that is installed by then. Gives the one that was,
    which stands by: close it, or put it back. None where there was none."""
    global _server
    with _lock:
        aside, _server = _server, None
        return aside


def put_back(aside: ForkServer | None) -> None:
    """Workers are forked from this one again, which was set aside; the one that was started meanwhile ends."""
    global _server
    with _lock:
        meanwhile, _server = _server, aside
        if meanwhile is not None:
            meanwhile.close()


def _in_a_fork_of_the_owner() -> None:
    global _server
    if _server is not None:
        _server.forget()
        _server = None


os.register_at_fork(after_in_child=_in_a_fork_of_the_owner)


@atexit.register
def _close() -> None:
    if _server is not None:
        _server.close()

"""What another terminal asks of the process that keeps a cluster up: a request and what comes of it, over a socket in its directory.

    ask(directory, "roll") ──► Control.next() ──► Request.say(…) …, Request.end(…)

Lines of JSON: {"do": "roll"}, then {"said": …} for each thing to tell, then {"failed": …} or {"done": true}. Who asked may go; what was
begun goes on.
"""

from __future__ import annotations

import contextlib
import json
import logging
import queue
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from connectors.closing import Closing
from connectors.sockets import short_path
from topologies.errors import Conflict, MarqueeError, ServerAway

log = logging.getLogger(__name__)
SOCKET: Final = "control.sock"
PATIENCE_S: Final = 900.0
"""Who asked waits so long for the next word: a worker that drains and starts on a busy machine says nothing meanwhile."""
ASKED_S: Final = 5.0
"""Who connects says what it wants within so long."""
MOST_BYTES: Final = 4_096


class Request:
    """One that was asked. Its answers never raise: who asked may be gone."""

    def __init__(self, connection: socket.socket, do: str) -> None:
        self._connection = connection
        self.do = do

    def say(self, text: str) -> None:
        """Tells how it goes."""
        self._send({"said": text})

    def end(self, failed: str = "", *, conflict: bool = False) -> None:
        """Tells that it is done, or why not. Nothing can be said after it. conflict: it is not as who asked had it."""
        self._send({"failed": failed, "conflict": conflict} if failed else {"done": True})
        self._connection.close()

    def _send(self, message: dict[str, object]) -> None:
        with contextlib.suppress(OSError):
            self._connection.sendall(json.dumps(message).encode() + b"\n")


class Control(Closing):
    """Takes requests from its making to `close`, on a thread of its own; its owner asks for the next when it has time."""

    def __init__(self, directory: Path) -> None:
        """A socket that an earlier owner left in the directory is replaced."""
        self._path = directory / SOCKET
        self._path.unlink(missing_ok=True)
        self._listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        with short_path(self._path) as address:
            self._listening.bind(address)
        self._path.chmod(0o600)
        self._listening.listen()
        self._closed = False
        self._asked: queue.SimpleQueue[Request] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._take, name="control", daemon=True)
        self._thread.start()

    def next(self) -> Request | None:
        """The oldest request that was not handed out yet; None when there is none. Does not wait."""
        try:
            return self._asked.get_nowait()
        except queue.Empty:
            return None

    def _take(self) -> None:
        while True:
            try:
                connection, _ = self._listening.accept()
            except OSError as error:
                if self._closed:
                    return
                log.warning("a request could not be taken: %s", error)
                time.sleep(1.0)
                continue
            try:
                connection.settimeout(ASKED_S)
                do = json.loads(connection.makefile("rb").readline(MOST_BYTES))["do"]
            except (OSError, ValueError, TypeError, KeyError):  # nobody who knows how to ask
                connection.close()
                continue
            self._asked.put(Request(connection, str(do)))

    def close(self) -> None:
        """Takes no more; those who wait are told so. Twice does nothing more."""
        self._closed = True
        self._path.unlink(missing_ok=True)
        with contextlib.suppress(OSError):
            self._listening.shutdown(socket.SHUT_RDWR)  # which wakes the thread
        self._listening.close()
        self._thread.join(ASKED_S + 1)
        while (request := self.next()) is not None:
            request.end("the cluster is being stopped")


def ask(directory: Path, do: str, on_word: Callable[[str], None]) -> None:
    """Asks the owner of this directory's cluster, and returns when it is done; what is said meanwhile goes to `on_word`.

    Raises ServerAway when nobody takes requests there or the owner ends before it is done, MarqueeError when it could not be done, Conflict
    when that is because something is not as was said.
    """
    path = directory / SOCKET
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(PATIENCE_S)
        try:
            with short_path(path) as address:
                connection.connect(address)
            connection.sendall(json.dumps({"do": do}).encode() + b"\n")
            for line in connection.makefile("rb"):
                message = json.loads(line)
                if "said" in message:
                    on_word(message["said"])
                elif message.get("done"):
                    return
                else:
                    raise (Conflict if message["conflict"] else MarqueeError)(message["failed"])
        except FileNotFoundError:
            raise ServerAway(f"nothing that can be asked runs in {directory}; `marquee up` starts it") from None
        except TimeoutError as error:
            raise ServerAway(f"{do!r} was asked for, and nothing was said of it for {PATIENCE_S:.0f} s") from error
        except OSError as error:
            raise ServerAway(f"nothing in {directory} can be asked ({error.strerror or error}); `marquee up` starts it") from error
    raise ServerAway("the cluster's owner ended before it was done; its own terminal says why")

"""One process of the API: listens, says when it is ready, and drains on SIGTERM or Ctrl-C."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import signal
import socket
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Final

import uvicorn
import uvloop
from litestar import Litestar

from connectors.logs import set_up
from connectors.sockets import Presence, listen, tell_ready, unannounced
from serving.api.addresses import as_addressed
from serving.api.app import DOORS, application
from serving.api.routes import Roster, nobody_known
from topologies.settings import Settings

log = logging.getLogger(__name__)
SWITCH_S: Final = 0.0005
"""A thread that reckons an answer holds the others up for so long at a time: the loop that reads requests and writes answers waits for it
several times a request. Python's own 5 ms would be half of what a point may take."""


class Server(uvicorn.Server):
    """Says that it is ready, and is there to be found, once it answers; it is found no more before it drains."""

    def __init__(self, app: Litestar, address: str, ready_file: Path | None, drain_s: float, presence: Presence = unannounced) -> None:
        super().__init__(
            uvicorn.Config(
                as_addressed(app),
                log_config=None,
                access_log=False,
                lifespan="on",
                server_header=False,
                timeout_graceful_shutdown=max(1, round(drain_s)),
            )
        )
        self._app = app
        self._address = address
        self._ready_file = ready_file
        self._presence = presence
        self._present = ExitStack()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begins to answer."""
        await super().startup(sockets)
        if not self.started or self.should_exit:
            return
        self._present.enter_context(self._presence(self._address))
        log.info("ready: the dashboard is at %s/, the API is described at /docs", self._address)
        if self._ready_file is not None:
            tell_ready(self._ready_file, {"pid": os.getpid(), "http": self._address})

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Answers what was begun; streams would go on for ever, so they end."""
        await asyncio.to_thread(self._present.close)
        if (hub := self._app.state.get("hub")) is not None:
            hub.end()
        await super().shutdown(sockets)


def run(
    settings: Settings,
    ready_file: Path | None,
    doors: Sequence[str] = DOORS,
    presence: Presence = unannounced,
    roster: Roster = nobody_known,
) -> int:
    """Answers until SIGTERM or SIGINT; returns the exit code. Raises UsageError when its port cannot be had. doors: some of DOORS."""
    api = settings.api
    set_up(api.log_format, "api")
    sys.setswitchinterval(SWITCH_S)
    opened, address = listen(api.http_host, api.http_port, "api", "API")
    server = Server(application(settings, doors, roster), address, ready_file, api.drain_s, presence)
    _keep_what_stands()

    def on_signal(_number: int, _frame: object) -> None:
        """uvicorn stops by itself and then raises the signal again, which is not to end the process on its way out."""

    before = {number: signal.signal(number, on_signal) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        uvloop.run(server.serve(sockets=[opened]))
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        opened.close()
        if ready_file is not None:
            ready_file.unlink(missing_ok=True)
    return 0 if server.started else 1


def _keep_what_stands() -> None:
    """What is there when it begins stays until the end, so the garbage collector need not go through it: each time it did, the answer in
    whose midst that fell took 55 ms of CPU longer, on a busy machine."""
    gc.collect()
    gc.freeze()

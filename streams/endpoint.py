"""The worker's HTTP door: `/metrics`, `/healthz`, `/readyz`.

It runs in a thread with an event loop of its own, so that it answers while the fold holds the worker's loop, and when that one is
stuck. A request has a few seconds for everything and a connection carries one request: a slow client costs a socket for that long.
"""

from __future__ import annotations

import asyncio
import http
import json
import socket
import threading
from collections.abc import Callable
from typing import Final

from prometheus_client.exposition import choose_encoder

from connectors.sockets import listen
from streams.health import Health
from streams.metrics import REGISTRY
from topologies.errors import UsageError
from topologies.settings import WorkerSettings

REQUEST_S: Final = 5.0
LOOP_S: Final = 4.0
"""Of these, for what the worker's loop has to answer."""
HEAD_BYTES: Final = 8_192
CONNECTIONS: Final = 64
"""More at once are turned away."""
_JSON: Final = "application/json"
Answer = tuple[int, str, bytes]


class Endpoint:
    """Listens from `start` to `close`."""

    def __init__(self, settings: WorkerSettings, health: Health) -> None:
        self._settings = settings
        self._health = health
        self._routes: dict[str, Callable[[str], Answer]] = {"/healthz": self._healthz, "/readyz": self._readyz}
        self._main: asyncio.AbstractEventLoop | None = None
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="http", daemon=True)
        self._open = 0
        self._socket: socket.socket | None = None
        self._stop = asyncio.Event()

    def start(self) -> str:
        """Listens; returns the address, `http://host:port`. To be called on the worker's event loop.

        Raises UsageError when it cannot listen there.
        """
        self._main = asyncio.get_running_loop()
        try:
            self._socket, address = listen(self._settings.http_host, self._settings.http_port, "worker", "worker")
        except UsageError:
            self._loop.close()
            raise
        self._thread.start()
        return address

    def close(self) -> None:
        """Stops listening. Twice does nothing more."""
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._stop.set)
            self._thread.join(REQUEST_S)

    def _run(self) -> None:
        try:
            self._loop.run_until_complete(self._listen())
        finally:
            self._loop.close()

    async def _listen(self) -> None:
        server = await asyncio.start_server(self._serve, sock=self._socket, limit=HEAD_BYTES)
        async with server:
            await self._stop.wait()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open += 1
        try:
            if self._open <= CONNECTIONS:
                async with asyncio.timeout(REQUEST_S):
                    await self._converse(reader, writer)
        except (TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, ConnectionError):
            pass  # a client that is slow, gone, or speaks something else gets no answer
        finally:
            self._open -= 1
            writer.transport.abort() if writer.transport.get_write_buffer_size() else writer.close()

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        line, *fields = head.splitlines()
        words = line.split()
        method, target = (words[0], words[1]) if len(words) == 3 else ("", "")
        accept = next((field.partition(":")[2].strip() for field in fields if field.lower().startswith("accept:")), "")
        status, kind, body = await self._answer(method, target.partition("?")[0], accept)
        lines = [
            f"HTTP/1.1 {status} {http.HTTPStatus(status).phrase}",
            f"Content-Type: {kind}",
            f"Content-Length: {len(body)}",
            "Cache-Control: no-store",
            *(["Allow: GET, HEAD"] if status == http.HTTPStatus.METHOD_NOT_ALLOWED else []),
            "Connection: close",
        ]
        writer.write("\r\n".join([*lines, "", ""]).encode("latin-1") + (b"" if method == "HEAD" else body))
        await writer.drain()

    async def _answer(self, method: str, path: str, accept: str) -> Answer:
        if not method:
            return _said(400, "this is no HTTP request")
        if path != "/metrics" and path not in self._routes:
            return _said(404, f"there is no {path}; there are /metrics, /healthz and /readyz")
        if method not in ("GET", "HEAD"):
            return _said(405, f"{path} takes GET, not {method}")
        return await self._metrics(accept) if path == "/metrics" else self._routes[path](accept)

    async def _metrics(self, accept: str) -> Answer:
        """Rendered on the worker's loop, between two batches, so that what a source says is of one offset."""
        assert self._main is not None
        encode, kind = choose_encoder(accept)

        async def rendered() -> bytes:
            return encode(REGISTRY)

        waiting = asyncio.wrap_future(asyncio.run_coroutine_threadsafe(rendered(), self._main))
        try:
            async with asyncio.timeout(LOOP_S):
                return 200, kind, await waiting
        except TimeoutError:
            return _said(503, "the worker's loop has not turned for seconds; /healthz says for how long")

    def _healthz(self, _accept: str) -> Answer:
        alive, document = self._health.alive()
        return 200 if alive else 503, _JSON, json.dumps(document).encode()

    def _readyz(self, _accept: str) -> Answer:
        ready, document = self._health.ready()
        return 200 if ready else 503, _JSON, json.dumps(document).encode()


def _said(status: int, sentence: str) -> Answer:
    return status, _JSON, json.dumps({"status": status, "reason": sentence}).encode()

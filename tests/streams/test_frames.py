"""However a broker's answers come in pieces, they are whole when they are read, and what ends a connection is told to who waits on it."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable
from io import BytesIO
from typing import Any

import pytest
from aiokafka.errors import CorrelationIdError
from aiokafka.protocol.fetch import FetchRequest_v11, FetchResponse_v11
from hypothesis import given
from hypothesis import strategies as st

from streams.frames import LEAST_BYTES, MOST_BYTES, FrameConnection, FrameProtocol

TIMEOUT_S = 60.0


def protocol(deliver: Callable[[memoryview], None]) -> FrameProtocol:
    """In the running loop."""
    loop = asyncio.get_running_loop()
    made = FrameProtocol(loop.create_future(), asyncio.StreamReader(loop=loop), loop=loop)
    made.deliver = deliver
    return made


def feed(receiving: FrameProtocol, sent: bytes) -> None:
    """As a socket does: as much at a time as the buffer takes."""
    while sent:
        room = receiving.get_buffer(-1)
        taken = sent[: len(room)]
        room[: len(taken)] = taken
        receiving.buffer_updated(len(taken))
        sent = sent[len(taken) :]


def framed(answers: Iterable[bytes]) -> bytes:
    return b"".join(len(answer).to_bytes(4, "big") + answer for answer in answers)


@given(st.lists(st.binary(max_size=40) | st.integers(0, 3 * LEAST_BYTES).map(lambda size: b"x" * size), max_size=6), st.data())
def test_answers_in_any_pieces_are_delivered_whole_and_in_order(answers: list[bytes], data: st.DataObject) -> None:
    async def received() -> list[bytes]:
        found: list[bytes] = []
        receiving = protocol(lambda frame: found.append(bytes(frame)))
        sent = framed(answers)
        cuts = sorted(data.draw(st.lists(st.integers(0, len(sent)), max_size=8)))
        for begin, end in zip([0, *cuts], [*cuts, len(sent)], strict=True):
            feed(receiving, sent[begin:end])
        return found

    assert asyncio.run(received()) == answers


def test_the_buffer_grows_to_the_greatest_answer_and_what_is_beyond_its_bound_is_given_back() -> None:
    async def sizes() -> list[int]:
        receiving = protocol(lambda _: None)
        found = []
        for size in (10, 2 * LEAST_BYTES, 10, MOST_BYTES, 10):
            feed(receiving, framed([bytes(size)]))
            feed(receiving, framed([b"next"]))
            found.append(len(receiving.get_buffer(-1)))
        return found

    grown = 2 * LEAST_BYTES + 4
    assert asyncio.run(sizes()) == [LEAST_BYTES, grown, grown, LEAST_BYTES, LEAST_BYTES]


def _refuse(_: memoryview) -> None:
    raise LookupError("unasked")


@pytest.mark.parametrize(
    ("end", "expected"),
    [
        (lambda receiving: feed(receiving, b"\xff\xff\xff\xff"), ConnectionError),
        (lambda receiving: feed(receiving, framed([b"answer", b"another"])), LookupError),
        (lambda receiving: receiving.eof_received(), EOFError),
        (lambda receiving: receiving.connection_lost(None), EOFError),
        (lambda receiving: receiving.connection_lost(TimeoutError()), TimeoutError),
    ],
)
def test_who_waits_on_a_connection_is_told_what_ended_it(end: Callable[[FrameProtocol], None], expected: type[Exception]) -> None:
    async def ended() -> None:
        receiving = protocol(_refuse)
        waiting = asyncio.create_task(receiving.run())
        end(receiving)
        feed(receiving, framed([b"is not looked at"]))
        with pytest.raises(expected):
            await asyncio.wait_for(waiting, TIMEOUT_S)

    asyncio.run(ended())


def answered(frame: bytes) -> Any:
    """What an open connection gives to who asked for a fetch with the correlation 7, when that answer comes."""

    async def outcome() -> Any:
        connection = FrameConnection("nowhere", 1)
        request = FetchRequest_v11(-1, 0, 1, 1, 1, 0, 0, [], [], "")
        waiting = asyncio.get_running_loop().create_future()
        connection._requests = deque([(7, request, waiting)])
        connection._handle_frame(memoryview(frame))
        return await asyncio.wait_for(waiting, TIMEOUT_S)

    return asyncio.run(outcome())


FETCHED = FetchResponse_v11(
    0,
    0,
    0,
    [("events", [(3, 0, 99, 98, 0, [(5, 50)], -1, b"records" * 1000), (4, 1, -1, -1, -1, None, -1, None), (5, 0, 9, 9, 0, [], -1, b"")])],
)


def test_a_fetch_that_is_read_where_it_is_says_what_aiokafka_reads() -> None:
    body = FETCHED.encode()
    found, expected = answered((7).to_bytes(4, "big") + body), FetchResponse_v11.decode(BytesIO(body))
    assert found.topics == expected.topics == FETCHED.topics
    assert type(found.topics[0][1][0][-1]) is bytes


def test_an_answer_to_another_question_is_an_error() -> None:
    with pytest.raises(CorrelationIdError):
        answered((8).to_bytes(4, "big") + FETCHED.encode())

"""Requests over keep-alive connections, in closed loop or due at their times: what benchmarks of the doors share.

Whole requests are prepared as bytes and answers read to their end, so that the client costs little beside the server that is measured.
"""

from __future__ import annotations

import asyncio
import ctypes
import multiprocessing
import os
import signal
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from cluster import guardian
from cluster.ports import LOOPBACK
from cluster.supervisor import DOOR_NICENESS


@dataclass
class Course:
    """What came back: ms of each answer that was wanted, and how many requests got another one, or none."""

    latencies_ms: list[float] = field(default_factory=list)
    errors: int = 0
    wall_s: float = 0.0

    def document(self) -> dict[str, Any]:
        """The figures that every door's benchmark has."""
        times = np.array(self.latencies_ms)
        p50, p99, most = np.percentile(times, (50, 99, 100)) if len(times) else (0.0, 0.0, 0.0)
        return {
            "requests": len(times),
            "requests_per_s": round(len(times) / max(self.wall_s, 1e-9)),
            "p50_ms": round(float(p50), 2),
            "p99_ms": round(float(p99), 2),
            "max_ms": round(float(most), 2),
            "errors": self.errors,
        }


def get(port: int, target: str) -> bytes:
    """A GET of a path and query, as bytes."""
    return f"GET {target} HTTP/1.1\r\nHost: {LOOPBACK}:{port}\r\nAccept: application/json\r\n\r\n".encode()


async def drive(
    port: int, requests: Sequence[bytes], connections: int, duration_s: float, rate: float | None = None, wanted: int = 200
) -> Course:
    """Sends until the time is over, a request a connection at a time, the requests over and over. At a rate (requests a second) each is due
    at its time, whatever became of others, and its time counts from then. wanted: the status of a good answer."""
    course = Course()
    begun = time.perf_counter()
    due = (begun + number / rate for number in range(int(duration_s * rate))) if rate else None
    work = zip(_around(requests), due, strict=False) if due else ((request, None) for request in _around(requests))
    await asyncio.gather(*(_converse(port, work, begun + duration_s, course, wanted) for _ in range(connections)))
    course.wall_s = time.perf_counter() - begun
    return course


class Clients(ProcessPoolExecutor):
    """A process of its own that drives, and weighs as much as who answers: it stands for clients on other machines, which do not wait for
    this one's cores. Use as a context manager."""

    def __init__(self) -> None:
        super().__init__(1, multiprocessing.get_context("spawn"), _stand_apart, (os.getpid(),))

    def drive(
        self, port: int, requests: Sequence[bytes], connections: int, duration_s: float, rate: float | None = None, wanted: int = 200
    ) -> Course:
        """As `drive`."""
        return self.submit(_drive, port, requests, connections, duration_s, rate, wanted).result()


def _drive(*arguments: Any) -> Course:
    return asyncio.run(drive(*arguments))


def _stand_apart(owner: int) -> None:
    os.setsid()
    libc = ctypes.CDLL(None)
    libc.prctl(guardian.PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != owner:
        os._exit(1)
    guardian.weigh(libc, DOOR_NICENESS)


def _around(requests: Sequence[bytes]) -> Iterator[bytes]:
    while True:
        yield from requests


async def _converse(port: int, work: Iterator[tuple[bytes, float | None]], until: float, course: Course, wanted: int) -> None:
    reader, writer = await asyncio.open_connection(LOOPBACK, port)
    for request, due in work:
        now = time.perf_counter()
        if due is not None and due > now:
            await asyncio.sleep(due - now)
        elif due is None and now >= until:
            break
        begun = time.perf_counter() if due is None else due
        try:
            writer.write(request)
            status = await _status(reader)
        except (OSError, asyncio.IncompleteReadError):  # closed in the middle: whoever is next asks over another connection
            course.errors += 1
            writer.close()
            reader, writer = await asyncio.open_connection(LOOPBACK, port)
            continue
        if status == wanted:
            course.latencies_ms.append((time.perf_counter() - begun) * 1000)
        else:
            course.errors += 1
    writer.close()
    await writer.wait_closed()


async def _status(reader: asyncio.StreamReader) -> int:
    """Of one answer, which is read to its end."""
    head = await reader.readuntil(b"\r\n\r\n")
    lines = head.lower().split(b"\r\n")
    length = next(int(line.partition(b":")[2]) for line in lines if line.startswith(b"content-length:"))
    await reader.readexactly(length)
    return int(lines[0].split()[1])

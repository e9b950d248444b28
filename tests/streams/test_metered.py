"""The CPU meter counts a coroutine's own steps, and is otherwise not there."""

from __future__ import annotations

import asyncio
import time

import pytest

from streams.metered import CpuMeter


def burn(seconds: float) -> None:
    begun = time.thread_time()
    while time.thread_time() - begun < seconds:
        pass


async def test_only_the_coroutines_own_steps_are_counted() -> None:
    other = asyncio.Event()

    async def own() -> str:
        burn(0.02)
        await other.wait()
        burn(0.02)
        return "done"

    async def between() -> None:
        burn(0.3)
        other.set()

    meter = CpuMeter()
    busy = asyncio.create_task(between())
    assert await meter.run(own()) == "done"
    await busy
    assert 0.04 <= meter.spent_s < 0.2


async def test_errors_come_through() -> None:
    async def fails() -> None:
        await asyncio.sleep(0)
        raise ValueError("mine")

    with pytest.raises(ValueError, match="mine"):
        await CpuMeter().run(fails())


async def test_cancellation_reaches_the_coroutine() -> None:
    cleaned: list[bool] = []

    async def waits() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            cleaned.append(True)

    async def metered() -> None:
        await CpuMeter().run(waits())

    task = asyncio.create_task(metered())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert cleaned == [True]

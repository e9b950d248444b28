"""The CPU meter counts a coroutine's own steps, and is otherwise not there."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace

import pytest

from streams import metered as metered_module
from streams.metered import CpuMeter


async def test_only_the_coroutines_own_steps_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    other, burnt_s = asyncio.Event(), 0

    def burn(seconds: int) -> None:
        nonlocal burnt_s
        burnt_s += seconds

    monkeypatch.setattr(metered_module, "time", SimpleNamespace(thread_time=lambda: burnt_s))

    async def own() -> str:
        burn(2)
        await other.wait()
        burn(3)
        return "done"

    async def between() -> None:
        burn(100)
        other.set()

    meter = CpuMeter()
    busy = asyncio.create_task(between())
    assert await meter.run(own()) == "done"
    await busy
    assert meter.spent_s == 5


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

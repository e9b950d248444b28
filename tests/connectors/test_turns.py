"""Turns at a server: a few at a time, and nobody waits for one who hangs."""

import asyncio

from connectors.turns import Turns


async def test_so_many_have_their_turn_at_once() -> None:
    turns, there, most = Turns(2, 60), 0, 0

    async def ask() -> None:
        nonlocal there, most
        async with turns.turn():
            there += 1
            most = max(most, there)
            await asyncio.sleep(0.01)
            there -= 1

    await asyncio.gather(*(ask() for _ in range(7)))
    assert (there, most) == (0, 2)


async def test_who_has_waited_long_enough_goes_on() -> None:
    turns, over = Turns(1, 0.05), asyncio.Event()

    async def hang() -> None:
        async with turns.turn():
            await over.wait()

    hanging = asyncio.create_task(hang())
    await asyncio.sleep(0)
    passed = 0
    for _ in range(2):
        async with turns.turn():
            passed += 1
    assert passed == 2
    over.set()
    await hanging

"""The CPU that one coroutine takes of the event loop's thread, whatever else runs between its steps."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine, Generator
from types import coroutine
from typing import Any, ParamSpec, TypeVar

T = TypeVar("T")
P = ParamSpec("P")


class CpuMeter:
    """Adds up `spent_s`, seconds of CPU. Not counted: tasks that the coroutine starts, and threads unless by `in_thread`."""

    def __init__(self) -> None:
        self.spent_s = 0.0

    @coroutine
    def run(self, work: Coroutine[Any, Any, T]) -> Generator[Any, Any, T]:
        """Await `work`; its result and its exceptions are passed on, as cancellation is to it."""
        step, argument = work.send, None
        while True:
            begun = time.thread_time()
            try:
                waiting_for = step(argument)
            except StopIteration as done:
                result: T = done.value
                return result
            finally:
                self.spent_s += time.thread_time() - begun
            try:
                argument = yield waiting_for
                step = work.send
            except BaseException as error:  # noqa: BLE001  # thrown in, to be passed on
                argument, step = error, work.throw

    async def in_thread(self, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """The call's result, from another thread, whose CPU counts too."""

        def metered() -> T:
            begun = time.thread_time()
            try:
                return call(*args, **kwargs)
            finally:
                self.spent_s += time.thread_time() - begun

        return await asyncio.to_thread(metered)

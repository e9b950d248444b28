"""The CPU that one coroutine takes of the event loop's thread, whatever else runs between its steps."""

from __future__ import annotations

import time
from collections.abc import Coroutine, Generator
from types import coroutine
from typing import Any, TypeVar

T = TypeVar("T")


class CpuMeter:
    """Adds up `spent_s`, seconds of the thread's CPU. Not counted: tasks and threads that the coroutine starts."""

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

"""Ctrl-C and SIGTERM, for commands that run until told to stop."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Final

_BOTH: Final = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def _handled(handler: Callable[[int, FrameType | None], object] | signal.Handlers, *numbers: signal.Signals) -> Iterator[None]:
    before = {number: signal.signal(number, handler) for number in numbers}
    try:
        yield
    finally:
        for number, former in before.items():
            signal.signal(number, former)


@contextmanager
def interruptible() -> Iterator[None]:
    """SIGTERM raises KeyboardInterrupt here, as Ctrl-C does, so that both unwind through the same `finally`."""
    with _handled(signal.default_int_handler, signal.SIGTERM):
        yield


@contextmanager
def told_to_stop() -> Iterator[Callable[[], bool]]:
    """Tells whether Ctrl-C or SIGTERM has come: the first interrupts nothing; a second one raises KeyboardInterrupt where it comes.

    For what takes locks all the time, others' too: an exception between taking one and giving it back would leave it taken for ever.
    """
    asked = False

    def note(number: int, frame: FrameType | None) -> None:
        nonlocal asked
        if asked:
            signal.default_int_handler(number, frame)
        asked = True

    with _handled(note, *_BOTH):
        yield lambda: asked


@contextmanager
def undisturbed() -> Iterator[None]:
    """Neither interrupts what is done here: the orderly stop, that a second Ctrl-C must not leave half done."""
    with _handled(signal.SIG_IGN, *_BOTH):
        yield

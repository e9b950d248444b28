"""Ctrl-C and SIGTERM, for commands that run until told to stop."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def interruptible() -> Iterator[None]:
    """SIGTERM raises KeyboardInterrupt here, as Ctrl-C does, so that both unwind through the same `finally`."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


class Told:
    """Whether the person, or the system, has asked to stop."""

    def __init__(self) -> None:
        self._asked = False

    def ask(self) -> None:
        self._asked = True

    def asked(self) -> bool:
        return self._asked


@contextmanager
def told_to_stop() -> Iterator[Told]:
    """The first Ctrl-C or SIGTERM is noted, and interrupts nothing; a second one raises KeyboardInterrupt where it comes.

    For what takes locks all the time, others' too: an exception between taking one and giving it back would leave it taken for ever.
    """
    told = Told()

    def note(number: int, frame: FrameType | None) -> None:
        if told.asked():
            signal.default_int_handler(number, frame)
        told.ask()

    before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield told
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def undisturbed() -> Iterator[None]:
    """Neither interrupts what is done here: the orderly stop, that a second Ctrl-C must not leave half done."""
    before = {number: signal.signal(number, signal.SIG_IGN) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)

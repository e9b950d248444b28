"""The first request to stop interrupts nothing, the second does."""

import os
import signal

import pytest

from marquee.following import follow
from marquee.shown import Shown
from marquee.signals import told_to_stop
from topologies.errors import ServerAway


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_request_is_noted_and_the_second_interrupts(number: signal.Signals) -> None:
    before = signal.getsignal(number)
    with told_to_stop() as asked:
        assert not asked()
        os.kill(os.getpid(), number)
        assert asked()
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), number)
    assert signal.getsignal(number) is before


def test_ctrl_c_comes_between_two_looks_never_within_one() -> None:
    finished = 0

    def look() -> Shown:
        nonlocal finished
        os.kill(os.getpid(), signal.SIGINT)
        finished += 1
        raise ServerAway("no server runs")

    with pytest.raises(KeyboardInterrupt):
        follow(look, 60, as_json=True)
    assert finished == 1

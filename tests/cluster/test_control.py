"""What one process asks of another over its control socket, and what it is told."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from cluster.control import SOCKET, Control, Request, ask
from cluster.process import wait_until
from tests.cluster.registry_conformance import PATIENCE_S
from topologies.errors import MarqueeError, ServerAway


@pytest.fixture
def far(tmp_path: Path) -> Path:
    """A directory whose path is longer than a socket's name can be."""
    directory = tmp_path / ("d" * 60) / ("e" * 60)
    directory.mkdir(parents=True)
    return directory


@pytest.fixture
def control(far: Path) -> Iterator[Control]:
    with Control(far) as opened:
        yield opened


def next_of(control: Control) -> Request:
    assert wait_until(lambda: not control._asked.empty(), PATIENCE_S)
    request = control.next()
    assert request is not None
    return request


def test_who_asks_is_told_all_and_returns_when_it_is_done(far: Path, control: Control) -> None:
    words: list[str] = []
    with ThreadPoolExecutor(1) as asking:
        answer = asking.submit(ask, far, "roll", words.append)
        request = next_of(control)
        assert request.do == "roll"
        request.say("one")
        request.say("two ✓")
        assert not answer.done()
        request.end()
        answer.result(PATIENCE_S)
    assert words == ["one", "two ✓"]
    assert control.next() is None


def test_what_could_not_be_done_is_raised(far: Path, control: Control) -> None:
    with ThreadPoolExecutor(1) as asking:
        answer = asking.submit(ask, far, "roll", lambda _: None)
        next_of(control).end("worker-0 ended before it was ready")
        with pytest.raises(MarqueeError, match="worker-0 ended"):
            answer.result(PATIENCE_S)


def test_where_nobody_takes_requests_that_is_said(tmp_path: Path, far: Path) -> None:
    with pytest.raises(ServerAway, match="can be asked"):
        ask(tmp_path / "nowhere", "roll", lambda _: None)
    with pytest.raises(ServerAway, match="can be asked"):
        ask(far, "roll", lambda _: None)
    Control(far).close()
    with pytest.raises(ServerAway, match="can be asked"):
        ask(far, "roll", lambda _: None)


def test_an_owner_that_stops_tells_those_who_wait(far: Path) -> None:
    control = Control(far)
    with ThreadPoolExecutor(1) as asking:
        answer = asking.submit(ask, far, "roll", lambda _: None)
        assert wait_until(lambda: not control._asked.empty(), PATIENCE_S)
        control.close()
        with pytest.raises(MarqueeError, match="being stopped"):
            answer.result(PATIENCE_S)


def test_who_goes_or_does_not_know_how_to_ask_disturbs_nobody(far: Path, control: Control, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(far)
    for words in (b"", b"what?\n", b'["roll"]\n', b"{}\n", b'{"do": "roll"}\n'):
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as stranger:
            stranger.connect(SOCKET)
            stranger.sendall(words)
    request = next_of(control)
    assert request.do == "roll"
    request.say("nobody hears this")
    request.end()

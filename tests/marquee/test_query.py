"""`marquee query --watch` as people and programs meet it: what changes is shown, what is away is said and asked again, and it ends well."""

from __future__ import annotations

import asyncio
import codecs
import json
import os
import pty
import re
import signal
import termios
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from io import StringIO
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import pytest
from rich.console import Console

from cluster.local import LocalCluster
from marquee.following import Board
from marquee.output import Sheet
from marquee.shown import Shown
from tests.marquee.running import Foreground
from tests.serving.test_answers import World, live, without_cassandra, world_of
from topologies.settings import Settings

WATCH = ("query", "concurrents", "--by", "title", "--watch", "--every", "0.2")
PATIENCE_S = 120.0


class Written:
    """What is written to an end of a pipe or of a terminal, which is given away once; gathered until nobody can write any more."""

    def __init__(self, source: int, into: int) -> None:
        self._source = source
        self._into: int | None = into
        self._text = ""
        self._news = threading.Condition()
        self._reader = threading.Thread(target=self._read)

    def __enter__(self) -> Self:
        self._reader.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        with self.given():
            pass
        self._reader.join()
        os.close(self._source)

    @contextmanager
    def given(self) -> Iterator[int | None]:
        """The end to write to, for others only: it is closed here. None when it was given away before."""
        into, self._into = self._into, None
        try:
            yield into
        finally:
            if into is not None:
                os.close(into)

    def _read(self) -> None:
        decoder = codecs.getincrementaldecoder("utf-8")()  # a character may come in two parts
        while chunk := self._chunk():
            with self._news:
                self._text += decoder.decode(chunk)
                self._news.notify_all()

    def _chunk(self) -> bytes:
        try:
            return os.read(self._source, 65_536)
        except OSError:  # so a terminal says that nobody has it open any more
            return b""

    def wait(self, pattern: str) -> str:
        """All of it, once the pattern is in it."""
        with self._news:
            assert self._news.wait_for(lambda: re.search(pattern, self._text), PATIENCE_S), self._text
            return self._text

    def whole(self) -> str:
        """All of it, once nobody can write any more."""
        self._reader.join(PATIENCE_S)
        assert not self._reader.is_alive()
        return self._text


def terminal() -> Written:
    """A terminal of 24 lines of 100 columns."""
    source, into = pty.openpty()
    termios.tcsetwinsize(into, (24, 100))
    return Written(source, into)


@pytest.fixture
def world(settings: Settings) -> Iterator[World]:
    with world_of(settings) as opened:
        yield opened


def watching(directory: Path, settings: Settings, written: Written, *more: str) -> Foreground:
    environment = {**settings.environment(), "TERM": "xterm-256color", "COLUMNS": "100", "LINES": "24"}
    with written.given() as into:
        return Foreground(directory, *WATCH, *more, environment=environment, stdout=into)


def viewers(line: str) -> Any:
    return [cell["viewers"] for cell in json.loads(line)["cells"]]


def test_what_changes_is_shown_in_place_on_a_terminal_and_line_by_line_in_a_pipe(world: World, tmp_path: Path) -> None:
    asyncio.run(world.both(world.status(0), [live("first", 3)]))
    with terminal() as screen, Written(*os.pipe()) as lines:
        with watching(tmp_path, world.settings, screen) as seen, watching(tmp_path, world.settings, lines, "--json") as piped:
            assert re.search(r"first +3", screen.wait(r"as of \S+, [0-9.,]+ s ago"))
            lines.wait(r"\n")
            asyncio.run(world.both(world.status(0, 200), [live("first", 1_234)]))
            assert "\x1b[1A\x1b[2K" in screen.wait(r"first +1,234")
            lines.wait(r'"viewers":1234[^\n]*\n')
            seen.signal(signal.SIGINT)
            piped.signal(signal.SIGTERM)
            assert (seen.ended(PATIENCE_S), piped.ended(PATIENCE_S)) == (0, 0)
            assert (seen.said, piped.said) == ("", "")
        assert screen.whole().rpartition("\x1b[?25")[2].startswith("h")  # the cursor is there again
        documents = lines.whole().splitlines()
    assert (viewers(documents[0]), viewers(documents[-1])) == ([3], [1_234])


@pytest.fixture
def lone(bare_settings: Settings, tmp_path: Path) -> Iterator[LocalCluster]:
    """A Redis of this test's own, so that it can be killed."""
    with LocalCluster(tmp_path / "lone", bare_settings, services=("redis",), preferred={"redis": 0}) as running:
        yield running


def test_a_store_that_is_away_is_said_once_and_asked_again(settings: Settings, lone: LocalCluster, tmp_path: Path) -> None:
    redis = replace(settings.redis, url=lone.settings.redis.url)
    with world_of(replace(settings, redis=redis)) as world, Written(*os.pipe()) as lines:
        asyncio.run(world.cache(world.status(0), [live("first", 3)]))
        with watching(tmp_path, without_cassandra(world.settings), lines, "--json") as piped:
            lines.wait(r'"viewers":3[^\n]*\n')
            lone.kill("redis")
            piped.wait_said("asking again every 0.2 s", PATIENCE_S)
            lone.restart("redis")
            asyncio.run(world.cache(world.status(0), [live("first", 5)]))
            lines.wait(r'"viewers":5[^\n]*\n')
            piped.signal(signal.SIGTERM)
            assert piped.ended(PATIENCE_S) == 0
            assert re.search(r"Redis at \S+ does not answer", piped.said)
            assert "Traceback" not in piped.said


def test_a_terminal_that_is_too_small_says_how_much_is_cut_and_how_it_stands() -> None:
    to = Console(file=StringIO(), width=60, height=8, force_terminal=True, color_system=None)
    board = Board(to)
    assert "asking" in drawn(board, to)
    sheet = Sheet(("title", "viewers"), [(f"t{number}", number) for number in range(100)], right=("viewers",))
    board.tell(Shown(dict, lambda _width: sheet, lambda _later_s: "as of then"))
    board.miss("Redis is away")
    lines = drawn(board, to).splitlines()
    assert (lines[0].split(), lines[1].split()) == (["title", "viewers"], ["t0", "0"])
    assert lines[-3:] == ["… and 96 more rows; --top and --limit ask for fewer", "as of then", "Redis is away"]
    assert len(lines) <= 8


def drawn(board: Board, to: Console) -> str:
    with to.capture() as captured:
        to.print(board.picture())
    return re.sub(r" +$", "", captured.get(), flags=re.MULTILINE)

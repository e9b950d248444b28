"""`marquee query --json` and the API give the same answers to the same questions: cells, order, as of, complete, final and the rest."""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from marquee.cli import main
from tests.serving.test_answers import World
from tests.topologies.logs import Record, apply, event
from topologies.fold import PartitionState
from topologies.view import HOUR
from topologies.views import VIEWS, every_part

NOW = time.time_ns() // 1_000_000
HOURS = {"from": str(HOUR.start_of(NOW) - HOUR.length_ms), "to": str(HOUR.start_of(NOW) + HOUR.length_ms)}
QUESTIONS: list[tuple[str, dict[str, str]]] = [
    ("concurrents", {"top": "3"}),
    ("concurrents", {"by": "region", "window": "minute", "tz": "Asia/Kolkata", **HOURS}),
    ("watch_time", {"region": "eu", "top": "2", **HOURS}),
    ("watch_time", {"by": "region", "window": "day", "limit": "1"}),
    ("trending", {"region": "us", "window": "1h", "top": "3"}),
    ("trending", {"by": "title", "window": "minute", **HOURS}),
    ("audience", {"region": "eu", "top": "2", **HOURS}),
    ("sessions", {"by": "device", **HOURS}),
    ("quality", {"region": "eu", "top": "2", "limit": "1", **HOURS}),
    ("accounting", {"limit": "1"}),
]
"""Of each view, as the API is asked."""
ITS_OWN = ("lag_s", "memcached")
"""What is of each reading by itself: how long after as_of it was, and what Memcached had by then."""
Ask = Callable[..., str]


def viewing(source: int) -> Iterator[Record]:
    """A hundred minutes of plays, every third of which just ends; the last ten go on now."""
    for play in range(40):
        begun = NOW - 6_000_000 + play * 150_000
        who = {"session": f"{source}-{play}", "account": f"a{play % 7}", "profile": f"p{source}"}
        what = {"title": f"t{play % 5}", "region": ("eu", "us")[play % 2], "device": ("tv", "phone")[play % 4 // 2], "cdn": f"c{play % 2}"}
        beats = 13 if play < 30 else (NOW - begun) // 10_000 - 1
        steps: list[tuple[int, dict[str, Any]]] = [(0, {"type": "play_request"}), (900, {"type": "play_start", "startup_ms": 900 + play})]
        steps += [
            (900 + 10_000 * at, {"watched_ms": 10_000, "position_s": 10 * at, "bitrate_kbps": 4_000 + play}) for at in range(1, beats + 1)
        ]
        if play < 30 and play % 3:
            steps.append((140_000, {"type": "stop", "stall_ms": 300, "stalls": 1, "position_s": 140, "runtime_s": 3_000}))
        for number, (at, fields) in enumerate(steps):
            yield event(begun + at, seq=number, app="x", **who, **what, **fields)


@pytest.fixture
def ask(world: World, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Ask:
    """What `marquee query ARGUMENTS` prints, of this world's stores."""
    for name, value in world.settings.environment().items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path)

    def asked(*arguments: str) -> str:
        code = main(["query", *arguments])
        said = capsys.readouterr()
        assert code == 0, said.err
        return said.out + said.err

    return asked


def arguments(asked: dict[str, str]) -> Iterator[str]:
    """A query string's parameters, as the command line has them."""
    for name, value in asked.items():
        if name in ("top", "window", "from", "to", "tz", "limit"):
            yield from (f"--{name}", value)
        else:
            yield from (word for one in value.split(",") for word in ("--by", one if name == "by" else f"{name}={one}"))


async def fold(world: World) -> None:
    """Two sources' viewing, into every view."""
    for number in (0, 1):
        state = PartitionState(world.status(number).source, every_part(), bookmarks=True)
        apply(state, sorted(viewing(number), key=lambda record: record.rts))
        await world.fold(state)


def test_the_command_and_the_api_answer_alike(world: World, api: httpx.Client, ask: Ask) -> None:
    asyncio.run(fold(world))
    assert {view for view, _ in QUESTIONS} == {*VIEWS, "accounting"}
    for view, asked in QUESTIONS:
        answer = api.get(f"/v1/views/{view}", params=asked)
        assert answer.status_code == 200, answer.text
        theirs, ours = answer.json(), json.loads(ask(view, *arguments(asked), "--json"))
        assert theirs["cells"], (view, asked)
        assert ours.keys() | {"next"} == theirs.keys()
        del theirs["next"]
        if "limit" in asked:
            assert re.fullmatch(rf"the first {asked['limit']} of \d+ rows", ours["notes"].pop())
        for name in ITS_OWN:
            del ours[name], theirs[name]
        assert ours == theirs, (view, asked)
    shelf = api.get("/v1/profiles/a1/p0/continue-watching").json()
    assert shelf["titles"]
    told = json.loads(ask("continue_watching", "--by", "account=a1", "--by", "profile=p0", "--json"))
    assert {**told, "read": ""} == {**shelf, "read": ""}
    drawn_as_tables(ask)


def drawn_as_tables(ask: Ask) -> None:
    """The same as a person gets them, with how they went."""
    span = ("--from", HOURS["from"], "--to", HOURS["to"])
    series = ask("concurrents", "--by", "region", "--window", "minute", *span, "--spark", "--limit", "1", "--tz", "Asia/Kolkata")
    assert "measure" in series
    assert "the first 1 of 2 rows; sparklines: " in series
    assert "+05:30" in series
    best = ask("concurrents", "--top", "2", "--spark")
    assert "viewers by the minute" in best
    assert "█" in best
    assert "title" in ask("continue_watching", "--by", "account=a1", "--by", "profile=p0")

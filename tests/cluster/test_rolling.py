"""A rolling restart: nothing is missing on the way, and a version that does not start replaces nothing."""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from cluster.process import wait_until
from cluster.rolling import Fleet, Roll
from cluster.supervisor import Workers
from tests.cluster.registry_conformance import PATIENCE_S
from topologies.errors import MarqueeError
from topologies.settings import Settings

PROCESS = """
import json, os, signal, sys
from pathlib import Path
version = Path(sys.argv[1]).read_text()
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
name = os.environ["MARQUEE_WORKER__NAME"]
if version == "broken" or version == f"broken {name}":
    sys.exit(f"{name} does not start")
Path(sys.argv[3]).write_text(json.dumps({"version": version, "http": f"http://{name}"}))
signal.pause()
"""


@dataclass
class Stage:
    """Two workers and one door of a version that a file names, and what was up after each step."""

    version: Path
    fleet: Fleet
    taken: list[str] = field(default_factory=list)
    words: list[str] = field(default_factory=list)
    least: dict[str, int] = field(default_factory=dict)

    def up(self, group: Workers) -> int:
        return sum(group.up(index) for index in range(len(group)))

    def roll(self, meanwhile: Callable[[Roll], None] = lambda _: None) -> None:
        roll = Roll(self.fleet, self.words.append)
        ends_s = time.monotonic() + PATIENCE_S
        over = False
        while not over:
            assert time.monotonic() < ends_s, self.words
            over = roll.step()
            meanwhile(roll)
            doors = self.up(self.fleet.doors) + self.up(self.fleet.spare_doors)
            for name, count in (("workers", self.up(self.fleet.workers)), ("doors", doors)):
                self.least[name] = min(self.least.get(name, count), count)
            time.sleep(0.01)

    def workers(self) -> list[str]:
        """The names of those that are meant to run."""
        return [self.fleet.workers[index].name for index in self.fleet.workers.meant()]

    def versions(self) -> list[str]:
        groups = (self.fleet.workers, self.fleet.doors)
        return [(group.ready(index) or {})["version"] for group in groups for index in group.meant()]


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    version = tmp_path / "version"
    version.write_text("old")
    command = (sys.executable, "-c", PROCESS, str(version))
    taken: list[str] = []

    def takes(url: str) -> bool:
        """As a balancer does, that learns of a door a while after it is up."""
        taken.append(url)
        return taken.count(url) > 3

    with ExitStack() as opened:
        workers = opened.enter_context(Workers(Settings(), 2, tmp_path, command=command))
        doors = opened.enter_context(Workers(Settings(), 1, tmp_path, command=command, role="api"))
        spare = Workers(Settings(), 1, tmp_path, command=command, role="spare")
        opened.callback(spare.stop_all)
        for group in (workers, doors):
            group.wait_ready()
        yield Stage(version, Fleet(workers, doors, spare, takes), taken)


def test_each_is_replaced_and_as_many_as_before_are_up_all_the_while(stage: Stage) -> None:
    rolls = (("new", "worker-2", "worker-0", "worker-0", "worker-1"), ("newer", "worker-1", "worker-0", "worker-0", "worker-2"))
    for version, first, its_old, second, second_old in rolls:
        stage.version.write_text(version)
        stage.words.clear()
        stage.roll()
        assert stage.versions() == [version] * 3
        assert stage.least == {"workers": 2, "doors": 1}
        assert stage.workers() == sorted((first, second))
        assert stage.fleet.spare_doors.meant() == []
        assert stage.words == [
            f"{first}: works", "spare-0: takes requests", f"{its_old}: gone, its place is taken", f"{second}: works",
            f"{second_old}: gone, its place is taken", "api-0: replaced",
        ]  # fmt: skip
    assert "http://spare-0" in stage.taken


def test_workers_are_forked_from_the_version_that_was_tried(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[str] = []

    class Aside:
        def __init__(self) -> None:
            done.append("set aside")

        def close(self) -> None:
            done.append("closed")

    monkeypatch.setattr("cluster.rolling.set_aside", Aside)
    monkeypatch.setattr("cluster.rolling.put_back", lambda _: done.append("put back"))
    stage.roll()
    assert done == ["set aside", "closed"]
    done.clear()
    stage.version.write_text("broken")
    with pytest.raises(MarqueeError):
        stage.roll()
    assert done == ["set aside", "put back"]


def test_a_version_that_does_not_start_replaces_nothing(stage: Stage) -> None:
    stage.version.write_text("broken")
    with pytest.raises(MarqueeError, match=r"worker-2 ended before it was ready.*runs on as it was"):
        stage.roll()
    assert stage.versions() == ["old"] * 3
    assert stage.fleet.workers.watch() == []


def test_a_door_that_does_not_start_replaces_nothing_either(stage: Stage) -> None:
    stage.version.write_text("broken spare-0")
    with pytest.raises(MarqueeError, match="spare-0 ended before it was ready"):
        stage.roll()
    assert stage.workers() == ["worker-0", "worker-1"]
    assert stage.versions() == ["old"] * 3


def test_one_that_does_not_come_up_later_on_ends_the_roll_and_is_the_rolls_until_then(stage: Stage) -> None:
    stage.version.write_text("broken worker-0")
    coming: set[int] = set()

    def look(roll: Roll) -> None:
        coming.update(index for index in range(3) if roll.coming(stage.fleet.workers, index))

    with pytest.raises(MarqueeError, match="worker-0 ended before it was ready"):
        stage.roll(look)
    assert coming == {0, 2}
    assert stage.workers() == ["worker-1", "worker-2"]  # who was to be replaced works on
    assert stage.versions() == ["old", "broken worker-0", "old"]
    assert stage.fleet.workers.watch() == stage.fleet.doors.watch() == []
    assert stage.least == {"workers": 2, "doors": 1}


def test_the_next_roll_puts_right_what_the_last_one_left(stage: Stage) -> None:
    stage.version.write_text("broken api-0")
    with pytest.raises(MarqueeError, match="api-0"):
        stage.roll()
    stage.version.write_text("new")
    stage.roll()
    assert stage.versions() == ["new"] * 3
    assert (stage.fleet.doors.meant(), stage.fleet.spare_doors.meant()) == ([0], [])
    assert stage.up(stage.fleet.doors) == 1


def test_the_spare_door_stays_where_the_door_does_not_come_up(stage: Stage) -> None:
    stage.version.write_text("broken api-0")
    with pytest.raises(MarqueeError, match="api-0 ended before it was ready"):
        stage.roll()
    assert stage.fleet.doors.meant() == []
    assert stage.fleet.spare_doors.meant() == [0]
    assert stage.workers() == ["worker-0", "worker-2"]


def test_no_door_goes_while_the_spare_one_that_ended_is_starting_again(stage: Stage) -> None:
    stage.version.write_text("new")
    spare = stage.fleet.spare_doors
    killed = False

    def look(_: Roll) -> None:
        nonlocal killed
        if not killed and "spare-0: takes requests" in stage.words:
            killed = spare[0].process.id.signal(signal.SIGKILL)
        if "worker-1: gone, its place is taken" in stage.words:  # as `marquee up` does, which may be late
            for index in spare.watch():
                spare.restart(index)

    stage.roll(look)
    assert killed
    assert stage.versions() == ["new"] * 3
    assert stage.least == {"workers": 2, "doors": 1}


def test_who_looks_after_all_goes_on_while_the_new_version_is_loaded(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = False
    monkeypatch.setattr(stage.fleet.workers, "prepare", lambda: lambda: loaded)
    roll = Roll(stage.fleet, stage.words.append)
    for _ in range(3):
        assert not roll.step()
        assert len(stage.fleet.workers) == 2
    loaded = True
    assert not roll.step()
    assert len(stage.fleet.workers) == 3
    assert wait_until(roll.step, PATIENCE_S)

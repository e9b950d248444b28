"""A worker that times its own stages: `python -m marquee.profiled worker …` is `marquee worker` with a stopwatch around each stage.

The product has no timers in it: the functions below are wrapped before the worker starts. A stage's time is the CPU of its thread
between entry and exit, less that of the stages inside it; of coroutines only their own steps count. When the worker has ended, the
sums and the CPU of each thread go to $MARQUEE_PROFILE as JSON.
"""

from __future__ import annotations

import functools
import importlib
import inspect
import json
import os
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Generator
from pathlib import Path
from types import coroutine
from typing import Any, Final

FILE: Final = "MARQUEE_PROFILE"

STAGES: Final[dict[str, tuple[str, ...]]] = {
    "fetch": ("streams.transport:_fetched", "streams.transport:_take"),
    "decompress": ("streams.records:unpacked",),
    "walk": ("streams.records:FetchedBatches.block",),
    "rows": ("topologies.rows:RowReader.read",),
    "decode JSON": ("topologies.rows:decode",),
    "open Arrow": ("topologies.rows:open_record",),
    "judge Arrow": ("topologies.arrow_judge:judge",),
    "intern": ("topologies.rows:RowReader._numbers", "topologies.rows:RowReader._number_texts"),
    "identify": ("topologies.rows:identities",),
    "admit": ("topologies.fold:PartitionState._admit", "topologies.fold:PartitionState._sweep"),
    "fold": ("topologies.cells:TumblingCells.fold", "topologies.sparse_cells:SparseCells.fold"),
    "sketches": ("topologies.sketch_cells:SketchCells.fold",),
    "bookmarks": (
        "topologies.profiles:Profiles.intern",
        "topologies.bookmarks:Bookmarks.fold",
        "topologies.bookmarks:Bookmarks.take",
        "topologies.bookmarks:Bookmarks.close",
    ),
    "letters": ("streams.letters:Letters.send", "streams.letters:Letters.delivered"),
    "Redis: take": ("topologies.fold:PartitionState.take_cached",),
    "Redis: send": ("connectors.redis_cache:CellCache.flush",),
    "bookmarks: to Redis": ("connectors.redis_cache:CellCache.write_marks",),
    "Cassandra: take": ("topologies.fold:PartitionState.take_packs",),
    "Cassandra: send": ("connectors.cassandra_store:CellStore.write_packs", "connectors.cassandra_store:CellStore.write_status"),
    "bookmarks: to Cassandra": ("connectors.bookmark_store:BookmarkStore.write",),
    "forget": ("topologies.fold:PartitionState.close_final",),
    "checkpoint: copy": ("streams.checkpointing:dump_state",),
    "checkpoint: pack": ("streams.checkpointing:pack_state",),
    "checkpoint: send": (
        "connectors.cassandra_checkpoints:CassandraCheckpoints.write",
        "connectors.object_checkpoints:ObjectCheckpoints.write",
    ),
    "acknowledge": ("streams.partition:PartitionOwner.acknowledge",),
    "commit": ("streams.transport:Consumer.commit",),
}
"""Which functions are which stage: module:name, as their callers find them."""


class Stopwatch:
    """CPU by stage; each thread has its own stack of stages under way."""

    def __init__(self) -> None:
        self.spent_s: defaultdict[str, float] = defaultdict(float)
        self.calls: defaultdict[str, int] = defaultdict(int)
        self._here = threading.local()

    def enter(self) -> None:
        """A stage begins, or goes on, in this thread."""
        stack: list[list[float]] = self._here.__dict__.setdefault("stack", [])
        stack.append([time.thread_time(), 0.0])

    def leave(self, stage: str) -> None:
        """It ends, or waits."""
        stack: list[list[float]] = self._here.stack
        begun, inside = stack.pop()
        whole = time.thread_time() - begun
        self.spent_s[stage] += whole - inside
        if stack:
            stack[-1][1] += whole

    @coroutine
    def run(self, stage: str, work: Any) -> Generator[Any, Any, Any]:
        """Await `work`, timing its steps."""
        step, argument = work.send, None
        while True:
            self.enter()
            try:
                waiting_for = step(argument)
            except StopIteration as done:
                return done.value
            finally:
                self.leave(stage)
            try:
                argument = yield waiting_for
                step = work.send
            except BaseException as error:  # noqa: BLE001  # thrown in, to be passed on
                argument, step = error, work.throw

    def wrap(self, stage: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """The function with the stopwatch around it."""
        if inspect.iscoroutinefunction(function):

            @functools.wraps(function)
            async def timed_steps(*args: Any, **options: Any) -> Any:
                self.calls[stage] += 1
                return await self.run(stage, function(*args, **options))

            return timed_steps

        @functools.wraps(function)
        def timed(*args: Any, **options: Any) -> Any:
            self.calls[stage] += 1
            self.enter()
            try:
                return function(*args, **options)
            finally:
                self.leave(stage)

        return timed


def install(watch: Stopwatch) -> None:
    """Wrap every stage. AttributeError when a function has been renamed: then STAGES is to follow."""
    for stage, places in STAGES.items():
        for place in places:
            module, _, path = place.partition(":")
            *holders, name = path.split(".")
            holder: Any = importlib.import_module(module)
            for part in holders:
                holder = getattr(holder, part)
            setattr(holder, name, watch.wrap(stage, getattr(holder, name)))


class ThreadClocks(threading.Thread):
    """Samples the CPU of every thread of Python's, since one that has ended cannot be asked."""

    def __init__(self) -> None:
        super().__init__(daemon=True, name="thread clocks")
        self.cpu_s: dict[str, float] = {}
        self.before_s: dict[str, float] = {}
        self._seen: dict[int, tuple[str, float]] = {}

    def begin(self) -> None:
        """What has been used so far is not to count."""
        self.look()
        self.before_s = dict(self.cpu_s)

    def run(self) -> None:
        while True:
            self.look()
            time.sleep(0.2)

    def look(self) -> None:
        """Note what each living thread has used."""
        for thread in threading.enumerate():
            if thread.ident is None:
                continue
            try:
                used = time.clock_gettime(time.pthread_getcpuclockid(thread.ident))
            except OSError:
                continue
            self._seen[thread.ident] = (thread.name, used)
        self.cpu_s = {}
        for name, used in self._seen.values():
            kind = "thread pool" if name.startswith(("asyncio_", "ThreadPool")) else name
            self.cpu_s[kind] = self.cpu_s.get(kind, 0.0) + used


def begin_when_ready(watch: Stopwatch, clocks: ThreadClocks) -> None:
    """Start-up does not count: both begin when the worker has its partitions, where benchmarks begin too."""
    from streams.worker import Worker

    say_ready = Worker._ready

    def ready(worker: Worker, *args: Any) -> None:
        if not clocks.before_s:
            watch.spent_s.clear()
            watch.calls.clear()
            clocks.begin()
        say_ready(worker, *args)

    setattr(Worker, "_ready", ready)  # noqa: B010  # a plain assignment is refused by type checkers, and this is meant


def main() -> int:
    """The worker, and what it took."""
    from marquee.cli import main as marquee

    watch, clocks = Stopwatch(), ThreadClocks()
    install(watch)
    begin_when_ready(watch, clocks)
    clocks.start()
    code = marquee(sys.argv[1:])
    clocks.look()
    stages = {name: {"cpu_s": watch.spent_s[name], "calls": watch.calls[name]} for name in STAGES}
    threads = {name: used - clocks.before_s.get(name, 0.0) for name, used in clocks.cpu_s.items()}
    document = {"stages": stages, "threads": threads}
    Path(os.environ[FILE]).write_text(json.dumps(document))
    return code


if __name__ == "__main__":
    sys.exit(main())

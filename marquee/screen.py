"""What a person sees while events are driven, on stderr: a live panel on a terminal, a plain line every few seconds elsewhere; or what a
machine reads, a JSON object a line."""

from __future__ import annotations

import json
import sys
import time
from types import TracebackType
from typing import Final, Self

import click
from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from marquee.moment import Driven, Moment
from marquee.output import number
from marquee.watching import Snapshot

PLAIN_EVERY_S: Final = 2.0
JSON_EVERY_S: Final = 1.0


class Screen:
    """Shows what it is given, as often as it is useful. Use as a context manager.

    progress: auto (a panel on a terminal, lines elsewhere) | lines | json | none (what is said, and nothing in between).
    """

    def __init__(self, title: str, progress: str = "auto") -> None:
        self._title = title
        self._progress = progress
        self._console = Console(stderr=True, highlight=False, markup=False)
        panel = progress == "auto" and sys.stderr.isatty()
        self._live = Live(console=self._console, refresh_per_second=5, transient=True) if panel else None
        self._said_at = float("-inf")
        self._said = ""

    def __enter__(self) -> Self:
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._live is not None:
            self._live.stop()

    def say(self, message: str) -> None:
        """A line that stays."""
        if self._progress == "json":
            click.echo(json.dumps({"message": message}, ensure_ascii=False), err=True)
        else:
            self._console.print(message, soft_wrap=True)

    def show(self, driven: Driven, moment: Moment | None = None) -> None:
        """The present state; moment: the newest that is known of the log and of Redis."""
        if self._live is not None:
            self._live.update(picture(self._title, driven, moment))
        elif self._progress == "json":
            told = moment or Moment(time.time_ns() // 1_000_000, driven)
            self._write(json.dumps({"title": self._title, **told.document()}, ensure_ascii=False), 0.0 if moment else JSON_EVERY_S)
        elif self._progress != "none":
            self._write(_plain(driven, moment), PLAIN_EVERY_S)

    def _write(self, line: str, every_s: float) -> None:
        """One line, if it is another one, and not too soon."""
        if time.monotonic() - self._said_at >= every_s and line != self._said:
            self._said_at, self._said = time.monotonic(), line
            click.echo(line, err=True)


def _plain(driven: Driven, moment: Moment | None) -> str:
    if moment is None or not moment.counted:
        return driven.line()
    top = f"; top {moment.seen.titles[0][0]} with {number(moment.seen.titles[0][1])}" if moment.seen and moment.seen.titles else ""
    backlog = "" if moment.backlog is None else f"backlog {number(moment.backlog)}, "
    return f"{driven.line()}; {backlog}{moment.fresh()}; {moment.accounted()}; {number(moment.viewers or 0)} viewers{top}"


def picture(title: str, driven: Driven, moment: Moment | None) -> Group:
    """Progress; rate, backlog, freshness and accounting; who watches what, most watched."""
    bar = Table.grid(padding=(0, 1))
    done = ProgressBar(total=max(1, driven.wanted), completed=min(driven.acknowledged, max(1, driven.wanted)), width=40)
    bar.add_row(Text(title, style="bold"), done, Text(driven.line()))
    if moment is None or not moment.counted:
        return Group(bar)
    if moment.seen is None:
        return Group(bar, Text(""), _figures(moment))
    tables = Table.grid(padding=(0, 4))
    tables.add_row(Text(f"watching now: {number(moment.seen.viewers)}", style="bold"), Text("most watched this hour", style="bold"))
    tables.add_row(_watching_now(moment.seen), _watched(moment.seen))
    return Group(bar, Text(""), _figures(moment), Text(""), tables)


def _figures(moment: Moment) -> Table:
    drawn = Table.grid(padding=(0, 2))
    owned = ", ".join(f"{name} with {count}" for name, count in moment.workers.items())
    backlog = "not known" if moment.backlog is None else f"{number(moment.backlog)} records of the log are not in Redis"
    for name, said in (
        ("backlog", backlog),
        ("freshness", moment.fresh()),
        ("workers", f"{len(moment.workers)}: partitions {owned}" if owned else "none is heard of"),
        ("accounting", moment.accounted()),
    ):
        drawn.add_row(Text(name, style="bold"), Text(said))
    return drawn


def _watching_now(seen: Snapshot) -> Table:
    drawn = Table(box=None, pad_edge=False)
    drawn.add_column("title")
    drawn.add_column("viewers", justify="right")
    for name, viewers in seen.titles:
        drawn.add_row(Text(name), number(viewers))
    return drawn


def _watched(seen: Snapshot) -> Table:
    drawn = Table(box=None, pad_edge=False)
    drawn.add_column("title")
    drawn.add_column("region")
    drawn.add_column("hours", justify="right")
    for key, watched_ms in seen.watched:
        drawn.add_row(*(Text(part) for part in key), f"{watched_ms / 3_600_000:,.1f}")
    return drawn

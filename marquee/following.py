"""Answers that are asked for again and again: replaced in place on a terminal, one after another anywhere else."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final, NoReturn

import click
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.text import Text

from marquee.output import Sheet, console, drawn, emit, say
from marquee.shown import Look, Shown
from marquee.signals import told_to_stop, undisturbed
from topologies.errors import ServerAway, StoreError

REFRESHED_PER_S: Final = 2
"""How often the terminal is drawn: how old the answer is changes all the time."""
NOTICED_S: Final = 0.05
"""Who asks to stop waits no longer than this, and for the answer under way."""


def show(shown: Shown, *, as_json: bool, compact: bool = False) -> None:
    """One answer: its document on stdout, compact in one line; or its table there, and its standing on stderr."""
    if as_json:
        emit(shown.document(), compact=compact)
        return
    to = console()
    to.print(drawn(shown.sheet(to.width)))
    say(shown.line(0.0))


def follow(look: Look, every_s: float, *, as_json: bool) -> NoReturn:
    """Looks every so many seconds and shows what it sees; ends by what is raised, as KeyboardInterrupt is. A server that is away is said
    and asked again, as is a store that has answered before and cannot now; whatever else `look` raises ends it."""
    to = console()
    if not as_json and to.is_terminal and not to.is_dumb_terminal:
        _in_place(look, every_s, to)
    else:
        _one_by_one(look, every_s, as_json=as_json)


def _one_by_one(look: Look, every_s: float, *, as_json: bool) -> NoReturn:
    said = ""

    def tell(shown: Shown) -> None:
        nonlocal said
        said = ""
        show(shown, as_json=as_json, compact=True)
        if not as_json:
            click.echo()

    def miss(why: str) -> None:
        nonlocal said
        if why != said:
            said = why
            say(why)

    _again_and_again(look, every_s, tell, miss)


def _in_place(look: Look, every_s: float, to: Console) -> NoReturn:
    board = Board(to)
    live = Live(console=to, get_renderable=board.picture, refresh_per_second=REFRESHED_PER_S)

    def tell(shown: Shown) -> None:
        board.tell(shown)
        live.refresh()

    try:
        live.start()
        _again_and_again(look, every_s, tell, board.miss)
    finally:
        with undisturbed():  # the cursor comes back
            live.stop()


def _again_and_again(look: Look, every_s: float, tell: Callable[[Shown], None], miss: Callable[[str], None]) -> NoReturn:
    answered = False
    with told_to_stop() as asked:
        while not asked():
            begun_s = time.monotonic()
            try:
                shown = look()
            except (ServerAway, StoreError) as error:
                if isinstance(error, StoreError) and not answered:
                    raise
                miss(f"{error}; asking again every {every_s:g} s")
            else:
                answered = True
                tell(shown)
            while not asked() and (left_s := begun_s + every_s - time.monotonic()) > 0:
                time.sleep(min(left_s, NOTICED_S))
    raise KeyboardInterrupt


class Board:
    """The last answer, and why there is none since; drawn by another thread than the one that tells."""

    def __init__(self, to: Console) -> None:
        self._to = to
        self._held: tuple[Shown, float] | None = None
        self._why = ""
        self._sheet: tuple[Shown, int, Sheet] | None = None

    def tell(self, shown: Shown) -> None:
        """An answer of now."""
        self._held, self._why = (shown, time.monotonic()), ""

    def miss(self, why: str) -> None:
        """There is none now."""
        self._why = why

    def picture(self) -> RenderableType:
        """As many rows as there is room for, and below them how the answer stands."""
        held, why = self._held, self._why
        if held is None:
            return Text(why or "asking …")
        (width, height), (shown, at_s) = self._to.size, held
        sheet = self._laid_out(shown, width)
        below = [Text(shown.line(time.monotonic() - at_s)), *([Text(why, style="bold")] if why else [])]
        room = height - 2 - sum(len(text.wrap(self._to, width)) for text in below)  # its headers, and the line that says what is cut
        if len(sheet.rows) > room + 1:
            below.insert(0, Text(f"… and {len(sheet.rows) - max(1, room):,} more rows; --top and --limit ask for fewer"))
            sheet = Sheet(sheet.headers, sheet.rows[: max(1, room)], sheet.right, sheet.whole)
        return Group(drawn(sheet, one_line=True), *below)

    def _laid_out(self, shown: Shown, width: int) -> Sheet:
        if self._sheet is None or self._sheet[0] is not shown or self._sheet[1] != width:
            self._sheet = shown, width, shown.sheet(width)
        return self._sheet[2]

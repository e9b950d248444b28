"""What commands print: one JSON document or tables on stdout, messages on stderr."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

PIPE_WIDTH = 1_000
"""Columns of a table that goes into a pipe: nothing is cut or wrapped there."""

json_option = click.option("--json", "as_json", is_flag=True, help="One JSON document on stdout.")
report_option = click.option("--report", type=click.Path(path_type=Path), help="Write the report, a page with charts, to this file.")
progress_option = click.option(
    "--progress",
    type=click.Choice(["auto", "lines", "json", "none"]),
    default="auto",
    show_default=True,
    help="On stderr: a panel on a terminal, else lines; or a JSON object a line.",
)


def say(message: str) -> None:
    """A message for the person, on stderr."""
    click.echo(message, err=True)


def emit(document: object, *, compact: bool = False) -> None:
    """The one JSON document of a command; compact: in one line, where more of them follow."""
    laid_out: dict[str, Any] = {"separators": (",", ":")} if compact else {"indent": 2}
    click.echo(json.dumps(document, ensure_ascii=False, **laid_out))


@dataclass(frozen=True)
class Sheet:
    """A table before it is drawn. right: headers of the columns that are numbers; whole: of those that are never broken into lines."""

    headers: Sequence[str]
    rows: Sequence[Sequence[object]]
    right: Sequence[str] = ()
    whole: Sequence[str] = ()


def console() -> Console:
    """Stdout for tables: as wide as the terminal, or PIPE_WIDTH."""
    from rich.console import Console

    return Console(file=sys.stdout, width=None if sys.stdout.isatty() else PIPE_WIDTH, highlight=False, markup=False)


def drawn(sheet: Sheet, title: str = "", *, one_line: bool = False) -> Table:
    """The table. A dash stands where there is nothing to tell (None). one_line: each row is one line, and what is too long is cut."""
    from rich.table import Table
    from rich.text import Text

    made = Table(box=None, pad_edge=False, header_style="bold", title=title or None, title_justify="left")
    for header in sheet.headers:
        alone = one_line or header in sheet.whole
        justify: Literal["left", "right"] = "right" if header in sheet.right else "left"
        made.add_column(header, justify=justify, overflow="ellipsis" if one_line else "fold", no_wrap=alone)
    for row in sheet.rows:
        made.add_row(*(Text(text(cell)) for cell in row))
    return made


def table(headers: Sequence[str], rows: Sequence[Sequence[object]], right: Sequence[str] = (), title: str = "") -> None:
    """A table on stdout; the columns named in `right` are numbers. A dash stands where there is nothing to tell (None)."""
    console().print(drawn(Sheet(headers, rows, right), title))


def text(cell: object) -> str:
    """What a table has of a cell."""
    if cell is None:
        return "-"
    return number(cell) if isinstance(cell, int | float) else str(cell)


def number(value: float) -> str:
    """A number with thousands separated; fractions to three places at the most."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:,}" if isinstance(value, int) else f"{value:,.3f}".rstrip("0").rstrip(".")


def instant(epoch_ms: int | None) -> str:
    """An instant as ISO 8601 in UTC with milliseconds; a dash when there is none."""
    if epoch_ms is None or epoch_ms < 0:
        return "-"
    return datetime.fromtimestamp(epoch_ms / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")

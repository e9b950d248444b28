"""What commands print: one JSON document or tables on stdout, messages on stderr."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import click

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


def emit(document: object) -> None:
    """The one JSON document of a command."""
    click.echo(json.dumps(document, indent=2, ensure_ascii=False))


def table(headers: Sequence[str], rows: Sequence[Sequence[object]], right: Sequence[str] = (), title: str = "") -> None:
    """A table on stdout; the columns named in `right` are numbers. A dash stands where there is nothing to tell (None)."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console(file=sys.stdout, width=None if sys.stdout.isatty() else PIPE_WIDTH, highlight=False, markup=False)
    drawn = Table(box=None, pad_edge=False, header_style="bold", title=title or None, title_justify="left")
    for header in headers:
        drawn.add_column(header, justify="right" if header in right else "left", overflow="fold")
    for row in rows:
        drawn.add_row(*(Text(_shown(cell)) for cell in row))
    console.print(drawn)


def _shown(cell: object) -> str:
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

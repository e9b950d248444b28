"""`--format`: how events that are made are written."""

from __future__ import annotations

from typing import Final

import click

format_option: Final = click.option(
    "--format", "encoding", type=click.Choice(["json", "arrow"]), default="json", show_default=True, help="Events as."
)

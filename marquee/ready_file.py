"""`--ready-file`, of commands that run until told to stop; or the environment variable, for images that look at it (marquee/healthy.py)."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, TypeVar

import click

VARIABLE: Final = "MARQUEE_READY_FILE"
Command = TypeVar("Command", bound=Callable[..., Any])


def _writable(_context: click.Context, _parameter: click.Parameter, file: Path | None) -> Path | None:
    if file is not None and not os.access(file.absolute().parent, os.W_OK | os.X_OK):
        raise click.UsageError(f"--ready-file {file}: its directory is not there or cannot be written")
    return file


def ready_file_option(once: str) -> Callable[[Command], Command]:
    """The option; `once`: what the process does when the file is there."""
    kind = click.Path(path_type=Path, dir_okay=False)
    return click.option("--ready-file", type=kind, callback=_writable, envvar=VARIABLE, help=f"Create this file once {once}.")

"""What every command gets: the settings as this invocation says, resolved once, when they are first asked for."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

import click

from marquee.config import Resolved, resolve
from topologies.settings import Settings


class Invocation:
    """`-s` flags and `--config` of this call. Asking for settings raises UsageError when one is wrong."""

    def __init__(self, flags: Sequence[str] = (), file: Path | None = None) -> None:
        self.flags = tuple(flags)
        self.file = file

    @cached_property
    def resolved(self) -> Resolved:
        """The settings and where each came from."""
        return resolve(self.flags, self.file)

    @property
    def settings(self) -> Settings:
        """The settings."""
        return self.resolved.settings


pass_invocation = click.make_pass_decorator(Invocation)

"""What every command gets: the settings as this invocation says, of the edition that it names, resolved once, when first asked for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path

import click

from marquee.config import Resolved, resolve
from topologies.editions import LIVE_EDITION, RENAMED, in_edition
from topologies.settings import Settings


class Invocation:
    """`-s` flags, `--config` and `--edition` of this call. Asking for settings raises UsageError when one is wrong."""

    def __init__(self, flags: Sequence[str] = (), file: Path | None = None, edition: str = LIVE_EDITION) -> None:
        self.flags = tuple(flags)
        self.file = file
        self.edition = edition

    @cached_property
    def resolved(self) -> Resolved:
        """The settings and where each came from."""
        found = resolve(self.flags, self.file)
        if self.edition == LIVE_EDITION:
            return found
        origins = {**found.origins, **dict.fromkeys(RENAMED, f"edition {self.edition}")}
        return replace(found, settings=in_edition(found.settings, self.edition), origins=origins)

    @property
    def settings(self) -> Settings:
        """The settings."""
        return self.resolved.settings


pass_invocation = click.make_pass_decorator(Invocation)

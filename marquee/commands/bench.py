"""`marquee bench NAME`: one measurement; each is a module of marquee/benches with its `COMMAND`."""

from __future__ import annotations

import importlib
import pkgutil

import click

import marquee.benches


class Benches(click.Group):
    """The modules of marquee/benches."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [name for name in _modules() if self.get_command(ctx, name)]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002  # click passes it
        if cmd_name not in _modules():
            return None
        command = getattr(importlib.import_module(f"marquee.benches.{cmd_name}"), "COMMAND", None)
        return command if isinstance(command, click.Command) else None


def _modules() -> list[str]:
    return sorted(module.name for module in pkgutil.iter_modules(marquee.benches.__path__))


@click.command(cls=Benches)
def bench() -> None:
    """Run one measurement, on servers of its own; every rate comes with the CPU that it took.

    \b
    Examples:
      marquee bench drain --format json
      marquee bench freshness --rate 20000 --json
    """


COMMAND = bench

"""`marquee roll`: the version that is installed now takes the place of what `marquee up` runs."""

from __future__ import annotations

from pathlib import Path

import click

from marquee.config import LOCAL
from marquee.invocation import Invocation, pass_invocation
from marquee.output import say


@click.command()
@pass_invocation
def roll(invocation: Invocation) -> int:
    """Replace every worker and API of `marquee up`, one by one, by one of the version that is installed now. Returns when all are.

    A worker more and a spare API come first, and a new worker before each old one goes: no event is lost, what is shown stays fresh, and
    who asks at HAProxy's address gets an answer all the while. When the new version does not start, nothing is replaced. Servers stay as
    they are, and so does the process that `marquee up` is.

    \b
    Examples:
      marquee roll
    """
    from cluster.control import ask

    ask(Path(invocation.settings.local.directory) / LOCAL, "roll", say)
    say("all were replaced")
    return 0


COMMAND = roll

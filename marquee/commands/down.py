"""`marquee down`: stops the local cluster from another terminal."""

from __future__ import annotations

from pathlib import Path

import click

from marquee.config import LOCAL
from marquee.invocation import Invocation, pass_invocation
from marquee.output import say


@click.command()
@pass_invocation
def down(invocation: Invocation) -> None:
    """Stop the local cluster and workers that `marquee up` started, wherever it runs.

    Its data stays in var/clusters/local; the next `marquee up` goes on with it.

    \b
    Examples:
      marquee down
    """
    from cluster.local import LocalCluster

    running = LocalCluster.attach(Path(invocation.settings.local.directory) / LOCAL)
    say("stopping the workers, then the servers …")
    running.stop()
    say("stopped")


COMMAND = down

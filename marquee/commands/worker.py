"""`marquee worker`: one worker process."""

from __future__ import annotations

from pathlib import Path

import click

from marquee.invocation import Invocation, pass_invocation
from marquee.ready_file import ready_file_option


@click.command()
@ready_file_option("the worker computes")
@pass_invocation
def worker(invocation: Invocation, ready_file: Path | None) -> int:
    """Run one worker: it joins the group, takes its share of the partitions, and drains on SIGTERM or Ctrl-C.

    \b
    Examples:
      marquee worker
      marquee -s worker.name=w1 -s worker.region=eu worker
      MARQUEE_KAFKA__BOOTSTRAP=10.0.0.5:9092 marquee worker
    """
    settings = invocation.settings
    from streams.politeness import imported

    imported("streams.worker")
    from cluster.discovery import Role
    from cluster.registries import registered
    from streams.worker import run

    return run(settings, ready_file, lambda address: registered(settings, [Role.WORKER], address))


COMMAND = worker

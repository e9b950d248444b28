"""`marquee worker`: one worker process."""

from __future__ import annotations

import os
from pathlib import Path

import click

from marquee.invocation import Invocation, pass_invocation


@click.command()
@click.option("--ready-file", type=click.Path(path_type=Path, dir_okay=False), help="Create this file once the worker computes.")
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
    if ready_file is not None and not os.access(ready_file.absolute().parent, os.W_OK | os.X_OK):
        raise click.UsageError(f"--ready-file {ready_file}: its directory is not there or cannot be written")
    from streams.worker import run

    return run(settings, ready_file)


COMMAND = worker

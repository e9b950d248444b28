"""`marquee audit RUN`: recounts the log and compares."""

from __future__ import annotations

from pathlib import Path

import click

from marquee.invocation import Invocation, pass_invocation
from marquee.output import emit, json_option, say
from marquee.signals import interruptible
from topologies.errors import UsageError


@click.command()
@click.argument("run")
@json_option
@pass_invocation
def audit(invocation: Invocation, run: str, as_json: bool) -> int:
    """Recount the raw log independently and compare it with the run's ledger and with every cell that Redis and Cassandra serve.

    A view that is not built in is recounted as it is declared, and the result says so; quantiles are compared with the values' own, and the
    greatest relative error is told beside the stated one.

    Works while load goes on: each source is compared at the offset that its stores say. Each dead and late event below a source's newest
    checkpoint must have its letter. Exit 0 only if everything is equal.

    Final rows that are not there yet are counted, and those that should be (`finals` in the JSON); answers are the same without them.

    \b
    Examples:
      marquee audit first
      marquee audit first --json
    """
    settings = invocation.settings
    runs = Path(settings.local.directory) / "runs"
    there = sorted(found.parent.name for found in runs.glob("*/run.json"))
    if run not in there:
        hint = f"there are {', '.join(there)}" if there else "`marquee load` makes one"
        raise UsageError(f"there is no run {run!r} under {runs}; {hint}")
    from loadgen.audit import audit as recount
    from marquee.audit_table import show

    with interruptible():  # so that its scratch files go with it
        result = recount(settings, run, say)
    if as_json:
        emit(result.document())
    else:
        show(result)
    return 0 if result.exact else 1


COMMAND = audit

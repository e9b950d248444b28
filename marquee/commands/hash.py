"""`marquee hash`: what a run's records are, in one line that two runs can be compared by."""

from __future__ import annotations

import click

from marquee.invocation import Invocation, pass_invocation
from marquee.output import emit, json_option, number


@click.command("hash")
@click.argument("run")
@json_option
@pass_invocation
def hash_(invocation: Invocation, run: str, as_json: bool) -> None:
    """Hash a run's records in the log by key: the keys in their order, and each key's records in the order of the log.

    Two loads with one seed, tag and start have one hash, with however many processes they were made, and whether they went through or were
    stopped and resumed. A live run's events have the times at which it went, so only backfills can be compared.

    \b
    Examples:
      marquee load --backfill 1h --events 1000000 --seed 7 --start 2026-01-01T00:00 --tag same --run one --processes 1
      marquee load --backfill 1h --events 1000000 --seed 7 --start 2026-01-01T00:00 --tag same --run four --processes 4
      marquee hash one && marquee hash four
    """
    from loadgen.ledger import open_run
    from loadgen.run_log import content_of

    found = content_of(invocation.settings, open_run(invocation.settings, run))
    if as_json:
        emit({"run": run, "records": found.records, "keys": found.keys, "hash": found.digest})
    else:
        click.echo(f"{found.digest}  {run}: {number(found.records)} records of {number(found.keys)} keys")


COMMAND = hash_

"""`marquee bench chaos`: several seeds of `marquee chaos`, each with servers of its own, and what came of them in one document."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

import click

from marquee.arena import show
from marquee.chaos import MOST_FAULTS
from marquee.invocation import Invocation, pass_invocation
from marquee.output import json_option, say
from topologies.errors import MarqueeError

TOLD: Final = (
    "seed", "passed", "exact", "complete", "ledger", "faults_struck", "faults", "guests_joined", "generated", "strays", "received",
    "applied", "duplicate", "late", "dead", "unaccounted", "letters", "unexpected_exits", "gave_up", "longest_standstill_s",
    "chaos_seconds",
)  # fmt: skip
"""Of a trial's document."""


@click.command()
@click.option("--seeds", type=click.IntRange(1, 1_000), default=10, show_default=True, help="How many seeds, one after the other.")
@click.option("--first", type=click.IntRange(0, 2**31 - 1_001), default=11, show_default=True, help="The first of them.")
@click.option("--faults", type=click.IntRange(1, MOST_FAULTS), default=20, show_default=True, help="Faults of each.")
@click.option("--abreast", type=click.IntRange(1, 64), default=2, show_default=True, help="How many run side by side.")
@json_option
@pass_invocation
def chaos(invocation: Invocation, seeds: int, first: int, faults: int, abreast: int, as_json: bool) -> int:
    """Strike as many faults as that many seeds plan, and audit after each seed. Exit 0 only if every one has passed.

    Two side by side disturb each other, which is welcome here. A seed that has not passed keeps its logs and its data, and is told at once.

    \b
    Examples:
      marquee bench chaos --json
      marquee bench chaos --seeds 2 --first 7 --faults 16
    """
    with ThreadPoolExecutor(abreast) as pool:
        tried = list(pool.map(lambda seed: _tried(invocation.settings.environment(), seed, faults), range(first, first + seeds)))
    document = {
        "seeds": len(tried),
        "faults_struck": sum(trial["faults_struck"] for trial in tried),
        "exact": all(trial["exact"] for trial in tried),
        "passed": all(trial["passed"] for trial in tried),
        "by_seed": tried,
    }
    show(document, as_json)
    return 0 if document["passed"] else 1


def _tried(environment: dict[str, str], seed: int, faults: int) -> dict[str, Any]:
    """What `marquee chaos` says of a seed. Raises MarqueeError if it says nothing: the trial itself has failed."""
    command = [sys.executable, "-m", "marquee", "chaos", "--seed", str(seed), "--faults", str(faults), "--json"]
    done = subprocess.run(command, env={**os.environ, **environment}, capture_output=True, text=True, check=False)
    if not done.stdout:
        raise MarqueeError(f"seed {seed} came to no result: {(done.stderr.strip().splitlines() or ['it said nothing'])[-1]}")
    document = json.loads(done.stdout)
    say(f"seed {seed}: {document['faults_struck']} faults, {'passed' if document['passed'] else 'NOT passed'}")
    if not document["passed"]:
        say("\n".join(done.stderr.splitlines()[-3:]))
    return {name: document[name] for name in TOLD}


COMMAND = chaos

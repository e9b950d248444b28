"""Options of every command that drives the audience: what is broken on purpose, and how the run goes."""

from __future__ import annotations

from typing import Final

import click

faults_option: Final = click.option(
    "--faults",
    default="",
    help="Broken on purpose: duplicates, late, malformed, out-of-order, version, skew, clocks-behind, clocks-ahead, bursts, key-changes,"
    " lost-stops, each with =RATE if wanted, or all.",
)
scenario_option: Final = click.option(
    "--scenario",
    default="steady",
    show_default=True,
    help="How the run goes: steady, day, premiere, flash-crowd, cdn-outage, region-loss, binge, or the path of a file of your own.",
)

"""`marquee replay FILE`: plays a recorded trace."""

from __future__ import annotations

import json
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from marquee.invocation import Invocation, pass_invocation
from marquee.numbers import FiniteRange
from marquee.output import emit, instant, json_option, number, progress_option, report_option, say
from topologies.errors import UsageError

if TYPE_CHECKING:
    from loadgen.replay import Mapped


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--map", "mapping", help="How columns become events: a TOML file, or the name of a shipped one.")
@click.option("--speed", type=FiniteRange(min=0, min_open=True), help="Recorded time ÷ played time; a minute of play if absent.")
@click.option("--keep-time", is_flag=True, help="Keep the recorded times: into a topic of its own, as fast as it goes.")
@click.option("--run", "name", help="Name of the run, for the audit; made up when not given.")
@click.option("--plan", "only_plan", is_flag=True, help="Print the first events and how many rows make none, and send nothing.")
@report_option
@progress_option
@json_option
@pass_invocation
def replay(
    invocation: Invocation,
    file: Path,
    mapping: str | None,
    speed: float | None,
    keep_time: bool,
    name: str | None,
    only_plan: bool,
    report: Path | None,
    progress: str,
    as_json: bool,
) -> int:
    """Play a recorded trace as viewing events, moved to now (its intervals ÷ speed) unless it is to keep its times.

    FILE is CSV, NDJSON or Parquet of any size, and is looked for here, then under the setting local.traces. loadgen/maps has the shipped
    mappings; docs/replay.md says how to write one.

    \b
    Examples:
      marquee replay youtube_sessions_2015.csv.gz --run youtube
      marquee replay ./mine.csv --map ./mine.toml --plan
      marquee replay ./mine.csv --map ./mine.toml --speed 10
      marquee replay lumos_chunks_2019-2021.csv.gz --keep-time --json
    """
    settings = invocation.settings
    found = _found(file, Path(settings.local.traces))
    import loadgen
    from loadgen.load import run_name
    from loadgen.replay import ReplayOptions, map_replay, run_replay
    from marquee.driving import drive

    map_file = None if mapping is None else _mapping(mapping, Path(loadgen.__path__[0]) / "maps")
    name = run_name(name, "replay")
    options = ReplayOptions(found, map_file, speed, keep_time, name)
    if only_plan:
        _show(map_replay(settings, options), as_json)
        return 0
    return drive("replay", settings, name, partial(run_replay, settings, options), progress=progress, file=report, as_json=as_json)


def _show(mapped: Mapped, as_json: bool) -> None:
    if as_json:
        emit(asdict(mapped))
        return
    for event in mapped.begins:
        click.echo(json.dumps(event, ensure_ascii=False))
    say(f"{number(mapped.events)} events from {instant(mapped.first_ms)} to {instant(mapped.last_ms)}, of {number(mapped.rows)} rows")
    if mapped.unmapped:
        say(f"{number(mapped.unmapped)} rows make no event; the first of them: {mapped.why}")


def _found(file: Path, traces: Path) -> Path:
    for path in (file, traces / file):
        if path.is_file():
            return path
    raise UsageError(f"there is no trace {file}, neither here nor in {traces}")


def _mapping(text: str, shipped: Path) -> Path:
    for path in (Path(text), shipped / f"{text}.toml"):
        if path.is_file():
            return path
    names = ", ".join(sorted(path.stem for path in shipped.glob("*.toml")))
    raise UsageError(f"there is no mapping {text}; give a TOML file or one of {names}")


COMMAND = replay

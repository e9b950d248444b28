"""The other side of `marquee bench stock`: watch time by title × region and hour, as anybody would write it with faust-streaming.

Nothing of Marquee's is in here: the aiokafka transport, Faust's JSON (which is orjson where it is installed), one agent, one tumbling
Table in the memory store with its changelog topic. No deduplication, no lateness, no checks, no store that others could read.
It does what a careful author would: events that change no sum touch no table, and a cell is one list of three sums.

    stock_faust.py CONFIG      JSON: bootstrap, topic, partitions, group, directory, events, report

Once `events` events have been processed it writes `report` (JSON: events, cpu_s, wall_s, offsets {partition: next},
cells [[title, region, hour_start_ms, watched_ms, plays, attempts] …]) and goes on until SIGTERM.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any, Final

import faust

HOUR_S: Final = 3600.0


def make_app(config: dict[str, Any]) -> faust.App:
    """The app, ready to be started by a faust.Worker."""
    app = faust.App(
        config["group"],
        broker=f"kafka://{config['bootstrap']}",
        store="memory://",
        datadir=config["directory"],
        autodiscover=False,
        web_enabled=False,
        topic_disable_leader=True,
        topic_partitions=config["partitions"],
        topic_replication_factor=1,
        consumer_auto_offset_reset="earliest",
    )
    topic = app.topic(config["topic"], key_serializer="raw", value_serializer="json")
    table = app.Table("watch_time", default=lambda: [0, 0, 0], partitions=config["partitions"])
    watch_time = table.tumbling(HOUR_S).relative_to(lambda event: event.value["ts"] / 1000)
    wanted: int = config["events"]

    @app.agent(topic)
    async def fold(events: Any) -> None:
        seen, offsets, wall_s, cpu_s = 0, dict.fromkeys(range(config["partitions"]), 0), 0.0, 0.0
        async for event in events.events():
            if not seen:
                wall_s, cpu_s = time.monotonic(), time.process_time()
            message, value = event.message, event.value
            offsets[message.partition] = message.offset + 1
            if value["type"] == "tick":
                continue
            watched_ms = value.get("watched_ms") or 0
            plays, attempts = value["type"] == "play_start", value["type"] == "play_request"
            if watched_ms or plays or attempts:
                key = (value["title"], value["region"])
                sums = watch_time[key].value()
                watch_time[key] = [sums[0] + watched_ms, sums[1] + plays, sums[2] + attempts]
            seen += 1
            if seen == wanted:
                spent = {"cpu_s": time.process_time() - cpu_s, "wall_s": time.monotonic() - wall_s}
                report(Path(config["report"]), {"events": seen, **spent, "offsets": offsets, "cells": cells(table)})

    return app


def cells(table: Any) -> list[list[Any]]:
    """What the table holds, a row a cell."""
    return [[*key, round(window[0] * 1000), *sums] for (key, window), sums in table.items()]


def report(path: Path, document: dict[str, Any]) -> None:
    """Appears whole or not at all."""
    fresh = path.with_suffix(".new")
    fresh.write_text(json.dumps(document))
    fresh.replace(path)


if __name__ == "__main__":
    app = make_app(json.loads(Path(sys.argv[1]).read_text()))
    faust.Worker(app, loglevel="WARNING", redirect_stdouts=False).execute_from_commandline()

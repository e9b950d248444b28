"""docs/performance.md: what was measured and where the microseconds go, from the newest documents in benchmarks/results."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

RESULTS: Final = Path(__file__).resolve().parents[1] / "benchmarks" / "results"
STAGES: Final[dict[str, str]] = {
    "fetch": "what Faust's consumer thread does to hand a fetch on; reading it from the socket is in the rest",
    "decompress": "lz4, batch by batch",
    "walk": "finding each record's key, value, time and content type in the decompressed batches",
    "rows": "putting JSON and Arrow rows of one block into one table",
    "decode JSON": "every field judged by the strict rules, in place",
    "open Arrow": "the IPC stream checked and opened; what does not depend on its rows is shared by up to 8,192 of them",
    "judge Arrow": "every column judged by the same rules, sessions hashed",
    "intern": "a number for each text of a dimension",
    "identify": "128 bits for each (account, session) of JSON rows",
    "admit": "duplicate, late, dead or applied; sessions; live counts; expiry and the minute's samples",
    "fold": "sums and counts of tumbling windows",
    "bookmarks": "profiles numbered, where each stopped in each title, what of that is due",
    "letters": "dead and late events",
    "Redis: take": "changed cells out of the state, every 250 ms or as 14 % of the CPU allow; every 5 s where the clock is 10 s behind",
    "Redis: send": "encoding and the client",
    "bookmarks: to Redis": "profiles' shelves, a function call for fifty; before the cells",
    "Cassandra: take": "changed packs, every 5 s or as 6 % of the CPU allow; every 15 s where the clock is 10 s behind",
    "Cassandra: send": "binding statements; the driver's own thread is in the rest (event_loop)",
    "bookmarks: to Cassandra": "beginning it; the rows are made in the driver's thread",
    "forget": "cells and bookmarks that are final and stored",
    "checkpoint: copy": "the only moment in which the fold stands still",
    "checkpoint: pack": "columns, compression, checksums, in another thread",
    "checkpoint: send": "pieces of 512 KiB",
    "acknowledge": "telling Faust",
    "commit": "telling Kafka",
    "the rest: Faust, asyncio, drivers' threads": "what no stage covers",
}
FORMATS: Final = ("json", "arrow")
_TWO: Final = "concurrents,watch_time"
_DRAIN: Final = ("events_per_core_second", "runs", "cpu_s", "rss_mb", "exact")
_MEMORY: Final = ("rss_mb", "max_mb", "end_mb", "slope_mb_per_hour", "flat", "late_sends")
_LOAD: Final = ("events", "events_per_core_second", "events_per_s", "cpu_s", "broker_cpu_s", "rss_mb", "rss_mb_by_tenth")
BARS: Final[dict[str, tuple[str, tuple[str, ...]]]] = {
    f"drain-format-json-views-{_TWO}-runs-3": (
        "one worker on one core drains 10 M JSON events into two views, the median of three",
        _DRAIN,
    ),
    f"drain-format-arrow-views-{_TWO}-runs-3": ("the same in Arrow", _DRAIN),
    "drain-format-json-runs-3": ("JSON into all views", _DRAIN),
    "drain-format-arrow-runs-5": ("the same in Arrow, the median of five", _DRAIN),
    "stock": ("a stock Faust agent beside it", ("events_per_core_second", "marquee_events_per_core_second", "ratio", "exact")),
    f"scale-workers-2-views-{_TWO}-runs-5": (
        "two workers against one, the median of five pairs",
        ("events_per_core_second", "events_per_s", "efficiency", "runs", "exact"),
    ),
    "freshness-share-0.7": ("intended send time to Redis", ("sustained_rate", "limited_by", "rate", "p50_ms", "p99_ms")),
    "recovery-rate-50000-format-arrow": ("SIGKILL to fresh again, Arrow", ("seconds", "recovered", "moved_s", "exact", "late_sends")),
    "recovery-rate-50000": ("the same, JSON", ("seconds", "recovered", "moved_s", "exact", "late_sends")),
    "roll": (
        "every worker and API replaced one by one, under 20,000 events and 200 reads a second: the worst ten seconds' p99",
        ("roll_s", "freshness_p99_ms", "answers", "failed_reads", "exact", "late_sends"),
    ),
    "rebalance": (
        "a partition that stays, and one that moves, stands still",
        (
            "rate",
            "quiet_pause_s",
            *(f"{kind}_{which}_s" for kind in ("join", "leave", "join_again", "kill") for which in ("pause", "moved")),
            "join_ready_s",
            "exact",
        ),
    ),
    "vanish": (
        "all viewers fall silent: s until nobody is watching, and how many sessions silence closed, each once",
        ("gone_s", "most_viewers", "sessions_sent", "sessions_ended", "sessions_closed", "counted_once", "exact"),
    ),
    "checkpoint": ("checkpoints, by live sessions", ("by_live_sessions",)),
    "sessions": ("CPU an event, 1 M live sessions against 10 k", ("cpu_us_an_event", "ratio", "same_cells", "exact")),
    "chaos": ("ten seeds of `marquee chaos --faults 20`, each audited", ("seeds", "faults_struck", "exact", "passed")),
    "shelves": ("a million profiles' shelves: in Redis, lost and out of Cassandra, and again", ("redis", "lost", "again", "write_s")),
    "load-format-json": ("the generator alone against a broker, JSON", _LOAD),
    "load-format-arrow": ("the same in Arrow", _LOAD),
    "load-events-100000000-span-2m-format-arrow": ("the same, 100 M events of ten million viewers", _LOAD),
    "collector": (
        "events by HTTP, in batches of 100, until Kafka has acknowledged",
        ("events_per_core_second", "requests_per_s", "p50_ms", "p99_ms", "errors", "exact"),
    ),
    "query": (
        "questions over HTTP while 20,000 events/s flow",
        ("redis", "cassandra", "top", "series_cold", "series_warm", "throughput", "cells", "errors"),
    ),
    "push": ("a change seen by 1,000 subscribers", ("p50_ms", "p99_ms", "max_ms", "answers_per_subscriber", "errors", "cpu_s")),
    "pages": (
        "a page in a browser that has nothing of it: ms until all panels have answers, and all is drawn; a killed worker: s until shown",
        ("answered_ms", "drawn_ms", "silent_s", "gone_s"),
    ),
    f"memory-rate-50000-minutes-30-format-arrow-views-{_TWO}-no-audit": ("memory over 30 minutes at 50,000 events/s", _MEMORY),
    "memory-rate-50000-minutes-30-format-arrow-no-audit": ("the same with all views, from 35 min on, across the hour", _MEMORY),
}
_STORED: Final = {"bytes_a_cell": "bytes a cell", "cassandra_cells_per_s": "cells/s, Cassandra", "redis_cells_per_s": "cells/s, Redis"}
_INNER: Final = (
    "write_s", "restore_s", "bytes", "pause_ms", "cpu_s", "p50_ms", "p99_ms", "at_store_p50_ms", "at_store_p99_ms",
    "requests_per_core_second", "median", "max",
)  # fmt: skip
"""What is shown of a figure that is several."""


def newest(results: Path = RESULTS) -> dict[str, Mapping[str, Any]]:
    """By benchmark, the document measured last."""
    found: dict[str, Mapping[str, Any]] = {}
    for file in sorted(results.glob("*.json")):
        found[file.stem[len("2026-01-01-") :]] = json.loads(file.read_bytes())
    return found


def performance_page() -> str:
    """The page; what has not been measured yet says so."""
    documents = newest()
    lines = ["# Performance", "", "<!-- Generated by `python -m marquee.docs` from benchmarks/results; do not edit. -->", ""]
    lines += [
        "`make bench` measures all of this again into benchmarks/results, `marquee bench NAME` one. CPU is the worker's, all threads, from",
        "readiness until the last cell and checkpoint are durable. The machine has two cores, which brokers, stores and generator share.",
        "",
        "## Figures",
        "",
        "| what | figures | measured |",
        "|---|---|---|",
    ]
    for name, (what, keys) in BARS.items():
        lines.append(f"| {what} (`{name.replace('-', ' ')}`) | {_figures(documents.get(name), keys)} | {_when(documents.get(name))} |")
    lines += [
        "",
        "## What each view costs",
        "",
        "By `marquee bench views --format json` and `--format arrow`: µs of CPU an event in the fold, beside decoding and admission;",
        "bytes of a cell in Cassandra, and cells a second that each store took (of JSON's run).",
        "",
        *_views({form: documents[f"views-format-{form}"] for form in FORMATS if f"views-format-{form}" in documents}),
        "",
        "## Where the microseconds go",
        "",
        "µs of CPU an event, by `marquee bench profile --format json` and `--format arrow`:",
        "",
    ]
    profiles = {form: documents[f"profile-format-{form}"] for form in FORMATS if f"profile-format-{form}" in documents}
    lines += _stages({form: document["measured"] for form, document in profiles.items()})
    lines += ["", *(f"{form}: measured {_when(document)}." for form, document in profiles.items())]
    return "\n".join(lines) + "\n"


def _figures(document: Mapping[str, Any] | None, keys: tuple[str, ...]) -> str:
    if document is None:
        return "not measured yet"
    measured = document["measured"]
    return " · ".join(f"{key} {_number(measured[key])}" for key in keys if key in measured)


def _number(value: Any) -> str:
    if isinstance(value, dict):
        inner = {key: {k: v for k, v in one.items() if k in _INNER} if isinstance(one, dict) else one for key, one in value.items()}
        return "(" + ", ".join(f"{key}: {_number(one)}" for key, one in inner.items()) + ")"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return ", ".join(map(_number, value))
    return f"{value:,}" if isinstance(value, int | float) else str(value)


def _when(document: Mapping[str, Any] | None) -> str:
    return "" if document is None else f"{document['date'][:10]}, {document['commit']}"


def _views(found: Mapping[str, Mapping[str, Any]]) -> list[str]:
    if not found:
        return ["Not measured yet."]
    measured = {form: document["measured"] for form, document in found.items()}
    first = next(iter(measured.values()))
    lines = [
        f"| view | {' | '.join(measured)} | cells | {' | '.join(_STORED.values())} |",
        f"|---|{'--:|' * (len(measured) + 1 + len(_STORED))}",
    ]
    for name, figures in first["views"].items():
        us = " | ".join(_number(one["views"].get(name, {}).get("us_an_event", "")) for one in measured.values())
        stored = " | ".join(_number(figures.get(key, "")) for key in _STORED)
        lines.append(f"| {name} | {us} | {_number(figures['cells'])} | {stored} |")
    for key, told in (
        ("no_view_us_an_event", "no view: decoding and admission"),
        ("all_views_us_an_event", "**all**, decoding and admission too"),
    ):
        lines.append(f"| {told} | {' | '.join(_number(one[key]) for one in measured.values())} | {'| ' * (1 + len(_STORED))}".rstrip())
    return [*lines, "", *(f"{form}: measured {_when(document)}." for form, document in found.items())]


def _stages(profiles: Mapping[str, Mapping[str, Any]]) -> list[str]:
    if not profiles:
        return ["Not measured yet."]
    lines = [f"| stage | {' | '.join(profiles)} | what it is |", f"|---|{'--:|' * len(profiles)}---|"]
    for stage, what in STAGES.items():
        spent = " | ".join(_number(profile["stages"].get(stage, {}).get("us_an_event", 0)) for profile in profiles.values())
        lines.append(f"| {stage} | {spent} | {what} |")
    lines.append(f"| **all** | {' | '.join(_number(profile['us_an_event']) for profile in profiles.values())} | |")
    lines += ["", f"| thread | {' | '.join(profiles)} |", f"|---|{'--:|' * len(profiles)}"]
    threads = sorted({thread for profile in profiles.values() for thread in profile["threads_us_an_event"]})
    for thread in threads:
        lines.append(f"| {thread} | {' | '.join(_number(p['threads_us_an_event'].get(thread, 0)) for p in profiles.values())} |")
    return lines

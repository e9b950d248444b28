"""docs/scale.md: what thirty million viewers at once take of everything and cost a day, by marquee/sizing.py."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from typing import Any, Final

from marquee.performance import newest
from marquee.sizing import FULL, REPLICAS, SHELF_DUE_S, Cloud, Figures, Load, Need, bill, clouds, need

WIDTH: Final = 140
LOAD: Final = Load(viewers=30_000_000, events_per_s=3_000_000)
LIVE: Final = "freshness-rate-40000-duration-40-format-arrow-workers-2"
LIVE_JSON: Final = "freshness-rate-20000-duration-40-format-json"
MEMORY: Final = "memory-rate-50000-minutes-30-format-arrow-no-audit"
BACKLOG: Final = "drain-format-arrow-runs-5"
_TOLD: Final = {
    LIVE: "live, Arrow",
    LIVE_JSON: "live, JSON",
    BACKLOG: "a backlog, Arrow",
}


def scale_page(note: str) -> str:
    """The page, with `note` below its title."""
    documents = newest()
    figures = {name: Figures.of(documents, name) for name in _TOLD}
    needed = {name: need(LOAD, figures[name]) for name in (LIVE, LIVE_JSON, BACKLOG)}
    read, places = clouds()
    lines = [
        "# Thirty million viewers at once",
        "",
        note,
        "",
        *_filled(
            f"{LOAD.viewers:,} viewers, each of whom sends an event every {LOAD.viewers / LOAD.events_per_s:.0f} seconds: "
            f"{LOAD.events_per_s:,} events a second. Nothing here was measured at that size. It is computed, by "
            "[marquee/sizing.py](../marquee/sizing.py), from what was measured on two cores and from "
            "[marquee/prices.toml](../marquee/prices.toml); `python -m marquee.docs` computes it again when either has changed."
        ),
        "",
        *_measured(documents, figures),
        *_needs(needed),
        *_bills(needed, read, places),
        *_breaks(figures, needed),
        *_missing(),
    ]
    return "\n".join(lines) + "\n"


def _table(heads: tuple[str, ...], rows: list[tuple[str, ...]]) -> list[str]:
    return [f"| {' | '.join(heads)} |", "|---|" + "--:|" * (len(heads) - 1), *(f"| {' | '.join(row)} |" for row in rows), ""]


def _measured(documents: Mapping[str, Mapping[str, Any]], figures: Mapping[str, Figures]) -> list[str]:
    rows = [
        (
            f"{_TOLD[name]} (`{documents[name]['bench']}`, {documents[name]['date'][:10]}, {documents[name]['commit']})",
            f"{one.worker_s * 1e6:.2f}",
            *(f"{one.servers_s[server] * 1e6:.2f}" for server in ("kafka", "redis", "cassandra")),
            f"{one.log_bytes:.0f}" if one.log_bytes else "",
        )
        for name, one in figures.items()
    ]
    one, memory = figures[LIVE], documents[MEMORY]["measured"]
    at_more = memory["cpu_s"] / (memory["rate"] * memory["minutes"] * 60) * 1e6
    return [
        "## What was measured",
        "",
        "µs of CPU an event, of the worker and of each server with one replica; and bytes of the log an event, as Kafka stores it:",
        "",
        *_table(("", "worker", "Kafka", "Redis", "Cassandra", "bytes"), rows),
        *_filled(
            "Live, each flush writes what changed in a quarter of a second (Redis) or in five (Cassandra), and the same cells change again "
            "and again; in a backlog far more is folded together first. The more a worker gets, the less an event costs it: one that had "
            f"{memory['rate']:,.0f} a second took {at_more:.1f} µs (`memory`), the two of the first row shared "
            f"{documents[LIVE]['measured']['rate']:,.0f}. "
            "So to reckon three millions a second by the first row is on the safe side, for Redis far on it, and the last row is what "
            "nothing live will reach. Redis was asked a hundred times a second by who measured, which is in its figure too."
        ),
        "",
        *_filled(
            f"And: a live session takes {one.session_bytes / 1000:.1f} kB of the workers' memory (`memory`, all views, everything "
            f"included) and {one.checkpoint_bytes:.1f} bytes of a checkpoint (`checkpoint`); a viewer's bookmarks {one.shelf_bytes:.0f} "
            f"bytes of Redis and {one.shelf_s * 1e6:.1f} µs of its core each time they are written (`shelves`); an event by HTTP "
            f"{one.collector_s * 1e6:.1f} µs of a collector (`collector`)."
        ),
        "",
    ]


def _needs(needed: Mapping[str, Need]) -> list[str]:
    def row(what: str, form: str, key: str) -> tuple[str, ...]:
        return (what, *(format(getattr(one, key), form) if getattr(one, key) else "" for one in needed.values()))

    rows = [
        row("workers, a core each", ",d", "workers"),
        row("partitions, two a worker", ",d", "partitions"),
        row("the workers' memory, GB", ",.0f", "worker_memory_gb"),
        row("Kafka, busy cores", ",.1f", "kafka_cores"),
        row("the log, MB/s of one replica", ",.0f", "log_mb_s"),
        row("the log, GB a day of one replica", ",.0f", "log_gb_a_day"),
        row("Cassandra, busy cores", ",.1f", "cassandra_cores"),
        row("checkpoints to Cassandra, MB/s at one every 5 s", ",.0f", "checkpoints_mb_s"),
        row("**Redis, busy cores of the one that there is**", ",.1f", "redis_cores"),
        row("Redis, for bookmarks where events carry positions", ",.1f", "shelves_cores"),
        row("Redis' memory, bookmarks of all viewers, GB", ",.0f", "redis_memory_gb"),
        row("Marquees beside each other, so that no Redis is too busy", ",d", "systems"),
    ]
    return [
        "## What it takes",
        "",
        *_filled(
            f"{REPLICAS} replicas of all that Kafka and Cassandra hold. Cores, memories and disks are planned to be used to {FULL:.0%}: "
            "the rest is for a zone that fails and for catching up. The last column is what it would take if a live event cost no more "
            "than one of a backlog, which is as good as it could become; a backlog's log was not measured."
        ),
        "",
        *_table(("", "Arrow from gateways", "JSON", "at best"), rows),
    ]


def _bills(needed: Mapping[str, Need], read: str, places: list[Cloud]) -> list[str]:
    lines = [
        "## What it costs a day",
        "",
        *_filled(
            f"US dollars, on demand, without a discount, prices as read on {read}; brokers keep a day of the log on NVMe of their own. "
            "All servers are run by whoever runs Marquee, on both clouds alike: [managed-services.md](managed-services.md) has which "
            "managed ones would do."
        ),
        "",
    ]
    for place in places:
        bills = {
            "Arrow from gateways": bill(needed[LIVE], place, by_http=False),
            "JSON by collectors": bill(needed[LIVE_JSON], place, by_http=True),
        }
        lines += [f"### {place.name.upper() if place.name == 'aws' else place.name.title()}, {place.region}", ""]
        whats = list(dict.fromkeys(line.what for one in bills.values() for line in one))
        rows = []
        for what in whats:
            cells = []
            for one in bills.values():
                found = next((line for line in one if line.what == what), None)
                cells.append("" if found is None else f"{found.count:,} × {found.bought}: {found.day:,.0f}")
            rows.append((what, *cells))
        rows.append(("**a day**", *(f"**{sum(line.day for line in one):,.0f}**" for one in bills.values())))
        per = [f"{sum(line.day for line in one) / LOAD.viewers * 1e6:,.0f}" for one in bills.values()]
        rows.append(("a day and million viewers", *per))
        lines += _table(("", *bills), rows)
        lines += [f"Machines: [{place.source}]({place.url}); between zones ${place.zone_gb:g} a GB: [source]({place.zone_url}).", ""]
    return lines


def _breaks(figures: Mapping[str, Figures], needed: Mapping[str, Need]) -> list[str]:
    lines = ["## What breaks first, and what then", ""]
    for number, text in enumerate((*_one_redis(figures, needed[LIVE]), *_the_rest(needed[LIVE], needed[LIVE_JSON])), 1):
        lines += _filled(text, f"{number}. ", "   ")
    return [*lines, ""]


def _one_redis(figures: Mapping[str, Figures], most: Need) -> tuple[str, ...]:
    redis = {name: FULL / figures[name].servers_s["redis"] for name in (LIVE, LIVE_JSON)}
    million = {name: rate * LOAD.viewers / LOAD.events_per_s / 1e6 for name, rate in redis.items()}
    shelves = FULL / figures[LIVE].shelf_s * SHELF_DUE_S / 1e6
    return (
        (
            "**Redis**, which runs commands on one thread, and of which a Marquee has one (its functions write several keys at once, "
            f"which a Redis Cluster refuses). {FULL:.0%} of a core are used at {redis[LIVE]:,.0f} events a second of Arrow and "
            f"{redis[LIVE_JSON]:,.0f} of JSON, which is {million[LIVE]:,.1f} and {million[LIVE_JSON]:,.1f} million viewers. What is seen: "
            "flushes take longer than a quarter of a second, so numbers become seconds old; nothing is lost, and Cassandra has "
            "everything. What then, in this order: a greater `worker.redis_flush_s` (`worker.flush_share` bounds what workers spend "
            f"already); fewer views (`worker.views`); then **Marquees beside each other**, by live figures {most.systems} of them for all "
            "viewers, each with a topic, a group, a Redis and a keyspace of its own and the viewers of its markets. Their sums are added "
            "up by whoever asks: the API does not."
        ),
        (
            f"**Bookmarks**, where events carry positions: {FULL:.0%} of a core suffice for {shelves:,.1f} million viewers at one write a "
            "minute. The shelves' database is one of the same server. What then: as above."
        ),
    )


def _the_rest(most: Need, of_json: Need) -> tuple[str, ...]:
    return (
        (
            f"**Checkpoints**: {most.checkpoints_mb_s:,.0f} MB/s of state, if every session's were written every 5 s, beside the cells. "
            "`worker.checkpoint_share` bounds them at 5 % of a worker's CPU: they come later, and a killed worker's successor folds more "
            "of the log again. What then: a greater `worker.checkpoint_s`."
        ),
        (
            f"**Partitions**: {most.partitions:,} suffice for twice the workers that are planned. A topic keeps its number of them; one "
            "that is too small is left for a new topic (README). More of them cost cells: each partition has its own of every title."
        ),
        (
            f"**The log**: {most.log_gb_a_day / 1000:,.1f} TB a day and replica of Arrow, {of_json.log_gb_a_day / 1000:,.1f} TB of JSON. "
            "Marquee's topics keep it for ever; here a day stays on the brokers. What is older is then gone for `marquee replay`, unless "
            "Kafka's tiered storage has it."
        ),
        (
            "**Traffic between zones**, where it is paid for. Consumers could read from a replica of their own zone; neither Faust nor "
            "Marquee asks for that."
        ),
    )


def _missing() -> list[str]:
    told = (
        (
            "Cores: one of the machines' is taken for one of the two that were measured (AMD EPYC), which servers, workers and generator "
            "shared. Redis, ZooKeeper and Python on Arm were not measured."
        ),
        (
            "How many titles: cells grow with titles, windows and partitions, not with viewers. What was measured has the generator's "
            "catalogue."
        ),
        "Cassandra's disks: what history takes a day is titles × groupings × windows × partitions, and no result has it.",
        "Questions: two machines of APIs a Marquee are a guess; `query` has what one process answers.",
        "Load balancers, traffic to the internet, backups, people.",
    )
    return ["## What this does not know", "", *(line for text in told for line in _filled(text, "- ", "  "))]


def _filled(text: str, first: str = "", rest: str = "") -> list[str]:
    return textwrap.wrap(text, WIDTH, initial_indent=first, subsequent_indent=rest, break_long_words=False, break_on_hyphens=False)

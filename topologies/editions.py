"""Editions: all logs counted a second time, by a corrected declaration, beside what is live.

An edition is workers with names of their own for everything that they write. They read the same topics from the logs' beginning and
meet nothing of the live workers, nor these of them:

    consumer group     {group}-{edition}            checkpoints, cells, statuses      keyspace {keyspace}_{edition}
    dead, late topic   {topic}.{edition}            live views                        Redis prefix {edition}/{prefix}
    members, leader    ZooKeeper {root}-{edition}

Which one readers use is a pointer's business, view by view (connectors/pointers.py). Pure naming.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from topologies.errors import UsageError
from topologies.settings import TABLES, Form, Settings

LIVE_EDITION: Final = ""
"""The one of the settings' own names."""
EDITION: Final = Form(r"[a-z][a-z0-9_]{0,19}", "at most 20 small letters, digits and '_', a letter first")
RENAMED: Final = ("kafka.group", "kafka.dead_topic", "kafka.late_topic", "redis.prefix", "cassandra.keyspace", "zookeeper.root")
"""The settings that are an edition's own."""


def in_edition(settings: Settings, edition: str) -> Settings:
    """The settings as the workers of that edition, and whoever reads what it wrote, have them; of the live one they are as they stand.

    Raises UsageError for a name that cannot be.
    """
    if edition == LIVE_EDITION:
        return settings
    if not EDITION.fits(edition):
        raise UsageError(f"edition {edition!r}: name it with {EDITION.words}")
    keyspace = f"{settings.cassandra.keyspace}_{edition}"
    if not TABLES.fits(keyspace):
        raise UsageError(f"edition {edition} would have the keyspace {keyspace}, and one is named with {TABLES.words}; call it shorter")
    kafka = replace(
        settings.kafka,
        group=f"{settings.kafka.group}-{edition}",
        dead_topic=f"{settings.kafka.dead_topic}.{edition}",
        late_topic=f"{settings.kafka.late_topic}.{edition}",
    )
    return replace(
        settings,
        kafka=kafka,
        # in front: a worker that empties the cache takes away whatever begins with its prefix
        redis=replace(settings.redis, prefix=f"{edition}/{settings.redis.prefix}"),
        cassandra=replace(settings.cassandra, keyspace=keyspace),
        zookeeper=replace(settings.zookeeper, root=f"{settings.zookeeper.root}-{edition}"),
    )

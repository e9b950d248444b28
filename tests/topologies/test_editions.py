"""An edition's names meet no other edition's."""

from __future__ import annotations

import dataclasses

import pytest

from topologies.editions import LIVE_EDITION, RENAMED, in_edition
from topologies.errors import UsageError
from topologies.settings import Settings


def value(settings: Settings, name: str) -> str:
    section, key = name.split(".")
    return str(getattr(getattr(settings, section), key))


def test_an_edition_reads_the_same_topics_and_writes_under_names_of_its_own() -> None:
    live, fix = Settings(), in_edition(Settings(), "fix")
    assert [value(fix, name) for name in RENAMED] == [
        "marquee-fix", "viewing-events.dead.fix", "viewing-events.late.fix", "fix/mq:", "marquee_fix", "/marquee-fix"
    ]  # fmt: skip
    assert (fix.kafka.topics, fix.kafka.backfill_prefix, fix.worker, fix.local) == (
        live.kafka.topics, live.kafka.backfill_prefix, live.worker, live.local
    )  # fmt: skip
    assert not fix.redis.prefix.startswith(live.redis.prefix)  # what empties one cache leaves the other
    assert not live.redis.prefix.startswith(fix.redis.prefix)


def test_the_live_edition_is_the_settings_as_they_stand() -> None:
    assert in_edition(Settings(), LIVE_EDITION) == Settings()


@pytest.mark.parametrize("name", ["Fix", "1st", "a-b", "x" * 21])
def test_an_edition_that_cannot_be_named_so_gets_a_sentence(name: str) -> None:
    with pytest.raises(UsageError, match=f"edition '{name}': name it with at most 20 small letters"):
        in_edition(Settings(), name)


def test_a_keyspace_that_would_be_too_long_gets_a_sentence() -> None:
    given = Settings()
    long = dataclasses.replace(given, cassandra=dataclasses.replace(given.cassandra, keyspace="k" * 40))
    with pytest.raises(UsageError, match="call it shorter"):
        in_edition(long, "corrected")

"""The commands of object storage over the real stores: doctor, copying checkpoints, exporting history."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from connectors.cassandra import close, connect
from connectors.cassandra_checkpoints import CassandraCheckpoints
from connectors.object_checkpoints import ObjectCheckpoints
from connectors.objects import Objects
from marquee.cli import cli
from tests.object_servers import ObjectServer
from tests.serving.test_answers import HOUR_MS, NOON, World, watched, world_of
from topologies.errors import UsageError
from topologies.settings import Settings


@pytest.fixture
def world(settings: Settings) -> Iterator[World]:
    """Of two sources, of which one has a checkpoint in Cassandra."""
    with world_of(settings) as opened:
        session = connect(settings.cassandra)

        async def fill() -> None:
            await opened.store(opened.status(0), [watched("a", "eu", 7, NOON - 3 * HOUR_MS)])
            await opened.store(opened.status(1), [])
            await CassandraCheckpoints(session, settings.cassandra).write(opened.status(0).source, 100, "w", b"a state")

        asyncio.run(fill())
        close(session)
        yield opened


def invoked(settings: Settings, *arguments: str) -> Result:
    return CliRunner().invoke(cli, arguments, env=settings.environment())


def test_checkpoints_are_copied_once_and_found_where_they_were_copied_to(world: World, tmp_path: Path) -> None:
    source, url = world.status(0).source, f"file://{tmp_path}"

    def copied() -> list[tuple[Any, ...]]:
        told = invoked(world.settings, "checkpoints", "copy", "--to", url, "--json")
        assert told.exit_code == 0, told.output
        return sorted((one["offset"] or 0, one["outcome"]) for one in json.loads(told.stdout)["sources"])

    assert copied() == [(0, "none"), (100, "copied")]
    assert copied() == [(0, "none"), (100, "there already")]
    found = asyncio.run(ObjectCheckpoints(Objects(url, 60), world.settings.cassandra.keyspace).newest(source))
    assert found is not None
    assert (found.offset, found.writer, found.payload) == (100, "w", b"a state")
    with pytest.raises(UsageError, match="or write cassandra:"):
        cli.main(["checkpoints", "copy", "--to", "nowhere"], standalone_mode=False)


def test_history_that_waits_for_its_final_rows_is_said_to(world: World, tmp_path: Path) -> None:
    told = invoked(world.settings, "history", "export", "--all", "--to", f"file://{tmp_path}", "--json")
    assert told.exit_code == 0, told.output
    document = json.loads(told.stdout)
    assert (document["to"], document["written"], document["kept"], document["waiting"]) == (f"file://{tmp_path}", 0, 0, 1)
    assert [(day["part"], day["window"], day["state"]) for day in document["days"]] == [("watch_time", "hour", "waiting")]
    assert list(tmp_path.rglob("*.parquet")) == []


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--all",), "nothing says where to"),
        (("continue_watching", "--to", "file:///"), "continue_watching has no windows that end"),
        (("none", "--to", "file:///"), "there is no view 'none'"),
        (("--all", "--to", "s3://x"), "3 to 63"),
    ],
)
def test_what_cannot_be_exported_is_refused_with_what_to_do(arguments: tuple[str, ...], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        cli.main(["history", "export", *arguments], standalone_mode=False)


def test_doctor_tries_the_object_stores_that_were_set(settings: Settings, s3: ObjectServer, tmp_path: Path) -> None:
    def checks(checkpoints: str) -> dict[str, Any]:
        flags = ("-s", f"checkpoints.url={checkpoints}", "-s", f"history.url=file://{tmp_path}")
        told = json.loads(invoked(settings, *flags, "doctor", "--json").stdout)
        return {check["name"]: check for check in told["checks"]}

    good = checks(s3.new("some/prefix"))
    for name in ("checkpoints", "checkpoints.url", "history.url"):
        assert good[name]["ok"], good[name]
    bad = checks(s3.url("nobody-made-it"))
    assert not bad["checkpoints"]["ok"]
    assert "nobody-made-it is not there" in bad["checkpoints"]["detail"]
    assert "tests-secret" not in json.dumps([good, bad])

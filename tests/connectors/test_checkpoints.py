"""Checkpoints in Cassandra keep what every store of checkpoints owes."""

from __future__ import annotations

import dataclasses
import uuid
from collections.abc import Callable, Iterator

import pytest
from cassandra.cluster import Session

from cluster.local import LocalCluster
from connectors.cassandra import close, connect
from connectors.cassandra_checkpoints import PIECE_BYTES, SHARDS, CassandraCheckpoints
from connectors.cassandra_schema import ensure_schema
from tests.connectors import checkpoint_conformance
from tests.connectors.checkpoint_conformance import HERE, THERE, CheckpointConformance, Damage, payload
from topologies.settings import Settings
from topologies.sources import Source


@pytest.fixture(scope="module")
def settings(cluster: LocalCluster) -> Settings:
    """A keyspace for all of these tests: making and dropping one takes longer than most of them."""
    keyspace = f"checkpoints_{uuid.uuid4().hex[:12]}"
    return dataclasses.replace(cluster.settings, cassandra=dataclasses.replace(cluster.settings.cassandra, keyspace=keyspace))


@pytest.fixture(scope="module")
def session(settings: Settings) -> Iterator[Session]:
    opened = connect(settings.cassandra)
    ensure_schema(opened, settings.cassandra, ())
    yield opened
    close(opened)


@pytest.fixture
def store(session: Session, settings: Settings) -> CassandraCheckpoints:
    """Without what other tests left in it."""
    keyspace = settings.cassandra.keyspace
    for source in (HERE, THERE):
        session.execute(f"DELETE FROM {keyspace}.checkpoints WHERE source = %s", (str(source),))
        for shard in range(SHARDS):
            session.execute(f"DELETE FROM {keyspace}.checkpoint_pieces WHERE source = %s AND shard = %s", (str(source), shard))
    return CassandraCheckpoints(session, settings.cassandra)


@pytest.fixture
def reopened(session: Session, settings: Settings) -> Callable[[], CassandraCheckpoints]:
    return lambda: CassandraCheckpoints(session, settings.cassandra)


@pytest.fixture
def damage(session: Session, settings: Settings) -> Damage:
    table = f"{settings.cassandra.keyspace}.checkpoint_pieces"

    def spoil(source: Source, offset: int, writer: str, how: str) -> None:
        query = f"SELECT stamp, piece, data FROM {table} WHERE source = %s AND shard = 0 AND upto = %s AND writer = %s LIMIT 1"
        stamp, piece, data = session.execute(query, (str(source), offset, writer)).one()
        where = "WHERE source = %s AND shard = 0 AND upto = %s AND writer = %s AND stamp = %s AND piece = %s"
        key = (str(source), offset, writer, stamp, piece)
        if how == "lost":
            session.execute(f"DELETE FROM {table} {where}", key)
            return
        spoilt = {"flipped": data[:-1] + bytes([data[-1] ^ 1]), "cut": data[:-1]}[how]
        session.execute(f"UPDATE {table} SET data = %s {where}", (spoilt, *key))

    return spoil


class TestCassandraCheckpoints(CheckpointConformance):
    def test_pieces_are_as_the_conformance_suite_takes_them_to_be(self) -> None:
        assert PIECE_BYTES == checkpoint_conformance.PIECE_BYTES

    async def test_a_missing_piece_is_noticed(self, store: CassandraCheckpoints, session: Session, settings: Settings) -> None:
        await store.write(HERE, 10, "w", payload(1, 10_000))
        await store.write(HERE, 20, "w", payload(2, 10_000))
        table = f"{settings.cassandra.keyspace}.checkpoint_pieces"
        session.execute(f"DELETE FROM {table} WHERE source = %s AND shard = 0 AND upto = 20", (str(HERE),))
        found = await store.newest(HERE)
        assert found is not None
        assert found.offset == 10
        assert found.skipped == (f"the checkpoint of {HERE} at offset 20 by w does not verify: piece 0 is missing",)

    async def test_forgotten_checkpoints_leave_no_pieces(self, store: CassandraCheckpoints, session: Session, settings: Settings) -> None:
        for offset in range(10, 70, 10):
            await store.write(HERE, offset, "w", payload(offset, 1000))
        shards = ", ".join(map(str, range(SHARDS)))
        query = f"SELECT upto FROM {settings.cassandra.keyspace}.checkpoint_pieces WHERE source = %s AND shard IN ({shards})"
        assert sorted(row[0] for row in session.execute(query, (str(HERE),))) == [40, 50, 60]

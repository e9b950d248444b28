"""Cassandra's keyspace and tables, made from the View declarations."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from typing import Final

from cassandra import AlreadyExists
from cassandra.cluster import Session

from connectors.cassandra import cassandra_errors
from topologies.continue_watching import KEPT_S
from topologies.errors import StoreError
from topologies.settings import CassandraSettings
from topologies.view import View

_NAMESPACE: Final = uuid.UUID("6f0b6c0e-5d0a-4d0e-9a52-6d6172717565")
_COMPACTION: Final = "compaction = {'class': 'UnifiedCompactionStrategy', 'scaling_parameters': 'T4'}"
_CELLS: Final = """(
    window text, pack_ms bigint, bucket int, source text, upto bigint, pack blob,
    PRIMARY KEY ((window, pack_ms, bucket), source)
) WITH"""
_FINALS: Final = """(
    window text, pack_ms bigint, bucket int, upto bigint, pack blob,
    PRIMARY KEY ((window, pack_ms, bucket))
) WITH"""
_NEWEST_FIRST: Final = "AND gc_grace_seconds = 600 AND"  # a deleted checkpoint that comes back is only an older one
OPERATIONS_KEPT_S: Final = 90 * 86_400
TABLES: Final = {
    "spans": """(
        view_name text, logic int, window text, pack_ms bigint,
        PRIMARY KEY ((view_name, logic, window), pack_ms)
    ) WITH""",
    "finals": """(
        view_name text, logic int, window text, pack_ms bigint, upto bigint, basis text, sources text,
        PRIMARY KEY ((view_name, logic, window), pack_ms)
    ) WITH""",
    "sources": """(
        scope text, source text, region text, topic text, topic_id text, part int, upto bigint, clock_ms bigint, watermark_ms bigint,
        received bigint, applied bigint, duplicate bigint, late bigint, dead bigint,
        PRIMARY KEY ((scope), source)
    ) WITH""",
    "counted": """(
        scope text, source text, view_table text, upto bigint,
        PRIMARY KEY ((scope), source, view_table)
    ) WITH""",
    "bookmarks": f"""(
        account text, profile text, title text, mark blob,
        PRIMARY KEY ((account, profile), title)
    ) WITH default_time_to_live = {KEPT_S} AND""",
    "ended": """(
        scope text, source text, at_ms bigint,
        PRIMARY KEY ((scope), source)
    ) WITH""",
    "finished": """(
        scope text, source text, upto bigint, at_ms bigint,
        PRIMARY KEY ((scope), source)
    ) WITH""",
    "gaps": """(
        scope text, source text, first bigint, upto bigint, reason text, at_ms bigint,
        PRIMARY KEY ((scope), source, first)
    ) WITH""",
    "pointers": """(
        scope text, view_name text, edition text, logic int, declaration text, at_ms bigint, by_whom text,
        PRIMARY KEY ((scope), view_name)
    ) WITH""",
    "tokens": """(
        scope text, id text, name text, scopes text, digest blob, made_ms bigint, revoked_ms bigint, requests_per_s double,
        PRIMARY KEY ((scope), id)
    ) WITH""",
    "operations": f"""(
        day_ms bigint, at_ms bigint, id text, who text, address text, method text, target text, outcome text, times int,
        PRIMARY KEY ((day_ms), at_ms, id)
    ) WITH default_time_to_live = {OPERATIONS_KEPT_S} AND""",
    "checkpoints": f"""(
        source text, upto bigint, writer text, stamp text, pieces int, size bigint,
        PRIMARY KEY ((source), upto, writer)
    ) WITH CLUSTERING ORDER BY (upto DESC, writer ASC) {_NEWEST_FIRST}""",
    "checkpoint_pieces": f"""(
        source text, shard int, upto bigint, writer text, stamp text, piece int, checksum bigint, data blob,
        PRIMARY KEY ((source, shard), upto, writer, stamp, piece)
    ) WITH CLUSTERING ORDER BY (upto DESC, writer ASC, stamp ASC, piece ASC) {_NEWEST_FIRST}""",
}
"""Definitions by table; what the columns mean stands in connectors/cassandra.py."""


def absent(session: Session, settings: CassandraSettings) -> list[str]:
    """The tables of TABLES that are not there yet; asks nobody, the session knows its schema."""
    keyspace = session.cluster.metadata.keyspaces.get(settings.keyspace)
    there = keyspace.tables if keyspace is not None else {}
    return [table for table in TABLES if table not in there]


def require_schema(session: Session, settings: CassandraSettings) -> None:
    """Raises StoreError, with what to do, unless the keyspace and the tables that all need are there."""
    if settings.keyspace not in session.cluster.metadata.keyspaces:
        raise StoreError(f"Cassandra has no keyspace {settings.keyspace} yet: the first worker makes it (`marquee up` or `marquee worker`)")
    if lacking := absent(session, settings):
        raise StoreError(f"keyspace {settings.keyspace} has no table {lacking[0]} yet: the first worker of this version makes it")


def ensure_schema(session: Session, settings: CassandraSettings, views: Sequence[View]) -> None:
    """Makes what is absent and leaves what is there. Several processes may do it at once: a table's id follows from its name,
    so that what two nodes create at the same moment is one table. Raises ServerAway or StoreError.
    """
    if not settings.keyspace.isidentifier() or settings.keyspace != settings.keyspace.lower():
        raise StoreError(f"keyspace {settings.keyspace!r}: set cassandra.keyspace to lower-case letters, digits and underscores")
    with cassandra_errors(settings):
        centres = sorted({host.datacenter for host in session.cluster.metadata.all_hosts() if host.datacenter})
        replicas = ", ".join(f"'{centre}': {settings.replication}" for centre in centres)
        if not _present(session, "SELECT keyspace_name FROM system_schema.keyspaces WHERE keyspace_name = %s", settings.keyspace):
            _make(
                session,
                f"CREATE KEYSPACE IF NOT EXISTS {settings.keyspace} WITH replication = {{'class': 'NetworkTopologyStrategy', {replicas}}}",
            )
        there = _present(session, "SELECT table_name FROM system_schema.tables WHERE keyspace_name = %s", settings.keyspace)
        packs = {view.table: _CELLS for view in views} | {view.final_table: _FINALS for view in views}
        for table, definition in {**TABLES, **packs}.items():
            if table not in there:
                name = f"{settings.keyspace}.{table}"
                identity = uuid.uuid5(_NAMESPACE, name)
                _make(session, f"CREATE TABLE IF NOT EXISTS {name} {definition} ID = {identity} AND {_COMPACTION}")


def _present(session: Session, query: str, keyspace: str) -> set[str]:
    return {row[0] for row in session.execute(query, (keyspace,))}


def _make(session: Session, statement: str) -> None:
    try:
        session.execute(statement, timeout=60.0)
    except AlreadyExists:
        return  # another process was quicker

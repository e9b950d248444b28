"""A worker that is killed, with its checkpoints in an object store: another goes on from them, and every number is right.

`scripts/test-stores` runs it on each store that checkpoints can be kept in; here it is one of them.
"""

from __future__ import annotations

import os
import re
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
from cassandra.cluster import Session

from cluster.process import wait_until
from connectors.cassandra import close, connect
from connectors.checkpoint_store import checkpoint_offsets
from connectors.kafka import topic_ids
from loadgen.load import LoadOptions
from tests.conftest import impatient, soon_stored
from tests.object_servers import ObjectServer
from tests.streams.conftest import assert_exact, ready
from topologies.settings import IN_CASSANDRA, Settings

KINDS = ("cassandra", "s3", "azure", "directory") if "MARQUEE_STORES" in os.environ else ("s3",)
LOAD = LoadOptions(rate=2_000, duration_s=7, faults="duplicates", processes=1)


def url_of(kind: str, request: pytest.FixtureRequest) -> str:
    """A place of that kind in which there is nothing."""
    if kind == "cassandra":
        return IN_CASSANDRA
    if kind == "directory":
        folder: Path = request.getfixturevalue("tmp_path") / "checkpoints"
        folder.mkdir()
        return f"file://{folder}"
    server: ObjectServer = request.getfixturevalue(kind)
    return server.new("some/prefix")


def in_cassandra(session: Session, settings: Settings) -> int:
    """How many checkpoints Cassandra has."""
    return int(session.execute(f"SELECT count(*) FROM {settings.cassandra.keyspace}.checkpoints").one()[0])


@pytest.mark.parametrize("kind", KINDS)
def test_who_takes_over_from_a_killed_worker_goes_on_from_its_checkpoints_and_the_audit_is_exact(
    settings: Settings, tmp_path: Path, kind: str, request: pytest.FixtureRequest
) -> None:
    url = url_of(kind, request)
    settings = soon_stored(impatient(replace(settings, checkpoints=replace(settings.checkpoints, url=url))))
    with ready(settings, tmp_path) as pipeline, ThreadPoolExecutor(1) as aside:
        session, sent = connect(settings.cassandra), threading.Event()
        driving = aside.submit(pipeline.drive, LOAD, when=(6_000, sent))
        assert sent.wait(120)
        sources = [f"{settings.worker.region}:{identity}" for identity in _places(settings)]
        assert wait_until(lambda: len(checkpoint_offsets(settings, session, sources)) == settings.kafka.partitions, 120)
        pipeline.workers.kill(0)
        stood = checkpoint_offsets(settings, session, sources)
        assert min(stood.values()) > 0
        pipeline.workers.restart(0)
        assert_exact(pipeline.audited(driving.result()))

        told = re.findall(r"(\S+): restored at offset (\d+)", pipeline.workers[0].log.read_text())
        restored = {source: int(offset) for source, offset in told}
        assert restored == stood
        assert (in_cassandra(session, settings) > 0) == (kind == "cassandra")
        close(session)


def _places(settings: Settings) -> list[str]:
    """Topic id and partition of each partition of the live topic, as sources' texts have them."""
    (topic,) = settings.kafka.topics
    return [f"{topic_ids(settings, [topic])[topic]}:{partition}" for partition in range(settings.kafka.partitions)]

"""One local cluster for each process of the run, started when a test first asks for it; names of its own for every test.

So no test meets what another one wrote.
"""

from __future__ import annotations

import dataclasses
import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from cassandra import DriverException
from cassandra.cluster import NoHostAvailable, Session
from hypothesis import HealthCheck
from hypothesis import settings as examples

from cluster.local import SERVICES, LocalCluster
from cluster.process import wait_until
from connectors.cassandra import close, connect
from tests.object_servers import Azurite, Moto, ObjectServer, running
from topologies.settings import Settings

REPOSITORY = Path(__file__).parent.parent
# No example is too slow: which machine runs the tests is not known, nor what else it does.
examples.register_profile("patient", examples(), deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
examples.load_profile("patient")

collect_ignore = [
    *([] if "MARQUEE_BROWSER" in os.environ else ["browser"]),
    *([] if "MARQUEE_KUBERNETES" in os.environ else ["kubernetes/installed"]),
]
"""scripts/test-browser sets the one, scripts/kubernetes the other."""
FEW_VIEWS = ("concurrents", "watch_time")
"""What workers of tests compute where the test is not of the other views: those take time, and find nothing more."""

UNSAFE_SYSTEM = "-Dcassandra.unsafesystem=true"
"""Cassandra does not write its own tables to disk with every change of the schema: a test's thirty tables are made in a fifth of the time.
After SIGKILL they would be gone; tests that kill it have a cluster of their own, or stop it in good order."""


@pytest.fixture(scope="session")
def bare_settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """Few views, and time-outs of a machine that may stand still for seconds; else defaults, with everything that is written below a
    temporary folder. No server's address is right in them."""
    settings = Settings()
    local = dataclasses.replace(settings.local, directory=str(tmp_path_factory.mktemp("var")), jars=str(REPOSITORY / "var" / "jars"))
    return dataclasses.replace(
        settings,
        local=local,
        kafka=dataclasses.replace(settings.kafka, session_timeout_s=30.0),
        redis=dataclasses.replace(settings.redis, timeout_s=60.0),
        cassandra=dataclasses.replace(settings.cassandra, timeout_s=60.0),
        worker=dataclasses.replace(settings.worker, views=FEW_VIEWS),
        api=dataclasses.replace(settings.api, http_port=0, timeout_s=60.0),
    )


def impatient(settings: Settings) -> Settings:
    """With the time-outs that workers have by default, and members of a group that are killed missed soon: for tests of what is away."""
    defaults = Settings()
    return dataclasses.replace(
        settings,
        kafka=dataclasses.replace(settings.kafka, session_timeout_s=6.0),
        redis=dataclasses.replace(settings.redis, timeout_s=defaults.redis.timeout_s),
        cassandra=dataclasses.replace(settings.cassandra, timeout_s=defaults.cassandra.timeout_s),
    )


@pytest.fixture(scope="session")
def cluster(bare_settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalCluster]:
    """Kafka, Cassandra, Redis and Memcached on free ports, in a directory of their own; fails where one is missing."""
    running = LocalCluster(
        tmp_path_factory.mktemp("cluster"),
        bare_settings,
        preferred=dict.fromkeys(SERVICES, 0),
        heap_mb={"cassandra": 2048},  # for the tables of many keyspaces
        short_lived=True,
        options={"cassandra": (UNSAFE_SYSTEM,)},
    )
    with running:
        yield running


@pytest.fixture(scope="session")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ObjectServer]:
    """A server that speaks as S3 does; who uses it makes a bucket of his own."""
    with running(Moto(tmp_path_factory.mktemp("moto") / "log")) as server:
        yield server


@pytest.fixture(scope="session")
def azure(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ObjectServer]:
    """A server that speaks as Azure Blob Storage does; who uses it makes a container of his own."""
    with running(Azurite(tmp_path_factory.mktemp("azurite") / "log")) as server:
        yield server


@pytest.fixture(scope="session")
def keyspaces(cluster: LocalCluster) -> Iterator[Session]:
    """What drops them. It knows no schema: what others make and drop is not read by it."""
    session = connect(cluster.settings.cassandra)
    session.cluster.schema_metadata_enabled = False
    yield session
    close(session)


@pytest.fixture
def settings(cluster: LocalCluster, keyspaces: Session, tmp_path: Path) -> Iterator[Settings]:
    """The cluster's settings, with names and a directory that only this test has."""
    with apart(cluster.settings, keyspaces, tmp_path / "var") as own:
        yield own


@pytest.fixture(scope="module")
def shared_settings(cluster: LocalCluster, keyspaces: Session, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    """The same for what the tests of a module share. It is made anew where a process comes back to these tests after others."""
    with apart(cluster.settings, keyspaces, tmp_path_factory.mktemp("var")) as own:
        yield own


@contextmanager
def apart(given: Settings, keyspaces: Session, directory: Path) -> Iterator[Settings]:
    """These settings with topics, group, keyspace and prefix that nobody else has, in a directory of their own. Their keyspaces go at the
    end: each has some thirty tables, all of which every driver reads when it connects."""
    mark = uuid.uuid4().hex[:12]
    kafka = dataclasses.replace(
        given.kafka,
        topics=(f"viewing-events-{mark}",),
        backfill_prefix=f"viewing-events-{mark}.backfill.",
        dead_topic=f"viewing-events-{mark}.dead",
        late_topic=f"viewing-events-{mark}.late",
        group=f"marquee-{mark}",
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("connectors.kafka.ANSWER_S", 60.0)  # the broker is there, and may be busy
        yield dataclasses.replace(
            given,
            kafka=kafka,
            redis=dataclasses.replace(given.redis, prefix=f"mq-{mark}:"),
            cassandra=dataclasses.replace(given.cassandra, keyspace=f"marquee_{mark}"),
            local=dataclasses.replace(given.local, directory=str(directory)),
        )
    assert wait_until(lambda: dropped(keyspaces, f"marquee_{mark}"), 300)


def dropped(session: Session, stem: str) -> bool:
    """Whether there is no keyspace any more whose name begins so. False while Cassandra, which a test has stopped, is not back."""
    try:
        for (name,) in session.execute("SELECT keyspace_name FROM system_schema.keyspaces"):
            if name.startswith(stem):
                session.execute(f"DROP KEYSPACE IF EXISTS {name}", timeout=60)
    except (NoHostAvailable, DriverException):
        return False
    return True


@pytest.fixture
def all_views(settings: Settings) -> Settings:
    """The test's settings, of workers that compute every view."""
    return with_all_views(settings)


def with_all_views(settings: Settings) -> Settings:
    """Those of workers that compute every view."""
    return dataclasses.replace(settings, worker=dataclasses.replace(settings.worker, views=()))


def soon_stored(settings: Settings) -> Settings:
    """Those of workers that store in Cassandra, and checkpoint, within half a second: for tests that wait until all is stored."""
    return dataclasses.replace(settings, worker=dataclasses.replace(settings.worker, cassandra_flush_s=0.5, checkpoint_s=0.5))

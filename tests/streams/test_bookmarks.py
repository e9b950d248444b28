"""Bookmarks through a worker, both stores and the audit; and one of them asked for as a viewer's application does."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from cluster.supervisor import Workers
from connectors.cassandra import close, connect
from connectors.cassandra_schema import ensure_schema
from connectors.kafka import ensure_topics
from connectors.shelves import ShelfReader
from loadgen.audit_bookmarks import NAME
from loadgen.load import LoadOptions
from serving.shelves import Shelves
from tests.conftest import soon_stored
from tests.streams.conftest import Pipeline, assert_exact
from topologies.settings import Settings
from topologies.views import every_part


def test_what_viewers_left_is_on_their_shelves(settings: Settings, tmp_path: Path) -> None:
    settings = soon_stored(replace(settings, worker=replace(settings.worker, views=("watch_time", NAME))))
    ensure_topics(settings)
    session = connect(settings.cassandra)
    ensure_schema(session, settings.cassandra, every_part())  # who looks whether the worker has caught up asks for every view's tables
    close(session)
    with Workers(settings, 1, tmp_path) as workers:
        workers.wait_ready()
        pipeline = Pipeline(settings, workers)
        result = pipeline.audited(pipeline.drive(LoadOptions(events=20_000, backfill_s=1_200.0, processes=1)))
    assert_exact(result)
    assert result.views[NAME].wrong == 0
    assert min(result.views[NAME].by_store.get(store, 0) for store in ("redis", "cassandra")) > 100
    reader = ShelfReader(settings.redis)
    account, profile, cached = next(each for each in reader.every() if any(not mark.finished for mark in each[2].marks.values()))
    reader.close()
    with Shelves(settings) as shelves:
        first, again = shelves.shelf(account, profile), shelves.shelf(account, profile)
    assert (first.read, again.read) == ("cassandra", "redis")
    assert first.rows == again.rows
    assert {title for title, mark in cached.marks.items() if not mark.finished} <= {title for title, _ in first.rows}

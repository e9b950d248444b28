"""A backfill through a worker: when it is done, whoever asks waits for nothing more of it."""

from __future__ import annotations

from cluster.process import wait_until
from loadgen.load import LoadOptions
from serving.stores import Stores
from tests.streams.conftest import Pipeline


def test_a_backfill_that_is_done_finishes_in_every_partition(pipeline: Pipeline) -> None:
    run = pipeline.drive(LoadOptions(events=2_000, backfill_s=600.0, processes=1))
    with Stores(pipeline.settings) as stores:

        def finished() -> set[int]:
            known = stores.known()
            return {known.stored[name].source.partition for name in known.finished if known.stored[name].source.topic_id == run.topic_id}

        partitions = {span.partition for span in run.partitions}
        assert wait_until(lambda: finished() == partitions, 60)
        live = {name for name, status in stores.known().stored.items() if status.source.topic != run.topic}
        assert not live & stores.known().over

"""A run is audited while it goes on: what was sent is made again from its seed, as far as the workers are."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

from cluster.process import wait_until
from connectors.redis_reader import CellReader
from loadgen.audit import audit
from loadgen.load import LoadOptions, run_load
from tests.streams.conftest import Pipeline, assert_exact

FAULTS = "duplicates=0.02,late=0.01,malformed=0.02,out-of-order=0.02"
OPTIONS = LoadOptions(duration_s=600, rate=1_500, run="going", faults=FAULTS, processes=1)


def test_a_run_that_goes_on_is_exact_so_far_and_when_it_is_stopped(pipeline: Pipeline) -> None:
    enough = threading.Event()
    with ThreadPoolExecutor(1) as driver, closing(CellReader(pipeline.settings.redis, ())) as reader:
        driven = driver.submit(run_load, pipeline.settings, OPTIONS, lambda _: None, enough.is_set)
        try:
            assert wait_until(lambda: sum(found.status.offset for found in reader.statuses().values() if found.status) > 3_000, 300)
            result = audit(pipeline.settings, "going", lambda _: None)
        finally:
            enough.set()
        run = driven.result(300)
    assert (result.ledger, result.exact, result.differences) == ("equal so far", True, ())
    assert 1_000 < result.received <= run.generated
    assert result.duplicate > 0
    assert result.late > 0
    assert result.dead > 0
    assert_exact(pipeline.audited(run))

"""The month of hours that history's readers are measured on is there, in final rows and volumes, and is found."""

from __future__ import annotations

import pytest

from connectors.cassandra import close, connect
from connectors.cassandra_finals import FinalRows
from connectors.cassandra_schema import ensure_schema
from marquee.series import series_ms, store_month
from serving.stores import Stores
from topologies import volumes
from topologies.errors import MarqueeError
from topologies.settings import Settings
from topologies.view import DAY, HOUR
from topologies.views import every_part
from topologies.watch_time import WATCH_TIME

END_MS = 497_000 * HOUR.length_ms
"""Eight o'clock: four of the hours are of the day before."""


async def test_every_title_has_all_hours(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("marquee.series.HOURS", 12)
    session = connect(settings.cassandra)
    try:
        ensure_schema(session, settings.cassandra, every_part())
        await store_month(settings, session, END_MS, titles=4, regions=2)
        assert FinalRows(session, settings.cassandra).marks(WATCH_TIME, volumes.name_of(HOUR)).keys() == {
            DAY.start_of(END_MS) - DAY.length_ms
        }
    finally:
        close(session)
    with Stores(settings) as stores:
        assert len(series_ms(stores, ["t00000", "t00003", "t00000"], END_MS)) == 3
        with pytest.raises(MarqueeError, match="0 of 12 hours were found"):
            series_ms(stores, ["t00004"], END_MS)

"""`marquee demo --regions`: what it asks the generator for, and what it refuses before anything is started."""

from __future__ import annotations

from typing import Any

import pytest

from marquee.regions_demo import RegionsOptions
from topologies.errors import UsageError


def test_events_are_broken_on_purpose_in_every_region() -> None:
    load = RegionsOptions(events=9_000, faults="duplicates,late").load()
    assert (load.faults, load.everywhere, load.rate) == ("duplicates,late", True, 200)


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"lose": "ap-south-1"}, "the regions are eu-west-1, us-east-1"),
        ({"lose": "eu-west-1", "faults": "late"}, "--lose takes no --faults"),
        ({"faults": "nonsense"}, "knows no 'nonsense'"),
        ({"scenario": "nonsense"}, "there is no scenario 'nonsense'"),
        ({"regions": 5}, "from 2 to 4"),
    ],
)
def test_what_does_not_fit_is_refused_before_a_server_is_started(asked: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        RegionsOptions(events=9_000, **asked).load()

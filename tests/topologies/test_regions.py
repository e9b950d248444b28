"""Regions as the settings name them."""

from __future__ import annotations

from dataclasses import replace

import pytest

from topologies.errors import UsageError
from topologies.regions import doors_of, in_region, others_of, regions_of, require_consistent
from topologies.settings import RegionsSettings, Settings

REDIS = ("eu=redis://e:1/0", "us=redis://u:1/0")
KAFKA = ("eu=e:2", "us=u:2;v:2")


def several(own: str = "eu", redis: tuple[str, ...] = REDIS, kafka: tuple[str, ...] = KAFKA) -> Settings:
    settings = Settings()
    regions = RegionsSettings(redis=redis, kafka=kafka, doors=("us=http://u:3;http://v:3",))
    return replace(settings, worker=replace(settings.worker, region=own), regions=regions)


def test_one_region_is_named_nowhere() -> None:
    settings = Settings()
    assert regions_of(settings) == ("local",)
    assert others_of(settings) == ()
    assert in_region(settings, "local") is settings
    require_consistent(settings)


def test_ones_own_comes_first_and_another_is_somebody_elses_settings() -> None:
    settings = several("us")
    assert regions_of(settings) == ("us", "eu")
    there = in_region(settings, "eu")
    assert (there.worker.region, there.redis.url, there.kafka.bootstrap) == ("eu", "redis://e:1/0", "e:2")
    assert in_region(several("eu"), "us").kafka.bootstrap == "u:2,v:2"
    assert doors_of(settings) == {"us": ("http://u:3", "http://v:3")}


@pytest.mark.parametrize(
    ("settings", "why"),
    [
        (several("asia"), "which worker.region says this is"),
        (several(kafka=("eu=e:2",)), "name different regions"),
        (several(redis=("eu=redis://e:1/0", "eu=redis://u:1/0")), "twice"),
    ],
)
def test_regions_that_do_not_fit_together_are_refused(settings: Settings, why: str) -> None:
    with pytest.raises(UsageError, match=why):
        require_consistent(settings)


def test_a_region_that_nobody_named_is_refused() -> None:
    with pytest.raises(UsageError, match="known are eu, us"):
        in_region(several(), "mars")

"""The regions of a system, as the settings name them (section `regions`): a list each of their Kafkas, Redises and doors, NAME=address.

There are several when `regions.redis` names several, this process's own (`worker.region`) among them. Else there is one, which is named
nowhere but in its sources.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from topologies.errors import UsageError
from topologies.settings import Settings


def regions_of(settings: Settings) -> tuple[str, ...]:
    """All regions, this process's own first, the others by name. Of one region: that one."""
    own = settings.worker.region
    return (own, *sorted(set(_named(settings.regions.redis)) - {own}))


def others_of(settings: Settings) -> tuple[str, ...]:
    """The regions besides this process's own; none where there is one."""
    return regions_of(settings)[1:]


def in_region(settings: Settings, region: str) -> Settings:
    """The settings of somebody in that region, as far as Kafka, Redis and the region's name go. Raises UsageError for one that is not
    named, or whose Kafka is not."""
    if region == settings.worker.region:
        return settings
    urls, brokers = _named(settings.regions.redis), _named(settings.regions.kafka)
    if region not in urls or region not in brokers:
        raise UsageError(f"region {region!r} is not named in regions.redis and regions.kafka; known are {', '.join(regions_of(settings))}")
    return replace(
        settings,
        kafka=replace(settings.kafka, bootstrap=brokers[region].replace(";", ",")),
        redis=replace(settings.redis, url=urls[region]),
        worker=replace(settings.worker, region=region),
    )


def doors_of(settings: Settings) -> dict[str, tuple[str, ...]]:
    """The addresses of each region's doors, http://host:port, as far as `regions.doors` names them."""
    return {region: tuple(found.split(";")) for region, found in _named(settings.regions.doors).items()}


def require_consistent(settings: Settings) -> None:
    """Raises UsageError for regions that do not fit together."""
    names = _named(settings.regions.redis)
    if len(names) != len(settings.regions.redis):
        raise UsageError("regions.redis names a region twice; each has one Redis")
    if names and settings.worker.region not in names:
        raise UsageError(f"regions.redis has no {settings.worker.region!r}, which worker.region says this is; name all regions there")
    if names and set(_named(settings.regions.kafka)) != set(names):
        raise UsageError("regions.kafka and regions.redis name different regions; name all of them in both")


def _named(entries: Sequence[str]) -> dict[str, str]:
    return {name: address for name, _, address in (entry.partition("=") for entry in entries)}

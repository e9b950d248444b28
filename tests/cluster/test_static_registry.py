"""The list of the settings is a registry."""

from __future__ import annotations

import dataclasses

import pytest

from cluster.discovery import Registry, Role
from cluster.registries import open_registry
from cluster.static_registry import StaticRegistry
from tests.cluster.registry_conformance import RegistryConformance, idle, ids, member
from topologies.settings import Settings


@pytest.fixture
def registry() -> Registry:
    return StaticRegistry(Settings().discovery)


@pytest.fixture
def observer(registry: Registry) -> Registry:
    return registry


class TestStaticRegistry(RegistryConformance):
    pass


def test_who_is_listed_is_there_and_its_own_process_says_more() -> None:
    listed = ("api=http://10.0.0.6:8080", "api=http://10.0.0.5:8080", "worker=http://10.0.0.5:9000")
    settings = dataclasses.replace(Settings(), discovery=dataclasses.replace(Settings().discovery, members=listed))
    with open_registry(settings) as registry:
        assert ids(registry.members(Role.API)) == ["http://10.0.0.5:8080", "http://10.0.0.6:8080"]
        assert ids(registry.members(Role.COLLECTOR)) == []
        registry.register(member("w1", address="http://10.0.0.5:9000"), idle)
        assert ids(registry.members(Role.WORKER)) == ["w1"]
    assert ids(registry.members(Role.WORKER)) == ["http://10.0.0.5:9000"]

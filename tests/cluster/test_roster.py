"""One document of who is up, who leads and how many workers are wanted."""

from __future__ import annotations

import dataclasses
import uuid
from collections.abc import Iterator

import msgspec
import pytest

from cluster.discovery import Member, Role
from cluster.leadership import AUTOSCALER, Candidate
from cluster.local import LocalCluster
from cluster.process import wait_until
from cluster.roster import Roster, roster_of
from cluster.scaling.orders import Order
from cluster.zookeeper_registry import ZooKeeperRegistry
from connectors.zookeeper import Session, opened
from tests.cluster.registry_conformance import PATIENCE_S
from topologies.errors import ServerAway
from topologies.settings import DiscoverySettings, Settings, ZooKeeperSettings

ORDER = Order(5, "up for lag", 1_790_000_000_000)


@pytest.fixture
def there(zookeeper: LocalCluster) -> Settings:
    settings = zookeeper.settings
    own = dataclasses.replace(settings.zookeeper, root=f"/test-{uuid.uuid4().hex[:12]}", session_timeout_s=30.0, timeout_s=30.0)
    return dataclasses.replace(settings, zookeeper=own, discovery=dataclasses.replace(settings.discovery, renew_s=0.1))


@pytest.fixture
def roster(there: Settings) -> Iterator[Roster]:
    with Roster(there) as asking:
        assert asking.wait_heard(PATIENCE_S)
        yield asking


def test_who_is_up_leads_and_how_many_are_wanted(there: Settings, roster: Roster) -> None:
    assert roster.document()["workers"] == {"running": 0, "wanted": None, "why": None, "ordered_ms": None}
    with (
        ZooKeeperRegistry(Session(there.zookeeper), there) as own,
        opened(there.zookeeper, PATIENCE_S) as session,
        Candidate(session, AUTOSCALER, "scaler-1") as candidate,
    ):
        for role, id_ in ((Role.WORKER, "w1"), (Role.WORKER, "w2"), (Role.AUTOSCALER, "scaler-1"), (Role.AUTOSCALER, "scaler-2")):
            own.register(Member(id_, role, f"http://{id_}", "1", 0.0, 1_000), lambda: 0.5)
        assert candidate.wait(PATIENCE_S) is not None
        candidate.act(msgspec.json.encode(ORDER).decode())
        assert wait_until(lambda: len(roster.document()["members"]) == 4 and roster.document()["workers"]["wanted"] == 5, PATIENCE_S)
        found = roster.document()
    assert [(one["role"], one["id"], one["leader"]) for one in found["members"]] == [
        ("worker", "w1", False), ("worker", "w2", False), ("autoscaler", "scaler-1", True), ("autoscaler", "scaler-2", False),
    ]  # fmt: skip
    assert (found["leader"]["id"], found["leader"]["epoch"], found["answers"]) == ("scaler-1", 1, True)
    assert found["workers"] == {"running": 2, "wanted": 5, "why": "up for lag", "ordered_ms": 1_790_000_000_000}


def test_it_is_told_without_being_asked_first_and_an_order_goes_with_its_leader(there: Settings) -> None:
    with Roster(there) as asking:
        assert wait_until(lambda: asking.document()["heard_s"] is not None, PATIENCE_S)
        with opened(there.zookeeper, PATIENCE_S) as session, Candidate(session, AUTOSCALER, "scaler-1") as candidate:
            assert candidate.wait(PATIENCE_S) is not None
            candidate.act(msgspec.json.encode(ORDER).decode())
            assert wait_until(lambda: asking.document()["workers"]["wanted"] == 5, PATIENCE_S)
        assert wait_until(lambda: asking.document()["workers"]["wanted"] is None, PATIENCE_S)
        assert asking.document()["leader"] is None


def test_an_order_that_is_not_understood_is_none(there: Settings, roster: Roster) -> None:
    with opened(there.zookeeper, PATIENCE_S) as session, Candidate(session, AUTOSCALER, "scaler-1") as candidate:
        assert candidate.wait(PATIENCE_S) is not None
        candidate.act("more of them")
        assert roster.document()["workers"]["wanted"] is None


def test_a_list_has_no_leader(there: Settings) -> None:
    listed = dataclasses.replace(
        there, zookeeper=ZooKeeperSettings(), discovery=DiscoverySettings(members=("worker=http://10.0.0.5:9000",))
    )
    found = roster_of(listed, 1.0)
    assert [(one["role"], one["address"]) for one in found["members"]] == [("worker", "http://10.0.0.5:9000")]
    assert (found["leader"], found["workers"]["running"], found["workers"]["wanted"]) == (None, 1, None)


def test_a_zookeeper_that_does_not_answer_is_said(there: Settings) -> None:
    away = dataclasses.replace(there, zookeeper=dataclasses.replace(there.zookeeper, hosts=("127.0.0.1:1",)))
    with pytest.raises(ServerAway, match="who is up is not known"):
        roster_of(away, 0.2)
    with Roster(away) as asking:
        found = asking.document()
        assert (found["answers"], found["heard_s"], found["members"], found["leader"]) == (False, None, [], None)

"""Members in a real ZooKeeper: found again after whatever becomes of their sessions, of the server, and of its data."""

from __future__ import annotations

import dataclasses
import shutil
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest
from kazoo.client import KazooClient

from cluster.discovery import Member, Registry, Role
from cluster.leadership import AUTOSCALER, Candidate
from cluster.local import LocalCluster
from cluster.process import wait_until
from cluster.registries import open_registry, registered
from cluster.zookeeper_registry import ZooKeeperRegistry
from connectors.zookeeper import Session, opened
from marquee.cli import main
from tests.cluster.registry_conformance import PATIENCE_S, RegistryConformance, comes_to, idle, ids, member
from topologies.errors import Deposed
from topologies.settings import Settings


@pytest.fixture
def there(zookeeper: LocalCluster) -> Settings:
    """Settings with a place in ZooKeeper that only this test has."""
    return at(zookeeper, session_timeout_s=30.0)


def at(zookeeper: LocalCluster, session_timeout_s: float) -> Settings:
    settings = zookeeper.settings
    own = dataclasses.replace(
        settings.zookeeper, root=f"/test-{uuid.uuid4().hex[:12]}", session_timeout_s=session_timeout_s, timeout_s=30.0
    )
    return dataclasses.replace(settings, zookeeper=own, discovery=dataclasses.replace(settings.discovery, renew_s=0.1))


class Members:
    """Registries that one test opens, each with a session of its own, as processes have them."""

    def __init__(self, settings: Settings, stack: ExitStack) -> None:
        self._settings = settings
        self._stack = stack

    def join(self, id_: str, since_ms: int = 1_000) -> Session:
        """Registers a worker; its session."""
        session = Session(self._settings.zookeeper)
        self._stack.enter_context(ZooKeeperRegistry(session, self._settings)).register(member(id_, since_ms=since_ms), idle)
        return session

    def candidate(self) -> Candidate:
        session = self._stack.enter_context(opened(self._settings.zookeeper, PATIENCE_S))
        return self._stack.enter_context(Candidate(session, AUTOSCALER, "a"))

    def observe(self, gone: Callable[[Member], bool] = lambda _: False) -> Registry:
        return self._stack.enter_context(ZooKeeperRegistry(Session(self._settings.zookeeper), self._settings, gone=gone))


@pytest.fixture
def members(there: Settings) -> Iterator[Members]:
    with ExitStack() as stack:
        yield Members(there, stack)


@pytest.fixture
def registry(there: Settings) -> Iterator[Registry]:
    with open_registry(there) as opened:
        yield opened


@pytest.fixture
def observer(there: Settings) -> Iterator[Registry]:
    with open_registry(there) as opened:
        yield opened


class TestZooKeeperRegistry(RegistryConformance):
    pass


def expire(session: Session) -> None:
    """Ends a session as its server does when it has not heard of it: another client that goes on with it closes it."""
    own = session._client
    client = KazooClient(",".join(session.settings.hosts), client_id=own.client_id)
    client.start(timeout=PATIENCE_S)
    client.stop()
    client.close()


def marked(registry: Registry) -> dict[str, bool]:
    return {one.member.id: one.vanished_s is not None for one in registry.members(Role.WORKER).members}


def test_who_lost_his_session_is_registered_again(members: Members) -> None:
    session, observer = members.join("w1"), members.observe()
    assert comes_to(observer, ["w1"])
    lost = session.session_id()
    expire(session)
    assert wait_until(lambda: session.session_id() not in (0, lost), PATIENCE_S)
    path = session.path("members", "worker", "w1")

    def owner() -> int:
        node = session.read(path)
        return node.owner if node else 0

    assert wait_until(lambda: owner() == session.session_id(), PATIENCE_S)
    assert ids(observer.members(Role.WORKER)) == ["w1"]


def test_of_two_of_one_name_the_later_has_it_and_the_earlier_comes_back_after_it(members: Members) -> None:
    earlier, observer = members.join("w1", since_ms=1_000), members.observe()
    assert comes_to(observer, ["w1"])
    later = members.join("w1", since_ms=2_000)

    def since() -> list[int]:
        return [one.member.since_ms for one in observer.members(Role.WORKER).members]

    assert wait_until(lambda: since() == [2_000], PATIENCE_S)
    later.close()
    assert wait_until(lambda: since() == [1_000], PATIENCE_S)
    assert earlier.session_id() != 0


def test_many_that_vanish_together_are_kept_until_they_are_back_or_shown_to_be_gone(members: Members) -> None:
    gone: set[str] = set()
    observer = members.observe(lambda one: one.id in gone)
    sessions = [members.join(name) for name in ("w1", "w2", "w3")]
    assert comes_to(observer, ["w1", "w2", "w3"])
    for session in sessions:
        session.close()  # without leaving: what a session that ends looks like to others
    assert wait_until(lambda: marked(observer) == {"w1": True, "w2": True, "w3": True}, PATIENCE_S)
    members.join("w2")
    assert wait_until(lambda: marked(observer) == {"w1": True, "w2": False, "w3": True}, PATIENCE_S)
    gone.add("w3")
    assert wait_until(lambda: marked(observer) == {"w1": True, "w2": False}, PATIENCE_S)


def test_those_that_leave_are_not_kept_however_many_they_are(there: Settings, members: Members) -> None:
    observer = members.observe()
    with ExitStack() as stack:
        leaving = Members(there, stack)
        for name in ("w1", "w2", "w3"):
            leaving.join(name)
        assert comes_to(observer, ["w1", "w2", "w3"])
    assert comes_to(observer, [])


def test_a_zookeeper_that_is_away_changes_nothing_and_delays_nobody(
    zookeeper: LocalCluster, members: Members, there: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    observer = members.observe()
    candidate = members.candidate()
    members.join("w1")
    assert comes_to(observer, ["w1"])
    led = candidate.wait(PATIENCE_S)
    zookeeper.kill("zookeeper")
    assert wait_until(lambda: candidate.term() is None, PATIENCE_S)
    with pytest.raises(Deposed):
        candidate.act("1")
    assert wait_until(lambda: not observer.members(Role.WORKER).answers, PATIENCE_S)
    impatient = dataclasses.replace(there, zookeeper=dataclasses.replace(there.zookeeper, timeout_s=0.5))
    named = dataclasses.replace(impatient, worker=dataclasses.replace(there.worker, name="w2"))
    with registered(impatient, [Role.WORKER], "http://127.0.0.1:1"):
        pass
    with registered(named, [Role.WORKER, Role.API], "http://127.0.0.1:2"):
        assert wait_until(lambda: "does not answer: members go by who was there last" in caplog.text, PATIENCE_S)
        known = observer.members(Role.WORKER)
        assert (ids(known), known.answers) == (["w1"], False)
        assert known.heard_s is not None
        zookeeper.restart("zookeeper")  # only now: nobody has waited for it
        assert comes_to(observer, ["w1", "w2"])
        assert comes_to(observer, ["w2"], Role.API)
        assert wait_until(lambda: marked(observer) == {"w1": False, "w2": False}, PATIENCE_S)
        assert observer.members(Role.WORKER).answers
        assert wait_until(lambda: candidate.term() == led, PATIENCE_S)  # found back before its session ended, it leads on
        candidate.act("1")
    assert comes_to(observer, ["w1"])
    assert caplog.text.count("members go by who was there last") <= 5  # each of the sessions says it once


def test_members_are_there_again_when_zookeeper_has_lost_its_data(zookeeper: LocalCluster) -> None:
    with ExitStack() as stack:
        members = Members(at(zookeeper, session_timeout_s=1.0), stack)
        observer = members.observe()
        for name in ("w1", "w2"):
            members.join(name)
        assert comes_to(observer, ["w1", "w2"])
        zookeeper.kill("zookeeper")
        shutil.rmtree(zookeeper.directory / "zookeeper" / "data")
        zookeeper.restart("zookeeper")
        assert wait_until(lambda: observer.members(Role.WORKER).answers, PATIENCE_S)
        assert ids(observer.members(Role.WORKER)) == ["w1", "w2"]
        assert wait_until(lambda: marked(observer) == {"w1": False, "w2": False}, PATIENCE_S)


def test_the_command_shows_who_is_up(
    members: Members, there: Settings, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, text in there.environment().items():
        if name.startswith("MARQUEE_ZOOKEEPER__"):
            monkeypatch.setenv(name, text)
    members.join("w1")
    assert comes_to(members.observe(), ["w1"])
    assert main(["members"]) == 0
    told = capsys.readouterr()
    assert "worker" in told.out
    assert "w1" in told.out
    assert "nobody leads" in told.err
    monkeypatch.setenv("MARQUEE_ZOOKEEPER__HOSTS", "")
    assert main(["members"]) == 2
    assert "set zookeeper.hosts" in capsys.readouterr().err
    assert main(["-s", "discovery.members=api=http://10.0.0.5:8080", "members", "--json"]) == 0
    assert '"address": "http://10.0.0.5:8080"' in capsys.readouterr().out

"""What many ask for at a time is read once; a reader that dies or fails holds nobody up for long."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import pytest

from cluster.local import LocalCluster
from connectors.memcached import Look, Memcached
from connectors.read_through import WAIT_S, Found, ReadThrough, Store
from topologies.errors import ServerAway, StoreError
from topologies.settings import MemcachedSettings, Settings

KEY, OTHER = "mq:read/1", "mq:read/2"
MANY = 8


@pytest.fixture(scope="module")
def servers(bare_settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> Iterator[MemcachedSettings]:
    directory = tmp_path_factory.mktemp("memcached")
    with LocalCluster(directory, bare_settings, services=("memcached",), preferred={"memcached": 0}) as running:
        yield MemcachedSettings(servers=running.settings.memcached.servers, timeout_s=30.0)


@pytest.fixture(autouse=True)
def long_leases(monkeypatch: pytest.MonkeyPatch) -> None:
    """A test may stand still for longer than a lease lasts."""
    monkeypatch.setattr("connectors.memcached.LEASE_S", 60)


@pytest.fixture
def clients(servers: MemcachedSettings) -> Iterator[Callable[[], Memcached]]:
    """Makes clients, each as another process has one; they find nothing that an earlier test left."""
    made: list[Memcached] = []

    def make() -> Memcached:
        made.append(Memcached(servers))
        return made[-1]

    make().drop([KEY, OTHER])
    yield make
    for client in made:
        client.close()


@dataclass
class Slow:
    """A store that counts its reads, which last until they may end."""

    may_end: threading.Event = field(default_factory=threading.Event)
    begun: threading.Event = field(default_factory=threading.Event)
    reads: list[list[str]] = field(default_factory=list)
    raises: BaseException | None = None
    keeps: bool = True
    says: bytes = b"value"

    def load(self, keys: Sequence[str]) -> Mapping[str, bytes]:
        self.reads.append(list(keys))
        self.begun.set()
        self.may_end.wait()
        if self.raises is not None:
            raise self.raises
        return dict.fromkeys(keys, self.says)

    def packed(self, value: bytes) -> bytes | None:
        return value if self.keeps else None

    def unpacked(self, _key: str, payload: bytes) -> bytes:
        if payload != self.says:
            raise StoreError("another version's")
        return payload

    @property
    def store(self) -> Store[bytes]:
        return Store(self.load, self.packed, self.unpacked, 60)


def quick(says: bytes = b"value") -> Slow:
    """One whose reads end at once."""
    slow = Slow(says=says)
    slow.may_end.set()
    return slow


def never() -> float:
    """A clock that stands still: patience does not end."""
    return 0.0


def test_a_stampede_in_a_process_makes_one_read(clients: Callable[[], Memcached]) -> None:
    slow, through = Slow(), ReadThrough(clients(), never)
    with ThreadPoolExecutor(MANY) as pool:
        asked = [pool.submit(through.read, [KEY], slow.store) for _ in range(MANY)]
        slow.begun.wait()
        slow.may_end.set()
        assert {one.result()[KEY].value for one in asked} == {b"value"}
    assert slow.reads == [[KEY]]


def test_without_memcached_a_stampede_waits_for_the_one_read_all_the_same() -> None:
    slow, through = Slow(), ReadThrough(Memcached(MemcachedSettings()), never)
    with ThreadPoolExecutor(MANY) as pool:
        first = pool.submit(through.read, [KEY], slow.store)
        slow.begun.wait()
        _, others = through._claimed([KEY])
        second = pool.submit(through.read, [KEY], slow.store)
        slow.may_end.set()
        assert first.result() == second.result() == {KEY: Found(b"value", False)}
        assert others[KEY].result() == Found(b"value", False)


def test_a_stampede_of_processes_makes_one_read(clients: Callable[[], Memcached]) -> None:
    slow = Slow()
    with ThreadPoolExecutor(MANY) as pool:
        asked = [pool.submit(ReadThrough(clients(), never).read, [KEY], slow.store) for _ in range(MANY)]
        slow.begun.wait()
        slow.may_end.set()
        found = [one.result()[KEY] for one in asked]
    assert {value for value, _ in found} == {b"value"}
    assert sorted(remembered for _, remembered in found) == [False] + [True] * (MANY - 1)
    assert slow.reads == [[KEY]]


def test_only_what_is_missing_is_read_and_all_of_it_in_one_go(clients: Callable[[], Memcached]) -> None:
    clients().put({OTHER: b"value"}, 60)
    slow, through, third = quick(), ReadThrough(clients()), "mq:read/third"
    found = through.read([KEY, OTHER, third], slow.store)
    assert slow.reads == [[KEY, third]]
    assert {key: remembered for key, (_, remembered) in found.items()} == {KEY: False, OTHER: True, third: False}
    clients().drop([third])


def test_a_reader_that_died_is_waited_for_no_longer_than_its_lease(
    clients: Callable[[], Memcached], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("connectors.memcached.LEASE_S", 1)
    assert clients().look([KEY]) == {KEY: Look.READ}
    slow = quick()
    assert ReadThrough(clients(), never).read([KEY], slow.store) == {KEY: Found(b"value", False)}
    assert slow.reads == [[KEY]]
    assert clients().look([KEY]) == {KEY: b"value"}


def test_nor_longer_than_patience_lasts(clients: Callable[[], Memcached]) -> None:
    clients().look([KEY])
    passed = iter(range(1_000))
    slow = quick()
    found = ReadThrough(clients(), lambda: next(passed) * WAIT_S).read([KEY], slow.store)
    assert (found, slow.reads) == ({KEY: Found(b"value", False)}, [[KEY]])


def test_a_read_that_fails_is_told_to_all_and_tried_again_by_the_next(clients: Callable[[], Memcached]) -> None:
    slow, through = Slow(raises=ServerAway("away")), ReadThrough(clients(), never)
    with ThreadPoolExecutor(MANY) as pool:
        first = pool.submit(through.read, [KEY], slow.store)
        slow.begun.wait()
        _, others = through._claimed([KEY])
        slow.may_end.set()
        for waiting in (first, others[KEY]):
            with pytest.raises(ServerAway, match="away"):
                waiting.result()
    again = quick()
    assert ReadThrough(clients(), never).read([KEY], again.store)[KEY].value == b"value"
    assert again.reads == [[KEY]]


def test_who_waited_for_one_that_was_stopped_reads_himself(clients: Callable[[], Memcached]) -> None:
    stopped, through = Slow(raises=KeyboardInterrupt()), ReadThrough(clients(), never)
    with ThreadPoolExecutor(MANY) as pool:
        first = pool.submit(through.read, [KEY], stopped.store)
        stopped.begun.wait()
        second = pool.submit(through.read, [KEY], quick().store)
        stopped.may_end.set()
        with pytest.raises(KeyboardInterrupt):
            first.result()
        assert second.result()[KEY].value == b"value"


def test_of_what_is_not_kept_nobody_waits_for_the_other(clients: Callable[[], Memcached]) -> None:
    for _ in range(2):
        slow = quick()
        slow.keeps = False
        assert ReadThrough(clients(), never).read([KEY], slow.store) == {KEY: Found(b"value", False)}
        assert slow.reads == [[KEY]]


def test_what_another_version_kept_is_read_anew(clients: Callable[[], Memcached]) -> None:
    ReadThrough(clients()).read([KEY], quick(b"old").store)
    new = quick(b"new")
    assert ReadThrough(clients()).read([KEY], new.store) == {KEY: Found(b"new", False)}
    assert ReadThrough(clients()).read([KEY], new.store) == {KEY: Found(b"new", True)}
    assert new.reads == [[KEY]]

"""What Memcached remembers is what was given to it or nothing; and a server that fails is a miss, soon and for a while."""

from __future__ import annotations

import dataclasses
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from cluster.local import LocalCluster
from connectors.memcached import MOST_BYTES, MOST_KEY, REST_S, Look, Memcached, framed, key_of, opened, version_of
from topologies.settings import MemcachedSettings, Settings

KEY, OTHER = "mq:marquee:t:hour/1", "mq:marquee:t:hour/2"
PATIENT_S = 30.0
"""A machine that does much else may take so long to answer."""


class Clock:
    """Seconds that stand until they are moved."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture(autouse=True)
def long_leases(monkeypatch: pytest.MonkeyPatch) -> None:
    """A test may stand still for longer than a lease lasts."""
    monkeypatch.setattr("connectors.memcached.LEASE_S", 60)


@pytest.fixture
def lone(bare_settings: Settings, tmp_path: Path) -> Iterator[LocalCluster]:
    """A Memcached of this test's own, so that it can be killed."""
    with LocalCluster(tmp_path / "lone", bare_settings, services=("memcached",), preferred={"memcached": 0}) as running:
        yield running


def settings_of(cluster: LocalCluster, timeout_s: float = PATIENT_S) -> MemcachedSettings:
    return dataclasses.replace(cluster.settings.memcached, timeout_s=timeout_s)


@pytest.fixture
def client(lone: LocalCluster) -> Iterator[Memcached]:
    memcached = Memcached(settings_of(lone))
    yield memcached
    memcached.close()


def say(cluster: LocalCluster, words: bytes) -> bytes:
    """What the server answers to that, in one line, to a plain client."""
    host, _, port = cluster.settings.memcached.servers[0].rpartition(":")
    with socket.create_connection((host, int(port)), timeout=PATIENT_S) as connection:
        connection.sendall(words)
        return connection.makefile("rb").readline()


@contextmanager
def saying(answer: bytes) -> Iterator[str]:
    """The address of a server that says this to whatever it is asked first, and no more."""

    def serve() -> None:
        connection, _ = listening.accept()
        with connection:
            connection.recv(1)
            connection.sendall(answer)
            connection.shutdown(socket.SHUT_WR)
            while connection.recv(65_536):
                pass

    with socket.create_server(("127.0.0.1", 0)) as listening, ThreadPoolExecutor(1) as pool:
        served = pool.submit(serve)
        yield f"127.0.0.1:{listening.getsockname()[1]}"
        served.result(PATIENT_S)


def test_the_first_who_finds_nothing_is_the_reader_and_the_others_wait(client: Memcached) -> None:
    assert client.look([KEY, OTHER]) == {KEY: Look.READ, OTHER: Look.READ}
    assert client.look([KEY, OTHER]) == {KEY: Look.WAIT, OTHER: Look.WAIT}
    client.put({KEY: b"value\r\n", OTHER: b""}, 60)
    assert client.look([OTHER, KEY]) == {KEY: b"value\r\n", OTHER: b""}


def test_who_gives_a_lease_back_lets_the_next_one_read(client: Memcached) -> None:
    client.look([KEY])
    client.drop([KEY, OTHER])
    assert client.look([KEY]) == {KEY: Look.READ}


def test_what_is_too_large_or_not_to_be_kept_is_said_to_be_so(client: Memcached) -> None:
    client.look([KEY, OTHER])
    client.put({KEY: bytes(MOST_BYTES + 1), OTHER: None}, 60)
    assert client.look([KEY, OTHER]) == {KEY: Look.READ, OTHER: Look.READ}
    assert client.look([KEY, OTHER]) == {KEY: Look.READ, OTHER: Look.READ}, "nobody waits for it"
    client.put({KEY: bytes(MOST_BYTES), OTHER: b"x"}, 60)
    assert client.look([KEY, OTHER]) == {KEY: bytes(MOST_BYTES), OTHER: b"x"}


def test_a_server_that_takes_less_is_no_failure(bare_settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cluster.memcached.SETTINGS", {"-m": "64", "-U": "0", "-I": "512k"})
    with LocalCluster(tmp_path, bare_settings, services=("memcached",), preferred={"memcached": 0}) as cluster:
        client = Memcached(settings_of(cluster))
        client.look([KEY, OTHER])
        client.put({KEY: bytes(900_000), OTHER: b"small"}, 60)
        found = client.look([KEY, OTHER])
        client.close()
    assert (found[OTHER], isinstance(found[KEY], Look)) == (b"small", True)


def test_full_is_forgetful_and_nothing_worse(client: Memcached) -> None:
    keys = [f"mq:full/{number}" for number in range(160)]
    values = {key: key.encode() * 40_000 for key in keys}
    for key in keys:  # twice what it has room for
        client.look([key])
        client.put({key: values[key]}, 60)
    found = client.look(keys)
    kept = {key: value for key, value in found.items() if isinstance(value, bytes)}
    assert 0 < len(kept) < len(keys)
    assert all(value == values[key] for key, value in kept.items())
    assert {found[key] for key in keys if key not in kept} <= {Look.READ, Look.PASS}


@pytest.mark.parametrize(
    "foreign",
    [
        b"",
        b"x",
        framed(KEY, b"payload")[:-1],
        framed(KEY, b"payload") + b"!",
        framed(OTHER, b"payload"),
        framed(KEY, b"payload").replace(b"payload", b"PAYLOAD"),
        b"\x80\x04\x95",
        bytes(40),
    ],
    ids=["empty", "short", "cut", "long", "another key's", "changed", "a pickle", "zeros"],
)
def test_what_is_not_ours_is_read_anew_and_replaced(lone: LocalCluster, client: Memcached, foreign: bytes) -> None:
    assert opened(KEY, foreign) is Look.READ
    assert say(lone, b"ms %b %d\r\n%b\r\n" % (KEY.encode(), len(foreign), foreign)) == b"HD\r\n"
    assert client.look([KEY]) == {KEY: Look.WAIT if not foreign else Look.READ}
    client.put({KEY: b"payload"}, 60)
    assert client.look([KEY]) == {KEY: b"payload"}


def test_what_was_emptied_is_read_anew(lone: LocalCluster, client: Memcached) -> None:
    client.put({KEY: b"value"}, 60)
    assert say(lone, b"flush_all\r\n") == b"OK\r\n"
    assert client.look([KEY]) == {KEY: Look.READ}


def test_a_server_that_was_restarted_is_asked_again_at_once(lone: LocalCluster, client: Memcached) -> None:
    client.put({KEY: b"value"}, 60)
    lone.kill("memcached")
    lone.restart("memcached")
    assert client.look([KEY]) == {KEY: Look.READ}


def test_a_server_that_is_away_is_left_alone_for_a_while(lone: LocalCluster) -> None:
    clock = Clock()
    client = Memcached(settings_of(lone), clock)
    client.put({KEY: b"value"}, 60)
    lone.kill("memcached")
    assert client.look([KEY]) == {KEY: Look.PASS}
    lone.restart("memcached")
    assert client.look([KEY]) == {KEY: Look.PASS}
    clock.now_s += REST_S
    assert client.look([KEY]) == {KEY: Look.READ}
    client.close()


def test_a_server_that_hangs_costs_one_time_out(lone: LocalCluster) -> None:
    client = Memcached(settings_of(lone, timeout_s=0.05), Clock())
    client.look([KEY])
    lone.pause("memcached")
    assert client.look([KEY, OTHER]) == {KEY: Look.PASS, OTHER: Look.PASS}
    lone.resume("memcached")
    client.put({KEY: b"value"}, 60)
    assert client.look([KEY]) == {KEY: Look.PASS}, "it is not asked again"
    other = Memcached(settings_of(lone))
    assert isinstance(other.look([OTHER])[OTHER], Look), "nothing was put there meanwhile"
    other.close()
    client.close()


def test_after_a_rest_one_call_finds_out_and_the_others_go_without(lone: LocalCluster) -> None:
    clock = Clock()
    client = Memcached(settings_of(lone), clock)
    server = client._servers[0]
    server._rests()
    clock.now_s += REST_S
    assert server._may()
    assert not server._may()
    clock.now_s += REST_S
    assert server.call(lambda *_: True, ()) is True
    assert server._may()
    client.close()


@pytest.mark.parametrize("other", ["redis", "kafka"])
def test_another_server_under_its_address_is_a_miss(cluster: LocalCluster, other: str) -> None:
    port = cluster.server(other).ports[other]
    client = Memcached(MemcachedSettings(servers=(f"127.0.0.1:{port}",), timeout_s=1.0))
    for _ in range(2):
        assert client.look([KEY, OTHER]) == {KEY: Look.PASS, OTHER: Look.PASS}
        client.put({KEY: b"value"}, 60)
        client.drop([KEY])
    client.close()
    with pytest.raises(OSError):  # noqa: PT011  # whichever way it shows
        version_of(f"127.0.0.1:{port}", 1.0)


@pytest.mark.parametrize(
    "answer",
    [b"VA 5\r\nabc", b"VA x\r\n\r\n", b"VA 99999999999\r\n", b"VA 3\r\nabcde\r\n", b"\r\n", b"x" * 5_000, b"HD\r\n", b"\xff\xfe\r\n", b""],
)
def test_rubbish_is_a_miss(answer: bytes) -> None:
    with saying(answer) as address:
        client = Memcached(MemcachedSettings(servers=(address,), timeout_s=PATIENT_S))
        assert client.look([KEY, OTHER]) == {KEY: Look.PASS, OTHER: Look.PASS}
        client.close()


def test_without_servers_everything_is_read_and_nothing_kept() -> None:
    client = Memcached(MemcachedSettings())
    client.put({KEY: b"value"}, 60)
    client.drop([KEY])
    assert client.look([KEY]) == {KEY: Look.PASS}
    client.close()


def test_keys_are_short_and_plain_whatever_is_asked() -> None:
    settings = MemcachedSettings(prefix="p:")
    keys = {
        key_of(settings, place, *asked) for place in ("k:t:hour", "ü" * 40, "k" * 300) for asked in ((), ("a", "b"), ("ab",), ("a\x1fb",))
    }
    assert len(keys) == 12
    assert all(len(key) <= MOST_KEY and key.isascii() and key.isprintable() and " " not in key and key.startswith("p:") for key in keys)
    assert key_of(settings, "k:t:hour", "a") == key_of(settings, "k:t:hour", "a")


def test_of_several_servers_each_has_its_share_and_one_more_takes_from_all() -> None:
    addresses = [f"cache-{number}:11211" for number in range(4)]
    three, four = (Memcached(MemcachedSettings(servers=tuple(addresses[:count]))) for count in (3, 4))
    keys = [f"mq:marquee:t:hour/{number:032x}" for number in range(4_000)]
    before, after = ([client._server_of(key) for key in keys] for client in (three, four))
    assert all(1_200 < before.count(at) < 1_470 for at in range(3))
    assert all(was == now or now == 3 for was, now in zip(before, after, strict=True))
    assert all(before.count(at) - after.count(at) > 250 for at in range(3))


def test_a_server_of_several_that_is_away_leaves_the_others_be(lone: LocalCluster) -> None:
    there = settings_of(lone)
    client = Memcached(dataclasses.replace(there, servers=(*there.servers, "127.0.0.1:1")))
    keys = [f"mq:several/{number}" for number in range(50)]
    shares = {at: [key for key in keys if client._server_of(key) == at] for at in (0, 1)}
    assert shares[0]
    assert shares[1]
    looks = client.look(keys)
    assert {looks[key] for key in shares[0]} == {Look.READ}
    assert {looks[key] for key in shares[1]} == {Look.PASS}
    client.close()

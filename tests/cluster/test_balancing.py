"""HAProxy's members follow the registry; a killed one costs no answer."""

from __future__ import annotations

import random
import re
import signal
import socket
import sys
import threading
import urllib.request
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial
from http.client import HTTPException
from pathlib import Path

import pytest

from cluster.balancing import EMPTY, RESOLVE_EVERY_S, Admin, Balancer, Names, Slot, slots_of, takes, told
from cluster.choice import in_turn, two_of
from cluster.discovery import Known, Listed, Member, Registry, Role
from cluster.haproxy import BACKENDS, HERE, HAProxyServer, Runtime
from cluster.local import LocalCluster
from cluster.ports import LOOPBACK
from cluster.process import Guarded, wait_until
from tests.cluster.registry_conformance import PATIENCE_S
from topologies.settings import Settings

NODE = Path(__file__).parent / "node.py"


def slot(number: int, address: tuple[str, int] = EMPTY, admin: int = Admin.MAINTENANCE, busy: int = 0) -> Slot:
    return Slot("api", f"api{number}", address, admin, busy)


ONE, TWO = ("10.0.0.1", 80), ("10.0.0.2", 80)


def test_a_new_member_gets_a_free_slot() -> None:
    commands = told([slot(1), slot(2, ONE, 0), slot(3)], {"api": [ONE, TWO]})
    assert commands == ["set server api/api1 addr 10.0.0.2 port 80", "set server api/api1 check-addr 10.0.0.2 port 80"]
    assert told([slot(1, TWO, 0), slot(2, ONE, 0)], {"api": [ONE, TWO]}) == []


def test_a_member_is_ready_once_haproxy_has_its_address() -> None:
    """Where the address was refused, the slot is still nobody's."""
    assert told([slot(1, TWO), slot(2, ONE, 0)], {"api": [ONE, TWO]}) == ["enable health api/api1", "set server api/api1 state ready"]
    assert told([slot(1, ONE), slot(2, ONE, 0)], {"api": [ONE]}) == []


def test_one_that_has_left_drains_before_its_slot_is_free() -> None:
    assert told([slot(1, ONE, 0)], {"api": []}) == ["set server api/api1 state drain"]
    assert told([slot(1, ONE, Admin.DRAIN, busy=2)], {"api": []}) == []
    assert told([slot(1, ONE, Admin.DRAIN)], {"api": []}) == ["set server api/api1 state maint"]
    assert told([slot(1, ONE, Admin.DRAIN, busy=2)], {"api": [ONE]}) == ["set server api/api1 state ready"]


def test_who_has_no_slot_is_left_out_and_other_backends_are_left_alone() -> None:
    assert told([slot(1, ONE, 0)], {"api": [ONE, TWO]}) == []
    assert told([slot(1, ONE, 0)], {"collector": [TWO]}) == []


STATES = """1
# be_id be_name srv_id srv_name srv_addr srv_op_state srv_admin_state srv_port
3 api 1 api1 10.0.0.1 2 0 80
"""


def test_slots_are_read_out_of_what_haproxy_says() -> None:
    stats = "# pxname,svname,qcur,qmax,scur,\napi,api1,0,0,3,\n"
    assert slots_of(STATES, stats) == [slot(1, ONE, 0, busy=3)]
    assert [one.running for one in slots_of(STATES.replace(" 2 0 80", " 0 0 80"), stats)] == [False]


def test_a_member_takes_when_every_backend_sends_to_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    both = STATES + "4 collector 1 collector1 10.0.0.1 2 0 80\n"
    stats = "# pxname,svname,scur\napi,api1,0\ncollector,collector1,0\n"
    said = {"show servers state": both}
    monkeypatch.setattr(Runtime, "say", lambda _, command: said.get(command, stats))
    runtime = Runtime(tmp_path / "admin.sock")
    assert takes(runtime, "http://10.0.0.1:80")
    assert not takes(runtime, "http://10.0.0.2:80")
    for states in (STATES, both.replace("2 0 80", "0 0 80"), both.replace("2 0 80", "2 8 80"), "", "1\n"):
        said["show servers state"] = states
        assert not takes(runtime, "http://10.0.0.1:80")
    monkeypatch.undo()
    assert not takes(runtime, "http://10.0.0.1:80")


@pytest.mark.parametrize(
    "stats", ["# pxname,svname,qcur,qmax,scur,\napi,api1\n", "# pxname,svname\n", "# pxname,svname,scur\napi,api1,x\n", ""]
)
def test_an_answer_that_was_cut_short_does_not_end_the_balancer(stats: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def say(_: Runtime, command: str) -> str:
        asked.append(command)
        return STATES if command == "show servers state" else stats

    monkeypatch.setattr(Runtime, "say", say)
    registry = Told()
    with Balancer(registry, tmp_path / "admin.sock"):
        for _ in range(3):
            count = len(asked)
            registry.has(80)
            assert wait_until(lambda count=count: len(asked) > count, PATIENCE_S)  # type: ignore[misc]


class Resolver:
    """What names are worth, and how often it was asked."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, **hosts: list[str]) -> None:
        self.hosts, self.asked, self.now_s = hosts, 0, 0.0
        monkeypatch.setattr("cluster.balancing.socket.getaddrinfo", self._answer)

    def _answer(self, host: str, _port: None, type: int) -> list[tuple[object, ...]]:  # noqa: A002
        self.asked += 1
        if not self.hosts.get(host):
            raise OSError(f"no {host} of {type}")
        return [(0, 0, 0, "", (one, 0)) for one in self.hosts[host]]


def test_a_host_name_is_told_as_the_address_that_it_had_last(monkeypatch: pytest.MonkeyPatch) -> None:
    resolver = Resolver(monkeypatch, tv=["10.0.0.1", "10.0.0.2"])
    names = Names(lambda: resolver.now_s)
    assert names.address("http://tv") == names.address("http://tv:80") == ONE
    assert resolver.asked == 1
    for answer, expected in ((["10.0.0.2", "10.0.0.1"], ONE), ([], ONE), (["10.0.0.2"], TWO)):
        resolver.hosts["tv"] = answer
        resolver.now_s += RESOLVE_EVERY_S
        assert names.address("http://tv:80") == expected


def test_one_bad_address_costs_nobody_else(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    resolver = Resolver(monkeypatch, tv=["10.0.0.1"])
    names = Names(lambda: resolver.now_s)
    urls = ("http://tv:99999", "http://tv:x", "http://[tv", "http://gone:80", "http://tv:80")
    for _ in range(3):
        assert [names.address(url) for url in urls] == [None, None, None, None, ONE]
    assert len(caplog.records) == 4


def test_a_node_that_waits_for_a_store_is_not_taken_for_one_that_hangs() -> None:
    (check_s,) = re.findall(r"timeout check (\d+)s", (HERE / "haproxy.cfg").read_text())
    assert int(check_s) >= Settings().api.timeout_s


def listed(id_: str, load: float, vanished_s: float | None = None) -> Listed:
    return Listed(Member(id_, Role.API, f"http://{id_}:80", "1", load, 0), vanished_s)


def test_of_two_at_random_the_less_busy_is_taken() -> None:
    members = [listed(f"m{number}", number / 10) for number in range(10)]
    drawn = random.Random(1)
    firsts = Counter(in_turn(members, drawn)[0].member.id for _ in range(4_000))
    assert firsts["m9"] == 0
    assert firsts["m0"] == pytest.approx(4_000 * 0.2, rel=0.15)
    assert firsts["m8"] == pytest.approx(4_000 * 2 / 90, rel=0.4)


def test_everybody_is_tried_once_and_the_vanished_last() -> None:
    members = [listed("gone", 0.0, 3.0), listed("a", 5.0), listed("b", 9.0)]
    order = [one.member.id for one in in_turn(members, random.Random(7))]
    assert sorted(order) == ["a", "b", "gone"]
    assert order[-1] == "gone"
    assert two_of([], random.Random(1)) == []


class Told(Registry):
    """Says what it is told to."""

    def __init__(self) -> None:
        self.known: dict[Role, Known] = {}
        self.asked = 0
        self._watching: list[object] = []

    def register(self, member: Member, load: object) -> None:
        raise NotImplementedError

    def leave(self, role: Role, id: str) -> None:  # noqa: A002
        raise NotImplementedError

    def members(self, role: Role) -> Known:
        self.asked += 1
        return self.known.get(role, Known((), None, False))

    def wait_heard(self, timeout_s: float) -> bool:
        return timeout_s >= 0

    def watch(self, changed: object) -> None:
        self._watching.append(changed)

    def close(self) -> None:
        pass

    def has(self, *ports: int) -> None:
        """From now on these are the API nodes."""
        members = tuple(Listed(Member(str(port), Role.API, f"http://127.0.0.1:{port}", "1", 0.0, 0), None) for port in ports)
        self.known[Role.API] = Known(members, 0.0, True)
        for changed in self._watching:
            assert callable(changed)
            changed()


@pytest.fixture(scope="module")
def proxy(bare_settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> Iterator[HAProxyServer]:
    directory = tmp_path_factory.mktemp("haproxy") / ("a-longer-path-than-a-socket-can-have" * 3) / "haproxy's own"
    with LocalCluster(directory, bare_settings, services=("haproxy",), preferred={"haproxy": 0}) as cluster:
        server = cluster.haproxy
        yield server


class Nodes:
    """Small HTTP servers that say their name."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self.running: list[Guarded] = []

    def add(self, port: int = 0) -> int:
        """One more, at that port; its port."""
        ready = self._directory / f"{len(self.running)}.port"
        self.running.append(Guarded([sys.executable, str(NODE), str(ready), str(port)], self._directory / f"{len(self.running)}.log"))
        assert wait_until(ready.exists, PATIENCE_S)
        return int(ready.read_text())


@pytest.fixture
def nodes(tmp_path: Path) -> Iterator[Nodes]:
    found = Nodes(tmp_path)
    try:
        yield found
    finally:
        for node in found.running:
            node.kill()


def asked(url: str) -> str:
    with urllib.request.urlopen(url, timeout=30) as answer:
        text: str = answer.read().decode()
        return text


def more_than(counts: Counter[str], wanted: int) -> bool:
    """Whether there were more answers."""
    return sum(counts.values()) > wanted


def answered(url: str) -> set[str]:
    """Who answers twenty requests; nobody where one fails."""
    try:
        return {asked(f"{url}/v1/views") for _ in range(20)}
    except (OSError, HTTPException):
        return set()


def test_members_come_and_go_without_a_reload(proxy: HAProxyServer, nodes: Nodes) -> None:
    registry = Told()
    first, second, third = nodes.add(), nodes.add(), nodes.add()
    pid = proxy.id().pid
    with Balancer(registry, proxy.admin):
        registry.has(first, second)
        assert wait_until(lambda: answered(proxy.url) == {str(first), str(second)}, PATIENCE_S)
        registry.has(second, third)
        assert wait_until(lambda: answered(proxy.url) == {str(second), str(third)}, PATIENCE_S)
        registry.known[Role.API] = Known((), None, False)  # never heard of: no reason to take anybody out
        asked = registry.asked
        assert wait_until(lambda: registry.asked > asked + 2 * len(BACKENDS), PATIENCE_S)
        assert answered(proxy.url) == {str(second), str(third)}
    assert proxy.id().pid == pid


def test_a_haproxy_that_was_restarted_is_told_again(proxy: HAProxyServer, nodes: Nodes) -> None:
    registry = Told()
    port = nodes.add()
    with Balancer(registry, proxy.admin):
        registry.has(port)
        assert wait_until(lambda: answered(proxy.url) == {str(port)}, PATIENCE_S)
        proxy.stop()
        proxy.start()
        assert wait_until(lambda: answered(proxy.url) == {str(port)}, PATIENCE_S)


def test_told_to_let_connections_end_it_does_not_wait_for_those_that_do_not(proxy: HAProxyServer, nodes: Nodes) -> None:
    """Docker, who says so to the official image, waits ten seconds."""
    registry = Told()
    with Balancer(registry, proxy.admin):
        registry.has(port := nodes.add())
        assert wait_until(lambda: answered(proxy.url) == {str(port)}, PATIENCE_S)
        nodes.running[0].id.signal(signal.SIGSTOP)
        with socket.create_connection((LOOPBACK, proxy.ports["haproxy"])) as client:
            client.sendall(b"GET /v1/views HTTP/1.1\r\nHost: tv\r\n\r\n")
            runtime = Runtime(proxy.admin)
            assert wait_until(lambda: any(one.open for one in slots_of(*map(runtime.say, ("show servers state", "show stat")))), PATIENCE_S)
            assert proxy.id().signal(signal.SIGUSR1)
            assert wait_until(lambda: not proxy.alive(), 9.0)
    proxy.start()


def test_no_get_fails_when_a_node_is_killed_under_load(proxy: HAProxyServer, nodes: Nodes) -> None:
    registry = Told()
    ports = [nodes.add() for _ in range(3)]
    failed: list[str] = []
    counts: Counter[str] = Counter()
    over = threading.Event()

    def ask() -> None:
        while not over.is_set():
            try:
                counts[asked(f"{proxy.url}/v1/views")] += 1
            except (OSError, HTTPException) as error:
                failed.append(repr(error))

    with Balancer(registry, proxy.admin), ExitStack() as stack:
        registry.has(*ports)
        assert wait_until(lambda: answered(proxy.url) == {str(port) for port in ports}, PATIENCE_S)
        threads = [threading.Thread(target=ask) for _ in range(8)]
        stack.callback(over.set)
        for thread in threads:
            thread.start()
        for node in nodes.running[:2]:
            wanted = sum(counts.values()) + 300
            assert wait_until(partial(more_than, counts, wanted), PATIENCE_S)
            node.kill()
        assert wait_until(partial(more_than, counts, sum(counts.values()) + 300), PATIENCE_S)
        over.set()
        for thread in threads:
            thread.join()
    assert failed == []
    assert counts[str(ports[2])] > 300

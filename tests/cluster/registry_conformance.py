"""What every Registry owes (cluster/discovery.py), as tests: subclass it and give it a `registry`, and an `observer`, which is another
process' where there can be one."""

from __future__ import annotations

import threading

from cluster.discovery import Known, Member, Registry, Role
from cluster.process import wait_until

PATIENCE_S = 60.0
"""A machine that does much else may take so long."""


def member(id_: str, role: Role = Role.WORKER, since_ms: int = 1_000, address: str = "http://127.0.0.1:1") -> Member:
    return Member(id_, role, address, "1.2.3", 0.0, since_ms)


def idle() -> float:
    return 0.0


def ids(known: Known) -> list[str]:
    return [one.member.id for one in known.members]


def comes_to(registry: Registry, wanted: list[str], role: Role = Role.WORKER) -> bool:
    """Whether these, and no others, are listed in time."""
    return wait_until(lambda: ids(registry.members(role)) == wanted, PATIENCE_S, 0.01)


class RegistryConformance:
    def test_nobody_is_there_before_anybody_has_come(self, observer: Registry) -> None:
        assert observer.wait_heard(PATIENCE_S)
        known = observer.members(Role.WORKER)
        assert known.members == ()
        assert known.answers
        assert known.heard_s is not None

    def test_who_registers_is_found_by_role_and_who_leaves_is_not(self, registry: Registry, observer: Registry) -> None:
        registry.register(member("w2"), idle)
        registry.register(member("w1"), idle)
        registry.register(member("a1", Role.API, address="http://127.0.0.1:2"), idle)
        assert comes_to(observer, ["w1", "w2"])
        assert comes_to(observer, ["a1"], Role.API)
        (found,) = observer.members(Role.API).members
        assert (found.member, found.vanished_s) == (member("a1", Role.API, address="http://127.0.0.1:2"), None)
        registry.leave(Role.WORKER, "w2")
        registry.leave(Role.WORKER, "w2")
        registry.leave(Role.WORKER, "nobody")
        registry.leave(Role.API, "a1")
        assert comes_to(observer, ["w1"])
        assert comes_to(observer, [], Role.API)

    def test_a_load_is_told_anew(self, registry: Registry, observer: Registry) -> None:
        loads = iter(range(1, 1_000_000))
        registry.register(member("w1"), lambda: float(next(loads)))

        def load() -> float:
            return max((one.member.load for one in observer.members(Role.WORKER).members), default=0.0)

        assert wait_until(lambda: load() >= 2.0, PATIENCE_S)

    def test_who_registers_again_says_the_new(self, registry: Registry, observer: Registry) -> None:
        registry.register(member("w1"), idle)
        assert comes_to(observer, ["w1"])
        registry.register(member("w1", address="http://127.0.0.1:3", since_ms=2_000), idle)

        def address() -> list[str]:
            return [one.member.address for one in observer.members(Role.WORKER).members]

        assert wait_until(lambda: address() == ["http://127.0.0.1:3"], PATIENCE_S)

    def test_a_change_is_told(self, registry: Registry, observer: Registry) -> None:
        changed = threading.Event()
        observer.watch(changed.set)

        def told(wanted: list[str]) -> bool:
            return wait_until(lambda: changed.wait(1) and ids(observer.members(Role.WORKER)) == wanted, PATIENCE_S)

        registry.register(member("w1"), idle)
        assert told(["w1"])
        changed.clear()
        registry.leave(Role.WORKER, "w1")
        assert told([])

    def test_who_closes_leaves(self, registry: Registry, observer: Registry) -> None:
        registry.register(member("w1"), idle)
        registry.register(member("c1", Role.COLLECTOR), idle)
        assert comes_to(observer, ["w1"])
        registry.close()
        registry.close()
        assert comes_to(observer, [])
        assert comes_to(observer, [], Role.COLLECTOR)
        assert not registry.members(Role.WORKER).answers

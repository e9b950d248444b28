"""Who is taken to be there when a registry says that somebody is not."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from cluster.discovery import Member
from cluster.membership import Membership
from tests.cluster.registry_conformance import member

WINDOW_S, KEEP_S = 20.0, 90.0


class Heard:
    """A list, and what a registry tells it."""

    def __init__(self, count: int) -> None:
        self.list = Membership(WINDOW_S, KEEP_S)
        self.tells(0.0, count)

    def tells(self, now_s: float, count: int, left: tuple[str, ...] = ()) -> dict[str, bool]:
        """The first `count` are registered; of each that is listed then, whether it is marked."""
        there = {one.id: one for one in map(member, names(count))}
        self.list.heard(there, [member(one).came for one in left], now_s)
        return self.listed(now_s)

    def listed(self, now_s: float) -> dict[str, bool]:
        return {one.member.id: one.vanished_s is not None for one in self.list.listed(now_s)}


def names(count: int, first: int = 0) -> list[str]:
    return [f"w{at:02}" for at in range(first, count)]


def marks(count: int, registered: int) -> dict[str, bool]:
    return {name: at >= registered for at, name in enumerate(names(count))}


def test_one_that_dies_goes_at_once() -> None:
    assert Heard(3).tells(1.0, 2) == marks(2, 2)
    assert Heard(2).tells(1.0, 1) == marks(1, 1)


def test_who_leaves_goes_at_once_however_many_they_are() -> None:
    assert Heard(3).tells(1.0, 0, left=tuple(names(3))) == {}


def test_many_that_vanish_together_are_kept_and_marked() -> None:
    assert Heard(20).tells(1.0, 16) == marks(20, 16)
    assert Heard(20).tells(1.0, 17) == marks(17, 17)  # 15 % of them, and no more, have died
    assert Heard(3).tells(1.0, 0) == marks(3, 0)


def test_those_that_went_before_it_was_many_come_back_marked() -> None:
    heard = Heard(3)
    assert heard.tells(1.0, 2) == marks(2, 2)
    assert heard.tells(4.0, 1) == marks(3, 1)


def test_those_that_die_one_after_another_are_not_many() -> None:
    heard = Heard(4)
    for at in range(60):
        count = 3 - at // 21
        assert heard.tells(float(at), count) == marks(count, count)


def test_after_a_silence_of_the_registry_one_is_as_many() -> None:
    heard = Heard(4)
    heard.list.silent()
    assert heard.tells(1.0, 4) == marks(4, 4)
    assert heard.tells(1.0 + WINDOW_S, 3) == marks(4, 3)
    assert heard.tells(11.0 + WINDOW_S, 2) == marks(4, 2)
    assert heard.tells(12.0 + WINDOW_S, 4) == marks(4, 4)
    assert heard.tells(13.0 + WINDOW_S, 3) == marks(3, 3)


def test_the_last_one_is_kept() -> None:
    assert Heard(1).tells(1.0, 0) == {"w00": True}


def test_who_registers_again_is_unmarked() -> None:
    heard = Heard(3)
    heard.tells(1.0, 0)
    assert heard.tells(2.0, 2) == marks(3, 2)
    assert heard.tells(3.0, 3) == marks(3, 3)


def test_who_is_shown_to_be_gone_goes_unless_another_has_its_name() -> None:
    heard = Heard(3)
    heard.tells(1.0, 0)
    assert [one.id for one in heard.list.kept()] == names(3)
    heard.list.gone([member("w00"), member("w01", since_ms=999)])
    assert heard.listed(1.0) == {"w01": True, "w02": True}


def test_who_is_found_to_have_left_after_it_was_marked_goes() -> None:
    heard = Heard(3)
    heard.tells(1.0, 0)
    assert heard.tells(2.0, 0, left=("w01",)) == {"w00": True, "w02": True}


def test_what_is_kept_goes_after_its_time() -> None:
    heard = Heard(3)
    heard.tells(1.0, 1)
    for at in range(11, 92, 10):
        assert heard.tells(float(at), 1) == marks(3, 1)
    assert heard.tells(92.0, 1) == marks(1, 1)


def test_the_registrys_own_silence_is_not_counted() -> None:
    heard = Heard(3)
    heard.tells(1.0, 1)
    assert heard.tells(1_000.0, 1) == marks(3, 1)
    assert heard.tells(1_010.0, 1) == marks(3, 1)


@given(st.lists(st.sets(st.sampled_from(names(12))), min_size=1, max_size=30), st.lists(st.floats(0.1, 40.0), min_size=30, max_size=30))
def test_a_list_is_never_emptied_at_once_and_has_everybody_who_is_registered(told: list[set[str]], gaps_s: list[float]) -> None:
    heard, now_s = Membership(WINDOW_S, KEEP_S), 0.0
    before: tuple[object, ...] = ()
    for there, gap_s in zip(told, gaps_s, strict=False):
        now_s += gap_s
        registered: dict[str, Member] = {one: member(one) for one in there}
        known = [one for one in heard.listed(now_s) if one.vanished_s is None]
        heard.heard(registered, [], now_s)
        after = heard.listed(now_s)
        assert {one.member.id for one in after if one.vanished_s is None} == there
        assert after or not known
        before = after
    assert len(before) <= 12

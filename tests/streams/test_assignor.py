"""Who gets which partition: even, sticky, and never somebody else's before it was released."""

from __future__ import annotations

from collections.abc import Mapping

from hypothesis import given
from hypothesis import strategies as st

from streams.assignor import Claims, Member, Place, Shares, share_out

TOPICS = {"live": 8, "backfill": 8, "odd": 3}


def rounds(members: dict[str, Member], partitions: Mapping[str, int] = TOPICS) -> tuple[list[Shares], dict[str, Member]]:
    """Rounds until nothing is to be released; each member claims what it was given and has not released."""
    done: list[Shares] = []
    while not done or any(done[-1].release.values()):
        shares = share_out(partitions, members)
        number = 1 + max(member.claims.round for member in members.values())
        members = {name: Member(member.topics, Claims(number, shares.owned[name])) for name, member in members.items()}
        done.append(shares)
        assert len(done) < 5
    return done, members


def fresh(*names: str, topics: Mapping[str, int] = TOPICS) -> dict[str, Member]:
    return {name: Member(frozenset(topics), Claims()) for name in names}


def all_places(partitions: Mapping[str, int] = TOPICS) -> set[Place]:
    return {(topic, number) for topic, count in partitions.items() for number in range(count)}


def test_who_joins_gets_half_in_the_second_round_and_nobody_else_puts_anything_else_down() -> None:
    _, members = rounds(fresh("a"))
    (first, second), after = rounds({**members, **fresh("b")})
    assert first.owned["b"] == frozenset()
    assert first.owned["a"] | first.release["a"] == all_places()
    assert second.owned["b"] == first.release["a"]
    assert second.owned["a"] == first.owned["a"]
    assert abs(len(after["a"].claims.places) - len(after["b"].claims.places)) <= 1


def test_what_a_dead_member_had_is_given_out_at_once_and_the_others_keep_theirs() -> None:
    _, members = rounds(fresh("a", "b", "c"))
    del members["b"]
    (only,), after = rounds(members)
    for name in ("a", "c"):
        assert only.owned[name] >= members[name].claims.places
    assert set().union(*(member.claims.places for member in after.values())) == all_places()


def test_a_zombie_that_comes_back_does_not_get_what_was_given_on() -> None:
    _, members = rounds(fresh("a", "b"))
    zombie = members.pop("a")
    _, members = rounds(members)
    shares = share_out(TOPICS, {**members, "a": zombie})
    assert shares.owned["a"] == frozenset()
    assert shares.release["a"] == frozenset()
    assert shares.release["b"]


def test_a_topic_goes_only_to_those_who_read_it() -> None:
    members = {**fresh("a"), **fresh("b", topics={"live": 8})}
    done, _ = rounds(members)
    assert {topic for topic, _ in done[-1].owned["b"]} == {"live"}
    assert len(done[-1].owned["a"]) == 15


@given(
    st.lists(st.sets(st.sampled_from("abcdefg"), min_size=1), min_size=1, max_size=6),
    st.dictionaries(st.sampled_from(["p", "q", "r", "s"]), st.integers(1, 9), min_size=1),
)
def test_whoever_comes_and_goes_all_is_owned_once_evenly_and_in_two_rounds(history: list[set[str]], partitions: dict[str, int]) -> None:
    members: dict[str, Member] = {}
    for names in history:
        members = {name: members.get(name, Member(frozenset(partitions), Claims())) for name in names}
        before = members
        done, members = rounds(members, partitions)
        assert len(done) <= 2
        for shares in done:
            owned = [place for places in shares.owned.values() for place in places]
            waiting = [place for places in shares.release.values() for place in places]
            assert sorted(owned + waiting) == sorted(all_places(partitions))
        for topic in partitions:
            counts = [sum(place[0] == topic for place in member.claims.places) for member in members.values()]
            assert max(counts) - min(counts) <= 1
        totals = [len(member.claims.places) for member in members.values()]
        assert max(totals) - min(totals) <= 1
        if set(before) == set(members) and all(member.claims.places for member in before.values()):
            again, _ = rounds(members, partitions)
            assert [again[0].owned[name] for name in members] == [members[name].claims.places for name in members]

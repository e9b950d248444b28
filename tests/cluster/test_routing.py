"""Whom a client asks where there are several regions."""

from __future__ import annotations

import random

from cluster.discovery import Listed, Member, Role
from cluster.routing import FULL, REST_S, Router


def door(address: str, load: float = 0.1) -> Listed:
    return Listed(Member(address, Role.API, address, "1", load, 0), None)


class Clock:
    now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


def router(eu: list[Listed], us: list[Listed], clock: Clock | None = None) -> Router:
    return Router("eu", {"us": us, "eu": eu}, random.Random(1), clock=clock or Clock())


def test_a_client_asks_its_own_region_first() -> None:
    asked = router([door("e1"), door("e2")], [door("u1", 0.0)])
    assert {tuple(region for region, _ in asked.in_turn()) for _ in range(50)} == {("eu", "eu", "us")}


def test_a_door_that_does_not_answer_rests_and_is_tried_again() -> None:
    clock = Clock()
    asked = router([door("e1")], [door("u1")], clock)
    asked.missed("e1")
    assert asked.in_turn() == [("us", "u1"), ("eu", "e1")]
    clock.now_s = REST_S + 0.1
    assert asked.in_turn() == [("eu", "e1"), ("us", "u1")]
    asked.missed("e1")
    asked.answered("e1")
    assert asked.in_turn()[0] == ("eu", "e1")


def test_one_that_rests_comes_behind_all_others_of_whatever_region() -> None:
    asked = router([door("e1", 0.0), door("e2", 0.5)], [door("u1")])
    asked.missed("e1")
    assert [address for _, address in asked.in_turn()] == ["e2", "u1", "e1"]


def test_with_all_resting_the_order_is_as_ever() -> None:
    asked = router([door("e1")], [door("u1")])
    asked.missed("e1")
    asked.missed("u1")
    assert asked.in_turn() == [("eu", "e1"), ("us", "u1")]


def test_a_region_that_is_full_spills_over_to_one_that_is_not() -> None:
    busy, calm = FULL + 0.1, FULL - 0.1
    assert router([door("e1", busy)], [door("u1", calm)]).in_turn() == [("us", "u1"), ("eu", "e1")]
    assert router([door("e1", busy), door("e2", calm)], [door("u1", 0.0)]).in_turn()[-1] == ("us", "u1")
    assert router([door("e1", busy)], [door("u1", busy)]).in_turn() == [("eu", "e1"), ("us", "u1")]


def test_the_least_busy_of_the_others_is_the_first_of_them() -> None:
    doors = {"eu": [door("e1")], "us": [door("u1", 0.6)], "ap": [door("a1", 0.2)]}
    asked = Router("eu", doors, random.Random(1))
    asked.missed("e1")
    assert [region for region, _ in asked.in_turn()] == ["ap", "us", "eu"]
    asked.told("us", [door("u1", 0.0)])
    assert [region for region, _ in asked.in_turn()] == ["us", "ap", "eu"]

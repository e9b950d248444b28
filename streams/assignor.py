"""Who owns which partition: an incremental rebalance on Kafka's eager group protocol.

In the eager protocol every member gives up everything before each new assignment, and learns only afterwards what it lost. Here a member
claims what it owns when it joins (in its user data), and the leader moves a partition in two rounds:

    round n      the partitions that are to move stay with nobody; their owner is told to release them; all others stay or are given out
    the owner    brings them to the stores, claims them no more, and asks for another round
    round n+1    whoever has room gets them

So a partition that stays is never put down, and one that leaves is durable before anyone else reads it. What a dead member had is
claimed by nobody, and given out at once.
"""

from __future__ import annotations

import threading
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import msgspec
from aiokafka.coordinator.assignors.abstract import AbstractPartitionAssignor
from aiokafka.coordinator.protocol import ConsumerProtocolMemberAssignment, ConsumerProtocolMemberMetadata

Place = tuple[str, int]
"""A topic and a partition."""
VERSION: Final = 1


class Claims(msgspec.Struct, frozen=True):
    """A member's user data: what it owns, and the round in which it was last given something. The newest claim of a partition counts."""

    round: int = 0
    places: frozenset[Place] = frozenset()


class Share(msgspec.Struct, frozen=True):
    """What the leader tells a member beside its partitions. `settled`: no partition waits for its owner to release it."""

    round: int
    release: frozenset[Place]
    settled: bool


@dataclass(frozen=True)
class Member:
    """A member as the leader sees it."""

    topics: frozenset[str]
    claims: Claims


@dataclass(frozen=True)
class Shares:
    """The leader's decision: by member, what it owns and what it is to release."""

    owned: Mapping[str, frozenset[Place]]
    release: Mapping[str, frozenset[Place]]


def share_out(partitions: Mapping[str, int], members: Mapping[str, Member]) -> Shares:
    """Share the topics (name: number of partitions) among the members that read them: as evenly as can be, topic by topic, and with as
    few moves as that allows. A partition claimed by a member that is to lose it goes to nobody yet. The same input gives the same shares.
    """
    owner = _owners(members)
    owned: dict[str, set[Place]] = {name: set() for name in members}
    release: dict[str, set[Place]] = {name: set() for name in members}
    extras = dict.fromkeys(members, 0)
    for topic, count in sorted(partitions.items()):
        readers = sorted(name for name, member in members.items() if topic in member.topics)
        if not readers:
            continue
        held = {name: [place for number in range(count) if owner.get(place := (topic, number)) == name] for name in readers}
        room = _quotas(count, readers, held, extras)
        given = {place for name in readers for place in held[name]}
        for name in readers:
            owned[name].update(held[name][: room[name]])
            release[name].update(held[name][room[name] :])
            room[name] -= min(room[name], len(held[name]))
        for number in range(count):
            if (place := (topic, number)) in given:
                continue
            roomiest = max(readers, key=lambda name: room[name])  # of equals the first
            owned[roomiest].add(place)
            room[roomiest] -= 1
    return Shares(
        {name: frozenset(places) for name, places in owned.items()}, {name: frozenset(places) for name, places in release.items()}
    )


def _owners(members: Mapping[str, Member]) -> dict[Place, str]:
    """By partition, the member that claims it; of several the one with the newest claim: the others were away while it was given on."""
    found: dict[Place, tuple[int, str]] = {}
    for name, member in sorted(members.items()):
        for place in member.claims.places:
            if place[0] in member.topics and (place not in found or member.claims.round > found[place][0]):
                found[place] = (member.claims.round, name)
    return {place: name for place, (_, name) in found.items()}


def _quotas(count: int, readers: list[str], held: Mapping[str, Collection[Place]], extras: dict[str, int]) -> dict[str, int]:
    """How many of the topic's partitions each gets. Those left over go to who has had fewest of such, then to who holds most."""
    least, over = divmod(count, len(readers))
    favoured = sorted(readers, key=lambda name: (extras[name], -len(held[name]), name))[:over]
    for name in favoured:
        extras[name] += 1
    return {name: least + (name in favoured) for name in readers}


class Assignor(AbstractPartitionAssignor):
    """aiokafka's side: called in the consumer's thread, except `released` and `current`, which the event loop's calls."""

    name = "marquee-incremental"

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._claims = Claims()
        self._assigned: frozenset[Place] = frozenset()
        self._share = Share(0, frozenset(), settled=False)

    def current(self) -> tuple[frozenset[Place], Share]:
        """What is assigned, and the share that came with it."""
        with self._lock:
            return self._assigned, self._share

    def released(self, places: Iterable[Place]) -> bool:
        """These are not held any more; True if another round is to give them on. What has been given back meanwhile stays claimed."""
        with self._lock:
            kept = self._claims.places - (frozenset(places) - self._assigned)
            changed = kept != self._claims.places
            self._claims = Claims(self._claims.round, kept)
            return changed

    # aiokafka declares class methods, since its own assignors have no state; it calls what it was given.
    def metadata(self, topics: Iterable[str]) -> ConsumerProtocolMemberMetadata:
        with self._lock:
            return ConsumerProtocolMemberMetadata(VERSION, sorted(topics), msgspec.msgpack.encode(self._claims))

    def assign(self, cluster: Any, members: Mapping[str, Any]) -> dict[str, ConsumerProtocolMemberAssignment]:
        read = {name: Member(frozenset(member.subscription), _claims(member.user_data)) for name, member in members.items()}
        topics = frozenset(topic for member in read.values() for topic in member.topics)
        counts = {topic: len(cluster.partitions_for_topic(topic) or ()) for topic in topics}
        shares = share_out({topic: count for topic, count in counts.items() if count}, read)
        number = 1 + max((member.claims.round for member in read.values()), default=0)
        settled = not any(shares.release.values())
        return {
            name: ConsumerProtocolMemberAssignment(
                VERSION, _by_topic(shares.owned[name]), msgspec.msgpack.encode(Share(number, shares.release[name], settled))
            )
            for name in members
        }

    def on_assignment(self, assignment: ConsumerProtocolMemberAssignment) -> None:
        share = msgspec.msgpack.decode(assignment.user_data, type=Share)
        with self._lock:
            self._assigned = frozenset((place.topic, place.partition) for place in assignment.partitions())
            self._claims = Claims(share.round, self._assigned | share.release)
            self._share = share


def _claims(user_data: bytes) -> Claims:
    return msgspec.msgpack.decode(user_data, type=Claims) if user_data else Claims()


def _by_topic(places: Iterable[Place]) -> list[tuple[str, list[int]]]:
    found: dict[str, list[int]] = {}
    for topic, partition in sorted(places):
        found.setdefault(topic, []).append(partition)
    return list(found.items())

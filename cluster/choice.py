"""Who goes past the load balancer: of two members at random the one that is less busy (Mitzenmacher, "The Power of Two Choices in
Randomized Load Balancing", IEEE TPDS 12(10), 2001). Pure but for the choice itself.

Least busy of all would send everybody to the same one until its load is told anew; of two at random, nobody is sent to the worst.
"""

from __future__ import annotations

import random
from collections.abc import Sequence

from cluster.discovery import Listed


def two_of(members: Sequence[Listed], drawn: random.Random) -> list[Listed]:
    """At most two at random: of those that are registered, as long as there are any."""
    registered = [one for one in members if one.vanished_s is None]
    among = registered or list(members)
    return drawn.sample(among, min(2, len(among)))


def in_turn(members: Sequence[Listed], drawn: random.Random) -> list[Listed]:
    """All members in the order in which they are to be tried: the better of two at random, then the better of two of the rest, and so on;
    those that vanished last."""
    left, order = list(members), []
    while left:
        best = min(two_of(left, drawn), key=lambda one: one.member.load)
        order.append(best)
        left.remove(best)
    return order

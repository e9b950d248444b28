"""Counter-based random numbers and Kafka's key hash, as kernels.

A draw is a function of (key, counter): splitmix64, so what a viewer does depends on the seed and the viewer's number only,
not on who computes it, in which order, or how the work is cut.
"""

from __future__ import annotations

import math
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from topologies.compiled import kernel, lean

GOLDEN: Final = np.uint64(0x9E3779B97F4A7C15)
_MIX_1: Final = np.uint64(0xBF58476D1CE4E5B9)
_MIX_2: Final = np.uint64(0x94D049BB133111EB)


@lean
def mix(value: Any) -> Any:
    """splitmix64's finalizer (Steele et al. 2014): uint64 → uint64, one to one."""
    bits = np.uint64(value)
    bits = (bits ^ (bits >> np.uint64(30))) * _MIX_1
    bits = (bits ^ (bits >> np.uint64(27))) * _MIX_2
    return bits ^ (bits >> np.uint64(31))


@lean
def at(key: Any, counter: Any) -> Any:
    """The counter-th 64 random bits of a key."""
    return mix(np.uint64(key) + np.uint64(counter) * GOLDEN)


@lean
def unit(bits: Any) -> float:
    """64 random bits as a number in [0, 1)."""
    return float(np.uint64(bits) >> np.uint64(11)) * 1.1102230246251565e-16


@kernel
def units(key: int, count: int) -> Any:
    """The first `count` numbers in [0, 1) of a key, f8[count]."""
    found = np.empty(count, np.float64)
    for i in range(count):
        found[i] = unit(at(key, i))
    return found


@lean
def draw(lane: Any) -> float:
    """The lane's next number in [0, 1)."""
    lane.draws += np.uint64(1)
    return unit(at(lane.key, lane.draws))


@lean
def draw_lognormal(lane: Any, mu: float, sigma: float) -> float:
    """exp(mu + sigma z), z standard normal by Box and Muller."""
    radius = math.sqrt(-2.0 * math.log(1.0 - draw(lane)))
    return math.exp(mu + sigma * radius * math.cos(6.283185307179586 * draw(lane)))


@lean
def draw_exponential(lane: Any, mean: float) -> float:
    return -mean * math.log(1.0 - draw(lane))


@lean
def pick(cumulative: Any, unit_value: float) -> int:
    """Index of the first cumulative share above `unit_value`; cumulative f8[n] ends with 1."""
    low, high = 0, len(cumulative) - 1
    while low < high:
        middle = (low + high) // 2
        if cumulative[middle] > unit_value:
            high = middle
        else:
            low = middle + 1
    return low


@kernel
def murmur2(data: Any, start: int, end: int) -> int:
    """Kafka's hash of a key (org.apache.kafka.common.utils.Utils.murmur2), made positive as its partitioner does."""
    length = end - start
    m = np.uint32(0x5BD1E995)
    h = np.uint32(0x9747B28C) ^ np.uint32(length)
    whole = length // 4
    for i in range(whole):
        j = start + 4 * i
        k = (
            np.uint32(data[j])
            | np.uint32(np.uint32(data[j + 1]) << np.uint32(8))
            | np.uint32(np.uint32(data[j + 2]) << np.uint32(16))
            | np.uint32(np.uint32(data[j + 3]) << np.uint32(24))
        )
        k = np.uint32(k * m)
        k = np.uint32(k ^ (k >> np.uint32(24)))
        k = np.uint32(k * m)
        h = np.uint32(h * m)
        h = np.uint32(h ^ k)
    rest = length - 4 * whole
    tail = start + 4 * whole
    if rest >= 3:
        h = np.uint32(h ^ np.uint32(np.uint32(data[tail + 2]) << np.uint32(16)))
    if rest >= 2:
        h = np.uint32(h ^ np.uint32(np.uint32(data[tail + 1]) << np.uint32(8)))
    if rest >= 1:
        h = np.uint32(h ^ np.uint32(data[tail]))
        h = np.uint32(h * m)
    h = np.uint32(h ^ (h >> np.uint32(13)))
    h = np.uint32(h * m)
    h = np.uint32(h ^ (h >> np.uint32(15)))
    return int(h) & 0x7FFFFFFF


@kernel
def _partitions(data: Any, ends: Any, count: int) -> Any:
    found = np.empty(len(ends), np.int32)
    start = 0
    for i in range(len(ends)):
        found[i] = murmur2(data, start, ends[i]) % count
        start = ends[i]
    return found


def partitions_of(keys: list[bytes], count: int) -> NDArray[np.int32]:
    """The partition of each key among `count`, as the Java client's default partitioner chooses it."""
    ends = np.cumsum([len(key) for key in keys], dtype=np.int64)
    found: NDArray[np.int32] = _partitions(np.frombuffer(b"".join(keys), np.uint8), ends, count)
    return found

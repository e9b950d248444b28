"""Partials as an answer reads them: the packs of each source, which are merged where they are read.

They are read through Memcached, a bucket of a span a key. An answer is as of the statuses with which it was begun, and packs are written
before the status that covers them. So a key holds the digest of all statuses: what is found was read by somebody who had seen the same ones
before, and is as of them or newer, as it is when it is read in Cassandra now. It is kept for a second, for nobody asks with old statuses.

A bucket that is final, and whose final rows nobody has made yet, is merged by who reads it: as its final pack would be, a function of its
basis (topologies/finals.py), which is then in its key. So it stays for long, and is searched once and not a source at a time.
"""

from __future__ import annotations

import struct
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from connectors.cassandra_reader import StoredPack
from connectors.read_through import Found, Store
from serving.known import Known
from serving.questions import Plan
from serving.regions import RegionAway
from serving.stores import Stores
from topologies.errors import StoreError
from topologies.finals import Basis, merged_of

MOST_KEYS: Final = 64
"""A question for more is not read through Memcached."""
Held = Sequence[tuple[str, bytes]]
"""What stands in a bucket of a span: sources, with their packs."""
_HEAD: Final = struct.Struct("<HI")


@dataclass(frozen=True)
class Partials:
    """Packs, and the spans all of which Memcached had."""

    packs: Sequence[bytes]
    remembered: frozenset[int]
    near: bool = False
    """Whether they are what has come to this data centre, because another one did not answer."""


def read_partials(stores: Stores, known: Known, plan: Plan, starts_ms: Collection[int], regions: Collection[str] | None = None) -> Partials:
    """The packs that hold cells of these windows: of all sources, or of those of these regions, but not of those that have ended when the
    window is the live one. Raises ServerAway or StoreError."""
    if known.regions:
        try:
            return _partials(stores, known, plan, starts_ms, regions, near=False)
        except RegionAway:
            return replace(_partials(stores, known, plan, starts_ms, regions, near=True), near=True)
    return _partials(stores, known, plan, starts_ms, regions, near=False)


def _partials(
    stores: Stores, known: Known, plan: Plan, starts_ms: Collection[int], regions: Collection[str] | None, *, near: bool
) -> Partials:
    without = frozenset() if plan.stored.length_ms else known.ended
    spans_ms = sorted({plan.stored.pack_of(start_ms) for start_ms in starts_ms})
    buckets = plan.buckets
    if len(spans_ms) * len(buckets) > MOST_KEYS:
        found = (pack for pack_ms in spans_ms for pack in _read(stores, plan, pack_ms, buckets, near=near))
        return Partials([pack.blob for pack in found if _counts(pack.source, without, regions)], frozenset())
    view, window = plan.view.table, plan.stored.name
    if len(spans_ms) == len(buckets) == 1 and not known.regions:
        basis = known.bases.of(plan.view, plan.stored, spans_ms[0])
        if basis is not None and (merged := _merged(stores, plan, spans_ms[0], buckets[0], basis)) is not None:
            return merged
    told = (known.digest, "near") if near else (known.digest,)
    places = {stores.key_of(view, window, pack_ms, bucket, *told): (pack_ms, bucket) for pack_ms in spans_ms for bucket in buckets}

    def load(keys: Sequence[str]) -> dict[str, Held]:
        return _loaded(stores, plan, {key: places[key] for key in keys}, near=near)

    kept = Store(load, packed, unpacked, stores.settings.memcached.provisional_ttl_s)
    if len(places) == 1:  # as of one cell: who asks for its neighbours finds them here
        (key,) = places
        one, had = stores.kept_packs(key, lambda: stores.through.read([key], kept)[key], final=False)
        got = {key: Found(one.value, one.remembered or had)}
    else:
        got = stores.through.read(list(places), kept)
    read_anew = {places[key][0] for key, (_, remembered) in got.items() if not remembered}
    packs = [blob for held, _ in got.values() for source, blob in held if _counts(source, without, regions)]
    return Partials(packs, frozenset(spans_ms) - read_anew)


class _GoesOn(Exception):
    """A source that was over has packs beyond where the basis has it: the basis is another soon."""


def _merged(stores: Stores, plan: Plan, pack_ms: int, bucket: int, basis: Basis) -> Partials | None:
    """What all sources have there, as one pack; None when that is not what the basis says."""
    view, window = plan.view, plan.stored.name
    key = stores.key_of(view.table, window, pack_ms, bucket, "merged", basis.digest)

    def load(_keys: Sequence[str]) -> dict[str, Held]:
        packs = stores.packs(view, window, pack_ms, bucket, near=False)
        merged = merged_of(view, basis, ((pack.source, pack.upto, pack.blob) for pack in packs))
        if merged is None:
            raise _GoesOn
        return {key: [("", merged)]}

    kept = Store(load, packed, unpacked, stores.settings.memcached.finals_ttl_s)
    try:
        one, had = stores.kept_packs(key, lambda: stores.through.read([key], kept)[key], final=True)
    except _GoesOn:
        return None
    return Partials([blob for _, blob in one.value], frozenset((pack_ms,)) if one.remembered or had else frozenset())


def _counts(source: str, without: Collection[str], regions: Collection[str] | None) -> bool:
    return source not in without and (regions is None or source.partition(":")[0] in regions)


def _loaded(stores: Stores, plan: Plan, places: Mapping[str, tuple[int, int]], *, near: bool) -> dict[str, Held]:
    asked: dict[int, list[int]] = {}
    for pack_ms, bucket in places.values():
        asked.setdefault(pack_ms, []).append(bucket)
    found: dict[tuple[int, int], list[tuple[str, bytes]]] = {}
    for pack_ms, buckets in asked.items():
        for pack in _read(stores, plan, pack_ms, buckets, near=near):
            found.setdefault((pack_ms, pack.bucket), []).append((pack.source, pack.blob))
    return {key: found.get(place, []) for key, place in places.items()}


def _read(stores: Stores, plan: Plan, pack_ms: int, buckets: Sequence[int], *, near: bool) -> Iterable[StoredPack]:
    """The packs of these buckets of a span, at least."""
    return stores.packs(plan.view, plan.stored.name, pack_ms, buckets[0] if len(buckets) == 1 else None, near=near)


def packed(held: Held) -> bytes:
    """As bytes: of each source, the lengths of its text and of its pack, and both."""
    parts: list[bytes] = []
    for source, blob in held:
        text = source.encode()
        parts += [_HEAD.pack(len(text), len(blob)), text, blob]
    return b"".join(parts)


def unpacked(_key: str, payload: bytes) -> Held:
    """What was packed so. Raises StoreError if the bytes are nothing whole."""
    held, at = [], 0
    while at < len(payload):
        try:
            text, blob = _HEAD.unpack_from(payload, at)
            begin = at + _HEAD.size
            at = begin + text + blob
            held.append((payload[begin : begin + text].decode(), payload[begin + text : at]))
        except (struct.error, UnicodeDecodeError) as error:
            raise StoreError(f"remembered packs of {len(payload)} bytes cannot be read ({error})") from error
    if at != len(payload):
        raise StoreError(f"remembered packs of {len(payload)} bytes should have {at}")
    return held

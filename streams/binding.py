"""Binding a volume (topologies/volumes.py): the final packs of its spans are read and stored once more, standing together.

    marks of the spans     each is there, of the basis that the volume's is made of
    a bucket at a time     the final packs of all its spans, bound; written as up to 16 packs of the volume
    the volume's mark      its basis, and which of its buckets have a pack

Whoever is killed in between leaves packs that no mark tells of, and who binds it next writes over them. A span that is made anew meanwhile
has packs above its mark: then nothing is marked.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final, ParamSpec, Protocol, TypeVar

from connectors.cassandra_finals import FinalRows, FinalStore, Mark
from topologies import volumes
from topologies.errors import StoreError
from topologies.finals import Bases, Basis
from topologies.packs import BUCKETS
from topologies.view import View, Window
from topologies.volumes import Contents, VolumeBasis

MOST_BYTES: Final = 8 * 2**20
"""Of the packs of a bucket, which take seven times as much memory to bind: 18,214 titles in six regions have 5.2 MB in a day. Of more no
volume is made."""
T = TypeVar("T")
P = ParamSpec("P")
Name = tuple[str, str, int]
State = tuple[str, int]


class TooLarge(StoreError):
    """A volume is not made, since one of its rows would be too large."""


class Step(Protocol):
    """Calls what blocks, somewhere else, and waits as long as it should."""

    def __call__(self, call: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Awaitable[T]: ...


@dataclass(frozen=True)
class Volume:
    """A volume that is to be made: a part's, in one of its windows, from `first_ms` on, of `basis`. spans: those that have a cell of any
    source, ascending, with the bases of their final rows."""

    view: View
    window: Window
    first_ms: int
    basis: VolumeBasis
    spans: Mapping[int, Basis]

    @property
    def name(self) -> Name:
        return self.view.name, volumes.name_of(self.window), self.first_ms

    @property
    def state(self) -> State:
        """What its mark is to say."""
        return self.basis.digest, self.basis.version

    def made_of(self) -> Iterator[tuple[Name, State]]:
        """What the marks of its spans have to say."""
        for pack_ms, basis in self.spans.items():
            yield (self.view.name, self.window.name, pack_ms), (basis.digest, basis.version)


def volumes_of(bases: Bases, view: View, window: Window, spans: Mapping[int, Basis]) -> Iterator[Volume]:
    """The volumes of a part and window that are final, in their order. spans: all final spans in which any source has a cell, ascending."""
    if not volumes.are_kept(view, window):
        return
    held: dict[int, dict[int, Basis]] = {}
    for pack_ms, basis in spans.items():
        held.setdefault(volumes.start_of(window, pack_ms), {})[pack_ms] = basis
    for first_ms, within in held.items():
        if (made_of := volumes.basis_of(bases, view, window, first_ms)) is not None:
            yield Volume(view, window, first_ms, made_of, within)


async def bind_volume(finals: FinalRows, store: FinalStore, volume: Volume, step: Step) -> bool:
    """Make a volume, unless somebody has; whether it is there now by our doing: not while one of its spans has no final rows of its basis,
    or is just made anew. Raises TooLarge, ServerAway or StoreError."""
    view, (_, name, first_ms) = volume.view, volume.name
    mark = (await step(finals.marks, view, name, first_ms, first_ms)).get(first_ms)
    if mark is not None and (mark.basis, mark.upto) == volume.state:
        return False
    sources = await step(_sources, finals, volume)
    if sources is None:
        return False
    contents = Contents.parsed(mark.sources) if mark is not None else None
    if contents is None or contents.sources != volumes.digest_of(sources):
        buckets: list[int] = []
        for bucket in range(BUCKETS):
            bound = await step(_bound, finals, volume, bucket)
            if bound is None:
                return False
            if bound:
                await step(store.write, view, name, first_ms, volume.basis.version, bound)
            buckets += bound
        contents = Contents.of(sources, buckets)
    await step(store.mark, view, name, first_ms, Mark(volume.basis.version, volume.basis.digest, contents.text))
    return True


def _sources(finals: FinalRows, volume: Volume) -> list[str] | None:
    """Of each span in their order, which sources have cells in it; None if one has no final rows of its basis."""
    spans_ms = volumes.spans_of(volume.window, volume.first_ms)
    marks = finals.marks(volume.view, volume.window.name, spans_ms[0], spans_ms[-1])
    for (_, _, pack_ms), state in volume.made_of():
        if pack_ms not in marks or (marks[pack_ms].basis, marks[pack_ms].upto) != state:
            return None
    return [marks[pack_ms].sources if pack_ms in volume.spans else "" for pack_ms in spans_ms]


def _bound(finals: FinalRows, volume: Volume, bucket: int) -> Mapping[int, bytes] | None:
    """The volume's packs of what a bucket of its spans has; None if one of those is just made anew."""
    packs = list(finals.packs(volume.view, volume.window.name, list(volume.spans), [bucket]))
    if any(pack.upto > volume.spans[pack.pack_ms].version for pack in packs):
        return None
    if sum(len(pack.blob) for pack in packs) > MOST_BYTES:
        raise TooLarge(f"bucket {bucket} has more than {MOST_BYTES:,} bytes in {len(packs)} spans; they are read one by one")
    return volumes.bind(volume.view, [pack.blob for pack in packs])

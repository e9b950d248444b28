"""The historian: makes the final rows of every span that is final (topologies/finals.py), beside everything else and slowly.

Every worker has one, and none asks another: each takes what lacks final rows, in an order of its own, and looks again whether they are
there before it makes them. Two that make the same write the same.

    sources, ended, finished   → which spans are final, and of what they are made
    spans, finals              → which of those lack final rows, or have them of fewer sources
    a span at a time           → its packs, a bucket at a time, merged; then the top lists; written; marked
    a volume at a time         → final packs of spans that belong together, bound (streams/binding.py), when each span has had its turn
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, ParamSpec, Self, TypeVar

from cassandra.cluster import Session

from connectors.cassandra_finals import FinalRows, FinalStore, Mark, top_bucket
from connectors.cassandra_reader import CellRows
from connectors.source_notes import SourceNotes
from streams import metrics
from streams.binding import TooLarge, Volume, bind_volume, volumes_of
from streams.metered import CpuMeter
from topologies.errors import ServerAway, StoreError
from topologies.finals import Bases, Basis, merged_of, top_packs
from topologies.settings import CassandraSettings
from topologies.sources import Counted, finished
from topologies.view import View, Window

log = logging.getLogger(__name__)
SHARE: Final = 0.02
"""Of one core. The fold comes first, and history has time: nothing is read wrongly before its final rows are there."""
EVERY_S: Final = 30.0
"""So long after the start, and after having found nothing to do, it looks again."""
SPANS_A_ROUND: Final = 100
"""Then it looks anew at what is known of the sources."""
VOLUMES_S: Final = 30.0
"""So long a round goes on making volumes: spans that become final meanwhile wait for no more than that and the last of them."""

T = TypeVar("T")
P = ParamSpec("P")


@dataclass(frozen=True)
class History:
    """What a historian reads and writes."""

    rows: CellRows
    notes: SourceNotes
    finals: FinalRows
    store: FinalStore

    @classmethod
    def opened(cls, session: Session, settings: CassandraSettings, views: Sequence[View], *, regions: int = 1) -> Self:
        """Blocks while statements are prepared. Raises ServerAway or StoreError. Of several regions no history is made while one is away:
        what it wrote last may not be here (docs/decisions/0078)."""
        across_s = settings.timeout_s if regions > 1 else 0.0
        return cls(
            CellRows(session, settings, views, across_s),
            SourceNotes(session, settings),
            FinalRows(session, settings),
            FinalStore(session, settings, views, across_s),
        )

    def bases(self) -> Bases:
        """What is known of the sources. The ended ones are read first: one that has ended since is not, and holds its spans back."""
        ended = self.notes.ended()
        statuses = self.rows.statuses()
        counted = Counted(statuses, self.rows.counted(), ended)
        return Bases(statuses, ended.keys() | finished(statuses, self.notes.finished()), counted)


@dataclass(frozen=True)
class Span:
    """Final rows that are to be made: a part's, in one of its windows, from `pack_ms` on, of `basis`."""

    view: View
    window: Window
    pack_ms: int
    basis: Basis

    @property
    def name(self) -> tuple[str, str, int]:
        return self.view.name, self.window.name, self.pack_ms

    @property
    def state(self) -> tuple[str, int]:
        """What its mark is to say: of which basis its rows are, and at which version they are written."""
        return self.basis.digest, self.basis.version


Made = TypeVar("Made", Span, Volume)


class Historian:
    """One of a worker, over the parts that it computes."""

    def __init__(self, views: Sequence[View], opened: Callable[[], History], worker: str, share: float = SHARE) -> None:
        """`opened` is called when there is time, and blocks. worker: its name, from which the order follows in which spans are taken."""
        self._windows = [(view, window) for view in views for window in view.windows if window.length_ms]
        self._opened = opened
        self._history: History | None = None
        self._order = random.Random(worker)
        self._share = share
        self._done: dict[tuple[str, str, int], tuple[str, int]] = {}
        """Of each span that has its final rows, and each volume, what its mark says."""
        self._unbound: list[Volume] = []
        """The volumes that this round has found to be lacking."""
        self._said = ""

    async def run(self) -> None:
        """Until cancelled. A server that is away is asked again."""
        while True:
            await asyncio.sleep(EVERY_S)
            try:
                while await self.round():
                    self._said = ""
            except (ServerAway, StoreError) as error:
                self._say(str(error))

    async def round(self) -> int:
        """Make some of the final rows that are lacking, and, when none of them had to be left for another round, some of the volumes; how
        many there are now by our doing. Raises ServerAway or StoreError."""
        if self._history is None:
            self._history = await self._step(self._opened)
        bases = await self._step(self._history.bases)
        self._unbound = []
        lacking = [span for view, window in self._windows for span in await self._step(self._lacking, self._history, bases, view, window)]
        self._order.shuffle(lacking)
        made = await self._make_spans(self._history, lacking)
        return made if len(lacking) > SPANS_A_ROUND else made + await self._make_volumes(self._history)

    async def _make_spans(self, history: History, lacking: Sequence[Span]) -> int:
        made = 0
        for span in lacking[:SPANS_A_ROUND]:
            try:
                made += await self._make(history, span)
            except StoreError as error:  # of this span: a pack that cannot be read is no reason to leave the others
                self._say(f"final rows of {' '.join(map(str, span.name))}: {error}")
        return made

    async def _make_volumes(self, history: History) -> int:
        """Make some of the volumes whose spans all have their final rows."""
        ready = [volume for volume in self._unbound if all(self._done.get(span) == state for span, state in volume.made_of())]
        self._order.shuffle(ready)
        made, time = 0, asyncio.get_running_loop().time
        until_s = time() + VOLUMES_S
        for volume in ready:
            if time() >= until_s:
                break
            try:
                bound = await bind_volume(history.finals, history.store, volume, self._step)
                metrics.VOLUMES_WRITTEN.inc(bound)
                made += bound
            except TooLarge as error:
                self._done[volume.name] = volume.state  # it would be each time
                self._say(f"{' '.join(map(str, volume.name))}: {error}")
            except StoreError as error:
                self._say(f"{' '.join(map(str, volume.name))}: {error}")
        return made

    async def _step(self, call: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """The call's result, from another thread; then as long a rest as the share asks for."""
        meter = CpuMeter()
        try:
            return await meter.in_thread(call, *args, **kwargs)
        finally:
            await asyncio.sleep(meter.spent_s * (1 / self._share - 1))

    def _lacking(self, history: History, bases: Bases, view: View, window: Window) -> list[Span]:
        """The final spans of this part and window that are not known to have their final rows; of its volumes, notes those."""
        bases_of = bases.of_spans(view, window, history.rows.pack_spans(view, window.name))
        spans = [Span(view, window, pack_ms, basis) for pack_ms, basis in bases_of.items()]
        unknown = self._unknown(history, spans)
        self._unbound += self._unknown(history, list(volumes_of(bases, view, window, bases_of)))
        return unknown

    def _unknown(self, history: History, found: Sequence[Made]) -> list[Made]:
        """Those, of one part and window, whose marks are not known to say what they are to say."""
        unknown = [one for one in found if self._done.get(one.name) != one.state]
        if unknown:
            view, window = unknown[0].view, unknown[0].name[1]
            marks = history.finals.marks(view, window, unknown[0].name[2], unknown[-1].name[2])
            self._done |= {(view.name, window, pack_ms): (mark.basis, mark.upto) for pack_ms, mark in marks.items()}
        return [one for one in unknown if self._done.get(one.name) != one.state]

    async def _make(self, history: History, span: Span) -> bool:
        """Make a span's final rows, unless somebody has; whether they are there now by our doing."""
        view, window, pack_ms, basis = span.view, span.window.name, span.pack_ms, span.basis
        mark = (await self._step(history.finals.marks, view, window, pack_ms, pack_ms)).get(pack_ms)
        if mark is not None and (mark.basis, mark.upto) == span.state:
            return False
        holders = await self._step(history.store.holders, view, window, pack_ms)
        sources = basis.told({source for held in holders.values() for source in held})
        if mark is None or mark.sources != sources:
            packs: dict[int, bytes] = {}
            for bucket in sorted(holders):
                merged = await self._step(_merged, history, span, bucket)
                if merged is None:
                    return False
                packs[bucket] = merged
            if view.ranked is not None:
                best = await self._step(top_packs, view, list(packs.values()))
                packs |= {top_bucket(grouping): best.get(grouping, b"") for grouping in range(len(view.groupings))}
            await self._step(history.store.write, view, window, pack_ms, basis.version, packs)
        await self._step(history.store.mark, view, window, pack_ms, Mark(basis.version, basis.digest, sources))
        self._done[span.name] = span.state
        metrics.FINALS_WRITTEN.inc()
        return True

    def _say(self, sentence: str) -> None:
        if sentence != self._said:
            self._said = sentence
            log.warning("writing history: %s", sentence)


def _merged(history: History, span: Span, bucket: int) -> bytes | None:
    """The final pack of a bucket; None if a source that ended has gone on beyond where the basis has it."""
    packs = history.rows.packs(span.view, span.window.name, span.pack_ms, bucket)
    return merged_of(span.view, span.basis, ((pack.source, pack.upto, pack.blob) for pack in packs))

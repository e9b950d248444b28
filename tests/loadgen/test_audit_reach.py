"""How far an audit reads the log: to whatever a bookmark that it has read can be of, ticks that go on being appended or not."""

from __future__ import annotations

from typing import Any, Self

import pytest

from loadgen import audit, audit_finals, audit_letters
from loadgen.audit_log import LogEnd
from topologies.settings import Settings
from topologies.sources import Source
from topologies.views import every_part

SOURCE = Source("local", "viewing-events", "A" * 22, 0)


class _Read(Exception):
    """The log would be read now; its argument: of each source up to where."""


class _Stores:
    """Of stores that have nothing yet."""

    def __init__(self, *_: object) -> None:
        pass

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def wrong_totals(self) -> tuple[dict[str, tuple[int, int]], list[Any]]:
        return {view.name: (0, 0) for view in every_part()}, []

    def load_bookmarks(self) -> None:
        pass

    def __getattr__(self, name: str) -> Any:
        return lambda *_: set() if name == "known_topics" else {}


@pytest.mark.parametrize(
    ("before", "later", "reach"),
    [(10, 10, 10), (10, 13, 13), (10, audit.TAIL + 1, 10), (audit.TAIL + 1, audit.TAIL + 2, 0)],
)
def test_the_log_is_read_to_where_it_ended_when_the_bookmarks_had_been_read(
    monkeypatch: pytest.MonkeyPatch, before: int, later: int, reach: int
) -> None:
    def copied(_: Settings, wanted: dict[Source, int], *__: object) -> Any:
        raise _Read(wanted)

    ends = iter([before, later])
    monkeypatch.setattr(audit, "ServedStores", _Stores)
    monkeypatch.setattr(audit, "matching_topics", lambda _: [SOURCE.topic])
    monkeypatch.setattr(audit, "log_ends", lambda *_: [LogEnd(SOURCE, 0, next(ends))])
    monkeypatch.setattr(audit_letters, "load_letters", lambda *_: None)
    monkeypatch.setattr(audit, "copy_log", copied)
    monkeypatch.setattr(audit_finals, "compare", lambda *_: [])
    with pytest.raises(_Read) as found:
        audit.audit(Settings(), None, lambda _: None)
    assert found.value.args == ({SOURCE: reach},)

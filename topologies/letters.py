"""What a letter carries of an event that is in no view: the record's bytes, or of an Arrow record the event's row alone."""

from __future__ import annotations

from topologies.arrow_rows import RowStreams
from topologies.arrow_stream import open_record
from topologies.blocks import ARROW_TYPE, RecordBlock
from topologies.events import Malformed
from topologies.fold import Refused


class LetterValues:
    """Values of the letters of one block's refused events. An Arrow record is opened once for those that follow one another."""

    def __init__(self, block: RecordBlock) -> None:
        self._block = block
        self._opened: tuple[int, RowStreams | None] = (-1, None)

    def of(self, refused: Refused) -> tuple[bytes | None, bool, str]:
        """The value, whether a text in it was cut, and its content type, empty for what was not read as Arrow."""
        block, record = self._block, refused.record
        if not block.is_arrow(record):
            return block.value(record), False, ""
        if refused.reason == "not_arrow":
            return block.value(record), False, ARROW_TYPE
        if self._opened[0] != record:
            self._opened = record, self._open(record)
        opened = self._opened[1]
        if opened is None:
            return block.value(record), False, ARROW_TYPE
        value, cut = opened.of(refused.row)
        return value, cut, ARROW_TYPE

    def _open(self, record: int) -> RowStreams | None:
        try:
            return RowStreams(open_record(self._block.buffer, int(self._block.starts[record]), int(self._block.ends[record])))
        except Malformed:
            return None

"""The worker's log: lines for people, or a JSON object a line, with the source and the offset that a line is about.

    log.error("%s: …", source, extra=at(source, offset))

Text says it in the message; JSON has it in fields too: level, time, worker, logger, message, topic, partition, offset, source, error; of
the audit log also who, address, method, target, outcome, times (connectors/operations.py).
"""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime
from typing import Any, Final

from topologies.errors import UsageError
from topologies.sources import Source

FIELDS: Final = ("topic", "partition", "offset", "source", "who", "address", "method", "target", "outcome", "times")
TEXT: Final = "%(asctime)s %(levelname)s %(name)s %(message)s"
FORMATS: Final = ("text", "json")


def at(source: Source, offset: int | None = None) -> dict[str, Any]:
    """What a line is about, for `extra`."""
    about: dict[str, Any] = {"topic": source.topic, "partition": source.partition, "source": str(source)}
    return about if offset is None else {**about, "offset": offset}


class JsonLines(logging.Formatter):
    """One JSON object a line; `time` in ISO 8601, UTC, milliseconds. A line about no source has no source fields."""

    def __init__(self, worker: str) -> None:
        super().__init__()
        self._worker = worker

    def format(self, record: logging.LogRecord) -> str:
        """The line, without its end."""
        time = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        line: dict[str, Any] = {"time": time, "level": record.levelname, "worker": self._worker, "logger": record.name}
        line["message"] = record.getMessage()
        line |= {name: getattr(record, name) for name in FIELDS if hasattr(record, name)}
        if record.exc_info:
            line["error"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False, default=str)


def set_up(form: str, worker: str) -> None:
    """The process' log goes to stderr in this form. Others' chatter is left out. Raises UsageError for a form that there is not."""
    if form not in FORMATS:
        raise UsageError(f"worker.log_format {form!r}: write {' or '.join(FORMATS)}")
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines(worker) if form == "json" else logging.Formatter(TEXT))
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
    for noisy in ("aiokafka", "faust", "mode", "cassandra"):
        logging.getLogger(noisy).setLevel(logging.WARNING)

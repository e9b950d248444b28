"""The worker's log: every line whole, with its source and offset as fields."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator

import pytest

from connectors.logs import JsonLines, at, set_up
from topologies.errors import UsageError
from topologies.sources import Source

SOURCE = Source("eu", "viewing-events", "A" * 22, 3)


@pytest.fixture
def written() -> Iterator[io.StringIO]:
    """What a logger of the test's own writes."""
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JsonLines("w1"))
    logger = logging.getLogger("marquee.test")
    logger.addHandler(handler)
    yield stream
    logger.removeHandler(handler)


def test_a_line_about_a_source_has_its_place_and_offset_as_fields(written: io.StringIO) -> None:
    logging.getLogger("marquee.test").error("%s: cut\nin two “lines”", SOURCE, extra=at(SOURCE, 12))
    [line] = written.getvalue().splitlines()
    found = json.loads(line)
    assert found.pop("time").endswith("Z")
    assert found == {
        "level": "ERROR", "worker": "w1", "logger": "marquee.test", "message": f"{SOURCE}: cut\nin two “lines”",
        "topic": "viewing-events", "partition": 3, "source": str(SOURCE), "offset": 12,
    }  # fmt: skip


def test_an_error_is_told_with_its_traceback_in_one_line(written: io.StringIO) -> None:
    try:
        raise ValueError("bad")
    except ValueError:
        logging.getLogger("marquee.test").exception("it failed")
    [line] = written.getvalue().splitlines()
    assert "ValueError: bad" in json.loads(line)["error"]
    assert "topic" not in json.loads(line)


def test_a_form_that_there_is_not_is_refused() -> None:
    with pytest.raises(UsageError, match="write text or json"):
        set_up("xml", "w1")

"""The audit log over real HTTP and a real store: every operate call is told and kept, who was refused too, and no answer waits for it."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import pytest
from cassandra.cluster import Session

from cluster.process import wait_until
from connectors.cassandra import close, connect
from connectors.operations import Operation, Operations
from connectors.tokens import Tokens, parsed
from serving.api.audit import MINUTE_S, Audit
from serving.metrics import REGISTRY
from tests.serving.api.conftest import served
from tests.serving.api.test_access import QUESTION, closed, made, with_token
from tests.serving.test_answers import World, without_cassandra
from topologies.events import DAY_MS

STATUS = "/v1/status"
READ = Operation(1_000, "somebody", "127.0.0.1", "GET", STATUS, "200")


@pytest.fixture
def session(world: World) -> Iterator[Session]:
    opened = connect(world.settings.cassandra)
    yield opened
    close(opened)


@pytest.fixture
def operations(world: World, session: Session) -> Operations:
    return Operations(session, world.settings.cassandra)


def kept(operations: Operations) -> list[Operation]:
    """Of today, and of yesterday: midnight may have passed."""
    now_ms = time.time_ns() // 1_000_000
    return list(operations.between(now_ms - DAY_MS, now_ms + DAY_MS))


@contextmanager
def told(caplog: pytest.LogCaptureFixture) -> Iterator[list[logging.LogRecord]]:
    """The lines of the audit log that are written meanwhile, there at the end."""
    lines: list[logging.LogRecord] = []
    with caplog.at_level(logging.INFO, "marquee.audit"):
        yield lines
    lines += [record for record in caplog.records if record.name == "marquee.audit"]


def test_every_operate_call_is_told_and_kept_whoever_it_was_and_however_it_ended(
    world: World, session: Session, operations: Operations, caplog: pytest.LogCaptureFixture
) -> None:
    tokens = Tokens(session, world.settings.cassandra)
    good, other = made(tokens, "operate"), made(tokens, "read")
    good_id, other_id = ((parsed(text) or ("", ""))[0] for text in (good, other))
    with told(caplog) as lines, served(closed(world.settings)) as api:
        assert [api.get(STATUS, headers=with_token(good)).status_code for _ in range(5)] == [200] * 5
        assert api.head(STATUS, headers=with_token(good)).status_code == 200
        assert api.get(f"{STATUS}?top=ü", headers=with_token(good)).status_code == 400
        assert api.get(STATUS, headers=with_token(other)).status_code == 403
        assert api.get(STATUS).status_code == 401
        assert api.get(QUESTION, headers=with_token(other)).status_code == 200  # no operation
    found = kept(operations)
    times: Counter[tuple[str, str, str, str]] = Counter()
    for one in found:
        times[one.who, one.method, one.target, one.outcome.partition(":")[0]] += one.times
    operator = f"token somebody's ({good_id})"
    assert times == {
        (operator, "GET", STATUS, "200"): 5,
        (operator, "HEAD", STATUS, "200"): 1,
        (operator, "GET", f"{STATUS}?top=%C3%BC", "400"): 1,
        (f"token somebody's ({other_id})", "GET", STATUS, "403"): 1,
        ("somebody unknown", "GET", STATUS, "401"): 1,
    }
    assert {one.address for one in found} == {"127.0.0.1"}
    assert "is not for operate" in next(one.outcome for one in found if one.outcome.startswith("403"))
    assert len([one for one in found if one.outcome == "200" and one.method == "GET"]) == 2  # the first, and the four behind it
    fields = ("who", "address", "method", "target", "outcome", "times")
    assert Counter(tuple(getattr(line, name) for name in fields) for line in lines) == Counter(
        tuple(getattr(one, name) for name in fields) for one in found
    )


def test_no_answer_waits_for_the_audit_log_and_what_is_not_kept_is_counted(world: World, caplog: pytest.LogCaptureFixture) -> None:
    before = REGISTRY.get_sample_value("marquee_operations_unkept_total") or 0
    with told(caplog) as lines, served(without_cassandra(world.settings)) as api:
        assert api.get(STATUS).status_code == 200
        assert api.get(f"{STATUS}?one").status_code == 400
    assert [line.outcome.partition(":")[0] for line in lines] == ["200", "400"]  # type: ignore[attr-defined]
    assert (REGISTRY.get_sample_value("marquee_operations_unkept_total") or 0) == before + 2
    assert "2 entries of the audit log stand in this log alone" in caplog.text


@dataclass
class Clock:
    now_s: float = 0.0

    def __call__(self) -> float:
        return self.now_s


async def test_equal_reads_are_one_entry_a_minute_with_their_number_and_other_calls_one_each(
    world: World, session: Session, operations: Operations
) -> None:
    def told_of(method: str) -> list[int]:
        return [one.times for one in operations.between(0, 10_000) if one.method == method]

    clock = Clock()
    async with Audit(world.settings, lambda: session, clock) as audit:
        for at_ms in range(1_000, 1_004):
            audit.note(Operation(at_ms, *_about("GET")))
            audit.note(Operation(at_ms, *_about("POST")))
        clock.now_s = MINUTE_S
        assert await asyncio.to_thread(wait_until, lambda: told_of("GET") == [1, 3], 60)
        for at_ms in range(2_000, 2_007):
            audit.note(Operation(at_ms, *_about("GET")))
        clock.now_s = 2 * MINUTE_S
        assert await asyncio.to_thread(wait_until, lambda: told_of("GET") == [1, 3, 7], 60)
        clock.now_s = 3 * MINUTE_S  # in which there was none
        audit.note(Operation(3_000, *_about("HEAD")))
        assert await asyncio.to_thread(wait_until, lambda: told_of("HEAD") == [1], 60)
        audit.note(Operation(3_001, *_about("GET")))
        audit.note(Operation(3_002, *_about("GET")))
    assert told_of("GET") == [1, 3, 7, 1, 1]
    assert told_of("POST") == [1] * 4
    assert [one.at_ms for one in operations.between(0, 10_000) if one.method == "GET"] == [1_000, 1_003, 2_006, 3_001, 3_002]


def _about(method: str) -> tuple[str, str, str, str, str]:
    return READ.who, READ.address, method, READ.target, READ.outcome

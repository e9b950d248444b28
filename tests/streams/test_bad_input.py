"""Every kind of bad input becomes a dead letter with its reason, its offset and its bytes, and disturbs nothing else."""

from __future__ import annotations

import json
import time

from connectors.kafka import produce_bytes
from connectors.letters import read_letters
from loadgen.audit import audit
from loadgen.audit_report import LetterTally
from marquee.catching_up import catch_up
from serving.stores import Stores
from tests.streams.conftest import Pipeline


def event(**changes: object) -> dict[str, object]:
    """As of the call: a quarter of an hour after the tests were collected one of that time would be late."""
    good: dict[str, object] = {
        "v": 1, "type": "play_start", "session": "s1", "seq": 0, "ts": int(time.time() * 1000), "account": "a1", "profile": "p1",
        "title": "t1", "region": "us-east", "device": "tv", "watched_ms": 1000,
    }  # fmt: skip
    return {**good, **changes}


def text(**changes: object) -> bytes:
    return json.dumps(event(**changes)).encode()


def bad() -> dict[str, tuple[bytes | None, str]]:
    """By what is wrong with it: the value and the reason that it is refused for."""
    return {
        "null value": (None, "empty"),
        "no bytes": (b"", "empty"),
        "2 MB": (text(error_code="x" * 2_000_000), "too_big"),
        "UTF-16": (json.dumps(event()).encode("utf-16"), "encoding"),
        "Latin-1": (json.dumps(event(title="é"), ensure_ascii=False).encode("latin-1"), "encoding"),
        "not JSON": (b"play it again", "not_json"),
        "NUL bytes": (b"\x00" * 40, "not_json"),
        "truncated": (text()[:-1], "not_json"),
        "two objects": (text() + b"\n" + text(), "not_json"),
        "an array": (b"[" + text() + b"]", "not_object"),
        "a newer version": (text(v=2), "version"),
        "unknown type": (text(type="teleport"), "type"),
        "missing key": (json.dumps({k: v for k, v in event().items() if k != "account"}).encode(), "missing:account"),
        "null key": (text(session=None), "missing:session"),
        "text for a number": (text(seq="1"), "wrong_type:seq"),
        "fraction": (text(watched_ms=1.5), "wrong_type:watched_ms"),
        "boolean for a number": (text(seq=True), "wrong_type:seq"),
        "negative": (text(watched_ms=-1), "out_of_range:watched_ms"),
        "absurd": (text(watched_ms=10**15), "out_of_range:watched_ms"),
        "greater than a word": (text(seq=10**30), "out_of_range:seq"),
        "NUL in a text": (text(title="t\u0000"), "out_of_range:title"),
        "endless title": (text(title="t" * 129), "out_of_range:title"),
        "the year 2100": (text(ts=4_102_444_800_000), "ahead"),
    }


def test_every_kind_of_bad_input_becomes_a_dead_letter_and_disturbs_nothing(prompt: Pipeline) -> None:
    settings, wrong = prompt.settings, list(bad().values())
    topic = settings.kafka.topics[0]
    good = [text(session=f"s{number}", seq=0) for number in range(50)]
    records: list[tuple[bytes | None, bytes | None, list[tuple[str, bytes]]]] = []
    for place, (value, _) in enumerate(wrong):
        key = b"a1" if value else (None, b"")[place % 2]
        records += [(b"a1", good[2 * place], []), (key, value, []), (b"a1", good[2 * place + 1], [])]
    produce_bytes(settings, topic, records)
    catch_up(settings, topic, lambda _: None)

    letters = list(read_letters(settings, settings.kafka.dead_topic))
    assert sorted(letter.reason for letter in letters) == sorted(reason for _, reason in wrong)
    assert {(letter.value or b"", letter.reason) for letter in letters} == {(value or b"", reason) for value, reason in wrong}
    assert len({(letter.source, letter.offset, letter.row) for letter in letters}) == len(wrong)
    with Stores(settings) as stores:
        known = stores.known()
        statuses = list(dict(known.cached).values())
    assert sum(status.dead for status in statuses) == len(wrong)
    assert sum(status.applied for status in statuses) == 2 * len(wrong)
    assert sum(status.received for status in statuses) == 3 * len(wrong)

    result = audit(settings, None, lambda _: None)
    assert (result.letters["dead"], result.differences) == (LetterTally(compared=len(wrong)), ())

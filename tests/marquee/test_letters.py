"""Dead letters as a person handles them: counted, looked at, sent again."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest

from connectors.kafka import ensure_topics, partition_offsets, produce_bytes
from connectors.letters import Letter
from marquee.letters import parse_name, preview, readable
from tests.marquee.running import document, marquee, sentence
from topologies.errors import UsageError
from topologies.settings import Settings

SOURCE = "local:AAAAAAAAAAAAAAAAAAAAAA:3"


def letter(settings: Settings, offset: int, reason: str, value: bytes | None) -> Letter:
    return Letter(SOURCE, settings.kafka.topics[0], 3, offset, 0, reason, 1_700_000_000_000 + offset, b"account-1", value)


@pytest.fixture
def dead(settings: Settings) -> Settings:
    """Three dead letters in the dead topic, one of them written twice, as a restored worker would."""
    ensure_topics(settings)
    letters = [
        letter(settings, 5, "not_json", b"{"),
        letter(settings, 7, "not_json", b"\x00\xff\x00"),
        letter(settings, 9, "empty", None),
        letter(settings, 9, "empty", None),
    ]
    produce_bytes(settings, settings.kafka.dead_topic, [(one.key, one.value, one.headers()) for one in letters])
    return settings


def test_letters_are_listed_by_reason_each_once(dead: Settings, tmp_path: Path) -> None:
    found = document(marquee(tmp_path, "dead", "list", "--json", environment=dead.environment()))
    assert [(group["reason"], group["count"]) for group in found["reasons"]] == [("not_json", 2), ("empty", 1)]
    newest = found["reasons"][0]["newest"][0]
    assert (newest["name"], base64.b64decode(newest["value_base64"])) == (f"{SOURCE}@7", b"\x00\xff\x00")
    one = document(marquee(tmp_path, "dead", "list", "--reason", "empty", "--limit", "0", "--json", environment=dead.environment()))
    assert one["reasons"] == [{"reason": "empty", "count": 1, "newest": []}]
    table = marquee(tmp_path, "dead", "list", environment=dead.environment())
    assert "\\x00\\xff" in table.stdout
    assert document(marquee(tmp_path, "late", "list", "--json", environment=dead.environment()))["letters"] == 0


def test_a_letter_is_shown_with_reason_place_and_bytes(dead: Settings, tmp_path: Path) -> None:
    shown = marquee(tmp_path, "dead", "show", f"{SOURCE}@7", environment=dead.environment())
    assert "reason   not_json" in shown.stdout
    assert "partition 3 offset 7" in shown.stdout
    assert "00000000  00 ff 00" in shown.stdout
    text = marquee(tmp_path, "dead", "show", f"{SOURCE}@5#0", environment=dead.environment())
    assert text.stdout.endswith("{\n")
    absent = marquee(tmp_path, "dead", "show", f"{SOURCE}@6", environment=dead.environment())
    assert "there is no dead letter" in sentence(absent, 1)


def test_a_replayed_letter_is_a_new_record_of_its_topic(dead: Settings, tmp_path: Path) -> None:
    unasked = marquee(tmp_path, "dead", "replay", "--reason", "not_json", environment=dead.environment())
    assert unasked.returncode == 2
    found = document(marquee(tmp_path, "dead", "replay", "--reason", "not_json", "--yes", "--json", environment=dead.environment()))
    assert found == {"sent": 2, "topics": {dead.kafka.topics[0]: 2}}
    assert sum(end for _, end in partition_offsets(dead, dead.kafka.topics[0]).values()) == 2


def test_names_of_letters_are_read_strictly() -> None:
    assert str(parse_name("a:b:1@2#3")) == "a:b:1@2#3"
    assert parse_name("a:b:1@2").row is None
    for text in ("a:b:1", "a:b:1@x", "@5", "a:b:1@2#"):
        with pytest.raises(UsageError, match="names no letter"):
            parse_name(text)


def test_bytes_that_do_not_print_are_dumped_and_long_ones_cut() -> None:
    assert list(readable(b"plain", 100)) == ["plain"]
    assert list(readable(b"a\x00b" * 10, 3)) == ["00000000  61 00 62" + " " * 40 + " |a.b|", "… 27 bytes more (--raw writes all)"]
    assert preview(b"\n" + b"x" * 100).startswith("\\x0axxx")

"""A body becomes its events, each with its place; what cannot be read says why and what to send instead."""

from __future__ import annotations

import dataclasses
import gzip

import cramjam
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.collector.bodies import inflated, media_type, read_body
from serving.collector.cmcd import Given
from serving.refusals import status_of
from tests.serving.collector.log import event, written
from topologies.errors import UsageError
from topologies.settings import CollectorSettings

SETTINGS = CollectorSettings()
SMALL = dataclasses.replace(SETTINGS, max_inflated_mb=0.01, max_events=3)
NOTHING = Given({})
FIRST, SECOND = written(event(1)), written(event(2))


@pytest.mark.parametrize(
    ("kind", "body", "values"),
    [
        ("application/json", FIRST, [FIRST]),
        ("application/json", b" \n" + FIRST + b"\n", [FIRST]),
        ("application/json", b"[" + FIRST + b", " + SECOND + b"]", [FIRST, SECOND]),
        ("application/json", b'{"events":[' + FIRST + b"," + SECOND + b"]}", [FIRST, SECOND]),
        ("application/json", b'[1,"a",null,{}]', [b"1", b'"a"', b"null", b"{}"]),
        ("application/x-ndjson", FIRST + b"\n" + SECOND, [FIRST, SECOND]),
        ("application/x-ndjson", FIRST + b"\r\n\r\n" + SECOND + b"\r\n", [FIRST, SECOND]),
        ("application/x-ndjson", b"{\n" + SECOND + b"\n", [b"{", SECOND]),
    ],
)
def test_a_body_is_read_into_its_events(kind: str, body: bytes, values: list[bytes]) -> None:
    batch = read_body(body, kind, NOTHING, SETTINGS)
    assert batch.values == values
    assert batch.places == list(range(len(values)))
    assert batch.sent_at_ms is None


def test_an_envelope_says_when_it_was_sent() -> None:
    assert (
        read_body(b'{"sent_at":1700000000000,"events":[' + FIRST + b"]}", "application/json", NOTHING, SETTINGS).sent_at_ms
        == 1_700_000_000_000
    )


@pytest.mark.parametrize(
    ("kind", "body", "says"),
    [
        ("application/json", b"", "no event"),
        ("application/json", b"[]", "no event"),
        ("application/json", b'{"events":[]}', "no event"),
        ("application/json", b"\n", "no event"),
        ("application/x-ndjson", b"\n\r\n", "no event"),
        ("application/cmcd", b"\n", "no event"),
        ("application/json", b"[{]", "no JSON"),
        ("application/json", b"[" * 100_000, "no JSON"),
        ("application/json", b'{"events":' + b"[" * 100_000, "no JSON"),
        ("application/json", FIRST + b"\n" + SECOND, "application/x-ndjson"),
        ("application/json", b"7", "neither a JSON object nor an array"),
        ("application/json", b"sid=1", "neither a JSON object nor an array"),
        ("application/json", b'{"sent_at":"now","events":[{}]}', "envelope"),
        ("application/json", b'{"events":{}}', "envelope"),
    ],
)
def test_a_body_that_cannot_be_read_is_refused_with_a_sentence(kind: str, body: bytes, says: str) -> None:
    with pytest.raises(UsageError, match=says) as refused:
        read_body(body, kind, NOTHING, SETTINGS)
    assert status_of(refused.value) == 400


@pytest.mark.parametrize("kind", ["application/json", "application/x-ndjson"])
def test_more_events_than_are_allowed_are_refused(kind: str) -> None:
    body = b"[{},{},{},{}]" if kind == "application/json" else b"{}\n{}\n{}\n{}"
    with pytest.raises(UsageError, match="has 4 events and 3 are allowed") as refused:
        read_body(body, kind, NOTHING, SMALL)
    assert status_of(refused.value) == 413


def packed(body: bytes, name: str) -> bytes:
    """Compressed so."""
    if name == "zstd":
        return bytes(cramjam.zstd.compress(body))
    return gzip.compress(body) if name.lower().endswith("gzip") else body


@pytest.mark.parametrize("name", ["gzip", "GZIP", "x-gzip", "zstd", "", "identity"])
def test_a_compressed_body_is_inflated(name: str) -> None:
    assert inflated(packed(FIRST, name), name, SETTINGS) == FIRST


@pytest.mark.parametrize("name", ["gzip", "zstd"])
def test_a_body_that_inflates_beyond_the_limit_is_refused(name: str) -> None:
    bomb = bytes(1_000_000)
    small = packed(bomb, name)
    assert len(small) < 5_000
    with pytest.raises(UsageError, match="when it is inflated") as refused:
        inflated(small, name, SMALL)
    assert status_of(refused.value) == 413


@pytest.mark.parametrize("name", ["gzip", "zstd"])
def test_a_broken_compressed_body_is_refused(name: str) -> None:
    whole = packed(FIRST * 9, name)
    for body in (whole[:-3], whole[: len(whole) // 2], FIRST, whole + b"more"):
        with pytest.raises(UsageError, match=f"not {name}") as refused:
            inflated(body, name, SETTINGS)
        assert status_of(refused.value) == 400


def test_an_unknown_encoding_is_refused() -> None:
    for name in ("br", "gzip, zstd"):
        with pytest.raises(UsageError, match="send gzip, zstd, or no encoding") as refused:
            inflated(FIRST, name, SETTINGS)
        assert status_of(refused.value) == 415


@pytest.mark.parametrize(
    ("named", "kind"),
    [
        ("application/json", "application/json"),
        ("Application/JSON; charset=UTF-8", "application/json"),
        ('application/x-ndjson;charset="utf-8"', "application/x-ndjson"),
        ("application/cmcd", "application/cmcd"),
    ],
)
def test_a_type_is_known_whatever_its_case_and_parameters(named: str, kind: str) -> None:
    assert media_type(named) == kind


@pytest.mark.parametrize("named", ["", "text/plain", "application/json; charset=latin-1", "application/jsonx"])
def test_another_type_is_refused(named: str) -> None:
    with pytest.raises(UsageError) as refused:
        media_type(named)
    assert status_of(refused.value) == 415


@given(st.binary(max_size=300), st.sampled_from(["application/json", "application/x-ndjson", "application/cmcd"]))
def test_whatever_the_bytes_they_are_read_or_refused(body: bytes, kind: str) -> None:
    try:
        found = len(read_body(body, kind, NOTHING, SETTINGS))
    except UsageError as refused:
        found = status_of(refused)
    assert found > 0

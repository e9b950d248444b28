"""The walk through fetched record batches finds what aiokafka's own iteration finds."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from aiokafka.consumer.fetcher import PartitionRecords
from aiokafka.errors import CorruptRecordException
from aiokafka.record.default_records import DefaultRecordBatchBuilder
from aiokafka.structs import TopicPartition
from hypothesis import given
from hypothesis import strategies as st

from loadgen import audit_arrow
from streams.fetched import KeptRecords, take_batches
from topologies.errors import SourceError

READ_COMMITTED = 1
CODECS = {"none": 0, "gzip": 1, "snappy": 2, "lz4": 3, "zstd": 4}
PLACE = TopicPartition("t", 0)
Record = tuple[bytes | None, bytes | None]


def batch(records: list[Record], base_offset: int, codec: int = 0, first_ms: int = 1_000_000, **how: Any) -> bytes:
    """One record batch as a broker would send it."""
    builder = DefaultRecordBatchBuilder(2, codec, how.get("transactional", 0), how.get("producer", -1), -1, -1, 2**24)
    for number, (key, value) in enumerate(records):
        headers = [("content-type", b"application/json")] if number % 3 == 0 else []
        assert builder.append(number, first_ms + 7 * number, key, value, headers) is not None
    made = bytearray(builder.build())
    made[0:8] = base_offset.to_bytes(8, "big")  # the checksum begins behind it
    return bytes(made)


def partition(fetched: bytes, from_offset: int, aborted: list[tuple[int, int]] | None = None) -> Any:
    return PartitionRecords(PLACE, KeptRecords(fetched), aborted or [], from_offset, None, None, True, READ_COMMITTED)


def found(fetched: bytes, from_offset: int) -> list[tuple[int, int, bytes | None, bytes | None]]:
    block = take_batches(partition(fetched, from_offset)).block()
    return [(int(block.offsets[row]), int(block.timestamps[row]), block.key(row), block.value(row)) for row in range(len(block))]


def expected(fetched: bytes, from_offset: int) -> list[tuple[int, int, bytes | None, bytes | None]]:
    return [(record.offset, record.timestamp, record.key, record.value) for record in partition(fetched, from_offset)]


@pytest.mark.parametrize("codec", CODECS.values(), ids=CODECS.keys())
def test_every_codec_gives_the_same_records(codec: int) -> None:
    records: list[Record] = [(b"a%d" % number, b'{"v":1}' * (number % 50)) for number in range(500)]
    fetched = batch(records, 40, codec) + batch([(None, None), (b"", b""), (b"k", None)], 540, codec)
    assert found(fetched, 40) == expected(fetched, 40)
    assert len(found(fetched, 40)) == 503


@given(
    st.lists(
        st.lists(st.tuples(st.none() | st.binary(max_size=20), st.none() | st.binary(max_size=300)), min_size=1, max_size=20), max_size=5
    ),
    st.integers(0, 60),
    st.sampled_from([0, 3]),
)
def test_any_batches_from_any_offset_give_the_same_records(batches: list[list[Record]], from_offset: int, codec: int) -> None:
    fetched, offset = b"", 0
    for records in batches:
        fetched += batch(records, offset, codec)
        offset += len(records)
    from_offset %= len(batches[0]) if batches else 1  # a broker begins with the batch that holds what was asked for
    assert found(fetched, from_offset) == expected(fetched, from_offset)


def test_the_next_fetch_follows_the_last_batch_though_records_were_compacted_away() -> None:
    fetched = batch([(b"a", b"1"), (b"b", b"2")], 10)
    taken = take_batches(partition(fetched, 10))
    assert (taken.first_offset, taken.next_offset) == (10, 12)


def test_records_of_an_aborted_transaction_are_passed_over() -> None:
    fetched = batch([(b"a", b"aborted")], 0, transactional=1, producer=7) + batch([(b"b", b"good")], 1)
    block = take_batches(partition(fetched, 0, aborted=[(7, 0)])).block()
    assert [block.value(row) for row in range(len(block))] == [b"good"]
    assert (block.first_offset, block.next_offset) == (0, 2)


def test_a_broken_checksum_is_an_error() -> None:
    fetched = bytearray(batch([(b"a", b"1234567890")], 0))
    fetched[-5] ^= 0xFF
    with pytest.raises(CorruptRecordException):
        take_batches(partition(bytes(fetched), 0))


def test_a_batch_that_a_fetch_cuts_off_comes_with_the_next() -> None:
    whole, cut = batch([(b"a", b"1")], 0), batch([(b"b", b"2")], 1)
    for rest in (0, 1, 11, 12, 60, len(cut) - 1):
        taken = take_batches(partition(whole + cut[:rest], 0))
        assert (taken.next_offset, taken.nbytes, len(taken.block())) == (1, len(whole), 1)


@pytest.mark.parametrize("length", [-1, 0, 4, 48])
def test_a_batch_that_is_too_short_to_be_one_is_an_error(length: int) -> None:
    second = bytearray(batch([(b"b", b"2")], 1))
    second[8:12] = length.to_bytes(4, "big", signed=True)
    with pytest.raises(CorruptRecordException):
        take_batches(partition(batch([(b"a", b"1")], 0) + bytes(second[: 12 + max(length, 0)]), 0))


def test_an_older_format_is_refused() -> None:
    old = bytearray(batch([(b"a", b"1")], 0))
    old[16] = 1
    with pytest.raises(SourceError, match="format v1"):
        take_batches(partition(bytes(old), 0))


def test_the_header_says_what_a_value_is_and_without_it_the_first_bytes() -> None:
    json, arrow, other = b"application/json", b"application/vnd.apache.arrow.stream", b"text/plain"
    marked, unmarked = b"\xff\xff\xff\xff rest", b"\xff\xfe{"
    cases: list[tuple[bytes | None, list[tuple[str, bytes]], bool]] = [
        (marked, [], True),
        (unmarked, [], False),
        (b"\xff\xff\xff", [], False),
        (None, [], False),
        (marked, [("content-type", json)], False),
        (marked, [("content-type", json + b"; charset=utf-8")], False),
        (b"{}", [("a", b"b"), ("content-type", arrow)], True),
        (None, [("content-type", arrow)], True),
        (b"{}", [("content-type", arrow + b"x")], False),
        (marked, [("content-type", other), ("content-type", json)], True),
        (b"{}", [("content-typ", arrow)], False),
    ]
    builder = DefaultRecordBatchBuilder(2, 0, 0, -1, -1, -1, 2**24)
    for number, (value, headers, _) in enumerate(cases):
        assert builder.append(number, 1_000_000, b"key", value, headers) is not None
    block = take_batches(partition(bytes(builder.build()), 0)).block()
    assert block.arrow is not None
    assert block.arrow.tolist() == [is_arrow for _, _, is_arrow in cases]
    assert [audit_arrow.is_arrow(value, headers) for value, headers, _ in cases] == [is_arrow for _, _, is_arrow in cases]
    told = replace(block, arrow=None)
    assert told.arrow_records().tolist() == [row for row, (value, _, _) in enumerate(cases) if value == marked]

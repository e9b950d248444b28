"""The audit of letters on the real broker: right ones are written, then one thing after the other is made wrong."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import asdict, replace

from confluent_kafka import TopicPartition
from confluent_kafka.admin import AdminClient

from connectors.cassandra import close, connect
from connectors.cassandra_checkpoints import CassandraCheckpoints
from connectors.kafka import ensure_topics, partition_offsets, produce_bytes
from connectors.letters import EVER, Letter, every_letter, gone_before_ms, read_letters
from loadgen import audit_sequence
from loadgen.audit_report import AuditResult, LetterTally
from tests.loadgen.test_audit import LENGTH, MALFORMED, Place, filled, value_of
from topologies.settings import Settings
from topologies.sources import Source

REASONS = ("not_json", "not_json", "encoding", "empty")


def letters_of(place: Place) -> Iterator[Letter]:
    """Those that right workers would write of the whole log."""
    for source, records in place.logs.items():
        at = (str(source), place.topic, source.partition)
        classes = audit_sequence.classes((r.rts, r.ts, r.sid, None if r.ts is None else r.seq) for r in records)
        for offset, (record, name) in enumerate(zip(records, classes, strict=True)):
            if name in ("dead", "late"):
                ahead = record.ts is not None and record.ts > record.rts + 60_000
                reason = "late" if name == "late" else "ahead" if ahead else "seq_jump"
                yield Letter(*at, offset, 0, reason, record.rts, f"T-{record.sid}".encode(), value_of(record))
        broken_ms = records[0].rts // 3_600_000 * 3_600_000 + 10**9
        for offset, (value, reason) in enumerate(zip(MALFORMED, REASONS, strict=True), len(records)):
            yield Letter(*at, offset, 0, reason, broken_ms, b"T-0", value)


def post(place: Place, *letters: Letter) -> None:
    kafka = place.settings.kafka
    for topic, is_late in ((kafka.dead_topic, False), (kafka.late_topic, True)):
        produce_bytes(place.settings, topic, [(one.key, one.value, one.headers()) for one in letters if (one.reason == "late") is is_late])


def checkpoint(place: Place, source: Source, offset: int) -> None:
    session = connect(place.settings.cassandra)
    try:
        asyncio.run(CassandraCheckpoints(session, place.settings.cassandra).write(source, offset, "w", b"a state"))
    finally:
        close(session)


def sums(result: AuditResult) -> LetterTally:
    found = [asdict(tally) for tally in result.letters.values()]
    return LetterTally(**{name: sum(counts[name] for counts in found) for name in found[0]})


def test_each_letter_is_compared_with_the_recount(settings: Settings) -> None:
    place = filled(settings)
    ensure_topics(replace(settings, kafka=replace(settings.kafka, topics=(), partitions=1)))
    right = list(letters_of(place))
    first, other = place.logs
    checkpoint(place, first, LENGTH - 1)
    never = next(each for each in right if each.source == str(first) and each.offset == LENGTH - 1)
    [late, dead, *_] = [next(each for each in right if (each.reason == "late") is is_late) for is_late in (True, False)]
    assert late.source == dead.source == str(first)
    held = next(each for each in right if each.source == str(other) and each.reason == "late")

    elsewhere = replace(dead, source=str(replace(first, region="elsewhere")), reason="type")
    # two of them stand twice, as a restored worker would write them
    post(place, elsewhere, *[each for each in right if each not in (held, never)], late, dead)
    result = place.audit()
    assert (sums(result), result.differences) == (LetterTally(compared=len(right) - 2, undue=2), ())
    assert result.letters["late"].compared == result.late - 1
    assert result.letters["dead"].compared == result.dead - 1
    assert result.exact
    assert {source.checkpoint for source in result.sources} == {LENGTH - 1, None}

    # it has to stand as soon as there is a checkpoint behind it
    checkpoint(place, other, held.offset)
    assert place.audit().exact
    checkpoint(place, other, held.offset + 1)
    result = place.audit()
    assert sums(result) == LetterTally(compared=len(right) - 1, missing=1, undue=1)
    assert [(d.key, d.store, d.expected, d.served) for d in result.differences] == [
        (f"{other}@{held.offset}#0", settings.kafka.late_topic, ("late",), None)
    ]
    assert not result.exact

    refused = {each.offset for each in right if each.source == str(other)}
    applied = next(offset for offset in range(LENGTH) if offset not in refused)
    wrong = {
        "a reason": replace(dead, reason="type"),
        "the other topic": replace(late, reason="ahead"),
        "one too many": replace(held, offset=applied),
        "a row too many": replace(held, row=1),
        "the bytes": replace(held, value=b"{}"),
        "the key": replace(next(each for each in right if each.source == str(other) and each.value is None), key=None),
        "the time": replace(right[-2], record_ts_ms=1),
        "the place": replace(right[-3], partition=7),
    }
    post(place, held, *wrong.values())
    result = place.audit()
    assert sums(result) == LetterTally(compared=len(right) - 1, wrong=6, spurious=2, undue=1)
    found = {(d.key, d.expected, d.served) for d in result.differences}
    assert found >= {
        (f"{first}@{dead.offset}#0", (dead.reason,), ("type",)),
        (f"{other}@{applied}#0", None, ("late",)),
        (f"{other}@{held.offset}#1", None, ("late",)),
        (f"{other}@{held.offset}#0", ("late",), ("late", "another value")),
    }
    assert len(found) == len(wrong)
    assert not result.exact
    _what_retention_may_have_taken_is_counted_and_not_called_missing(place, result)


def _what_retention_may_have_taken_is_counted_and_not_called_missing(place: Place, before: AuditResult) -> None:
    """All late letters are deleted, and the first five dead ones, of which one is another region's and one stands again further on.
    The one that was never written is of a record younger than what the topic still has."""
    kafka = place.settings.kafka
    [(_, late)] = partition_offsets(place.settings, kafka.late_topic).values()
    dead_letters = len(list(every_letter(place.settings, kafka.dead_topic)))
    admin = AdminClient({"bootstrap.servers": kafka.bootstrap, "log_level": 0})
    for deleted in admin.delete_records([TopicPartition(kafka.dead_topic, 0, 5), TopicPartition(kafka.late_topic, 0, late)]).values():
        deleted.result(timeout=60)
    assert [gone_before_ms(place.settings, kafka.late_topic), len(list(read_letters(place.settings, kafka.late_topic)))] == [EVER, 0]
    assert len(list(every_letter(place.settings, kafka.dead_topic))) == dead_letters - 5
    for source in place.logs:
        checkpoint(place, source, LENGTH)
    letters = place.audit().letters
    compared = before.letters["dead"].compared - 3 + 1
    assert letters["dead"] == replace(before.letters["dead"], compared=compared, missing=1, deleted=3, undue=0)
    # one late event has a wrong letter in the dead topic
    assert letters["late"] == LetterTally(compared=1, wrong=1, deleted=before.letters["late"].compared - 1)

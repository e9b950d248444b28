"""Hashes of events' texts: what another implementation of MurmurHash3 gives, the same from JSON and from Arrow."""

from __future__ import annotations

import json
from typing import Any

import mmh3
import pyarrow as pa
from hypothesis import example, given
from hypothesis import strategies as st

from tests.topologies.arrows import batch_of, block_of, stream
from tests.topologies.logs import EVENT, examples
from topologies.columns import HASH
from topologies.rows import RowReader, Rows
from topologies.view import IDENTITIES

TEXT = st.text(st.characters(exclude_categories=("Cs", "Cc")), min_size=1, max_size=128)


def read(values: list[bytes]) -> Rows:
    return RowReader((), {}, hashed=IDENTITIES).read(block_of(values))


def expected(event: dict[str, Any]) -> list[int]:
    return [mmh3.hash64("\x1f".join(event[name] for name in texts).encode(), 0)[0] for texts in IDENTITIES]


def found(rows: Rows, row: int) -> list[int]:
    return [int(rows.integers[HASH[texts], row]) for texts in IDENTITIES]


@given(st.lists(st.tuples(TEXT, TEXT, TEXT), min_size=1, max_size=8))
@example([("a" * length, "b" * other, "s") for length in range(1, 18) for other in range(1, 18)])
@examples(60)
def test_hashes_are_murmurs_whatever_the_format(texts: list[tuple[str, str, str]]) -> None:
    events = [{**EVENT, "account": account, "profile": profile, "session": session} for account, profile, session in texts]
    batch = coded = batch_of(events)
    for name in ("account", "profile"):
        at = coded.schema.get_field_index(name)
        coded = coded.set_column(at, name, coded.column(at).dictionary_encode())
    from_json = read([json.dumps(event, ensure_ascii=bool(at % 2)).encode() for at, event in enumerate(events)])
    from_arrow = read([stream(batch), stream(coded)])
    for at, event in enumerate(events):
        assert found(from_json, at) == expected(event)
        assert found(from_arrow, at) == found(from_arrow, at + len(events)) == expected(event)


def test_rows_that_go_the_strict_way_and_rows_beside_them_have_their_hashes() -> None:
    wrong = pa.schema(
        [(name, pa.utf8() if isinstance(value, str) else pa.int64()) for name, value in EVENT.items()] + [("fatal", pa.int8())]
    )
    events = [{**EVENT, "account": f"a{at}", "fatal": at % 2 or None} for at in range(6)]
    rows = read([json.dumps(EVENT).encode(), stream(batch_of(events, wrong)), b"{", json.dumps({**EVENT, "profile": "\u00e9"}).encode()])
    assert len(rows.reasons) == 4
    assert found(rows, 0) == expected(EVENT)
    assert [found(rows, 1 + at) for at in (0, 2, 4)] == [expected(events[at]) for at in (0, 2, 4)]
    assert found(rows, 8) == expected({**EVENT, "profile": "\u00e9"})


def test_a_record_without_a_text_to_hash_has_no_event() -> None:
    batch = batch_of([EVENT]).drop_columns(["profile"])
    nulls = batch.append_column("profile", pa.nulls(1))
    assert len(read([stream(batch), stream(nulls)]).reasons) == 2

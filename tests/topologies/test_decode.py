"""The columnar decoder accepts, rejects and reads exactly as the strict one, whatever the bytes; and why it rejects."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.topologies.logs import EVENT as SMALL
from tests.topologies.logs import T0, examples, values_block
from topologies.columns import EVENT, INTEGER, MALFORMED, TEXT, TICK_ROW, UNDECIDED, Columns
from topologies.decode import decode
from topologies.events import FIELDS, KINDS, MAX_EVENT_BYTES, NULL, TICK_VALUE, TYPES, Event, Malformed, decode_event
from topologies.scanner import scan

FULL: dict[str, Any] = {
    **SMALL,
    "type": "error",
    "seq": 12,
    "title": "tt0111161",
    "runtime_s": 5400,
    "kind": "episode",
    "country": "DE",
    "os": "tizen",
    "app": "7.1.2",
    "cdn": "cdn-a",
    "asn": "AS64500",
    "position_s": 0,
    "watched_ms": 10_000,
    "stall_ms": 86_400_000,
    "stalls": 3,
    "startup_ms": 412,
    "bitrate_kbps": 3500,
    "dropped_frames": 0,
    "error_code": "E-1/2",
    "fatal": True,
}


def written(document: Any) -> bytes:
    return json.dumps(document, separators=(",", ":"), ensure_ascii=False).encode()


def with_(**fields: Any) -> bytes:
    return written({**FULL, **fields})


def without(*names: str) -> bytes:
    return written({name: value for name, value in FULL.items() if name not in names})


def decoded(values: Sequence[bytes | None]) -> Columns:
    return decode(*values_block(values))


def row_of(columns: Columns, row: int) -> Event | str | None:
    """What the columns say of a row: an event, the reason why it is none, or None for a tick."""
    if columns.kind[row] == MALFORMED:
        return columns.reasons[row]
    if columns.kind[row] == TICK_ROW:
        return None
    assert columns.kind[row] == EVENT
    found: Event = {}
    for field in FIELDS:
        if field.form == "str":
            start, length = columns.spans[row, TEXT[field.name]].tolist()
            found[field.name] = columns.buffer[start : start + length].tobytes().decode() if length else None
            continue
        number = int(columns.integers[INTEGER[field.name], row])
        names = {"type": TYPES, "kind": KINDS}.get(field.name)
        value = names[number] if names and number != NULL else bool(number) if field.form == "bool" else number
        found[field.name] = None if number == NULL else value
    return found


def strictly(value: bytes | None) -> Event | str | None:
    try:
        return decode_event(value)
    except Malformed as malformed:
        return malformed.reason


def agree(values: Sequence[bytes | None]) -> None:
    columns = decoded(values)
    assert len(columns.kind) == len(values)
    assert [row_of(columns, row) for row in range(len(values))] == [strictly(value) for value in values]
    assert set(columns.reasons) == set(np.flatnonzero(columns.kind == MALFORMED).tolist())


# -- the reasons, each of docs/architecture.md's table -------------------------------------------------------------

REASONS: list[tuple[str, bytes | None]] = [
    ("empty", None),
    ("empty", b""),
    ("too_big", b" " * (MAX_EVENT_BYTES + 1)),
    ("too_big", with_(extra="x" * 2_000_000)),
    ("too_big", b"\xff" * (MAX_EVENT_BYTES + 1)),
    ("encoding", b"\xff\xfe" + with_().decode().encode("utf-16-le")),
    ("encoding", with_().replace(b"cdn-a", b"cdn-\xe4")),
    ("encoding", b"{" * 100 + b"\xc0\x80"),
    ("encoding", with_(title="Ü").replace("Ü".encode(), b"\xed\xa0\x80")),
    ("not_json", b"{"),
    ("not_json", with_()[:-1]),
    ("not_json", with_() + with_()),
    ("not_json", with_() + b"\n" + with_()),
    ("not_json", with_() + b","),
    ("not_json", with_() + b"\0"),
    ("not_json", b"\xef\xbb\xbf" + with_()),
    ("not_json", with_().decode().encode("utf-16-be")),
    ("not_json", with_().replace(b"5400", b"NaN")),
    ("not_json", with_().replace(b"5400", b"05400")),
    ("not_json", with_().replace(b"5400", b"+5400")),
    ("not_json", with_().replace(b"5400", b"5400.")),
    ("not_json", with_().replace(b"5400", b"0x15")),
    ("not_json", with_().replace(b"5400", b"-")),
    ("not_json", with_().replace(b"5400", b"9" * 40 + b" 9")),
    ("not_json", with_().replace(b"5400", b"1e999").replace(b"cdn-a", b"\\ud800")),
    ("not_json", with_().replace(b"5400", b'1e999,"cdn":"\\ud800"')),
    ("not_json", with_().replace(b"5400", b"Infinity")),
    ("not_json", with_().replace(b"true", b"True")),
    ("not_json", with_().replace(b"true", b"tru")),
    ("not_json", with_().replace(b"cdn-a", b"cdn\n")),
    ("not_json", with_().replace(b"cdn-a", b"cdn\0")),
    ("not_json", with_().replace(b"cdn-a", b"\\ud800")),
    ("not_json", with_().replace(b"cdn-a", b"\\q")),
    ("not_json", with_().replace(b'"v":1,', b"'v':1,")),
    ("not_json", with_().replace(b'"v":1,', b'"v":1,,')),
    ("not_json", with_().replace(b'"v":1,', b"")[:-1] + b",}"),
    ("not_json", with_(extra=[[]] * 64)),
    ("not_json", with_(title="{" * 64)),
    ("not_json", with_(extra="[" * 64)),
    ("not_json", b"nul"),
    ("not_object", b"null"),
    ("not_object", b"[]"),
    ("not_object", b"7"),
    ("not_object", b'"text"'),
    ("not_object", b"[" + with_() + b"]"),
    ("version", b"{}"),
    ("version", without("v")),
    ("version", with_(v=2)),
    ("version", with_(v=0)),
    ("version", with_(v="1")),
    ("version", with_(v=True)),
    ("version", with_(v=None)),
    ("version", with_(v=1.0)),
    ("version", b'{"v":1,"v":2,"type":"tick"}'),
    ("version", b'{"v":1,"v":null,"type":"tick"}'),
    ("type", without("type")),
    ("type", with_(type=None)),
    ("type", with_(type="play")),
    ("type", with_(type="Tick")),
    ("type", with_(type=0)),
    ("type", b'{"v":1,"type":"tick","type":"tock"}'),
    ("wrong_type:seq", with_().replace(b'"seq":12', b'"seq":1e1')),
    ("wrong_type:seq", with_(seq=12.0)),
    ("wrong_type:seq", with_(seq="12")),
    ("wrong_type:seq", with_(seq=True)),
    ("wrong_type:seq", with_(seq=[12])),
    ("wrong_type:seq", with_().replace(b'"seq":12', b'"seq":1e400')),
    ("wrong_type:seq", with_().replace(b'"seq":12', b'"seq":12,"seq":{"a":[1,2]}')),
    ("wrong_type:fatal", with_(fatal=1)),
    ("wrong_type:fatal", with_(fatal="true")),
    ("wrong_type:kind", with_(kind=1)),
    ("wrong_type:title", with_(title=7)),
    ("wrong_type:title", with_(title=["t"])),
    ("out_of_range:seq", with_(seq=-1)),
    ("out_of_range:seq", with_(seq=2**31)),
    ("out_of_range:seq", with_().replace(b'"seq":12', b'"seq":' + b"9" * 400)),
    ("out_of_range:seq", with_(seq=2**63)),
    ("out_of_range:seq", with_(seq=-(2**64))),
    ("out_of_range:ts", with_(ts=253_402_300_800_000)),
    ("out_of_range:ts", with_(ts=10**16)),
    ("out_of_range:watched_ms", with_(watched_ms=86_400_001)),
    ("out_of_range:watched_ms", with_(watched_ms=-5)),
    ("out_of_range:stalls", with_(stalls=100_001)),
    ("out_of_range:kind", with_(kind="Film")),
    ("out_of_range:kind", with_(kind="")),
    ("out_of_range:title", with_(title="")),
    ("out_of_range:title", with_(title="x" * 129)),
    ("out_of_range:title", with_(title="片" * 129)),
    ("out_of_range:title", with_(title="a\0b")),
    ("out_of_range:title", with_(title="a\tb")),
    ("out_of_range:title", with_(title="a\x7fb")),
    ("missing:session", without("session", "seq", "device")),
    ("missing:session", with_(session=None)),
    ("missing:session", with_(session=None, seq="x")),
    ("wrong_type:seq", with_(seq="x", ts=-1, device=None)),
    ("missing:device", with_(device=None, kind=7)),
]


@pytest.mark.parametrize(("reason", "value"), REASONS, ids=[f"{at}-{reason}" for at, (reason, _) in enumerate(REASONS)])
def test_each_reason(reason: str, value: bytes | None) -> None:
    columns = decoded([with_(), value, with_()])
    assert columns.kind.tolist() == [EVENT, MALFORMED, EVENT]
    assert columns.reasons == {1: reason}


@pytest.mark.parametrize("field", [field for field in FIELDS if field.required and field.name not in ("v", "type")], ids=lambda f: f.name)
def test_a_required_field_must_be_there(field: Any) -> None:
    assert strictly(without(field.name)) == f"missing:{field.name}"
    agree([without(field.name), with_(**{field.name: None})])


@pytest.mark.parametrize("field", [field for field in FIELDS if not field.required], ids=lambda f: f.name)
def test_an_optional_field_may_be_absent_or_null(field: Any) -> None:
    absent = row_of(decoded([without(field.name)]), 0)
    assert isinstance(absent, dict)
    assert absent[field.name] is None
    assert absent == row_of(decoded([with_(**{field.name: None})]), 0) == strictly(without(field.name))


@pytest.mark.parametrize("field", [field for field in FIELDS if field.form == "int"], ids=lambda f: f.name)
def test_ranges_are_inclusive(field: Any) -> None:
    rejected = {"v": "version"}.get(field.name, f"out_of_range:{field.name}")
    for value, good in ((field.low, True), (field.high, True), (field.low - 1, False), (field.high + 1, False)):
        raw = with_(**{field.name: value})
        agree([raw])
        assert (strictly(raw) == rejected) is not good


VALID = [
    with_(),
    written(SMALL),
    b" \r\n\t" + with_() + b"\n\n",
    json.dumps(FULL, indent=2).encode(),
    json.dumps(FULL, separators=(" , ", " : ")).encode(),
    written(dict(reversed(FULL.items()))),
    with_(title="x" * 128, extra="y" * 300),
    with_(title="片" * 128),
    with_(title='say "hi" \\ / é 😀'),
    json.dumps({**FULL, "title": "Über 😀"}).encode(),
    with_(title="{[" * 31),
    with_(unknown={"a": [1, {"b": None}]}, **{"": 1, "ключ": 2, "x" * 500: -1.5e300}),
    with_().replace(b'"seq":12', b'"seq":"x","seq":12'),
    with_().replace(b'"seq":12', b'"seq":null,"seq":12'),
    with_().replace(b'"title"', b'"title":{},"t\\u0069tle"'),
    with_().replace(b'"seq":12', b'"seq":-0'),
    with_(extra=10**40),
    with_(extra=-(2**63)),
    with_()[:-1] + b" " * (MAX_EVENT_BYTES - len(with_())) + b"}",
]


def test_what_is_valid_is_an_event() -> None:
    agree(VALID)
    assert (decoded(VALID).kind == EVENT).all()


def test_a_tick_is_checked_up_to_its_type() -> None:
    ticks = [TICK_VALUE, b'{"type":"tick","v":1}', b'{"v":1,"type":"tick","seq":"x","title":7}', b'{"v":1,"type":"error","type":"tick"}']
    agree(ticks)
    assert (decoded(ticks).kind == TICK_ROW).all()


@pytest.mark.parametrize("value", [with_(), written(SMALL), b" " + with_() + b"\n", written(dict(reversed(FULL.items()))), TICK_VALUE])
def test_the_fast_way_is_taken_for_ordinary_events(value: bytes) -> None:
    """Else the differential tests would test the strict decoder against itself."""
    buffer, starts, ends = values_block([value])
    kinds = np.full(1, UNDECIDED, dtype=np.uint8)
    integers, spans = np.zeros((len(INTEGER), 1), dtype=np.int64), np.zeros((1, len(TEXT), 2), dtype=np.int64)
    scan(buffer, starts, ends, np.full(len(FIELDS) + 1, -1, dtype=np.int64), kinds, integers, spans)
    assert kinds[0] != UNDECIDED


# -- fuzzing ---------------------------------------------------------------------------------------------------------

PIECES = [
    b'"', b"\\", b"{", b"}", b"[", b"]", b",", b":", b" ", b"\n", b"\0", b"\x7f", b"\x1f", b"\xff", b"\xc3\xa9", b"\xf0\x9f\x98\x80",
    b"null", b"true", b"false", b"-", b"0", b"1", b"9" * 15, b"9" * 16, b".", b"e5", b"\\u0000", b"\\ud83d\\ude00", b"\\ud800", b'"v":1,',
    b'"type":"tick",', b'"seq":null,', b'"title":"x",', b'"x":{"y":[{}]},', b"\xef\xbb\xbf", b'"seq":1e2,', b'"fatal":false,',
]  # fmt: skip
ODD = st.one_of(
    st.none(),
    st.booleans(),
    st.sampled_from([0, 1, -1, 2, 12, 2**31 - 1, 2**31, 2**53, 2**63 - 1, 2**63, 2**64, 10**30, T0, 253_402_300_799_999, 1e400, 1.0, 0.5]),
    st.integers(-5, 10**16),
    st.floats(allow_nan=False, allow_infinity=False),
    st.sampled_from(["", "x", "x" * 128, "x" * 129, "film", "tick", "heartbeat", "a\0", "a\x7f", "é" * 128, "{" * 70, '"', "\\"]),
    st.text(max_size=12),
    st.recursive(
        st.none(), lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3), max_leaves=6
    ),
)


@st.composite
def documents(draw: st.DrawFn) -> bytes:
    """An object of known and unknown fields, in any order, some of them twice, spaced anyhow."""
    names = draw(st.permutations(list(FULL))) if draw(st.booleans()) else list(FULL)
    pairs = [(name, FULL[name]) for name in names if draw(st.integers(0, 30))]
    for _ in range(draw(st.integers(0, 3))):
        name = draw(st.one_of(st.sampled_from([*FULL, "tit", "titles", "Title", "session_id_of_more", ""]), st.text(max_size=8)))
        pairs.insert(draw(st.integers(0, len(pairs))), (name, draw(ODD)))
    ascii_only = draw(st.booleans())
    comma, colon = draw(st.sampled_from([(",", ":"), (", ", ": "), (" ,\n", "\t:")]))
    parts = (json.dumps(name, ensure_ascii=ascii_only) + colon + json.dumps(value, ensure_ascii=ascii_only) for name, value in pairs)
    return ("{" + comma.join(parts) + "}").encode(errors="surrogatepass")


@st.composite
def mutated(draw: st.DrawFn) -> bytes | None:
    """A document with bytes put in, taken out, changed or cut off."""
    value = bytearray(draw(st.one_of(documents(), st.sampled_from([*VALID[:-1], TICK_VALUE]))))
    for _ in range(draw(st.integers(0, 3))):
        at, how = draw(st.integers(0, len(value))), draw(st.integers(0, 4))
        piece = draw(st.sampled_from(PIECES)) if draw(st.booleans()) else draw(st.binary(min_size=1, max_size=2))
        if how == 0:
            value[at:at] = piece
        elif how == 1:
            value[at : at + len(piece)] = piece
        elif how == 2:
            del value[at : at + draw(st.integers(1, 20))]
        elif how == 3:
            del value[at:]
        else:
            value += value[at:]
    return bytes(value)


VALUES = st.one_of(mutated(), mutated(), mutated(), st.none(), st.binary(max_size=40), st.just(b""))


@given(st.lists(VALUES, max_size=8))
@example([with_(title="{" * 64), with_(extra="[" * 128)])
@example([with_()[:40], with_()[40:]])
@example([b'{"v":1,"type":"ti', b'ck"}', b'{"v":1,"type":"tick"}'])
@example([b'{"v":1,"type":"tick","x":nul', b"l}", b'{"v":1,"type":"tick","x":fals', b"e}"])
@examples(400)
def test_the_columnar_decoder_is_the_strict_one(values: list[bytes | None]) -> None:
    agree(values)


@given(st.binary(min_size=1, max_size=3), st.integers(0, 500))
@examples(300)
def test_no_few_bytes_anywhere_part_the_decoders(piece: bytes, at: int) -> None:
    raw = with_()
    agree([raw[:at] + piece + raw[at:], raw[:at] + piece + raw[at + len(piece) :], raw])


def test_every_single_byte_everywhere() -> None:
    """Each position of a small event with each of the bytes that mean something to a reader of JSON."""
    raw = written({**SMALL, "fatal": False, "kind": "film"})
    odd = b'"\\{}[]:, \n\t\x00\x1f\x7f\x80\xff09-+.eEtfn'
    agree([raw[:at] + bytes([byte]) + raw[at + 1 :] for at in range(len(raw)) for byte in odd])


def test_an_absent_text_has_no_length_and_an_absent_number_is_null() -> None:
    columns = decoded([written(SMALL)])
    assert columns.spans[0, TEXT["cdn"], 1] == 0
    assert columns.integer("stalls").tolist() == [NULL]


def test_no_values_no_rows() -> None:
    assert len(decoded([]).kind) == 0

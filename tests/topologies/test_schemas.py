"""docs/ says what the code does: the schemas are up to date, and the JSON Schema accepts what the strict decoder accepts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from tests.topologies.logs import EVENT, T0, examples
from topologies import schemas
from topologies.events import FIELDS, Malformed, decode_event
from topologies.settings import KafkaSettings

DOCS = Path(__file__).parents[2] / "docs"
VALIDATOR = Draft202012Validator(schemas.event_schema())


def accepted(document: Any) -> bool:
    try:
        decode_event(json.dumps(document).encode())
    except Malformed:
        return False
    return True


@pytest.mark.parametrize("name", [schemas.EVENT_FILE, schemas.ASYNCAPI_FILE])
def test_docs_are_up_to_date(name: str) -> None:
    assert (DOCS / name).read_text() == schemas.written()[name], "run scripts/docs"


def test_the_files_are_written_whole(tmp_path: Path) -> None:
    schemas.main(tmp_path)
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == schemas.written()


def test_the_event_schema_is_a_schema() -> None:
    Draft202012Validator.check_schema(schemas.event_schema())


# Python's floats of whole numbers stay out: JSON Schema counts 1.0 as an integer, the strict decoder does not.
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-2, 3),
    st.integers(-(2**65), 2**65),
    st.sampled_from([0.5, -1.25, 10**16 + 0.5, 2**31 - 1, 2**31, 86_400_000, 86_400_001, T0, 253_402_300_799_999, 253_402_300_800_000]),
    st.sampled_from(["", "x" * 128, "x" * 129, "😀" * 128, "a\n", "\n", "\x7f", "a\0b", "film", "live", "tick", "heartbeat", "Film"]),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=6),
).filter(lambda value: not (isinstance(value, float) and value.is_integer()))
VALUES = st.one_of(SCALARS, st.lists(SCALARS, max_size=2), st.dictionaries(st.text(max_size=2), st.none(), max_size=2))
NAMES = [field.name for field in FIELDS]


@given(
    st.dictionaries(st.one_of(st.sampled_from(NAMES), st.just("unknown")), VALUES, max_size=3), st.sets(st.sampled_from(NAMES), max_size=1)
)
@example({}, set())
@example({"type": "tick", "seq": "x"}, set())
@example({"type": "tick", "v": 2}, set())
@example({"v": True}, set())
@example({"title": "a\n"}, set())
@examples(400)
def test_the_schema_agrees_with_the_strict_decoder(changed: dict[str, Any], absent: set[str]) -> None:
    document = {name: value for name, value in {**EVENT, **changed}.items() if name not in absent}
    assert VALIDATOR.is_valid(document) == accepted(document)


@pytest.mark.parametrize("document", [None, 1, "text", [], [EVENT]])
def test_what_is_no_object_is_no_event(document: Any) -> None:
    assert not VALIDATOR.is_valid(document)
    assert not accepted(document)


def references(node: Any) -> list[str]:
    if isinstance(node, dict):
        own = [node["$ref"]] if "$ref" in node else []
        return own + [found for value in node.values() for found in references(value)]
    return [found for value in node for found in references(value)] if isinstance(node, list) else []


def test_the_topics_are_described_and_every_reference_leads_somewhere() -> None:
    document = schemas.asyncapi()
    kafka = KafkaSettings()
    addresses = {channel["address"] for channel in document["channels"].values()}
    assert addresses == {*kafka.topics, kafka.backfill_prefix + "{run}", kafka.dead_topic, kafka.late_topic}
    for reference in references(document):
        if reference.startswith("./"):
            assert (DOCS / reference).is_file()
            continue
        node = document
        for step in reference.removeprefix("#/").split("/"):
            node = node[step]
        assert node

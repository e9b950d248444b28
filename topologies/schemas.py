"""The event and the topics, for others' tools: JSON Schema 2020-12 and AsyncAPI 3.0, made from the table of fields.

`python -m topologies.schemas` writes docs/events.schema.json and docs/asyncapi.json. What a JSON Schema cannot say (equal keys,
bytes, 1.0 for 1) is said in its description; docs/architecture.md is the whole truth.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from topologies.blocks import ARROW_TYPE, JSON_TYPE
from topologies.events import FIELDS, MAX_BRACKETS, MAX_CHARACTERS, MAX_EVENT_BYTES, SCHEMA_VERSION, TICK, TYPES, Field
from topologies.settings import KafkaSettings

EVENT_FILE: Final = "events.schema.json"
ASYNCAPI_FILE: Final = "asyncapi.json"
_BINDING_VERSION: Final = "0.5.0"
_LETTER_HEADERS: Final = {
    "source": "the source of the record: region:topic_id:partition",
    "topic": "the topic it stood in",
    "partition": "its partition there",
    "offset": "its offset there; with source and row, the letter's identity: a reader takes each triple once",
    "row": "its row in the record's value, 0 for a JSON event",
    "reason": "why it is in no view: late, or a reason of the table of event validity",
    "record_ts": "the record's timestamp, epoch ms",
    "content-type": "what the value is, where the record was Arrow: of a row of it, a stream of that row alone",
}
_LETTER_NEEDS: Final = tuple(name for name in _LETTER_HEADERS if name != "content-type")


def event_schema() -> dict[str, Any]:
    """JSON Schema of a record's value: an event, or a tick."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": f"urn:marquee:event:{SCHEMA_VERSION}",
        "title": "Viewing event",
        "description": (
            "What a player says of a playback session; every measure is an increment since the session's previous event. "
            f"As bytes: UTF-8 without a mark, at most {MAX_EVENT_BYTES} bytes and {MAX_BRACKETS} opening brackets; of two equal keys the "
            "last counts; integers are written without fraction and exponent. Unknown fields are left out."
        ),
        "type": "object",
        "required": ["v", "type"],
        "properties": {"v": {"description": FIELDS[0].doc, "type": "integer", "const": SCHEMA_VERSION}, "type": {"type": "string"}},
        "if": {"properties": {"type": {"const": TICK}}},
        "then": {"description": "A tick moves its partition's clock and is counted nowhere."},
        "else": {"$ref": "#/$defs/event"},
        "$defs": {
            "event": {
                "required": [field.name for field in FIELDS if field.required],
                "properties": {field.name: _property(field) for field in FIELDS if field.name != "v"},
            },
        },
    }


def _property(field: Field) -> dict[str, Any]:
    names = {"int": "integer", "bool": "boolean", "str": "string", "enum": "string"}
    described: dict[str, Any] = {"description": field.doc, "type": names[field.form] if field.required else [names[field.form], "null"]}
    if field.form == "int":
        described |= {"minimum": field.low, "maximum": field.high}
    elif field.form == "enum":
        described["enum"] = [*(field.values or TYPES), *([] if field.required else [None])]
    elif field.form == "str":
        described |= {"minLength": 1, "maxLength": MAX_CHARACTERS, "not": {"type": "string", "pattern": "[\\u0000-\\u001f\\u007f]"}}
    return described


def asyncapi() -> dict[str, Any]:
    """AsyncAPI document of the topics, by their default names."""
    kafka = KafkaSettings()
    return {
        "asyncapi": "3.0.0",
        "info": {"title": "Marquee's topics", "version": f"{SCHEMA_VERSION}.0.0", "description": "What workers read and write in Kafka."},
        "defaultContentType": "application/json",
        "channels": {
            "events": _events(kafka.topics[0], "Viewing events as they happen; the broker sets their time (LogAppendTime)."),
            "backfills": {
                **_events(f"{kafka.backfill_prefix}{{run}}", "A past span, at its own times (CreateTime); a tick ends it."),
                "parameters": {"run": {"description": "name of the run that wrote it"}},
            },
            "dead": _channel(kafka.dead_topic, "letter", "Events that are not valid, byte for byte, with the reason."),
            "late": _channel(kafka.late_topic, "letter", "Events that came too late for every view, byte for byte."),
        },
        "operations": {
            "readEvents": {"action": "receive", "channel": {"$ref": "#/channels/events"}},
            "readBackfills": {"action": "receive", "channel": {"$ref": "#/channels/backfills"}},
            "appendTicks": {"action": "send", "channel": {"$ref": "#/channels/events"}},
            "sendDead": {"action": "send", "channel": {"$ref": "#/channels/dead"}},
            "sendLate": {"action": "send", "channel": {"$ref": "#/channels/late"}},
        },
        "components": {"messages": {"event": _event_message(), "batch": _batch_message(), "letter": _letter_message()}},
    }


def _channel(address: str, message: str, description: str) -> dict[str, Any]:
    return {
        "address": address,
        "description": description,
        "messages": {message: {"$ref": f"#/components/messages/{message}"}},
    }


def _events(address: str, description: str) -> dict[str, Any]:
    """A channel of events in both formats, mixed as it comes."""
    channel = _channel(address, "event", description)
    channel["messages"]["batch"] = {"$ref": "#/components/messages/batch"}
    return channel


def _event_message() -> dict[str, Any]:
    return {
        "title": "A viewing event, or a tick",
        "contentType": JSON_TYPE,
        "headers": _headers({"content-type": f"{JSON_TYPE}; without it the value's first bytes tell"}, required=()),
        "payload": {"schemaFormat": "application/schema+json;version=2020-12", "schema": {"$ref": f"./{EVENT_FILE}"}},
        "bindings": _keyed("the event's account: one viewer's events stay in one partition, in order"),
    }


def _batch_message() -> dict[str, Any]:
    """Many events as an Arrow stream: a column a field, of the types that docs/architecture.md names."""
    kinds = {"int": "an integer of any width", "bool": "bool", "str": "utf8", "enum": "utf8"}
    columns = {
        field.name: {"description": f"{field.doc} ({kinds[field.form]}{'' if field.required else ', nullable'})"} for field in FIELDS
    }
    return {
        "title": "Many viewing events, all of one partition",
        "contentType": ARROW_TYPE,
        "headers": _headers({"content-type": f"{ARROW_TYPE}; without it the value's first four bytes, all 0xFF, tell"}, required=()),
        "payload": {
            "description": "An Arrow IPC stream. A row is judged as the JSON event with the same values; texts may be dictionaries.",
            "type": "object",
            "properties": columns,
        },
        "bindings": _keyed("any account of the batch: all of them are of one partition"),
    }


def _letter_message() -> dict[str, Any]:
    return {
        "title": "A record that is counted in no view",
        "contentType": "application/octet-stream",
        "headers": _headers(_LETTER_HEADERS, required=_LETTER_NEEDS),
        "payload": {"description": "the record's value, byte for byte; of an Arrow record's row, a stream of it"},
        "bindings": _keyed("the record's key, byte for byte"),
    }


def _headers(described: Mapping[str, str], required: tuple[str, ...]) -> dict[str, Any]:
    properties = {name: {"type": "string", "description": doc} for name, doc in described.items()}
    return {"type": "object", "properties": properties, "required": list(required)}


def _keyed(description: str) -> dict[str, Any]:
    return {"kafka": {"key": {"type": "string", "description": description}, "bindingVersion": _BINDING_VERSION}}


def written() -> dict[str, str]:
    """Each file of docs/ and its text."""
    documents = {EVENT_FILE: event_schema(), ASYNCAPI_FILE: asyncapi()}
    return {name: json.dumps(document, indent=2, ensure_ascii=False) + "\n" for name, document in documents.items()}


def main(folder: Path) -> None:
    """Write the files into `folder`."""
    for name, text in written().items():
        (folder / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main(Path("docs"))

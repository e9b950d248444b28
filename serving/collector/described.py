"""What OpenAPI says of `POST /v1/events`: the bodies that it takes, by their types, and its answers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, cast

from litestar.openapi.spec import OpenAPIMediaType, OpenAPIResponse, Operation, Parameter, RequestBody, Schema
from litestar.openapi.spec.enums import OpenAPIType

from serving.collector.bodies import CMCD, JSON, NDJSON
from serving.collector.cmcd import GIVEN
from serving.problems import described
from topologies.schemas import event_schema

_TEXT: Final = Schema(type=OpenAPIType.STRING)
_COUNT: Final = Schema(type=OpenAPIType.INTEGER, minimum=0)
_STAMP: Final = Schema(type=OpenAPIType.INTEGER, minimum=0, maximum=10**15 - 1)
_GIVEN: Final = "of CMCD's reports: this field of all of them"
_STAMPED: Final = "when the request is sent, by the player's own clock, ms since 1970: the events' times are set right by it"


def _event() -> Schema:
    """An event as topologies.schemas has it, without the tick, which players do not send."""
    whole = event_schema()
    event = whole["$defs"]["event"]
    properties = {"v": whole["properties"]["v"], **event["properties"]}
    return Schema(type=OpenAPIType.OBJECT, title=whole["title"], required=event["required"], properties=cast(Any, properties))


def _bodies() -> dict[str, OpenAPIMediaType]:
    event = _event()
    events = Schema(type=OpenAPIType.ARRAY, items=event, min_items=1)
    envelope = Schema(
        type=OpenAPIType.OBJECT,
        description="events, and when they were sent",
        required=["events"],
        properties={"sent_at": Schema(type=OpenAPIType.INTEGER, description=_STAMPED), "events": events},
    )
    lines = Schema(type=OpenAPIType.STRING, description="an event a line")
    reports = Schema(type=OpenAPIType.STRING, description="CMCD version 2 event reports (CTA-5004-B), one a line")
    bodies = {JSON: Schema(any_of=[event, events, envelope])} | dict.fromkeys(NDJSON, lines) | dict.fromkeys(CMCD, reports)
    return {kind: OpenAPIMediaType(schema=schema) for kind, schema in bodies.items()}


_ACCEPTED: Final = Schema(
    type=OpenAPIType.OBJECT,
    required=["accepted", "rejected", "ignored"],
    properties={
        "accepted": Schema(type=OpenAPIType.INTEGER, minimum=0, description="so many events are in the log"),
        "rejected": Schema(
            type=OpenAPIType.ARRAY,
            description="those that are not, by their place in the body",
            items=Schema(type=OpenAPIType.OBJECT, required=["index", "reason"], properties={"index": _COUNT, "reason": _TEXT}),
        ),
        "ignored": Schema(type=OpenAPIType.INTEGER, minimum=0, description="reports that say nothing about a playback"),
    },
)


@dataclass
class TakesEvents(Operation):
    """The operation that puts events into the log."""

    def __post_init__(self) -> None:
        self.parameters = [
            Parameter("sent_at", "query", schema=_STAMP, description=_STAMPED, required=False),
            Parameter("Marquee-Sent-At", "header", schema=_STAMP, description="the same, and stronger", required=False),
            *(Parameter(name, "query", schema=_TEXT, description=_GIVEN, required=False) for name in GIVEN),
        ]
        self.request_body = RequestBody(content=_bodies(), required=True, description="UTF-8, plain or compressed by gzip or zstd.")
        accepted = OpenAPIResponse("What Kafka has acknowledged.", content={"application/json": OpenAPIMediaType(schema=_ACCEPTED)})
        self.responses = {"202": accepted, **described(400, 413, 415, 422, 503)}

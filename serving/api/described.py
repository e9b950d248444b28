"""What OpenAPI says of a view's address: its parameters, from its declaration, and the forms of its answers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, cast

from litestar.openapi.spec import Example, OpenAPIMediaType, OpenAPIResponse, Operation, Parameter, Reference, Schema
from litestar.openapi.spec.enums import OpenAPIType

from serving.api.forms import FORMS
from serving.api.parameters import MOST_ROWS, MOST_TOP
from serving.catalogue import windows_of
from serving.problems import described
from topologies.view import View

_TEXT: Final = Schema(type=OpenAPIType.STRING)
_VALUE: Final = Schema(type=[OpenAPIType.STRING, OpenAPIType.NUMBER, OpenAPIType.NULL])


def _formed(form: str, meaning: str | None = None) -> Schema:
    """A text of a format that is this API's own, which JSON Schema takes for a note."""
    return Schema(type=OpenAPIType.STRING, format=cast(Any, form), description=meaning)


_INSTANT: Final = _formed("instant", "ISO 8601, in `tz` unless it names its offset, or seconds or milliseconds since 1970")
_ZONE: Final = _formed("time-zone", "a name of the IANA database, or UTC")
_CURSOR: Final = _formed("cursor")
ANSWER: Final = Schema(
    type=OpenAPIType.OBJECT,
    description="An answer: its cells, and what they are worth.",
    required=["view", "window", "dimensions", "measures", "cells", "as_of", "lag_s", "complete", "sources", "final", "notes", "next"],
    properties={
        "view": _TEXT,
        "window": _TEXT,
        "from": Schema(type=[OpenAPIType.STRING, OpenAPIType.NULL], description="start of the span; null for now"),
        "to": Schema(type=[OpenAPIType.STRING, OpenAPIType.NULL], description="its end, which is not part of it"),
        "dimensions": Schema(type=OpenAPIType.ARRAY, items=_TEXT),
        "measures": Schema(type=OpenAPIType.ARRAY, items=_TEXT),
        "units": Schema(type=OpenAPIType.OBJECT, additional_properties=_TEXT),
        "errors": Schema(
            type=OpenAPIType.OBJECT,
            additional_properties=Schema(type=OpenAPIType.NUMBER),
            description="relative error of what is estimated, by measure",
        ),
        "cells": Schema(
            type=OpenAPIType.ARRAY,
            items=Schema(type=OpenAPIType.OBJECT, additional_properties=_VALUE),
            description="a row: start of its window where there are several, its dimensions, its measures",
        ),
        "as_of": Schema(type=[OpenAPIType.STRING, OpenAPIType.NULL], description="clock of the oldest source that was heard"),
        "as_of_ms": Schema(type=[OpenAPIType.INTEGER, OpenAPIType.NULL]),
        "lag_s": Schema(type=[OpenAPIType.NUMBER, OpenAPIType.NULL], description="now − as_of, seconds"),
        "complete": Schema(type=OpenAPIType.NUMBER, description="sources heard ÷ sources known, 0 to 1"),
        "sources": Schema(
            type=OpenAPIType.OBJECT,
            properties={"heard": Schema(type=OpenAPIType.INTEGER), "known": Schema(type=OpenAPIType.INTEGER)},
        ),
        "regions": Schema(
            type=OpenAPIType.OBJECT,
            additional_properties=Schema(type=OpenAPIType.OBJECT),
            description="of several regions, each one's as_of, lag_s, complete and sources; the store that it was read in, and why",
        ),
        "final": Schema(type=OpenAPIType.BOOLEAN, description="whether no event can change it any more"),
        "read": Schema(
            type=OpenAPIType.OBJECT,
            additional_properties=Schema(type=OpenAPIType.INTEGER),
            description="how many stored windows each store gave",
        ),
        "memcached": Schema(type=OpenAPIType.INTEGER, description="for how many of them Cassandra was not asked"),
        "notes": Schema(type=OpenAPIType.ARRAY, items=_TEXT, description="what has to be known besides, in sentences"),
        "next": Schema(type=[OpenAPIType.STRING, OpenAPIType.NULL], description="address of the next page, null behind the last"),
    },
)
_MEASURED: Final = ("Marquee-As-Of", "Marquee-Lag-Seconds", "Marquee-Complete", "Marquee-Sources", "Marquee-Final")


def answers() -> dict[str, OpenAPIResponse | Reference]:
    """The responses of an address that answers a question."""
    content = {form.media_type: OpenAPIMediaType(schema=ANSWER if form.name == "json" else _TEXT) for form in FORMS.values()}
    about = f"The answer. In every form the headers {', '.join(_MEASURED)} say what it is worth; `Link` has the next page."
    part = OpenAPIResponse("The part of it that Range names.", content=content)
    return {"200": OpenAPIResponse(about, content=content), "206": part, **described(304, 400, 406, 416, 503)}


def operation_of(view: View) -> type[Operation]:
    """The operation that asks this view."""
    parameters: list[Parameter | Reference] = [*_parameters(view)]

    @dataclass
    class Asks(Operation):
        def __post_init__(self) -> None:
            self.parameters = parameters
            self.responses = answers()

    return Asks


@dataclass
class Streams(Operation):
    """The operation that streams an answer that takes no parameter."""

    def __post_init__(self) -> None:
        self.responses = streamed()


def streamed() -> dict[str, OpenAPIResponse | Reference]:
    """The responses of an address that streams."""
    about = "Server-sent events named `answer`, each the answer as JSON; `Last-Event-ID` leaves out what the client has."
    return {"200": OpenAPIResponse(about, content={"text/event-stream": OpenAPIMediaType(schema=_TEXT)}), **described(400, 503)}


def streaming_of(view: View) -> type[Operation]:
    """The operation that streams this view."""
    parameters: list[Parameter | Reference] = [each for each in _parameters(view) if each.name not in ("format", "cursor")]

    @dataclass
    class StreamsView(Operation):
        def __post_init__(self) -> None:
            self.parameters = parameters
            self.responses = streamed()

    return StreamsView


def _parameters(view: View) -> list[Parameter]:
    by = " or ".join(" × ".join(grouping) or "nothing (the total)" for grouping in view.groupings)
    names = list(view.dimensions)
    found = [_query(name, f"only cells of this {name}", _TEXT) for name in names]
    if names:
        several = Schema(type=OpenAPIType.ARRAY, items=Schema(type=OpenAPIType.STRING, enum=names))
        found.append(_query("by", f"a row for each value of these dimensions. It is kept by {by}", several))
    windows = windows_of(view)
    found += [
        _query("top", "the best so many", Schema(type=OpenAPIType.INTEGER, minimum=1, maximum=MOST_TOP)),
        _query("window", f"{windows[0]} unless given", Schema(type=OpenAPIType.STRING, enum=windows)),
        _query("from", "from this instant", _INSTANT, example="2026-01-31T20:00"),
        _query("to", "up to this instant, which is not part of it", _INSTANT, example="2026-01-31T21:00"),
    ]
    return [*found, *paged()]


def paged() -> list[Parameter]:
    """The parameters of every answer."""
    limit = Schema(type=OpenAPIType.INTEGER, minimum=1, maximum=MOST_ROWS)
    return [
        _query("tz", "zone of instants that name none, and of those in the answer; UTC unless given", _ZONE, example="Europe/Berlin"),
        _query("format", "the form, instead of the Accept header", Schema(type=OpenAPIType.STRING, enum=list(FORMS))),
        _query("limit", "rows a page; 1,000 unless given, of CSV and Arrow 100,000", limit),
        _query("cursor", "the page behind this place; from `next` of an answer", _CURSOR),
    ]


def _query(name: str, description: str, schema: Schema, example: Any = None) -> Parameter:
    examples = {"one": Example(value=example)} if example is not None else None
    return Parameter(name, "query", schema=schema, description=description, required=False, examples=examples)

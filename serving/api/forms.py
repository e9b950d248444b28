"""The forms of an answer: JSON, CSV, and Arrow's two. What an answer says of itself stands in JSON beside its cells, and in headers."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import tzinfo
from typing import Any, Final

import orjson
import pyarrow as pa

from serving.answers import Answer
from serving.api.negotiation import best_type
from serving.instants import iso, isos
from serving.refusals import NotAcceptable
from topologies.errors import UsageError

Encode = Callable[[Answer, tzinfo, str | None], bytes]
"""Bytes of an answer, instants shown in a zone; the last is the address of the next page, None behind the last."""


@dataclass(frozen=True)
class Form:
    """One form. rows: of a page, when the question does not say."""

    name: str
    media_type: str
    rows: int
    encode: Encode


def _json(answer: Answer, zone: tzinfo, following: str | None) -> bytes:
    return orjson.dumps(answer.document(zone) | {"next": following})


def _csv(answer: Answer, zone: tzinfo, _following: str | None) -> bytes:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([*(["start"] if answer.timed else []), *answer.dimensions, *answer.measures])
    starts = [[at] for at in isos([row.start_ms for row in answer.rows], zone)] if answer.timed else [[] for _ in answer.rows]
    writer.writerows([*start, *row.key, *row.values] for start, row in zip(starts, answer.rows, strict=True))
    return text.getvalue().encode()


def _arrow(opened: Callable[..., Any]) -> Encode:
    """What encodes for Arrow by this writer of the library's."""

    def encode(answer: Answer, zone: tzinfo, _following: str | None) -> bytes:
        table = _table(answer, zone)
        sink = io.BytesIO()
        with opened(sink, table.schema) as writer:
            writer.write_table(table)
        return sink.getvalue()

    return encode


def _table(answer: Answer, zone: tzinfo) -> pa.Table:
    """start timestamp[ms, zone], dimensions utf8, measures int64 or, where any value is a fraction or can be one, float64."""
    columns: dict[str, pa.Array] = {}
    if answer.timed:
        columns["start"] = pa.array([row.start_ms for row in answer.rows], pa.timestamp("ms", str(zone)))
    for at, name in enumerate(answer.dimensions):
        columns[name] = pa.array([row.key[at] for row in answer.rows], pa.utf8())
    for at, name in enumerate(answer.measures):
        values = [row.values[at] for row in answer.rows]
        whole = all(value is None or isinstance(value, int) for value in values) and name not in answer.fractions
        columns[name] = pa.array(values, pa.int64() if whole else pa.float64())
    said = {key: str(value) for key, value in headers_of(answer).items()}
    return pa.table(columns).replace_schema_metadata(said)


def headers_of(answer: Answer) -> dict[str, str]:
    """What an answer says of itself, for every form."""
    standing = answer.standing
    headers = {
        "Marquee-Complete": f"{standing.complete:.4f}",
        "Marquee-Final": "true" if answer.final else "false",
        "Marquee-Sources": f"{standing.heard}/{standing.known}",
    }
    if standing.lag_s is not None:
        headers |= {"Marquee-As-Of": iso(standing.as_of_ms), "Marquee-Lag-Seconds": f"{standing.lag_s:.3f}"}
    return headers


FORMS: Final[Mapping[str, Form]] = {
    form.name: form
    for form in (
        Form("json", "application/json", 1_000, _json),
        Form("csv", "text/csv", 100_000, _csv),
        Form("arrow", "application/vnd.apache.arrow.stream", 100_000, _arrow(pa.ipc.new_stream)),
        Form("feather", "application/vnd.apache.arrow.file", 100_000, _arrow(pa.ipc.new_file)),
    )
}
"""By name; the first one is given to whoever takes anything."""


def form_of(name: str | None, accept: str) -> Form:
    """The form that `format` names, else the one that the Accept header likes best.

    Raises UsageError for a name that is none, NotAcceptable when none is accepted.
    """
    if name is not None:
        if name not in FORMS:
            raise UsageError(f"format={name}: write {', '.join(FORMS)}")
        return FORMS[name]
    offered = [form.media_type for form in FORMS.values()]
    best = best_type(accept, offered)
    if best is None:
        raise NotAcceptable(f"this is answered as {', '.join(offered)}; accept one of them, or add format={'|'.join(FORMS)}")
    return next(form for form in FORMS.values() if form.media_type == best)

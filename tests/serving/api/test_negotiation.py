"""What a client takes, as RFC 9110 has its examples: the narrower range counts, and what has no weight is not taken."""

from __future__ import annotations

import pytest

from serving.api.forms import FORMS
from serving.api.negotiation import best_type, takes_gzip

JSON, CSV, STREAM, FILE = (form.media_type for form in FORMS.values())
OFFERED = (JSON, CSV, STREAM, FILE)


@pytest.mark.parametrize(
    ("accept", "best"),
    [
        ("", JSON),
        (" , ", JSON),
        ("*/*", JSON),
        ("text/csv", CSV),
        ("TEXT/CSV;charset=utf-8", CSV),
        ("text/csv, */*", CSV),
        ("*/*, text/csv", CSV),
        ("text/csv, application/json", CSV),
        ("application/json, text/csv", JSON),
        ("application/*", JSON),
        ("text/*;q=0.3, application/vnd.apache.arrow.file;q=0.7", FILE),
        ("text/*, text/csv;q=0.1, application/json;q=0.5", JSON),
        ("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", JSON),
        ("application/json;q=0, */*;q=0.1", CSV),
        ("application/json;q=0", None),
        ("image/png", None),
        ("text", None),
        ("application/json;q=inf", JSON),
        ("application/json;q=nonsense, text/csv;q=0.9", JSON),
        ("application/json ; Q=0.1 , text/csv ; q=0.2", CSV),
    ],
)
def test_what_is_liked_best_is_given(accept: str, best: str | None) -> None:
    assert best_type(accept, OFFERED) == best


@pytest.mark.parametrize(
    ("accept_encoding", "takes"),
    [
        ("", False), ("identity", False), ("gzip", True), ("br, GZIP;q=0.5", True), ("gzip;q=0", False), ("gzip;q=0, *", False),
        ("*", True), ("*;q=0", False),
    ],
)  # fmt: skip
def test_what_is_compressed_is_only_for_who_takes_it(accept_encoding: str, takes: bool) -> None:
    assert takes_gzip(accept_encoding) is takes

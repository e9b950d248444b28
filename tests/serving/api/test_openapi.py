"""One process with both doors, over the real servers, against its own description: whatever fits it, and what does not, is answered as it
says.

Schemathesis makes the requests from /openapi.json, the same ones each time.
"""

from __future__ import annotations

import asyncio
import base64
import json
from collections import Counter
from typing import Any, Final

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given
from hypothesis import settings as examples
from hypothesis import strategies as st
from schemathesis import APIOperation, Case, GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.core.result import Ok
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    negative_data_rejection,
    response_schema_conformance,
    status_code_conformance,
)

from connectors.kafka import ensure_topics
from serving.collector.bodies import CMCD, NDJSON
from tests.serving.collector.log import event
from tests.serving.test_answers import NOON, World, live, watched

Operation = APIOperation[Any, Any, Any, Any]
CHECKS: Final = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
    negative_data_rejection,
]
"""Left out: positive_data_acceptance, since what fits may still be refused (dimensions that are not kept together, a span that is too
long, an event that is too old); response_headers_conformance, no header being described but in words; missing_required_header, there is
none; unsupported_method, which test_routes has; ignored_auth, of which test_access is; use_after_free and ensure_resource_availability,
since nothing is made and deleted by HTTP; max_response_time, which a busy machine breaks."""
FITTING, UNFITTING = 14, 8
"""Examples of each operation."""
LINES: Final = st.one_of(
    st.builds(lambda seq: json.dumps(event(seq)), st.integers(0, 2**31)),
    st.text(max_size=20),
    st.sampled_from(['e=ps,sid="s",sn=0,sta=s,ts=1767225600000,v=2,cid="t"', "e=t,v=2,sta=d", "a=(1;x", "{}", "[]", "null"]),
)
INSTANTS: Final = st.one_of(
    st.sampled_from(["2026-01-31", "2026-01-31T20:00", "20260131T200000Z", "2026-W05-6", "2026-03-29T02:30:00.123+02:00", "0", "-1"]),
    st.integers(NOON - 3 * 86_400_000, NOON + 86_400_000).map(str),
    st.integers(0, 10**15).map(str),
    st.text(max_size=20),
)
ZONES: Final = st.one_of(st.sampled_from(["UTC", "America/St_Johns", "Etc/GMT+12", "posixrules", "Europe"]), st.text(max_size=9))
PLACES: Final = st.lists(st.one_of(st.integers(), st.text(max_size=5), st.none()), max_size=4)
CURSORS: Final = st.one_of(PLACES.map(lambda place: base64.urlsafe_b64encode(json.dumps(place).encode()).decode()), st.text(max_size=9))


@pytest.fixture(scope="module", autouse=True)
def known_formats() -> None:
    """What schemathesis cannot know: how to write what this API's own formats and bodies are."""
    for name, strategy in (("instant", INSTANTS), ("time-zone", ZONES), ("cursor", CURSORS)):
        schemathesis.openapi.format(name, strategy)
    lines = st.lists(LINES, min_size=1, max_size=4).map(lambda some: "\n".join(some).encode())
    schemathesis.openapi.media_type(NDJSON[0], lines, aliases=(*NDJSON[1:], *CMCD))


def test_every_address_answers_as_it_is_described(world: World, api: httpx.Client, subtests: pytest.Subtests) -> None:
    ensure_topics(world.settings)
    cells = [live("a", 3), live("b", 5), watched("a", "eu", 5_000), watched('a,\n"', "us", 7_000)]
    asyncio.run(world.both(world.status(0), cells))
    described = schemathesis.openapi.from_dict(api.get("/openapi.json").json())
    described.config.generation.update(with_security_parameters=False)  # test_access has tokens; a wrong one is refused before all else
    finite = described.exclude(path_regex="/stream$")  # which end by themselves never; test_push has them
    statuses: Counter[tuple[str, int]] = Counter()
    for found in finite.get_all_operations():
        assert isinstance(found, Ok)
        operation = found.ok()
        modes = {GenerationMode.POSITIVE: FITTING if [*operation.iter_parameters(), *operation.body] else 1}
        if [*operation.query, *operation.body]:  # of a path and its texts all fit
            modes[GenerationMode.NEGATIVE] = UNFITTING
        for mode, count in modes.items():
            with subtests.test(operation.label, mode=mode.value):
                statuses += explore(operation, mode, count, str(api.base_url))
    answered = {label for label, status in statuses if status in (200, 202)}
    assert answered == {found.ok().label for found in finite.get_all_operations() if isinstance(found, Ok)}


def explore(operation: Operation, mode: GenerationMode, count: int, address: str) -> Counter[tuple[str, int]]:
    """Asks so many times, and judges each answer; how often which status came."""
    statuses: Counter[tuple[str, int]] = Counter()

    @examples(
        max_examples=count,
        derandomize=True,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(operation.as_strategy(generation_mode=mode))
    def is_answered_as_described(case: Case[Any]) -> None:
        answer = case.call(base_url=address, timeout=60)
        statuses[operation.label, answer.status_code] += 1
        case.validate_response(answer, checks=CHECKS)

    is_answered_as_described()
    return statuses

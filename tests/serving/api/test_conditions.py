"""What caches may keep, and what a client that has an answer, or a part of it, is told: over the real stores."""

from __future__ import annotations

import asyncio

import httpx

from serving.api.parameters import MOST_TOP
from tests.serving.api.test_routes import HOURS, cells, problem
from tests.serving.test_answers import HOUR_MS, NOON, World, live, watched


def test_whoever_has_the_answer_is_told_so_however_they_ask_for_it(world: World, api: httpx.Client) -> None:
    asyncio.run(world.both(world.status(0), [watched("a", "eu", 1)]))
    has = {"If-None-Match": api.get(HOURS).headers["etag"]}
    for answer in (
        api.head(HOURS, headers=has),
        api.get(HOURS, headers=has | {"Range": "bytes=0-3"}),
        api.get(HOURS, headers={"If-None-Match": f'"other", {has["If-None-Match"]}'}),
        api.get(HOURS, headers={"If-None-Match": "*"}),
    ):
        assert (answer.status_code, answer.content) == (304, b"")
        assert answer.headers["etag"] == has["If-None-Match"]
        assert answer.headers["cache-control"] == "public, no-cache"
        assert answer.headers["vary"] == "Accept, Accept-Encoding"
        assert "content-length" not in answer.headers


def test_a_part_is_of_get_alone_and_not_for_who_wants_the_rest_of_what_may_be_another_answer(world: World, api: httpx.Client) -> None:
    asyncio.run(world.both(world.status(0), [watched("a", "eu", 1)]))
    whole, part = api.get(HOURS), {"Range": "bytes=0-3"}
    assert api.get(HOURS, headers=part).status_code == 206
    head = api.head(HOURS, headers=part)
    assert (head.status_code, "content-range" in head.headers) == (200, False)
    again = api.get(HOURS, headers=part | {"If-Range": whole.headers["etag"]})
    assert (again.status_code, again.json()["cells"]) == (200, whole.json()["cells"])


def test_a_final_answer_stays_what_it_was_while_the_sources_go_on(world: World, api: httpx.Client) -> None:
    later = NOON + 2 * HOUR_MS
    asyncio.run(world.store(world.status(0, clock_ms=later), [watched("a", "eu", 1)]))
    first = api.get(HOURS)
    assert (first.json()["final"], first.headers["cache-control"]) == (True, "public, max-age=60")
    asyncio.run(world.store(world.status(0, 200, clock_ms=later + 1_000), [watched("b", "eu", 1, NOON + HOUR_MS)]))
    assert api.get(HOURS, headers={"If-None-Match": first.headers["etag"]}).status_code == 304
    partly = api.get(f"/v1/views/watch_time?from={NOON}&to={NOON + 3 * HOUR_MS}")
    assert (partly.json()["final"], partly.headers["cache-control"]) == (False, "public, no-cache")


def test_a_top_is_one_page_however_long_and_what_is_ranked_takes_no_cursor(world: World, api: httpx.Client) -> None:
    asyncio.run(world.both(world.status(0), [live(f"t{number:04d}", number + 1) for number in range(1_200)]))
    best = cells(api.get(f"/v1/views/concurrents?top={MOST_TOP}"))
    assert [cell["viewers"] for cell in best] == list(range(1_200, 0, -1))
    assert len(cells(api.get("/v1/views/concurrents?by=title"))) == 1_000
    page = api.get("/v1/views/concurrents?by=title&limit=1").json()["next"]
    assert page is not None
    assert "no cursor" in problem(api.get("/v1/views/trending?cursor=WzBd"), 400)


def test_what_is_compressed_is_only_for_who_takes_it(world: World, api: httpx.Client) -> None:
    asyncio.run(world.both(world.status(0), [live(f"t{number}", 1) for number in range(100)]))
    for address in ("/v1/views/concurrents?by=title", "/"):
        assert "content-encoding" not in api.get(address, headers={"Accept-Encoding": "gzip;q=0"}).headers
        assert api.get(address, headers={"Accept-Encoding": "gzip;q=0.1"}).headers["content-encoding"] == "gzip"

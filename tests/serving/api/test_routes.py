"""What the API answers over the real stores: the cells, what they are worth, in every form; and a sentence for every mistake."""

from __future__ import annotations

import asyncio
import base64
import io
import re
from typing import Any

import httpx
import polars as pl
import pyarrow as pa

from cluster.process import wait_until
from serving.instants import iso
from tests.serving.api.conftest import served
from tests.serving.test_answers import HOUR_MS, NOON, World, live, watched, without_cassandra, without_redis

HOURS = f"/v1/views/watch_time?from={NOON}&to={NOON + HOUR_MS}"

ENDLESS = base64.urlsafe_b64encode(b"[" * 9_000).decode()
MISTAKES = {
    "watch_time?colour=red": "not kept by 'colour'",
    "watch_time?region=": "by=region",
    "watch_time?top=": "top has no value; give it one",
    "watch_time?region=eu&region=us": "given twice",
    "watch_time?region=eu&by=region": "leave one of them out",
    "watch_time?top=0": "from 1 to",
    "watch_time?top=ten": "from 1 to",
    "watch_time?limit=1000000000": "from 1 to",
    "watch_time?window=week": "no window 'week'",
    "watch_time?from=yesterday": "from: 'yesterday' is no instant",
    "watch_time?from=2026-01-02&to=2026-01-01": "the span is empty",
    "watch_time?from=1970-01-01&to=2026-01-01": "windows",
    "watch_time?tz=Mars/Olympus": "no time zone",
    "watch_time?tz=../../etc/passwd": "no time zone",
    "watch_time?tz=Europe": "no time zone",
    "watch_time?tz=Europe/": "no time zone",
    "watch_time?tz=a.b/c": "no time zone",
    "watch_time?tz=%00": "no time zone",
    "watch_time?from=0001-01-01&tz=Asia/Kolkata": "between the years",
    "watch_time?from=2026-02-30": "is no instant",
    "watch_time?from=999999999999999": "between the years",
    "watch_time?format=xml": "json, csv, arrow, feather",
    "watch_time?cursor=AAAA": "none of this question",
    "watch_time?cursor=ü": "none of this question",
    f"watch_time?cursor={ENDLESS}": "none of this question",
    "watch_time?cursor=WzEsImEiXQ&top=3": "no cursor",
    "watch_time?by=top": "by names the dimensions",
    "concurrents?title=a&region=eu": "together",
    "accounting?top=1": "accounting is by source",
}
"""What is asked wrongly, and words of the sentence that it gets."""


def cells(answer: httpx.Response) -> list[dict[str, Any]]:
    assert answer.status_code == 200, answer.text
    found: list[dict[str, Any]] = answer.json()["cells"]
    return found


def csv_of(title: str, watched_ms: int) -> bytes:
    return f"start,title,region,watched_ms,plays,attempts\n{iso(NOON)},{title},eu,{watched_ms},1,1\n".encode()


def problem(answer: httpx.Response, status: int) -> str:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["cache-control"] == "no-store"
    document = answer.json()
    assert document["status"] == status
    sentence: str = document["detail"]
    return sentence


def test_a_live_view_by_top_by_cell_and_in_all(world: World, api: httpx.Client) -> None:
    asyncio.run(world.both(world.status(0), [live("a", 3), live("b", 5)]))
    asyncio.run(world.both(world.status(1), [live("a", 4)]))
    assert cells(api.get("/v1/views/concurrents?top=1")) == [{"title": "a", "viewers": 7}]
    assert cells(api.get("/v1/views/concurrents?title=b")) == [{"title": "b", "viewers": 5}]
    answer = api.get("/v1/views/concurrents?by=title").json()
    assert [(cell["title"], cell["viewers"]) for cell in answer["cells"]] == [("a", 7), ("b", 5)]
    assert (answer["complete"], answer["sources"], answer["final"], answer["next"]) == (1.0, {"heard": 2, "known": 2}, False, None)
    assert answer["as_of_ms"] == world.status(0).clock_ms


def test_every_form_has_the_same_cells_and_says_what_they_are_worth(world: World, api: httpx.Client) -> None:
    asyncio.run(world.both(world.status(0), [watched("t,1", "eu", 5_000), watched("t2", "us", 7_000)]))
    rows = cells(api.get(HOURS))
    csv = api.get(HOURS, headers={"Accept": "text/csv"})
    assert csv.headers["content-type"].startswith("text/csv")
    assert pl.read_csv(csv.content).select("title", "region", "watched_ms").rows() == [("t,1", "eu", 5_000), ("t2", "us", 7_000)]
    stream = pa.ipc.open_stream(api.get(HOURS, headers={"Accept": "application/vnd.apache.arrow.stream"}).content)
    table = stream.read_all()
    assert table.schema.field("start").type == pa.timestamp("ms", "UTC")
    assert [{**row, "start": iso(int(row["start"].timestamp() * 1000))} for row in table.to_pylist()] == [
        {key: value for key, value in row.items() if key != "start_ms"} for row in rows
    ]
    assert pl.read_ipc(io.BytesIO(api.get(f"{HOURS}&format=feather").content)).height == 2
    for answer in (csv, api.get(HOURS)):
        assert answer.headers["marquee-sources"] == "1/1"
        assert answer.headers["marquee-complete"] == "1.0000"
        assert answer.headers["marquee-final"] == "false"
        assert answer.headers["marquee-as-of"] == iso(world.status(0).clock_ms)
    assert table.schema.metadata[b"Marquee-Final"] == b"false"


def test_polars_reads_an_address(world: World, api: httpx.Client) -> None:
    asyncio.run(world.both(world.status(0), [watched("t1", "eu", 5_000)]))
    assert pl.read_csv(f"{api.base_url}{HOURS}&format=csv")["watched_ms"].to_list() == [5_000]
    assert pl.read_ipc(f"{api.base_url}{HOURS}&format=feather")["watched_ms"].to_list() == [5_000]


def test_parts_are_of_the_answer_whose_length_was_told(world: World, api: httpx.Client) -> None:
    asyncio.run(world.both(world.status(0), [watched("t1", "eu", 5_000)]))
    address = f"{HOURS}&format=csv"
    told = api.head(address)
    length = int(told.headers["content-length"])
    assert (told.content, told.headers["accept-ranges"]) == (b"", "bytes")
    asyncio.run(world.both(world.status(0, 200), [watched("t1", "eu", 123_456_789)]))
    first = api.get(address, headers={"Range": "bytes=0-9"})
    rest = api.get(address, headers={"Range": "bytes=10-"})
    assert (first.status_code, first.headers["content-range"]) == (206, f"bytes 0-9/{length}")
    assert first.content + rest.content == csv_of("t1", 5_000)
    assert api.get(address, headers={"Range": "bytes=-3"}).content == csv_of("t1", 5_000)[-3:]
    beyond = api.get(address, headers={"Range": f"bytes={length}-"})
    assert str(length) in problem(beyond, 416)
    assert beyond.headers["content-range"] == f"bytes */{length}"
    assert wait_until(lambda: "123456789" in api.get(address).text, 30)
    assert api.get(address, headers={"Range": "bytes=0-1,4-5"}).status_code == 200


def test_pages_together_are_the_whole_answer_each_row_once(world: World, api: httpx.Client) -> None:
    asyncio.run(
        world.both(world.status(0), [watched(f"t{number:03d}", region, number + 1) for number in range(40) for region in ("eu", "us")])
    )
    whole = cells(api.get(HOURS))
    assert len(whole) == 80
    got: list[dict[str, Any]] = []
    address: str | None = f"{HOURS}&limit=7"
    while address is not None:
        answer = api.get(address)
        got += cells(answer)
        address = answer.json()["next"]
        assert ("link" in answer.headers) == (address is not None)
    assert got == whole


def test_the_next_page_of_a_question_without_a_span_is_of_the_same_span(world: World, api: httpx.Client) -> None:
    asyncio.run(world.both(world.status(0), [watched("a", "eu", 1), watched("b", "eu", 1)]))
    first = api.get("/v1/views/watch_time?limit=1").json()
    asyncio.run(world.both(world.status(0, 200, clock_ms=NOON + HOUR_MS + 1), [watched("a", "eu", 1), watched("b", "eu", 1)]))
    second = api.get(first["next"]).json()
    assert (second["from"], second["to"]) == (first["from"], first["to"])
    assert [cell["title"] for cell in second["cells"]] == ["b"]
    seventies = HOUR_MS * 24
    asyncio.run(world.both(world.status(0, 300), [watched(title, "eu", 1, seventies) for title in ("a", "b")]))
    first = api.get("/v1/views/watch_time?from=1970-01-02&to=1970-01-02T01:00&limit=1").json()
    assert [cell["title"] for cell in cells(api.get(first["next"]))] == ["b"]


def test_a_client_that_has_the_answer_is_told_so_until_a_cell_changes(world: World, api: httpx.Client) -> None:
    asyncio.run(world.both(world.status(0), [watched("a", "eu", 1)]))
    first = api.get(HOURS)
    assert first.headers["cache-control"] == "public, no-cache"
    tag = first.headers["etag"]
    again = api.get(HOURS, headers={"If-None-Match": tag})
    assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", tag)
    assert api.get(f"{HOURS}&format=csv", headers={"If-None-Match": tag}).status_code == 200
    asyncio.run(world.both(world.status(0, 200), [watched("a", "eu", 2)]))
    assert wait_until(lambda: api.get(HOURS, headers={"If-None-Match": tag}).status_code == 200, 60)
    assert cells(api.get(HOURS))[0]["watched_ms"] == 2


def test_final_data_may_be_kept(world: World, api: httpx.Client) -> None:
    asyncio.run(world.store(world.status(0, clock_ms=NOON + 2 * HOUR_MS), [watched("a", "eu", 1)]))
    answer = api.get(HOURS)
    assert answer.json()["final"] is True
    assert answer.headers["cache-control"] == "public, max-age=60"


def test_zones_and_ways_to_write_an_instant(world: World, api: httpx.Client) -> None:
    asyncio.run(world.both(world.status(0), [watched("a", "eu", 1)]))
    spans = [
        api.get("/v1/views/watch_time", params={"from": start, "tz": zone}).json()
        for start, zone in (
            (str(NOON), "UTC"),
            (str(NOON // 1000), "UTC"),
            (iso(NOON), "UTC"),
            (iso(NOON).removesuffix("Z"), "UTC"),
        )
    ]
    assert {answer["from"] for answer in spans} == {iso(NOON)}
    there = api.get("/v1/views/watch_time", params={"from": str(NOON), "tz": "Asia/Kolkata"}).json()
    assert there["from"].endswith("+05:30")
    assert there["cells"][0]["start"] == there["from"]
    assert there["cells"][0]["start_ms"] == NOON
    unescaped = api.get(f"/v1/views/watch_time?from={there['from']}&tz=Asia/Kolkata").json()
    assert unescaped["from"] == there["from"]
    naive = api.get("/v1/views/watch_time", params={"from": there["from"].removesuffix("+05:30"), "tz": "Asia/Kolkata"}).json()
    assert naive["from"] == there["from"]


def test_a_mistake_gets_a_sentence(api: httpx.Client) -> None:
    for query, words in MISTAKES.items():
        assert words in problem(api.get(f"/v1/views/{query}"), 400), query


def test_what_is_not_there_and_what_is_not_taken(api: httpx.Client) -> None:
    assert "there are audience, concurrents" in problem(api.get("/v1/views/nonsense"), 404)
    assert "/v1/profiles/" in problem(api.get("/v1/views/continue_watching"), 404)
    assert "/v1/views lists" in problem(api.get("/nowhere"), 404)
    refused = api.post("/v1/views/concurrents")
    assert "does not take POST" in problem(refused, 405)
    assert {"GET", "HEAD"} <= set(refused.headers["allow"].split(", "))
    for accept in ("image/png", "application/json;q=0"):
        assert "text/csv" in problem(api.get("/v1/views/concurrents", headers={"Accept": accept}), 406)
    for address in ("/v1/views", "/v1/status", "/v1/members", "/v1/profiles/a/p/continue-watching"):
        assert "takes no parameter, and 'top' is one" in problem(api.get(f"{address}?top=3"), 400)


def test_the_catalogue_health_and_a_description_of_every_view(api: httpx.Client) -> None:
    views = {view["view"] for view in api.get("/v1/views").json()["views"]}
    assert {"concurrents", "trending", "continue_watching", "accounting"} < views
    asked = [(view["address"], window) for view in api.get("/v1/views").json()["views"] for window in view["asked_in"]]
    assert {window for address, window in asked if address.endswith("/concurrents")} == {"live", "minute", "hour", "day"}
    assert {window for address, window in asked if address.endswith("/trending")} == {"5m", "1h", "minute", "day"}
    assert {api.get(address, params={"window": window}).status_code for address, window in asked} == {200}
    assert api.get("/healthz").json() == {"status": "ok"}
    assert api.get("/readyz").status_code == 200
    described = api.get("/openapi.json").json()["paths"]
    assert {f"/v1/views/{view}" for view in views - {"continue_watching"}} <= described.keys()
    names = {parameter["name"] for parameter in described["/v1/views/quality"]["get"]["parameters"]}
    assert {"cdn", "region", "device", "app", "by", "top", "window", "from", "to", "tz", "format", "limit", "cursor"} == names
    assert api.head("/v1/views/concurrents").status_code == 200
    page = api.get("/docs").text
    assets = re.findall(r'(?:src|href)="([^"]+)"', page)
    assert all(asset.startswith(("/assets/", "data:")) for asset in assets)
    assert [api.get(asset).status_code for asset in assets if asset.startswith("/")] == [200, 200, 200]
    assert 'marquee_http_requests_total{route="/v1/views",status="200"}' in api.get("/metrics").text


def test_how_everything_stands_and_an_empty_shelf(api: httpx.Client) -> None:
    status = api.get("/v1/status").json()
    assert {server["name"]: server["ok"] for server in status["servers"]} == dict.fromkeys(
        ("kafka", "redis", "cassandra", "memcached"), True
    )
    members = api.get("/v1/members")
    assert (members.json()["members"], members.json()["leader"], members.headers["cache-control"]) == ([], None, "no-store")
    shelf = api.get("/v1/profiles/a1/p1/continue-watching")
    assert (shelf.json()["titles"], shelf.headers["cache-control"]) == ([], "private, no-store")
    for written, names in {"a%2Fb/p%2f1": ("a/b", "p/1"), "a%252Fb/%C3%BC%20+": ("a%2Fb", "ü +")}.items():
        document = api.get(f"/v1/profiles/{written}/continue-watching").json()
        assert (document["account"], document["profile"]) == names
    assert "nothing at" in problem(api.get("/v1/profiles/a/b/p/continue-watching"), 404)


def test_with_a_store_away_it_answers_from_the_other_and_with_both_it_says_so(world: World) -> None:
    asyncio.run(world.both(world.status(0), [live("a", 3), watched("a", "eu", 1)]))
    with served(without_redis(world.settings)) as api:
        answer = api.get("/v1/views/concurrents?by=title").json()
        assert [(cell["title"], cell["viewers"]) for cell in answer["cells"]] == [("a", 3)]
        assert "Redis" in " ".join(answer["notes"])
    with served(without_cassandra(world.settings)) as api:
        assert cells(api.get("/v1/views/concurrents?by=title")) == [{"title": "a", "viewers": 3}]
        assert api.get("/readyz").status_code == 200
    with served(without_redis(without_cassandra(world.settings))) as api:
        answer = api.get("/v1/views/concurrents")
        assert "neither store answers" in problem(answer, 503)
        assert answer.headers["retry-after"] == "1"
        assert "neither store answers" in problem(api.get("/readyz"), 503)
        assert api.get("/healthz").status_code == 200

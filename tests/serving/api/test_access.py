"""Tokens over real HTTP and a real store: each opens what it is for, until it is revoked, and no more of it than it may."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from dataclasses import replace

import httpx
import pytest

from cluster.process import wait_until
from connectors.cassandra import close, connect
from connectors.tokens import Tokens, make, parsed
from serving.api.access import access_here
from tests.serving.api.conftest import served
from tests.serving.test_answers import HOUR_MS, NOON, World, watched
from topologies.scopes import SCOPES
from topologies.settings import ApiSettings, Settings

QUESTION = "/v1/views/concurrents"
SHELF = "/v1/profiles/a1/p1/continue-watching"
DOORS = {"read": QUESTION, "profile": SHELF, "operate": "/v1/status"}
EVENT = {
    "v": 1, "type": "play_start", "session": "s1", "seq": 1,
    "account": "a1", "profile": "p1", "title": "t1", "region": "eu", "device": "tv",
}  # fmt: skip


@pytest.fixture
def tokens(world: World) -> Iterator[Tokens]:
    session = connect(world.settings.cassandra)
    yield Tokens(session, world.settings.cassandra)
    close(session)


def closed(settings: Settings) -> Settings:
    return replace(settings, api=replace(settings.api, access="tokens"))


def with_token(text: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {text}"}


def made(tokens: Tokens, *scopes: str, requests_per_s: float | None = None) -> str:
    token, text = make("somebody's", scopes, 1, requests_per_s)
    tokens.put(token)
    return text


def test_a_token_opens_what_it_is_for_and_nothing_else(world: World, tokens: Tokens) -> None:
    texts = {scope: made(tokens, scope) for scope in SCOPES}
    event = {**EVENT, "ts": time.time_ns() // 1_000_000}
    with served(closed(world.settings)) as api:
        for scope, text in texts.items():
            for door, address in (*DOORS.items(), ("operate", "/v1/members")):
                answer = api.get(address, headers=with_token(text))
                assert answer.status_code == (200 if scope == door else 403), (scope, door, answer.text)
                assert api.head(address, headers=with_token(text)).status_code == answer.status_code
            sent = api.post("/v1/events", json=event, headers=with_token(text))
            assert sent.status_code == (202 if scope == "write" else 403), sent.text
        refused = api.get(QUESTION, headers=with_token(texts["write"])).json()
        assert "is not for read" in refused["detail"]
        assert "but for write" in refused["detail"]
        kept = api.get(QUESTION, headers=with_token(texts["read"])).headers["cache-control"]
        assert kept.startswith("private")  # a cache between is not to give it to others


def test_who_has_none_or_a_wrong_one_is_told_to_say_who_they_are(world: World, tokens: Tokens) -> None:
    good = made(tokens, "read")
    wrong = [good[:-1] + ("A" if good[-1] != "A" else "B"), "mq_000000000000_" + "x" * 43, "rubbish", "ü"]
    with served(closed(world.settings)) as api:
        assert api.get(QUESTION, headers=with_token(good)).status_code == 200
        without = api.get(QUESTION)
        assert (without.status_code, without.headers["www-authenticate"]) == (401, "Bearer")
        assert "marquee token make" in without.json()["detail"]
        for text in wrong:
            answer = api.get(QUESTION, headers={b"Authorization": f"Bearer {text}".encode()})
            assert answer.status_code == 401, text
        assert api.get(QUESTION, headers={"Authorization": f"Basic {good}"}).status_code == 401
        for address in ("/healthz", "/readyz", "/metrics", "/openapi.json", "/docs"):
            assert api.get(address).status_code == 200, address
        assert api.get(f"{QUESTION}/stream").status_code == 401


def test_what_a_token_opened_is_kept_by_no_cache_of_others(world: World, tokens: Tokens) -> None:
    headers = with_token(made(tokens, "read"))
    asyncio.run(world.store(world.status(0, clock_ms=NOON + 2 * HOUR_MS), [watched("a", "eu", 1)]))
    final = f"/v1/views/watch_time?from={NOON}&to={NOON + HOUR_MS}"
    addresses = {final: "private, max-age=60", QUESTION: "private, no-cache", "/v1/views": "private, no-cache"}
    with served(closed(world.settings)) as api:
        for address, caching in addresses.items():
            assert api.get(address, headers=headers).headers["cache-control"] == caching


def test_a_revoked_token_opens_nothing_any_more(world: World, tokens: Tokens) -> None:
    text = made(tokens, "read")
    identity, _ = parsed(text) or ("", "")
    with served(closed(world.settings)) as api:
        assert api.get(QUESTION, headers=with_token(text)).status_code == 200
        tokens.revoke(identity, 2)
        assert wait_until(lambda: api.get(QUESTION, headers=with_token(text)).status_code == 401, 60)
    assert tokens.all()[identity].revoked_ms == 2


def test_a_token_may_ask_as_much_as_it_says_and_another_more(world: World, tokens: Tokens) -> None:
    few, many = made(tokens, "read", requests_per_s=0.001), made(tokens, "read")
    with served(closed(world.settings)) as api:
        assert api.get(QUESTION, headers=with_token(few)).status_code == 200
        answer = api.get(QUESTION, headers=with_token(few))
        assert answer.status_code == 429
        assert int(answer.headers["retry-after"]) >= 1
        assert [api.get(QUESTION, headers=with_token(many)).status_code for _ in range(20)] == [200] * 20


def test_on_loopback_nobody_needs_one_but_a_wrong_one_is_refused(world: World, api: httpx.Client) -> None:
    assert world.settings.api.access == "loopback"
    assert api.get(QUESTION).status_code == 200
    assert api.get(QUESTION, headers=with_token("mq_000000000000_" + "x" * 43)).status_code == 401


@pytest.mark.parametrize(
    ("access", "host", "here"),
    [
        ("loopback", "127.0.0.1", "loopback"), ("loopback", "::1", "loopback"), ("loopback", "localhost", "loopback"),
        ("loopback", "0.0.0.0", "tokens"), ("loopback", "10.0.0.5", "tokens"), ("loopback", "::", "tokens"),
        ("tokens", "127.0.0.1", "tokens"), ("open", "0.0.0.0", "open"),
    ],
)  # fmt: skip
def test_who_needs_a_token_follows_from_where_it_listens(access: str, host: str, here: str) -> None:
    assert access_here(replace(ApiSettings(), access=access, http_host=host)) == here


def test_pages_of_others_may_ask_only_where_that_is_set(world: World) -> None:
    origin = {"Origin": "https://example.org"}
    with served(world.settings) as api:
        assert "access-control-allow-origin" not in api.get(QUESTION, headers=origin).headers
    with served(replace(world.settings, api=replace(world.settings.api, cors_origins=("https://example.org",)))) as api:
        assert api.get(QUESTION, headers=origin).headers["access-control-allow-origin"] == "https://example.org"
        assert "access-control-allow-origin" not in api.get(QUESTION, headers={"Origin": "https://evil.example"}).headers


def test_a_secret_is_kept_as_its_hash_alone() -> None:
    token, text = make("x", ("read",), 1)
    _, secret = parsed(text) or ("", "")
    assert token.opened_by(secret)
    assert not token.opened_by(secret[:-1])
    assert not replace(token, revoked_ms=2).opened_by(secret)
    assert secret.encode() not in token.digest
    assert secret not in repr(token)

"""Who may ask what: tokens and their scopes, and how much each may ask.

`api.access` says who needs a token: `tokens` everybody, `open` nobody, `loopback` nobody while the process listens on a loopback address
and everybody otherwise. A route names its scope by `opt`; one without is for all.

The tokens are read from Cassandra again after FRESH_S, so a revoked one is refused within that. While Cassandra is away those that were
known go on being known for STALE_S; then nobody is let in.
"""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from cassandra.cluster import Session
from litestar import Request
from litestar.connection import ASGIConnection
from litestar.handlers import BaseRouteHandler

from connectors.cassandra_schema import require_schema
from connectors.tokens import Token, Tokens, parsed
from serving.limits import Buckets
from serving.refusals import Forbidden, Limited, Unauthorized
from topologies.errors import MarqueeError, ServerAway
from topologies.scopes import SCOPES
from topologies.settings import ApiSettings, Settings

log = logging.getLogger(__name__)
FRESH_S: Final = 2.0
AGAIN_S: Final = 0.5
"""A token that is not known is looked for again at the earliest after."""
STALE_S: Final = 600.0
BURST_S: Final = 2.0
"""Who was silent may ask what they may in so long at once."""
Connection = ASGIConnection[Any, Any, Any, Any]


@dataclass(frozen=True)
class Caller:
    """Whose request it is: a token's, or an address' where none is needed."""

    name: str
    token: Token | None = None


def access_here(api: ApiSettings) -> str:
    """`tokens` where requests without one are refused; else why they are not: `open`, or `loopback`."""
    return "tokens" if api.access == "loopback" and not _is_loopback(api.http_host) else api.access


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"


class Gate:
    """Lets requests in. Used from one event loop."""

    def __init__(self, settings: Settings, session: Callable[[], Session], clock: Callable[[], float] = time.monotonic) -> None:
        """session: with Cassandra, which stays its owner's; asked for on a thread. clock: seconds."""
        self._settings = settings
        self._session = session
        self._clock = clock
        self.access = access_here(settings.api)
        self.needed = self.access == "tokens"
        self._tokens: Mapping[str, Token] | None = None
        self._read_s = -STALE_S
        self._tried_s = -STALE_S
        self._reading: asyncio.Future[None] | None = None
        self._buckets: dict[float, Buckets] = {}

    def admit(self, caller: Caller, scope: str) -> None:
        """Lets them in. Raises Forbidden for a token that has not this scope, Limited for who asks too much."""
        if caller.token is not None and scope not in caller.token.scopes:
            scopes = ", ".join(sorted(caller.token.scopes))
            raise Forbidden(f"the token {caller.token.name!r} is not for {scope} ({SCOPES[scope]}), but for {scopes}")
        rate = self._settings.api.requests_per_s
        if caller.token is not None and caller.token.requests_per_s is not None:
            rate = caller.token.requests_per_s
        if wait_s := self._bucket(rate).take(caller.name, 1):
            raise Limited(f"more than {rate:g} requests a second came from {caller.name}; wait {wait_s} s", wait_s)

    async def caller(self, connection: Connection) -> Caller:
        """Whose request it is. Raises Unauthorized without a token that holds, where one is needed or given, ServerAway or StoreError when
        the tokens cannot be read."""
        given = connection.headers.get("authorization")
        if given is None and not self.needed:
            return Caller(connection.client.host if connection.client else "somebody")
        kind, _, text = (given or "").partition(" ")
        found = parsed(text.strip()) if kind.lower() == "bearer" else None
        if found is None:
            raise Unauthorized("say who you are: Authorization: Bearer TOKEN; `marquee token make` makes one")
        token = (await self._known(found[0])).get(found[0])
        if token is None or not token.opened_by(found[1]):
            raise Unauthorized("this token is not known here, or has been revoked")
        return Caller(f"token {token.name} ({token.id})", token)

    def _bucket(self, rate: float) -> Buckets:
        return self._buckets.setdefault(rate, Buckets(rate, rate * BURST_S, self._clock))

    async def _known(self, identity: str) -> Mapping[str, Token]:
        """The tokens: as they were at most FRESH_S ago, unless they cannot be read; one that is not among them may just have been made."""
        now_s = self._clock()
        known = self._tokens if now_s - self._read_s < STALE_S else None
        waits = known is None or identity not in known
        if self._reading is None and now_s >= self._tried_s + (AGAIN_S if waits else FRESH_S):
            self._tried_s = now_s
            self._reading = asyncio.ensure_future(asyncio.to_thread(self._read))
            self._reading.add_done_callback(self._landed)
        if waits and self._reading is not None:
            try:
                await asyncio.shield(self._reading)
            except MarqueeError:
                if known is None:
                    raise
        known = known if known is not None and not waits else self._tokens
        if known is None:
            raise ServerAway("who may ask what is not known: the tokens could not be read in Cassandra")
        return known

    def _landed(self, reading: asyncio.Future[None]) -> None:
        self._reading = None
        if not reading.cancelled() and (error := reading.exception()) is not None:
            log.warning("the tokens cannot be read: %s", error)

    def _read(self) -> None:
        begun_s, session = self._clock(), self._session()
        require_schema(session, self._settings.cassandra)
        self._tokens = Tokens(session, self._settings.cassandra).all()
        self._read_s = begun_s


async def guard(connection: Connection, handler: BaseRouteHandler) -> None:
    """Litestar's guard of every route: lets in who may ask what the route is for."""
    scope = handler.opt.get("scope")
    if scope is not None:
        gate: Gate = connection.app.state.gate
        caller = connection.state.caller = await gate.caller(connection)
        gate.admit(caller, scope)


def reach(request: Request[Any, Any, Any]) -> Literal["public", "private"]:
    """Whose caches may keep an answer, behind `guard`: anybody's, unless who asked said by a token who they are."""
    caller: Caller = request.state.caller
    return "public" if caller.token is None else "private"


def client_of(request: Request[Any, Any, Any]) -> str:
    """Whose limit a request counts for, behind `guard`."""
    caller: Caller = request.state.caller
    return caller.name

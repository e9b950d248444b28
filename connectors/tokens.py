"""API tokens: who may ask what. Made and revoked by `marquee token`, read by every process of the doors; table `tokens` of
connectors/cassandra.py.

A token is `mq_ID_SECRET`. Of the secret, 256 bits of the system's random source, only the SHA-256 is kept: it cannot be guessed, so it
needs no slow hash, and a stolen table opens nothing.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from cassandra.cluster import Session

from connectors.cassandra import cassandra_errors, prepared
from connectors.cassandra_store import SCOPE
from topologies.settings import CassandraSettings

_SECRET_BYTES: Final = 32
_FORM: Final = re.compile(r"mq_([0-9a-f]{12})_([A-Za-z0-9_-]{43})")


@dataclass(frozen=True)
class Token:
    """One token as it is kept. requests_per_s: that it may make, None for as many as api.requests_per_s says; times in epoch ms."""

    id: str
    name: str
    scopes: frozenset[str]
    digest: bytes
    made_ms: int
    revoked_ms: int | None = None
    requests_per_s: float | None = None

    def opened_by(self, secret: str) -> bool:
        """Whether it is this token's secret. Takes as long for a wrong one, and tells nothing of a revoked one."""
        return hmac.compare_digest(_digest(secret), self.digest) and self.revoked_ms is None


def make(name: str, scopes: Iterable[str], at_ms: int, requests_per_s: float | None = None) -> tuple[Token, str]:
    """A new token, and its text, which is told once and kept nowhere."""
    identity, secret = secrets.token_hex(6), secrets.token_urlsafe(_SECRET_BYTES)
    token = Token(identity, name, frozenset(scopes), _digest(secret), at_ms, None, requests_per_s)
    return token, f"mq_{identity}_{secret}"


def parsed(text: str) -> tuple[str, str] | None:
    """Id and secret of a token's text; None when it is none."""
    found = _FORM.fullmatch(text)
    return (found.group(1), found.group(2)) if found else None


def _digest(secret: str) -> bytes:
    return hashlib.sha256(secret.encode()).digest()


class Tokens:
    """The kept ones. Methods block and raise ServerAway or StoreError."""

    def __init__(self, session: Session, settings: CassandraSettings) -> None:
        """Prepares its statements; the schema is there (ensure_schema). The session stays the caller's."""
        self._session = session
        self._settings = settings
        table = f"{settings.keyspace}.tokens"
        columns = "id, name, scopes, digest, made_ms, revoked_ms, requests_per_s"
        with cassandra_errors(settings):
            self._all = prepared(session, f"SELECT {columns} FROM {table} WHERE scope = ?")
            self._put = prepared(session, f"INSERT INTO {table} (scope, {columns}) VALUES (?, ?, ?, ?, ?, ?, ?, ?)")
            self._revoke = prepared(session, f"UPDATE {table} SET revoked_ms = ? WHERE scope = ? AND id = ?")

    def all(self) -> dict[str, Token]:
        """By id, the revoked ones too."""
        with cassandra_errors(self._settings):
            rows = list(self._session.execute(self._all, (SCOPE,)))
        return {row[0]: Token(row[0], row[1], frozenset(row[2].split()), *row[3:]) for row in rows}

    def put(self, token: Token) -> None:
        """Keeps it. Again changes nothing."""
        values = (token.id, token.name, " ".join(sorted(token.scopes)), token.digest, token.made_ms, token.revoked_ms, token.requests_per_s)
        with cassandra_errors(self._settings):
            self._session.execute(self._put, (SCOPE, *values))

    def revoke(self, identity: str, at_ms: int) -> None:
        """Nobody is let in by it any more. The token is there (`all`)."""
        with cassandra_errors(self._settings):
            self._session.execute(self._revoke, (at_ms, SCOPE, identity))

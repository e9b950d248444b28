"""Memcached, which remembers what history's readers got out of Cassandra: its keys and values, and the client.

    {prefix}{keyspace}:{table}:{window}/{digest}   what was read there; digest: BLAKE2b of what was asked and of what is known of the
                                                   sources, so that a key has one right value (serving/finals.py, serving/partials.py)

    a value     "MQ" · u8 version of this layout · u8 kind (0: is not kept, 1: is) · u32 length · u32 CRC-32 of key and payload · payload
    no bytes    somebody is reading it in Cassandra: a lease that the server gave, of LEASE_S

Anything else under a key is nobody's and is read anew. A payload is bytes of serving's, no pickle. One over MOST_BYTES is not kept, since
a server's items end at 1 MiB: what is so large is many cells, and taking those up costs more than reading them. All may be lost any time.

The client speaks the meta commands (memcached 1.6 and later): `mg KEY v N2` gives the value or, to the first of those who find none, the
lease, all keys of a question in one round trip. A call has one deadline for all that it sends and gets. A server that fails, by silence or
by an answer that is none, is left alone for REST_S; then one call tries it. Nothing here raises for a server's sake.
"""

from __future__ import annotations

import hashlib
import re
import socket
import struct
import threading
import time
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from enum import Enum
from typing import Final, TypeVar

import mmh3

from connectors.tls import Context, memcached_tls, reached
from topologies.settings import MemcachedSettings

LEASE_S: Final = 2
"""Whoever got the lease of a key has so long to read it, rounded down to the server's seconds: 1 to 2 s."""
REST_S: Final = 5.0
MOST_BYTES: Final = 1_000_000
MOST_KEY: Final = 250
"""Bytes of a key, by the protocol."""
_KEYS_A_CALL: Final = 64
_HEAD: Final = struct.Struct("<2sBBII")
_MAGIC: Final = b"MQ"
_VERSION: Final = 1
_DIGEST_BYTES: Final = 16
_RECEIVED: Final = 262_144
_PLAIN: Final = re.compile(r"[\x21-\x7e]*")
_TOLD: Final = (b"HD", b"NF", b"NS", b"SERVER_ERROR")
"""What a server answers to what it is told: done; there was nothing; not stored; there is no room."""


Answered = TypeVar("Answered")


class Look(Enum):
    """What one finds of a key that has no value."""

    READ = "read it, and put it there"
    WAIT = "somebody is reading it"
    PASS = "read it; the server is away, or full"


class NotMemcached(OSError):
    """Who answers speaks something else."""


def key_of(settings: MemcachedSettings, place: str, *asked: object) -> str:
    """The key of what is asked at a place: printable ASCII of at most MOST_KEY bytes, the same for the same."""
    digest = hashlib.blake2b(repr(asked).encode(), digest_size=_DIGEST_BYTES).hexdigest()
    key = f"{settings.prefix}{place}/{digest}"
    if len(key) <= MOST_KEY and _PLAIN.fullmatch(key):
        return key
    return f"{settings.prefix}{hashlib.blake2b(key.encode(), digest_size=_DIGEST_BYTES).hexdigest()}"


def framed(key: str, payload: bytes | None) -> bytes:
    """A value as it is stored under a key; None: that it is not kept."""
    body = payload or b""
    return _HEAD.pack(_MAGIC, _VERSION, payload is not None, len(body), zlib.crc32(body, zlib.crc32(key.encode()))) + body


def opened(key: str, value: bytes) -> bytes | Look:
    """The payload of a stored value; READ when it is not kept, or nothing that `framed` made for this key."""
    if len(value) < _HEAD.size:
        return Look.READ
    magic, version, kept, length, check = _HEAD.unpack_from(value)
    body = value[_HEAD.size :]
    if (magic, version, length) != (_MAGIC, _VERSION, len(body)) or check != zlib.crc32(body, zlib.crc32(key.encode())):
        return Look.READ
    return body if kept else Look.READ


class Connection:
    """One connection. Everything that goes wrong raises OSError, after which it is of no more use."""

    def __init__(self, address: str, deadline_s: float, clock: Callable[[], float], context: Context = None) -> None:
        host, _, port = address.rpartition(":")
        self._clock, self._deadline_s = clock, deadline_s
        self._socket = reached(host.strip("[]"), int(port), self._left(), context)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._buffer = bytearray()

    def close(self) -> None:
        self._socket.close()

    def begin(self, deadline_s: float) -> None:
        """All that follows has to be done by then, by the clock."""
        self._deadline_s = deadline_s

    def send(self, words: bytes) -> None:
        self._socket.settimeout(self._left())
        self._socket.sendall(words)

    def line(self) -> bytes:
        """The next line, without its end. A line of more than a few keys' length is none of Memcached's."""
        while (end := self._buffer.find(b"\r\n")) < 0:
            if len(self._buffer) > 4 * MOST_KEY:
                raise NotMemcached("a line without an end")
            self._receive()
        found = bytes(self._buffer[:end])
        del self._buffer[: end + 2]
        return found

    def value(self) -> tuple[bytes | None, bool]:
        """The answer to one `mg`: the value, None when there is none; and whether the lease is ours."""
        words = self.line().split()
        if words == [b"EN"] or (words and words[0] == b"SERVER_ERROR"):
            return None, False
        if len(words) < 2 or words[0] != b"VA" or not words[1].isdigit() or int(words[1]) > 2 * MOST_BYTES:
            raise NotMemcached(f"{words[:2]} is no value")
        size = int(words[1])
        while len(self._buffer) < size + 2:
            self._receive()
        found = bytes(self._buffer[:size])
        if self._buffer[size : size + 2] != b"\r\n":
            raise NotMemcached("a value without its end")
        del self._buffer[: size + 2]
        return found, b"W" in words[2:]

    def _receive(self) -> None:
        self._socket.settimeout(self._left())
        received = self._socket.recv(_RECEIVED)
        if not received:
            raise ConnectionResetError("closed by the server")
        self._buffer += received

    def _left(self) -> float:
        left_s = self._deadline_s - self._clock()
        if left_s <= 0:
            raise TimeoutError("no answer in time")
        return left_s


class Server:
    """One server, and its idle connections. Any number of threads."""

    def __init__(self, address: str, timeout_s: float, clock: Callable[[], float], context: Context = None) -> None:
        self.address = address
        self._context = context
        self.seed = zlib.crc32(address.encode())
        self._timeout_s = timeout_s
        self._clock = clock
        self._idle: list[Connection] = []
        self._rests_until_s: float | None = None
        self._lock = threading.Lock()

    def call(self, exchange: Callable[[Connection, Sequence[bytes]], Answered], words: Sequence[bytes]) -> Answered | None:
        """What the exchange gave; None when the server fails, or rests. It may be begun twice: an idle connection may have been closed."""
        if not self._may():
            return None
        deadline_s = self._clock() + self._timeout_s
        while True:
            reused = self._taken()
            connection = reused
            try:
                connection = connection or Connection(self.address, deadline_s, self._clock, self._context)
                connection.begin(deadline_s)
                answered = exchange(connection, words)
            except (OSError, UnicodeError) as error:
                if connection is not None:
                    connection.close()
                if reused is not None and isinstance(error, ConnectionError):
                    continue
                self._rests()
                return None
            with self._lock:
                self._rests_until_s = None
                self._idle.append(connection)
            return answered

    def close(self) -> None:
        """Closes what is idle; it opens anew when it is called again."""
        while (connection := self._taken()) is not None:
            connection.close()

    def _may(self) -> bool:
        """Whether it is to be asked. After a rest one call finds out; until it has, the others go without."""
        with self._lock:
            if self._rests_until_s is None:
                return True
            if self._clock() < self._rests_until_s:
                return False
            self._rests_until_s = self._clock() + REST_S
            return True

    def _rests(self) -> None:
        self.close()
        with self._lock:
            self._rests_until_s = self._clock() + REST_S

    def _taken(self) -> Connection | None:
        with self._lock:
            return self._idle.pop() if self._idle else None


class Memcached:
    """The servers of the settings, none included. Any number of threads; close it at the end."""

    def __init__(self, settings: MemcachedSettings, clock: Callable[[], float] = time.monotonic) -> None:
        """clock: seconds. Connects when it is first asked. Raises UsageError for a file of certificates that cannot be read."""
        self.settings = settings
        self._servers = [Server(address, settings.timeout_s, clock, memcached_tls(settings)) for address in settings.servers]

    def close(self) -> None:
        """Twice does nothing more."""
        for server in self._servers:
            server.close()

    def look(self, keys: Sequence[str]) -> dict[str, bytes | Look]:
        """Of each key its payload, or what to do: of those with READ we are the reader now."""
        found: dict[str, bytes | Look] = dict.fromkeys(keys, Look.PASS)
        for server, part in self._parts(keys):
            if (values := server.call(_get, [key.encode() for key in part])) is not None:
                found.update({key: _look(key, *value) for key, value in zip(part, values, strict=True)})
        return found

    def put(self, payloads: Mapping[str, bytes | None], ttl_s: int) -> None:
        """Keeps these for at most so long, and ends their leases. None, and what is too large: that it is not kept, for LEASE_S, so that
        nobody waits for it."""
        for server, part in self._parts(payloads):
            server.call(_tell, [_kept(key, payloads[key], ttl_s) for key in part])

    def drop(self, keys: Iterable[str]) -> None:
        """Nobody reads these any more, and nobody has."""
        for server, part in self._parts(keys):
            server.call(_tell, [b"md %b\r\n" % key.encode() for key in part])

    def _parts(self, keys: Iterable[str]) -> Iterator[tuple[Server, list[str]]]:
        """Each server with some of the keys that are its: the one with the greatest hash of both, so that of n servers one more takes
        1/(n + 1) of the keys from each, and no others move."""
        shares: dict[int, list[str]] = {}
        if self._servers:
            for key in keys:
                shares.setdefault(self._server_of(key), []).append(key)
        for at, share in shares.items():
            for begin in range(0, len(share), _KEYS_A_CALL):
                yield self._servers[at], share[begin : begin + _KEYS_A_CALL]

    def _server_of(self, key: str) -> int:
        if len(self._servers) == 1:
            return 0
        return max(range(len(self._servers)), key=lambda at: mmh3.hash(key, self._servers[at].seed, signed=False))


def _look(key: str, value: bytes | None, ours: bool) -> bytes | Look:
    if value is None:
        return Look.PASS
    return opened(key, value) if value or ours else Look.WAIT


def _kept(key: str, payload: bytes | None, ttl_s: int) -> bytes:
    kept = payload is not None and len(payload) <= MOST_BYTES
    value = framed(key, payload if kept else None)
    return b"ms %b %d T%d\r\n%b\r\n" % (key.encode(), len(value), ttl_s if kept else LEASE_S, value)


def _get(connection: Connection, keys: Sequence[bytes]) -> list[tuple[bytes | None, bool]]:
    connection.send(b"".join(b"mg %b v N%d\r\n" % (key, LEASE_S) for key in keys))
    return [connection.value() for _ in keys]


def _tell(connection: Connection, requests: Sequence[bytes]) -> None:
    connection.send(b"".join(requests))
    for _ in requests:
        line = connection.line()
        if not line.startswith(_TOLD):
            raise NotMemcached(f"{line[:20]!r} is no answer")


def version_of(address: str, timeout_s: float, context: Context = None) -> str:
    """What the server at host:port says that it is. Raises OSError when none of Memcached's answers."""
    connection = Connection(address, time.monotonic() + timeout_s, time.monotonic, context)
    try:
        connection.send(b"version\r\n")
        word, _, version = connection.line().decode(errors="replace").partition(" ")
    finally:
        connection.close()
    if word != "VERSION":
        raise NotMemcached("something else listens there")
    return version

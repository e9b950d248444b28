"""Redis, the cache of live views: its keys, and how it is reached. Written by redis_cache.py, read by redis_reader.py.

    {prefix}sources                                  set of source texts
    {prefix}src:{source}                             hash, one source's status
        seen        version of the last flush that began         applied     version of the last flush that ended
        run_id      server run that the source was written on    clock_ms, watermark_ms, received, applied_events,
        topic, worker, http, at_ms                               duplicate, late, dead
        keys        how many keys there were at that flush's end ended    when (ms) its topic was found to be no more
        flush       token of the flush or reset that began last: of two at one version the later one goes on
        puts        up to which call of that flush all have stored their cells
    {prefix}src:{source}:keys                        set of the s-keys below that this source has
    {prefix}server                                   run of the server, and how many keys it had evicted when it was last looked at
    {prefix}{view}:{logic}:{window}:{start_ms}:{grouping}:s:{source}   hash: key → measures of this source
    {prefix}{view}:{logic}:{window}:{start_ms}:{grouping}:t            hash: key → measures, sum over sources
    {prefix}{view}:{logic}:{window}:{start_ms}:{grouping}:b:{measure}  sorted set: key by −total, so that equal ones come in key order;
                                                                       every total down to some total, at least the greatest BOARD_FEWEST

    {prefix}flushed                                  channel: the status key of a source whose flush has ended, told to who listens

    in a database of its own (`redis.shelves_db`), so that who looks through all keys of cells meets none of millions of shelves:

    {prefix}cw                                       mark of that database: without it, it was emptied
    {prefix}cw/{account}U+001F{profile}              hash, a profile's shelf: title → bookmark (topologies/marks.py), MOST_TITLES at most;
                                                     "" → run of the server in which it was given all that Cassandra has: in another run
                                                     it may lack some. Colons are written %3A, should another Marquee's cells be there.
                                                     It is no source's and needs no version but its bookmarks' own; it expires when
                                                     nothing moves

    key = dimension values joined by U+001F, UTF-8 ("" for the grouping of none); measures = little-endian int64 each;
    grouping = its index in the view. A cell of zeros does not exist. Keys of a window expire at its end + retention, live ones never.

Functions of cells.lua; each compares the version with `seen` in the same step in which it writes:

    mq_begin  raises seen       mq_put  stores cells, moves totals and leaderboards by the difference      mq_end  applied = seen
    mq_reset  un-applies        mq_take removes some of the source's cells from everywhere
    mq_drop   takes away what is left of a view that is no longer declared     mq_conclude  ends a source: nobody writes it any more
    mq_mark  keeps the greater bookmark of each title     mq_renew  so too, and then the shelf has all
    mq_look, mq_census  notice keys that are gone (evicted, deleted by hand, all shelves), and then take away our cells: owners write
                        theirs anew, and the bookmarks that they remember

    each answers `ok`, `refused` (a newer version has been seen) or `mismatch` (the server does not hold what this owner wrote:
    restarted, failed over or emptied).  Reader's rule: a source is consistent while applied = seen.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from importlib.resources import files
from typing import Any, Final
from urllib.parse import parse_qsl, urlencode

import redis.exceptions
from redis.connection import parse_url

from topologies.errors import MarqueeError, ServerAway, StoreError, UsageError
from topologies.settings import RedisSettings
from topologies.sources import Source
from topologies.view import KEY_SEPARATOR, View, Window

LIBRARY: Final = files("connectors").joinpath("cells.lua").read_text(encoding="utf-8")
BOARD_FEWEST: Final = 500
"""A leaderboard has at least so many of the greatest totals, or all; FEWEST of cells.lua. It has 2,000 at most, unless they are equal:
keeping all 109,000 of a title and region in order cost 60 % of what Redis did (0024)."""
STATUS_FIELDS: Final = ("clock_ms", "watermark_ms", "received", "applied_events", "duplicate", "late", "dead")


@dataclass(frozen=True)
class RedisKeys:
    """The names of the drawing above, for one prefix."""

    prefix: str

    @property
    def sources(self) -> str:
        return f"{self.prefix}sources"

    @property
    def server(self) -> str:
        return f"{self.prefix}server"

    def status(self, source: str) -> str:
        return f"{self.prefix}src:{source}"

    def register(self, source: str) -> str:
        return f"{self.prefix}src:{source}:keys"

    def stem(self, view: View, window: str, start_ms: int, grouping: int) -> str:
        """What the s, t and b keys of one window of one grouping share."""
        return self.stem_of(view.name, view.logic_version, window, start_ms, grouping)

    def stem_of(self, view: str, logic: int, window: str, start_ms: int, grouping: int) -> str:
        """The same of a view that may not be declared."""
        return f"{self.prefix}{view}:{logic}:{window}:{start_ms}:{grouping}:"

    def cells(self, stem: str, source: str) -> str:
        return f"{stem}s:{source}"

    def totals(self, stem: str) -> str:
        return f"{stem}t"

    def board(self, stem: str, view: View) -> str | None:
        return None if view.leaderboard is None else self.board_by(stem, view.leaderboard)

    def board_by(self, stem: str, measure: str) -> str:
        return f"{stem}b:{measure}"

    @property
    def flushed(self) -> str:
        """The channel that tells of each flush that has ended, by its status key."""
        return f"{self.prefix}flushed"

    @property
    def shelved(self) -> str:
        return f"{self.prefix}cw"

    def shelf(self, account: str, profile: str) -> str:
        """Without a colon behind the prefix, so that no pattern of other keys matches it, whatever the names."""
        account, profile = (text.replace("%", "%25").replace(":", "%3A") for text in (account, profile))
        return f"{self.prefix}cw/{account}{KEY_SEPARATOR}{profile}"

    def parsed(self, cells_key: str) -> tuple[str, int, str, int, int]:
        """(view name, logic, window, start_ms, grouping) of an s-key; StoreError if it is none."""
        try:
            if not cells_key.startswith(self.prefix):
                raise ValueError("another prefix")
            view, logic, window, start_ms, grouping, kind, _ = cells_key[len(self.prefix) :].split(":", 6)
            if kind != "s":
                raise ValueError("no s-key")
            return view, int(logic), window, int(start_ms), int(grouping)
        except ValueError as error:
            raise StoreError(f"Redis key {cells_key!r} is not one of Marquee's; give Marquee a prefix of its own (redis.prefix)") from error


def expires_at_s(window: Window, start_ms: int) -> int:
    """When the keys of a window expire, epoch seconds: its end + retention; 0 for never."""
    if not window.length_ms or not window.retention_s:
        return 0
    return (start_ms + window.length_ms) // 1000 + window.retention_s


def board_place(view: View) -> int:
    """Where the ranked measure starts in a stored cell, in bytes from 1; 0 without a leaderboard."""
    return 0 if view.ranked is None else view.ranked * 8 + 1


def evicting(url: str, policy: str) -> StoreError:
    return StoreError(f"Redis at {shown(url)} evicts keys ({policy}), so totals would drift; set its maxmemory-policy to noeviction")


def parse_source(text: str, topic: str) -> Source:
    """The source of its text form `region:topic_id:partition`."""
    region, topic_id, partition = text.rsplit(":", 2)
    return Source(region, topic, topic_id, int(partition))


def connection_options(settings: RedisSettings) -> dict[str, Any]:
    """What both clients are opened with: bounded time-outs, one retry on a connection that has gone stale."""
    options: dict[str, Any] = {"socket_timeout": settings.timeout_s, "socket_connect_timeout": settings.timeout_s}
    if settings.user:
        options["username"] = settings.user
    if settings.password:
        options["password"] = settings.password
    if settings.ca_file:
        options["ssl_ca_certs"] = settings.ca_file
    return options


def at_shelves(settings: RedisSettings) -> RedisSettings:
    """The same server's database of shelves. Raises UsageError if that is the cells'."""
    cells = int(parse_url(settings.url).get("db", 0))  # type: ignore[no-untyped-call]
    number = settings.shelves_db if settings.shelves_db >= 0 else cells + 1
    if number == cells:
        raise UsageError(f"redis.shelves_db {number} is the database of redis.url, where cells stand: name another, or -1 for the next one")
    address, _, query = settings.url.partition("?")
    others = [pair for pair in parse_qsl(query) if pair[0] != "db"]
    return replace(settings, url=f"{address}?{urlencode([*others, ('db', number)])}")


def shown(url: str) -> str:
    """The address without user and password, for messages."""
    scheme, _, rest = url.partition("://")
    return f"{scheme}://{rest.rpartition('@')[2]}"


@contextmanager
def redis_errors(settings: RedisSettings) -> Iterator[None]:
    """Turns the library's errors into ServerAway and StoreError."""
    try:
        yield
    except MarqueeError:
        raise
    except (redis.exceptions.BusyLoadingError, redis.exceptions.ReadOnlyError) as error:
        raise ServerAway(f"Redis at {shown(settings.url)} takes no writes now ({_line(error)}); wait for it to be ready") from error
    except redis.exceptions.AuthenticationError as error:
        raise StoreError(f"Redis at {shown(settings.url)} refused the password ({_line(error)}); set redis.password") from error
    except redis.exceptions.OutOfMemoryError as error:
        raise StoreError(f"Redis at {shown(settings.url)} is out of memory; raise its maxmemory") from error
    except (redis.exceptions.ConnectionError, redis.exceptions.TimeoutError, OSError) as error:
        raise ServerAway(f"Redis at {shown(settings.url)} does not answer ({_line(error)}); start it, or set redis.url") from error
    except redis.exceptions.RedisError as error:
        raise StoreError(f"Redis at {shown(settings.url)} answered with an error: {_line(error)}") from error


def _line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")

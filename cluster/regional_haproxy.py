"""HAProxy as the door of one region among several: its own region's APIs, and those of others when none of its own answers or all are busy.

    backend own         the region's own doors, each with at most `most` requests at a time
    backend elsewhere   the others'
    own                 while one of it answers, and one of those has room; else elsewhere, while that answers

Who answers is what HAProxy's own checks say. A GET that was under way when its door went is asked again, of another door of the same
region; one that finds none is asked again by its client, and goes elsewhere: within a second of a region's loss all do.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final
from urllib.parse import urlsplit

from cluster.haproxy import HERE, HAProxyServer, find_haproxy
from cluster.ports import LOOPBACK
from topologies.errors import UsageError

MOST: Final = 64
"""Requests that a door is given at a time: an API answers eight on its threads, and the rest wait there."""
_SHARED_ENDS: Final = "\nfrontend "
"""Up to here haproxy.cfg is the same for every door: what is logged, the time-outs, the checks."""


def configuration(own: str, doors: Mapping[str, Sequence[str]], door: str, admin: str, most: int = MOST) -> str:
    """HAProxy's configuration for the door of region `own`. doors: by region, http://host:port each; door: where it answers, host:port;
    admin: its runtime API. Raises UsageError where the region has no doors."""
    if not doors.get(own):
        raise UsageError(f"regions.doors names none of {own!r}: its own door would lead only elsewhere")
    shared = (HERE / "haproxy.cfg").read_text().partition(_SHARED_ENDS)[0]
    shared = shared.replace('"${ADMIN}"', admin)
    elsewhere = [(region, url) for region, urls in sorted(doors.items()) if region != own for url in urls]
    lines = [
        shared,
        "",
        "frontend doors",
        f"    bind {door}",
        "    acl elsewhere nbsrv(elsewhere) gt 0",
        "    acl gone nbsrv(own) lt 1",
        "    acl full be_conn_free(own) lt 1",
        "    use_backend elsewhere if gone elsewhere",
        "    use_backend elsewhere if full elsewhere",
        "    default_backend own",
        "",
        *_backend("own", [(own, url) for url in doors[own]], most),
        "",
        *_backend("elsewhere", elsewhere, most),
    ]
    return "\n".join(lines) + "\n"


def _backend(name: str, doors: Sequence[tuple[str, str]], most: int) -> list[str]:
    return [
        f"backend {name}",
        "    balance random(2)",
        "    retry-on conn-failure empty-response junk-response response-timeout 502 504",
        "    http-request disable-l7-retry if !METH_GET !METH_HEAD",
        "    http-response set-header Marquee-Door %[srv_name]",
        *(f"    server {region}.{number} {urlsplit(url).netloc} check maxconn {most}" for number, (region, url) in enumerate(doors, 1)),
    ]


class RegionalHAProxyServer(HAProxyServer):
    """One region's door, of the local cluster. Its doors are set before it is started."""

    own = ""
    doors: Mapping[str, Sequence[str]] = {}
    most = MOST

    def prepare(self) -> list[str]:
        written = self.directory / "regions.cfg"
        written.write_text(configuration(self.own, self.doors, f"{LOOPBACK}:{self.ports['haproxy']}", f"unix@{self.admin.name}", self.most))
        return [find_haproxy(), "-db", "-f", str(written)]

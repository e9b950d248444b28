"""`marquee doctor`: whether this machine has what is needed."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import asdict, dataclass
from pathlib import Path

import click

from marquee.config import Resolved
from marquee.invocation import Invocation, pass_invocation
from marquee.output import emit, json_option, say, table
from topologies.errors import ServerAway, SetupError, StoreError, UsageError
from topologies.settings import RedisSettings, Settings

ADDRESSES = {
    "kafka": "kafka.bootstrap",
    "redis": "redis.url",
    "cassandra": "cassandra.hosts",
    "memcached": "memcached.servers",
    "zookeeper": "zookeeper.hosts",
    "checkpoints": "checkpoints.url",
}


@dataclass(frozen=True)
class Check:
    """One thing looked at; `needed` is False for a server at its default address, since the local cluster may just not be up, and for what
    only a part of the commands needs."""

    name: str
    ok: bool
    needed: bool
    detail: str


@click.command()
@click.option(
    "--target", metavar="NAME", help="A managed service, or `own`: what it can do, and what the server that the settings name says."
)
@json_option
@pass_invocation
def doctor(invocation: Invocation, target: str | None, as_json: bool) -> int:
    """Check Java, Maven, redis-server, memcached, haproxy, the servers' jars, and whether the servers answer.

    Exit 1 when something is missing that a local cluster needs, when a server does not answer at an address that was set, when a Redis
    that answers refuses the shelves' database, or when no object can be put, got and deleted in an object store that was set. HAProxy may
    be missing: `up` needs it, `demo` does not.

    With --target: whether a managed service can do what Marquee needs, by its documents (docs/managed-services.md); and if an address of
    such a server is set, by asking it, for which a function library of one line is loaded into Redis, a table of one row made in
    Cassandra and an object put into its store, each for a moment. Exit 1 when it cannot.

    \b
    Examples:
      marquee doctor
      marquee -s kafka.bootstrap=10.0.0.5:9092 doctor --json
      marquee doctor --target msk
      marquee doctor --target own
    """
    if target is not None:
        return _target(invocation.resolved, target, as_json)
    checks = [*_tools(Path(invocation.settings.local.jars)), *_servers(invocation.resolved)]
    failed = [check.name for check in checks if check.needed and not check.ok]
    if as_json:
        emit({"ok": not failed, "checks": [asdict(check) for check in checks]})
    else:
        rows = [(check.name, "ok" if check.ok else "MISSING" if check.needed else "not there", check.detail) for check in checks]
        table(("check", "", "detail"), rows)
        say(f"not in order: {', '.join(failed)}" if failed else "all that is needed is there")
    return 1 if failed else 0


def _target(resolved: Resolved, name: str, as_json: bool) -> int:
    """What is known of one service, and what the servers say that the settings name for it."""
    from connectors.suitability import Finding, findings
    from marquee.targets import WORDS, document, services

    known = services()
    if name not in known:
        raise UsageError(f"{name!r} is no target that is known: {', '.join(known)}")
    service = known[name]
    asked = [server for server in service.servers if resolved.origins[ADDRESSES[server]] != "default"]
    said: list[Finding] = [finding for server in asked for finding in findings(resolved.settings, server)]
    ok = service.verdict != "no" and all(finding.ok for finding in said)
    if as_json:
        emit({"ok": ok, **document(service), "asked": [asdict(finding) for finding in said]})
        return 0 if ok else 1
    rows = [(need.need, WORDS[need.verdict], need.found, need.url) for need in service.need]
    table(("needed", "", service.name, "source"), rows)
    if said:
        table(("asked", "", "said", "of"), [(one.need, "yes" if one.ok else "NO", one.detail, one.server) for one in said])
    else:
        say(f"no server was asked: {', '.join(ADDRESSES[server] for server in service.servers)} is not set")
    say(f"{'it can be used' if ok else 'it cannot be used as it is'}; take: {service.take}")
    return 0 if ok else 1


def _tools(jars: Path) -> list[Check]:
    from cluster.java import find_java

    try:
        java = find_java()
        checks = [Check("java", True, True, f"Java {java.version} at {java.path}")]
    except SetupError as error:
        checks = [Check("java", False, True, str(error))]
    have_jars = True
    for server in ("kafka", "cassandra", "zookeeper"):
        count = len(list((jars / server).glob("*.jar")))
        have_jars = have_jars and count > 0
        detail = f"{count} in {jars / server}" if count else f"none in {jars / server}: run `make setup`"
        checks.append(Check(f"{server} jars", count > 0, True, detail))
    # Maven only fetches the jars.
    checks.append(_program("maven", "mvn", "--version", needed=not have_jars, package="Maven (Debian: apt install maven)"))
    checks.append(_program("redis-server", "redis-server", "--version", needed=True, package="Redis 7 (Debian: apt install redis-server)"))
    checks.append(
        _program("memcached server", "memcached", "--version", needed=True, package="Memcached 1.6 (Debian: apt install memcached)")
    )
    checks.append(
        _program("haproxy", "haproxy", "-v", needed=False, package="HAProxy 2.6 (Debian: apt install haproxy), which `marquee up` needs")
    )
    return checks


def _program(name: str, binary: str, flag: str, *, needed: bool, package: str) -> Check:
    path = shutil.which(binary) or shutil.which(binary, path="/usr/sbin")  # where HAProxy is, and not on everybody's PATH
    if path is None:
        return Check(name, False, needed, f"{binary} is not on the PATH: run `make setup`, or install {package}")
    try:
        said = subprocess.run([path, flag], capture_output=True, text=True, timeout=30, check=True).stdout
    except (OSError, subprocess.SubprocessError) as error:
        return Check(name, False, needed, f"{path} {flag} fails: {error}")
    return Check(name, True, needed, f"{_plain(said.splitlines()[0])} at {path}" if said else path)


def _plain(text: str) -> str:
    """The text without terminal colours, which Maven prints even into a pipe."""
    return click.unstyle(text).strip()


def _servers(resolved: Resolved) -> list[Check]:
    from connectors.health import healths

    checks = []
    for health in healths(resolved.settings):
        was_set = resolved.origins[ADDRESSES[health.name]] != "default"
        hint = "" if health.name == "checkpoints" else "; `marquee up` starts one here"
        answer = f": {health.detail}" if health.ok else f" does not answer ({health.detail}){hint}"
        checks.append(Check(health.name, health.ok, was_set, health.address + answer))
        if health.name == "redis" and health.ok:
            checks.append(_shelves(resolved.settings.redis))
        if health.name == "checkpoints" and health.ok:
            checks.append(_objects("checkpoints.url", resolved.settings.checkpoints.url, resolved.settings))
    if resolved.settings.history.url:
        checks.append(_objects("history.url", resolved.settings.history.url, resolved.settings))
    return checks


def _shelves(settings: RedisSettings) -> Check:
    from connectors.redis import at_shelves, shown
    from connectors.shelves import ShelfReader

    reader = ShelfReader(settings)
    try:
        reader.require()
        detail, ok = f"profiles' shelves at {shown(at_shelves(settings).url)}", True
    except (ServerAway, StoreError) as error:
        detail, ok = str(error), False
    finally:
        reader.close()
    return Check("redis.shelves_db", ok, True, detail)


def _objects(name: str, url: str, settings: Settings) -> Check:
    from connectors.object_url import ObjectUrl
    from connectors.objects import try_out

    where = ObjectUrl.of(url).shown
    try:
        try_out(url, settings.checkpoints.timeout_s)
        detail, ok = f"{where}: an object was put, got, listed and deleted", True
    except (ServerAway, StoreError, UsageError) as error:
        detail, ok = str(error), False
    return Check(name, ok, True, detail)


COMMAND = doctor

"""Redis of the local cluster: a cache, so nothing of it is kept over a restart."""

from __future__ import annotations

import dataclasses
import shutil
from urllib.parse import urlsplit, urlunsplit

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from cluster.ports import LOOPBACK
from cluster.server import Server
from topologies.errors import SetupError
from topologies.settings import Settings

SETTINGS: dict[str, str] = {
    # A cache of live views that must not lose a cell quietly: full means an error, never an eviction.
    "maxmemory-policy": "noeviction",
    # What it holds is rewritten by the workers after a restart (design §5), so nothing is saved.
    "save": '""',
    "appendonly": "no",
}
"""What docker-compose.yml gives it too."""


class RedisServer(Server):
    name = "redis"
    port_names = ("redis",)
    stop_grace_s = 5.0
    niceness = -15  # decision 0079

    @staticmethod
    def preferred_port(settings: Settings) -> int:
        return urlsplit(settings.redis.url).port or 6379

    def address(self, settings: Settings) -> Settings:
        path = urlsplit(settings.redis.url).path
        url = urlunsplit(("redis", f"{LOOPBACK}:{self.ports['redis']}", path, "", ""))
        return dataclasses.replace(settings, redis=dataclasses.replace(settings.redis, url=url))

    def prepare(self) -> list[str]:
        binary = shutil.which("redis-server")
        if binary is None:
            raise SetupError("redis-server is not installed: run `make setup`, or install Redis 7.")
        lines = {
            "bind": LOOPBACK,
            "port": str(self.ports["redis"]),
            "dir": str(self.directory),
            "daemonize": "no",
            "logfile": '""',
            **SETTINGS,
        }
        if self.settings.redis.password:
            lines["requirepass"] = self.settings.redis.password
        config = self.directory / "redis.conf"
        config.write_text("".join(f"{key} {value}\n" for key, value in lines.items()))
        return [binary, str(config)]

    def ready(self) -> bool:
        once = Retry(NoBackoff(), 0)
        port, password = self.ports["redis"], self.settings.redis.password or None
        with redis.Redis(host=LOOPBACK, port=port, password=password, socket_timeout=1.0, socket_connect_timeout=1.0, retry=once) as client:
            try:
                return bool(client.ping())
            except redis.RedisError:
                return False

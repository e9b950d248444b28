"""Servers as others run them: over TLS, with users, on ports and in a directory of their own; Marquee has not started them.

Kafka takes SCRAM, PLAIN and OAUTHBEARER on one listener, and ends a connection whose token has ended (connections.max.reauth.ms). What
stands in a token it does not verify: Kafka's own unsecured validator looks at its form, its end and its subject.
"""

from __future__ import annotations

import base64
import dataclasses
import json
import os
import ssl
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any, Final

import redis
import trustme
from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from cluster import ports
from cluster.cassandra import CassandraServer
from cluster.kafka import KafkaServer
from cluster.memcached import MemcachedServer
from cluster.process import wait_until
from cluster.redis import RedisServer
from cluster.server import Server
from connectors.memcached import version_of
from connectors.tls import reached
from topologies.settings import Settings

HOST: Final = "127.0.0.1"
USER: Final = "tv"
PASSWORD: Final = "not to be guessed"
REDIS_PASSWORD: Final = "not-to-be-guessed"
MECHANISMS: Final = ("SCRAM-SHA-256", "SCRAM-SHA-512", "PLAIN", "OAUTHBEARER")
_JAAS: Final = "org.apache.kafka.common.security"


@dataclasses.dataclass(frozen=True)
class Certificates:
    """PEM files: what signs, and the server's own, whose key is as Java reads it (PKCS#8)."""

    authority: Path
    chain: Path
    key: Path
    store: Path

    @classmethod
    def made(cls, directory: Path) -> Certificates:
        """An authority of its own, and a certificate for 127.0.0.1."""
        directory.mkdir(parents=True)
        authority = trustme.CA()
        issued = authority.issue_cert(HOST, "localhost")
        found = cls(*(directory / name for name in ("authority.pem", "chain.pem", "key.pem", "store.p12")))
        authority.cert_pem.write_to_path(str(found.authority))
        for blob in issued.cert_chain_pems:
            blob.write_to_path(str(found.chain), append=True)
        (directory / "sec1.pem").write_bytes(issued.private_key_pem.bytes())
        _openssl("pkcs8", "-topk8", "-nocrypt", "-in", directory / "sec1.pem", "-out", found.key)
        _openssl("pkcs12", "-export", "-in", found.chain, "-inkey", found.key, "-out", found.store, "-passout", f"pass:{PASSWORD}")
        return found

    def trusting(self) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=str(self.authority))


def _openssl(*words: str | Path) -> None:
    subprocess.run(["openssl", *map(str, words)], check=True, capture_output=True)


class SecuredKafka(KafkaServer):
    certificates: Certificates

    def _write_config(self) -> Path:
        path = super()._write_config()
        both = self.folder("tls") / "server.pem"
        both.write_text(self.certificates.key.read_text() + self.certificates.chain.read_text())
        listener = "listener.name.secured"
        client, controller = self.bootstrap(), f"{HOST}:{self.ports['kafka_controller']}"
        lines = {
            "listeners": f"SECURED://{client},CONTROLLER://{controller}",
            "advertised.listeners": f"SECURED://{client}",
            "listener.security.protocol.map": "SECURED:SASL_SSL,CONTROLLER:PLAINTEXT",
            "inter.broker.listener.name": "SECURED",
            "sasl.mechanism.inter.broker.protocol": "PLAIN",
            "sasl.enabled.mechanisms": ",".join(MECHANISMS),
            "connections.max.reauth.ms": "60000",
            "ssl.keystore.type": "PEM",
            "ssl.keystore.location": str(both),
            "ssl.truststore.type": "PEM",
            "ssl.truststore.location": str(self.certificates.authority),
            f"{listener}.plain.sasl.jaas.config": (
                f'{_JAAS}.plain.PlainLoginModule required username="broker" password="{PASSWORD}" '
                f'user_broker="{PASSWORD}" user_{USER}="{PASSWORD}";'
            ),
            f"{listener}.scram-sha-256.sasl.jaas.config": f"{_JAAS}.scram.ScramLoginModule required;",
            f"{listener}.scram-sha-512.sasl.jaas.config": f"{_JAAS}.scram.ScramLoginModule required;",
            f"{listener}.oauthbearer.sasl.jaas.config": (
                f'{_JAAS}.oauthbearer.OAuthBearerLoginModule required unsecuredLoginStringClaim_sub="broker";'
            ),
        }
        path.write_text("".join([path.read_text(), *(f"{key}={value}\n" for key, value in lines.items())]))
        return path

    def _format(self, tool: list[str], config: Path, *more: str) -> None:
        words = [f"--add-scram=SCRAM-SHA-{bits}=[name={USER},password={PASSWORD}]" for bits in (256, 512)]
        super()._format(tool, config, *words, *more)

    def address(self, settings: Settings) -> Settings:
        kafka = dataclasses.replace(
            super().address(settings).kafka,
            tls=True, ca_file=str(self.certificates.authority), login="scram-sha-512", user=USER, password=PASSWORD,
        )  # fmt: skip
        return dataclasses.replace(settings, kafka=kafka)

    def ready(self) -> bool:
        if not ports.listening(self.ports["kafka"]):
            return False
        options: dict[str, Any] = {
            "bootstrap.servers": self.bootstrap(), "log_level": 0, "security.protocol": "SASL_SSL", "sasl.mechanism": "PLAIN",
            "sasl.username": USER, "sasl.password": PASSWORD, "ssl.ca.location": str(self.certificates.authority),
        }  # fmt: skip
        try:
            return bool(AdminClient(options).list_topics(timeout=2.0).brokers)
        except KafkaException:
            return False


class SecuredCassandra(CassandraServer):
    certificates: Certificates

    def prepare(self) -> list[str]:
        java, *rest = super().prepare()
        return [java, "-Dcassandra.superuser_setup_delay_ms=0", "-Dcassandra.unsafesystem=true", *rest]

    def _write_config(self) -> Path:
        conf = super()._write_config()
        path = conf / "cassandra.yaml"
        values: dict[str, Any] = json.loads(path.read_text())
        values["client_encryption_options"] = {
            "enabled": True, "optional": False, "keystore": str(self.certificates.store), "keystore_password": PASSWORD,
            "store_type": "PKCS12",
        }  # fmt: skip
        values |= {"authenticator": "PasswordAuthenticator", "authorizer": "CassandraAuthorizer", "role_manager": "CassandraRoleManager"}
        path.write_text(json.dumps(values))
        return conf

    def address(self, settings: Settings) -> Settings:
        cassandra = dataclasses.replace(
            super().address(settings).cassandra,
            tls=True, ca_file=str(self.certificates.authority), user="cassandra", password="cassandra",
        )  # fmt: skip
        return dataclasses.replace(settings, cassandra=cassandra)

    def ready(self) -> bool:
        try:
            with closing(reached(HOST, self.ports["cassandra"], 1.0, self.certificates.trusting())) as connection:
                connection.sendall(bytes([0x04, 0, 0, 0, 0x05, 0, 0, 0, 0]))
                return len(connection.recv(9)) == 9
        except OSError:
            return False


class SecuredRedis(RedisServer):
    certificates: Certificates

    def prepare(self) -> list[str]:
        words = super().prepare()
        files = {"cert": self.certificates.chain, "key": self.certificates.key, "ca-cert": self.certificates.authority}
        lines = ["port 0", f"tls-port {self.ports['redis']}", "tls-auth-clients no"]
        lines += [f"tls-{name}-file {path}" for name, path in files.items()]
        lines += [f"user {USER} on >{REDIS_PASSWORD} ~* &* +@all", "user default off"]
        with (self.directory / "redis.conf").open("a") as config:
            config.write("\n".join([*lines, ""]))
        return words

    def address(self, settings: Settings) -> Settings:
        found = dataclasses.replace(
            settings.redis,
            url=f"rediss://{HOST}:{self.ports['redis']}/0",
            ca_file=str(self.certificates.authority),
            user=USER,
            password=REDIS_PASSWORD,
        )
        return dataclasses.replace(settings, redis=found)

    def ready(self) -> bool:
        place = self.address(self.settings).redis
        with redis.Redis.from_url(place.url, username=place.user, password=place.password, ssl_ca_certs=place.ca_file) as client:
            try:
                return bool(client.ping())
            except redis.RedisError:
                return False


class SecuredMemcached(MemcachedServer):
    certificates: Certificates

    def prepare(self) -> list[str]:
        return [*super().prepare(), "-Z", "-o", f"ssl_chain_cert={self.certificates.chain},ssl_key={self.certificates.key}"]

    def address(self, settings: Settings) -> Settings:
        found = dataclasses.replace(super().address(settings).memcached, tls=True, ca_file=str(self.certificates.authority))
        return dataclasses.replace(settings, memcached=found)

    def ready(self) -> bool:
        try:
            version_of(f"{HOST}:{self.ports['memcached']}", 1.0, self.certificates.trusting())
        except OSError:
            return False
        return True


KINDS: Final[tuple[type[Server], ...]] = (SecuredCassandra, SecuredKafka, SecuredRedis, SecuredMemcached)


@dataclasses.dataclass(frozen=True)
class Secured:
    """The servers that run, the settings that reach them, and their certificates."""

    settings: Settings
    servers: Mapping[str, Server]
    certificates: Certificates


@contextmanager
def secured(directory: Path, settings: Settings, kinds: tuple[type[Server], ...] = KINDS) -> Iterator[Secured]:
    """The servers, ready; stopped at the end."""
    certificates = Certificates.made(directory / "certificates")
    taken: set[int] = set()
    servers: dict[str, Server] = {}
    for kind in kinds:
        own: dict[str, int] = {}
        for name in kind.port_names:
            own[name] = ports.pick(0, taken)
            taken.add(own[name])
        servers[kind.name] = kind(directory, settings, own, {"kafka": 512, "cassandra": 768}.get(kind.name), short_lived=True)
        servers[kind.name].certificates = certificates  # type: ignore[attr-defined]  # all of these have it
    with ExitStack() as opened:
        opened.callback(_stop, list(servers.values()))
        with ThreadPoolExecutor(len(servers)) as pool:
            list(pool.map(lambda server: server.start(), servers.values()))
        for server in servers.values():
            assert wait_until(lambda server=server: server.ready() or not server.alive(), 300), server.log  # type: ignore[misc]
            assert server.alive(), server.log.read_text()[-4000:]
            settings = server.address(settings)
        yield Secured(settings, servers, certificates)


def _stop(servers: list[Server]) -> None:
    for server in servers:
        server.ask_to_stop()
    for server in servers:
        server.stop()


def unsecured_token(path: Path, lives_s: float, subject: str = USER, clock: Callable[[], float] = time.time) -> None:
    """Writes a JSON web token without a signature (alg: none), as whoever renews tokens does: a reader sees the old one or the new one."""
    now_s = clock()
    parts = ({"alg": "none"}, {"sub": subject, "iat": now_s, "exp": now_s + lives_s})
    text = ".".join(base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in parts)
    fresh = path.with_suffix(f".{os.getpid()}")
    fresh.write_text(f"{text}.")
    fresh.replace(path)

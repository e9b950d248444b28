"""Servers over TLS, with users: a run over them is exact, both of Kafka's clients sign in in each way, and what is refused is said."""

from __future__ import annotations

import asyncio
import dataclasses
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme
from aiokafka import AIOKafkaConsumer
from confluent_kafka import Producer
from faust.transport.drivers.aiokafka import credentials_to_aiokafka_auth

from cluster.process import wait_until
from connectors.cassandra import connect
from connectors.health import healths
from connectors.kafka import ensure_topic, ensure_topics, partition_offsets, producer_options
from connectors.memcached import Look, Memcached
from marquee.commands.up import require_answers
from streams.credentials import credentials
from tests.conftest import soon_stored
from tests.marquee.running import Foreground, document, marquee
from tests.secured import KINDS, MECHANISMS, Secured, secured, unsecured_token
from topologies.errors import MarqueeError, ServerAway, StoreError, UsageError
from topologies.settings import KafkaSettings, Settings

LIVES_S = 2.0
"""How long a test's token counts."""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, bare_settings: Settings) -> Iterator[Secured]:
    with secured(tmp_path_factory.mktemp("secured"), bare_settings, KINDS) as running, pytest.MonkeyPatch.context() as patch:
        patch.setattr("connectors.kafka.ANSWER_S", 60.0)  # the broker is there, and may be busy
        yield running


def test_up_runs_on_servers_that_it_has_not_started_and_leaves_them_up(place: Secured, tmp_path: Path) -> None:
    settings = dataclasses.replace(soon_stored(place.settings), local=dataclasses.replace(place.settings.local, directory=str(tmp_path)))
    settings = dataclasses.replace(settings, kafka=dataclasses.replace(settings.kafka, partitions=2))
    environment = settings.environment()
    before = {name: server.id() for name, server in place.servers.items()}
    with Foreground(tmp_path, "up", "--external", environment=environment) as up:
        up.wait_said("up with 1 worker", 300)
        sent = document(marquee(tmp_path, "load", "--events", "5000", "--rate", "5000", "--run", "r", "--json", environment=environment))
        assert sent["acknowledged"] >= 5000
        found = document(marquee(tmp_path, "audit", "r", "--json", environment=environment))
        assert (found["exact"], found["unaccounted"]) == (True, 0)
        assert found["applied"] > 4000
        up.signal(signal.SIGINT)
        assert up.ended(120) == 0, up.said
    assert {name: server.id() for name, server in place.servers.items() if server.alive()} == before


def test_up_says_which_of_your_servers_does_not_answer(place: Secured) -> None:
    require_answers(place.settings)
    absent = dataclasses.replace(place.settings.memcached, servers=("127.0.0.1:1",))
    with pytest.raises(ServerAway, match=r"not all of your servers answer: memcached at 127\.0\.0\.1:1 \([^)]*\); see to them"):
        require_answers(dataclasses.replace(place.settings, memcached=absent))


@pytest.mark.parametrize("mechanism", [name.lower() for name in MECHANISMS if name != "OAUTHBEARER"])
async def test_both_clients_of_kafka_sign_in_with_a_password(place: Secured, mechanism: str) -> None:
    kafka = dataclasses.replace(place.settings.kafka, login=mechanism)
    await asyncio.to_thread(ensure_topic, dataclasses.replace(place.settings, kafka=kafka), mechanism, True, 1)
    producer = Producer(producer_options(kafka))
    producer.produce(mechanism, b"signed in")
    assert await asyncio.to_thread(producer.flush, 30.0) == 0
    consumer = aiokafka_consumer(kafka, mechanism)
    await consumer.start()
    assert (await asyncio.wait_for(consumer.getone(), 60)).value == b"signed in"
    await consumer.stop()


def aiokafka_consumer(kafka: KafkaSettings, *topics: str) -> AIOKafkaConsumer:
    """As Faust makes one."""
    return AIOKafkaConsumer(
        *topics,
        bootstrap_servers=kafka.bootstrap,
        auto_offset_reset="earliest",
        **credentials_to_aiokafka_auth(credentials(kafka)),
    )


async def test_tokens_are_renewed_before_they_end_by_both_clients(place: Secured, tmp_path: Path) -> None:
    """The broker ends connections whose token has ended: what is sent and read two lives later was signed in with others."""
    path = tmp_path / "token"
    kafka = dataclasses.replace(place.settings.kafka, login="token-file", token_file=str(path), user="", password="")
    settings = dataclasses.replace(place.settings, kafka=kafka)
    with renewed(path):
        await asyncio.to_thread(ensure_topic, settings, "renewed", True, 1)
        producer = Producer(producer_options(kafka))
        consumer = aiokafka_consumer(kafka, "renewed")
        await consumer.start()
        begun_s, sent, read = time.monotonic(), 0, 0
        while time.monotonic() - begun_s < 2 * LIVES_S + 0.5:
            producer.produce("renewed", str(sent).encode())
            assert await asyncio.to_thread(producer.flush, 30.0) == 0
            sent += 1
            while read < sent:
                record = await asyncio.wait_for(consumer.getone(), 60)
                assert record.value == str(read).encode()
                read += 1
        await consumer.stop()
    assert await asyncio.to_thread(partition_end, place.settings, "renewed") == sent > 10


def partition_end(settings: Settings, topic: str) -> int:
    return partition_offsets(settings, topic)[0][1]


class renewed:  # noqa: N801  # reads as what it is
    """Within it a token stands in the file that counts for LIVES_S, and another one before it ends."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._renew, daemon=True)

    def __enter__(self) -> None:
        unsecured_token(self._path, LIVES_S)
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _renew(self) -> None:
        while not self._over.wait(LIVES_S / 4):
            unsecured_token(self._path, LIVES_S)


def test_a_token_that_ended_is_said(place: Secured, tmp_path: Path) -> None:
    path = tmp_path / "token"
    unsecured_token(path, -10.0)
    kafka = dataclasses.replace(place.settings.kafka, login="token-file", token_file=str(path))
    with pytest.raises(StoreError, match=r"ended 1\d s ago; see to who renews it"):
        ensure_topics(dataclasses.replace(place.settings, kafka=kafka))


@pytest.fixture(scope="module")
def stranger(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The certificate of an authority that has signed nothing here."""
    path = tmp_path_factory.mktemp("stranger") / "authority.pem"
    trustme.CA().cert_pem.write_to_path(str(path))
    return str(path)


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"password": "guessed"}, "refused the login scram-sha-512.*kafka.password"),
        ({"login": "none"}, "."),
        ({"tls": False, "ca_file": ""}, "."),
        ({"ca_file": "stranger"}, "do not trust each other.*kafka.ca_file"),
    ],
)
def test_what_kafka_refuses_is_said(
    place: Secured, stranger: str, wrong: dict[str, object], told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("connectors.kafka.ANSWER_S", 2.0)
    changed = {name: stranger if value == "stranger" else value for name, value in wrong.items()}
    settings = dataclasses.replace(place.settings, kafka=dataclasses.replace(place.settings.kafka, **changed))  # type: ignore[arg-type]
    with pytest.raises((StoreError, ServerAway), match=told):
        ensure_topics(settings)


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"password": "guessed"}, "refused the login.*cassandra.password"),
        ({"user": ""}, "refused the login.*cassandra.user"),
        ({"tls": False, "ca_file": ""}, "does not answer"),
        ({"ca_file": "stranger"}, "do not trust each other.*cassandra.ca_file"),
    ],
)
def test_what_cassandra_refuses_is_said(place: Secured, stranger: str, wrong: dict[str, object], told: str) -> None:
    changed = {name: stranger if value == "stranger" else value for name, value in wrong.items()}
    settings = dataclasses.replace(place.settings.cassandra, timeout_s=5.0, **changed)  # type: ignore[arg-type]
    with pytest.raises(MarqueeError, match=told):
        connect(settings)


def test_no_server_answers_who_does_not_trust_it(place: Secured, stranger: str) -> None:
    assert [health.name for health in healths(place.settings) if health.ok] == ["kafka", "redis", "cassandra", "memcached"]
    distrusting = dataclasses.replace(
        place.settings,
        kafka=dataclasses.replace(place.settings.kafka, ca_file=stranger),
        redis=dataclasses.replace(place.settings.redis, ca_file=stranger),
        cassandra=dataclasses.replace(place.settings.cassandra, ca_file=stranger),
        memcached=dataclasses.replace(place.settings.memcached, ca_file=stranger),
    )
    found = healths(distrusting)
    assert [health.name for health in found if health.ok] == []
    assert all("certificate" in health.detail.lower() for health in found), found


def test_memcached_remembers_over_tls(place: Secured) -> None:
    memcached = Memcached(dataclasses.replace(place.settings.memcached, timeout_s=10.0))
    memcached.put({"k": b"payload"}, 60)
    assert memcached.look(["k", "other"]) == {"k": b"payload", "other": Look.READ}
    memcached.close()


def test_a_file_without_a_certificate_is_refused(place: Secured, tmp_path: Path) -> None:
    empty = tmp_path / "empty.pem"
    empty.write_text("nothing\n")
    for path, why in ((tmp_path / "absent.pem", "No such file"), (empty, "no certificate in it")):
        settings = dataclasses.replace(place.settings, kafka=dataclasses.replace(place.settings.kafka, ca_file=str(path)))
        with pytest.raises(UsageError, match=f"kafka.ca_file .*{why}"):
            ensure_topics(settings)


def test_a_server_that_was_stopped_is_away_until_it_is_back(place: Secured) -> None:
    def answers() -> bool:
        return "memcached" in [health.name for health in healths(place.settings) if health.ok]

    memcached = place.servers["memcached"]
    memcached.stop()
    assert wait_until(lambda: not answers(), 60)
    memcached.start()
    assert wait_until(answers, 60)

"""Values become the settings that were meant; values that cannot be meant are refused in a sentence, before there is a pod."""

from __future__ import annotations

from pathlib import Path

import pytest

from marquee.config import KNOWN
from tests.kubernetes.rendering import PLATFORMS, Refused, deployments, of_files, of_kind, rendered, settings_in
from topologies.settings import Settings

POD = {
    "metadata.name": "tv-marquee-worker-x",
    "status.podIP": "10.1.2.3",
    "marquee-redis/password": "r-secret",
    "marquee-cassandra/password": "c-secret",
}


@pytest.mark.parametrize("platform", PLATFORMS)
def test_processes_have_the_settings_that_the_values_say(platform: str) -> None:
    documents = rendered(platform)
    for _, deployment in deployments(documents):
        settings = settings_in(documents, deployment, POD)
        assert settings.worker.name == "tv-marquee-worker-x"
        assert (settings.worker.http_host, settings.worker.http_port) == ("10.1.2.3", 9000)
        assert (settings.api.http_host, settings.api.http_port) == ("10.1.2.3", 8080)
        assert settings.api.access == Settings().api.access == "loopback"  # so a token is needed
        assert settings.worker.log_format == settings.api.log_format == "json"
        assert settings.zookeeper.hosts
        if platform != "plain":
            assert (settings.redis.password, settings.cassandra.password) == ("r-secret", "c-secret")
            assert len(settings.zookeeper.hosts) == 3
            assert (settings.kafka.partitions, settings.kafka.replication, settings.cassandra.replication) == (24, 3, 3)


def test_great_numbers_and_lists_arrive_whole() -> None:
    given = (
        "settings.kafka.max_record_bytes=16777216",
        "settings.kafka.topics={a,b}",
        "settings.worker.views={}",
    )
    documents = rendered("plain", *given)
    settings = settings_in(documents, of_kind(documents, "Deployment")["worker"], POD)
    assert settings.kafka.max_record_bytes == 16_777_216
    assert settings.kafka.topics == ("a", "b")
    assert settings.worker.views == ()


def test_numbers_of_a_values_file_arrive_whole(tmp_path: Path) -> None:
    """To Helm they are floats, which it would write 1.6777216e+07."""
    file = tmp_path / "own.yaml"
    sections = ("kafka: {max_record_bytes: 16777216}", "worker: {max_unacked_mb: 4096}", "scaling: {capacity_per_s: 1250000.5}")
    file.write_text(f"settings: {{{', '.join(sections)}}}\n")
    documents = of_files(file)
    settings = settings_in(documents, of_kind(documents, "Deployment")["worker"], POD)
    assert (settings.kafka.max_record_bytes, settings.worker.max_unacked_mb) == (16_777_216, 4096)
    assert settings.scaling.capacity_per_s == 1_250_000.5


def test_any_setting_can_stand_in_a_secret() -> None:
    documents = rendered("plain", "secrets.redis.url.name=cache", "secrets.redis.url.key=url")
    settings = settings_in(documents, of_kind(documents, "Deployment")["door"], POD | {"cache/url": "rediss://u:p@cache:6380/2"})
    assert settings.redis.url == "rediss://u:p@cache:6380/2"


REFUSED = {
    "settings.kafka.bootstap=x:9092": "/settings/kafka': additional properties 'bootstap' not allowed",
    "settings.kafkas.bootstrap=x:9092": "/settings': additional properties 'kafkas' not allowed",
    "settings.kafka.partitions=0": "/settings/kafka/partitions': minimum: got 0, want 1",
    "settings.kafka.compression=zip": "/settings/kafka/compression': 'zip' does not match pattern",
    "settings.worker.http_port=80": "/settings/worker': additional properties 'http_port' not allowed",
    "settings.redis.password=hunter2": "/settings/redis': additional properties 'password' not allowed",
    "settings.redis.url=redis://u:hunter2@r:6379/0": "a ConfigMap is no place for one",
    "secrets.redis.password.name=r": "/secrets/redis/password': missing property 'key'",
    "scaling.mode=hpa": "/scaling/mode': value must be one of 'marquee', 'keda', 'none'",
    "scaling.min=0": "/scaling/min': minimum: got 0, want 1",
    "scaling.min=9": "scaling.min is 9, which is more than scaling.max, 8",
    "runAsUser=0": "/runAsUser': minimum: got 0, want 1",
    "workers.terminationGracePeriodSeconds=20": "/workers/terminationGracePeriodSeconds': minimum: got 20, want 30",
    "settings.api.drain_s=60": "doors.terminationGracePeriodSeconds is 30: doors.preStopSeconds, settings.api.drain_s and 5 s",
    "settings.zookeeper.hosts=null": "without settings.zookeeper.hosts none of them is elected",
    "doors.ingress.enabled=true": "/doors/ingress/hosts': minItems: got 0, want 1",
    "workers.resources.limits.memory=null": "/workers/resources/limits': missing property 'memory'",
    "image.digest=latest": "/image/digest': 'latest' does not match pattern",
    "worker.replicas=3": "additional properties 'worker' not allowed",
}


@pytest.mark.parametrize("value", REFUSED)
def test_a_value_that_cannot_be_meant_is_refused(value: str) -> None:
    with pytest.raises(Refused) as refused:
        rendered("plain", value)
    assert REFUSED[value] in str(refused.value)
    assert "hunter2" not in str(refused.value)


def test_no_secret_can_stand_in_the_configmap() -> None:
    secrets = [known.name for known in KNOWN.values() if known.secret]
    assert secrets
    for name in secrets:
        with pytest.raises(Refused, match="not allowed"):
            rendered("plain", f"settings.{name}=x")

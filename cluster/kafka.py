"""Kafka of the local cluster: one node that is broker and controller (KRaft), from its Maven jars."""

from __future__ import annotations

import base64
import dataclasses
import subprocess
import uuid
from pathlib import Path
from typing import Final

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from cluster.java import SHORT_LIVED, class_path, find_java
from cluster.ports import LOOPBACK, listening
from cluster.server import Server
from topologies.errors import SetupError
from topologies.settings import Settings

SETTINGS: Final[dict[str, str]] = {
    # Topics are made on purpose, with their partitions and their timestamp type.
    "auto.create.topics.enable": "false",
    "num.partitions": "8",
    "offsets.topic.replication.factor": "1",
    "offsets.topic.num.partitions": "8",
    "transaction.state.log.replication.factor": "1",
    "transaction.state.log.min.isr": "1",
    "transaction.state.log.num.partitions": "4",
    # The log is the truth: nothing of it expires here.
    "log.retention.ms": "-1",
    "log.retention.bytes": "-1",
    # Above the topics' own limit (settings kafka.max_record_bytes), which is the one that counts.
    "message.max.bytes": "16777216",
    "replica.fetch.max.bytes": "16777216",
    # A group that starts does not wait for more members; one that is killed is missed as quickly as the settings ask.
    "group.initial.rebalance.delay.ms": "0",
    "group.min.session.timeout.ms": "1000",
    # 128 MiB of heap by default, for compacting a topic of a few offsets.
    "log.cleaner.dedupe.buffer.size": "16777216",
}
"""What docker-compose.yml gives it too (as KAFKA_… variables of the official image)."""

HERE: Final = Path(__file__).parent / "servers" / "kafka"


class KafkaServer(Server):
    name = "kafka"
    port_names = ("kafka", "kafka_controller")
    default_heap_mb = 768
    niceness = 5  # decision 0068

    @staticmethod
    def preferred_port(settings: Settings) -> int:
        return int(settings.kafka.bootstrap.split(",")[0].rpartition(":")[2])

    def address(self, settings: Settings) -> Settings:
        return dataclasses.replace(settings, kafka=dataclasses.replace(settings.kafka, bootstrap=self.bootstrap()))

    def bootstrap(self) -> str:
        return f"{LOOPBACK}:{self.ports['kafka']}"

    def prepare(self) -> list[str]:
        java = find_java()
        path = class_path(Path(self.settings.local.jars).resolve() / "kafka")
        config = self._write_config()
        options = [str(java.path), "-XX:+UseG1GC", "-XX:MaxGCPauseMillis=20", "-XX:-UsePerfData", "-XX:+ExitOnOutOfMemoryError"]
        options += [f"-Djava.io.tmpdir={self.folder('tmp')}", f"-Dlog4j2.configurationFile={HERE / 'log4j2.properties'}", "-cp", path]
        if not (self.directory / "data" / "meta.properties").exists():
            self._format([*options, "-Xmx128m", "-XX:TieredStopAtLevel=1", "kafka.tools.StorageTool"], config)
        options += [*(SHORT_LIVED if self.short_lived else ()), *self.options]
        return [*options, "-Xms256m", f"-Xmx{self.heap_mb}m", "kafka.Kafka", str(config)]

    def _write_config(self) -> Path:
        client, controller = self.bootstrap(), f"{LOOPBACK}:{self.ports['kafka_controller']}"
        lines = {
            "process.roles": "broker,controller",
            "node.id": "1",
            "controller.quorum.voters": f"1@{controller}",
            "controller.listener.names": "CONTROLLER",
            "listeners": f"PLAINTEXT://{client},CONTROLLER://{controller}",
            "advertised.listeners": f"PLAINTEXT://{client}",
            "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
            "log.dirs": str(self.folder("data")),
            **SETTINGS,
        }
        config = self.directory / "server.properties"
        config.write_text("".join(f"{key}={value}\n" for key, value in lines.items()))
        return config

    def _format(self, tool: list[str], config: Path, *more: str) -> None:
        cluster_id = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
        # An id that starts with a dash would be read as an option.
        words = [*tool, "format", f"--cluster-id={cluster_id}", "--config", str(config), *more]
        with self.log.open("ab") as log:
            if subprocess.run(words, stdout=log, stderr=log, check=False).returncode:
                raise SetupError(f"Kafka's storage could not be formatted; {self.log} says why.")

    def ready(self) -> bool:
        if not listening(self.ports["kafka"]):
            return False
        client = AdminClient({"bootstrap.servers": self.bootstrap(), "log_level": 0, "socket.timeout.ms": 2000})
        try:
            return bool(client.list_topics(timeout=2.0).brokers)
        except KafkaException:
            return False

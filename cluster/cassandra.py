"""Cassandra of the local cluster, from its Maven jars: one node, which may be one of several, each on a loopback address of its own."""

from __future__ import annotations

import dataclasses
import json
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cluster.java import SHORT_LIVED, class_path, find_java
from cluster.ports import LOOPBACK
from cluster.server import Server
from topologies.settings import Settings

SETTINGS: Final[dict[str, str]] = {
    "num_tokens": "1",
    # A partition's cells of a flush, and a checkpoint's pieces, are written in one go (design §5).
    "batch_size_warn_threshold": "512KiB",
    "batch_size_fail_threshold": "1MiB",
    "commitlog_segment_size": "64MiB",
    "max_mutation_size": "32767KiB",
    "native_transport_max_frame_size": "32MiB",
    "write_request_timeout": "10s",
    "read_request_timeout": "10s",
    "range_request_timeout": "20s",
    "request_timeout": "10s",
    "truncate_request_timeout": "60s",
    # A snapshot of every table dropped or truncated would fill the disk of whoever runs the tests.
    "auto_snapshot": "false",
}
"""What docker-compose.yml gives it too, by the same means: -Dcassandra.settings.NAME, which stand above cassandra.yaml."""

HERE: Final = Path(__file__).parent / "servers" / "cassandra"
_OPTIONS_REQUEST: Final = bytes([0x04, 0, 0, 0, 0x05, 0, 0, 0, 0])
"""Native protocol v4 (native_protocol_v4.spec §2): version, flags, stream (2), opcode OPTIONS, no body."""
_SUPPORTED: Final = 0x06


@dataclass(frozen=True)
class Place:
    """Where a node stands: its address, and those of all nodes of its cluster. Their ports are the same."""

    host: str = LOOPBACK
    nodes: tuple[str, ...] = (LOOPBACK,)


class CassandraServer(Server):
    name = "cassandra"
    port_names = ("cassandra", "cassandra_storage", "cassandra_jmx")
    default_heap_mb = 1024
    place = Place()
    niceness = 10  # decision 0068

    @staticmethod
    def preferred_port(settings: Settings) -> int:
        return settings.cassandra.port

    def address(self, settings: Settings) -> Settings:
        cassandra = dataclasses.replace(settings.cassandra, hosts=(self.place.host,), port=self.ports["cassandra"])
        return dataclasses.replace(settings, cassandra=cassandra)

    def prepare(self) -> list[str]:
        java = find_java()
        jars = Path(self.settings.local.jars).resolve() / "cassandra"
        conf = self._write_config()
        path = class_path(jars)
        agent = sorted(jars.glob("jamm-*.jar"))
        options = [line for line in (HERE / "jvm.options").read_text().splitlines() if line.startswith("-")]
        options += [f"-javaagent:{jar}" for jar in agent]
        options += [*(SHORT_LIVED if self.short_lived else ()), *self.options]
        options += [f"-Dcassandra.settings.{name}={value}" for name, value in SETTINGS.items()]
        options += [
            "-Dcassandra.config.allow_system_properties=true",
            "-Xms512m",
            f"-Xmx{self.heap_mb}m",
            f"-Dcassandra.config={(conf / 'cassandra.yaml').as_uri()}",
            f"-Dcassandra-rackdc.properties={(conf / 'cassandra-rackdc.properties').as_uri()}",
            f"-Dcassandra.storagedir={self.directory}",
            f"-Dcassandra.jmx.local.port={self.ports['cassandra_jmx']}",
            f"-Dlogback.configurationFile={HERE / 'logback.xml'}",
            f"-Djava.io.tmpdir={self.folder('tmp')}",
        ]
        return [str(java.path), *options, "-cp", path, "org.apache.cassandra.service.CassandraDaemon"]

    def _write_config(self) -> Path:
        storage = self.ports["cassandra_storage"]
        # All of them are seeds: so none waits for another to give it data when it first starts.
        seeds = ",".join(f"{host}:{storage}" for host in self.place.nodes)
        values = {
            "cluster_name": "marquee",
            "partitioner": "org.apache.cassandra.dht.Murmur3Partitioner",
            "endpoint_snitch": "GossipingPropertyFileSnitch",
            "seed_provider": [
                {"class_name": "org.apache.cassandra.locator.SimpleSeedProvider", "parameters": [{"seeds": seeds}]},
            ],
            "listen_address": self.place.host,
            "rpc_address": self.place.host,
            "storage_port": storage,
            "native_transport_port": self.ports["cassandra"],
            "commitlog_sync": "periodic",
            "commitlog_sync_period": "10s",
            "data_file_directories": [str(self.folder("data"))],
            **{f"{name}_directory": str(self.folder(name)) for name in ("commitlog", "saved_caches", "hints", "cdc_raw")},
        }
        conf = self.folder("conf")
        # JSON is YAML.
        (conf / "cassandra.yaml").write_text(json.dumps(values, indent=2))
        (conf / "cassandra-rackdc.properties").write_text(f"dc={self.settings.cassandra.datacenter}\nrack=rack1\n")
        return conf

    def ready(self) -> bool:
        try:
            with socket.create_connection((self.place.host, self.ports["cassandra"]), timeout=1.0) as connection:
                connection.sendall(_OPTIONS_REQUEST)
                answer = connection.recv(9)
        except OSError:
            return False
        return len(answer) >= 5 and answer[4] == _SUPPORTED

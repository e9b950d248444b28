"""How the metrics of a kind of process are declared: each once, with its meaning, where its module lists them; docs/metrics.md is generated
from these lists, and `/metrics` serves what they are registered in.
"""

from __future__ import annotations

from dataclasses import dataclass

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics
from prometheus_client.process_collector import ProcessCollector

disable_created_metrics()  # type: ignore[no-untyped-call]  # else every series comes twice


@dataclass(frozen=True)
class Declared:
    """One metric as docs/metrics.md shows it; `name` is the one to ask Prometheus for."""

    name: str
    kind: str
    labels: tuple[str, ...]
    meaning: str


class Metrics:
    """Those of one kind of process, in the order in which they are declared. registry: what `/metrics` serves; it also has
    process_cpu_seconds_total, process_resident_memory_bytes and their like of this process."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.declared: list[Declared] = []
        ProcessCollector(registry=self.registry)

    def counter(self, name: str, meaning: str, *labels: str) -> Counter:
        """Of what happens; Prometheus knows it by `name` and `_total`."""
        self.declared.append(Declared(f"{name}_total", "counter", labels, meaning))
        return Counter(name, meaning, labels, registry=self.registry)

    def histogram(self, name: str, meaning: str, buckets: tuple[float, ...], *labels: str) -> Histogram:
        """Of what is measured each time."""
        self.declared.append(Declared(name, "histogram", labels, meaning))
        return Histogram(name, meaning, labels, buckets=buckets, registry=self.registry)

    def gauge(self, name: str, meaning: str) -> Gauge:
        """Of what is set when it is scraped."""
        self.declared.append(Declared(name, "gauge", (), meaning))
        return Gauge(name, meaning, registry=self.registry)

    def read(self, name: str, meaning: str, *labels: str) -> Declared:
        """A gauge that a collector of its own reads when it is scraped."""
        declared = Declared(name, "gauge", labels, meaning)
        self.declared.append(declared)
        return declared

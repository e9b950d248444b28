"""What workers tell on `/metrics`, read as a scraper would."""

from __future__ import annotations

import urllib.error
import urllib.request
from collections.abc import Iterable
from typing import Final

from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

from topologies.errors import ServerAway

ANSWER_S: Final = 10.0
CPU: Final = "process_cpu_seconds_total"


def samples(address: str, name: str) -> list[Sample]:
    """The worker's samples of that name; `address` is `http://host:port`. Raises ServerAway when it does not answer."""
    try:
        with urllib.request.urlopen(f"{address}/metrics", timeout=ANSWER_S) as answer:
            page = answer.read().decode()
    except (urllib.error.URLError, OSError) as error:
        raise ServerAway(f"the worker at {address} does not answer ({error}); see whether it runs: `marquee status`") from error
    return [sample for family in text_string_to_metric_families(page) for sample in family.samples if sample.name == name]


def cpu_s(addresses: Iterable[str]) -> float:
    """CPU of these workers' processes so far, seconds."""
    return sum(sample.value for address in addresses for sample in samples(address, CPU))

"""Those who ask while a demo of several regions goes on: one at home in each region, several times a second, through the router.

What they were told is kept: by whom, how quickly, and when an answer said that it lacks something, what.
"""

from __future__ import annotations

import random
import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Final, Self

import httpx
import numpy as np

from cluster.routing import Router
from topologies.regions import regions_of
from topologies.settings import Settings

QUESTIONS: Final = ("concurrents?by=region", "concurrents?top=10", "watch_time?top=10&window=hour", "trending?top=5&by=title")
EVERY_S: Final = 0.25
ANSWER_S: Final = 4.0
PATIENCE_S: Final = 15.0


@dataclass
class Told:
    """What the visitors of one home region were told. by: whose doors answered, how often. lacking: answers that said so, and the first."""

    home: str
    answered: int = 0
    failed: list[str] = field(default_factory=list)
    by: dict[str, int] = field(default_factory=dict)
    took_ms: list[float] = field(default_factory=list)
    lacking: int = 0
    first_lacking: dict[str, Any] | None = None

    def document(self) -> dict[str, Any]:
        """It as JSON has it. took_ms: of the doors that answered, each time."""
        p50, p99, most = (round(float(np.percentile(self.took_ms, share)), 1) if self.took_ms else None for share in (50, 99, 100))
        return {
            "answered": self.answered, "failed": self.failed, "by": dict(sorted(self.by.items())), "p50_ms": p50, "p99_ms": p99,
            "max_ms": most, "lacking": self.lacking, "first_lacking": self.first_lacking,
        }  # fmt: skip


class Visitors:
    """As a context manager they come within."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self.told = {region: Told(region) for region in sorted(regions_of(settings))}
        self._over = threading.Event()
        self._pool = ThreadPoolExecutor(len(self.told), thread_name_prefix="visitor")
        self._going: list[Future[None]] = []

    def document(self) -> dict[str, Any]:
        """By home region, what they were told."""
        return {region: told.document() for region, told in self.told.items()}

    def _visit(self, told: Told) -> None:
        drawn = random.Random(told.home)
        router = Router.of(self._settings, drawn, told.home)
        with httpx.Client(timeout=ANSWER_S) as client:
            while not self._over.wait(EVERY_S):
                self._ask(client, router, drawn.choice(QUESTIONS), told)

    def _ask(self, client: httpx.Client, router: Router, question: str, told: Told) -> None:
        gives_up_s, said = time.monotonic() + PATIENCE_S, ""
        while time.monotonic() < gives_up_s and not self._over.is_set():
            for region, address in router.in_turn():
                begun_s = time.monotonic()
                try:
                    answer = client.get(f"{address}/v1/views/{question}")
                except httpx.HTTPError as error:
                    said = f"{region}: {type(error).__name__}"
                    router.missed(address)
                    continue
                if answer.status_code != httpx.codes.OK:
                    said = f"{region}: {answer.status_code} {answer.text[:200]}"
                    router.missed(address)
                    continue
                router.answered(address)
                _note(told, region, answer.json(), 1000 * (time.monotonic() - begun_s))
                return
            time.sleep(0.1)
        if not self._over.is_set():
            told.failed.append(f"{question}: {said}")

    def __enter__(self) -> Self:
        self._going = [self._pool.submit(self._visit, told) for told in self.told.values()]
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._over.set()
        self._pool.shutdown()
        if error is None:
            for visit in self._going:
                visit.result()


def _note(told: Told, region: str, answer: dict[str, Any], took_ms: float) -> None:
    told.answered += 1
    told.by[region] = told.by.get(region, 0) + 1
    told.took_ms.append(took_ms)
    whys = {name: share["why"] for name, share in answer["regions"].items() if "why" in share}
    if whys and answer["complete"] < 1:
        told.lacking += 1
        if told.first_lacking is None:
            kept = ("view", "as_of", "complete", "sources", "regions", "final", "notes")
            told.first_lacking = {"asked_in": region, **{name: answer[name] for name in kept}}

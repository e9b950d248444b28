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
    """What the visitors of one home region were told. by: whose doors answered, how often. took_ms: whole answers, each time, and lacking
    ones, which said that they lack a region; the first of those."""

    home: str
    answered: int = 0
    failed: list[str] = field(default_factory=list)
    by: dict[str, int] = field(default_factory=dict)
    took_ms: dict[str, list[float]] = field(default_factory=lambda: {"whole": [], "lacking": []})
    first_lacking: dict[str, Any] | None = None

    def document(self) -> dict[str, Any]:
        """It as JSON has it; how long the door that answered took, of whole answers and of lacking ones."""
        return {
            "answered": self.answered, "failed": self.failed, "by": dict(sorted(self.by.items())),
            **{kind: _spread(took_ms) for kind, took_ms in self.took_ms.items()}, "first_lacking": self.first_lacking,
        }  # fmt: skip

    def line(self) -> str:
        """It in a line."""
        by = ", ".join(f"{count} by {region}" for region, count in sorted(self.by.items()))
        lacking = _spread(self.took_ms["lacking"])
        told = f"; {lacking['answers']} said what they lack, median {lacking['p50_ms']} ms" if lacking["answers"] else ""
        whole = f"median {_spread(self.took_ms['whole'])['p50_ms']} ms"
        return f"asked at home in {self.home}: {self.answered} answered ({by}), {whole}{told}; {len(self.failed)} failed"


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
    whys = {name: share["why"] for name, share in answer["regions"].items() if "why" in share}
    lacks = bool(whys) and answer["complete"] < 1
    told.took_ms["lacking" if lacks else "whole"].append(took_ms)
    if lacks and told.first_lacking is None:
        kept = ("view", "as_of", "complete", "sources", "regions", "final", "notes")
        told.first_lacking = {"asked_in": region, **{name: answer[name] for name in kept}}


def _spread(took_ms: list[float]) -> dict[str, float | None]:
    found = [round(float(np.percentile(took_ms, share)), 1) if took_ms else None for share in (50, 99, 100)]
    return {"answers": len(took_ms), **dict(zip(("p50_ms", "p99_ms", "max_ms"), found, strict=True))}

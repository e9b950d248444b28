"""Those who ask and tell while doors are struck: a question twenty times a second, and a player that sends what it plays.

A question is idempotent: it is asked at HAProxy, and past it of the members that discovery lists, the better of two first, until it is
answered; it has failed when nobody answered it within PATIENCE_S. The player sends each batch until it is accepted; a batch may so come
twice, and each event has its session and number.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final

import httpx

from cluster.choice import in_turn
from cluster.discovery import Role
from marquee.chaos.front import Front
from topologies.errors import MarqueeError

READERS: Final = 4
READ_EVERY_S: Final = 0.2
TOLD_EVERY_S: Final = 0.5
BATCH: Final = 20
PATIENCE_S: Final = 20.0
ANSWER_S: Final = 3.0
"""Who has no answer by then asks somebody else."""
QUESTIONS: Final = ("/v1/views/concurrents?top=10", "/v1/views/watch_time?top=10", "/v1/views/concurrents?by=region")
TITLE: Final = "stray-doors"
"""What the player plays, and nobody else."""
WATCHED_MS: Final = 1_000


@dataclass
class Visitors:
    """What became of what was asked and told. past: answers that came past HAProxy. accepted: events that were."""

    front: Front
    seed: int
    answered: int = 0
    past: int = 0
    failed: list[str] = field(default_factory=list)
    accepted: int = 0
    began_s: float = field(default_factory=time.time)
    _counting: threading.Lock = field(default_factory=threading.Lock)

    @contextmanager
    def there(self) -> Iterator[None]:
        """Within, they come. Raises at the end what one of them raised."""
        over = threading.Event()
        with ThreadPoolExecutor(READERS + 1, thread_name_prefix="chaos-visitor") as pool:
            going: list[Future[None]] = [pool.submit(self._read, number, over) for number in range(READERS)]
            going.append(pool.submit(self._tell, over))
            try:
                yield
            finally:
                over.set()
            for visit in going:
                visit.result()

    def _read(self, number: int, over: threading.Event) -> None:
        drawn = random.Random(f"{self.seed} {number}")
        with httpx.Client(timeout=ANSWER_S) as client:
            while not over.wait(READ_EVERY_S):
                question = drawn.choice(QUESTIONS)
                tried, answer = self._somebody(drawn, Role.API, partial(_asked, client, question), 200)
                with self._counting:
                    self.answered += answer is not None
                    self.past += answer is not None and tried > 1
                    if answer is None:
                        self.failed.append(f"{question} at {time.time():.1f}")

    def _tell(self, over: threading.Event) -> None:
        drawn, seq = random.Random(f"{self.seed} player"), 0
        with httpx.Client(timeout=ANSWER_S) as client:
            while not over.wait(TOLD_EVERY_S):
                send = partial(_told, client, [self._event(seq + number) for number in range(BATCH)])
                while True:  # a player keeps what nobody has taken
                    if self._somebody(drawn, Role.COLLECTOR, send, 202)[1] is not None:
                        break
                    if over.is_set():
                        raise MarqueeError(f"nobody accepts events within {PATIENCE_S:.0f} s, though all was healed")
                seq += BATCH
                self.accepted += BATCH

    def _event(self, seq: int) -> dict[str, Any]:
        kinds = {0: "play_request", 1: "play_start"}
        event = {
            "v": 1, "type": kinds.get(seq, "heartbeat"), "ts": time.time_ns() // 1_000_000, "session": f"doors-{self.seed}", "seq": seq,
            "account": "stray-doors", "profile": "p1", "title": TITLE, "region": "nowhere", "device": "tv",
        }  # fmt: skip
        return event | ({"watched_ms": WATCHED_MS} if seq > 1 else {})

    def _somebody(
        self, drawn: random.Random, role: Role, ask: Callable[[str], httpx.Response], wanted: int
    ) -> tuple[int, httpx.Response | None]:
        """How many were tried, and the answer; None when nobody gave one in time."""
        gives_up_s, tried = time.monotonic() + PATIENCE_S, 0
        while time.monotonic() < gives_up_s:
            members = [listed.member.address for listed in in_turn(self.front.members(role), drawn)]
            for address in (self.front.url, *members):
                tried += 1
                try:
                    answer = ask(address)
                except httpx.HTTPError:
                    continue
                if answer.status_code == wanted:
                    return tried, answer
            time.sleep(0.1)
        return tried, None

    def counted(self) -> int:
        """How many of the player's events that were accepted are in the views, by what was watched of its title."""
        span = f"from={int(self.began_s) - 3_600}&to={int(time.time()) + 3_600}"
        question = f"/v1/views/watch_time?title={TITLE}&window=hour&{span}"
        with httpx.Client(timeout=ANSWER_S) as client:
            _, answer = self._somebody(random.Random(0), Role.API, partial(_asked, client, question), 200)
        if answer is None:
            raise MarqueeError("nobody says what was watched of the player's title, though nothing is struck any more")
        watched_ms = sum(cell["watched_ms"] for cell in answer.json()["cells"])
        return int(watched_ms // WATCHED_MS) + (2 if watched_ms else 0)


def _asked(client: httpx.Client, question: str, address: str) -> httpx.Response:
    return client.get(f"{address}{question}")


def _told(client: httpx.Client, events: list[dict[str, Any]], address: str) -> httpx.Response:
    return client.post(f"{address}/v1/events", json=events)

"""The way of one region's records into a log: its own region's, and, while that is lost, another's.

A region is lost when records have waited for an acknowledgement for LOST_S and none has come: what is not acknowledged is then sent again
elsewhere, in its order. What of it had arrived all the same is in both logs. A way goes home when its region has answered for HOME_S, and
all that was sent elsewhere is acknowledged: nothing crosses then.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from confluent_kafka import KafkaException, Producer

from loadgen.produce import load_options
from topologies.errors import StoreError
from topologies.settings import KafkaSettings

LOST_S: Final = 4.0
"""A broker that restarts in good order, or collects garbage, is silent for less."""
_FLUSH_S: Final = 2.0
Headers = list[tuple[str, str | bytes | None]] | None


@dataclass(frozen=True)
class Sent:
    """A record that waits for its acknowledgement. events: how many it holds."""

    value: bytes | None
    key: bytes
    events: int
    intended_ms: int


@dataclass(frozen=True)
class Moved:
    """From the record `first` of that place on, all goes to `region`. clean: all before it was acknowledged."""

    place: int
    region: str
    first: int
    clean: bool


class Way:
    """Of the records whose home is `home`. One thread."""

    def __init__(
        self,
        home: str,
        brokers: dict[str, KafkaSettings],
        topic: str,
        places: Sequence[int],
        log_partitions: int,
        headers: Headers,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """places: the partitions, numbered through, whose records come; log_partitions: how many each log has."""
        self.home = self.region = home
        self._brokers = brokers
        self._topic = topic
        self._log_partitions = log_partitions
        self._headers = headers
        self._clock = clock
        self._waiting: dict[int, deque[Sent]] = {place: deque() for place in places}
        self._places = {place % log_partitions: place for place in places}
        self.acknowledged = dict.fromkeys(places, 0)
        """By place, how many records are in a log for certain: the number of the first that may not be."""
        self._heard_s = clock()
        self._failed = ""
        self._confirmed_ms: int | None = None
        self._producer = self._opened(home)

    def _opened(self, region: str) -> Producer:
        return Producer(load_options(self._brokers[region], self._on_error))

    def _on_error(self, error: Any) -> None:
        if error.fatal():
            self._failed = str(error)

    @property
    def waiting(self) -> int:
        """Events that no log has acknowledged."""
        return sum(one.events for sent in self._waiting.values() for one in sent)

    def send(self, place: int, sent: Sent) -> bool:
        """Hands one over; False when there is no room. Raises StoreError when Kafka refuses it."""
        if not self._hand_over(place, sent):
            return False
        if not any(self._waiting.values()):
            self._heard_s = self._clock()  # nothing was owed until now
        self._waiting[place].append(sent)
        return True

    def _hand_over(self, place: int, sent: Sent) -> bool:
        try:
            self._producer.produce(
                self._topic, sent.value, sent.key, place % self._log_partitions, on_delivery=self._reported, headers=self._headers
            )
        except BufferError:
            return False
        except KafkaException as error:
            if self._failed:
                return False  # it can go on no more; whoever looks moves all of it
            raise StoreError(f"Kafka refused a record of {self._topic} ({error}); look at the broker's log") from error
        return True

    def _reported(self, error: Any, message: Any) -> None:
        if error is not None:
            self._failed = self._failed or str(error)
            return
        place = self._places[message.partition()]
        self._confirmed_ms = self._waiting[place].popleft().intended_ms
        self.acknowledged[place] += 1
        self._heard_s = self._clock()

    def poll(self) -> int | None:
        """Takes what has been acknowledged; returns when one of them was to be sent (epoch ms), None when there was none."""
        self._confirmed_ms = None
        self._producer.poll(0)
        return self._confirmed_ms

    @property
    def lost(self) -> bool:
        """Whether the region that it leads to now is to be taken for lost."""
        owed = any(self._waiting.values())
        return bool(self._failed) or (owed and self._clock() - self._heard_s > LOST_S)

    def move(self, region: str) -> list[Moved]:
        """Leads to that region from now on, and sends there again what is not acknowledged."""
        self._producer.poll(0)
        self._producer.purge(in_queue=True, in_flight=True, blocking=True)
        clean = not any(self._waiting.values())
        self._lead_to(region)
        for place, owed in self._waiting.items():
            for sent in owed:
                while not self._hand_over(place, sent):
                    self._producer.poll(0.01)
        return [Moved(place, region, self.acknowledged[place], clean) for place in self._waiting]

    def go_home(self) -> list[Moved]:
        """Leads home again, once all that was sent elsewhere is acknowledged; nothing when it is not within seconds."""
        self._producer.flush(_FLUSH_S)
        if self._failed or any(self._waiting.values()):
            return []
        self._lead_to(self.home)
        return [Moved(place, self.home, self.acknowledged[place], clean=True) for place in self._waiting]

    def _lead_to(self, region: str) -> None:
        former, self._producer = self._producer, self._opened(region)
        del former  # its reports, if any were to come, would be of what is sent again now
        self.region, self._failed, self._heard_s = region, "", self._clock()

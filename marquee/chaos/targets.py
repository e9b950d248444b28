"""What faults name: the worker or door that a lane is of, and the visits of guests. No more than a plan needs to be made."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

_WORKER: Final = "worker-"
_DOOR: Final = "door-"
DOORS: Final = 2
"""API and collector processes of a run that has any."""


@dataclass(frozen=True)
class Visit:
    """A guest's: it is started `joins_s` seconds after the visits began, and ends `stays_s` seconds after it got its partitions: by
    SIGTERM, upon which it drains, or by SIGKILL."""

    guest: int
    joins_s: float
    stays_s: float
    drains: bool


def lane_of(worker: int) -> str:
    """The lane of the worker with this index."""
    return f"{_WORKER}{worker}"


def worker_of(lane: str) -> int:
    """The index of the worker whose lane it is; ValueError when it is not a worker's."""
    return int(lane.removeprefix(_WORKER))


def is_worker(lane: str) -> bool:
    """Whether it is the lane of a worker that stays."""
    return lane.startswith(_WORKER)


def door_lane(door: int) -> str:
    """The lane of the API and collector process with this index."""
    return f"{_DOOR}{door}"


def door_of(lane: str) -> int:
    """The index of the API and collector process whose lane it is; ValueError when it is none's."""
    return int(lane.removeprefix(_DOOR))


def is_door(lane: str) -> bool:
    """Whether it is the lane of an API and collector process."""
    return lane.startswith(_DOOR)

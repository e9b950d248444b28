"""How many workers there are meant to be, and how that is changed: one contract, for the supervisor, for Kubernetes, AWS and Azure.

tests/cluster/scaling/test_actuators.py holds each to it.
"""

from __future__ import annotations

import abc

from cluster.supervisor import Workers


class Actuator(abc.ABC):
    """Of one set of workers. One thread."""

    @abc.abstractmethod
    def wanted(self) -> int:
        """How many are meant to run: those that start are among them, those that drain are not. Raises ServerAway or StoreError."""

    @abc.abstractmethod
    def scale(self, count: int) -> None:
        """From now on so many are meant to run; returns when that is asked for, not when they do. The same number again changes nothing.

        Raises ServerAway when it may have been asked for or not, StoreError when it was refused, Conflict when somebody else has changed
        the number since `wanted` was asked.
        """


class Supervised(Actuator):
    """Worker processes of a supervisor on this machine. Of fewer, the last ones drain and end."""

    def __init__(self, workers: Workers) -> None:
        self._workers = workers

    def wanted(self) -> int:
        return len(self._workers.meant())

    def scale(self, count: int) -> None:
        self._workers.scale(count)

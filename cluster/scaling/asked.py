"""The workers of a supervisor in another process: `marquee up` and whoever else takes requests (cluster/control.py)."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from cluster.control import Request, ask
from cluster.scaling.actuator import Actuator
from cluster.supervisor import Workers
from topologies.errors import Conflict, MarqueeError, ServerAway, StoreError

MOST: Final = 256


class Asked(Actuator):
    """Those of the cluster in a directory."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._read: int | None = None

    def wanted(self) -> int:
        (count,) = self._asked("wanted")
        self._read = int(count)
        return self._read

    def scale(self, count: int) -> None:
        before, self._read = self.wanted() if self._read is None else self._read, None
        self._asked(f"scale {before} {count}")

    def _asked(self, do: str) -> list[str]:
        words: list[str] = []
        try:
            ask(self._directory, do, words.append)
        except (ServerAway, Conflict):
            raise
        except MarqueeError as error:
            raise StoreError(f"the workers cannot be scaled: {error}") from error
        return words


def answered(request: Request, workers: Workers, refused: str = "") -> bool:
    """Answers what `Asked` asks, of these workers; whether it was that. refused: why their number is not for others to change now."""
    match request.do.split():
        case ["wanted"]:
            if not refused:
                request.say(str(len(workers.meant())))
            request.end(refused)
        case ["scale", before, count]:
            if refused:
                request.end(refused)
            elif not count.isdecimal() or int(count) > MOST:
                request.end(f"{count!r} is no number of workers from 0 to {MOST}")
            elif before != str(there := len(workers.meant())):
                request.end(f"there are {there} workers, not {before}", conflict=True)
            else:
                request.end(_scaled(workers, int(count)))
        case _:
            return False
    return True


def _scaled(workers: Workers, count: int) -> str:
    """Why it could not be done; empty when it was."""
    try:
        workers.scale(count)
    except MarqueeError as error:
        return str(error)
    return ""

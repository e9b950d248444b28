"""Processes: one told by pid and start time, so that a recycled pid is never mistaken for it; and one started under a guardian."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from cluster import guardian
from cluster.forkserver import ForkServer
from topologies.errors import ServerAway

TICKS_A_SECOND = os.sysconf("SC_CLK_TCK")
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
_GUARDIAN = (sys.executable, "-I", "-S", str(Path(guardian.__file__).resolve()))
STARTED_S = 300.0
"""How long a process may take to run: a fork server may have kernels to compile first, beside others that do."""


def wait_until(condition: Callable[[], bool], timeout_s: float, every_s: float = 0.05) -> bool:
    """True as soon as the condition holds, False when it did not within `timeout_s` seconds: it is looked at once more after them, for who
    waits may have been stopped meanwhile."""
    end = time.monotonic() + timeout_s
    while True:
        last = time.monotonic() > end
        if condition():
            return True
        if last:
            return False
        time.sleep(every_s)


@dataclass(frozen=True)
class ProcessId:
    """A process of this machine. `started` is in clock ticks since boot; together with the pid it is never used twice."""

    pid: int
    started: int

    @classmethod
    def of(cls, pid: int) -> ProcessId:
        """The process that now has this pid. Raises ServerAway if there is none."""
        try:
            return cls(pid, guardian.started_ticks(pid))
        except (FileNotFoundError, ProcessLookupError):
            raise ServerAway(f"no process {pid} runs.") from None

    def _stat(self) -> list[str] | None:
        """Fields 3 and up of proc(5) stat, or None when this process is gone."""
        try:
            fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            return None
        return fields if int(fields[19]) == self.started else None

    def alive(self) -> bool:
        """Whether it runs (or is stopped). A zombie does not."""
        fields = self._stat()
        return fields is not None and fields[0] not in "ZX"

    def signal(self, number: signal.Signals) -> bool:
        """Sends a signal; False when the process is gone."""
        if not self.alive():
            return False
        try:
            os.kill(self.pid, number)
        except ProcessLookupError:
            return False
        return True

    def cpu_seconds(self) -> float:
        """User and system time of all its threads, seconds; 0 when it is gone."""
        fields = self._stat()
        return (int(fields[11]) + int(fields[12])) / TICKS_A_SECOND if fields else 0.0

    def rss_mb(self) -> float:
        """Resident memory, MiB; 0 when it is gone."""
        fields = self._stat()
        return int(fields[21]) * PAGE_BYTES / 2**20 if fields else 0.0

    def gone_within(self, timeout_s: float) -> bool:
        return wait_until(lambda: not self.alive(), timeout_s)

    def end(self, grace_s: float) -> None:
        """SIGTERM (and SIGCONT, should it be stopped), SIGKILL after `grace_s` seconds. Returns when it is gone."""
        self.signal(signal.SIGTERM)
        self.signal(signal.SIGCONT)
        if not self.gone_within(grace_s):
            self.signal(signal.SIGKILL)
            self.gone_within(10.0)


@dataclass(frozen=True)
class Ended:
    """How a process ended: exit code (negative: the signal's number), CPU seconds of its life, greatest resident memory."""

    status: int
    cpu_s: float
    max_rss_mb: float


class Guarded:
    """A process started under a guardian (cluster/guardian.py): it dies with the process that started it."""

    def __init__(
        self,
        command: Sequence[str],
        log: Path,
        *,
        cwd: Path | None = None,
        environment: Mapping[str, str] | None = None,
        cores: Sequence[int] | None = None,
        niceness: int = 0,
        server: ForkServer | None = None,
    ) -> None:
        """Starts `command`; its output is appended to `log`. `cores` pins it. niceness: how far it yields to other processes (nice(2), of
        its whole session). server: what forks it, and `command` is words of `marquee`; returns once the server is prepared. Raises
        ServerAway when it could not be started."""
        pinned = ",".join(map(str, cores)) if cores else "-"
        whole = {**os.environ, **(environment or {})}
        heard, said = os.pipe()
        self._words = os.fdopen(heard, "rb", buffering=0)  # so that what is not read yet is seen by poll
        self._child: subprocess.Popen[bytes] | None = None
        try:
            with os.fdopen(said, "wb"), log.open("ab") as output:
                if server is None:
                    self._child = subprocess.Popen(
                        [*_GUARDIAN, str(os.getpid()), pinned, str(niceness), "--", *command],
                        stdin=subprocess.DEVNULL,
                        stdout=said,
                        stderr=output,
                        cwd=cwd,
                        env=whole,
                        # Ctrl-C in a terminal goes to the owner alone, which stops its children in order.
                        start_new_session=True,
                    )
                else:
                    server.fork(command, output.fileno(), said, whole, cwd or Path.cwd(), pinned, niceness)
            who, logs = (command[0], log) if server is None else (f"marquee {command[0]}", f"{log} or {server.log}")
            if not self._has_said(STARTED_S):
                raise ServerAway(f"{who} was not started within {STARTED_S:.0f} s; {logs} may say why.")
            first = self._words.readline()
        except BaseException as error:  # the guardian sees that nobody listens any more
            self._words.close()
            if isinstance(error, OSError):  # no memory, no descriptors, no space for its log
                raise ServerAway(f"{command[0]} could not be started: {error}.") from error
            raise
        if not first:
            self._reap()
            raise ServerAway(f"{who} could not be started; {logs} says why.")
        about = json.loads(first)
        self.id = ProcessId(about["pid"], about["started"])
        self.guardian_id = ProcessId(**about["guardian"])
        self._reading = threading.Lock()
        self._ended: Ended | None = None
        self._asked = False
        self._heard = False

    def alive(self) -> bool:
        return self.ended() is None and self.id.alive()

    def ended(self, timeout_s: float = 0.0) -> Ended | None:
        """How it ended, or None while it runs (waits up to `timeout_s`)."""
        if timeout_s:
            wait_until(lambda: self._look() is not None, timeout_s)
        return self._look()

    def _look(self) -> Ended | None:
        with self._reading:
            if self._ended is None and self._has_said(0):
                last = self._words.readline()
                self._reap()
                # A guardian that was itself killed says nothing; the kernel has killed its child.
                self._ended = Ended(**json.loads(last)) if last else Ended(-signal.SIGKILL, 0.0, 0.0)
            return self._ended

    def _has_said(self, timeout_s: float) -> bool:
        """Whether there is a line of the guardian's to read, or it is gone, within so long."""
        told = select.poll()
        told.register(self._words, select.POLLIN)
        return bool(told.poll(timeout_s * 1000))

    def _reap(self) -> None:
        self._words.close()
        if self._child is not None:
            self._child.wait()

    def cpu_seconds(self) -> float:
        """CPU seconds of its life so far, or of its whole life when it has ended."""
        ended = self.ended()
        return ended.cpu_s if ended else self.id.cpu_seconds()

    def ask_to_stop(self) -> bool:
        """SIGTERM (and SIGCONT, should it be stopped), without waiting; once only, since a second one would cut its good order short.

        False when it was gone already; twice gives the same answer.
        """
        if not self._asked:
            self._asked = True
            self._heard = self.id.signal(signal.SIGTERM)
        self.id.signal(signal.SIGCONT)
        return self._heard

    def stop(self, grace_s: float) -> Ended:
        """Asks it to stop, SIGKILL after `grace_s` seconds. Twice gives the same answer."""
        self.ask_to_stop()
        if not self.id.gone_within(grace_s):
            self.id.signal(signal.SIGKILL)
        return self._reaped()

    def kill(self) -> Ended:
        """SIGKILL, at once."""
        self.id.signal(signal.SIGKILL)
        return self._reaped()

    def _reaped(self) -> Ended:
        ended = self.ended(30.0)
        if ended is None:
            raise ServerAway(f"process {self.id.pid} does not end, not even by SIGKILL.")
        return ended

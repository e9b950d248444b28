"""Running the command line as a person does: a process of its own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

ROOT = Path(__file__).resolve().parents[2]
ENVIRONMENT = {name: value for name, value in os.environ.items() if not name.startswith("MARQUEE_")} | {"PYTHONPATH": str(ROOT)}


def marquee(
    directory: Path, *arguments: str, environment: Mapping[str, str] | None = None, timeout_s: float = 300
) -> subprocess.CompletedProcess[str]:
    """Runs `marquee ARGUMENTS` in a directory, seeing only these MARQUEE_ variables."""
    return subprocess.run(
        [sys.executable, "-m", "marquee", *arguments],
        cwd=directory,
        env={**ENVIRONMENT, **(environment or {})},
        capture_output=True,
        text=True,
        timeout=timeout_s,
    )


def document(ran: subprocess.CompletedProcess[str], code: int = 0) -> Any:
    """The one JSON document of a command that ended so."""
    assert ran.returncode == code, ran.stderr
    return json.loads(ran.stdout)


def sentence(ran: subprocess.CompletedProcess[str], code: int) -> str:
    """The one line on stderr of a command that failed with this code."""
    assert ran.returncode == code, ran.stderr
    assert ran.stdout == ""
    assert "Traceback" not in ran.stderr
    lines = ran.stderr.strip().splitlines()
    assert len(lines) == 1, ran.stderr
    assert lines[0].startswith("marquee: ")
    return lines[0]


def answers(url: str) -> bool:
    """Whether a GET gets a good answer there."""
    try:
        with urllib.request.urlopen(url, timeout=30) as answer:
            return bool(answer.read())
    except OSError:
        return False


class Foreground:
    """`marquee ARGUMENTS` that goes on; what it says on stderr is gathered. At the end of the context it is killed if it still runs.

    stdout: a descriptor that gets it; this process's own when None."""

    def __init__(self, directory: Path, *arguments: str, environment: Mapping[str, str] | None = None, stdout: int | None = None) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "marquee", *arguments],
            cwd=directory,
            env={**ENVIRONMENT, **(environment or {})},
            stdout=stdout,
            stderr=subprocess.PIPE,
            text=True,
        )
        self._lines: list[str] = []
        self._news = threading.Condition()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self._process.stderr is not None
        for line in self._process.stderr:
            with self._news:
                self._lines.append(line)
                self._news.notify_all()

    @property
    def said(self) -> str:
        """Its stderr so far."""
        return "".join(self._lines)

    def wait_said(self, words: str, timeout_s: float) -> None:
        """Returns once it has said these words; fails when it does not in time."""
        with self._news:
            assert self._news.wait_for(lambda: words in self.said, timeout_s), f"it did not say {words!r} but: {self.said}"

    def signal(self, number: signal.Signals) -> None:
        """Sends it a signal."""
        self._process.send_signal(number)

    def ended(self, timeout_s: float) -> int:
        """Its exit code, once it has ended."""
        code = self._process.wait(timeout_s)
        self._reader.join(timeout_s)
        return code

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()
        self._reader.join()
        if self._process.stderr is not None:
            self._process.stderr.close()

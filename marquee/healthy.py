"""`python -m marquee.healthy`: what the image's HEALTHCHECK runs, every few seconds, so it imports nothing but the standard library.

Exit 0 when the container's command is ready. A worker or an API is when the door that its ready file names answers `/readyz` with 200;
any other command (load, audit …) has no door and is well as long as it runs.
"""

from __future__ import annotations

import json
import os
import sys
import urllib.error
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from typing import Final

VARIABLE: Final = "MARQUEE_READY_FILE"
DOORED: Final = frozenset({"worker", "serve"})
"""The commands with a door."""
ANSWER_S: Final = 4.0
FIRST: Final = Path("/proc/1/cmdline")
"""The command line of the container's first process: the command itself, or an init in front of it that has it as its arguments."""
_DIRECT: Final = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def trouble(command: Sequence[str], ready_file: Path) -> str:
    """Why the command is not ready, in a sentence; empty when it is."""
    if _named(command) not in DOORED:
        return ""
    try:
        door = json.loads(ready_file.read_text())["http"]
    except FileNotFoundError:
        return f"not ready yet: there is no {ready_file}"
    try:
        with _DIRECT.open(f"{door}/readyz", timeout=ANSWER_S):
            return ""
    except urllib.error.HTTPError as error:
        with error:
            return f"{door}/readyz says {error.code}: {error.read(2_000).decode(errors='replace')}"
    except OSError as error:
        return f"{door} does not answer: {error}"


def _named(command: Sequence[str]) -> str:
    """Which of Marquee's commands it is: the first word behind `marquee` that is neither an option, each of which takes a value there, nor
    such a value. A run may be called `worker`."""
    words = iter(command)
    for word in words:
        if word.rpartition("/")[2] == "marquee":
            break
    for word in words:
        if not word.startswith("-"):
            return word
        if len(word) == len("-s") or (word.startswith("--") and "=" not in word):
            next(words, "")
    return ""


def main() -> int:
    """Of this container."""
    command = FIRST.read_bytes().decode(errors="replace").split("\0")
    found = trouble(command, Path(os.environ[VARIABLE]))
    if found:
        sys.stdout.write(found + "\n")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())

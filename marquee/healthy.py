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
    if not DOORED.intersection(command):
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


def main() -> int:
    """Of this container."""
    command = FIRST.read_bytes().decode(errors="replace").split("\0")
    found = trouble(command, Path(os.environ[VARIABLE]))
    if found:
        sys.stdout.write(found + "\n")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())

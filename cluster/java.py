"""Java: finding one that the servers run on, and the class path of a server's jars."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from topologies.errors import SetupError

OLDEST: Final = 17
"""Kafka 4 needs 17, Cassandra 5 runs on 11 and 17."""
NEWEST: Final = 23
"""From 24 on there is no security manager, which Cassandra 5.0 installs."""
SHORT_LIVED: Final = ("-XX:TieredStopAtLevel=1",)
"""For a server that lives for seconds or minutes: the quick compiler alone. It halves the CPU of a start (measured until it answers: Kafka
7.3 → 3.7 s, Cassandra 15.7 → 8.2 s) and costs speed that such a server has no time to gain."""


@dataclass(frozen=True)
class Java:
    path: Path
    version: int


def candidates() -> Iterator[Path]:
    """Where a `java` may be, the likeliest first: JAVA_HOME, PATH, Debian's and Red Hat's folder of JDKs."""
    if home := os.environ.get("JAVA_HOME"):
        yield Path(home) / "bin" / "java"
    if found := shutil.which("java"):
        yield Path(found)
    yield from sorted(Path("/usr/lib/jvm").glob("*/bin/java"))


def version_of(java: Path) -> int | None:
    """Its major version, or None where no working java is."""
    try:
        said = subprocess.run([java, "-XshowSettings:none", "-version"], capture_output=True, text=True, timeout=30, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    match = re.search(r'version "(\d+)', said.stderr)
    return int(match.group(1)) if match else None


def find_java() -> Java:
    """The first Java that the servers run on. Raises SetupError, saying what to install."""
    for path in candidates():
        version = version_of(path)
        if version is not None and OLDEST <= version <= NEWEST:
            return Java(path, version)
    raise SetupError(f"no Java {OLDEST} to {NEWEST} found: run `make setup`, or install a JDK {OLDEST} and set JAVA_HOME.")


def class_path(jars: Path) -> str:
    """All jars of a folder in a fixed order. Raises SetupError when there are none."""
    found = sorted(jars.glob("*.jar"))
    if not found:
        raise SetupError(f"no jars in {jars}: run `make setup`, which fetches them.")
    return os.pathsep.join(map(str, found))

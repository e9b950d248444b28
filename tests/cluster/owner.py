"""A process that owns a cluster, for tests of what becomes of the servers when it ends: `owner.py DIRECTORY JARS SERVICE…`.

Says "ready" when they answer; ends in good order on SIGTERM.
"""

from __future__ import annotations

import dataclasses
import signal
import sys
from pathlib import Path

from cluster.local import SERVICES, LocalCluster
from topologies.settings import Settings


def main() -> None:
    directory, jars, *services = sys.argv[1:]
    settings = Settings()
    settings = dataclasses.replace(settings, local=dataclasses.replace(settings.local, jars=jars))
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    with LocalCluster(Path(directory), settings, services=tuple(services), preferred=dict.fromkeys(SERVICES, 0)):
        print("ready", flush=True)
        signal.pause()


if __name__ == "__main__":
    main()

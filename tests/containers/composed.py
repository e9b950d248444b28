"""The system of docker-compose.yml, up at one daemon under a name of its own."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from cluster.ports import pick
from tests.containers.daemon import ANSWER_S, Docker, spoken
from topologies.errors import SetupError

REPOSITORY: Final = Path(__file__).parents[2]
FILE: Final = REPOSITORY / "docker-compose.yml"
HOST_NETWORK: Final = Path(__file__).parent / "host-network.yml"
PORTS: Final = (
    "KAFKA", "KAFKA_CONTAINERS", "KAFKA_CONTROLLER", "CASSANDRA", "CASSANDRA_STORAGE", "REDIS", "MEMCACHED", "ZOOKEEPER", "HAPROXY", "API",
    "PROMETHEUS",
)  # fmt: skip
"""What host-network.yml wants to be told."""
PUBLISHED: Final = {"KAFKA": 9092, "REDIS": 6379, "API": 8080, "HAPROXY": 8000}
"""Where docker-compose.yml itself publishes what a trial asks from outside."""
BUILT: Final = REPOSITORY / "var" / "tools" / "docker-compose"
MODULE: Final = "github.com/docker/compose/v2/cmd@v2.40.3"
UP_S: Final = 400.0
KILLED: Final = 128 + 9
"""What a container ends with that Docker, or the kernel, killed."""


def compose_command() -> list[str]:
    """Compose v2, as the client's plugin, a program, or one that `build_compose` made. Raises SetupError when there is none."""
    for words in (["docker", "compose"], ["docker-compose"], [str(BUILT)]):
        if shutil.which(words[0]) is None:
            continue
        said = subprocess.run([*words, "version", "--short"], capture_output=True, text=True, check=False, timeout=ANSWER_S)
        if said.returncode == 0 and int(said.stdout.strip().lstrip("v").split(".")[0]) >= 2:
            return words
    raise SetupError(
        "Docker Compose 2 is not installed: install docker-compose (Debian 13) or docker-compose-plugin; where there is Go, "
        "`scripts/compose-trial --build-compose` makes one in 3 minutes."
    )


def build_compose(directory: Path) -> None:
    """Compose from Go's modules, into var/tools; 2.5 minutes of CPU. Raises ServerAway when Go fails, SetupError when there is none."""
    go = shutil.which("go")
    if go is None:
        raise SetupError("there is no Go to build Compose with.")
    directory.mkdir(parents=True, exist_ok=True)
    BUILT.parent.mkdir(parents=True, exist_ok=True)
    version = MODULE.rpartition("@")[2]
    environment = os.environ | {"GOFLAGS": "-mod=mod -modcacherw", "GOPATH": str(directory / "go"), "GOCACHE": str(directory / "cache")}
    steps = (
        [go, "-C", str(directory), "mod", "init", "trial"],
        [go, "-C", str(directory), "get", "-tool", MODULE],
        [go, "-C", str(directory), "build", "-trimpath", "-ldflags", f"-s -w -X github.com/docker/compose/v2/internal.Version={version}",
         "-o", str(BUILT), MODULE.partition("@")[0]],
    )  # fmt: skip
    for words in steps:
        spoken(words, environment, 1_200)
    shutil.rmtree(directory)


class Composed:
    """One project of Compose. `host`: in the machine's own network, on free ports, by host-network.yml."""

    def __init__(self, docker: Docker, name: str, profiles: Sequence[str], *, host: bool) -> None:
        self._docker, self.name, self._host = docker, name, host
        self.ports = {port: pick() for port in PORTS} if host else dict(PUBLISHED)
        files = [FILE, *([HOST_NETWORK] if host else [])]
        self._command = [
            *compose_command(), "--project-name", name, "--project-directory", str(REPOSITORY),
            *(word for file in files for word in ("--file", str(file))), *(word for profile in profiles for word in ("--profile", profile)),
        ]  # fmt: skip

    @property
    def environment(self) -> Mapping[str, str]:
        return {**self._docker.environment, **({name: str(port) for name, port in self.ports.items()} if self._host else {})}

    def command_line(self, *words: str) -> list[str]:
        """`docker compose …` of this project, for `environment`."""
        return [*self._command, *words]

    def say(self, *words: str, patience_s: float = UP_S) -> str:
        """What `docker compose …` prints. Raises ServerAway when it fails."""
        return spoken(self.command_line(*words), self.environment, patience_s)

    def images(self) -> list[str]:
        """Of its profiles' services, without Marquee's own."""
        services = json.loads(self.say("config", "--format", "json"))["services"].values()
        return sorted({service["image"] for service in services if "build" not in service})

    def command(self, *words: str, patience_s: float) -> str:
        """What a `marquee …` of its own prints, in a container that goes with it."""
        return self.say("run", "--rm", "-T", "--no-deps", "marquee", *words, patience_s=patience_s)

    def inside(self, service: str, program: str) -> subprocess.CompletedProcess[str]:
        """A Python program in a service's container, ended in whatever way."""
        words = self.command_line("exec", "-T", service, "python", "-c", program)
        return subprocess.run(words, env=self.environment, capture_output=True, text=True, check=False, timeout=120)

    def container(self, service: str) -> Any:
        """What Docker knows of a service's one container."""
        (found,) = self.say("ps", "--all", "--quiet", service).split()
        return self._docker.inspect("container", found)

    def stop(self) -> list[str]:
        """Tells all its containers to end, within what the file gives each of them; those that did not, and were killed."""
        self.say("stop")
        states = [self._docker.inspect("container", id_) for id_ in self.say("ps", "--all", "--quiet").split()]
        return sorted(state["Name"].lstrip("/") for state in states if state["State"]["ExitCode"] == KILLED)

    def down(self) -> None:
        """Nothing of it is left but images. Twice does nothing more."""
        self.say("--profile=*", "down", "--volumes", "--remove-orphans")

"""Docker's daemon: one that runs, or one of the trial's own that leaves nothing behind."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from topologies.errors import ServerAway, SetupError

DEFAULT: Final = "unix:///var/run/docker.sock"
ANSWER_S: Final = 20.0
START_S: Final = 60.0
STOP_S: Final = 60.0


class Docker:
    """The client at one daemon. Its calls block, and raise ServerAway with what Docker said when it refuses."""

    def __init__(self, host: str, *, own: bool = False) -> None:
        """host: as in DOCKER_HOST. own: the daemon is the trial's, and has no network but the machine's."""
        self.host, self.own = host, own
        # Without buildx there is only the builder that the daemon itself has.
        plain = subprocess.run(["docker", "buildx", "version"], capture_output=True, check=False, timeout=ANSWER_S).returncode != 0
        self.environment: Mapping[str, str] = os.environ | {"DOCKER_HOST": host} | ({"DOCKER_BUILDKIT": "0"} if plain else {})

    def run(self, *words: str, patience_s: float = 120.0) -> str:
        """What `docker …` prints."""
        return spoken(["docker", *words], self.environment, patience_s)

    def inspect(self, kind: str, name: str) -> Any:
        """What Docker knows of an image or a container; None when there is none of that name."""
        said = subprocess.run(
            ["docker", kind, "inspect", name], env=self.environment, capture_output=True, text=True, check=False, timeout=ANSWER_S
        )
        return json.loads(said.stdout)[0] if said.returncode == 0 else None


def spoken(words: Sequence[str], environment: Mapping[str, str], patience_s: float) -> str:
    """Stdout of a command that must succeed. Raises ServerAway with the last lines that it wrote, or that it took too long."""
    try:
        ran = subprocess.run(list(words), env=environment, capture_output=True, text=True, check=False, timeout=patience_s)
    except subprocess.TimeoutExpired as error:
        raise ServerAway(f"`{' '.join(words[:6])}` did not end within {patience_s:.0f} s.") from error
    if ran.returncode:
        tail = "\n".join((ran.stdout + ran.stderr).splitlines()[-25:])
        raise ServerAway(f"`{' '.join(words[:6])} …` ended with {ran.returncode}:\n{tail}")
    return ran.stdout


def running() -> str | None:
    """The address of a daemon that answers: DOCKER_HOST's, else the usual socket's; None when none does."""
    if shutil.which("docker") is None:
        return None
    host = os.environ.get("DOCKER_HOST", DEFAULT)
    return host if _answers(host) else None


def _answers(host: str) -> bool:
    words = ["docker", "version", "--format", "{{.Server.Version}}"]
    try:
        ran = subprocess.run(words, env=os.environ | {"DOCKER_HOST": host}, capture_output=True, check=False, timeout=ANSWER_S)
    except subprocess.TimeoutExpired:
        return False
    return ran.returncode == 0


def lacking() -> list[str]:
    """What a trial on this machine lacks, a sentence each; none when it can begin."""
    if running() is not None:
        return []
    found = []
    if shutil.which("docker") is None:
        found.append("there is no Docker client: install docker.io (Debian), or Docker")
    if shutil.which("dockerd") is None and not Path("/usr/sbin/dockerd").exists():
        found.append("no daemon answers, and there is none to start: start one and set DOCKER_HOST, or install docker.io (Debian)")
    elif os.geteuid() != 0:
        found.append("no daemon answers, and only root can start one: start one and set DOCKER_HOST")
    return found


@contextmanager
def daemon(directory: Path) -> Iterator[Docker]:
    """The daemon that runs; where none does, one with its data in `directory`, which ends with the context and takes all of it along.

    Raises SetupError when there is none and none can be started.
    """
    if (host := running()) is not None:
        yield Docker(host)
        return
    if missing := lacking():
        raise SetupError("; ".join(missing) + ".")
    with _own(directory) as host:
        yield Docker(host, own=True)


@contextmanager
def _own(directory: Path) -> Iterator[str]:
    directory.mkdir(parents=True, exist_ok=True)
    host = f"unix://{directory / 'sock'}"
    words = [
        # So that it ends when the trial is killed.
        "setpriv", "--pdeathsig", "TERM", shutil.which("dockerd") or "/usr/sbin/dockerd",
        # Nothing of the machine's own network is touched.
        "--bridge=none", "--iptables=false", "--ip6tables=false", "--host", host,
        "--data-root", str(directory / "data"), "--exec-root", str(directory / "exec"), "--pidfile", str(directory / "pid"),
    ]  # fmt: skip
    with (directory / "dockerd.log").open("wb") as log:
        process = subprocess.Popen(words, stdout=log, stderr=log, start_new_session=True)
    try:
        _wait(process, host, directory / "dockerd.log")
        yield host
    finally:
        process.terminate()
        try:
            process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        _remove(directory)


def _wait(process: subprocess.Popen[bytes], host: str, log: Path) -> None:
    begun = time.monotonic()
    while not _answers(host):
        if process.poll() is not None or time.monotonic() - begun > START_S:
            tail = "\n".join(log.read_text(errors="replace").splitlines()[-8:])
            raise ServerAway(f"dockerd did not come up within {START_S:.0f} s:\n{tail}")
        time.sleep(0.2)


def _remove(directory: Path) -> None:
    """The daemon's directory, with what it left mounted there."""
    mounts = [line.split()[1] for line in Path("/proc/mounts").read_text().splitlines()]
    for mount in sorted((mount for mount in mounts if mount.startswith(f"{directory}/")), reverse=True):
        subprocess.run(["umount", "--lazy", mount], check=True, timeout=ANSWER_S)
    shutil.rmtree(directory)

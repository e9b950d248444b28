"""`scripts/compose-trial`: docker-compose.yml really started, events through it, a worker killed, all of them audited, nothing left.

Where no daemon runs and this is root, it starts one of its own. Where no registry can be reached, images made of the distribution's
packages stand in for the official ones (tests/containers/stand_ins.py); Marquee's own is built by its Dockerfile in any case.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request
import uuid
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

from cluster.process import wait_until
from marquee.signals import interruptible
from tests.containers.composed import REPOSITORY, Composed, build_compose
from tests.containers.daemon import Docker, daemon
from tests.containers.scaled import try_scaling
from tests.containers.stand_ins import BASE, forget, provide
from topologies.errors import MarqueeError, ServerAway, SetupError

MARQUEE: Final = "marquee:0.1.0"
ROOM_GB: Final = 12
"""What the images and a million events take at the most, with a driver that copies layers (vfs): 3 GB with overlay2."""
BUILD_S: Final = 1_200.0
LOAD_S: Final = 600.0
BACK_S: Final = 180.0
RUN: Final = "trial"
USER: Final = "10001"
KILLING: Final = """
import os, pathlib
for told in pathlib.Path("/proc").glob("[0-9]*/cmdline"):
    if told.parent.name not in ("1", str(os.getpid())) and b"worker" in told.read_bytes().split(b"\\0"):
        os.kill(int(told.parent.name), 9)
"""
"""Ends the worker behind the container's init."""
_DIRECT: Final = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def say(message: str) -> None:
    sys.stderr.write(f"compose-trial: {message}\n")
    sys.stderr.flush()


class Trial:
    """One trial at one daemon."""

    def __init__(self, docker: Docker, directory: Path, options: argparse.Namespace) -> None:
        self._docker, self._directory, self._options = docker, directory, options
        self.result: dict[str, Any] = {"events": options.events, "profile": options.profile, "steps_s": {}}

    def run(self) -> dict[str, Any]:
        """Builds, starts, drives, kills, audits, and takes it all away. Raises ServerAway when a part does not do what it should."""
        composed = Composed(self._docker, f"marquee-trial-{uuid.uuid4().hex[:8]}", [self._options.profile], host=self._docker.own)
        try:
            self._step("images", lambda: self._images(composed))
            self._step("up", lambda: composed.say("up", "--detach", "--no-build", "--wait", "--wait-timeout", "300"))
            self._step("confined", lambda: self._confined(composed))
            self._step("load", lambda: self._load(composed))
            self._step("asked", lambda: self._asked(composed))
            self._step("audit", lambda: self._audit(composed))
            self._step("scaled", lambda: self._scaled(composed))
            self._step("stopped", lambda: self._stopped(composed))
        except BaseException:
            self._tell(composed)
            raise
        finally:
            self._step("down", composed.down)
            forget(self._docker)
        return self.result

    def _step(self, name: str, step: Callable[[], object]) -> None:
        begun = time.monotonic()
        step()
        took_s = round(time.monotonic() - begun, 1)
        self.result["steps_s"][name] = took_s
        say(f"{name}: {took_s} s")

    def _tell(self, composed: Composed) -> None:
        """What its containers said last, for who looks into a failure."""
        try:
            say(composed.say("ps", "--all") + composed.say("logs", "--no-color", "--tail", "15"))
        except ServerAway as error:
            say(str(error))

    def _images(self, composed: Composed) -> None:
        options = self._options
        (base,) = re.findall(r"^ARG BASE=(.*)$", (REPOSITORY / "Dockerfile").read_text(), re.MULTILINE)
        wanted = [*composed.images(), base]
        if provide(self._docker, wanted, self._directory, pull=not options.stand_ins, base=options.base, say=say):
            base = BASE
        words = ["build", "--network", "host", "--build-arg", f"BASE={base}", "--tag", MARQUEE, str(REPOSITORY)]
        self._docker.run(*words, patience_s=BUILD_S)
        sizes = [self._docker.inspect("image", name)["Size"] / 1e6 for name in (MARQUEE, base)]
        self.result |= {"image_mb": round(sizes[0]), "image_above_base_mb": round(sizes[0] - sizes[1])}

    def _confined(self, composed: Composed) -> None:
        """A worker is nobody's root, and its root file system takes nothing."""
        if (user := composed.inside("worker", "import os; print(os.getuid())").stdout.strip()) != USER:
            raise ServerAway(f"a worker runs as user {user}.")
        tried = composed.inside("worker", "import pathlib; pathlib.Path('/opt/marquee/x').touch()")
        if "Read-only file system" not in tried.stderr:
            raise ServerAway(f"a worker's root file system is not read-only: {tried.stderr[-300:]}")

    def _load(self, composed: Composed) -> None:
        """All events, and a worker that is killed while they come."""
        words = f"load --events {self._options.events} --rate {self._options.rate} --run {RUN} --progress none --json".split()
        loading = subprocess.Popen(
            composed.command_line("run", "--rm", "-T", "--no-deps", "marquee", *words),
            env=composed.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        try:
            if not wait_until(lambda: bool(loading.poll()) or self._received(composed) > 0, LOAD_S, every_s=1.0):
                raise ServerAway("no event was counted.")
            if not loading.poll():
                self._kill(composed)
            out, err = loading.communicate(timeout=LOAD_S)
        except BaseException:
            loading.kill()
            loading.communicate()
            raise
        if loading.returncode:
            raise ServerAway(f"marquee load ended with {loading.returncode}:\n{(out + err)[-2000:]}")

    def _kill(self, composed: Composed) -> None:
        """SIGKILL to the worker's own process, as the kernel would for want of memory: from inside, since Docker itself takes a container
        that it was told to kill for one that is to stay down."""
        before = composed.container("worker")["RestartCount"]
        composed.inside("worker", KILLING)

        def back() -> bool:
            state = composed.container("worker")
            return bool(state["RestartCount"] > before and state["State"]["Health"]["Status"] == "healthy")

        begun = time.monotonic()
        if not wait_until(back, BACK_S, every_s=0.5):
            raise ServerAway(f"the killed worker was not back after {BACK_S:.0f} s.")
        self.result["worker_back_s"] = round(time.monotonic() - begun, 1)

    def _asked(self, composed: Composed) -> None:
        """From this machine, at the published door."""
        if not (cells := self._answer(composed, "views/watch_time?by=region")["cells"]):
            raise ServerAway("the API has no cell of watch_time.")
        self.result["watch_time_cells"] = len(cells)

    def _opened(self, composed: Composed, path: str) -> Any:
        """The API's answer, at the door that is published on this machine."""
        port = composed.ports["API" if self._options.profile == "core" else "HAPROXY"]
        try:
            return _DIRECT.open(f"http://127.0.0.1:{port}/v1/{path}", timeout=30)
        except OSError as error:
            raise ServerAway(f"the API does not answer {path}: {error}") from error

    def _answer(self, composed: Composed, path: str) -> Any:
        """What it says."""
        with self._opened(composed, path) as answer:
            return json.load(answer)

    def _scaled(self, composed: Composed) -> None:
        """The image's autoscalers decide, and each cloud's has what speaks to that."""
        places = {name: f"127.0.0.1:{composed.ports[name]}" for name in ("KAFKA", "REDIS")}
        stores = {"MARQUEE_KAFKA__BOOTSTRAP": places["KAFKA"], "MARQUEE_REDIS__URL": f"redis://{places['REDIS']}/0"}
        try_scaling(self._docker, MARQUEE, f"{composed.name}-autoscaler", self._directory, stores)

    def _stopped(self, composed: Composed) -> None:
        """All containers end by themselves when they are told to, a dashboard's stream being open."""
        with self._opened(composed, "views/concurrents/stream"):
            if killed := composed.stop():
                raise ServerAway(f"{', '.join(killed)} did not end when told to, and was killed.")

    def _received(self, composed: Composed) -> int:
        """Events that have their class, in all partitions together."""
        return sum(source["received"] or 0 for source in self._answer(composed, "status")["sources"])

    def _audit(self, composed: Composed) -> None:
        wanted = self._options.events
        if not wait_until(lambda: self._received(composed) >= wanted, LOAD_S, every_s=1.0):
            raise ServerAway(f"{self._received(composed):,} of {wanted:,} events were counted after {LOAD_S:.0f} s.")
        audited = json.loads(composed.command("audit", RUN, "--json", patience_s=LOAD_S))
        self.result["audit"] = audited
        if not audited["exact"] or audited["generated"] != wanted:
            raise ServerAway(f"the audit is not exact: {audited}")


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; exit 0 only when every event was counted exactly once."""
    parser = argparse.ArgumentParser("compose-trial", description="Starts docker-compose.yml, drives events through it, audits them.")
    parser.add_argument("--events", type=int, default=1_000_000, help="how many; 1,000,000 when not given")
    parser.add_argument("--rate", type=float, default=20_000, help="events a second; 20,000 when not given")
    parser.add_argument("--profile", choices=["core", "full"], default="core")
    parser.add_argument("--stand-ins", action="store_true", help="do not ask a registry; the distribution's packages stand in")
    parser.add_argument("--base", type=Path, help="where the archive of the stand-ins' base is, or is kept for the next trial")
    parser.add_argument("--build-compose", action="store_true", help="make Docker Compose 2 of Go's modules, into var/tools, and end")
    options = parser.parse_args(arguments)
    directory = Path(tempfile.mkdtemp(prefix="marquee-trial-"))
    try:
        if options.build_compose:
            build_compose(directory / "compose")
            return 0
        if (free := shutil.disk_usage(directory).free) < ROOM_GB * 1e9:
            raise SetupError(f"{ROOM_GB} GB are needed in {directory.parent} and {free / 1e9:.1f} are free.")
        with interruptible(), daemon(directory / "docker") as docker:
            result = Trial(docker, directory, options).run()
        sys.stdout.write(json.dumps(result, indent=2) + "\n")
        return 0
    except KeyboardInterrupt:
        return 130
    except MarqueeError as error:
        say(str(error))
        return error.exit_code
    finally:
        shutil.rmtree(directory, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())

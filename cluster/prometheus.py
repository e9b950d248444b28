"""Prometheus of the local cluster: it scrapes the workers and APIs that discovery lists, and evaluates the alert rules."""

from __future__ import annotations

import json
import logging
import shutil
import urllib.request
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from cluster.discovery import Registry, Role
from cluster.looking import Looking
from cluster.ports import LOOPBACK
from cluster.server import Server
from connectors.closing import Closing
from topologies.errors import SetupError
from topologies.settings import Settings

log = logging.getLogger(__name__)
DEFAULT_PORT: Final = 9090
ANSWER_S: Final = 2.0
_DIRECT: Final = urllib.request.build_opener(urllib.request.ProxyHandler({}))
KEPT: Final = "2d"
"""How long it keeps what it scraped."""
HERE: Final = Path(__file__).parents[1] / "observability" / "prometheus"
FILES: Final = ("prometheus.yml", "alerts.yml")
ROLES: Final = (Role.WORKER, Role.API)
LOOK_EVERY_S: Final = 2.0


class PrometheusServer(Server):
    name = "prometheus"
    port_names = ("prometheus",)

    @staticmethod
    def preferred_port(settings: Settings) -> int:  # noqa: ARG004  # no setting names it: people look at it
        return DEFAULT_PORT

    def address(self, settings: Settings) -> Settings:
        return settings

    @property
    def url(self) -> str:
        """Where people look at it."""
        return f"http://{LOOPBACK}:{self.ports['prometheus']}"

    @property
    def targets(self) -> Path:
        """The folder with the lists of what it scrapes."""
        return self.folder("targets")

    def prepare(self) -> list[str]:
        binary = shutil.which("prometheus")
        if binary is None:
            raise SetupError("prometheus is not installed: run `make setup`, or install Prometheus 2.42.")
        for name in FILES:
            shutil.copyfile(HERE / name, self.directory / name)
        return [
            binary, "--config.file", str(self.directory / FILES[0]), "--storage.tsdb.path", str(self.folder("data")),
            "--storage.tsdb.retention.time", KEPT, "--web.listen-address", f"{LOOPBACK}:{self.ports['prometheus']}",
        ]  # fmt: skip

    def ready(self) -> bool:
        try:
            with _DIRECT.open(f"{self.url}/-/ready", timeout=ANSWER_S) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False


class Targets(Closing):
    """Keeps the lists of what is scraped (file_sd), on a thread of its own, from its making to `close`: a file a role, a list a member.

    Who vanished with others stays listed, so that Prometheus says that it does not answer.
    """

    def __init__(self, registry: Registry, folder: Path) -> None:
        """The registry stays the caller's, and is closed after this."""
        self._registry = registry
        self._folder = folder
        self._written: dict[Role, str] = {}
        self._looking = Looking("targets", self._look, LOOK_EVERY_S)
        registry.watch(self._looking.wake)
        self._looking.start()

    def _look(self) -> None:
        for role in ROLES:
            known = self._registry.members(role)
            if known.heard_s is None:
                continue
            found = [
                {"targets": [urlsplit(listed.member.address).netloc], "labels": {"member": listed.member.id}}
                for listed in known.members
                if listed.member.address
            ]
            text = json.dumps(found, indent=1)
            if self._written.get(role) != text:
                self._write(role, text)

    def _write(self, role: Role, text: str) -> None:
        fresh = self._folder / f"{role}.new"
        try:
            fresh.write_text(text)
            fresh.replace(self._folder / f"{role}.json")
        except OSError as error:
            log.warning("Prometheus is not told who is up: %s", error)
            return
        self._written[role] = text

    def close(self) -> None:
        """Writes no more. Twice does nothing more."""
        self._looking.close(timeout_s=10.0)

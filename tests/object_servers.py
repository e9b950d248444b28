"""The object stores that tests run on: moto for S3, Azurite for Azure Blob Storage, each a server of its own on a loopback port, and what
they are asked over HTTP that obstore does not ask. Both keep everything in memory.

`python -m tests.object_servers` starts both, says the URLs, and waits for Ctrl-C: for trying things by hand.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import signal
import sys
import tempfile
import uuid
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from email.utils import formatdate
from pathlib import Path
from typing import ClassVar
from urllib.parse import quote

import httpx

from cluster.ports import listening, pick
from cluster.process import Guarded, wait_until

ROOT = Path(__file__).resolve().parents[1]
AZURITE = ROOT / "var" / "azurite" / "node_modules" / ".bin" / "azurite-blob"
ACCOUNT = "devstoreaccount1"
KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
"""Azurite's account and its key, which stand in its documentation."""
STARTED_S = 120.0


@dataclass
class ObjectServer(ABC):
    """One of them. `log` has what it says."""

    name: ClassVar[str]
    log: Path

    def __post_init__(self) -> None:
        self.port = pick()
        self._process: Guarded | None = None

    @abstractmethod
    def command(self) -> list[str]:
        """What runs it."""

    @abstractmethod
    def make(self, name: str) -> None:
        """Makes a bucket or container."""

    @abstractmethod
    def url(self, bucket: str, prefix: str = "") -> str:
        """As in `checkpoints.url`, with endpoint and credentials."""

    def new(self, prefix: str = "") -> str:
        """The URL of a bucket or container that nobody else has."""
        name = f"marquee-{uuid.uuid4().hex[:12]}"
        self.make(name)
        return self.url(name, prefix)

    def start(self) -> None:
        """Returns when it answers; fails with its log when it does not."""
        self._process = Guarded(self.command(), self.log)
        assert wait_until(lambda: listening(self.port), STARTED_S), self.log.read_text()

    def stop(self) -> None:
        if self._process is not None:
            self._process.kill()  # nothing of it is kept

    def pause(self) -> None:
        """It hangs, its connections stay open."""
        assert self._process is not None
        self._process.id.signal(signal.SIGSTOP)

    def resume(self) -> None:
        assert self._process is not None
        self._process.id.signal(signal.SIGCONT)

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}"


class Moto(ObjectServer):
    name = "s3"

    def command(self) -> list[str]:
        return [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(self.port)]

    def make(self, name: str) -> None:
        httpx.put(f"{self.address}/{name}", timeout=60).raise_for_status()

    def url(self, bucket: str, prefix: str = "") -> str:
        who = "access_key_id=tests&secret_access_key=tests-secret&region=us-east-1"
        return f"s3://{bucket}/{prefix}?endpoint={quote(self.address, safe='')}&{who}"


class Azurite(ObjectServer):
    name = "azure"

    def command(self) -> list[str]:
        assert AZURITE.exists(), f"{AZURITE} is not there: run `make setup`"
        where = ["--blobHost", "127.0.0.1", "--blobPort", str(self.port)]
        return [str(AZURITE), *where, "--inMemoryPersistence", "--disableTelemetry", "--skipApiVersionCheck", "--silent"]

    def make(self, name: str) -> None:
        """Signed with the shared key, as Azure's REST API has it."""
        version, date = "2021-12-02", formatdate(usegmt=True)
        headers = f"x-ms-date:{date}\nx-ms-version:{version}\n"
        said = f"PUT{12 * chr(10)}{headers}/{ACCOUNT}/{ACCOUNT}/{name}\nrestype:container"
        signature = base64.b64encode(hmac.digest(base64.b64decode(KEY), said.encode(), hashlib.sha256)).decode()
        httpx.put(
            f"{self.address}/{ACCOUNT}/{name}?restype=container",
            headers={
                "x-ms-date": date,
                "x-ms-version": version,
                "Authorization": f"SharedKey {ACCOUNT}:{signature}",
                "Content-Length": "0",
            },
            timeout=60,
        ).raise_for_status()

    def url(self, bucket: str, prefix: str = "") -> str:
        endpoint = quote(f"{self.address}/{ACCOUNT}", safe="")
        return f"az://{bucket}/{prefix}?endpoint={endpoint}&account_name={ACCOUNT}&account_key={quote(KEY, safe='')}"


@contextmanager
def running(server: ObjectServer) -> Iterator[ObjectServer]:
    """The server, from when it answers to when it has ended."""
    try:
        server.start()
        yield server
    finally:
        server.stop()


def main() -> None:
    """See the module's text."""
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        for server in (Moto(Path(folder) / "moto.log"), Azurite(Path(folder) / "azurite.log")):
            print(stack.enter_context(running(server)).new("marquee"), flush=True)
        signal.sigwait({signal.SIGINT, signal.SIGTERM})


if __name__ == "__main__":
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
    main()

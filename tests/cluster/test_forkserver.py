"""Processes forked by a fork server are guarded like any other, say what they would have said, and need no server to go on."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from cluster.forkserver import ForkServer, fork_server, put_back, set_aside
from cluster.process import Guarded, ProcessId, wait_until
from tests.distributions import install
from topologies.errors import ServerAway

PATIENT_S = 120.0
OWNER = """
import sys
from pathlib import Path
from cluster.forkserver import fork_server
from cluster.process import Guarded
directory, fifo = map(Path, sys.argv[1:])
guarded = Guarded(["--config", str(fifo), "config"], directory / "child.log", server=fork_server(directory / "server.log"))
print(guarded.id.pid, guarded.guardian_id.pid, flush=True)
sys.stdin.read()
"""

REGISTERING = """
import sys
from importlib import import_module
from marquee.forkserver import PREPARED
for name in PREPARED:
    import_module(name)
before = set(sys.modules)
from cluster.registries import open_registry
from cluster.roster import Roster
from topologies.settings import Settings, ZooKeeperSettings
settings = Settings(zookeeper=ZooKeeperSettings(hosts=("127.0.0.1:1",), timeout_s=0.1))
with open_registry(settings), Roster(settings) as roster:
    roster.document()
print(*(name for name in set(sys.modules) - before if name.split(".")[0] in ("cluster", "connectors", "streams", "serving", "topologies")))
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> ForkServer:
    """This process' own."""
    return fork_server(tmp_path_factory.mktemp("server") / "server.log")


@pytest.fixture
def waiting(tmp_path: Path) -> Path:
    """Settings that a command waits for until somebody writes them."""
    fifo = tmp_path / "settings"
    os.mkfifo(fifo)
    return fifo


@pytest.fixture
def forked(server: ForkServer, waiting: Path, tmp_path: Path) -> Iterator[Guarded]:
    process = Guarded(["--config", str(waiting), "config"], tmp_path / "forked.log", server=server)
    yield process
    process.kill()


def test_it_says_and_ends_as_one_that_was_started(server: ForkServer, tmp_path: Path) -> None:
    cold = subprocess.run([sys.executable, "-m", "marquee", "views", "--json"], capture_output=True, check=True, text=True)
    forked = Guarded(["views", "--json"], tmp_path / "forked.log", server=server)
    ended = forked.ended(PATIENT_S)
    assert ended is not None
    assert ended.status == 0
    assert ended.cpu_s > 0
    assert (tmp_path / "forked.log").read_text() == cold.stdout
    assert not forked.alive()
    assert forked.guardian_id.gone_within(PATIENT_S)


def test_it_has_its_own_environment_directory_cores_and_log(server: ForkServer, tmp_path: Path) -> None:
    words = ["-s", "worker.http_port=70000", "worker"]
    wrong = Guarded(words, tmp_path / "wrong.log", cwd=tmp_path, environment={"MARQUEE_KAFKA__BOOTSTRAP": "nowhere"}, server=server)
    ended = wrong.ended(PATIENT_S)
    assert ended is not None
    assert ended.status == 2
    assert "70000" in (tmp_path / "wrong.log").read_text()
    (tmp_path / "marquee.toml").write_text("[worker]\nhttp_port = 70001\n")
    here = Guarded(["worker"], tmp_path / "here.log", cwd=tmp_path, server=server)
    ended = here.ended(PATIENT_S)
    assert ended is not None
    assert "70001" in (tmp_path / "here.log").read_text()


def test_it_runs_until_told_and_is_shown_by_its_name(forked: Guarded) -> None:
    assert forked.alive()
    assert forked.ended(0.2) is None
    assert wait_until(lambda: Path(f"/proc/{forked.id.pid}/cmdline").read_bytes().startswith(b"marquee --config"), PATIENT_S)
    assert os.getsid(forked.id.pid) != os.getsid(0)
    assert forked.stop(PATIENT_S).status == -signal.SIGTERM


def test_it_is_pinned(server: ForkServer, waiting: Path, tmp_path: Path) -> None:
    core = max(os.sched_getaffinity(0))
    pinned = Guarded(["--config", str(waiting), "config"], tmp_path / "pinned.log", cores=[core], server=server)
    assert wait_until(lambda: os.sched_getaffinity(pinned.id.pid) == {core}, PATIENT_S)
    assert pinned.kill().status == -signal.SIGKILL


def test_it_dies_with_its_guardian(forked: Guarded) -> None:
    os.kill(forked.guardian_id.pid, signal.SIGKILL)
    assert forked.id.gone_within(PATIENT_S)
    assert forked.kill().status == -signal.SIGKILL


def test_it_outlives_its_server_and_the_next_one_has_a_server_of_its_own(server: ForkServer, waiting: Path, tmp_path: Path) -> None:
    own = ForkServer(tmp_path / "server.log")
    forked = Guarded(["--config", str(waiting), "config"], tmp_path / "forked.log", server=own)
    own.close()
    own.close()
    assert not own.alive()
    assert forked.alive()
    assert wait_until(lambda: is_read(waiting), PATIENT_S)
    ended = forked.ended(PATIENT_S)
    assert ended is not None
    assert ended.status == 0
    with pytest.raises(ServerAway, match=r"could not be started: its fork server is gone.*server\.log"):
        Guarded(["views"], tmp_path / "late.log", server=own)
    assert fork_server(tmp_path / "unused.log") is server


def test_it_and_its_server_end_with_an_owner_that_is_killed(waiting: Path, tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", OWNER, str(tmp_path), str(waiting)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as owner:
        assert owner.stdout is not None
        child, guardian = (ProcessId.of(int(pid)) for pid in owner.stdout.readline().split())
        server = ProcessId.of(int(Path(f"/proc/{guardian.pid}/stat").read_text().rpartition(")")[2].split()[1]))
        owner.kill()
    assert all(process.gone_within(PATIENT_S) for process in (child, guardian, server))


def test_who_gave_up_waiting_leaves_nothing_behind(
    server: ForkServer, waiting: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object) -> bool:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(Guarded, "_has_said", interrupted)
        with pytest.raises(KeyboardInterrupt):
            Guarded(["--config", str(waiting), "config"], tmp_path / "forked.log", server=server)
    # What is ordered next is forked next: the other one has been.
    assert Guarded(["views"], tmp_path / "next.log", server=server).ended(PATIENT_S) is not None
    assert not wait_until(lambda: is_read(waiting), 3)


def test_a_server_that_does_not_get_ready_is_given_up(waiting: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own = ForkServer(tmp_path / "server.log")
    monkeypatch.setattr("cluster.process.STARTED_S", 0.1)
    with pytest.raises(ServerAway, match=r"not started within 0 s; .*server\.log may say why"):
        Guarded(["--config", str(waiting), "config"], tmp_path / "forked.log", server=own)
    own.close()
    assert not own.alive()


def test_it_tells_when_it_forks_without_a_wait(tmp_path: Path) -> None:
    own = ForkServer(tmp_path / "server.log")
    assert not own.prepared()
    assert wait_until(own.prepared, PATIENT_S)
    assert Guarded(["views", "--json"], tmp_path / "forked.log", server=own).ended(PATIENT_S) is not None
    own.close()
    gone = ForkServer(tmp_path / "gone.log")
    gone._process.kill()
    assert wait_until(gone.prepared, PATIENT_S)  # nobody has to wait for it
    assert wait_until(lambda: not gone.alive(), PATIENT_S)
    gone.close()


def test_what_a_child_imports_later_is_of_its_servers_version_too() -> None:
    done = subprocess.run([sys.executable, "-c", REGISTERING], capture_output=True, check=True, text=True, timeout=PATIENT_S)
    assert done.stdout.split() == []


def test_an_environment_that_is_too_large_is_told_and_the_server_goes_on(server: ForkServer, tmp_path: Path) -> None:
    with pytest.raises(ServerAway, match="its environment is"):
        Guarded(["views"], tmp_path / "forked.log", environment={"LARGE": "x" * 600_000}, server=server)
    assert Guarded(["views"], tmp_path / "next.log", server=server).ended(PATIENT_S) is not None


def is_read(fifo: Path) -> bool:
    """Whether anybody has it open for reading, as the command has soon after it began."""
    try:
        os.close(os.open(fifo, os.O_WRONLY | os.O_NONBLOCK))
    except OSError as error:
        if error.errno != errno.ENXIO:
            raise
        return False
    return True


def test_a_view_that_cannot_be_imported_is_told_by_who_needs_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, server: ForkServer
) -> None:
    install(tmp_path / "installed", "broken", "raise RuntimeError('out of film')\n", {"broken": "broken:VIEW"})
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path / "installed"), *filter(None, [os.environ.get("PYTHONPATH")])]))
    other = fork_server(tmp_path / "server.log")
    assert other is not server
    forked = Guarded(["views"], tmp_path / "forked.log", server=other)
    ended = forked.ended(PATIENT_S)
    assert ended is not None
    assert ended.status != 0
    assert "out of film" in (tmp_path / "forked.log").read_text()
    assert "not prepared" in (tmp_path / "server.log").read_text()


def test_one_that_is_set_aside_comes_back_or_is_followed_by_another(tmp_path: Path) -> None:
    own = fork_server(tmp_path / "own.log")
    aside = set_aside()
    assert aside is own
    other = fork_server(tmp_path / "other.log")
    assert other is not own
    put_back(aside)
    assert fork_server(tmp_path / "unused.log") is own
    assert own.alive()
    assert wait_until(lambda: not other.alive(), PATIENT_S)
    assert Guarded(["views", "--json"], tmp_path / "forked.log", server=own).ended(PATIENT_S) is not None

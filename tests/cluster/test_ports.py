from __future__ import annotations

import socket
import subprocess
import sys

from cluster.ports import is_free, listening, pick


def test_a_port_that_somebody_listens_on_is_not_free() -> None:
    port = pick()  # none that the system gives to somebody's connection meanwhile
    with socket.create_server(("127.0.0.1", port)):
        assert not is_free(port)
        assert listening(port)
        assert pick(port) != port
    assert is_free(port)
    assert not listening(port)
    assert pick(port) == port


def test_a_port_listened_on_at_every_address_is_not_free() -> None:
    with socket.create_server(("0.0.0.0", 0)) as server:
        assert not is_free(server.getsockname()[1])


def test_taken_ports_are_not_picked() -> None:
    wanted = pick()
    assert pick(wanted, taken={wanted}) != wanted


def test_a_port_that_another_process_has_chosen_is_not_picked_before_its_server_listens() -> None:
    chooser = "from cluster.ports import pick; print(pick(), flush=True); input()"
    with subprocess.Popen([sys.executable, "-c", chooser], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        port = int(other.stdout.readline())
        assert is_free(port)
        assert pick(port) != port
        other.communicate("\n")
    assert pick(port) == port == pick(port)

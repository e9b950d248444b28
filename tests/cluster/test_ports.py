from __future__ import annotations

import socket

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

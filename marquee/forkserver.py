"""`python -m marquee.forkserver FD`: loads and compiles what workers and APIs need, then forks a prepared process for each order (see
cluster/forkserver.py) until the socket FD is closed from the other side.

A forked worker is ready to read 4 s of CPU earlier than one that starts from nothing, an API 2 s; they share the memory of code and
kernels. Of what an API loads a worker loads all but 0.4 s.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import signal
import socket
import sys
import traceback
from typing import Any

import numpy as np
from setproctitle import setproctitle

from cluster import guardian
from cluster.forkserver import ORDER_BYTES
from marquee import cli
from streams.politeness import politely

PREPARED = (
    "marquee.commands.worker", "cluster.registries", "streams.worker", "marquee.commands.serve", "serving.api.server", "cluster.roster",
    "cluster.zookeeper_registry", "cluster.leadership",
)  # fmt: skip
"""The last two they import only when they have a ZooKeeper; a child that found them on disk then, where another version has been installed
meanwhile, would be of both."""


def main() -> int:
    """Prepares, serves, and is in each forked child that child's command."""
    setproctitle("marquee fork server")
    orders = socket.socket(fileno=int(sys.argv[1]))
    try:
        politely(_prepare)
    except (Exception, SystemExit):  # noqa: BLE001  # such as a view by others that cannot be imported: each child meets it too, and says so where it is asked
        print(
            f"this fork server is not prepared, its children will prepare themselves:\n{traceback.format_exc()}",
            file=sys.stderr,
            flush=True,
        )
    gc.collect()
    orders.shutdown(socket.SHUT_WR)  # by which the owner knows; it has no other word for it
    gc.freeze()  # else a child's first collection would touch, and so copy, all that is shared
    command = next_child(orders)
    return 0 if command is None else cli.main(command)


def _prepare() -> None:
    for name in PREPARED:
        importlib.import_module(name)
    from streams.worker import warm_all

    warm_all()


def next_child(orders: socket.socket) -> list[str] | None:
    """Forks for each order. Returns in each child its command, in the server None once nobody can order any more."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the guardians tell the owner what there is to tell
    while True:
        message, fds, _, _ = socket.recv_fds(orders, ORDER_BYTES, 2)
        if not message:
            return None
        order = json.loads(message)
        if os.fork() == 0:
            orders.close()
            return _child(order, *fds)
        for fd in fds:
            os.close(fd)


def _child(order: dict[str, Any], log: int, words: int) -> list[str]:
    """The guardian's side of the fork, which forks once more; returns in the guarded child."""
    os.setsid()
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    for fd, place in ((log, 2), (words, 1)):
        os.dup2(fd, place)
        os.close(fd)
    os.environ.clear()
    os.environ.update(order["environment"])
    os.chdir(order["cwd"])
    command: list[str] = order["command"]
    title = f"marquee {' '.join(command)}"
    setproctitle(f"guardian of {title}")
    try:
        owner = os.pidfd_open(order["owner"])
    except ProcessLookupError:
        os._exit(1)  # the owner is gone
    guardian.guard(owner, order["cores"], order["niceness"])
    setproctitle(title)
    np.random.seed()  # the one generator that is not seeded anew in a child, should a view by others use it
    sys.argv[1:] = command
    return command


if __name__ == "__main__":
    sys.exit(main())

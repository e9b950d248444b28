"""A process that stands for election: `candidate.py HOST ROOT ID SESSION_S`. It says what it is told to on its standard input:

term     "leads EPOCH", once it leads
act X    "done", or why not: does X in the epoch in which it led last, whoever leads now
"""

from __future__ import annotations

import sys

from cluster.leadership import Candidate, act
from connectors.zookeeper import Session
from topologies.errors import MarqueeError
from topologies.settings import ZooKeeperSettings


def main() -> None:
    host, root, id_, session_s = sys.argv[1:]
    session = Session(ZooKeeperSettings(hosts=(host,), root=root, session_timeout_s=float(session_s), timeout_s=30.0))
    candidate, epoch = Candidate(session, "autoscaler", id_), 0
    for line in sys.stdin:
        word, _, order = line.strip().partition(" ")
        try:
            if word == "term":
                term = candidate.wait(60)
                epoch = term.epoch if term else epoch
                print("leads", term.epoch if term else None, flush=True)
            else:
                act(session, "autoscaler", epoch, order)
                print("done", flush=True)
        except MarqueeError as error:
            print(type(error).__name__, error, flush=True)


if __name__ == "__main__":
    main()

"""One leads, under an epoch of its own; and whoever led before cannot act any more."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from cluster.leadership import NOBODY, Candidate, Term, act, last_act, last_term, leader
from cluster.process import wait_until
from connectors.zookeeper import Session, opened
from tests.cluster.registry_conformance import PATIENCE_S
from tests.cluster.test_zookeeper_registry import expire
from topologies.errors import Deposed, ServerAway
from topologies.settings import ZooKeeperSettings

NAME = "autoscaler"


@pytest.fixture
def session(place: ZooKeeperSettings) -> Iterator[Session]:
    with opened(place, PATIENCE_S) as own:
        yield own


@contextmanager
def standing(place: ZooKeeperSettings, id_: str) -> Iterator[tuple[Candidate, Session]]:
    with opened(place, PATIENCE_S) as own, Candidate(own, NAME, id_) as candidate:
        yield candidate, own


class Process:
    """A candidate that can be stopped and killed. Its session is short."""

    def __init__(self, place: ZooKeeperSettings, id_: str) -> None:
        words = [sys.executable, str(Path(__file__).with_name("candidate.py")), place.hosts[0], place.root, id_, "1"]
        self.process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def says(self, asked: str) -> str:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(f"{asked}\n")
        self.process.stdin.flush()
        return self.process.stdout.readline().strip()

    def leads(self) -> int:
        """The epoch in which it leads."""
        word, epoch = self.says("term").split()
        assert word == "leads"
        return int(epoch)

    def end(self) -> None:
        self.process.kill()
        self.process.communicate()


@pytest.fixture
def other(place: ZooKeeperSettings) -> Iterator[Process]:
    process = Process(place, "other")
    yield process
    process.end()


def leads(candidate: Candidate) -> Term:
    term = candidate.wait(PATIENCE_S)
    assert term is not None
    return term


def test_one_leads_until_it_goes_and_then_the_next_in_a_greater_epoch(place: ZooKeeperSettings, session: Session) -> None:
    assert leader(session, NAME) is None
    assert last_term(session, NAME) == NOBODY
    with standing(place, "a") as (first, _):
        assert (leads(first).epoch, leads(first).id) == (1, "a")
        assert leader(session, NAME) == first.term()
        with standing(place, "b") as (second, _):
            assert second.term() is None
            with pytest.raises(Deposed, match="b does not lead"):
                second.act("4")
            assert first.act("3") == last_act(session, NAME)
            first.close()
            assert first.term() is None
            assert leads(second).epoch == 2
            assert second.act("5").epoch == 2
            with pytest.raises(Deposed, match="epoch 1 is refused: b leads autoscaler in epoch 2"):
                act(session, NAME, 1, "3")
            done = last_act(session, NAME)
            assert done is not None
            assert (done.epoch, done.id, done.order) == (2, "b", "5")
    assert leader(session, NAME) is None
    assert last_term(session, NAME).id == "b"


def test_a_leader_that_stood_still_for_longer_than_its_session_cannot_act_when_it_goes_on(
    place: ZooKeeperSettings, session: Session, other: Process
) -> None:
    # On a machine that stands still its session may end before it is stopped: then it leads anew.
    assert wait_until(lambda: other.leads() > 0 and other.says("act 1") == "done", PATIENCE_S)
    with standing(place, "b") as (next_one, _):
        other.process.send_signal(signal.SIGSTOP)
        epoch = leads(next_one).epoch
        next_one.act("2")
        other.process.send_signal(signal.SIGCONT)
        assert wait_until(lambda: other.says("act 3").startswith("Deposed"), PATIENCE_S)  # it may find its connection gone first
    done = last_act(session, NAME)
    assert done is not None
    assert (done.epoch, done.order) == (epoch, "2")
    assert other.leads() > epoch
    with standing(place, "c") as (after, _):
        other.process.kill()
        assert leads(after).epoch > epoch + 1


def test_a_leader_whose_session_is_lost_stands_again(place: ZooKeeperSettings) -> None:
    with standing(place, "a") as (candidate, own):
        assert leads(candidate).epoch == 1
        expire(own)
        assert wait_until(lambda: (term := candidate.term()) is not None and term.epoch == 2, PATIENCE_S)


def test_nobody_answers_who_asks_once_where_no_zookeeper_is() -> None:
    with pytest.raises(ServerAway, match="does not answer"), opened(ZooKeeperSettings(("127.0.0.1:1",)), 0.1):
        pass

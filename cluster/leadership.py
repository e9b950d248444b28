"""Who leads: one of those that stand for it, under an epoch that whoever led before cannot act under.

    {root}/elections/{name}/{token}-{n}   a candidate, its id. Ephemeral and numbered: the least n leads
    {root}/leaders/{name}                 JSON: epoch, id, since_ms. Written anew by each that comes to lead, in one transaction that checks
                                          that he still stands and that nobody has written it since he read it: so an epoch has one leader
    {root}/acts/{name}                    JSON: epoch, id, order. What was done last

Of two processes both may believe that they lead: one was stopped, its session has ended, the next has been elected, and it goes on where it
was. No lease, and no look at who leads before the act, keeps it from acting then (Kleppmann, "How to do distributed locking", 2016:
fencing tokens). So an act says its epoch, and is written in a transaction that checks that the leaders' node is the one of this epoch; that
refuses whoever was deposed, however late he comes. Whoever carries out what stands in {root}/acts/{name} takes what has the greatest epoch
that he has seen, and passes the epoch on.

A leader whose connection is away does not lead, as far as he knows; found back before his session ends, he leads on in the same epoch.
Epochs are counted in ZooKeeper and begin anew where it has lost its data: who keeps an epoch elsewhere has to be told of that.
"""

from __future__ import annotations

import logging
import threading
import time
import uuid
from collections.abc import Callable
from typing import Final

import msgspec

from cluster.looking import Looking
from connectors.closing import Closing
from connectors.znodes import Check, Write
from connectors.zookeeper import Session
from topologies.errors import Conflict, Deposed, MarqueeError, ServerAway, StoreError

log = logging.getLogger(__name__)
LOOK_EVERY_S: Final = 5.0
"""Beside each time that a candidate goes, or the connection comes or goes."""
AUTOSCALER: Final = "autoscaler"
"""The election of the one autoscaler that acts."""


class Term(msgspec.Struct, frozen=True):
    """Who leads, or led last."""

    epoch: int
    id: str
    since_ms: int
    """Since when, by that process' clock, epoch ms."""


class Act(msgspec.Struct, frozen=True):
    """What a leader did, in words of those who carry it out."""

    epoch: int
    id: str
    order: str


NOBODY: Final = Term(0, "", 0)


def last_term(session: Session, name: str) -> Term:
    """The last that was begun; NOBODY before the first. Blocks; raises ServerAway or StoreError."""
    node = session.read(session.path("leaders", name))
    return NOBODY if node is None else _term(node.data)


def leader(session: Session, name: str) -> Term | None:
    """Who leads now: None while nobody does. Blocks; raises as `last_term`."""
    standing = _standing(session, name)
    first = session.read(session.path("elections", name, standing[0])) if standing else None
    term = last_term(session, name)
    return term if first is not None and first.data.decode(errors="replace") == term.id else None


def act(session: Session, name: str, epoch: int, order: str) -> Act:
    """Does it under this epoch; what stands in the node then. The same again under the same epoch does nothing worse.

    Raises Deposed when another epoch has begun; ServerAway when it may have been done or not. Blocks.
    """
    leaders, acts = session.path("leaders", name), session.path("acts", name)
    if session.read(acts) is None:
        session.ensure(acts)
    node = session.read(leaders)
    term = NOBODY if node is None else _term(node.data)
    done = Act(epoch, term.id, order)
    if node is not None and term.epoch == epoch:
        try:
            session.commit(Check(leaders, node.version), Write(acts, data=msgspec.json.encode(done)))
            return done
        except Conflict:
            term = last_term(session, name)
    raise Deposed(f"an act of epoch {epoch} is refused: {term.id or 'nobody'} leads {name} in epoch {term.epoch}.")


def last_act(session: Session, name: str) -> Act | None:
    """What was done last; None for nothing yet. Blocks; raises ServerAway or StoreError."""
    node = session.read(session.path("acts", name))
    if node is None or not node.data:
        return None
    try:
        return msgspec.json.decode(node.data, type=Act)
    except msgspec.DecodeError as error:
        raise StoreError(f"the acts of {name} in ZooKeeper cannot be read: {error}.") from error


def _term(data: bytes) -> Term:
    if not data:
        return NOBODY
    try:
        return msgspec.json.decode(data, type=Term)
    except msgspec.DecodeError as error:
        raise StoreError(f"who leads cannot be read in ZooKeeper: {error}.") from error


def _standing(session: Session, name: str, watch: Callable[[], None] | None = None) -> list[str]:
    """The candidates' nodes, the first one first."""
    names = session.children(session.path("elections", name), watch) or []
    return sorted((one for one in names if "-" in one), key=lambda one: one.rpartition("-")[2])


class Candidate(Closing):
    """Stands for election from its making to `close`; any number of threads. It leads whenever it is the first of those who stand."""

    def __init__(self, session: Session, name: str, id: str, clock_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000) -> None:  # noqa: A002
        """Returns at once. The session stays the caller's, and is closed after this. clock_ms: epoch ms."""
        self.name = name
        self.id = id
        self._session = session
        self._clock_ms = clock_ms
        self._token = uuid.uuid4().hex
        self._term: Term | None = None
        self._leads = threading.Event()
        self._closed = False
        self._looking = Looking(f"candidate-{name}", self._look, LOOK_EVERY_S)
        session.listen(self._looking.wake)
        self._looking.start()

    def term(self) -> Term | None:
        """The term in which this one leads, as far as it knows; None while it does not. `act` is what decides."""
        return self._term if self._leads.is_set() and self._session.session_id() else None

    def wait(self, timeout_s: float) -> Term | None:
        """Waits until it leads; None when it does not in time."""
        self._leads.wait(timeout_s)
        return self.term()

    def act(self, order: str, epoch: int | None = None) -> Act:
        """Acts in its term. epoch: the one in which the order was decided; that of now when None. Raises Deposed when it does not lead, and
        as `act` does."""
        term = self.term()
        if term is None:
            raise Deposed(f"{self.id} does not lead {self.name}.")
        return act(self._session, self.name, term.epoch if epoch is None else epoch, order)

    def _look(self) -> None:
        if self._closed:
            return
        try:
            self._stand()
        except ServerAway:
            self._leads.clear()
            self._session.say_away(f"nobody can be elected as {self.name}")
        except Conflict:
            self._looking.wake()  # somebody came or went meanwhile
        except MarqueeError as error:
            self._leads.clear()
            log.warning("no election of %s: %s", self.name, error)

    def _stand(self) -> None:
        standing = _standing(self._session, self.name, self._looking.wake)
        if not any(one.startswith(self._token) for one in standing):
            self._lose()
            stand = self._session.path("elections", self.name, f"{self._token}-")
            self._session.create(stand, self.id.encode(), ephemeral=True, numbered=True)
            standing = _standing(self._session, self.name, self._looking.wake)
        if not standing or not standing[0].startswith(self._token):
            self._lose()
        elif self._term is None or last_term(self._session, self.name) != self._term:
            self._take_over(self._session.path("elections", self.name, standing[0]))
        else:
            self._leads.set()

    def _take_over(self, own: str) -> None:
        """Begins the next epoch. Raises Conflict when it does not stand any more, or somebody else has begun one."""
        self._lose()
        leaders = self._session.path("leaders", self.name)
        node = self._session.read(leaders)
        if node is None:
            self._session.ensure(leaders)
            node = self._session.read(leaders)
        if node is None:
            return self._looking.wake()
        term = Term(_term(node.data).epoch + 1, self.id, self._clock_ms())
        self._session.commit(Check(own), Write(leaders, node.version, msgspec.json.encode(term)))
        self._term = term
        self._leads.set()
        log.info("%s leads %s in epoch %d", self.id, self.name, term.epoch)
        return None

    def _lose(self) -> None:
        if self._leads.is_set():
            log.warning("%s does not lead %s any more", self.id, self.name)
        self._leads.clear()
        self._term = None

    def close(self) -> None:
        """Stands no more, so that the next leads at once. Waits for the session's time-out at most; twice does nothing more."""
        if self._closed:
            return
        self._closed = True
        self._looking.close(self._session.settings.timeout_s)
        self._leads.clear()
        try:
            for one in _standing(self._session, self.name):
                if one.startswith(self._token):
                    self._session.delete(self._session.path("elections", self.name, one))
        except MarqueeError as error:
            log.info("%s stands for %s until its session ends: %s", self.id, self.name, error)

"""The members in ZooKeeper: an ephemeral node each, which its process makes again whenever it is lost.

    {root}/members/{role}/{id}    JSON: address, version, load, since_ms
    {root}/left/{role}            JSON: [[id, since_ms], …], the last LEFT_KEPT that left; in one transaction with their going, so that
                                  who sees a node gone sees also whether its member left, or was lost (cluster/membership.py)

One thread does everything: it writes what this process registered, reads who else is there once somebody has asked, and tries whether
those that vanished refuse connections. It looks when a node comes or goes and when the connection does, and every `discovery.renew_s`.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final

import msgspec

from cluster.discovery import Known, Listed, Member, Registry, Role
from cluster.looking import Looking
from cluster.membership import Membership
from cluster.refusing import refuses
from connectors.znodes import Create, Delete, Write
from connectors.zookeeper import Session
from topologies.errors import Conflict, MarqueeError, ServerAway
from topologies.settings import Settings

log = logging.getLogger(__name__)
WINDOW: Final = 2.0
"""Sessions of one cause end within so many session time-outs, or looks: each was heard of last at another time, up to one ago, and a server
that comes back counts them anew from its start."""
LEFT_KEPT: Final = 64
TRIED_AT_ONCE: Final = 16
_Key = tuple[Role, str]


class _Stored(msgspec.Struct, frozen=True):
    """A member as its node has it."""

    address: str
    version: str
    load: float
    since_ms: int


@dataclass
class _Own:
    """A member that this process registered, and its node as it was written last: in which session, with which version."""

    member: Member
    load: Callable[[], float]
    session: int = 0
    version: int = 0
    yields: bool = False
    """Another process has its name."""


class ZooKeeperRegistry(Registry):
    def __init__(
        self, session: Session, settings: Settings, clock: Callable[[], float] = time.monotonic, gone: Callable[[Member], bool] = refuses
    ) -> None:
        """The session becomes the registry's own and is closed with it. clock: seconds. gone: whether a member that vanished is shown to be
        gone; called for several at once."""
        self._session = session
        self._clock = clock
        self._gone = gone
        self._lock = threading.Lock()
        self._own: dict[_Key, _Own] = {}
        window_s = WINDOW * max(settings.zookeeper.session_timeout_s, settings.discovery.renew_s)
        self._lists = {role: Membership(window_s, settings.discovery.keep_vanished_s) for role in Role}
        self._watchers: list[Callable[[], None]] = []
        self._asked = False
        self._heard = threading.Event()
        self._heard_s: float | None = None
        self._answers = False
        self._told: object = None
        self._closed = False
        self._writing = threading.Lock()
        """Held while a member's node is written or taken away."""
        self._looking = Looking("members", self._look, settings.discovery.renew_s)
        session.listen(self._looking.wake)
        self._looking.start()

    def register(self, member: Member, load: Callable[[], float]) -> None:
        with self._lock:
            self._own[member.role, member.id] = _Own(member, load)
        self._looking.wake()

    def leave(self, role: Role, id: str) -> None:  # noqa: A002  # as in the contract
        with self._writing:
            with self._lock:
                own = self._own.pop((role, id), None)
            if own is not None:
                self._take_away(own)
        self._looking.wake()

    def members(self, role: Role) -> Known:
        self._ask()
        now_s = self._clock()
        with self._lock:
            heard_s = None if self._heard_s is None else now_s - self._heard_s
            return Known(self._lists[role].listed(now_s), heard_s, self._answers)

    def wait_heard(self, timeout_s: float) -> bool:
        self._ask()
        return self._heard.wait(timeout_s)

    def watch(self, changed: Callable[[], None]) -> None:
        self._watchers.append(changed)
        self._ask()

    def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        for role, id_ in list(self._own):
            self.leave(role, id_)
        self._looking.close(self._session.settings.timeout_s)
        self._session.close()
        self._answers = False

    def _ask(self) -> None:
        if not self._asked:
            self._asked = True
            self._looking.wake()

    def _look(self) -> None:
        if self._closed:
            return
        try:
            self._session.require()
            for own in list(self._own.values()):
                self._renew(own)
            if self._asked:
                self._read()
            self._answers = True
        except ServerAway:
            self._fails()
            self._session.say_away("members go by who was there last, and register when it does")
        except MarqueeError as error:
            self._fails()
            log.warning("members cannot be kept: %s", error)
        if self._asked:
            self._try_those_lost()
            self._tell()

    def _fails(self) -> None:
        self._answers = False
        with self._lock:
            for members in self._lists.values():
                members.silent()

    def _path(self, role: Role, id_: str) -> str:
        return self._session.path("members", role, id_)

    def _renew(self, own: _Own) -> None:
        """Writes the member's node; makes it where it is not there, or is that of an earlier one of its name."""
        with self._writing:
            if (own.member.role, own.member.id) not in self._own:
                return
            member = own.member
            path = self._path(member.role, member.id)
            data = msgspec.json.encode(_Stored(member.address, member.version, round(own.load(), 3), member.since_ms))
            session = self._session.session_id()
            try:
                if own.session == session != 0:
                    own.version = self._session.write(path, data, own.version)
                    return
            except Conflict:
                own.session = 0
            try:
                self._claim(own, path, data, session)
            except Conflict:
                self._looking.wake()  # it has just come or gone: look again

    def _claim(self, own: _Own, path: str, data: bytes, session: int) -> None:
        node = self._session.read(path)
        if node is None:
            self._session.create(path, data, ephemeral=True)
            own.version = 0
        elif node.owner == session:
            own.version = self._session.write(path, data, node.version)
        elif _since(node.data) > own.member.since_ms:
            if not own.yields:
                log.warning("another %s called %s has come; this one is not found any more", own.member.role, own.member.id)
            own.yields = True
            return
        else:
            self._session.commit(Delete(path, node.version), Create(path, data, ephemeral=True))
            own.version = 0
        own.session, own.yields = session, False
        log.info("registered as %s %s", own.member.role, own.member.id)

    def _take_away(self, own: _Own) -> None:
        """Its node goes, and is noted as that of one who left. What cannot be done now the session's end does, without the note."""
        if own.session == 0 or own.session != self._session.session_id():
            return
        notes = self._session.path("left", own.member.role)
        try:
            for _ in range(TRIED_AT_ONCE):
                noted = self._session.read(notes)
                if noted is None:
                    self._session.ensure(notes)
                    continue
                left = [*_left(noted.data), own.member.came][-LEFT_KEPT:]
                try:
                    node = Delete(self._path(own.member.role, own.member.id), own.version)
                    self._session.commit(node, Write(notes, noted.version, msgspec.json.encode(left)))
                except Conflict:
                    continue  # another has left meanwhile, or this node is another's
                return
        except MarqueeError as error:
            log.info("%s %s leaves without a word: %s", own.member.role, own.member.id, error)

    def _read(self) -> None:
        """Takes over who is there. What a role's notes say is read after its nodes, so it knows of all that are missing among them."""
        heard: dict[Role, tuple[dict[str, Member], list[tuple[str, int]]]] = {}
        for role in Role:
            parent = self._session.path("members", role)
            names = self._session.children(parent, self._looking.wake)
            if names is None:
                self._session.ensure(parent)
                names = self._session.children(parent, self._looking.wake) or []
            nodes = self._session.read_all([self._path(role, name) for name in names])
            notes = self._session.read(self._session.path("left", role))
            found = {name: _member(role, name, node.data) for name, node in zip(names, nodes, strict=True) if node is not None}
            heard[role] = ({name: member for name, member in found.items() if member is not None}, _left(notes.data) if notes else [])
        now_s = self._clock()
        with self._lock:
            for role, (members, left) in heard.items():
                self._lists[role].heard(members, left, now_s)
            self._heard_s = now_s
        self._heard.set()

    def _try_those_lost(self) -> None:
        with self._lock:
            lost = [member for members in self._lists.values() for member in members.kept()]
        if not lost:
            return
        with ThreadPoolExecutor(TRIED_AT_ONCE) as pool:
            gone = [member for member, is_gone in zip(lost, pool.map(self._gone, lost), strict=True) if is_gone]
        with self._lock:
            for role, members in self._lists.items():
                members.gone(member for member in gone if member.role == role)

    def _tell(self) -> None:
        """Calls the watchers when the lists are others than when they were called last, loads and times aside."""
        with self._lock:
            lists = [_without_load(self._lists[role].listed(0.0)) for role in Role]
        told = (self._answers, lists)
        if told != self._told:
            self._told = told
            for watcher in list(self._watchers):
                watcher()


def _without_load(listed: Sequence[Listed]) -> list[tuple[Member, bool]]:
    return [(msgspec.structs.replace(one.member, load=0.0), one.vanished_s is None) for one in listed]


def _member(role: Role, id_: str, data: bytes) -> Member | None:
    """None for a node that is nobody's: it is none of ours."""
    try:
        stored = msgspec.json.decode(data, type=_Stored)
    except msgspec.DecodeError:
        log.warning("what is registered as %s %s cannot be read", role, id_)
        return None
    return Member(id_, role, stored.address, stored.version, stored.load, stored.since_ms)


def _since(data: bytes) -> int:
    """Epoch ms; before everybody where the node is nobody's."""
    try:
        return msgspec.json.decode(data, type=_Stored).since_ms
    except msgspec.DecodeError:
        return -1


def _left(data: bytes) -> list[tuple[str, int]]:
    try:
        return msgspec.json.decode(data, type=list[tuple[str, int]])
    except msgspec.DecodeError:
        return []

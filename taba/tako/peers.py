"""Other nodes as `IPeer`s, over connections that are made when they are needed, and again when they were lost.

After a failed or lost connection a node counts as away for a while, which grows with every failure: whoever asks it in
that time hears Unreachable at once, so that a node that is down costs nobody a wait.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from random import Random
from typing import Any

from attrs import define, field
from twisted.internet.defer import Deferred, DeferredList, fail, succeed
from twisted.internet.interfaces import IStreamClientEndpoint
from twisted.internet.protocol import Factory
from twisted.python.failure import Failure
from zope.interface import implementer

from taba.tako import wire
from taba.tako.configuration import Address
from taba.tako.errors import Refused, StorageFailed, Unreachable
from taba.tako.interfaces import Found, IPeer, Write
from taba.tako.link import Decode, Greeting, Link
from taba.tako.records import Version
from taba.tako.replica import version_from, version_row

PATIENCE = 5.0
"""Seconds that an answer, or a connection, may take."""
FIRST_PAUSE = 0.2  # seconds
LONGEST_PAUSE = 5.0
LEAST_CLOCKS = 2
"""So many nodes' clocks have to be known before the one here may be called behind: with it that makes three."""


class _OneLink(Factory):
    """Makes the protocol of one connection."""

    noisy = False

    def __init__(self, link: Link) -> None:
        self._link = link

    def buildProtocol(self, addr: Any) -> Link:
        """Called when the connection is there."""
        return self._link


@define(eq=False)
class Surroundings:
    """What all peers of a process have in common."""

    sender: str
    """The id of this node or proxy."""
    clock: Any
    random: Random
    endpoint: Callable[[Address], IStreamClientEndpoint]
    """How to connect to a node: by TCP or TLS."""
    version: Callable[[], int]
    """Of the configuration in force."""
    stale: Callable[[int, str], object]
    """Told the version of a newer configuration, and who has it."""
    wall: Callable[[], float]
    """Wall time here, in seconds."""
    token: Callable[[], str | None] = lambda: None
    patience: float = PATIENCE


@implementer(IPeer)
@define(eq=False)
class RemotePeer:
    """A node that is asked over a connection."""

    node: str
    address: Address
    _around: Surroundings
    wall_ahead: float | None = field(default=None, init=False)
    """Seconds that the node's wall clock is ahead of the monotonic one here, by its last message: so a step of the wall
    clock here changes nothing in it.
    """
    _link: Link | None = field(default=None, init=False)
    _connecting: Deferred[Any] | None = field(default=None, init=False)
    _waiting: list[Deferred[Link]] = field(factory=list, init=False)
    _away_until: float = field(default=0.0, init=False)
    _pause: float = field(default=0.0, init=False)
    _why: str = field(default="", init=False)
    _closed: bool = field(default=False, init=False)
    _ended: Deferred[None] | None = field(default=None, init=False)

    @property
    def away(self) -> bool:
        """Whether it was not to be reached a moment ago."""
        return self._link is None and self._around.clock.seconds() < self._away_until

    @property
    def connected(self) -> bool:
        """Whether a connection is up."""
        return self._link is not None

    # -------------------------------------------------------------------------------------------------- connecting

    def _up(self) -> Deferred[Link]:
        if self._closed:
            return fail(Unreachable(self.node, self._why))
        if self.away:
            return fail(Unreachable(self.node, self._why))
        waiting: Deferred[Link] = Deferred()
        self._waiting.append(waiting)
        if self._connecting is None:
            self._connect()
        return waiting

    def _connect(self) -> None:
        around = self._around
        greeting = Greeting(around.sender, self.node, around.token())
        link = Link(greeting, around.clock, around.version, around.patience, around.wall)
        link.refused = self._heard
        link.told_time = self._told_time
        connecting: Deferred[Any] = around.endpoint(self.address).connect(_OneLink(link))
        self._connecting = connecting
        connecting.addTimeout(around.patience, around.clock)
        connecting.addCallback(lambda _: link.up)
        connecting.addCallbacks(self._connected, self._failed)

    def _connected(self, link: Link) -> None:
        self._connecting = None
        if self._closed:
            link.abort(self._why)
            return
        link.lost = self._lost
        self._link, self._pause = link, 0.0
        waiting, self._waiting = self._waiting, []
        for each in waiting:
            each.callback(link)

    def _failed(self, failure: Failure) -> None:
        self._connecting = None
        problem = failure.value
        if not self._closed:
            self._rest(problem.reason if isinstance(problem, Unreachable) else failure.getErrorMessage())
        waiting, self._waiting = self._waiting, []
        for each in waiting:
            each.errback(Unreachable(self.node, self._why))

    def _told_time(self, now: int) -> None:
        self.wall_ahead = now / 1e6 - self._around.clock.seconds()

    def _lost(self) -> None:
        self._link = None
        if not self._closed:
            self._rest("the connection was lost")
        if self._ended is not None:
            ended, self._ended = self._ended, None
            ended.callback(None)

    def _rest(self, why: str) -> None:
        self._why = why
        self._pause = min(LONGEST_PAUSE, self._pause * 2 or FIRST_PAUSE)
        self._away_until = self._around.clock.seconds() + self._pause * (0.5 + self._around.random.random() / 2)

    def close(self) -> Deferred[None]:
        """See `leave`; because this process stops."""
        return self.leave("this process stops")

    def leave(self, why: str) -> Deferred[None]:
        """End the connection; all later questions fail. Fires when it has ended."""
        self._closed, self._why = True, why
        if self._connecting is not None:
            self._connecting.cancel()
        if self._link is None:
            return succeed(None)
        if self._ended is None:
            self._ended = Deferred()
        ended = self._ended
        self._link.abort(why)
        return ended

    def retry(self) -> None:
        """Let the next question try at once."""
        self._away_until = 0.0

    # ------------------------------------------------------------------------------------------------------ asking

    def _row(self, kind: str, row: list[Any], decode: Decode, blob: bytes | None = None) -> Deferred[Any]:
        if self._link is not None:
            return self._link.ask_row(kind, row, decode, blob)
        return self._up().addCallback(lambda link: link.ask_row(kind, row, decode, blob))

    def _one(self, question: str, arguments: Mapping[str, Any], *blobs: bytes) -> Deferred[Any]:
        link = succeed(self._link) if self._link is not None else self._up()
        asked: Deferred[Any] = link.addCallback(lambda link: link.ask(question, arguments, blobs))
        return asked

    def _heard(self, problem: Refused) -> None:
        """Note that the node has a newer configuration."""
        if problem.code == "stale":
            self._around.stale(problem.version, self.node)

    def read(self, key: bytes, body: bool) -> Deferred[Found | None]:
        """See `IPeer`."""
        return self._row("read", [wire.key_text(key), int(body)], _found)

    def write(self, write: Write) -> Deferred[Version]:
        """See `IPeer`."""
        row = [wire.key_text(write.key), *version_row(write.version)]
        if write.body is None or write.version.tombstone:
            row.append(write.upload)
            return self._row("write", row, _held)
        return self._row("write", row, _held, write.body)

    def piece(self, key: bytes, version: Version, number: int) -> Deferred[bytes]:
        """See `IPeer`."""
        where = {"key": wire.key_text(key), "version": version_row(version), "number": number}
        return self._one("piece", where).addCallback(_only_blob)

    def stage(self, upload: str, number: int, body: bytes) -> Deferred[None]:
        """See `IPeer`."""
        return self._one("stage", {"upload": upload, "number": number}, body).addCallback(lambda _: None)

    def unstage(self, upload: str) -> Deferred[None]:
        """See `IPeer`."""
        return self.ask("unstage", {"upload": upload}).addCallback(lambda _: None)

    def ask(self, question: str, arguments: Mapping[str, Any]) -> Deferred[Any]:
        """See `IPeer`."""
        return self._one(question, arguments).addCallback(lambda answer: answer[0])


def _found(row: Any, blobs: tuple[bytes, ...]) -> Found | None:
    if row is None:
        return None
    body = None
    if len(wire.rows(row, "row")) == 5:
        body = blobs[wire.whole(row[4], "value", 0, len(blobs) - 1)]
    return Found(version_from(row[:4]), body)


def _held(row: Any, blobs: tuple[bytes, ...]) -> Version:
    return version_from(row)


def _only_blob(answer: tuple[Any, tuple[bytes, ...]]) -> bytes:
    if len(answer[1]) != 1:
        raise StorageFailed("its answer has no piece")
    return answer[1][0]


@define(eq=False)
class Peers:
    """All nodes, by id; `own` is this node's replica, where this process is a node."""

    around: Surroundings
    own: Any = None
    _peers: dict[str, RemotePeer] = field(factory=dict, init=False)
    _addresses: Mapping[str, Address] = field(factory=dict, init=False)
    _own: float = field(default=0.0, init=False)
    _middle: float = field(default=0.0, init=False)
    """What the wall clock here, and the middle one, is ahead of the monotonic one."""
    _look_again: float = field(default=0.0, init=False)
    _closed: bool = field(default=False, init=False)

    def use(self, addresses: Mapping[str, Address]) -> None:
        """From now on nodes are at these addresses; connections to others end."""
        self._addresses = addresses
        for node, peer in list(self._peers.items()):
            if addresses.get(node) != peer.address:
                del self._peers[node]
                peer.leave("the configuration has changed")

    def get(self, node: str) -> Any:
        """The IPeer of a node; one that is always Unreachable when the configuration does not know the node."""
        if self.own is not None and node == self.own.node:
            return self.own
        peer = self._peers.get(node)
        if peer is None and node not in self._addresses:
            peer = RemotePeer(node, Address("", 0, 0), self.around)
            peer.leave("the configuration does not know it")
            return peer
        if peer is None:
            peer = self._peers[node] = RemotePeer(node, self._addresses[node], self.around)
            if self._closed:
                peer.close()
        return peer

    def is_away(self, node: str) -> bool:
        """Whether a node was not to be reached a moment ago."""
        peer = self._peers.get(node)
        return peer is not None and peer.away

    def _walls(self) -> list[float]:
        """Seconds that the wall clocks of the nodes that are connected are ahead of the monotonic clock here."""
        return [each.wall_ahead for each in self._peers.values() if each.wall_ahead is not None and each.connected]

    def behind(self) -> float:
        """Seconds that the clock here is behind the middle one, its own among them; 0 when it is not, or fewer than
        LEAST_CLOCKS others are known. Others are looked at once a second, the clock here always.
        """
        now = self.around.clock.seconds()
        own: float = self.around.wall() - now
        if now >= self._look_again or abs(own - self._own) > 0.1:
            walls = sorted([own, *self._walls()])
            self._middle = walls[(len(walls) - 1) // 2] if len(walls) > LEAST_CLOCKS else own
            self._own, self._look_again = own, now + 1.0
        return max(0.0, self._middle - own)

    def other_clock(self) -> float | None:
        """Seconds that the most advanced clock of another node is ahead of the one here; None when none is known, and
        there are others.
        """
        walls = self._walls()
        if not walls:
            alone = set(self._addresses) <= {self.own.node if self.own is not None else ""}
            return 0.0 if alone else None
        own: float = self.around.wall() - self.around.clock.seconds()
        return max(walls) - own

    def states(self) -> dict[str, str]:
        """Node -> up, away or idle, of all nodes that were asked."""
        return {
            node: "up" if peer.connected else "away" if peer.away else "idle"
            for node, peer in sorted(self._peers.items())
        }

    def close(self) -> Deferred[Any]:
        """End all connections; fires when they have ended."""
        self._closed = True
        return DeferredList([peer.close() for peer in self._peers.values()])

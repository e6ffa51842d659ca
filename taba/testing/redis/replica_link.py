"""A replica's connection with its master.

It introduces itself, asks to go on from where it stands, takes a snapshot when it must, and then applies the stream of
commands as it comes, transactions whole. A link that breaks, or is silent for repl-timeout, is made again at once and
then every second.

`LinkFaults` are the faults of a replica that a network does not give: a lag between receiving and applying, which also
delays acknowledgements, and a link that stays closed. What has been received and not yet applied when the replica is
promoted is lost.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any

import hiredis
from attrs import define, field
from twisted.internet.interfaces import IAddress
from twisted.internet.protocol import ClientFactory, Protocol
from twisted.python.failure import Failure

from taba.testing.redis.resp import pack

if TYPE_CHECKING:
    from taba.testing.redis.engine import Engine
    from taba.testing.redis.turns import Timer


@define(eq=False)
class LinkFaults:
    """`lag` is in seconds. `cut` closes the link, and keeps it closed."""

    lag: float = 0.0
    cut: bool = False


class _Connection(Protocol):
    """Brings the bytes of the master to the link, through the turns of the process."""

    def __init__(self, link: ReplicaLink, attempt: _Factory) -> None:
        self.link = link
        self.attempt = attempt

    def connectionMade(self) -> None:
        self.link.engine.turns.take(self.link.made, self)

    def dataReceived(self, data: bytes) -> None:
        self.link.engine.turns.take(self.link.received, self, data)

    def connectionLost(self, reason: Failure = Failure(Exception())) -> None:  # noqa: B008
        self.link.engine.turns.take(self.link.broke, self)


class _Factory(ClientFactory):
    noisy = False

    def __init__(self, link: ReplicaLink) -> None:
        self.link = link

    def buildProtocol(self, addr: IAddress | None) -> _Connection:
        return _Connection(self.link, self)

    def clientConnectionFailed(self, connector: Any, reason: Failure) -> None:
        self.link.engine.turns.take(self.link.failed, self)


@define(eq=False)
class ReplicaLink:
    """The link of `engine` with the master at `host` and `port`. `state` is as in ROLE: connect, connecting, handshake,
    sync or connected. `replid` and `offset` of the engine's history say from where to go on.
    """

    engine: Engine
    host: str
    port: int
    faults: LinkFaults
    state: str = field(default="connect", init=False)
    down_since: float | None = field(default=None, init=False)
    last_io: float = field(default=0.0, init=False)
    received_offset: int = field(default=0, init=False)
    _stopped: bool = field(default=False, init=False)
    _factory: _Factory | None = field(default=None, init=False)
    _connector: Any = field(default=None, init=False)
    _connection: _Connection | None = field(default=None, init=False)
    _reader: hiredis.Reader = field(factory=hiredis.Reader, init=False)
    _to_say: deque[list[bytes]] = field(factory=deque, init=False)
    _said: bytes = field(default=b"", init=False)
    _expected: tuple[str, int] = field(default=("", 0), init=False)
    """Id and offset of the snapshot that is on its way."""
    _transaction: list[list[bytes]] | None = field(default=None, init=False)
    _held: bytes = field(default=b"", init=False)
    """The bytes of a transaction that is not yet whole."""
    _late: deque[tuple[float, bytes]] = field(factory=deque, init=False)
    _late_timer: Timer | None = field(default=None, init=False)

    def is_up(self) -> bool:
        """Whether the stream comes in."""
        return self.state == "connected"

    # ------------------------------------------------------------------------------------------------ making the link

    def start(self) -> None:
        """Connect, unless it is connected, connecting or cut."""
        if self._stopped or self.faults.cut or self.state != "connect":
            return
        self.state = "connecting"
        self.last_io = self.engine.turns.seconds()
        self._factory = _Factory(self)
        timeout = self.engine.configuration.number("repl-timeout")
        self._connector = self.engine.connect(self.host, self.port, self._factory, timeout)

    def stop(self) -> None:
        """End the link for good; what was not applied is forgotten."""
        self._stopped = True
        self._drop()

    def cut(self) -> None:
        """Close the link; it stays closed as long as the faults say so."""
        self._drop()

    def every_second(self) -> None:
        """Acknowledge, notice silence, try again."""
        if self.state == "connected" and self._connection is not None:
            self.acknowledge()
        timeout = self.engine.configuration.number("repl-timeout")
        if self.state != "connect" and self.engine.turns.seconds() - self.last_io > timeout:
            self._drop()
        self.start()

    def _drop(self) -> None:
        connection, connector = self._connection, self._connector
        self._forget_connection()
        if connection is not None and connection.transport is not None:
            connection.transport.loseConnection()
        elif connector is not None:
            connector.disconnect()

    def _forget_connection(self) -> None:
        if self.state == "connected" or self.down_since is None:
            self.down_since = self.engine.turns.seconds()
        self._connection = self._connector = self._factory = None
        self.state = "connect"
        self._late.clear()
        if self._late_timer is not None:
            self._late_timer.cancel()
            self._late_timer = None
        self._transaction, self._held = None, b""

    def failed(self, factory: _Factory) -> None:
        """An attempt came to nothing; the next one follows within a second."""
        if factory is self._factory:
            self._forget_connection()

    def broke(self, connection: _Connection) -> None:
        """The connection has ended: try again at once."""
        if connection is self._connection:
            self._forget_connection()
            self.start()

    def made(self, connection: _Connection) -> None:
        """The connection stands: introduce ourselves."""
        if connection.attempt is not self._factory:
            return
        self._connection = connection
        self._reader = hiredis.Reader()
        self.state = "handshake"
        configuration = self.engine.configuration
        self._to_say = deque([[b"PING"]])
        password = configuration.text("masterauth")
        if password:
            name = configuration.text("masteruser")
            self._to_say.append([each.encode() for each in ("AUTH", name, password) if each])
        self._to_say.append([b"REPLCONF", b"listening-port", b"%d" % self.engine.port])
        self._to_say.append([b"REPLCONF", b"capa", b"eof", b"capa", b"psync2"])
        history = self.engine.history
        known = history.backlog is not None
        replid, offset = (history.replid, history.offset + 1) if known else ("?", -1)
        self._to_say.append([b"PSYNC", replid.encode(), b"%d" % offset])
        self._say_next()

    def _say_next(self) -> None:
        if self._to_say:
            argv = self._to_say.popleft()
            self._said = argv[0]
            self._say(argv)

    def _say(self, argv: list[bytes]) -> None:
        if self._connection is not None and self._connection.transport is not None:
            self._connection.transport.write(pack(argv))

    # --------------------------------------------------------------------------------------------------- what comes in

    def received(self, connection: _Connection, raw: bytes) -> None:
        """Take bytes of the master, now or after the lag."""
        if connection is not self._connection:
            return
        now = self.engine.turns.seconds()
        self.last_io = now
        if self.state == "connected" and (self.faults.lag or self._late):
            self._late.append((now + self.faults.lag, raw))
            self._await_late()
        else:
            self._read(raw)

    def _await_late(self) -> None:
        if self._late_timer is None and self._late:
            delay = self._late[0][0] - self.engine.turns.seconds()
            self._late_timer = self.engine.turns.later(delay, self._read_late)

    def _read_late(self) -> None:
        self._late_timer = None
        connection = self._connection
        while self._connection is connection and self._late and self._late[0][0] <= self.engine.turns.seconds():
            self._read(self._late.popleft()[1])
        self._await_late()

    def _read(self, raw: bytes) -> None:
        connection = self._connection
        self._reader.feed(raw)
        while self._connection is connection and (read := self._reader.gets()) is not False:
            if self.state == "connected":
                self._follow(read)
            elif self.state == "sync":
                self._take_snapshot(read)
            else:
                self._answered(read)

    def _answered(self, answer: Any) -> None:
        """Go on with the introduction. A master that wants a password says so to PING; it may know no REPLCONF."""
        if isinstance(answer, hiredis.ReplyError):
            asks_password = self._said == b"PING" and str(answer).startswith("NOAUTH")
            if not asks_password and self._said != b"REPLCONF":
                self._drop()
                return
        elif self._said == b"PSYNC":
            word, replid, *offset = answer.decode().split()
            if word == "FULLRESYNC":
                self.state = "sync"
                self._expected = (replid, int(offset[0]))
            else:
                self._continued(replid)
            return
        self._say_next()

    def _continued(self, replid: str) -> None:
        history = self.engine.history
        if replid != history.replid:
            history.shift(replid)
            self.engine.replicas.drop_all()
        self._up()

    def _take_snapshot(self, snapshot: bytes) -> None:
        replid, offset = self._expected
        self.engine.replicas.drop_all()
        self.engine.load_snapshot(snapshot)
        self.engine.history.begin(replid, offset)
        self.engine.stream_db = 0
        self._up()

    def _up(self) -> None:
        self.state = "connected"
        self.down_since = None
        self.acknowledge()

    def acknowledge(self) -> None:
        """Tell the master how far we are."""
        self._say([b"REPLCONF", b"ACK", b"%d" % self.engine.history.offset])

    def _follow(self, argv: list[bytes]) -> None:
        """Take one command of the stream."""
        name = argv[0].upper()
        raw = pack(argv)
        if self._transaction is not None:
            self._held += raw
            if name != b"EXEC":
                self._transaction.append(argv)
                return
            commands, self._transaction = self._transaction, None
            self.engine.apply(self.engine.stream_db, commands)
            raw, self._held = self._held, b""
        elif name == b"MULTI":
            self._transaction, self._held = [], raw
            return
        elif name == b"SELECT":
            self.engine.stream_db = int(argv[1])
        elif name == b"REPLCONF":
            self.acknowledge()
        elif name != b"PING":
            self.engine.apply(self.engine.stream_db, [argv])
        self.engine.replicas.forward(raw)

"""The replicas of a server, as the server sees them: who follows, from where, and what each has acknowledged.

A replica asks to go on from where it stands (PSYNC); it gets the bytes that it lacks, or a snapshot of everything, and
from then on the stream of commands. It acknowledges its offset every second, and when it is asked.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import define, field

from taba.testing.redis.command import Call, command, integer, table
from taba.testing.redis.resp import NO_REPLY, OK, Reply, ReplyError, Status, encode, pack
from taba.testing.redis.session import Session
from taba.testing.redis.snapshots import take_snapshot

if TYPE_CHECKING:
    from taba.testing.redis.engine import Engine

PING = pack([b"PING"])
GET_ACK = pack([b"REPLCONF", b"GETACK", b"*"])


@define(eq=False)
class Replica:
    """One replica. `online` says whether it gets the stream."""

    session: Session
    port: int = 0
    online: bool = False
    acknowledged: int = 0
    acknowledged_at: float = 0.0

    def host(self) -> str:
        """The address it came from."""
        return self.session.address.rpartition(":")[0]


@define(eq=False)
class Replicas:
    """All replicas of `engine`, oldest first."""

    engine: Engine
    followers: list[Replica] = field(factory=list, init=False)
    _db: int | None = field(default=None, init=False)
    """The database that the stream has selected; None when the next command has to say."""
    _pinged: float = field(default=0.0, init=False)
    _to_ask: bool = field(default=False, init=False)

    def online(self) -> list[Replica]:
        """Those that get the stream."""
        return [each for each in self.followers if each.online]

    def lag(self, replica: Replica) -> int:
        """Seconds since a replica acknowledged anything."""
        return int(self.engine.turns.seconds() - replica.acknowledged_at)

    def acknowledged_by(self, offset: int) -> int:
        """How many have acknowledged an offset."""
        return sum(each.online and each.acknowledged >= offset for each in self.followers)

    def good(self) -> int:
        """How many have acknowledged something within min-replicas-max-lag."""
        most = self.engine.configuration.number("min-replicas-max-lag")
        return sum(self.lag(each) <= most for each in self.online())

    def enough(self) -> bool:
        """Whether min-replicas-to-write lets writes in."""
        least = self.engine.configuration.number("min-replicas-to-write")
        most = self.engine.configuration.number("min-replicas-max-lag")
        return not (least and most) or self.engine.is_replica() or self.good() >= least

    # ------------------------------------------------------------------------------------------------------ the stream

    def send(self, db: int, commands: list[list[bytes]]) -> None:
        """Send commands of one database, several as one transaction."""
        if self.engine.history.backlog is None:
            return
        selection = [] if self._db == db else [[b"SELECT", b"%d" % db]]
        self._db = db
        atomic = commands if len(commands) == 1 else [[b"MULTI"], *commands, [b"EXEC"]]
        self.forward(b"".join(pack(each) for each in [*selection, *atomic]))

    def forward(self, raw: bytes) -> None:
        """Let history and replicas go on by these bytes."""
        self.engine.history.feed(raw)
        for replica in self.online():
            replica.session.send_bytes(raw)

    def select_anew(self) -> None:
        """The next command has to name its database."""
        self._db = None

    def selected_db(self) -> int:
        """The database of the last command in the stream."""
        return self._db or 0

    def ask_for_acknowledgements(self) -> None:
        """Ask all replicas for their offsets once the command under way is done, so that nobody waits for the offset
        of the question.
        """
        self._to_ask = True

    def after_command(self) -> None:
        """Ask what is to be asked."""
        asking, self._to_ask = self._to_ask, False
        if asking and self.online():
            self.forward(GET_ACK)

    def every_second(self) -> None:
        """Ping, and drop replicas that have been silent for repl-timeout."""
        now = self.engine.turns.seconds()
        period = self.engine.configuration.number("repl-ping-replica-period")
        if not self.engine.is_replica() and self.online() and now - self._pinged >= period:
            self._pinged = now
            self.forward(PING)
        timeout = self.engine.configuration.number("repl-timeout")
        for replica in self.online():
            if now - replica.acknowledged_at > timeout:
                replica.session.end()
                self.forget(replica)

    def drop_all(self) -> None:
        """Close all their connections: the history has another id, or another content."""
        for replica in list(self.followers):
            replica.session.end()
        self.followers.clear()

    def forget(self, replica: Replica) -> None:
        """A replica is gone."""
        if replica in self.followers:
            self.followers.remove(replica)

    # ------------------------------------------------------------------------------------------------------- joining

    def record_of(self, session: Session) -> Replica:
        """What is known of a replica that is introducing itself."""
        if session.replica is None:
            session.replica = Replica(session)
        return session.replica

    def join(self, session: Session, replid: str, offset: int) -> None:
        """Serve a PSYNC."""
        replica, history = self.record_of(session), self.engine.history
        if replica in self.followers:
            return
        if history.continues(replid, offset):
            session.send_bytes(encode(Status(f"CONTINUE {history.replid}")) + history.since(offset))
            replica.acknowledged = offset - 1
        else:
            if history.backlog is None:
                history.begin(self.engine.new_id())
            head = encode(Status(f"FULLRESYNC {history.replid} {history.offset}"))
            session.send_bytes(head + encode(take_snapshot(self.engine)))
            replica.acknowledged = history.offset
            self.select_anew()
        replica.online = True
        replica.acknowledged_at = self.engine.turns.seconds()
        self.followers.append(replica)


def replconf(call: Call) -> Reply:
    """REPLCONF option value ...: what a replica says of itself."""
    session, replicas = call.session, call.engine.replicas
    if len(call.argv) % 2 == 0:
        raise ReplyError("ERR syntax error")
    option, value = call.argv[1].lower(), call.argv[2]
    if option == b"ack":
        replica = session.replica
        if replica is not None:
            replica.acknowledged = max(replica.acknowledged, integer(value))
            replica.acknowledged_at = call.engine.turns.seconds()
            call.engine.blocked.acknowledged()
        return NO_REPLY
    if option == b"listening-port":
        replicas.record_of(session).port = integer(value)
    elif option not in (b"capa", b"ip-address"):
        raise ReplyError(f"ERR Unrecognized REPLCONF option: {option.decode('utf-8', 'surrogateescape')}")
    return OK


def psync(call: Call) -> Reply:
    """PSYNC replid offset: from now on this is a replica."""
    engine = call.engine
    if engine.link is not None and not engine.link.is_up():
        raise ReplyError("NOMASTERLINK Can't SYNC while not connected with my master")
    engine.replicas.join(call.session, call.argv[1].decode("latin-1"), integer(call.argv[2]))
    return NO_REPLY


COMMANDS = table(
    [
        command("REPLCONF", replconf, -1, "loading stale noscript"),
        command("PSYNC", psync, -3, "noscript no_multi"),
    ]
)

"""One connection of a client, as a server sees it: what it has sent, and what it is in the middle of.

A session reads commands, hands them to its host one by one, and writes the replies in order. One that is blocked reads
on and runs nothing until it is unblocked. It knows no transport: `write` and `close` are given.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

import hiredis
from attrs import define, field

from taba.testing.redis.keyspace import Keyspace
from taba.testing.redis.resp import NO_REPLY, Reply, ReplyError, encode

if TYPE_CHECKING:
    from taba.testing.redis.access import User
    from taba.testing.redis.replicas import Replica
    from taba.testing.redis.stream_reads import Wanted


class Host(Protocol):
    """What runs the commands of sessions."""

    def perform(self, session: Session, argv: list[bytes]) -> Reply:
        """Run one command."""

    def ended(self, session: Session) -> None:
        """The connection is gone."""


class Waits(Protocol):
    """Where blocked sessions are kept."""

    def for_streams(self, session: Session, keyspace: Keyspace, wanted: Wanted, timeout: float) -> None:
        """Block a session until a stream has something for it."""

    def for_replicas(self, session: Session, count: int, offset: int, timeout: float) -> None:
        """Block a session until so many replicas have acknowledged an offset."""

    def forget(self, session: Session) -> None:
        """The session is blocked no more."""


@define(eq=False, repr=False)
class Session:
    """One client. `number` is its CLIENT ID; `address` is host:port."""

    host: Host
    number: int
    address: str
    user: User | None
    """Whose rights it has; None where rights do not exist."""
    _write: Callable[[bytes], None]
    _close: Callable[[], None]
    waits: Waits | None = None
    authenticated: bool = False
    name: bytes = b""
    db: int = 0
    queue: list[list[bytes]] | None = field(default=None, init=False)
    """The commands of a transaction that has begun."""
    queue_failed: bool = field(default=False, init=False)
    """A command of it was refused, so that EXEC is to refuse it whole."""
    watch_spoiled: bool = field(default=False, init=False)
    watched: dict[tuple[Keyspace, bytes], bool] = field(factory=dict, init=False)
    """Watched keys, and whether each had expired already when it was first watched."""
    channels: dict[bytes, None] = field(factory=dict, init=False)
    patterns: dict[bytes, None] = field(factory=dict, init=False)
    write_offset: int = field(default=0, init=False)
    """The replication offset of its last write, for WAIT."""
    replica: Replica | None = field(default=None, init=False)
    """Set when the client is a replica."""
    blocked: bool = field(default=False, init=False)
    ending: bool = field(default=False, init=False)
    """No command of it runs any more."""
    ends_after_reply: bool = field(default=False, init=False)
    """The connection closes behind the reply to the command that runs now."""
    _reader: hiredis.Reader = field(factory=hiredis.Reader, init=False)
    _commands: deque[list[bytes]] = field(factory=deque, init=False)
    _running: bool = field(default=False, init=False)

    def kind(self) -> str:
        """The type by which CLIENT KILL chooses."""
        if self.replica is not None:
            return "replica"
        return "pubsub" if self.channels or self.patterns else "normal"

    # -------------------------------------------------------------------------------------------------------- input

    def receive(self, received: bytes) -> None:
        """Take bytes of the client, and run the commands that are complete."""
        if self.ending:
            return
        self._reader.feed(received)
        try:
            while (read := self._reader.gets()) is not False:
                self._take(read)
        except hiredis.ProtocolError as error:
            self._commands.append([])  # the commands before it run first
            self.run()
            self.send(ReplyError(f"ERR Protocol error: {error}"))
            self.end()
            return
        self.run()

    def _take(self, read: object) -> None:
        if not isinstance(read, list) or not all(isinstance(word, bytes) for word in read):
            raise hiredis.ProtocolError("expected an array of bulk strings")
        if read:
            self._commands.append(read)

    def run(self) -> None:
        """Run the commands that wait, until one blocks."""
        if self._running:
            return
        self._running = True
        try:
            while self._commands and not self.blocked and not self.ending:
                argv = self._commands.popleft()
                if argv:
                    self.send(self.host.perform(self, argv))
                if self.ends_after_reply:
                    self.end()
        finally:
            self._running = False

    def lost(self) -> None:
        """The connection has ended."""
        self.ending = True
        self._commands.clear()
        self.unblock(NO_REPLY)
        self.host.ended(self)

    # -------------------------------------------------------------------------------------------------------- output

    def send(self, reply: Reply) -> None:
        """Write a reply, or a message."""
        if reply is not NO_REPLY:
            self._write(encode(reply))

    def send_bytes(self, raw: bytes) -> None:
        """Write bytes as they are: the stream of commands of a replica."""
        self._write(raw)

    def end(self) -> None:
        """Close the connection behind what was written."""
        if not self.ending:
            self.ending = True
            self._commands.clear()
            self.unblock(NO_REPLY)
            self._close()

    # ------------------------------------------------------------------------------------------------------ blocking

    def wait_for_streams(self, keyspace: Keyspace, wanted: Wanted, timeout: float) -> None:
        """Block until a stream has something, or for `timeout` seconds; 0 is for ever."""
        assert self.waits is not None
        self.blocked = True
        self.waits.for_streams(self, keyspace, wanted, timeout)

    def wait_for_replicas(self, count: int, offset: int, timeout: float) -> None:
        """Block until `count` replicas have acknowledged `offset`, or for `timeout` seconds; 0 is for ever."""
        assert self.waits is not None
        self.blocked = True
        self.waits.for_replicas(self, count, offset, timeout)

    def unblock(self, reply: Reply) -> None:
        """Answer a blocked command; what waits behind it is for the caller to run."""
        if self.blocked:
            self.blocked = False
            assert self.waits is not None
            self.waits.forget(self)
            self.send(reply)

    def has_commands(self) -> bool:
        """Whether commands wait."""
        return bool(self._commands)

    # ------------------------------------------------------------------------------------------------------- WATCH

    def watch(self, keyspace: Keyspace, key: bytes) -> None:
        """Let the next EXEC fail when a key changes before it."""
        if (keyspace, key) not in self.watched:
            self.watched[keyspace, key] = keyspace.is_expired(key)
            keyspace.watch(key, self)

    def spoil(self, keyspace: Keyspace, key: bytes) -> None:
        """A watched key has changed."""
        if self.watched.get((keyspace, key)) and key not in keyspace.values:
            self.watched[keyspace, key] = False  # it had expired when it was watched, and is removed only now
        else:
            self.watch_spoiled = True

    def watch_failed(self) -> bool:
        """Whether a watched key has changed or expired."""
        return self.watch_spoiled or any(
            keyspace.is_expired(key) for (keyspace, key), had_expired in self.watched.items() if not had_expired
        )

    def unwatch(self) -> None:
        """Watch nothing any more."""
        for keyspace, key in self.watched:
            keyspace.unwatch(key, self)
        self.watched.clear()
        self.watch_spoiled = False

    def end_transaction(self) -> None:
        """The transaction is over, whatever became of it."""
        self.queue = None
        self.queue_failed = False
        self.unwatch()

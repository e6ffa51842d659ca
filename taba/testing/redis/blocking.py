"""Sessions that wait: for an entry of a stream (XREAD BLOCK), or for replicas (WAIT).

A blocked session blocks nobody else. When the instance becomes a replica, or one of another master, all of them are
told UNBLOCKED and closed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from attrs import define, field, frozen

from taba.testing.redis.command import Call, command, integer, table
from taba.testing.redis.keyspace import Keyspace
from taba.testing.redis.resp import NIL_ARRAY, NO_REPLY, Reply, ReplyError
from taba.testing.redis.session import Session
from taba.testing.redis.stream_reads import Wanted
from taba.testing.redis.turns import Timer, Turns

DEMOTED = (
    "UNBLOCKED force unblock from blocking operation, instance state changed (master -> replica?)"
)
_ON_REPLICA = (
    "ERR WAIT cannot be used with replica instances. Please also note that since Redis 4.0 if a replica is configured "
    "to be writable (which is not the default) writes to replicas are just local and are not propagated."
)
_Place: TypeAlias = tuple[Keyspace, bytes]


@frozen(eq=False)
class _Reading:
    keyspace: Keyspace
    wanted: Wanted


@define(eq=False)
class Blocked:
    """The blocked sessions of a server. `acknowledged_by` says how many replicas have acknowledged an offset."""

    turns: Turns
    acknowledged_by: Callable[[int], int]
    _timers: dict[Session, Timer] = field(factory=dict, init=False)
    _readings: dict[Session, _Reading] = field(factory=dict, init=False)
    _readers: dict[_Place, dict[Session, None]] = field(factory=dict, init=False)
    _ready: dict[_Place, None] = field(factory=dict, init=False)
    _for_replicas: dict[Session, tuple[int, int]] = field(factory=dict, init=False)

    def __len__(self) -> int:
        return len(self._readings) + len(self._for_replicas)

    # ------------------------------------------------------------------------------------------------------- waiting

    def for_streams(self, session: Session, keyspace: Keyspace, wanted: Wanted, timeout: float) -> None:
        """Block a session until a stream has something for it."""
        self._readings[session] = _Reading(keyspace, wanted)
        for key in wanted.places:
            self._readers.setdefault((keyspace, key), {})[session] = None
        self._time_out(session, timeout, lambda: NIL_ARRAY)

    def for_replicas(self, session: Session, count: int, offset: int, timeout: float) -> None:
        """Block a session until so many replicas have acknowledged an offset."""
        self._for_replicas[session] = (count, offset)
        self._time_out(session, timeout, lambda: self.acknowledged_by(offset))

    def forget(self, session: Session) -> None:
        """The session is blocked no more."""
        timer = self._timers.pop(session, None)
        if timer is not None:
            timer.cancel()
        self._for_replicas.pop(session, None)
        reading = self._readings.pop(session, None)
        for key in reading.wanted.places if reading is not None else ():
            assert reading is not None
            readers = self._readers[reading.keyspace, key]
            del readers[session]
            if not readers:
                del self._readers[reading.keyspace, key]

    def _time_out(self, session: Session, timeout: float, reply: Callable[[], Reply]) -> None:
        if timeout:
            self._timers[session] = self.turns.later(timeout, lambda: self._release(session, reply()))

    def _release(self, session: Session, reply: Reply) -> None:
        session.unblock(reply)
        if session.has_commands():
            self.turns.later(0, session.run)

    # ------------------------------------------------------------------------------------------------------- serving

    def touched(self, keyspace: Keyspace, key: bytes) -> None:
        """A key has changed."""
        if (keyspace, key) in self._readers:
            self._ready[keyspace, key] = None

    def serve(self) -> None:
        """Answer those whose streams have changed; called between commands, never inside one."""
        while self._ready:
            place = next(iter(self._ready))
            del self._ready[place]
            for session in list(self._readers.get(place, ())):
                part = self._readings[session].wanted.of(*place)
                if part is not None:
                    self._release(session, [part])

    def acknowledged(self) -> None:
        """A replica has acknowledged something."""
        for session, (count, offset) in list(self._for_replicas.items()):
            reached = self.acknowledged_by(offset)
            if reached >= count:
                self._release(session, reached)

    def drop_all(self) -> None:
        """The instance has another role, or master: tell everybody, and close their connections."""
        for session in [*self._readings, *self._for_replicas]:
            session.unblock(ReplyError(DEMOTED))
            session.end()


def wait(call: Call) -> Reply:
    """WAIT replicas milliseconds: how many replicas have acknowledged the session's last write."""
    engine, session = call.engine, call.session
    if engine.is_replica():
        raise ReplyError(_ON_REPLICA)
    count = integer(call.argv[1])
    timeout = integer(call.argv[2], "ERR timeout is not an integer or out of range")
    if timeout < 0:
        raise ReplyError("ERR timeout is negative")
    reached = engine.replicas.acknowledged_by(session.write_offset)
    if reached >= count or not call.may_block:
        return reached
    session.wait_for_replicas(count, session.write_offset, timeout / 1000)
    engine.replicas.ask_for_acknowledgements()
    return NO_REPLY


COMMANDS = table([command("WAIT", wait, 3, "noscript")])

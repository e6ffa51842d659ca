"""SUBSCRIBE, PSUBSCRIBE, PUBLISH: messages to those who listen now.

Messages are not kept. What is published on a master is heard by those who listen to its replicas as well. SUBSCRIBE
inside MULTI, which Redis allows, is refused.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from attrs import define, field

from taba.testing.redis.command import Call, command, table
from taba.testing.redis.resp import NO_REPLY, Reply
from taba.testing.redis.scanning import glob
from taba.testing.redis.session import Session


@define(eq=False)
class Channels:
    """Who listens to what."""

    _listeners: dict[bytes, dict[Session, None]] = field(factory=dict, init=False)
    _pattern_listeners: dict[bytes, dict[Session, None]] = field(factory=dict, init=False)

    def publish(self, channel: bytes, message: bytes) -> int:
        """Send a message; how many got it."""
        told = 0
        for session in list(self._listeners.get(channel, ())):
            session.send([b"message", channel, message])
            told += 1
        for pattern, sessions in list(self._pattern_listeners.items()):
            if glob(pattern)(channel):
                for session in list(sessions):
                    session.send([b"pmessage", pattern, channel, message])
                    told += 1
        return told

    def subscribe(self, session: Session, names: Iterable[bytes]) -> None:
        """Let a session hear channels, and tell it so."""
        for name in names:
            session.channels[name] = None
            self._listeners.setdefault(name, {})[session] = None
            session.send([b"subscribe", name, _count(session)])

    def subscribe_patterns(self, session: Session, patterns: Iterable[bytes]) -> None:
        """Let a session hear the channels of patterns, and tell it so."""
        for pattern in patterns:
            session.patterns[pattern] = None
            self._pattern_listeners.setdefault(pattern, {})[session] = None
            session.send([b"psubscribe", pattern, _count(session)])

    def unsubscribe(self, session: Session, names: Sequence[bytes]) -> None:
        """Let a session hear channels no more, all when none is named, and tell it so."""
        leaving = names or list(session.channels)
        for name in leaving:
            self._leave(self._listeners, session.channels, session, name)
            session.send([b"unsubscribe", name, _count(session)])
        if not leaving:
            session.send([b"unsubscribe", None, _count(session)])

    def unsubscribe_patterns(self, session: Session, patterns: Sequence[bytes]) -> None:
        """Let a session hear the channels of patterns no more, of all when none is named, and tell it so."""
        leaving = patterns or list(session.patterns)
        for pattern in leaving:
            self._leave(self._pattern_listeners, session.patterns, session, pattern)
            session.send([b"punsubscribe", pattern, _count(session)])
        if not leaving:
            session.send([b"punsubscribe", None, _count(session)])

    def forget(self, session: Session) -> None:
        """A session is gone."""
        for name in list(session.channels):
            self._leave(self._listeners, session.channels, session, name)
        for pattern in list(session.patterns):
            self._leave(self._pattern_listeners, session.patterns, session, pattern)

    def names(self) -> list[bytes]:
        """The channels that somebody listens to."""
        return list(self._listeners)

    def listening(self, name: bytes) -> int:
        """How many listen to a channel."""
        return len(self._listeners.get(name, ()))

    @staticmethod
    def _leave(
        table_of: dict[bytes, dict[Session, None]], own: dict[bytes, None], session: Session, name: bytes
    ) -> None:
        own.pop(name, None)
        sessions = table_of.get(name)
        if sessions is not None:
            sessions.pop(session, None)
            if not sessions:
                del table_of[name]


def _count(session: Session) -> int:
    return len(session.channels) + len(session.patterns)


def subscribe(call: Call) -> Reply:
    """SUBSCRIBE channel ..."""
    call.engine.channels.subscribe(call.session, call.argv[1:])
    return NO_REPLY


def psubscribe(call: Call) -> Reply:
    """PSUBSCRIBE pattern ..."""
    call.engine.channels.subscribe_patterns(call.session, call.argv[1:])
    return NO_REPLY


def unsubscribe(call: Call) -> Reply:
    """UNSUBSCRIBE [channel ...]"""
    call.engine.channels.unsubscribe(call.session, call.argv[1:])
    return NO_REPLY


def punsubscribe(call: Call) -> Reply:
    """PUNSUBSCRIBE [pattern ...]"""
    call.engine.channels.unsubscribe_patterns(call.session, call.argv[1:])
    return NO_REPLY


def publish(call: Call) -> Reply:
    """PUBLISH channel message: how many got it."""
    told = call.engine.channels.publish(call.argv[1], call.argv[2])
    call.engine.spread(call.keyspace.number, call.argv)
    return told


def pubsub_channels(call: Call) -> Reply:
    """PUBSUB CHANNELS [pattern]."""
    matches = glob(call.argv[2]) if len(call.argv) > 2 else None
    return [name for name in call.engine.channels.names() if matches is None or matches(name)]


def pubsub_numsub(call: Call) -> Reply:
    """PUBSUB NUMSUB [channel ...]."""
    return [each for name in call.argv[2:] for each in (name, call.engine.channels.listening(name))]


COMMANDS = table(
    [
        command("SUBSCRIBE", subscribe, -2, "pubsub noscript loading stale no_multi"),
        command("PSUBSCRIBE", psubscribe, -2, "pubsub noscript loading stale no_multi"),
        command("UNSUBSCRIBE", unsubscribe, -1, "pubsub noscript loading stale no_multi"),
        command("PUNSUBSCRIBE", punsubscribe, -1, "pubsub noscript loading stale no_multi"),
        command("PUBLISH", publish, 3, "loading stale"),
        command("PUBSUB|CHANNELS", pubsub_channels, -2, "loading stale"),
        command("PUBSUB|NUMSUB", pubsub_numsub, -2, "loading stale"),
    ]
)

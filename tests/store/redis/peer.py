"""Scripted servers that speak the protocol of Redis, for tests of the connections: they keep no data.

They run on the nodes of a simulated world. `ScriptedRedis` is a server with a role and a lineage; `ScriptedSentinel`
names masters. Both remember what they were asked, and can hang: take connections and commands, and answer when they go
on. Anything else a test wants said stands in `replies`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from attrs import frozen
from hiredis import Reader
from twisted.application.service import Service
from twisted.internet.protocol import Factory, Protocol

from taba.store.redis.access import Address
from taba.testing import Node, Process

LINEAGE = "a" * 32
OTHER_LINEAGE = "b" * 32
SILENCE = object()
"""As a reply: none."""


@frozen
class Status:
    """A simple string."""

    text: str


@frozen
class Error:
    """An error reply."""

    text: str


def encode(reply: Any) -> bytes:
    """A reply as it goes over the wire."""
    if isinstance(reply, Status):
        return b"+%s\r\n" % reply.text.encode()
    if isinstance(reply, Error):
        return b"-%s\r\n" % reply.text.encode()
    if reply is None:
        return b"$-1\r\n"
    if isinstance(reply, int):
        return b":%d\r\n" % reply
    if isinstance(reply, bytes):
        return b"$%d\r\n%s\r\n" % (len(reply), reply)
    return b"*%d\r\n%s" % (len(reply), b"".join(encode(each) for each in reply))


class Conversation(Protocol):
    """One connection to a scripted server."""

    def __init__(self, server: Scripted) -> None:
        self.server = server
        self.reader = Reader()
        self.accepted = not server.password
        self.name = b""
        self.subscribed = False
        self.commands: list[bytes] = []
        """The first words of what came."""

    def connectionMade(self) -> None:
        """Called by Twisted."""
        self.server.conversations.append(self)
        self.server.connections += 1

    def dataReceived(self, data: bytes) -> None:
        """Called by Twisted."""
        self.reader.feed(data)
        self.go_on()

    def go_on(self) -> None:
        """Answer what has come, unless the server hangs."""
        while not self.server.hung and (command := self.reader.gets()) is not False:
            self.commands.append(command[0])
            reply = self.server.reply_to(self, command)
            if reply is not SILENCE:
                self.say(reply)

    def say(self, reply: Any) -> None:
        """Write a reply."""
        assert self.transport is not None
        self.transport.write(encode(reply))

    def connectionLost(self, reason: object = None) -> None:
        """Called by Twisted."""
        self.server.conversations.remove(self)


class Scripted(Service):
    """A server of scripted replies. `replies` has them by command, in capitals with its arguments; there is one for
    each of the other commands that every connection begins with.
    """

    def __init__(self) -> None:
        self.password: tuple[bytes, ...] = ()
        self.replies: dict[str, Any] = {}
        self.hung = False
        self.connections = 0
        self.asked: list[list[bytes]] = []
        self.conversations: list[Conversation] = []
        self.node: Node | None = None

    def on(self, node: Node, port: int = 6379) -> Address:
        """Start it on a node; where it listens."""
        self.node = node
        self.conversations.clear()

        def start(process: Process) -> Service:
            process.reactor.listenTCP(port, Factory.forProtocol(lambda: Conversation(self)))
            return Service()

        node.start(start)
        return Address(node.name, port)

    def reply_to(self, conversation: Conversation, command: list[bytes]) -> Any:
        """To one command."""
        self.asked.append(command)
        words = b" ".join(command).decode("utf-8", "replace")
        if words in self.replies and (conversation.accepted or command[0] == b"AUTH"):
            return self.replies[words]
        if command[0] == b"AUTH":
            conversation.accepted = tuple(command[1:]) == self.password
            wrong = Error("WRONGPASS invalid username-password pair or user is disabled.")
            return Status("OK") if conversation.accepted else wrong
        if not conversation.accepted:
            return Error("NOAUTH Authentication required.")
        return self.usual(conversation, words)

    def usual(self, conversation: Conversation, words: str) -> Any:
        """What is answered when `replies` has nothing."""
        return Status("PONG") if words == "PING" else Error(f"ERR unknown command '{words.split()[0]}'")

    def go_on(self) -> None:
        """Hang no longer."""
        self.hung = False
        for each in list(self.conversations):
            each.go_on()

    def commands(self, word: str) -> int:
        """How often a command was asked for."""
        return sum(each[0] == word.encode() for each in self.asked)


class ScriptedRedis(Scripted):
    """A master, or, with another `role`, a replica."""

    def __init__(self, lineage: str = LINEAGE, role: str = "master") -> None:
        super().__init__()
        self.lineage = lineage
        self.role = role
        self.names: list[str] = []
        self.replicas: Mapping[str, str] = {}

    def usual(self, conversation: Conversation, words: str) -> Any:
        """See `Scripted`."""
        if words == "ROLE":
            return [self.role.encode(), 0, []]
        if words == "INFO replication":
            rows = [f"slave{i}:ip={each},port=6379,state={self.replicas[each]}" for i, each in enumerate(self.replicas)]
            lines = ["# Replication", f"role:{self.role}", *rows, f"master_replid:{self.lineage}12345678"]
            return ("\r\n".join([*lines, f"master_replid2:{'c' * 40}"]) + "\r\n").encode()
        if words.startswith("CLIENT SETNAME "):
            self.names.append(words.split()[-1])
            return Status("OK")
        if words.startswith("ECHO "):
            return words[5:].encode()
        return super().usual(conversation, words)


class ScriptedSentinel(Scripted):
    """Names the masters in `masters`."""

    def __init__(self, **masters: Address) -> None:
        super().__init__()
        self.masters = dict(masters)
        self.sentinels = 3
        """How many there are, as it says."""

    def usual(self, conversation: Conversation, words: str) -> Any:
        """See `Scripted`."""
        if words.startswith("SENTINEL GET-MASTER-ADDR-BY-NAME "):
            named = self.masters.get(words.split()[-1])
            return None if named is None else [named.host.encode(), str(named.port).encode()]
        if words == "SENTINEL MASTERS":
            others = str(self.sentinels - 1).encode()
            return [[b"name", name.encode(), b"num-other-sentinels", others] for name in self.masters]
        if words == "SUBSCRIBE +switch-master":
            conversation.subscribed = True
            return [b"subscribe", b"+switch-master", 1]
        return super().usual(conversation, words)

    def switch(self, shard: str, master: Address) -> None:
        """Name another master, and announce it."""
        before = self.masters.get(shard, master)
        self.masters[shard] = master
        text = f"{shard} {before.host} {before.port} {master.host} {master.port}".encode()
        for each in self.conversations:
            if each.subscribed:
                each.say([b"message", b"+switch-master", text])

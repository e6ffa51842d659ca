"""The same commands on the in-memory Redis and on a real one, and their replies byte for byte.

A script is lines of a small language, one command each, quoted as in a shell with `\\x00` escapes:

    SET key value           runs on connection a; the raw bytes of the reply are compared
    b> GET key              runs on connection b
    ~ TIME                  only the shape of the reply is compared: types and lengths of arrays
    % SMEMBERS key          the elements of the array are compared in any order
    @ INFO replication      the names in lines of `name:value` are compared
    b> & XREAD BLOCK 0 ...  is sent; its reply is read, and compared, by `b> <`
    b> <                    reads a reply that is owed
    ! blocked 1             waits until so many clients are blocked
    ! sleep 0.03            lets time pass
    ! up                    waits until the replica of a `Pair` has its link, and its master knows it

In a pair, connections of capital letters lead to the replica.

`Peer` is one of the two servers: `FakePeer` runs in a world of its own, `RealPeer` talks to a `redis-server` over a
plain blocking socket.
"""

from __future__ import annotations

import shlex
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO, Protocol

import hiredis
from attrs import define, field, frozen
from twisted.internet.protocol import ClientFactory
from twisted.internet.protocol import Protocol as TwistedProtocol

from taba.testing import World
from taba.testing.redis import FunctionLibrary, RedisServer

CONFIGURATION = {"appendonly": "yes", "appendfsync": "everysec", "save": "", "maxmemory-policy": "noeviction"}
"""What both servers are started with."""
PATIENCE = 60.0  # seconds


@frozen
class Step:
    """One line of a script."""

    connection: str
    what: str
    argv: list[bytes]
    compare: str = "exact"
    verb: str = "run"


def parse(script: str) -> list[Step]:
    """The steps of a script."""
    return [_parse_line(line.strip()) for line in script.splitlines() if line.strip()]


def _parse_line(line: str) -> Step:
    what, connection, compare, verb = line, "a", "exact", "run"
    if line[1:2] == ">":
        connection, line = line[0], line[2:].strip()
    if line[:1] in "~%@":
        compare, line = {"~": "shape", "%": "sorted", "@": "names"}[line[0]], line[1:].strip()
    if line[:1] in "&<!":
        verb, line = {"&": "send", "<": "receive", "!": "wait"}[line[0]], line[1:].strip()
    return Step(connection, what, [unescape(word) for word in shlex.split(line)], compare, verb)


def unescape(word: str) -> bytes:
    """A word of a script as bytes."""
    return word.encode("latin-1").decode("unicode_escape").encode("latin-1") if "\\" in word else word.encode()


def pack(argv: Sequence[bytes]) -> bytes:
    """A command as clients send it."""
    packed: bytes = hiredis.pack_command(tuple(argv))  # type: ignore[arg-type]
    return packed


class Peer(Protocol):
    """A server under test."""

    def send(self, connection: str, argv: Sequence[bytes]) -> None:
        """Send a command on a connection, which is made when it is new."""

    def receive(self, connection: str) -> bytes:
        """The raw bytes of the next reply; b"closed" when the connection has ended."""

    def sleep(self, seconds: float) -> None:
        """Let time pass."""


def run(peer: Peer, steps: Sequence[Step]) -> Iterator[tuple[Step, bytes]]:
    """Run a script; the steps that have replies, with them."""
    for step in steps:
        if step.verb == "wait":
            _wait(peer, step.argv)
            continue
        if step.verb != "receive":
            peer.send(step.connection, step.argv)
        if step.verb != "send":
            yield step, peer.receive(step.connection)


def _wait(peer: Peer, argv: Sequence[bytes]) -> None:
    if argv[0] == b"sleep":
        peer.sleep(float(argv[1]))
        return
    if argv[0] == b"up":
        _wait_for(peer, "UP", b"replication", b"master_link_status:up\r\n")
        _wait_for(peer, "up", b"replication", b"state=online")
    else:
        _wait_for(peer, "!", b"clients", b"blocked_clients:%s\r\n" % argv[1])


def _wait_for(peer: Peer, connection: str, section: bytes, wanted: bytes) -> None:
    for _ in range(1000):
        peer.send(connection, [b"INFO", section])
        if wanted in peer.receive(connection):
            return
        peer.sleep(0.01)
    raise AssertionError(f"waited in vain for {wanted!r}")


def comparable(step: Step, raw: bytes) -> object:
    """What of a reply has to be equal."""
    if step.compare == "exact" or raw == b"closed":
        return raw
    reader = hiredis.Reader()
    reader.feed(raw)
    value = reader.gets()
    if step.compare == "names":
        return [line.partition(b":")[0] for line in value.split(b"\r\n")]
    return _shape(value) if step.compare == "shape" else sorted(value, key=repr)


def _shape(value: Any) -> object:
    return [_shape(each) for each in value] if isinstance(value, list) else type(value).__name__


# ---------------------------------------------------------------------------------------------------------- a real one


def read_reply(stream: BinaryIO) -> bytes:
    """The raw bytes of one reply; b"closed" at the end."""
    line = stream.readline()
    if not line:
        return b"closed"
    kind, count = line[:1], line[1:].strip()
    if kind == b"$" and count != b"-1":
        return line + stream.read(int(count) + 2)
    if kind == b"*" and count != b"-1":
        return line + b"".join(read_reply(stream) for _ in range(int(count)))
    return line


@define(eq=False)
class RealServer:
    """A `redis-server` of its own on a free port, in a temporary folder; it serves new replicas at once."""

    executable: str
    port: int = field(init=False)
    _folder: str = field(init=False)
    _process: subprocess.Popen[bytes] = field(init=False)

    def __attrs_post_init__(self) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self._folder = tempfile.mkdtemp(prefix="taba-redis-")
        file = Path(self._folder) / "redis.conf"
        parameters = {"port": str(self.port), "bind": "127.0.0.1", "dir": self._folder, **CONFIGURATION}
        parameters["repl-diskless-sync-delay"] = "0"
        file.write_text("".join(f'{name} "{value}"\n' for name, value in parameters.items()), encoding="utf-8")
        self._process = subprocess.Popen(
            [self.executable, str(file)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        deadline = time.monotonic() + PATIENCE
        while not self._answers():
            if time.monotonic() > deadline:
                self.stop()
                raise AssertionError("redis-server does not answer")
            time.sleep(0.02)

    def _answers(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=1.0) as connection:
                connection.sendall(pack([b"PING"]))
                return connection.recv(16) == b"+PONG\r\n"
        except OSError:
            return False

    def stop(self) -> None:
        """End the process and remove its folder."""
        self._process.kill()
        self._process.wait()
        shutil.rmtree(Path(self._folder), ignore_errors=True)


def find_server() -> str | None:
    """The `redis-server` of this machine."""
    return shutil.which("redis-server")


@define(eq=False)
class RealPeer:
    """A real server through blocking sockets."""

    port: int
    _sockets: dict[str, socket.socket] = field(factory=dict, init=False)
    _streams: dict[str, BinaryIO] = field(factory=dict, init=False)

    def send(self, connection: str, argv: Sequence[bytes]) -> None:
        """See Peer."""
        self.send_raw(connection, pack(argv))

    def send_raw(self, connection: str, raw: bytes) -> None:
        """Send bytes."""
        if connection not in self._sockets:
            made = socket.create_connection(("127.0.0.1", self.port), timeout=PATIENCE)
            self._sockets[connection], self._streams[connection] = made, made.makefile("rb")
        self._sockets[connection].sendall(raw)

    def receive(self, connection: str) -> bytes:
        """See Peer."""
        try:
            return read_reply(self._streams[connection])
        except ConnectionResetError:
            return b"closed"

    def sleep(self, seconds: float) -> None:
        """See Peer."""
        time.sleep(seconds)

    def close(self) -> None:
        """Close all connections."""
        for stream in self._streams.values():
            stream.close()
        for each in self._sockets.values():
            each.close()


# -------------------------------------------------------------------------------------------------------- the fake one


class _Replies(TwistedProtocol):
    """Cuts what comes in into replies."""

    def __init__(self) -> None:
        self.buffer = b""
        self.closed = False

    def dataReceived(self, data: bytes) -> None:
        self.buffer += data

    def connectionLost(self, reason: object = None) -> None:
        self.closed = True

    def whole(self) -> int | None:
        """The length of the first reply, when all of it is there."""
        return _end(self.buffer, 0)


def _end(buffer: bytes, place: int) -> int | None:
    line_end = buffer.find(b"\r\n", place)
    if line_end < 0:
        return None
    kind, count, after = buffer[place : place + 1], buffer[place + 1 : line_end], line_end + 2
    if kind == b"$" and count != b"-1":
        after += int(count) + 2
        return after if after <= len(buffer) else None
    for _ in range(int(count) if kind == b"*" else 0):
        inner = _end(buffer, after)
        if inner is None:
            return None
        after = inner
    return after


class _Factory(ClientFactory):
    noisy = False

    def __init__(self) -> None:
        self.protocol_made = _Replies()

    def buildProtocol(self, addr: object) -> _Replies:
        return self.protocol_made


@define(eq=False)
class FakePeer:
    """An in-memory server in a world of its own."""

    libraries: Mapping[str, FunctionLibrary]
    world: World
    name: str = "redis"
    server: RedisServer = field(init=False)
    _protocols: dict[str, _Replies] = field(factory=dict, init=False)

    def __attrs_post_init__(self) -> None:
        # 7.0.15 moves the offset of WAIT with any command, and that is what it is compared with.
        self.server = RedisServer(
            self.world.node(self.name), libraries=self.libraries, configuration=CONFIGURATION, strict_wait=False
        ).start()
        if "client" not in self.world.nodes:
            self.world.node("client")

    def send(self, connection: str, argv: Sequence[bytes]) -> None:
        """See Peer."""
        self.send_raw(connection, pack(argv))

    def send_raw(self, connection: str, raw: bytes) -> None:
        """Send bytes."""
        if connection not in self._protocols:
            factory = _Factory()
            self.world.network.connect(None, "client", self.name, self.server.port, factory)
            self._protocols[connection] = factory.protocol_made
            self.world.run_until(lambda: factory.protocol_made.transport, PATIENCE)
        transport = self._protocols[connection].transport
        assert transport is not None
        transport.write(raw)

    def receive(self, connection: str) -> bytes:
        """See Peer."""
        protocol = self._protocols[connection]
        self.world.run_until(lambda: protocol.closed or protocol.whole() is not None, PATIENCE, "a reply")
        end = protocol.whole()
        if end is None:
            return b"closed"
        reply, protocol.buffer = protocol.buffer[:end], protocol.buffer[end:]
        return reply

    def sleep(self, seconds: float) -> None:
        """See Peer."""
        self.world.advance(seconds)


@define(eq=False)
class Pair:
    """Two servers, of which the second is to follow the first."""

    first: Peer
    second: Peer

    def send(self, connection: str, argv: Sequence[bytes]) -> None:
        """See Peer."""
        self._peer(connection).send(connection, argv)

    def receive(self, connection: str) -> bytes:
        """See Peer."""
        return self._peer(connection).receive(connection)

    def sleep(self, seconds: float) -> None:
        """See Peer."""
        self.first.sleep(seconds)

    def _peer(self, connection: str) -> Peer:
        return self.second if connection.isupper() else self.first

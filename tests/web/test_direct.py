"""Large bodies are read from their connection into one place, and nobody can tell but by the time it takes."""

from __future__ import annotations

from typing import Any

from twisted.internet.address import IPv4Address
from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.task import Clock
from twisted.internet.tcp import Connection
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.server import Request

from taba.web.answers import Leaf, Root, write_text
from taba.web.direct import PIECES, ROOM_BYTES
from taba.web.site import BoundedRequest, BoundedSite
from tests.web.test_site import Collected, Transport

BODY = bytes(range(251)) * 4000
HEAD = b"POST /stream HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n"


class FakeSocket:
    """A socket that has what a test put into it, and says that it would block where there is none."""

    def __init__(self) -> None:
        self.waiting = b""
        self.ended = False
        self.problem: OSError | None = None
        self.sent = b""
        self.asked: list[int] = []
        """How much was asked for by what reads directly."""

    def fileno(self) -> int:
        """A number that is none of the system's."""
        return 1000

    def setblocking(self, _: bool) -> None:
        """It never blocks."""

    def setsockopt(self, *_: int) -> None:
        """It has no options."""

    def recv(self, most: int) -> bytes:
        """As of a socket."""
        if self.problem is not None:
            raise self.problem
        if not self.waiting and not self.ended:
            raise BlockingIOError(11, "nothing is there")
        piece, self.waiting = self.waiting[:most], self.waiting[most:]
        return piece

    def recv_into(self, room: memoryview, most: int) -> int:
        """As of a socket."""
        self.asked.append(most)
        piece = self.recv(most)
        room[: len(piece)] = piece
        return len(piece)

    def send(self, data: bytes) -> int:
        """As of a socket."""
        self.sent += data
        return len(data)


class FakeConnection(Connection):
    """A connection of Twisted's, with a socket that is none."""

    def getPeer(self) -> IPv4Address:
        """Whoever."""
        return IPv4Address("TCP", "192.0.2.1", 1)

    getHost = getPeer


class FakeReactor:
    """Takes what a connection asks of its reactor."""

    def addReader(self, _: object) -> None:
        """The test reads by itself."""

    removeReader = addWriter = removeWriter = addReader


class Seen(Collected):
    """A body that wants to be read directly, and notes what came as a view."""

    refuse_from = 1 << 40

    def begin(self, request: BoundedRequest, length: int | None) -> None:
        """See `IBody`."""
        super().begin(request, length)
        self.views = 0
        self.request = request
        request.read_directly()

    def write(self, data: bytes) -> None:
        """See `IBody`."""
        self.views += isinstance(data, memoryview)
        super().write(data)
        if self.tell() >= self.refuse_from:
            self.request.refuse(413, "It is too much.")


class DirectTests(SynchronousTestCase):
    """A connection to a site whose bodies are read directly."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.bodies: list[Seen] = []
        self.site = BoundedSite(
            Root({"stream": Leaf(post=self.stream)}),
            self.clock,  # type: ignore[arg-type]
            {b"/stream": self.body},
        )
        self.socket = FakeSocket()
        self.channel: Any = self.site.buildProtocol(None)
        fake: Any = self.socket
        reactor: Any = FakeReactor()
        self.connection = FakeConnection(fake, self.channel, reactor)
        self.connection.connected = True
        self.channel.makeConnection(self.connection)

    def body(self) -> Seen:
        """The body of a request to /stream."""
        self.bodies.append(Seen())
        return self.bodies[-1]

    def stream(self, request: Request) -> None:
        """What /stream answers."""
        write_text(request, f"{request.content.tell()} bytes.")

    def comes(self, data: bytes) -> object:
        """Bytes come, and the reactor says so; what reading answered."""
        self.socket.waiting += data
        result = None
        for _ in range(100):
            if not self.socket.waiting or result is not None:
                break
            result = self.connection.doRead()
        return result

    def answers(self) -> int:
        """How many requests were answered with all bytes of the body."""
        self.connection.doWrite()
        return self.socket.sent.count(b"%d bytes." % len(BODY))

    def test_body_in_pieces(self) -> None:
        """However a large body is cut on its way, it comes whole and in its order, and is answered once."""
        for cut in (1, 100, 65_536, ROOM_BYTES - 1, ROOM_BYTES, ROOM_BYTES + 1, len(BODY) - 1, len(BODY)):
            whole, before = HEAD % len(BODY) + BODY, self.answers()
            for begin in range(0, len(whole), max(cut, 5000)):
                self.assertIsNone(self.comes(whole[begin : begin + max(cut, 5000)]))
            self.assertEqual(b"".join(self.bodies[-1].chunks), BODY)
            self.assertGreater(self.bodies[-1].views, 0)
            self.assertEqual(self.answers(), before + 1)

    def test_next_request(self) -> None:
        """What follows a body at once is the next request: reading ends exactly where the body does."""
        self.comes((HEAD % len(BODY) + BODY) * 3)
        self.assertEqual([b"".join(each.chunks) == BODY for each in self.bodies], [True] * 3)
        self.assertEqual(self.answers(), 3)
        self.assertLessEqual(max(self.socket.asked), ROOM_BYTES)

    def test_turns(self) -> None:
        """One connection with very much to read does not keep the others waiting: a turn reads so much and no more."""
        length = 10 * ROOM_BYTES
        self.socket.waiting = HEAD % length + bytes(length)
        self.connection.doRead()
        self.connection.doRead()
        self.assertEqual(self.socket.asked, [ROOM_BYTES] * PIECES)

    def test_nothing_there(self) -> None:
        """Where nothing more has come, one waits."""
        self.comes(HEAD % len(BODY) + BODY[:100_000])
        self.assertIsNone(self.connection.doRead())
        self.assertIsNone(self.comes(BODY[100_000:]))
        self.assertEqual(self.answers(), 1)

    def test_ends_in_the_middle(self) -> None:
        """A sender that hangs up, or whose connection breaks, is noticed as ever."""
        self.comes(HEAD % len(BODY) + BODY[:100_000])
        self.socket.ended = True
        self.assertIsInstance(self.connection.doRead(), ConnectionDone)
        self.socket.problem = ConnectionResetError(104, "reset")
        self.assertIsInstance(self.connection.doRead(), ConnectionLost)
        self.assertEqual(self.answers(), 0)

    def test_refused_in_the_middle(self) -> None:
        """A body that is refused while it comes is answered at once, and what still comes of it is dropped."""
        Seen.refuse_from = 300_000
        self.addCleanup(setattr, Seen, "refuse_from", 1 << 40)
        self.comes(HEAD % len(BODY) + BODY)
        self.connection.doWrite()
        self.assertIn(b"413", self.socket.sent)
        self.assertLess(self.bodies[0].tell(), len(BODY))
        self.assertEqual(self.answers(), 0)

    def test_lasts(self) -> None:
        """A body that takes long, but does come, is not given up."""
        self.comes(HEAD % len(BODY) + BODY[:70_000])
        for begin in range(70_000, len(BODY), 50_000):
            self.clock.advance(40)
            self.comes(BODY[begin : begin + 50_000])
        self.assertEqual(self.answers(), 1)

    def test_other_connections(self) -> None:
        """A connection that is none of Twisted's own sockets, as under TLS, is read as ever."""
        transport, channel = Transport(), self.site.buildProtocol(None)
        channel.makeConnection(transport)
        channel.dataReceived(HEAD % len(BODY) + BODY)
        self.assertEqual((b"".join(self.bodies[0].chunks), self.bodies[0].views), (BODY, 0))
        self.assertIn(b"%d bytes." % len(BODY), transport.value())

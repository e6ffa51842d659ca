"""Protocols, a small web site and an HTTP client for the tests of the simulated world."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any, cast

from attrs import define, field
from treq.client import HTTPClient
from twisted.application.service import IService
from twisted.application.strports import service as listening_service
from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IAddress, IConsumer, IPushProducer
from twisted.internet.protocol import ClientFactory, Factory, Protocol
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.client import Agent, HTTPConnectionPool
from twisted.web.iweb import IBodyProducer
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Request, Site
from zope.interface import implementer

from taba.testing import HeapClock, MemoryNetwork, Process
from taba.testing.connecting import MemoryConnector
from taba.testing.transport import MemoryTransport


class Talker(Protocol):
    """Remembers what it received and why its connection ended."""

    def __init__(self) -> None:
        self.received = bytearray()
        self.pieces: list[int] = []
        self.reason: type[BaseException] | None = None

    @property
    def end(self) -> MemoryTransport:
        """The transport, which stays known after its end."""
        return cast(MemoryTransport, self.transport)

    def dataReceived(self, data: bytes) -> None:
        self.received += data
        self.pieces.append(len(data))

    def connectionLost(self, reason: Failure = Failure(Exception())) -> None:  # noqa: B008
        self.reason = reason.type


class TalkerFactory(ClientFactory):
    """Makes Talkers, for either end, and remembers what happened to attempts."""

    noisy = False

    def __init__(self, make: Callable[[], Talker] = Talker) -> None:
        self.make = make
        self.talkers: list[Talker] = []
        self.failed: type[BaseException] | None = None
        self.started = 0

    def startFactory(self) -> None:
        self.started += 1

    def stopFactory(self) -> None:
        self.started -= 1

    def buildProtocol(self, addr: IAddress | None) -> Talker:
        self.talkers.append(self.make())
        return self.talkers[-1]

    def clientConnectionFailed(self, connector: Any, reason: Failure) -> None:
        self.failed = reason.type

    @property
    def talker(self) -> Talker:
        """The last one made."""
        return self.talkers[-1]


@implementer(IPushProducer)
@define(eq=False)
class Fountain:
    """Writes pieces into a transport until it is paused, on and on after it is resumed."""

    transport: Any
    pieces_left: int
    written: int = 0
    paused: bool = False
    stopped: bool = False

    def resumeProducing(self) -> None:
        self.paused = False
        while not self.paused and self.pieces_left:
            self.pieces_left -= 1
            self.written += 1000
            self.transport.write(b"x" * 1000)

    def pauseProducing(self) -> None:
        self.paused = True

    def stopProducing(self) -> None:
        self.stopped = True


@implementer(IBodyProducer)
@define(eq=False)
class BytesBody:
    """A body that writes itself at once; treq's own would ask the global reactor for turns."""

    _content: bytes
    length: int = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.length = len(self._content)

    def startProducing(self, consumer: IConsumer) -> Deferred[None]:
        consumer.write(self._content)
        return succeed(None)

    def pauseProducing(self) -> None:
        pass

    def resumeProducing(self) -> None:
        pass

    def stopProducing(self) -> None:
        pass


class EchoResource(Resource):
    """Answers POST with the body, at once, or after `delay` seconds of its process; remembers the bodies."""

    isLeaf = True

    def __init__(self, process: Process, delay: float = 0.0) -> None:
        Resource.__init__(self)
        self.process = process
        self.delay = delay
        self.bodies: list[bytes] = []
        self.cut_off = 0

    def render_POST(self, request: Request) -> bytes | int:
        assert request.content is not None
        body: bytes = request.content.read()
        self.bodies.append(body)
        if not self.delay:
            return body
        call = self.process.reactor.callLater(self.delay, self.answer, request, body)
        request.notifyFinish().addErrback(self.gone, call)
        return NOT_DONE_YET

    def answer(self, request: Request, body: bytes) -> None:
        request.write(body)
        request.finish()

    def gone(self, reason: Failure, call: Any) -> None:
        self.cut_off += 1
        if call.active():
            call.cancel()


@define(eq=False)
class EchoServer:
    """What `Node.start` needs for a web site with an EchoResource on port 8080; the resource of the present life is
    `echo`.
    """

    delay: float = 0.0
    where: str = "tcp:8080"
    echo: EchoResource = field(init=False)

    def __call__(self, process: Process) -> IService:
        self.echo = EchoResource(process, self.delay)
        site = Site(self.echo, reactor=process.reactor, parsePOSTFormSubmission=False)
        site.noisy = False
        return listening_service(self.where, site, reactor=process.reactor)


@define(eq=False)
class WebClient:
    """treq on a process's reactor, with a pool of persistent connections."""

    process: Process
    http: HTTPClient = field(init=False)
    pool: HTTPConnectionPool = field(init=False)

    def __attrs_post_init__(self) -> None:
        reactor = self.process.reactor
        self.pool = HTTPConnectionPool(reactor)
        self.http = HTTPClient(Agent(reactor, pool=self.pool), data_to_body_producer=BytesBody)

    def post(self, url: str, body: bytes, timeout: float | None = None) -> Deferred[bytes]:
        """Post a body; fires with the body of the answer."""
        reactor: Any = self.process.reactor  # treq has a type of its own for a provider of three interfaces
        answered = self.http.post(url, data=body, reactor=reactor, timeout=timeout)
        return answered.addCallback(lambda response: response.content())


def listening(port: int, factory: Factory) -> Callable[[Process], IService]:
    """What `Node.start` needs for a process that listens with `factory`."""

    def make(process: Process) -> IService:
        return listening_service(f"tcp:{port}", factory, reactor=process.reactor)

    return make


class NetworkTestCase(SynchronousTestCase):
    """Two hosts, a and b; b listens on port 80."""

    seed = 0

    def setUp(self) -> None:
        self.notes: list[str] = []
        self.verbs: list[tuple[str, tuple[str, ...]]] = []
        self.clock = HeapClock()
        self.network = MemoryNetwork(
            self.clock,
            Random(self.seed),
            on_note=self.notes.append,
            on_verb=lambda verb, hosts: self.verbs.append((verb, hosts)),
        )
        self.network.add_host("a")
        self.network.add_host("b")
        self.servers, self.clients = TalkerFactory(), TalkerFactory()
        self.port = self.network.listen(None, "b", 80, self.servers)

    def connect(
        self, host: str = "b", port: int = 80, source: str = "a", timeout: float | None = 30.0
    ) -> MemoryConnector:
        return self.network.connect(None, source, host, port, self.clients, timeout)

    def pair(self) -> tuple[Talker, Talker]:
        """The ends of a new connection: client, server."""
        self.connect()
        self.clock.advance(2)
        return self.clients.talker, self.servers.talker

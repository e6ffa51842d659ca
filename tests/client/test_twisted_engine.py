"""The Twisted engine on a clock that the tests advance, against an agent in memory behind the real Agent and Site."""

from __future__ import annotations

from functools import partial
from typing import Any

from treq.testing import RequestTraversalAgent
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionRefusedError
from twisted.internet.interfaces import IReactorCore, IReactorFromThreads
from twisted.internet.task import Clock
from twisted.internet.testing import MemoryReactorClock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.iweb import IAgent
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET
from zope.interface import directlyProvides, implementer

from taba.client import Client
from taba.client.engines.twisted import TwistedEngine
from taba.client.recorder import Recorder
from taba.client.sender import Answer, Post, Sender, Wait
from tests.client.engines_contract import EngineContract
from tests.client.model_agent import ModelAgent

URL = "http://agent.example:8279/post"


class TwistedContractTests(EngineContract, SynchronousTestCase):
    """What every engine keeps."""

    engine = "twisted"


class PostResource(Resource):
    """`/post` of a ModelAgent. Requests wait in `held` while `hold` is set."""

    isLeaf = True

    def __init__(self) -> None:
        super().__init__()
        self.agent = ModelAgent()
        self.hold = False
        self.held: list[Any] = []
        self.spoil: list[int] = []

    def render_POST(self, request: Any) -> Any:
        headers = {"Taba-Batch": request.getHeader("Taba-Batch")}
        protocol = 2 if request.path == b"/v2/events" else 1
        if self.spoil:
            answer = Answer(self.spoil.pop(0), {"retry-after": "0"}, "not now")
        else:
            answer = self.agent.answer(protocol, headers, request.content.read())
        request.setResponseCode(answer.status)
        for name, value in answer.headers.items():
            request.setHeader(name, value)
        if self.hold:
            self.held.append(request)
            return NOT_DONE_YET
        return answer.text.encode()


@implementer(IAgent)
class DeadAgent:
    """Nobody listens."""

    def request(self, method: bytes, uri: bytes, headers: Any = None, bodyProducer: Any = None) -> Deferred[Any]:
        failed: Deferred[Any] = Deferred()
        failed.errback(Failure(ConnectionRefusedError()))
        return failed


class EngineTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.clock.advance(1.7e9)
        self.resource = PostResource()
        self.http = RequestTraversalAgent(self.resource)

    def start(self, http: Any = None, reactor: Any = None, **settings: Any) -> Client:
        reactor = reactor or self.clock
        client = Client(wall=reactor.seconds, jitter=lambda: 0.0, **settings)
        engine = partial(TwistedEngine, reactor=reactor, agent=http or self.http)
        self.successResultOf(client.initialize("client", URL, 1.0, engine))
        return client

    def advance(self, seconds: float) -> None:
        for _ in range(int(seconds * 10)):
            self.clock.advance(0.1)
            self.http.flush()

    def payloads(self) -> list[object]:
        return [event.payload for event in self.resource.agent.events]

    def test_events_arrive(self) -> None:
        """What is recorded is sent within a flush period, stamped with the time of the clock that was passed in."""
        client = self.start()
        for i in range(5):
            client.counter("a", i)
            self.advance(1.1)
        self.assertEqual(self.payloads(), [0, 1, 2, 3, 4])
        self.assertEqual(self.resource.agent.events[0].time, 1.7e9)

    def test_stop(self) -> None:
        """Stop sends what is recorded; when it fires, nothing of the engine is left on the reactor."""
        client = self.start()
        self.advance(0.5)
        client.counter("a", 1)
        self.assertIs(self.finish(client), True)
        self.assertEqual((self.payloads(), self.clock.getDelayedCalls()), ([1], []))
        client.counter("a", 2)
        self.advance(5)
        self.assertEqual(self.payloads(), [1])

    def finish(self, client: Client, timeout: float = 5.0) -> Any:
        stopped: Deferred[bool] = client.stop(timeout)
        self.advance(timeout + 1)
        return self.successResultOf(stopped)

    def test_stop_without_events(self) -> None:
        """A client that recorded nothing stops at once."""
        client = self.start()
        self.assertIs(self.successResultOf(client.stop()), True)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_stop_twice(self) -> None:
        """Two calls of Stop, as of an application and of the end of its reactor, both fire when all is sent."""
        recorder = Recorder(self.clock.seconds)
        engine = TwistedEngine(Sender(recorder, "client", jitter=lambda: 0.0), URL, reactor=self.clock, agent=self.http)
        engine.start()
        recorder.counter("a", 1)
        both = [engine.stop(5.0), engine.stop(5.0)]
        self.advance(6)
        self.assertEqual([self.successResultOf(stopped) for stopped in both], [True, True])
        self.assertIs(self.successResultOf(engine.stop(5.0)), True)
        self.assertEqual((self.payloads(), self.clock.getDelayedCalls()), ([1], []))

    def test_end_of_the_reactor(self) -> None:
        """Before a reactor shuts down, what is recorded is sent; a Stop before that leaves nothing for it to do."""

        class Reactor(Clock):
            """With the part of IReactorCore that is used here."""

            def __init__(self) -> None:
                super().__init__()
                self.triggers: list[Any] = []

            def addSystemEventTrigger(self, phase: str, event: str, function: Any) -> Any:
                self.triggers.append(function)
                return function

            def removeSystemEventTrigger(self, trigger: Any) -> None:
                self.triggers.remove(trigger)

        self.clock = reactor = Reactor()
        directlyProvides(reactor, IReactorCore)
        client = self.start(reactor=reactor)
        client.counter("a", 1)
        (trigger,) = reactor.triggers
        ended = trigger()
        self.advance(6)
        self.successResultOf(ended)
        self.assertEqual((self.payloads(), reactor.getDelayedCalls()), ([1], []))
        client = self.start(reactor=reactor)
        self.successResultOf(client.stop())
        self.assertEqual(reactor.triggers, [trigger])

    def test_stop_without_agent(self) -> None:
        """Without an agent Stop fires at its deadline with False."""
        client = self.start(DeadAgent())
        client.counter("a", 1)
        self.advance(20)
        stopped = client.stop(2.0)
        self.advance(1.9)
        self.assertNoResult(stopped)
        self.advance(0.2)
        self.assertIs(self.successResultOf(stopped), False)
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.assertIn("ConnectionRefusedError", str(client.get_status()["last_error"]))

    def test_stop_while_the_agent_hangs(self) -> None:
        """A request that is not answered is given up at the deadline of Stop."""
        client = self.start()
        client.counter("a", 1)
        self.resource.hold = True
        self.advance(2)
        self.assertIs(self.finish(client, 1.0), False)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_no_answer_in_time(self) -> None:
        """A batch whose answer does not come in time is repeated, and counted once."""
        client = self.start()
        client.counter("a", 1)
        self.advance(2)
        self.resource.hold = True
        client.counter("a", 2)
        self.advance(5)
        self.assertEqual(len(self.resource.held), 1)
        self.resource.hold = False
        self.advance(10)
        self.assertEqual(self.payloads(), [1, 2])
        self.assertEqual(client.get_status()["acknowledged"], 2)
        self.assertIn("no answer in time", str(client.get_status()["last_error"]))
        self.assertIs(self.finish(client), True)

    def test_one_request_at_a_time(self) -> None:
        """While a request is out there is no other, however much is recorded."""
        client = self.start(max_buffer_bytes=20_000)
        self.resource.hold = True
        for _ in range(50):
            for i in range(20):
                client.counter("a", i)
            self.advance(0.1)
        self.assertEqual(len(self.resource.held), 1)
        self.finish(client, 0.1)

    def test_refusals_and_retries(self) -> None:
        """5xx are retried, other refusals are not."""
        client = self.start()
        client.counter("a", 1)
        self.advance(2)
        self.resource.spoil = [503, 500]
        client.counter("a", 2)
        self.advance(5)
        self.resource.spoil = [400]
        client.counter("a", 3)
        self.advance(5)
        self.assertEqual((self.payloads(), client.get_status()["refused"]), ([1, 2], 1))
        self.assertEqual(client.get_status()["last_error"], "400: not now")

    def test_pressure(self) -> None:
        """A buffer that fills is sent before the flush period is over."""
        client = self.start(max_buffer_bytes=20_000)
        for i in range(100):
            client.counter("a", i)
        for _ in range(5):
            self.clock.advance(0)
            self.http.flush()
        self.assertEqual(len(self.payloads()), 100)

    def test_pressure_from_another_thread(self) -> None:
        """On a reactor that can be called from other threads the engine is called so."""
        calls: list[Any] = []

        class ThreadedClock(Clock):
            def callFromThread(self, function: Any, *args: Any) -> None:
                calls.append(function)

        reactor = ThreadedClock()
        directlyProvides(reactor, IReactorFromThreads)
        client = self.start(reactor=reactor, max_buffer_bytes=20_000)
        for i in range(100):
            client.counter("a", i)
        self.assertEqual(len(calls), 1)
        for function in calls:
            function()
        self.http.flush()
        reactor.advance(0)
        self.http.flush()
        self.assertEqual(len(self.payloads()), 100)

    def test_an_error_of_the_library(self) -> None:
        """Should the library itself fail, it logs that and goes on."""

        class FailingSender(Sender):
            failures = 1

            def next_action(self, now: float) -> Post | Wait:
                if self.failures:
                    self.failures -= 1
                    raise RuntimeError("a defect")
                return super().next_action(now)

        recorder = Recorder(self.clock.seconds)
        sender = FailingSender(recorder, "client", jitter=lambda: 0.0)
        engine = TwistedEngine(sender, URL, reactor=self.clock, agent=self.http)
        engine.start()
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)
        recorder.counter("a", 1)
        self.advance(3)
        self.assertEqual(self.payloads(), [1])

    def test_a_request_that_fails_at_once(self) -> None:
        """Should an IAgent raise, that is a failed attempt like others."""

        @implementer(IAgent)
        class Failing:
            def request(self, *args: Any, **kwargs: Any) -> Any:
                raise RuntimeError("a defect")

        client = self.start(Failing())
        client.counter("a", 1)
        self.advance(5)
        self.assertIn("RuntimeError: a defect", str(client.get_status()["last_error"]))
        self.assertGreater(client.get_status()["failed_attempts"], 1)

    def test_connections_of_its_own(self) -> None:
        """Without an IAgent the engine connects through the reactor that it was given."""
        reactor = MemoryReactorClock()
        client = Client(wall=reactor.seconds, jitter=lambda: 0.0)
        client.initialize("client", "http://127.0.0.1:8279/post", 1.0, partial(TwistedEngine, reactor=reactor))
        client.counter("a", 1)
        reactor.advance(1)
        self.assertEqual([(host, port) for host, port, *_ in reactor.tcpClients], [("127.0.0.1", 8279)])
        stopped = client.stop(1.0)
        reactor.advance(1)
        self.assertIs(self.successResultOf(stopped), False)

    def test_bad_url(self) -> None:
        """A URL that is none is refused before anything starts."""
        client = Client()
        with self.assertRaises(ValueError):
            client.initialize("client", "agent:8279", 1.0, partial(TwistedEngine, reactor=self.clock))
        self.assertEqual(client.get_status()["state"], "uninitialized")

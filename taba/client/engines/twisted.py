"""The engine for applications that run a Twisted reactor. It posts through `twisted.web.client.Agent`, or any IAgent.

    from functools import partial
    from taba.client.engines.twisted import TwistedEngine

    engine_class = partial(TwistedEngine, reactor=reactor)
    client.initialize("my_application", "http://localhost:8279/post", engine_class=engine_class)
    ...
    await client.stop()

`initialize` and `stop` are then for the reactor's thread, and return Deferreds. Events may be recorded in any thread if
the reactor is IReactorFromThreads, and else only in its own. The global reactor is not used, so that the engine runs on
a simulated one, too. Two moments need care:

* *The end of the reactor.* What is recorded and was not stopped is sent before the reactor shuts down, within
  EXIT_TIMEOUT. What is recorded after that is not sent.
* *A fork.* The child must not use its parent's reactor. It starts afresh, with nothing recorded and no connection; its
  first event starts a ThreadEngine, and there `stop` itself waits. What was unsent stays the parent's.
"""

from __future__ import annotations

import os
from typing import Any

from twisted.internet.defer import CancelledError, Deferred, maybeDeferred, succeed
from twisted.internet.interfaces import (
    IConsumer,
    IDelayedCall,
    IReactorCore,
    IReactorFDSet,
    IReactorFromThreads,
    IReactorTime,
)
from twisted.internet.protocol import Protocol, connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.client import Agent, BrowserLikePolicyForHTTPS, HTTPConnectionPool, ResponseDone
from twisted.web.http_headers import Headers
from twisted.web.iweb import IAgent, IBodyProducer, IPolicyForHTTPS, IResponse
from zope.interface import implementer

from taba import __version__
from taba.client.engines.heir import Heirs
from taba.client.engines.thread import EXIT_TIMEOUT, Weakly
from taba.client.names import columns_url, parse_url
from taba.client.sender import Answer, Post, Sender

REQUEST_TIMEOUT = 10.0  # seconds, for a request and its answer
MAX_ANSWER_BYTES = 65_536  # what is kept of an answer's body


class TwistedEngine:
    """Drives one Sender from the reactor. All methods are for the reactor's thread."""

    _log = Logger()

    def __init__(
        self,
        sender: Sender,
        url: str,
        *,
        reactor: Any,
        agent: IAgent | None = None,
        request_timeout: float = REQUEST_TIMEOUT,
        ca_file: str | None = None,
    ) -> None:
        """`reactor` is an IReactorTime whose `seconds` never go back; without an `agent` it makes the connections, too,
        and then `ca_file` holds the authorities to trust with https, as PEM; without it they are the platform's.

        Raises ValueError unless `url` is an http or https URL, and for a `ca_file` that cannot be used.
        """
        parse_url(url)
        self._sender = sender
        self._url = url
        self._urls = {1: url.encode("ascii"), 2: (columns_url(url) or url).encode("ascii")}
        self._reactor = reactor
        self._clock: IReactorTime = reactor
        self._agent = agent
        self._pool: HTTPConnectionPool | None = None
        self._policy = BrowserLikePolicyForHTTPS() if ca_file is None else _policy(ca_file)
        self._request_timeout = request_timeout
        self._timer: IDelayedCall | None = None
        self._hurry_call: IDelayedCall | None = None
        self._request: Deferred[Any] | None = None
        self._deadline: IDelayedCall | None = None
        self._stopped: list[Deferred[bool]] = []
        self._running = False
        self._at_shutdown: Any = None
        self._heirs = Heirs(sender, url, request_timeout, ca_file)

    def start(self) -> Deferred[None]:
        """Start to record and to send. Fires at once: whether the agent is there makes no difference."""
        if self._agent is None:
            self._pool = HTTPConnectionPool(self._reactor, persistent=True)
            self._pool.retryAutomatically = False  # repeating is the Sender's to decide
            self._agent = Agent(self._reactor, self._policy, connectTimeout=self._request_timeout, pool=self._pool)
        if IReactorCore.providedBy(self._reactor):
            self._at_shutdown = self._reactor.addSystemEventTrigger("before", "shutdown", self._shut_down)
        if hasattr(os, "register_at_fork") and IReactorFDSet.providedBy(self._reactor):  # and not a simulated one
            os.register_at_fork(after_in_child=Weakly(self._after_fork))
        self._running = True
        self._sender.open(self._come_early)
        self._turn()
        return succeed(None)

    def stop(self, timeout: float) -> Deferred[bool]:
        """Record nothing more, send what is recorded, for at most `timeout` seconds of the reactor.

        Fires with whether all that was recorded is accounted for (acknowledged, refused or unknown). By then no delayed
        call, request or connection of the engine is left.
        """
        if self._heirs.forked:
            return succeed(self._heirs.stop(timeout))
        trigger, self._at_shutdown = self._at_shutdown, None
        if trigger is not None:
            self._reactor.removeSystemEventTrigger(trigger)
        return self._drain(timeout)

    def _drain(self, timeout: float) -> Deferred[bool]:
        if not self._running:
            return succeed(self._sender.drained)
        self._sender.drain()
        stopped: Deferred[bool] = Deferred()
        self._stopped.append(stopped)
        _cancel(self._deadline)
        self._deadline = self._clock.callLater(timeout, self._finish)
        if self._request is None:
            self._turn()
        return stopped

    def _shut_down(self) -> Deferred[None]:
        """The reactor is about to end, and nobody has called `stop`."""
        self._at_shutdown = None
        stopped = succeed(self._heirs.stop(EXIT_TIMEOUT)) if self._heirs.forked else self._drain(EXIT_TIMEOUT)
        return stopped.addCallback(self._shut)

    def _shut(self, done: bool) -> None:
        if not done:
            self._log.warn(
                "Taba client: events were left unsent at exit: {error}", error=self._sender.status()["last_error"]
            )

    def _after_fork(self) -> None:
        """In the child, before anything else runs there."""
        self._heirs.fork(self._running)
        self._running = False

    # -- turns -----------------------------------------------------------------------------------------------------

    def _turn(self) -> None:
        """Do the next thing that the Sender wants, unless a request is on its way: its end is followed by a turn."""
        _cancel(self._timer)
        if self._request is not None or not self._running:
            return
        try:
            action = self._sender.next_action(self._clock.seconds())
        except Exception:  # a single error must not end the turns
            self._log.failure("The Taba client failed to send, and will go on")
            self._timer = self._clock.callLater(1.0, self._turn)
            return
        for notice in self._sender.take_notices():
            self._log.warn("Taba client: {notice}", notice=notice)
        if isinstance(action, Post):
            self._carry_out(action)
        elif self._sender.drained:
            self._finish()
        else:
            self._timer = self._clock.callLater(action.seconds, self._turn)

    def _carry_out(self, post: Post) -> None:
        assert self._agent is not None
        headers = Headers({name: [value] for name, value in {**HEADERS, **post.headers}.items()})
        url, body = self._urls[post.protocol], _Body(post.body)
        request: Deferred[Any] = maybeDeferred(self._agent.request, b"POST", url, headers, body)
        request.addCallback(_read)
        self._request = request
        timer = self._clock.callLater(self._request_timeout, request.cancel)

        def ended(result: Answer | Failure) -> None:
            _cancel(timer)
            self._request = None
            if self._heirs.forked:
                return
            now = self._clock.seconds()
            if isinstance(result, Failure):
                self._sender.failed(post, f"{self._url}: {say(result)}", now)
            else:
                self._sender.answered(post, result, now)
            # Not at once: a reactor in a simulation may answer within `request`, and turns must not nest.
            if self._running:
                self._timer = self._clock.callLater(0, self._turn)

        request.addBoth(ended)
        request.addErrback(lambda failure: self._log.failure("The Taba client failed at an answer", failure))

    def _come_early(self) -> None:
        """Much was recorded. Called under the Recorder's lock and maybe in another thread."""
        self._sender.flush_soon()
        if IReactorFromThreads.providedBy(self._reactor):
            self._reactor.callFromThread(self._turn)
        elif self._hurry_call is None:
            self._hurry_call = self._clock.callLater(0, self._hurry)

    def _hurry(self) -> None:
        self._hurry_call = None
        self._turn()

    def _finish(self) -> None:
        """All is sent, or the time is over."""
        self._running = False
        for call in (self._timer, self._hurry_call, self._deadline):
            _cancel(call)
        done = self._sender.drained
        if self._request is not None:
            self._request.cancel()
        closed: Deferred[Any] = succeed(None)
        if self._pool is not None:
            closed = self._pool.closeCachedConnections()
        waiting, self._stopped = self._stopped, []

        def tell(_: object) -> None:
            for stopped in waiting:
                stopped.callback(done)

        closed.addBoth(tell)


HEADERS = {"Content-Type": "text/plain; charset=utf-8", "User-Agent": f"taba-client/{__version__}"}


@implementer(IBodyProducer)
class _Body:
    """Bytes as the body of a request: all written at once."""

    def __init__(self, body: bytes) -> None:
        self.length = len(body)
        self._body = body

    def startProducing(self, consumer: IConsumer) -> Deferred[None]:
        consumer.write(self._body)
        return succeed(None)

    def pauseProducing(self) -> None:
        """Nothing is produced after the start."""

    def resumeProducing(self) -> None:
        """Nothing is produced after the start."""

    def stopProducing(self) -> None:
        """Nothing is produced after the start."""


class _Collector(Protocol):
    """Collects the beginning of a body; fires at its end."""

    def __init__(self, finished: Deferred[bytes]) -> None:
        self._finished = finished
        self._parts = bytearray()

    def dataReceived(self, data: bytes) -> None:
        self._parts += data[: MAX_ANSWER_BYTES - len(self._parts)]

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        if self._finished.called:
            return
        if isinstance(reason.value, ResponseDone):
            self._finished.callback(bytes(self._parts))
        else:
            self._finished.errback(reason)


def _read(response: IResponse) -> Deferred[Answer]:
    """The whole answer. Cancelling gives up the connection."""

    def cancel(finished: Deferred[bytes]) -> None:
        transport = collector.transport
        abort = getattr(transport, "abortConnection", None) or getattr(transport, "loseConnection", None)
        if abort is not None:
            abort()

    finished: Deferred[bytes] = Deferred(cancel)
    collector = _Collector(finished)
    response.deliverBody(collector)
    fields = {
        name.decode("latin-1").lower(): values[-1].decode("latin-1")
        for name, values in response.headers.getAllRawHeaders()
    }
    return finished.addCallback(lambda body: Answer(response.code, fields, body.decode("utf-8", "replace")))


def _policy(ca_file: str) -> IPolicyForHTTPS:
    """Whom to trust when the authorities are those of a file."""
    from taba.errors import SettingsError
    from taba.web.tls import VerifiedServers

    try:
        return VerifiedServers(ca_file)
    except SettingsError as problem:
        raise ValueError(str(problem)) from None


def _cancel(call: IDelayedCall | None) -> None:
    """Cancel `call` if there is one and it is still due."""
    if call is not None and call.active():
        call.cancel()


def say(failure: Failure) -> str:
    reasons = getattr(failure.value, "reasons", None)  # twisted.web wraps what happened
    error = reasons[0].value if reasons else failure.value
    if isinstance(error, CancelledError):
        return "no answer in time"
    return f"{type(error).__name__}: {error}"

"""The reactor of one simulated process life.

`SimulatedReactor` provides what Twisted's HTTP server and client, endpoints and services ask of a reactor, on the
clock and the network of a world. Production code gets it wherever it would get the real one. What it raises in a call
is logged and does not stop the process, as with the real one. After `die` nothing of the process runs any more, and
what is asked of its reactor has no effect: kill -9.

There is no `callInThread`: production code takes an `off_reactor` callable, `deferToThread` in real life, and here
`run_off_reactor`. Not provided: UDP, UNIX sockets, child processes, TLS listeners, file descriptors.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from random import Random
from typing import Any, TypeVar

from attrs import define, field, frozen
from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred, DeferredList, fail, succeed
from twisted.internet.error import DNSLookupError, ReactorNotRunning
from twisted.internet.interfaces import (
    IAddress,
    IHostnameResolver,
    IHostResolution,
    IProtocolFactory,
    IReactorCore,
    IReactorFromThreads,
    IReactorPluggableNameResolver,
    IReactorTCP,
    IReactorTime,
    IResolutionReceiver,
)
from twisted.internet.protocol import ClientFactory
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from taba.testing.clock import HeapClock, VirtualCall
from taba.testing.connecting import MemoryConnector, MemoryPort
from taba.testing.network import MemoryNetwork

_T = TypeVar("_T")
OffReactor = Callable[..., "Deferred[Any]"]
"""Runs a blocking function elsewhere: `off_reactor(f, *args, **kw)` fires with what f returns or raises."""


def pool_delay(random: Random) -> float:
    """Seconds until a thread gets to run, or its answer back: some 2 ms as a rule, at times 200 ms (a slow disk)."""
    return 0.004 * random.random() if random.random() < 0.98 else 0.2 * random.random()


@implementer(IHostResolution)
@frozen
class _Resolution:
    name: str

    def cancel(self) -> None:
        """Resolving is over before it could be cancelled."""


@implementer(IHostnameResolver)
@frozen
class MemoryResolver:
    """Resolves the names of the network, and localhost, at once."""

    network: MemoryNetwork
    source: str

    def resolveHostName(
        self,
        resolutionReceiver: IResolutionReceiver,
        hostName: str,
        portNumber: int = 0,
        addressTypes: Sequence[type[IAddress]] | None = None,
        transportSemantics: str = "TCP",
    ) -> IHostResolution:
        """Give the receiver the addresses of a name."""
        resolution = _Resolution(hostName)
        resolutionReceiver.resolutionBegan(resolution)
        for address in self.network.find_addresses(self.source, hostName):
            if addressTypes is None or IPv4Address in addressTypes:
                resolutionReceiver.addressResolved(IPv4Address("TCP", address, portNumber))
        resolutionReceiver.resolutionComplete()
        return resolution


@frozen(eq=False)
class _Trigger:
    """One callable of a system event; as returned by addSystemEventTrigger, it is compared by identity."""

    event: str
    phase: str
    function: Callable[..., Any]
    args: tuple[Any, ...]
    kw: dict[str, Any]


@define(eq=False)
class OwnThread:
    """An `off_reactor` with one thread of its own: what is asked first runs first, and the next when it has ended."""

    _reactor: SimulatedReactor
    _waiting: deque[tuple[Callable[[], Any], Deferred[Any]]] = field(factory=deque, init=False)
    _busy: bool = field(default=False, init=False)

    def __call__(self, function: Callable[..., Any], *args: Any, **kw: Any) -> Deferred[Any]:
        """Run `function` after all that was asked before."""
        done: Deferred[Any] = Deferred()
        self._waiting.append((lambda: function(*args, **kw), done))
        self._next()
        return done

    def _next(self) -> None:
        if self._waiting and not self._busy:
            self._busy = True
            function, done = self._waiting.popleft()
            self._reactor.run_off_reactor(function).addBoth(self._ended, done)

    def _ended(self, result: Any, done: Deferred[Any]) -> None:
        self._busy = False
        self._next()
        done.callback(result)


@implementer(IReactorTime, IReactorTCP, IReactorPluggableNameResolver, IReactorFromThreads, IReactorCore)
@define(eq=False)
class SimulatedReactor:
    """The reactor of one process life on `host`; `random` decides when what runs off the reactor runs.

    `on_exit` is called when the process has stopped by itself: when `stop` was called and all shutdown triggers have
    ended.
    """

    network: MemoryNetwork
    host: str
    random: Random
    name: str = ""
    """Names the process life in traces; the host's name when empty."""
    off_reactor_delay: Callable[[Random], float] = pool_delay
    on_exit: Callable[[], None] | None = None
    running: bool = field(default=False, init=False)
    """Whether the startup triggers have run and the shutdown triggers have not."""
    alive: bool = field(default=True, init=False)
    stopping: bool = field(default=False, init=False)
    """Whether the shutdown triggers run, or are about to."""
    nameResolver: IHostnameResolver = field(init=False)
    _clock: HeapClock = field(init=False)
    _triggers: list[_Trigger] = field(factory=list, init=False)
    _remains: list[object] = field(factory=list, init=False)
    """What held the unfinished work of a killed process: as long as this reactor is kept, none of its `finally`
    blocks run.
    """
    _log = Logger()

    def __attrs_post_init__(self) -> None:
        self.name = self.name or self.host
        self.nameResolver = MemoryResolver(self.network, self.host)
        self._clock = self.network.clock

    # -------------------------------------------------------------------------------------------------- IReactorTime

    def seconds(self) -> float:
        """Monotonic virtual time."""
        return self._clock.seconds()

    def callLater(self, delay: float, callable: Callable[..., Any], *args: object, **kw: object) -> VirtualCall:
        """Call later, unless the process dies before."""
        call = self._clock.schedule(self, delay, callable, args, kw)
        if not self.alive:
            call.cancel()
        return call

    def getDelayedCalls(self) -> list[VirtualCall]:
        """The calls of this process to come."""
        return self._clock.calls_of(self)

    def call_failed(self, failure: Failure) -> None:
        """Log what a call raised, as a reactor does."""
        if self.alive:
            self._log.failure("Unhandled error in {process}", failure, process=self.name)

    # --------------------------------------------------------------------------------------------------- IReactorTCP

    def listenTCP(self, port: int, factory: IProtocolFactory, backlog: int = 50, interface: str = "") -> MemoryPort:
        """Listen on a port of this host; of a dead process, do nothing."""
        if not self.alive:
            return MemoryPort(self.network, self, self.host, port, "any", factory)
        return self.network.listen(self, self.host, port, factory, interface)

    def connectTCP(
        self,
        host: str,
        port: int,
        factory: ClientFactory[Any],
        timeout: float | None = 30,
        bindAddress: object = None,
    ) -> MemoryConnector:
        """Connect to a host by name or address; of a dead process, do nothing. `bindAddress` changes nothing."""
        if not self.alive:
            return MemoryConnector(self.network, self, self.host, host, port, factory, timeout)
        return self.network.connect(self, self.host, host, port, factory, timeout)

    def installNameResolver(self, resolver: IHostnameResolver) -> IHostnameResolver:
        """Let names be resolved by another resolver; the one before."""
        before, self.nameResolver = self.nameResolver, resolver
        return before

    # ------------------------------------------------------------------------------------------------ threads

    def callFromThread(self, callable: Callable[..., Any], *args: object, **kwargs: object) -> None:
        """Call at the next turn."""
        self.callLater(0, callable, *args, **kwargs)

    def run_off_reactor(self, f: Callable[..., _T], *args: Any, **kw: Any) -> Deferred[_T]:
        """Run a blocking function as a thread pool would: all of it at one later time, and the Deferred fires later
        still.

        Both times are the seed's choice. Other things happen between, so functions asked for together run in any
        order, and a crash may come when the function has run and nobody has heard of it.
        """
        done: Deferred[_T] = Deferred()

        def run() -> None:
            try:
                result: _T | Failure = f(*args, **kw)
            except Exception:
                result = Failure()
            self.callLater(self.off_reactor_delay(self.random), done.callback, result)

        run.__qualname__ = "off_reactor"
        self.callLater(self.off_reactor_delay(self.random), run)
        return done

    def own_thread(self) -> OwnThread:
        """A new `off_reactor` whose functions run one after the other, as on a thread of its own."""
        return OwnThread(self)

    # ----------------------------------------------------------------------------------------------------- IReactorCore

    def resolve(self, name: str, timeout: Sequence[int] = (1, 3, 11, 45)) -> Deferred[str]:
        """The address of a host, or DNSLookupError."""
        address = self.network.find_address(self.host, name)
        return fail(DNSLookupError(f"there is no host {name!r}")) if address is None else succeed(address)

    def run(self) -> None:
        """Raises: the world runs its reactors."""
        raise RuntimeError("a simulated reactor is run by its world")

    def iterate(self, delay: float = 0) -> None:
        """Raises: the world runs its reactors."""
        raise RuntimeError("a simulated reactor is run by its world")

    def crash(self) -> None:
        """Stop without shutdown triggers, as the method of that name in Twisted does; the process's calls still run
        until it is killed.
        """
        self.running = False

    def stop(self) -> None:
        """Shut the process down: the shutdown triggers run from the next turn on, then the process exits."""
        if not self.running or self.stopping:
            raise ReactorNotRunning("Can't stop reactor that isn't running.")
        self.stopping = True
        self.callFromThread(self.fireSystemEvent, "shutdown")

    def start_running(self) -> None:
        """Run the startup triggers; for whoever starts the process."""
        self.running = True
        self.fireSystemEvent("startup")

    def callWhenRunning(self, callable: Callable[..., Any], *args: object, **kwargs: object) -> _Trigger | None:
        """Call at once when running, else after startup."""
        if self.running:
            callable(*args, **kwargs)
            return None
        return self.addSystemEventTrigger("after", "startup", callable, *args, **kwargs)

    def addSystemEventTrigger(
        self, phase: str, eventType: str, callable: Callable[..., Any], *args: object, **kwargs: object
    ) -> _Trigger:
        """Let `callable` be called "before", "during" or "after" an event; "during" waits for the Deferreds of
        "before".
        """
        if phase not in ("before", "during", "after"):
            raise KeyError("invalid phase")
        trigger = _Trigger(eventType, phase, callable, args, kwargs)
        self._triggers.append(trigger)
        return trigger

    def removeSystemEventTrigger(self, triggerID: _Trigger) -> None:
        """Take a trigger back; ValueError when it is not there."""
        self._triggers.remove(triggerID)

    def fireSystemEvent(self, eventType: str) -> None:
        """Run the triggers of an event, phase by phase; the end of "shutdown" is the end of the process."""
        if eventType == "shutdown":
            self.stopping = True
        results = self._fire(eventType, "before")
        waiting = [result for result in results if isinstance(result, Deferred)]
        DeferredList(waiting, consumeErrors=False).addCallback(self._go_on_firing, eventType)

    def _go_on_firing(self, _results: object, event: str) -> None:
        self._fire(event, "during")
        self._fire(event, "after")
        if event == "shutdown":
            self.running = False
            if self.on_exit is not None and self.alive:
                self.on_exit()

    def _fire(self, event: str, phase: str) -> list[Any]:
        """Call the triggers of one phase, those that are added meanwhile too; what they return."""
        results: list[Any] = []
        while True:
            trigger = next((each for each in self._triggers if each.event == event and each.phase == phase), None)
            if trigger is None:
                return results
            self._triggers.remove(trigger)
            try:
                results.append(trigger.function(*trigger.args, **trigger.kw))
            except Exception:
                self.call_failed(Failure())

    # ---------------------------------------------------------------------------------------------------- the end

    def die(self) -> None:
        """The process is gone: its calls, ports and connections are no more, and nothing of it is told."""
        self.alive = self.running = False
        self._remains += self.network.kill(self)
        self._remains += self._clock.drop(self)

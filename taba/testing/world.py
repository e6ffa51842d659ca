"""A world: machines, the network between them and one virtual time, all a function of a seed.

Only the reactor, the network and the disks are simulated; the services, web servers and HTTP clients that run on them
are the production code. A world is single-threaded, and a run repeats to the byte: `World.fingerprint` is equal for
equal seeds and equal deeds.

    with World(seed=7) as world:
        server, agent = world.node("server-1"), world.node("agent-1")
        server.start(make_server)                     # make_server(process) -> IService
        agent.start(make_agent)
        world.advance(10.0)
        world.network.partition("server-1", "agent-1")
        agent.crash()
        world.advance(5.0)
        world.network.heal()
        agent.restart()
        world.run_until(lambda: all_counted(world), limit=120.0)
        world.check_quiet()

Rules for the code under test, without which a run does not repeat: take the reactor, wall clock, randomness, new ids
and `off_reactor` from the `Process`; give `reactor=` to Site, Agent, HTTPConnectionPool and every treq request (treq
imports the global reactor otherwise), and treq bodies that write themselves (`HTTPClient(agent,
data_to_body_producer=...)`): treq's own and `twisted.web.static.File` use `task.cooperate`, which runs on the global
reactor. `World.check_quiet` finds what was scheduled there. And no cleanup may hang on garbage collection.

Faults are verbs of the nodes, of their disks and of `world.network`. Each notes the state that it met (`state_of`),
so that a test can demand that its runs met them all: `met`, `met_table`.
"""

from __future__ import annotations

import gc
import hashlib
import sys
from collections import Counter
from collections.abc import Callable, Mapping
from random import Random
from types import TracebackType
from typing import Any, TypeVar

from attrs import define, field, frozen
from twisted.internet.defer import Deferred
from twisted.internet.task import Cooperator
from twisted.logger import ILogObserver, LogEvent, LogLevel, formatEvent, globalLogPublisher
from twisted.python.failure import Failure
from zope.interface import implementer

from taba.testing.clock import HeapClock, VirtualCall, name_of
from taba.testing.disk import MemoryDisk
from taba.testing.network import MemoryNetwork
from taba.testing.node import Node, Process

EPOCH = 1_700_000_000.0  # seconds since 1970
_T = TypeVar("_T")


class NotReached(AssertionError):
    """What was waited for did not come; the text says what is pending."""


class NotQuiet(AssertionError):
    """Errors were logged, or the global reactor was used; the text says which."""


@frozen
class Problem:
    """One error that was logged."""

    time: float
    text: str
    failure: Failure | None


@implementer(ILogObserver)
@define(eq=False, repr=False)
class World:
    """Nodes, network and time; all that is random comes from `seed`. Close it in the end: it listens to the log."""

    seed: int
    epoch: float = EPOCH
    """Wall time at virtual time 0."""
    keep_trace: bool = False
    """Whether `trace` keeps every event, beside the fingerprint of them."""
    state_of: Callable[[str], str] | None = None
    """Says in what state a fault meets the node of a name; without it "up" or "down"."""
    clock: HeapClock = field(factory=HeapClock, init=False)
    random: Random = field(init=False)
    """For the choices of the test itself; the network, the disks and the processes have their own."""
    network: MemoryNetwork = field(init=False)
    nodes: dict[str, Node] = field(factory=dict, init=False)
    trace: list[str] = field(factory=list, init=False)
    meetings: Counter[tuple[str, str]] = field(factory=Counter, init=False)
    """(verb, state) -> how often; counters of several runs can be added up."""
    problems: list[Problem] = field(factory=list, init=False)
    """The errors that were logged and not flushed."""
    _digest: Any = field(init=False, repr=False)
    _graves: list[Process] = field(factory=list, init=False)
    _known_real_calls: list[object] = field(init=False, repr=False)
    _closed: bool = field(default=False, init=False)

    def __attrs_post_init__(self) -> None:
        if not gc.get_freeze_count():
            gc.freeze()  # Modules outlive all worlds: to search them again was most of what `check_quiet` cost.
        self._digest = hashlib.blake2b(digest_size=16)
        self.random = self.new_random("test")
        self.network = MemoryNetwork(self.clock, self.new_random("network"), self.note, self._network_verb)
        self.clock.on_call = self._note_call
        self._known_real_calls = _real_calls()
        globalLogPublisher.addObserver(self)

    def __enter__(self) -> World:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Kill all processes, free the databases and stop listening to the log. Idempotent."""
        if self._closed:
            return
        self._closed = True
        globalLogPublisher.removeObserver(self)
        for node in self.nodes.values():
            if node.process is not None:
                node.process.running = False
                node.process.reactor.die()
                self.bury(node.process)
                node.process = None
            node.disk.close()

    # --------------------------------------------------------------------------------------------------------- nodes

    def node(self, name: str, disk: MemoryDisk | None = None) -> Node:
        """The machine of that name, made (with `disk`, or an empty one) when it is new."""
        node = self.nodes.get(name)
        if node is None:
            self.network.add_host(name)
            node = Node(self, name, disk or MemoryDisk(self.new_random(f"{name}/disk"), name))
            self.nodes[name] = node
            self.adopt_disk(node)
        elif disk is not None:
            raise ValueError(f"{name} has a disk; see Node.replace_disk")
        return node

    def new_random(self, purpose: str) -> Random:
        """A generator of its own for a purpose, so that more draws for one thing change nothing of another."""
        return Random(f"{self.seed}/{purpose}")

    def chance(self, p: float) -> bool:
        """True with probability `p`, by the seed."""
        return self.random.random() < p

    # ---------------------------------------------------------------------------------------------------------- time

    def advance(self, seconds: float) -> None:
        """Let virtual time pass."""
        self.clock.advance(seconds)

    def run_until(self, predicate: Callable[[], object], limit: float, what: str = "the predicate to be true") -> None:
        """Run event by event until `predicate()` is true; NotReached after `limit` virtual seconds, or when nothing
        is left to happen.
        """
        if not self.clock.run_until(predicate, limit):
            raise NotReached(f"waited {limit:g} s for {what}; {self.pending()}")

    def result_of(self, deferred: Deferred[_T], limit: float = 60.0) -> _T:
        """Run until a Deferred fires; its result, or its error raised."""
        results: list[_T | Failure] = []
        deferred.addBoth(results.append)
        self.run_until(lambda: results, limit, "a Deferred to fire")
        (result,) = results
        if isinstance(result, Failure):
            result.raiseException()
        return result

    def soon(self, function: Callable[[], object]) -> None:
        """Call `function` at the next turn, on behalf of nobody."""
        self.clock.callLater(0, function)

    def pending(self) -> str:
        """What is still to happen, in words."""
        calls = self.clock.getDelayedCalls()
        lines = [f"virtual time {self.clock.seconds():.6f}, {len(calls)} calls pending:"]
        lines += [f"  {call!r}" for call in calls[:20]]
        cuts = self.network.cuts()
        if cuts:
            lines.append(f"  partitions: {', '.join(f'{a} | {b}' for a, b in cuts)}")
        for connection in self.network.connections()[:20]:
            up, down = connection.up.bytes_in_flight, connection.down.bytes_in_flight
            lines.append(
                f"  connection {connection.number}: {connection.client_host} -> {connection.server_host}:"
                f"{connection.port}, under way {up} up, {down} down"
            )
        states = (f"{name} {'up' if node.process else 'down'}" for name, node in self.nodes.items())
        return "\n".join([*lines, f"  nodes: {', '.join(states)}"])

    # --------------------------------------------------------------------------------------------- traces and counters

    def note(self, line: str) -> None:
        """Add an event to the trace and the fingerprint; for tests, too."""
        stamped = f"{self.clock.seconds():.9f} {line}"
        self._digest.update(stamped.encode())
        self._digest.update(b"\n")
        if self.keep_trace:
            self.trace.append(stamped)

    def fingerprint(self) -> str:
        """A digest of everything that has happened: equal for runs that were equal, event by event and byte by byte."""
        return str(self._digest.hexdigest())

    def note_verb(self, verb: str, target: str) -> None:
        """Note that a fault meets a node; faults that a test makes itself note themselves with it."""
        if self.state_of is not None:
            state = self.state_of(target)
        else:
            node = self.nodes.get(target)
            state = "up" if node is not None and node.process is not None else "down"
        self.meetings[verb, state] += 1
        self.note(f"verb {verb} {target} {state}")

    def met(self, verb: str, state: str | None = None) -> int:
        """How often a verb met a state, or (None) any."""
        return sum(n for (each, met), n in self.meetings.items() if each == verb and state in (None, met))

    def met_table(self) -> str:
        """Which verb met which state how often, as text."""
        return met_table(self.meetings)

    # -------------------------------------------------------------------------------------------------------- quiet

    def check_quiet(self) -> None:
        """Raise NotQuiet when an error was logged since the world began, or something was scheduled on the global
        reactor.

        Under trial, errors that are expected must also be flushed from the test case.
        """
        gc.collect()  # a Deferred tells of an error that nobody took when it is freed
        complaints = [f"at {problem.time:.6f}: {problem.text}" for problem in self.problems]
        complaints += [
            f"scheduled on the global reactor: {name_of(getattr(call, 'func', None))}"
            for call in _real_calls()
            if not any(call is known for known in self._known_real_calls)
            or isinstance(getattr(getattr(call, "func", None), "__self__", None), Cooperator)
        ]
        if complaints:
            raise NotQuiet("\n".join(complaints))

    def flush_logged(self, *kinds: type[BaseException]) -> list[Failure]:
        """Take the logged failures of these kinds (all, when none is named) out of `problems`: they were expected."""
        taken = [
            problem
            for problem in self.problems
            if problem.failure is not None and (not kinds or problem.failure.check(*kinds))
        ]
        self.problems = [problem for problem in self.problems if problem not in taken]
        return [problem.failure for problem in taken if problem.failure is not None]

    def __call__(self, event: LogEvent) -> None:
        """Take an event of the log."""
        failure = event.get("log_failure")
        if failure is None and event.get("log_level") is not LogLevel.critical:
            return
        text = formatEvent(event)
        if isinstance(failure, Failure):
            text = f"{text}\n{failure.getTraceback()}"
        self.problems.append(Problem(self.clock.seconds(), text, failure if isinstance(failure, Failure) else None))

    # ------------------------------------------------------------------------------------------------ for the nodes

    def bury(self, process: Process) -> None:
        """Keep a dead process: freeing it would run the `finally` blocks of its coroutines, which kill -9 does not."""
        self._graves.append(process)

    def adopt_disk(self, node: Node) -> None:
        """Let the verbs of a node's disk note the node, and its operations stand in the trace."""
        node.disk.on_verb = lambda verb: self.note_verb(verb, node.name)
        node.disk.on_note = self.note

    def _network_verb(self, verb: str, hosts: tuple[str, ...]) -> None:
        for host in hosts:
            self.note_verb(verb, host)

    def _note_call(self, call: VirtualCall) -> None:
        assert call.owner is not None
        self.note(f"call {call.owner.name} {call.what()}")


def met_table(meetings: Mapping[tuple[str, str], int]) -> str:
    """A table of verbs, the states that they met, and how often."""
    rows = [(verb, state, str(count)) for (verb, state), count in sorted(meetings.items())]
    rows.insert(0, ("verb", "state", "times"))
    widths = [max(len(row[column]) for row in rows) for column in (0, 1)]
    return "\n".join(f"{verb:<{widths[0]}}  {state:<{widths[1]}}  {count:>7}" for verb, state, count in rows)


def _real_calls() -> list[object]:
    """What is scheduled on the global reactor, when somebody has imported it; importing it here would install it."""
    reactor = sys.modules.get("twisted.internet.reactor")
    return list(reactor.getDelayedCalls()) if reactor is not None else []

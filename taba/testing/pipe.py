"""What lies between the two ends of a simulated TCP connection: a pipe of bytes for each direction.

A `Pipe` is ordered and bounded in bytes; it cuts what it is given into chunks at random points, and each chunk is
late by a random time. It carries the signals of TCP as well, in order with the bytes. While the network is cut,
nothing leaves it.
"""

from __future__ import annotations

from collections import deque
from enum import Enum
from typing import TYPE_CHECKING

from attrs import define, field

from taba.testing.clock import VirtualCall
from taba.testing.recorder import RequestCutter

if TYPE_CHECKING:
    from taba.testing.network import MemoryNetwork
    from taba.testing.transport import MemoryTransport


class Signal(Enum):
    """What travels on a pipe beside bytes."""

    SYN = "syn"
    ACCEPTED = "accepted"
    REFUSED = "refused"
    FIN = "fin"
    RESET = "reset"


@define(eq=False)
class Pipe:
    """One direction of a connection: what is under way from `source` to `target`, in order.

    At most one call of the clock stands for it, for the first thing to arrive; while the network is cut between the
    two, none does.
    """

    network: MemoryNetwork
    connection: Connection
    source: str
    target: str
    flight: deque[tuple[float, bytes | Signal]] = field(factory=deque, init=False)
    bytes_in_flight: int = field(default=0, init=False)
    closed: bool = field(default=False, init=False)
    """Whether FIN or RESET was put in: nothing follows."""
    _last_arrival: float = field(default=0.0, init=False)
    _event: VirtualCall | None = field(default=None, init=False)

    def send(self, data: bytes) -> None:
        """Put bytes in, cut at random points."""
        start = 0
        while start < len(data):
            end = start + self.network.chunk_length(len(data) - start)
            self.bytes_in_flight += end - start
            self.put(data[start:end] if end - start < len(data) else data)
            start = end

    def put(self, what: bytes | Signal) -> None:
        """Put something in, to arrive after a random delay and after all that was put in before."""
        now = self.network.clock.seconds()
        self._last_arrival = max(self._last_arrival, now + self.network.delay_between(self.source, self.target))
        self.flight.append((self._last_arrival, what))
        self.start()

    def close(self, signal: Signal) -> None:
        """Put the last thing in, FIN or RESET."""
        if not self.closed:
            self.closed = True
            self.put(signal)

    def lose_some(self) -> None:
        """Lose what is under way from some point on that the seed chooses."""
        keep = self.network.random.randint(0, len(self.flight))
        while len(self.flight) > keep:
            _arrival, what = self.flight.pop()
            if isinstance(what, bytes):
                self.bytes_in_flight -= len(what)
        if not self.flight:
            self.stop()

    def clear(self) -> None:
        """Lose all that is under way."""
        self.flight.clear()
        self.bytes_in_flight = 0
        self.stop()

    def stop(self) -> None:
        """Let nothing arrive until `start`."""
        if self._event is not None:
            self._event.cancel()
            self._event = None

    def start(self) -> None:
        """Let things arrive at their times."""
        if self._event is None and self.flight and not self.network.is_cut(self.source, self.target):
            delay = max(0.0, self.flight[0][0] - self.network.clock.seconds())
            self._event = self.network.clock.callLater(delay, self._arrive)

    def retransmit(self, after: float) -> None:
        """The network is whole again: let what was held back arrive, the first of it in `after` seconds. Some RESETs
        were lost meanwhile.
        """
        earliest = self.network.clock.seconds() + after
        held = [(max(arrival, earliest), what) for arrival, what in self.flight]
        self.flight = deque(
            (arrival, what) for arrival, what in held if what is not Signal.RESET or self.network.random.random() < 0.5
        )
        if self.flight:
            self._last_arrival = self.flight[-1][0]
        self.start()

    def tells_the_end(self) -> bool:
        """Whether something is under way that ends the connection for the receiver."""
        return any(what is Signal.FIN or what is Signal.RESET for _arrival, what in self.flight)

    def _arrive(self) -> None:
        self._event = None
        _arrival, what = self.flight.popleft()
        if isinstance(what, bytes):
            self.bytes_in_flight -= len(what)
        self.connection.arrived(self, what)
        self.start()


@define(eq=False)
class Connection:
    """The two ends of a connection and the pipes between them; `server` is None until the SYN has arrived."""

    network: MemoryNetwork
    number: int
    """Counts the connections of the network from 1; names this one in traces."""
    client_host: str
    server_host: str
    port: int
    loopback: bool
    server: MemoryTransport | None = field(default=None, init=False)
    client: MemoryTransport = field(init=False)
    up: Pipe = field(init=False)
    down: Pipe = field(init=False)
    cutter: RequestCutter | None = None
    """Of a connection whose requests are recorded."""

    def __attrs_post_init__(self) -> None:
        self.up = Pipe(self.network, self, self.client_host, self.server_host)
        self.down = Pipe(self.network, self, self.server_host, self.client_host)

    def ends(self) -> list[MemoryTransport]:
        """The ends there are."""
        return [self.client] if self.server is None else [self.client, self.server]

    def arrived(self, pipe: Pipe, what: bytes | Signal) -> None:
        """Hand to an end what reached it."""
        upwards = pipe is self.up
        size = len(what) if isinstance(what, bytes) else what.value
        self.network.note(f"arrive {self.number}{'>' if upwards else '<'} {size}")
        end = self.server if upwards else self.client
        if what is Signal.SYN:
            self.network.syn_arrived(self)
        elif end is not None:
            end.arrived(what)
        self.forget_if_over()

    def forget_if_over(self) -> None:
        """Take the connection out of the network when nothing can happen on it any more."""
        if not (self.up.flight or self.down.flight) and all(end.disconnected for end in self.ends()):
            self.network.forget(self)

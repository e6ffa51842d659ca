"""StatsD: lines of datagrams and streams, gathered natively and given to scratches by tab."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from attrs import frozen

from taba.errors import LimitReached
from taba.native.core import blob_of, ffi, lib, owned, verify
from taba.native.requests import Limits, Scratch

STATSD_METRICS: Final = ("c", "g", "ms", "h", "d", "s")
"""The metrics, in the order of their numbers."""
STATSD_REASONS: Final[tuple[str, ...]] = tuple(
    ffi.string(lib.taba_statsd_reason_name(reason)).decode() for reason in range(lib.TABA_STATSD_REASONS)
)
"""Why a line may be refused."""
STATSD_IGNORED: Final = ("event", "check", "unused")
"""What is understood and nothing for Taba: DogStatsD's events and service checks, and metrics without a Type."""
STATSD_LINE_MAX: Final[int] = lib.TABA_STATSD_LINE_MAX
STATSD_WEIGHT_MAX: Final[int] = lib.TABA_STATSD_WEIGHT_MAX
EVERYTHING: Final = (1 << 63) - 1


@frozen
class StatsdCounts:
    """What happened since the counts were taken before. `samples` has the beginning of the first line refused for each
    reason.
    """

    lines: int = 0
    accepted: int = 0
    refused: Mapping[str, int] = {}
    ignored: Mapping[str, int] = {}
    collisions: int = 0
    samples: Mapping[str, bytes] = {}
    tabs: int = 0
    """(tab, metric) known."""
    memory: int = 0
    """Bytes held."""
    names: int = 0
    """Those of them that names take."""


@frozen
class Received:
    """What was received from a socket. `lines` are those of datagrams that were only counted; `error` is the errno that
    ended it, 0 for none; `exhausted` says that memory ran out, and lines were refused for that.
    """

    datagrams: int
    bytes: int
    lines: int = 0
    error: int = 0
    exhausted: bool = False


class StatsdScratch(Scratch):
    """What a Statsd gives: a scratch that no parser fills."""

    kept = False

    def _parser_for(self, limits: Limits) -> Any:
        return None


class Statsd:
    """A gatherer of StatsD lines; see `taba_statsd` in the header. All senders are one client."""

    def __init__(self, client: str, *, max_name: int = 512, signed_gauges: bool = True) -> None:
        encoded = client.encode()
        new = lib.taba_statsd_new(encoded, len(encoded), max_name, signed_gauges, ffi.NULL)
        self._statsd = owned(new, lib.taba_statsd_free)
        self._clock = ffi.new("taba_statsd_clock *")
        self._received = ffi.new("taba_statsd_received *")
        self._summary = ffi.new("taba_statsd_summary *")

    def map(self, metric: str, type: str, kind: int | None) -> None:
        """Let a metric be events of a Type of a kind; "" ignores it, kind None refuses it for now. The window must be
        empty. ValueError for an s whose Type takes numbers.
        """
        encoded = type.encode()
        number = STATSD_METRICS.index(metric)
        verify(lib.taba_statsd_map(self._statsd, number, encoded, len(encoded), -1 if kind is None else kind))

    def at(self, now: float, newest: float) -> None:
        """What comes from now on has this time; none may be later than `newest`."""
        self._clock.now, self._clock.newest = now, newest

    def datagram(self, data: bytes) -> None:
        """Take a whole datagram. MemoryError: lines of it were refused for want of memory."""
        verify(lib.taba_statsd_datagram(self._statsd, self._clock, *blob_of(data)))

    def receive(self, socket: int, most: int, discard: bool = False) -> Received:
        """Receive what waits at a socket, about `most` datagrams, and take it; with `discard` only count it."""
        out = self._received
        code = lib.taba_statsd_receive(self._statsd, self._clock, socket, most, discard, out)
        exhausted = code == lib.TABA_ENOMEM
        if not exhausted:
            verify(code)
        return Received(out.datagrams, out.bytes, out.lines, out.error, exhausted)

    def waiting(self) -> int:
        """The events in the window."""
        return int(lib.taba_statsd_waiting(self._statsd))

    def give(self, scratch: StatsdScratch, most: int = EVERYTHING) -> None:
        """Give about `most` events to an empty scratch. MemoryError, LimitReached or WrongType: the window is as it
        was.
        """
        scratch._told = None
        code = lib.taba_statsd_give(self._statsd, scratch._scratch, most)
        if code == lib.TABA_ELIMIT:
            raise LimitReached("memory of one request")
        verify(code)

    def take(self) -> StatsdCounts:
        """The counts; they begin anew."""
        out = self._summary
        lib.taba_statsd_take(self._statsd, out)
        samples = {
            reason: bytes(ffi.buffer(out.sample[i].bytes, out.sample[i].length))
            for i, reason in enumerate(STATSD_REASONS)
            if out.refused[i] and out.sample[i].bytes != ffi.NULL
        }
        return StatsdCounts(
            lines=out.lines,
            accepted=out.accepted,
            refused={reason: out.refused[i] for i, reason in enumerate(STATSD_REASONS) if out.refused[i]},
            ignored={name: out.ignored[i] for i, name in enumerate(STATSD_IGNORED) if out.ignored[i]},
            collisions=out.collisions,
            samples=samples,
            tabs=out.tabs,
            memory=out.memory,
            names=out.names,
        )

    def clear(self, names: bool = False) -> None:
        """Forget the window, and, with `names`, all that is kept of names."""
        lib.taba_statsd_clear(self._statsd, names)


class StatsdStream:
    """One stream of lines on its way into a Statsd."""

    def __init__(self, statsd: Statsd) -> None:
        self._statsd = statsd
        self._stream = owned(lib.taba_statsd_stream_new(ffi.NULL), lib.taba_statsd_stream_free)

    def feed(self, data: bytes) -> None:
        """The next bytes. MemoryError: lines of them were refused for want of memory, and the stream is to be ended."""
        statsd = self._statsd
        verify(lib.taba_statsd_stream_feed(self._stream, statsd._statsd, statsd._clock, *blob_of(data)))

    def end(self, whole: bool) -> None:
        """The stream is over; unless `whole`, a line without a LF at its end is refused."""
        statsd = self._statsd
        verify(lib.taba_statsd_stream_end(self._stream, statsd._statsd, statsd._clock, whole))

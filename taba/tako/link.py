"""The asking end of a connection to a node: many questions under way at a time, many of them in one message.

A `Link` gathers the reads and writes of one turn of the reactor and sends each kind as one message. After a message
that is none, and when an answer takes longer than the patience of the asker, the connection ends. The other end is in
answering.py.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from attrs import define, field, frozen
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.protocol import Protocol, connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure

from taba.tako import wire
from taba.tako.errors import (
    BadKey,
    BadMessage,
    ClockAhead,
    Damaged,
    DiskFull,
    Gone,
    Refused,
    StorageFailed,
    Unreachable,
)

BATCH_BYTES = 1024 * 1024
"""A message is sent when its values have so many bytes."""
BATCH_ROWS = 500


# ----------------------------------------------------------------------------------------------------- errors as words

CODES: Mapping[str, type[Exception]] = {
    "ahead": ClockAhead, "full": DiskFull, "damaged": Damaged, "gone": Gone, "storage": StorageFailed, "key": BadKey,
}  # fmt: skip
"""The words of docs/tako/reference.md for what can go wrong."""


def error_from(code: str, reason: str, version: int) -> Exception:
    """The exception that an answer tells of."""
    kind = CODES.get(code)
    if kind is not None and issubclass(kind, StorageFailed | Gone):
        return kind(reason)
    return Refused(code, reason, version)


# ---------------------------------------------------------------------------------------------------- the asking end


@frozen
class Greeting:
    """What the asking end says first."""

    sender: str
    """The id of the node or proxy."""
    node: str
    """The id of the node that it wants to talk to."""
    token: str | None = None

    def message(self) -> bytes:
        """Its bytes."""
        token = {} if self.token is None else {"token": self.token}
        return wire.encode_message({"tako": wire.PROTOCOL, "from": self.sender, "to": self.node, **token})


@define(eq=False)
class Batch:
    """Reads or writes that go out as one message."""

    kind: str
    rows: list[list[Any]] = field(factory=list)
    blobs: list[bytes] = field(factory=list)
    size: int = 0
    waiting: list[tuple[Deferred[Any], Decode]] = field(factory=list)


Decode = Callable[[Any, tuple[bytes, ...]], Any]
"""Makes of an answer's row, and the answer's blobs, what was asked for; BadMessage."""


class Link(Protocol):
    """The asking end of one connection. `up` fires once the node has answered the greeting, or fails."""

    _log = Logger()

    def __init__(
        self, greeting: Greeting, clock: IReactorTime, version: Callable[[], int], patience: float,
        wall: Callable[[], float],
    ) -> None:  # fmt: skip
        """`version` is that of the configuration in force here, `patience` the seconds that an answer may take, `wall`
        the wall time here.
        """
        self.up: Deferred[Link] = Deferred()
        self.lost: Callable[[], object] = lambda: None
        """Called when the connection has ended, for whatever reason."""
        self.refused: Callable[[Refused], object] = lambda _: None
        """Called when the node refused a whole message."""
        self.told_time: Callable[[int], object] = lambda _: None
        """Called with the node's clock, in microseconds, with each of its messages."""
        self._greeting, self._clock, self._version, self._patience = greeting, clock, version, patience
        self._wall = wall
        self._messages = wire.Messages()
        self._greeted = False
        self._number = 0
        self._batches: dict[str, Batch] = {}
        self._flushing: Any = None
        self._asked: dict[int, list[tuple[Deferred[Any], Decode]]] = {}
        self._deadlines: deque[tuple[float, int]] = deque()
        self._watch: Any = None
        self._why = "the connection was lost"

    def connectionMade(self) -> None:
        """Greet."""
        self._send(0, self._greeting.message())

    def ask_row(self, kind: str, row: list[Any], decode: Decode, blob: bytes | None = None) -> Deferred[Any]:
        """Ask for one read or write, together with others of this turn; what `decode` makes of the answer's row."""
        batch = self._batches.get(kind)
        if batch is None:
            batch = self._batches[kind] = Batch(kind)
            if self._flushing is None:
                self._flushing = self._clock.callLater(0, self._flush)
        if blob is not None:
            row.append(len(batch.blobs))
            batch.blobs.append(blob)
            batch.size += len(blob)
        batch.rows.append(row)
        done: Deferred[Any] = Deferred()
        batch.waiting.append((done, decode))
        if batch.size >= BATCH_BYTES or len(batch.rows) >= BATCH_ROWS:
            del self._batches[kind]
            self._send_batch(batch)
        return done

    def ask(self, question: str, arguments: Mapping[str, Any], blobs: Sequence[bytes] = ()) -> Deferred[Any]:
        """Ask a question of its own; its answer."""
        number = self._next()
        done: Deferred[Any] = Deferred()
        self._asked[number] = [(done, _whole_answer)]
        header = {"id": number, "v": self._version(), "ask": question, "with": dict(arguments)}
        self._send(number, wire.encode_message(header, blobs))
        return done

    def _next(self) -> int:
        self._number += 1
        return self._number

    def _flush(self) -> None:
        self._flushing = None
        batches, self._batches = self._batches, {}
        for batch in batches.values():
            self._send_batch(batch)

    def _send_batch(self, batch: Batch) -> None:
        number = self._next()
        self._asked[number] = batch.waiting
        header: dict[str, Any] = {"id": number, "v": self._version(), batch.kind: batch.rows}
        if batch.kind == "write":
            header["now"] = int(self._wall() * 1e6)
        self._send(number, wire.encode_message(header, batch.blobs))

    def _send(self, number: int, message: bytes) -> None:
        self._deadlines.append((self._clock.seconds() + self._patience, number))
        if self._watch is None:
            self._watch = self._clock.callLater(self._patience, self._look)
        assert self.transport is not None
        self.transport.write(message)

    def _look(self) -> None:
        """End the connection when what was asked longest ago has had its time."""
        self._watch = None
        while self._deadlines and self._is_answered(self._deadlines[0][1]):
            self._deadlines.popleft()
        if not self._deadlines:
            return
        left = self._deadlines[0][0] - self._clock.seconds()
        if left > 0:
            self._watch = self._clock.callLater(left, self._look)
            return
        self.abort(f"no answer in {self._patience:g} seconds")

    def _is_answered(self, number: int) -> bool:
        return number not in self._asked if number else self._greeted

    def abort(self, why: str) -> None:
        """End the connection at once; everything asked fails with Unreachable."""
        self._why = why
        transport: Any = self.transport
        if transport is not None:
            transport.abortConnection()

    def dataReceived(self, data: bytes) -> None:
        """Take answers."""
        try:
            for message in self._messages.receive(data):
                self._take(message)
        except BadMessage as problem:
            self.abort(f"it sent no message: {problem}")

    def _take(self, message: wire.Message) -> None:
        header = message.header
        version = wire.whole(header.get("v", 0), "v")
        if "now" in header:
            self.told_time(wire.whole(header["now"], "now"))
        refused = header.get("refused")
        if not self._greeted:
            if refused is not None:
                code, reason = wire.row(refused, "refused", 2)
                self.abort(f"it refuses: {reason}")
                return
            if header.get("tako") != wire.PROTOCOL or header.get("node") != self._greeting.node:
                raise BadMessage("no greeting")
            self._greeted = True
            up, self.up = self.up, Deferred()
            up.callback(self)
            return
        waiting = self._asked.pop(wire.whole(header.get("to"), "to"), None)
        if waiting is None:
            return  # it was given up
        if refused is not None:
            code, reason = wire.row(refused, "refused", 2)
            problem = error_from(wire.string(code, "code"), wire.string(reason, "reason"), version)
            if isinstance(problem, Refused):
                self.refused(problem)
            for done, _ in waiting:
                done.errback(problem)
        elif "rows" in header:
            self._give_rows(waiting, wire.rows(header["rows"], "rows"), message.blobs, version)
        else:
            waiting[0][0].callback((header.get("answer"), message.blobs))

    def _give_rows(
        self, waiting: list[tuple[Deferred[Any], Decode]], answers: list[Any], blobs: tuple[bytes, ...], version: int
    ) -> None:
        if len(answers) != len(waiting):
            raise BadMessage("rows: not one for each")
        for answer, (done, decode) in zip(answers, waiting, strict=True):
            if type(answer) is list and answer and answer[0] == "!":
                _, code, reason = wire.row(answer, "row", 3)
                done.errback(error_from(wire.string(code, "code"), wire.string(reason, "reason"), version))
                continue
            try:
                result = decode(answer, blobs)
            except BadMessage as problem:
                done.errback(StorageFailed(f"its answer cannot be understood: {problem}"))
            else:
                done.callback(result)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Fail all that is under way."""
        for call in (self._watch, self._flushing):
            if call is not None and call.active():
                call.cancel()
        self._watch = self._flushing = None
        waiting = [done for batch in self._batches.values() for done, _ in batch.waiting]
        waiting += [done for asked in self._asked.values() for done, _ in asked]
        self._batches, self._asked = {}, {}
        if not self._greeted:
            waiting.append(self.up)
        self.lost()
        for done in waiting:
            if not done.called:
                done.errback(Unreachable(self._greeting.node, self._why))


def _whole_answer(answer: Any, blobs: tuple[bytes, ...]) -> Any:
    return answer, blobs

"""The two ends of a connection between nodes: many questions under way at a time, many of them in one message.

The asking end (`Link`) gathers the reads and writes of one turn of the reactor and sends each kind as one message; the
answering end (`Answering`) does them all at once and answers in one message. After a message that is none, and when an
answer takes longer than the patience of the asker, the connection ends.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from attrs import define, field, frozen
from twisted.internet.defer import Deferred, DeferredList
from twisted.internet.interfaces import IReactorTime
from twisted.internet.protocol import Factory, Protocol, connectionDone
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
from taba.tako.interfaces import Found, Write
from taba.tako.replica import Replica, version_from, version_row

GREETING_SECONDS = 10.0
"""How long whoever connects may take to say who they are."""
MAX_UNANSWERED = 64 * 1024 * 1024
"""Bytes of questions of one connection under way, beyond which no more is read from it."""
BATCH_BYTES = 1024 * 1024
"""A message is sent when its values have so many bytes."""
BATCH_ROWS = 500


# ----------------------------------------------------------------------------------------------------- errors as words

_CODES: Mapping[str, type[Exception]] = {
    "ahead": ClockAhead, "full": DiskFull, "damaged": Damaged, "gone": Gone, "storage": StorageFailed, "key": BadKey,
}  # fmt: skip


def error_row(failure: Failure) -> list[Any]:
    """What went wrong, as it stands in an answer."""
    problem = failure.value
    if isinstance(problem, Refused):
        return ["!", problem.code, problem.reason]
    code = next((code for code, kind in _CODES.items() if type(problem) is kind), "failed")
    return ["!", code, str(problem)[:500] or type(problem).__name__]


def error_from(code: str, reason: str, version: int) -> Exception:
    """The exception that an answer tells of."""
    kind = _CODES.get(code)
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

    def __init__(self, greeting: Greeting, clock: IReactorTime, version: Callable[[], int], patience: float) -> None:
        """`version` is that of the configuration in force here, `patience` the seconds that an answer may take."""
        self.up: Deferred[Link] = Deferred()
        self.lost: Callable[[], object] = lambda: None
        """Called when the connection has ended, for whatever reason."""
        self.refused: Callable[[Refused], object] = lambda _: None
        """Called when the node refused a whole message."""
        self._greeting, self._clock, self._version, self._patience = greeting, clock, version, patience
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
        header = {"id": number, "v": self._version(), batch.kind: batch.rows}
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


# -------------------------------------------------------------------------------------------------- the answering end


class Answering(Protocol):
    """The answering end of one connection."""

    _log = Logger()

    def __init__(self, factory: AnsweringFactory) -> None:
        self._factory = factory
        self._replica = factory.replica
        self._messages = wire.Messages()
        self._asker: str | None = None
        self._unanswered = 0
        self._paused = False
        self._gone = False
        self._greeting_due: Any = None

    def connectionMade(self) -> None:
        """Wait for the greeting, not for ever."""
        self._factory.connections.add(self)
        transport: Any = self.transport
        self._greeting_due = self._factory.clock.callLater(GREETING_SECONDS, transport.abortConnection)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Answers to come have nowhere to go."""
        self._gone = True
        self._factory.connections.discard(self)
        if self._greeting_due.active():
            self._greeting_due.cancel()

    def dataReceived(self, data: bytes) -> None:
        """Take questions."""
        transport: Any = self.transport
        try:
            for message in self._messages.receive(data):
                self._take(message, len(data))
        except BadMessage as problem:
            self._factory.bad_messages += 1
            self._send({"to": 0, "refused": ["message", str(problem)]})
            transport.loseConnection()

    def _send(self, header: dict[str, Any], blobs: Sequence[bytes] = ()) -> None:
        if not self._gone and self.transport is not None:
            header["v"] = self._replica.placement().configuration.version
            self.transport.write(wire.encode_message(header, blobs))

    def _take(self, message: wire.Message, size: int) -> None:
        header = message.header
        if self._asker is None:
            self._greet(header)
            return
        number = wire.whole(header.get("id"), "id", 1)
        try:
            if "ask" not in header or header["ask"] not in ("configuration", "version"):
                self._replica.check_version(wire.whole(header.get("v"), "v"), self._asker)
        except Refused as refused:
            self._send({"to": number, "refused": [refused.code, refused.reason]})
            return
        if "read" in header:
            answering = [self._read(row) for row in wire.rows(header["read"], "read")]
            self._answer_rows(number, answering, sum(map(len, message.blobs)))
        elif "write" in header:
            answering = [self._write(row, message.blobs) for row in wire.rows(header["write"], "write")]
            self._answer_rows(number, answering, sum(map(len, message.blobs)))
        else:
            self._answer(number, header, message.blobs)

    def _greet(self, header: dict[str, Any]) -> None:
        """Let those in who show the token and want to talk to this node."""
        problem = None
        shown = wire.string(header.get("token") or "", "token")
        if header.get("tako") != wire.PROTOCOL:
            problem = f"this is Tako's internal protocol {wire.PROTOCOL}"
        elif not self._factory.accepts(shown):
            problem = "the token is not the one that is asked for here"
            self._factory.strangers += 1
        elif header.get("to") != self._replica.node:
            problem = f"this is node {self._replica.node}, not {wire.string(header.get('to'), 'to')}"
        if problem is not None:
            self._send({"to": 0, "refused": ["greeting", problem]})
            assert self.transport is not None
            self.transport.loseConnection()
            return
        self._greeting_due.cancel()
        self._asker = wire.string(header.get("from"), "from")
        self._send({"tako": wire.PROTOCOL, "node": self._replica.node})

    def _read(self, row: Any) -> Deferred[Any]:
        key, body = wire.row(row, "read", 2)
        return self._replica.read(wire.key_bytes(key), bool(body))

    def _write(self, row: Any, blobs: tuple[bytes, ...]) -> Deferred[Any]:
        key, stamp, tombstone, size, checksum, value = wire.row(row, "write", 6)
        version = version_from([stamp, tombstone, size, checksum])
        body, upload = None, None
        if type(value) is int:
            body = blobs[wire.whole(value, "value", 0, len(blobs) - 1)]
        elif value is not None:
            upload = wire.string(value, "upload", 100)
        return self._replica.write(Write(wire.key_bytes(key), version, body, upload))

    def _answer_rows(self, number: int, answering: list[Deferred[Any]], size: int) -> None:
        def answer(results: list[tuple[bool, Any]]) -> None:
            self._done(size)
            blobs: list[bytes] = []
            self._send({"to": number, "rows": [_row(result, blobs) for _, result in results]}, blobs)

        self._under_way(size)
        DeferredList(answering, consumeErrors=True).addCallback(answer)

    def _answer(self, number: int, header: dict[str, Any], blobs: tuple[bytes, ...]) -> None:
        question = wire.string(header.get("ask"), "ask", 40)
        arguments = wire.members(header.get("with", {}), "with")
        size = sum(map(len, blobs))

        def answer(result: Any) -> None:
            self._done(size)
            if isinstance(result, Failure):
                _, code, reason = error_row(result)
                self._send({"to": number, "refused": [code, reason]})
                if result.check(BadMessage) is None and code == "failed":
                    self._log.failure("Could not answer {question}", result, question=question)
            elif isinstance(result, bytes):
                self._send({"to": number, "answer": True}, [result])
            else:
                self._send({"to": number, "answer": result})

        self._under_way(size)
        self._perform(question, arguments, blobs).addBoth(answer)

    def _perform(self, question: str, arguments: dict[str, Any], blobs: tuple[bytes, ...]) -> Deferred[Any]:
        number = wire.whole(arguments.get("number", 0), "number", 0, 4095)
        if question == "stage":
            if len(blobs) != 1:
                raise BadMessage("stage: not one blob")
            upload = wire.string(arguments.get("upload"), "upload", 100)
            return self._replica.stage(upload, number, blobs[0]).addCallback(lambda _: True)
        if question == "piece":
            version = version_from(wire.rows(arguments.get("version"), "version"))
            return self._replica.piece(wire.key_bytes(arguments.get("key")), version, number)
        return self._replica.ask(question, arguments)

    def _under_way(self, size: int) -> None:
        self._unanswered += size
        if self._unanswered > MAX_UNANSWERED and not self._paused:
            self._paused = True
            transport: Any = self.transport
            transport.pauseProducing()

    def _done(self, size: int) -> None:
        self._unanswered -= size
        if self._paused and self._unanswered <= MAX_UNANSWERED // 2 and not self._gone:
            self._paused = False
            transport: Any = self.transport
            transport.resumeProducing()


def _row(result: Any, blobs: list[bytes]) -> Any:
    """A read's or write's result as a row; its value goes to `blobs`."""
    if result is None:
        return None
    if isinstance(result, Failure):
        return error_row(result)
    if isinstance(result, Found):
        row = version_row(result.version)
        if result.body is not None:
            row.append(len(blobs))
            blobs.append(result.body)
        return row
    return version_row(result)


class AnsweringFactory(Factory):
    """Makes the answering ends of a node. `accepts` says whether a token that is shown, perhaps empty, is a right one.
    """

    noisy = False

    def __init__(self, replica: Replica, clock: IReactorTime, accepts: Callable[[str], bool]) -> None:
        self.replica, self.clock, self.accepts = replica, clock, accepts
        self.connections: set[Answering] = set()
        self.bad_messages = 0
        self.strangers = 0

    def buildProtocol(self, addr: Any) -> Answering:
        """Called for each connection."""
        return Answering(self)

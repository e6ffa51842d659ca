"""The answering end of connections between nodes: does all that is asked in one message at once, and answers in one.

Whoever connects has to greet first, with the token where one is wanted. A message that is none ends the connection.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from twisted.internet.defer import Deferred, DeferredList
from twisted.internet.interfaces import IReactorTime
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure

from taba.tako import wire
from taba.tako.errors import BadMessage, Refused
from taba.tako.interfaces import Found, Write
from taba.tako.link import CODES
from taba.tako.replica import Replica, version_from, version_row

GREETING_SECONDS = 10.0
"""How long whoever connects may take to say who they are."""
MAX_UNANSWERED = 64 * 1024 * 1024
"""Bytes of questions of one connection under way, beyond which no more is read from it."""


def error_row(failure: Failure) -> list[Any]:
    """What went wrong, as it stands in an answer."""
    problem = failure.value
    if isinstance(problem, Refused):
        return ["!", problem.code, problem.reason]
    code = next((code for code, kind in CODES.items() if type(problem) is kind), "failed")
    return ["!", code, str(problem)[:500] or type(problem).__name__]


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
            header["now"] = int(self._replica.clock.wall() * 1e6)
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
            now = wire.whole(header["now"], "now") if "now" in header else None
            limit = self._replica.clock.limit_by(now)
            answering = [self._write(row, message.blobs, limit) for row in wire.rows(header["write"], "write")]
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

    def _write(self, row: Any, blobs: tuple[bytes, ...], limit: int) -> Deferred[Any]:
        key, stamp, tombstone, size, checksum, value = wire.row(row, "write", 6)
        version = version_from([stamp, tombstone, size, checksum])
        body, upload = None, None
        if type(value) is int:
            body = blobs[wire.whole(value, "value", 0, len(blobs) - 1)]
        elif value is not None:
            upload = wire.string(value, "upload", 100)
        return self._replica.write(Write(wire.key_bytes(key), version, body, upload, limit))

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

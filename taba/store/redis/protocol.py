"""The wire to one Redis server or Sentinel: txredisapi's protocol, made fit for bytes, pipelines and time limits.

`Wire` keeps txredisapi's connection and hiredis' reader, and replaces what lies between: commands are packed by hiredis
and answered in their order from a queue of its own, nothing is converted, and time comes from the clock it is given
(txredisapi's own timers run on the global reactor). None of txredisapi's pools, factories and Sentinel classes is used.

Invariants: replies meet the calls in the order of the calls; every call is answered exactly once, by its reply or by
the end of the connection; after the end nothing is written, and no reply is taken from what still arrives.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias, TypeVar

from attrs import define
from hiredis import ProtocolError, Reader, pack_command
from twisted.internet.defer import Deferred, fail
from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.interfaces import IDelayedCall, IReactorTime, ITCPTransport
from twisted.internet.protocol import connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure
from txredisapi import HiredisProtocol

from taba.errors import StoreError, StoreUnavailable

T = TypeVar("T")
Argument: TypeAlias = bytes | str | int | float
"""Of a command; a str goes as UTF-8, a number in decimal digits."""
GRACE_SECONDS = 0.05
"""What a time limit is stretched by, for a process that was itself held up: it reads what has come before it judges."""
CLOSE_SECONDS = 1.0
"""How long what was written may take to leave before a connection that is to be closed is cut."""


class RedisRefused(StoreError):
    """An error reply. `code` is its first word ("READONLY", "OOM", "ERR"), `sentence` the rest of it."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.code, _, self.sentence = text.partition(" ")


Reply: TypeAlias = "bytes | int | list[Reply] | RedisRefused | None"
"""What Redis answers: simple and bulk strings are bytes, nil is None; a RedisRefused stands only inside arrays."""


class ConnectionEnded(StoreUnavailable):
    """The connection of that `name` has ended, for that `reason`; whether what was asked was done is not known."""

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(f"{name}: {reason}")
        self.name = name
        self.reason = reason


@define(eq=False)
class _Waiting:
    """A call whose reply is due, or one of several commands whose replies are."""

    answer: Deferred[Any]
    command: Argument
    deadline: float | None
    """By the clock; None for a call that may take for ever."""
    count: int = 1
    """How many replies are due in all."""
    replies: list[Reply] | None = None
    """Those that came, where there are several commands."""


def _reason(failure: Failure) -> str:
    """Why a connection ended, in a few words."""
    if failure.check(ConnectionDone):
        return "the other side closed the connection"
    if failure.check(ConnectionLost):
        return "the connection was lost"
    return f"the connection was lost ({failure.getErrorMessage()})"


class Wire(HiredisProtocol):  # type: ignore[misc]  # txredisapi has no hints
    """One connection; `name` says in errors what it leads to. To be used in the reactor thread."""

    _log = Logger()

    def __init__(self, clock: IReactorTime, name: str) -> None:
        super().__init__(charset=None, convertNumbers=False)
        self.callLater = clock.callLater  # the class has the global reactor's
        self._reader = Reader(replyError=RedisRefused)
        self._clock = clock
        self.name = name
        self.ended: str | None = None
        """Why the connection ended, None while it is open."""
        self.failure: Failure | None = None
        """What the transport said when it ended."""
        self.heard = False
        """Whether anything came at all."""
        self.spoke_nonsense = False
        """Whether something came that is not the protocol of Redis."""
        self.on_end: Callable[[str], None] | None = None
        """Called once, with the reason, when the connection ends; before the calls that wait for a reply fail."""
        self.on_refused: Callable[[RedisRefused], None] | None = None
        """Called with each error reply to a call, after that call has failed with it."""
        self.on_message: Callable[[list[Reply]], None] | None = None
        """Called with what comes unasked, once there was a subscription."""
        self._subscribed = False
        self._waiting: deque[_Waiting] = deque()
        self._timer: IDelayedCall | None = None
        self._cut: IDelayedCall | None = None
        self._timer_at = 0.0

    def connectionMade(self) -> None:
        """Called by Twisted."""
        if ITCPTransport.providedBy(self.transport):
            # Replies are waited for: small commands must not wait for the receipt of those before them.
            self.transport.setTcpNoDelay(True)
            self.transport.setTcpKeepAlive(True)
        super().connectionMade()

    # -------------------------------------------------------------------------------------------------------- calls

    @property
    def idle(self) -> bool:
        """Whether no reply is due."""
        return not self._waiting

    def execute_command(self, *args: Argument, timeout: float | None = None) -> Deferred[Any]:
        """Send a command; its reply, or a failure: RedisRefused for an error reply, ConnectionEnded when the connection
        ends before, or when no reply came within `timeout` seconds, which ends the connection.

        The time runs from now, and so includes that of earlier calls that are not answered yet. The Deferred may be
        cancelled: nobody hears of the reply then. TypeError for an argument that is neither bytes, str, int nor float.
        """
        if self.ended is not None:
            return fail(ConnectionEnded(self.name, self.ended))
        command: bytes = pack_command(args)  # type: ignore[arg-type]  # its hints want one argument
        return self._send(command, _Waiting(Deferred(), args[0], self._deadline(timeout)))

    def execute_commands(
        self, commands: Sequence[tuple[Argument, ...]], timeout: float | None = None
    ) -> Deferred[list[Reply]]:
        """Send commands at once, in order; their replies in one list, error replies among them, when all have come. One
        Deferred for many commands: a checkpoint has thousands. At least one command; else as `execute_command`.
        """
        if self.ended is not None:
            return fail(ConnectionEnded(self.name, self.ended))
        packed: bytes = b"".join([pack_command(each) for each in commands])  # type: ignore[arg-type]
        waiting = _Waiting(Deferred(), commands[0][0], self._deadline(timeout), len(commands), [])
        return self._send(packed, waiting)

    def _deadline(self, timeout: float | None) -> float | None:
        return None if timeout is None else self._clock.seconds() + timeout

    def _send(self, command: bytes, waiting: _Waiting) -> Deferred[Any]:
        self._waiting.append(waiting)
        self.transport.write(command)
        deadline = waiting.deadline
        if deadline is not None and (self._timer is None or deadline < self._timer_at):
            self._arm(deadline)
        return waiting.answer

    def subscribe_to(self, channel: str) -> None:
        """Subscribe; from now on all replies go to `on_message`, that to this command among them."""
        self._subscribed = True
        self.transport.write(pack_command(("SUBSCRIBE", channel)))  # type: ignore[arg-type]

    # --------------------------------------------------------------------------------------------------------- time

    def _arm(self, at: float) -> None:
        """One timer for all calls, at the earliest deadline: replies do not touch it."""
        if self._timer is not None:
            self._timer.cancel()
        self._timer_at = at
        self._timer = self._clock.callLater(max(0.0, at - self._clock.seconds()), self._look_at_deadlines, False)

    def _look_at_deadlines(self, again: bool) -> None:
        self._timer = None
        earliest = min((each for each in self._waiting if each.deadline is not None), key=_deadline, default=None)
        if earliest is None:
            return
        if _deadline(earliest) > self._clock.seconds():
            self._arm(_deadline(earliest))
        elif not again:
            self._timer_at = _deadline(earliest)
            self._timer = self._clock.callLater(GRACE_SECONDS, self._look_at_deadlines, True)
        else:
            command = earliest.command
            self.end(f"no answer to {command.decode() if isinstance(command, bytes) else command} in time")

    # ------------------------------------------------------------------------------------------------------ replies

    def dataReceived(self, data: bytes, unpause: bool = False) -> None:
        """Called by Twisted."""
        if self.ended is not None:
            return
        self.heard = True
        self._reader.feed(data)
        while self.ended is None:
            try:
                reply = self._reader.gets()
            except ProtocolError as problem:
                self.spoke_nonsense = True
                self.end(f"what comes is not the protocol of Redis ({problem})")
                return
            if reply is False:
                return
            self.replyReceived(reply)

    def replyReceived(self, reply: Any) -> None:
        """Give a reply to the call that waits for it."""
        if self._subscribed:
            self._tell(self.on_message, reply)
        elif not self._waiting:
            self.end(f"it said, unasked: {reply if isinstance(reply, RedisRefused) else 'a reply to nothing'}")
        elif self._waiting[0].replies is not None:
            self._one_of_several(self._waiting[0], self._waiting[0].replies, reply)
        elif isinstance(reply, RedisRefused):
            self._waiting.popleft().answer.errback(reply)
            self._tell(self.on_refused, reply)
        else:
            self._waiting.popleft().answer.callback(reply)

    def _one_of_several(self, waiting: _Waiting, replies: list[Reply], reply: Reply) -> None:
        replies.append(reply)
        if len(replies) == waiting.count:
            self._waiting.popleft().answer.callback(replies)
        if isinstance(reply, RedisRefused):
            self._tell(self.on_refused, reply)

    def _tell(self, listener: Callable[[Any], None] | None, what: Any) -> None:
        if listener is not None:
            try:
                listener(what)
            except Exception:
                self._log.failure("Whoever listens to {name} failed", name=self.name)

    # ------------------------------------------------------------------------------------------------------ the end

    def end(self, reason: str, gently: bool = False) -> None:
        """End the connection, and fail whoever waits for a reply. Idempotent.

        What was written and has not left yet is dropped, unless `gently`.
        """
        if self.ended is not None:
            return
        if gently:
            self._cut = self._clock.callLater(CLOSE_SECONDS, self.transport.abortConnection)
            self.transport.loseConnection()
        else:
            self.transport.abortConnection()
        self._ended(reason)

    def _ended(self, reason: str) -> None:
        self.ended = reason
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._tell(self.on_end, reason)
        while self._waiting:
            self._waiting.popleft().answer.errback(ConnectionEnded(self.name, reason))

    def connectionLost(self, why: Failure = connectionDone) -> None:
        """Called by Twisted."""
        self.failure = why
        if self._cut is not None and self._cut.active():
            self._cut.cancel()
        if self.ended is None:
            self._ended(_reason(why))
        super().connectionLost(why)

    def gone(self) -> Deferred[None]:
        """Fires when nothing of the connection is left."""
        if self.failure is not None:
            done: Deferred[None] = Deferred()
            done.callback(None)
            return done
        left: Deferred[Any] = self.whenDisconnected()
        return left.addCallback(lambda _: None)


def _deadline(waiting: _Waiting) -> float:
    return waiting.deadline or 0.0

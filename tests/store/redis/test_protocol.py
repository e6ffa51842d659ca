"""The wire: pipelines, bytes, time limits, and the end of a connection."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import CancelledError
from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from taba.errors import StoreUnavailable
from taba.store.redis.protocol import CLOSE_SECONDS, GRACE_SECONDS, ConnectionEnded, RedisRefused, Wire
from tests.store.redis.peer import Error, Status, encode

NAME = "shard shard1 at redis-1:6379"


class Line(StringTransport):
    """A transport that remembers how it was ended."""

    aborted = False

    def abortConnection(self) -> None:
        """Called by the protocol."""
        self.aborted = True


def opened(clock: Clock | None = None) -> tuple[Wire, Line]:
    """A wire, and the transport under it."""
    wire, line = Wire(clock or Clock(), NAME), Line()
    wire.makeConnection(line)
    return wire, line


def plain(reply: Any) -> Any:
    """A reply, or what a scripted one stands for, as values that can be compared."""
    if isinstance(reply, Status):
        return reply.text.encode()
    if isinstance(reply, Error):
        return ("refused", reply.text)
    if isinstance(reply, RedisRefused):
        return ("refused", str(reply))
    return [plain(each) for each in reply] if isinstance(reply, list) else reply


texts = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=8)
leaves = st.one_of(
    st.binary(max_size=40), st.none(), st.integers(-(2**63), 2**63 - 1), texts.map(Status), texts.map(Error)
)
replies = st.recursive(leaves, lambda inner: st.lists(inner, max_size=4), max_leaves=8)


class ReplyTests(SynchronousTestCase):
    """What comes back."""

    def test_bytes_stay_bytes(self) -> None:
        """Nothing is decoded, and nothing is taken for a number."""
        wire, line = opened()
        got = [wire.execute_command("GET", "k") for _ in range(3)]
        line.clear()
        wire.dataReceived(encode(b"0012") + encode(b"\x00\xff\r\n") + encode(12))
        self.assertEqual([self.successResultOf(each) for each in got], [b"0012", b"\x00\xff\r\n", 12])

    def test_arguments(self) -> None:
        """Bytes go as they are, texts as UTF-8, numbers in full precision."""
        wire, line = opened()
        wire.execute_command("SET", b"\x00\r\n", "é", 7, 1e-9)
        self.assertEqual(line.value(), encode([b"SET", b"\x00\r\n", "é".encode(), b"7", b"1e-09"]))

    def test_refusal_fails_its_call_alone(self) -> None:
        """An error reply says its code and its sentence, and the calls after it are answered."""
        wire, _ = opened()
        first, second = wire.execute_command("XADD"), wire.execute_command("PING")
        wire.dataReceived(b"-READONLY You can't write against a read only replica.\r\n+PONG\r\n")
        refused = self.failureResultOf(first, RedisRefused).value
        self.assertEqual((refused.code, refused.sentence), ("READONLY", "You can't write against a read only replica."))
        self.assertEqual(self.successResultOf(second), b"PONG")

    def test_refusal_in_an_array(self) -> None:
        """What EXEC answers for one of its commands stands in its place."""
        wire, _ = opened()
        answer = wire.execute_command("EXEC")
        wire.dataReceived(encode([1, Error("OOM command not allowed")]))
        done, refused = self.successResultOf(answer)
        self.assertEqual((done, refused.code), (1, "OOM"))

    @given(st.lists(replies, min_size=1, max_size=6), st.data())
    def test_any_split(self, expected: list[Any], data: st.DataObject) -> None:
        """However the bytes are cut, each call gets its reply, in order."""
        wire, _ = opened()
        got: list[Any] = []
        for _ in expected:
            wire.execute_command("X").addCallbacks(got.append, lambda failure: got.append(failure.value))
        stream = b"".join(map(encode, expected))
        while stream:
            size = data.draw(st.integers(1, len(stream)))
            wire.dataReceived(stream[:size])
            stream = stream[size:]
        self.assertEqual([plain(each) for each in got], [plain(each) for each in expected])

    def test_cancelled_call_keeps_its_place(self) -> None:
        """The reply to a call that nobody waits for goes to nobody."""
        wire, _ = opened()
        first, second = wire.execute_command("A"), wire.execute_command("B")
        first.cancel()
        self.failureResultOf(first, CancelledError)
        wire.dataReceived(b"+a\r\n+b\r\n")
        self.assertEqual(self.successResultOf(second), b"b")

    def test_messages_after_a_subscription(self) -> None:
        """They go to whoever listens."""
        wire, line = opened()
        heard: list[Any] = []
        wire.on_message = heard.append
        wire.subscribe_to("news")
        self.assertEqual(line.value(), encode([b"SUBSCRIBE", b"news"]))
        wire.dataReceived(encode([b"subscribe", b"news", 1]) + encode([b"message", b"news", b"x"]))
        self.assertEqual(heard, [[b"subscribe", b"news", 1], [b"message", b"news", b"x"]])


class TimeTests(SynchronousTestCase):
    """Time limits."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.wire, self.line = opened(self.clock)

    def pass_time(self, seconds: float) -> None:
        """And the grace that a time limit has."""
        self.clock.advance(seconds)
        self.clock.advance(GRACE_SECONDS)

    def test_no_answer_ends_the_connection(self) -> None:
        """All calls fail, with a sentence that says where and what; the connection is cut."""
        late, unlimited = self.wire.execute_command("WAIT", 1, timeout=2.0), self.wire.execute_command("PING")
        self.clock.advance(1.99)
        self.assertNoResult(late)
        self.pass_time(0.01)
        problem = self.failureResultOf(late, StoreUnavailable).value
        self.assertEqual(str(problem), f"{NAME}: no answer to WAIT in time")
        self.failureResultOf(unlimited, StoreUnavailable)
        self.assertTrue(self.line.aborted)

    def test_each_call_has_its_own_limit(self) -> None:
        """A call that may take long before one that may not; answered in time, both."""
        long, short = self.wire.execute_command("A", timeout=10.0), self.wire.execute_command("B", timeout=1.0)
        self.pass_time(0.9)
        self.wire.dataReceived(b"+a\r\n+b\r\n")
        self.pass_time(20.0)
        self.assertEqual((self.successResultOf(long), self.successResultOf(short)), (b"a", b"b"))
        self.assertIsNone(self.wire.ended)

    def test_later_call_may_be_due_first(self) -> None:
        """The shorter limit counts."""
        long, short = self.wire.execute_command("A", timeout=10.0), self.wire.execute_command("B", timeout=1.0)
        self.pass_time(1.0)
        self.failureResultOf(short, ConnectionEnded)
        self.failureResultOf(long, ConnectionEnded)

    def test_no_limit(self) -> None:
        """A call without one waits as long as the connection lives."""
        answer = self.wire.execute_command("XREAD")
        self.pass_time(1e6)
        self.assertNoResult(answer)

    def test_answer_that_waits_in_the_socket_counts(self) -> None:
        """A process that was stopped for longer than the limit reads what came meanwhile before it judges."""
        answer = self.wire.execute_command("PING", timeout=1.0)
        self.clock.advance(60.0)
        self.wire.dataReceived(b"+PONG\r\n")
        self.clock.advance(60.0)
        self.assertEqual(self.successResultOf(answer), b"PONG")
        self.assertIsNone(self.wire.ended)

    def test_one_timer(self) -> None:
        """A thousand calls under way have one timer, and an ended connection has none."""
        answers = [self.wire.execute_command("X", timeout=5.0 - i / 1000) for i in range(1000)]
        self.assertEqual(len(self.clock.getDelayedCalls()), 1)
        self.wire.end("stop")
        self.assertEqual(self.clock.getDelayedCalls(), [])
        for each in answers:
            self.failureResultOf(each, ConnectionEnded)


class EndTests(SynchronousTestCase):
    """How a connection ends."""

    def test_loss_fails_all_calls(self) -> None:
        """With a sentence that says where; whoever was told to listen hears of it before."""
        wire, _ = opened()
        order: list[str] = []
        wire.on_end = order.append
        answers = [wire.execute_command("X").addErrback(lambda failure: order.append(str(failure.value))) for _ in "ab"]
        wire.connectionLost(Failure(ConnectionDone()))
        reason = "the other side closed the connection"
        self.assertEqual(order, [reason, f"{NAME}: {reason}", f"{NAME}: {reason}"])
        for each in answers:
            self.successResultOf(each)

    def test_calls_after_the_end_fail_at_once(self) -> None:
        """And nothing is written."""
        wire, line = opened()
        wire.connectionLost(Failure(ConnectionLost()))
        problem = self.failureResultOf(wire.execute_command("X"), ConnectionEnded).value
        self.assertEqual((line.value(), problem.name), (b"", NAME))

    def test_call_from_within_the_end(self) -> None:
        """Whoever asks again as soon as a call has failed hears that the connection is over."""
        wire, _ = opened()
        again: list[Any] = []
        wire.execute_command("X").addErrback(lambda _: again.append(wire.execute_command("X")))
        wire.end("because")
        self.failureResultOf(again[0], ConnectionEnded)

    def test_replies_after_the_end_count_for_nothing(self) -> None:
        """What was asked has failed already, though its reply was on the way, in the same piece even."""
        wire, _ = opened()
        first = wire.execute_command("A").addCallback(lambda _: wire.end("enough"))
        second = wire.execute_command("B")
        wire.dataReceived(b"+a\r\n+b\r\n")
        wire.dataReceived(b"+c\r\n")
        self.successResultOf(first)
        self.failureResultOf(second, ConnectionEnded)

    def test_nonsense_ends_it(self) -> None:
        """What is not Redis is not listened to."""
        wire, line = opened()
        answer = wire.execute_command("PING")
        wire.dataReceived(b"HTTP/1.1 400 Bad Request\r\n")
        self.assertIn("not the protocol of Redis", str(self.failureResultOf(answer, ConnectionEnded).value))
        self.assertTrue(line.aborted)

    def test_unasked_reply_ends_it(self) -> None:
        """It would be taken for the answer to the next call."""
        wire, line = opened()
        wire.dataReceived(b"-ERR max number of clients reached\r\n")
        self.assertEqual(wire.ended, "it said, unasked: ERR max number of clients reached")
        self.assertTrue(line.aborted)

    def test_gentle_end_is_cut_in_the_end(self) -> None:
        """What was written may leave, but not for ever."""
        clock = Clock()
        wire, line = opened(clock)
        wire.end("stop", gently=True)
        self.assertEqual((line.disconnecting, line.aborted), (True, False))
        clock.advance(CLOSE_SECONDS)
        self.assertTrue(line.aborted)

    def test_gone(self) -> None:
        """Whoever waits for the end hears when the transport is gone, and nothing is left to be called."""
        clock = Clock()
        wire, _ = opened(clock)
        gone = wire.gone()
        wire.end("stop", gently=True)
        self.assertNoResult(gone)
        wire.connectionLost(Failure(ConnectionDone()))
        self.successResultOf(gone)
        self.successResultOf(wire.gone())
        self.assertEqual(clock.getDelayedCalls(), [])

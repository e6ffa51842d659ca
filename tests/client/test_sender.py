"""The Sender, state by state: what it posts, when, and what it makes of every answer."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from taba.client.drops import FULL
from taba.client.encoding import encode_body, encode_payload
from taba.client.recorder import Recorder
from taba.client.sender import (
    DRAIN_RETRY,
    FIRST_RETRY,
    INSTANCE_IDLE,
    MAX_RETRY,
    MAX_RETRY_AFTER,
    Answer,
    Post,
    Sender,
    Wait,
)
from tests.client.model_agent import ModelAgent, read

INSTANCE = "0123456789abcdef" * 2
OK = Answer(200, {}, "")


class SenderCase(SynchronousTestCase):
    """A Sender with a clock of its own and no jitter."""

    def setUp(self) -> None:
        self.now = 1000.0
        self.make()

    def make(self, max_bytes: int = 1 << 20, **limits: Any) -> None:
        self.recorder = Recorder(lambda: 1.7e9, max_bytes)
        self.sender = Sender(self.recorder, "client", jitter=lambda: 0.0, **limits)
        self.sender.open(lambda: None)

    def next(self) -> Post | Wait:
        return self.sender.next_action(self.now)

    def post(self) -> Post:
        """The next action, which must be a Post."""
        action = self.next()
        assert isinstance(action, Post), action
        return action

    def wait(self) -> float:
        """The seconds of the next action, which must be a Wait."""
        action = self.next()
        assert isinstance(action, Wait), action
        return action.seconds

    def answer(self, post: Post, status: int = 200, text: str = "", **headers: str) -> None:
        fields = {name.replace("_", "-"): value for name, value in headers.items()}
        self.sender.answered(post, Answer(status, fields, text), self.now)

    def open(self) -> None:
        """Record one event and have the instance opened; the next action posts the event."""
        self.recorder.counter("a")
        self.answer(self.post(), taba_instance=INSTANCE)

    def later(self, seconds: float = 1.0) -> None:
        self.now += seconds

    def record(self, *values: int) -> None:
        """Record, and let a flush period pass."""
        for value in values:
            self.recorder.counter("a", value)
        self.later()

    def account(self, *names: str) -> tuple[object, ...]:
        status = self.sender.status()
        return tuple(status[name] for name in names)

    def give(self, *values: int) -> None:
        """Record values and have them acknowledged."""
        self.record(*values)
        self.answer(self.post())


def payloads(post: Post) -> list[object]:
    return read(post).payloads


def said(post: Post) -> tuple[str, list[object]]:
    """Which batch it is, and what is in it, in whatever protocol."""
    return read(post).batch, read(post).payloads


class OpeningTests(SenderCase):
    def test_idle(self) -> None:
        """A client that records nothing sends nothing, and wakes once in a flush period."""
        self.assertEqual(self.wait(), 1.0)
        self.later(0.25)
        self.assertEqual(self.wait(), 0.75)

    def test_batch_0_first(self) -> None:
        """Before any event the client asks for an instance, with an empty body."""
        self.recorder.counter("a")
        post = self.post()
        self.assertEqual(read(post), ("0", {}, []))

    def test_first_batch(self) -> None:
        """The first batch has number 1 of the instance that the agent named."""
        self.open()
        post = self.post()
        self.assertEqual(said(post), (f"{INSTANCE}/1", [1]))

    def test_numbers_rise(self) -> None:
        """Each batch has the next number."""
        self.open()
        for number in range(1, 5):
            post = self.post()
            self.assertEqual(read(post).batch, f"{INSTANCE}/{number}")
            self.answer(post)
            self.record(number)

    def test_no_instance_in_answer(self) -> None:
        """A 200 without an instance is not from an agent: the events are kept, the fault is named."""
        for instance in ("", "short", "G" * 32):
            self.recorder.counter("a")
            self.later(100)
            self.answer(self.post(), taba_instance=instance)
            self.assertGreater(self.wait(), 0)
        self.assertIn("is this a Taba agent", str(self.account("last_error")))
        self.assertEqual(self.account("buffered_events"), (3,))

    def test_refused_opening(self) -> None:
        """An agent that refuses to open an instance (a wrong path, say) loses no events: the client tries again."""
        for status in (400, 403, 409, 413, 500, 503, 301):
            self.recorder.counter("a")
            self.later(100)
            self.answer(self.post(), status, "go away")
            self.assertGreater(self.wait(), 0)
        self.assertEqual(self.account("buffered_events", "refused", "unknown"), (7, 0, 0))
        self.assertEqual(self.account("last_error"), ("301: go away",))

    def test_opening_lost(self) -> None:
        """When the answer to batch 0 is lost, another one is asked for; the late answer to the first is not used."""
        self.recorder.counter("a")
        first = self.post()
        self.sender.failed(first, "timed out", self.now)
        self.later(100)
        second = self.post()
        self.answer(first, taba_instance="f" * 32)
        self.answer(second, taba_instance=INSTANCE)
        self.assertEqual(read(self.post()).batch, f"{INSTANCE}/1")


class RepeatTests(SenderCase):
    def test_same_bytes(self) -> None:
        """A batch that was not answered is repeated to the byte, whatever was recorded meanwhile."""
        self.open()
        first = self.post()
        self.sender.failed(first, "timed out", self.now)
        self.record(2, 3)
        again = self.post()
        self.assertEqual((again.headers, again.body), (first.headers, first.body))
        self.assertNotEqual(again.attempt, first.attempt)

    def test_rest_follows(self) -> None:
        """What was recorded while a batch was in flight goes under the next number."""
        self.open()
        first = self.post()
        self.record(2, 3)
        self.sender.failed(first, "timed out", self.now)
        self.later(100)
        self.answer(self.post())
        post = self.post()
        self.assertEqual(said(post), (f"{INSTANCE}/2", [2, 3]))

    def test_late_answer(self) -> None:
        """The answer to an attempt that was given up says nothing about the one in flight."""
        self.open()
        first = self.post()
        self.sender.failed(first, "timed out", self.now)
        self.later(100)
        second = self.post()
        self.answer(first, 409)
        self.sender.failed(first, "reset", self.now)
        self.assertEqual(self.account("unknown", "failed_attempts"), (0, 1))
        self.answer(second)
        self.assertEqual(self.account("acknowledged", "buffered_events"), (1, 0))

    def test_asked_again_without_outcome(self) -> None:
        """An engine that asks for the next action while a Post is out gives that one up: it is repeated."""
        self.open()
        first, second = self.post(), self.post()
        self.assertEqual((second.headers, second.body), (first.headers, first.body))
        self.answer(first)
        self.assertEqual(self.account("acknowledged"), (0,))
        self.answer(second)
        self.assertEqual(self.account("acknowledged"), (1,))

    def test_duplicate(self) -> None:
        """An agent that has the batch already says so with a 200; it counts as acknowledged once."""
        self.open()
        self.sender.failed(self.post(), "timed out", self.now)
        self.later(100)
        self.answer(self.post(), taba_duplicate="1")
        self.assertEqual(self.account("acknowledged", "batches", "number"), (1, 1, 1))

    def test_server_errors(self) -> None:
        """5xx, and what is not an answer to a post at all, mean: the same again."""
        self.open()
        first = self.post()
        for status in (500, 502, 503, 504, 599, 204, 302, 408, 425, 429):
            self.answer(first, status)
            self.later(100)
            again = self.post()
            self.assertEqual((again.headers, again.body), (first.headers, first.body))
            first = again
        self.answer(first)
        self.assertEqual(self.account("acknowledged", "refused", "unknown"), (1, 0, 0))


class BackOffTests(SenderCase):
    def delays(self, tries: int, status: int | None = None, **headers: str) -> list[float]:
        found = []
        for _ in range(tries):
            post = self.post()
            if status is None:
                self.sender.failed(post, "refused", self.now)
            else:
                self.answer(post, status, **headers)
            began = self.now
            while not isinstance(action := self.next(), Post):
                self.later(max(action.seconds, 0.001))
            found.append(round(self.now - began, 2))
        return found

    def test_exponential(self) -> None:
        """The waits between attempts double up to a bound."""
        self.recorder.counter("a")
        expected = [min(MAX_RETRY, FIRST_RETRY * 2**i) / 2 for i in range(8)]
        for delay, wanted in zip(self.delays(8), expected, strict=True):
            self.assertApproximates(delay, wanted, 0.01)

    def test_jitter(self) -> None:
        """Chance spreads the clients of an agent that comes back: a wait is between half and all of its bound."""
        for chance, wanted in ((0.0, FIRST_RETRY / 2), (0.999999, FIRST_RETRY)):
            sender = Sender(self.recorder, "client", jitter=lambda chance=chance: chance)  # type: ignore[misc]
            sender.open(lambda: None)
            self.recorder.counter("a")
            post = sender.next_action(0.0)
            assert isinstance(post, Post)
            sender.failed(post, "refused", 0.0)
            action = sender.next_action(0.0)
            assert isinstance(action, Wait)
            self.assertApproximates(action.seconds, wanted, 0.001)

    def test_bounded_by_many_failures(self) -> None:
        """A very long outage overflows nothing."""
        self.recorder.counter("a")
        self.assertEqual(set(self.delays(1200)[20:]), {MAX_RETRY / 2})

    def test_retry_after(self) -> None:
        """An agent that asks for a pause gets it, within reason; what is no number is not understood."""
        self.open()
        self.assertApproximates(self.delays(1, 503, retry_after="7")[0], 7.0, 0.01)
        self.assertApproximates(self.delays(1, 503, retry_after="99999")[0], MAX_RETRY_AFTER, 0.01)
        self.assertLess(self.delays(1, 503, retry_after="Fri, 31 Dec 1999 23:59:59 GMT")[0], 2.0)
        self.assertLess(self.delays(1, 503, retry_after="9" * 5000)[0], 2.0)

    def test_success_resets(self) -> None:
        """After an acknowledged batch the waits begin anew."""
        self.open()
        self.delays(6)
        self.answer(self.post())
        self.record(2)
        self.assertApproximates(self.delays(1)[0], FIRST_RETRY / 2, 0.01)

    def test_recording_goes_on(self) -> None:
        """While the agent is away, what is recorded is kept up to the bound; then the newest are dropped."""
        self.make(20_000)
        for i in range(40):
            for _ in range(50):
                self.recorder.counter("a", i)
            action = self.next()
            if isinstance(action, Post):
                self.sender.failed(action, "refused", self.now)
            self.later()
        status = self.sender.status()
        self.assertEqual(status["buffered_events"] + status["full"], 2000)
        self.assertLess(status["buffered_bytes"], 21_000)
        self.assertGreater(status["buffered_events"], 200)


class UnknownInstanceTests(SenderCase):
    def test_sent_batch_is_unknown(self) -> None:
        """409: the batch is not sent again under the new instance, but counted as unknown and told so."""
        self.open()
        self.answer(self.post(), 409)
        self.assertEqual(self.account("unknown", "buffered_events", "instance"), (1, 0, None))
        self.record(2)
        self.answer(self.post(), taba_instance="f" * 32)
        post = self.post()
        self.assertEqual(read(post)[:2], ("f" * 32 + "/1", {"unknown": 1}))
        self.assertEqual(payloads(post), [2])

    def test_unsent_goes_under_the_new_instance(self) -> None:
        """What was recorded but in no batch that was sent is sent under the new instance."""
        self.open()
        post = self.post()
        self.record(2, 3)
        self.answer(post, 409)
        self.answer(self.post(), taba_instance="f" * 32)
        self.assertEqual(payloads(self.post()), [2, 3])

    def test_told_without_events(self) -> None:
        """Unknown events are told even if nothing more is recorded: by a batch without events."""
        self.open()
        self.answer(self.post(), 409)
        self.later()
        self.answer(self.post(), taba_instance="f" * 32)
        post = self.post()
        self.assertEqual(read(post)[1:], ({"unknown": 1}, []))
        self.answer(post)
        self.later()
        self.wait()

    def test_always_unknown(self) -> None:
        """Several agents behind one address answer 409 to each other's clients: the client does not run hot."""
        self.open()
        times: list[float] = []
        while len(times) < 6:
            action = self.next()
            if isinstance(action, Wait):
                self.later(max(action.seconds, 0.001))
            elif read(action).batch == "0":
                self.answer(action, taba_instance=INSTANCE)
            else:
                times.append(self.now)
                self.answer(action, 409)
                self.recorder.counter("a")
        self.assertGreater(times[-1] - times[-2], 1.0)

    def test_idle_instance(self) -> None:
        """After half the time that agents remember an instance, the client asks for a new one before it sends."""
        self.open()
        self.answer(self.post())
        self.later(INSTANCE_IDLE + 1)
        self.recorder.counter("a", 2)
        self.assertEqual(read(self.post()).batch, "0")

    def test_instance_in_use(self) -> None:
        """An instance that is used once in a while is kept for ever."""
        self.open()
        self.answer(self.post())
        for number in range(2, 6):
            self.later(INSTANCE_IDLE - 10)
            self.recorder.counter("a", 2)
            post = self.post()
            self.assertEqual(read(post).batch, f"{INSTANCE}/{number}")
            self.answer(post)

    def test_sent_batch_stays_with_its_instance(self) -> None:
        """A batch that was sent keeps instance and number, however long the agent is away."""
        self.open()
        post = self.post()
        self.sender.failed(post, "refused", self.now)
        self.later(3 * INSTANCE_IDLE)
        self.assertEqual(self.post().body, post.body)


class RefusalTests(SenderCase):
    def test_refused(self) -> None:
        """A batch that the agent refuses at once is counted and dropped; the next has another number."""
        self.open()
        self.answer(self.post(), 400, "line 3: no blank line")
        self.assertEqual(self.account("refused", "unknown", "buffered_events"), (1, 0, 0))
        self.assertEqual(self.account("last_error"), ("400: line 3: no blank line",))
        self.record(2)
        post = self.post()
        self.assertEqual(said(post), (f"{INSTANCE}/2", [2]))

    def test_logged_once(self) -> None:
        """A refusal is logged once for each status."""
        self.open()
        for status in (400, 400, 413, 400):
            self.answer(self.post(), status, "why")
            self.record(1)
        self.assertEqual(len(self.sender.take_notices()), 2)

    def test_refused_after_an_unanswered_attempt(self) -> None:
        """A batch whose first attempt was not answered may be counted: a refusal of the second leaves it unknown."""
        self.open()
        self.sender.failed(self.post(), "timed out", self.now)
        self.later(100)
        self.answer(self.post(), 413)
        self.assertEqual(self.account("refused", "unknown"), (0, 1))

    def test_refused_after_503(self) -> None:
        """503 says that nothing was applied: a refusal after it is a refusal."""
        self.open()
        self.answer(self.post(), 503)
        self.later(100)
        self.answer(self.post(), 400)
        self.assertEqual(self.account("refused", "unknown"), (1, 0))

    def test_rejected_events(self) -> None:
        """Single events that the agent finds invalid are counted; the batch is acknowledged all the same."""
        self.open()
        self.answer(self.post(), 200, '{"accepted": 0, "rejected": 1}', taba_rejected="1")
        self.assertEqual(self.account("acknowledged", "rejected"), (1, 1))
        self.assertIn("rejected", self.sender.take_notices()[0])

    def test_nonsense_in_headers(self) -> None:
        """Headers that make no sense are no news, and no error."""
        self.open()
        self.answer(self.post(), taba_rejected="many", retry_after="-1")
        self.record(2)
        self.answer(self.post(), taba_rejected="9" * 5000)
        self.assertEqual(self.account("acknowledged", "rejected"), (2, 0))


class TokenTests(SenderCase):
    def setUp(self) -> None:
        super().setUp()
        self.tokens = ["the-old-token-of-the-fleet"]
        self.recorder = Recorder(lambda: 1.7e9, 1 << 20)
        self.sender = Sender(self.recorder, "client", jitter=lambda: 0.0, token=lambda: self.tokens[0])
        self.sender.open(lambda: None)

    def test_every_request_shows_it(self) -> None:
        """The request for an instance and every batch show the token, beside what they have to say."""
        self.recorder.counter("a")
        opening = self.post()
        self.assertEqual(opening.headers["Authorization"], "Bearer the-old-token-of-the-fleet")
        self.answer(opening, taba_instance=INSTANCE)
        batch = self.post()
        self.assertEqual(batch.headers["Authorization"], "Bearer the-old-token-of-the-fleet")

    def test_wrong_token(self) -> None:
        """A batch that is answered 401 was not taken: it waits, with its number, and goes with the token of then. No
        event is lost, and none is unknown, also when the agent then says that it does not want it.
        """
        self.open()
        first = self.post()
        self.answer(first, 401, "another token, please")
        self.assertEqual(self.account("last_error", "refused", "unknown"), ("401: another token, please", 0, 0))
        self.assertEqual(self.wait(), FIRST_RETRY / 2)
        self.later()
        self.tokens[0] = "the-new-token-of-the-fleet"
        second = self.post()
        self.assertEqual(
            (second.headers, second.body),
            ({**first.headers, "Authorization": "Bearer the-new-token-of-the-fleet"}, first.body),
        )
        self.answer(second, 400, "no")
        self.assertEqual(self.account("refused", "unknown"), (1, 0))

    def test_wrong_token_from_the_start(self) -> None:
        """An agent that answers 401 from the start gets everything once the tokens agree."""
        self.recorder.counter("a")
        for _ in range(5):
            self.answer(self.post(), 401)
            self.later(MAX_RETRY)
        self.answer(self.post(), taba_instance=INSTANCE)
        self.answer(self.post())
        self.assertEqual(self.account("acknowledged", "refused", "unknown"), (1, 0, 0))


class UnsentTests(SenderCase):
    def test_full_is_told_once(self) -> None:
        """Dropped events are told with the next batch, and not again after its acknowledgement."""
        self.make(5000)
        self.open()
        for _ in range(300):
            self.recorder.counter("a")
        full = self.recorder.drops.total(FULL)
        self.assertGreater(full, 0)
        self.answer(self.post())
        self.later()
        post = self.post()
        self.assertEqual(read(post).unsent, {"full": full})
        self.answer(post)
        self.record(1)
        self.assertEqual(read(self.post()).unsent, {})

    def test_repeated_with_the_batch(self) -> None:
        """A repeated batch tells the same counts, however many were dropped since; the rest is told with the next."""
        self.make(5000)
        self.open()
        self.answer(self.post())
        for _ in range(300):
            self.recorder.counter("a")
        told, post = self.recorder.drops.total(FULL), self.next()
        self.later()
        post = self.post()
        for _ in range(100):
            self.recorder.counter("a")
        self.sender.failed(post, "timed out", self.now)
        self.later(100)
        self.assertEqual(self.post().body, post.body)
        self.assertEqual(read(post).unsent, {"full": told})
        self.answer(self.post())
        self.later()
        self.assertEqual(read(self.post()).unsent, {"full": self.recorder.drops.total(FULL) - told})

    def test_told_again_after_409(self) -> None:
        """Counts whose batch became unknown are told again, together with its events."""
        self.open()
        self.answer(self.post(), 409)
        self.record(2, 3)
        self.answer(self.post(), taba_instance=INSTANCE)
        self.answer(self.post(), 409)
        self.later(100)
        self.answer(self.post(), taba_instance=INSTANCE)
        self.assertEqual(read(self.post()).unsent, {"unknown": 3})


class CutTests(SenderCase):
    def send_all(self) -> list[Post]:
        posts = []
        while isinstance(action := self.next(), Post):
            if read(action).batch == "0":
                self.answer(action, taba_instance=INSTANCE)
            else:
                posts.append(action)
                self.answer(action)
        return posts

    def test_events(self) -> None:
        """A batch has no more events than its limit, and the rest follows at once."""
        self.make(max_batch_events=5000)
        for i in range(12_000):
            self.recorder.counter("a", i)
        posts = self.send_all()
        self.assertLessEqual(max(len(read(post).events) for post in posts), 5000)
        self.assertEqual([p for post in posts for p in payloads(post)], list(range(12_000)))
        self.assertEqual([read(post).batch for post in posts], [f"{INSTANCE}/{i}" for i in (1, 2, 3)])

    def test_bytes(self) -> None:
        """A batch has no more bytes than its limit, but for a single event that is longer."""
        self.make(8 << 20, max_batch_bytes=1000)
        for i in range(200):
            self.recorder.gauge(f"tab{i}", "x" * i)
        self.recorder.gauge("long", "x" * 5000)
        posts = self.send_all()
        long = [post for post in posts if len(post.body) > 1000 + len(b"1\n\nclient\n\n\n")]
        self.assertEqual([[e.tab for e in read(post).events] for post in long], [["long"]])
        self.assertEqual(sum(len(read(post).events) for post in posts), 201)

    def test_longest_payload_within_an_agents_limit(self) -> None:
        """The longest payload that can be recorded makes a body that an agent takes."""
        self.make(16 << 20)
        self.recorder.gauge("t", "\\" * (524_288 - 1))
        self.assertEqual(len(encode_payload("\\" * (524_288 - 1))), 1 << 20)
        (post,) = self.send_all()
        self.assertLess(len(post.body), 4 << 20)
        self.assertLess(len(encode_body(post.body)), 4 << 20)

    def test_room_is_free_again(self) -> None:
        """After everything is acknowledged no byte of the buffer is used, but for the tabs."""
        for i in range(3000):
            self.recorder.counter("a", i)
            self.recorder.gauge("b", "x" * (i % 50))
        self.send_all()
        self.recorder.close()
        self.assertEqual(self.account("buffered_bytes", "buffered_events"), (602, 0))


class TimeTests(SenderCase):
    def test_flush_period(self) -> None:
        """What is recorded within a flush period travels together."""
        self.open()
        self.answer(self.post())
        self.recorder.counter("a", 2)
        self.assertEqual(self.wait(), 1.0)
        self.recorder.counter("a", 3)
        self.later()
        self.assertEqual(payloads(self.post()), [2, 3])

    def test_flush_soon(self) -> None:
        """An engine that is called early collects early."""
        self.open()
        self.answer(self.post())
        self.recorder.counter("a", 2)
        self.wait()
        self.sender.flush_soon()
        self.assertEqual(payloads(self.post()), [2])


class DrainTests(SenderCase):
    def test_everything_is_sent(self) -> None:
        """At the end what is recorded is sent at once, and nothing more is recorded."""
        self.open()
        self.answer(self.post())
        self.recorder.counter("a", 2)
        self.wait()
        self.sender.drain()
        self.recorder.counter("a", 3)
        self.assertFalse(self.sender.drained)
        post = self.post()
        self.assertEqual(payloads(post), [2])
        self.answer(post)
        self.wait()
        self.assertTrue(self.sender.drained)
        self.assertEqual(self.account("not_running", "acknowledged"), (1, 2))

    def test_nothing_to_send(self) -> None:
        """A client that recorded nothing ends without a request."""
        self.sender.drain()
        self.wait()
        self.assertTrue(self.sender.drained)

    def test_quick_retries(self) -> None:
        """Once the client stops it does not wait long between attempts, whatever it waited before."""
        self.open()
        for _ in range(8):
            self.sender.failed(self.post(), "refused", self.now)
            self.later(100)
        self.sender.failed(self.post(), "refused", self.now)
        self.sender.drain()
        self.answer(self.post(), 503, retry_after="30")
        self.assertLessEqual(self.wait(), DRAIN_RETRY)

    def test_unknown_is_told(self) -> None:
        """A batch that becomes unknown at the very end is still told."""
        self.open()
        self.sender.drain()
        self.answer(self.post(), 409)
        self.assertFalse(self.sender.drained)
        self.answer(self.post(), taba_instance=INSTANCE)
        post = self.post()
        self.assertEqual(read(post).unsent, {"unknown": 1})
        self.answer(post)
        self.assertTrue(self.sender.drained)


class RestartTests(SenderCase):
    def test_empty(self) -> None:
        """A forked child has nothing of its parent's to send, and asks for an instance of its own."""
        self.open()
        self.post()
        self.record(2)
        self.sender.restart()
        self.sender.open(lambda: None)
        self.assertEqual(self.account("buffered_events", "instance", "acknowledged"), (0, None, 0))
        self.recorder.counter("a", 3)
        self.later()
        self.assertEqual(read(self.post()).batch, "0")


class NoticeTests(SenderCase):
    def test_outage(self) -> None:
        """An outage is one line in the log, its end another, and the next outage a line again."""
        self.open()
        texts = []
        for _ in range(2):
            for _ in range(3):
                self.sender.failed(self.post(), "connection refused", self.now)
                self.later(100)
            self.answer(self.post())
            self.record(1)
            texts.append(self.sender.take_notices())
        self.assertEqual(texts, [["cannot send, will go on trying: connection refused", "the agent answers again"]] * 2)

    def test_quiet_when_well(self) -> None:
        """Nothing is logged when all is well."""
        self.open()
        self.give(1, 2)
        self.give(3)
        self.assertEqual(self.sender.take_notices(), [])


class OldAgentTests(SenderCase):
    """An agent that knows protocol 1 only, and one that was replaced by such a one, or by a newer one."""

    def take(self, agent: ModelAgent, lose_answer: bool = False) -> Post:
        """The next request, and its answer unless that gets lost."""
        post = self.post()
        answer = agent.take(post)
        if lose_answer:
            self.sender.failed(post, "reset", self.now)
        else:
            self.sender.answered(post, answer, self.now)
        return post

    def test_protocol_1(self) -> None:
        """An agent that does not know protocol 2 is asked once, and gets everything in protocol 1 from then on."""
        agent = ModelAgent(columns=False)
        protocols = []
        for value in range(5):
            self.record(value)
            while isinstance(self.next(), Post):
                protocols.append(self.take(agent).protocol)
        self.assertEqual(protocols, [2, 1, 1, 1, 1, 1, 1])
        self.assertEqual([event.payload for event in agent.events], [0, 1, 2, 3, 4])
        self.assertEqual(self.account("acknowledged", "failed_attempts", "protocol"), (5, 0, 1))
        self.assertEqual(self.sender.take_notices(), [])

    def test_405(self) -> None:
        """405 says the same as 404."""
        self.recorder.counter("a")
        self.answer(self.post(), 405)
        self.assertEqual((self.post().protocol, self.post().headers), (1, {"Taba-Batch": "0"}))

    def test_no_place_for_columns(self) -> None:
        """Where the event URL leaves no place for protocol 2, protocol 1 is used from the start."""
        self.make(columns=False)
        self.recorder.counter("a")
        self.assertEqual(self.post().protocol, 1)

    def test_neither(self) -> None:
        """Where there is neither, the client tries both again, later and later."""
        self.recorder.counter("a")
        for _ in range(4):
            for protocol in (2, 1):
                post = self.post()
                self.assertEqual(post.protocol, protocol)
                self.answer(post, 404)
            self.assertGreater(self.wait(), 0)
            self.later(MAX_RETRY)
        self.assertEqual(self.account("buffered_events", "failed_attempts"), (1, 4))

    def downgraded(self, disk_too: bool) -> ModelAgent:
        """A batch is counted as columns, its answer is lost, and an older agent comes in place of that one."""
        agent = ModelAgent()
        self.recorder.counter("a", 1)
        self.recorder.gauge("g", {"k": [1, "x"]})
        self.take(agent)
        first = self.take(agent, lose_answer=True)
        agent.columns = False
        if disk_too:
            agent.lose_disk()
        self.record(2)
        refused = self.take(agent)
        self.assertEqual((refused.body, refused.protocol), (first.body, 2))
        again = self.take(agent)
        self.assertEqual((again.protocol, read(again)), (1, read(first)))
        self.later(MAX_RETRY)
        while isinstance(self.next(), Post):
            self.take(agent)
        return agent

    def test_counted_as_columns_sent_as_text(self) -> None:
        """The batch goes to the older agent in protocol 1, under its instance and number, and counts once."""
        agent = self.downgraded(disk_too=False)
        self.assertEqual([event.payload for event in agent.events], [1, {"k": [1, "x"]}, 2])
        self.assertEqual(self.account("acknowledged", "unknown"), (3, 0))

    def test_counted_as_columns_and_the_disk_lost(self) -> None:
        """Where the older agent does not know the instance, the batch is unknown, in protocol 1 as in 2."""
        agent = self.downgraded(disk_too=True)
        self.assertEqual([event.payload for event in agent.events], [1, {"k": [1, "x"]}, 2])
        self.assertEqual((self.account("acknowledged", "unknown"), agent.unsent), ((1, 2), {"unknown": 2}))

    def test_upgraded(self) -> None:
        """An agent that is replaced by a newer one gets columns again; what it has counted as text counts once."""
        agent = ModelAgent(columns=False)
        self.record(1)
        for _ in range(3):
            self.take(agent)
        self.record(2)
        text = self.take(agent, lose_answer=True)
        agent.columns = True
        self.record(3)
        self.later(MAX_RETRY)
        again, columns = self.take(agent), self.take(agent)
        self.assertEqual(((again.protocol, again.body), columns.protocol), ((1, text.body), 2))
        self.assertEqual([event.payload for event in agent.events], [1, 2, 3])
        self.assertEqual(self.account("acknowledged", "protocol"), (3, 2))

    def test_text_and_columns_say_the_same(self) -> None:
        """Tabs, Types, numbers and whatever JSON holds are the same in both, but for parts of a microsecond."""
        self.recorder.counter("a", 2**60 + 1)
        self.recorder.percentile("a", 0.1)
        self.recorder.percentile("b", -1e-300)
        self.recorder.gauge("g", ["ü\"\\", None, True, 2**70, {"k": 1.5}])
        self.recorder.gauge("g", "x", 1.7e9)
        self.recorder.record_event("t", "TotalsCounter", 3)
        agent = ModelAgent(columns=False)
        self.take(agent)
        self.take(agent)
        columns = self.take(ModelAgent(columns=False))
        self.assertEqual((columns.protocol, len(read(columns).events)), (1, 6))
        twin = Sender(self.recorder, "client", jitter=lambda: 0.0)
        twin.open(lambda: None)
        self.recorder.counter("a", 2**60 + 1)
        self.recorder.percentile("a", 0.1)
        self.recorder.percentile("b", -1e-300)
        self.recorder.gauge("g", ["ü\"\\", None, True, 2**70, {"k": 1.5}])
        self.recorder.gauge("g", "x", 1.7e9)
        self.recorder.record_event("t", "TotalsCounter", 3)
        post = twin.next_action(0.0)
        assert isinstance(post, Post)
        twin.answered(post, Answer(200, {"taba-instance": INSTANCE}, ""), 0.0)
        frame = twin.next_action(0.0)
        assert isinstance(frame, Post)
        self.assertEqual((frame.protocol, read(frame).events), (2, read(columns).events))


class StatusTests(SenderCase):
    """What GetStatus says of sending."""

    def test_reachable(self) -> None:
        """Whether the agent is there, and since when: not known, there, gone, there again."""
        times = iter(range(10, 100))
        self.recorder = Recorder(lambda: float(next(times)), 1 << 20)
        self.sender = Sender(self.recorder, "client", jitter=lambda: 0.0)
        self.sender.open(lambda: None)
        seen = [self.account("agent_reachable", "agent_since")]
        self.open()
        for outcome in (200, None, 503, 200, 409):
            if outcome is None:
                self.sender.failed(self.post(), "refused", self.now)
            else:
                self.answer(self.post(), outcome)
            seen.append(self.account("agent_reachable", "agent_since"))
            self.record(1)
            self.later(100)
        self.assertEqual([there for there, _ in seen], [None, True, False, False, True, True])
        since = [time for _, time in seen if isinstance(time, float)]
        self.assertEqual((seen[0][1], since[1] == since[2], since[3] == since[4]), (None, True, True))
        self.assertTrue(since[0] < since[1] < since[3])

    def test_sent(self) -> None:
        """Events count as sent with the first attempt, and as acknowledged once they are."""
        self.open()
        self.assertEqual(self.account("sent", "in_flight_events", "acknowledged"), (0, 0, 0))
        self.sender.failed(self.post(), "timed out", self.now)
        self.later(100)
        post = self.post()
        self.assertEqual(self.account("sent", "in_flight_events", "acknowledged"), (1, 1, 0))
        self.answer(post)
        self.assertEqual(self.account("sent", "in_flight_events", "acknowledged"), (1, 0, 1))

    def test_dropped(self) -> None:
        """What is dropped stands by reason and by tab: for lack of room, as no name, as no value, refused, unknown."""
        self.make(5000)
        self.recorder.counter("a")
        self.answer(self.post(), taba_instance=INSTANCE)
        self.answer(self.post(), 413)
        self.record(2)
        self.answer(self.post(), 409)
        self.recorder.counter("bad name")
        self.recorder.gauge("g", object())
        for _ in range(500):
            self.recorder.counter("b")
        full = self.recorder.drops.total(FULL)
        self.assertGreater(full, 0)
        dropped, by_tab = self.account("dropped", "dropped_by_tab")
        self.assertEqual(dropped, {"full": full, "name": 1, "value": 1, "unknown": 1, "refused": 1})
        self.assertEqual(by_tab, {
            "a": {"refused": 1, "unknown": 1}, "b": {"full": full}, "g": {"value": 1}, "bad name": {"name": 1},
        })  # fmt: skip


class AgentTests(SenderCase):
    def test_with_an_agent(self) -> None:
        """With an agent that goes by the protocol every event is counted once."""
        agent = ModelAgent()
        for i in range(10):
            self.recorder.counter("a", i)
            while isinstance(action := self.next(), Post):
                self.sender.answered(action, agent.take(action), self.now)
            self.later()
        self.assertEqual([e.payload for e in agent.events], list(range(10)))
        self.assertEqual(self.account("instance", "number"), (f"{0:016x}{1:016x}", 10))

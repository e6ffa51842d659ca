"""The Sender, state by state: what it posts, when, and what it makes of every answer."""

from __future__ import annotations

from taba.client.recorder import Recorder
from taba.client.sender import (
    FIRST_RETRY,
    INSTANCE_IDLE,
    MAX_RETRY,
    MAX_RETRY_AFTER,
    Post,
    Sender,
    Wait,
)
from tests.client.model_agent import read
from tests.client.sender_case import INSTANCE, SenderCase, payloads, said


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

    def post_after_pause(self) -> Post:
        """The next Post, whenever it comes."""
        while isinstance(self.next(), Wait):
            self.later(self.wait())
        return self.post()

    def test_pages_are_no_answers(self) -> None:
        """A page in HTML, of a proxy in between, says nothing of a batch, whatever its status: the very same batch is
        sent until an agent answers, and nothing is dropped.
        """
        self.open()
        first = self.post()
        page = "\r\n<html>\r\n<head><title>{0}</title></head><body><center><h1>{0}</h1></center>nginx</body></html>"
        post = first
        for status in (502, 503, 504, 400, 401, 403, 404, 405, 413, 409, 415, 429, 500, 302, 200):
            self.answer(post, status, page.format(f"{status} Some Words"))
            post = self.post_after_pause()
            self.assertEqual((post.body, post.headers), (first.body, first.headers) if post.protocol == 2 else
                             (post.body, {"Taba-Batch": f"{INSTANCE}/1"}), status)  # fmt: skip
        self.assertEqual(self.account("last_error"), ("200: 200 Some Words 200 Some Words nginx",))
        self.answer(post)
        self.assertEqual(self.account("refused", "unknown", "acknowledged", "batches"), (0, 0, 1, 1))

    def test_page_in_place_of_an_instance(self) -> None:
        """A page, with 200 as well, opens no instance."""
        self.recorder.counter("a")
        for status in (200, 400, 502):
            self.answer(self.post_after_pause(), status, "<!DOCTYPE html><p>Please log in", taba_instance=INSTANCE)
        self.assertEqual(self.account("instance", "failed_attempts"), (None, 3))

    def test_refused_after_a_page(self) -> None:
        """A proxy's 502 leaves open whether the agent has the batch; when that is refused then, it is unknown."""
        self.open()
        self.answer(self.post(), 502, "<html>Bad Gateway")
        self.answer(self.post_after_pause(), 413, "over the limit")
        self.assertEqual(self.account("refused", "unknown"), (0, 1))

    def test_not_about_the_batch(self) -> None:
        """A proxy that speaks plain text is waited for, too: an agent refuses by 400, 413 and 415 alone."""
        self.open()
        first = self.post()
        post = first
        for status in (403, 407, 410, 411, 421, 431, 451):
            self.answer(post, status, "upstream connect error")
            post = self.post_after_pause()
            self.assertEqual(post.body, first.body)
        self.answer(post, 415, "no")
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

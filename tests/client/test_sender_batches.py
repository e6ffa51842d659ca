"""Which batches a Sender makes, in which protocol, and when; and how it ends."""

from __future__ import annotations

from taba.client.encoding import encode_body, encode_payload
from taba.client.sender import (
    DRAIN_RETRY,
    MAX_RETRY,
    Answer,
    Post,
    Sender,
    Wait,
)
from tests.client.model_agent import ModelAgent, read
from tests.client.sender_case import INSTANCE, SenderCase, payloads


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

    def test_outage_is_packed(self) -> None:
        """While the agent is away for hours, an event a second of many tabs takes little more room than its numbers."""
        self.make(4 << 20)
        self.recorder.gauge("g", 0)
        self.recorder.counter("a", 0)
        action: Post | Wait = self.post()
        for second in range(2000):
            for tab in range(30):
                self.recorder.counter(f"tab{tab}", second)
            self.recorder.gauge("g", second)
            if isinstance(action, Post):
                self.sender.failed(action, "refused", self.now)
            self.later()
            action = self.next()
        events = 2000 * 31 + 2
        self.assertEqual(self.account("buffered_events", "full"), (events, 0))
        self.assertLess(self.sender.status()["buffered_bytes"], 40 * events)
        self.later(100)
        counted = [event for post in self.send_all() for event in read(post).events]
        self.assertEqual(len(counted), events)
        self.assertEqual([e.payload for e in counted if e.tab == "tab7"], list(range(2000)))
        self.assertEqual([e.payload for e in counted if e.tab == "g"], [0, *range(2000)])

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

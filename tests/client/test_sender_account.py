"""What a Sender says of itself: to the agent, to the application, to the log."""

from __future__ import annotations

from taba.client.drops import FULL
from taba.client.recorder import Recorder
from taba.client.sender import (
    Sender,
)
from tests.client.model_agent import read, read_frame
from tests.client.sender_case import INSTANCE, SenderCase


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

    def test_told_by_tab(self) -> None:
        """In protocol 2 an agent is told of which tabs events were dropped; what became unknown is told by tab, too."""
        self.make(5000)
        self.open()
        self.answer(self.post(), 409)
        self.later(100)
        for number in range(300):
            self.recorder.counter(f"tab{number % 2}")
        self.answer(self.post(), taba_instance=INSTANCE)
        dropped = self.recorder.drops.by_tab()
        full = {tab: reasons["full"] for tab, reasons in dropped.items() if "full" in reasons}
        self.assertEqual((sorted(full), sum(full.values())), (["tab0", "tab1"], self.recorder.drops.total(FULL)))
        told = read_frame(self.post().body)[0]["unsent"]
        self.assertEqual(told, {"unknown": {"a": 1}, "full": full})

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

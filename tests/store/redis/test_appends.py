"""The appends of one process to one shard: rounds, their size, and when they are answered."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from attrs import evolve
from twisted.internet.defer import CancelledError, Deferred
from twisted.trial.unittest import SynchronousTestCase

from taba.errors import StoreUnavailable
from taba.interfaces import Append, Outcome, Verdict
from taba.store.redis.appends import QUEUE_BYTES, ROUND_BYTES, Appender
from taba.store.redis.durability import Durability, Level
from taba.testing.redis import With
from tests.contracts.store_harness import DAY, batch, look
from tests.store.redis.stage import VBUCKETS, Stage

EPOCHS = dict.fromkeys(range(VBUCKETS), 1)
IN_MEMORY = Durability(Level.MEMORY)
REPLICATED = Durability(Level.REPLICATED, 1, 0.5)


class AppenderCase(SynchronousTestCase):
    """An Appender on one shard."""

    replicas = 0

    def setUp(self) -> None:
        self.stage = Stage(replicas=self.replicas)
        self.addCleanup(lambda: self.stage.close())

    def appender(self, durability: Durability = IN_MEMORY) -> Appender:
        return Appender(self.stage.shard, self.stage.keys, durability, 14 * DAY, EPOCHS)

    def verdicts(self, answered: Deferred[list[Outcome]]) -> list[Verdict]:
        return [outcome.verdict for outcome in self.stage.get(answered)]


class RoundTests(AppenderCase):
    """What goes into a round."""

    def test_calls_share_rounds(self) -> None:
        """What comes while a round is under way goes into the next one; each call gets its own answers."""
        appender = self.appender()
        answered = [appender.append([batch(1, vbucket=v), batch(2, vbucket=v)]) for v in range(4)]
        outcomes = [self.stage.get(each) for each in answered]
        self.assertEqual([[each.vbucket for each in some] for some in outcomes], [[v, v] for v in range(4)])
        self.assertEqual([each.last for some in outcomes for each in some], [1, 2] * 4)
        self.assertEqual(self.stage.shard.words(), ["taba_append"] * 2)

    def test_nothing_is_answered_by_nothing(self) -> None:
        """No batches, no outcomes, and no command."""
        self.assertEqual(self.stage.get(self.appender().append([])), [])
        self.assertEqual(self.stage.shard.words(), [])

    def test_verdicts(self) -> None:
        """All that a log can say comes back in the order of the batches."""
        appender = self.appender()
        self.stage.server.ask("SET", self.stage.keys.of("O", 1), "A:2")
        batches = [
            batch(1, vbucket=0),
            batch(1, vbucket=1),
            batch(3, vbucket=0),
            batch(1, vbucket=0, body=b"other"),
            batch(2, vbucket=0, sealed=0.0),
            look(1, vbucket=0),
            batch(1, vbucket=9),
        ]
        (first, *others) = self.stage.get(appender.append(batches))
        self.assertEqual((first.verdict, first.appended, first.checksum), (Verdict.OK, True, batches[0].checksum))
        self.assertEqual(
            [(each.verdict, each.reason) for each in others],
            [
                (Verdict.MOVED, ""),
                (Verdict.GAP, ""),
                (Verdict.CONFLICT, ""),
                (Verdict.REFUSED, "too old"),
                (Verdict.OK, ""),
                (Verdict.MOVED, ""),
            ],
        )
        self.assertEqual({each.lineage for each in others}, {self.stage.shard.lineage})

    def test_large_rounds_come_in_several_calls(self) -> None:
        """A call takes about 256 KiB, or one batch that is larger; the answers are in order."""
        body = b"x" * (100 << 10)
        sizes = [body, body, body * 41, b"small", body, body, body]
        batches = [batch(seq, body=each) for seq, each in enumerate(sizes, 1)]
        outcomes = self.stage.get(self.appender().append(batches))
        self.assertEqual([each.last for each in outcomes], list(range(1, 8)))
        self.assertEqual([each.verdict for each in outcomes], [Verdict.OK] * 7)
        places = [(len(command) - 9 - 1) // 10 for command in self.stage.shard.sent]
        self.assertEqual(places, [2, 1, 3, 1])
        entries = self.stage.server.ask("XLEN", self.stage.keys.of("L", batches[0].vbucket))
        self.assertEqual(entries, 7)

    def test_rounds_are_bounded(self) -> None:
        """More than a round takes goes into several, a call of `append` never into two."""
        appender = self.appender(REPLICATED)
        third = b"x" * (ROUND_BYTES // 3)
        answered = [appender.append([batch(1, vbucket=0)])]
        answered += [appender.append([batch(1, vbucket=v, body=third)]) for v in range(1, 6)]
        answered.append(appender.append([batch(1, vbucket=6), batch(1, vbucket=7, body=third * 4)]))
        for each in answered:
            self.stage.begin(each).addErrback(lambda failure: failure.trap(StoreUnavailable))  # there is no replica
        self.stage.world.advance(4.0)
        waits = " ".join(self.stage.shard.words()).split("WAIT")[:-1]
        self.assertEqual([len(each.split()) for each in waits], [1, 2, 2, 1, 2])
        for vbucket in range(8):
            self.assertEqual(self.stage.server.ask("XLEN", self.stage.keys.of("L", vbucket)), 1)

    def test_queue_is_bounded(self) -> None:
        """When too much waits already, more is refused, and says so; what was taken before goes its way."""
        appender = self.appender()
        large = b"x" * (QUEUE_BYTES // 2 - 1000)
        taken = [appender.append([batch(1, vbucket=0)])]
        taken += [appender.append([batch(1, vbucket=v, body=large)]) for v in (1, 2)]
        refused = appender.append([batch(1, vbucket=3, body=large)])
        self.assertIn("wait already", str(self.failureResultOf(refused, StoreUnavailable).value))
        self.stage.server.kill()
        self.stage.world.advance(1.0)
        for each in taken:
            self.failureResultOf(each, StoreUnavailable)
        self.stage.server.restart(With.ITS_DATA)
        self.stage.world.result_of(self.stage.shard.when_open())
        self.assertEqual(self.verdicts(appender.append([batch(1, vbucket=3)])), [Verdict.OK])

    def test_cancelled_calls_are_appended(self) -> None:
        """Whoever gives up hears nothing; the batches are in the log, and others are answered."""
        appender = self.appender()
        gone, later, other = (appender.append([batch(1, vbucket=v)]) for v in range(3))
        for each in (gone, later):
            each.cancel()
            self.failureResultOf(each, CancelledError)
        self.assertEqual(self.verdicts(other), [Verdict.OK])
        again = self.stage.get(appender.append([batch(1, vbucket=v) for v in range(2)]))
        self.assertEqual([each.appended for each in again], [False, False])

    def test_cancelled_calls_of_a_round_that_fails(self) -> None:
        """Nor do they hear of a failure."""
        appender = self.appender()
        gone = appender.append([batch(1)])
        gone.cancel()
        self.failureResultOf(gone, CancelledError)
        self.stage.server.hang()
        self.stage.world.advance(3.0)
        self.stage.server.wake()


class TroubleTests(AppenderCase):
    """Rounds that fail."""

    replicas = 1

    def fails(self, answered: Deferred[list[Outcome]]) -> str:
        """A call must fail; why."""
        with self.assertRaises(StoreUnavailable) as raised:
            self.stage.get(answered)
        return str(raised.exception)

    def append(self, appender: Appender, *batches: Append) -> list[Outcome]:
        outcomes: list[Outcome] = self.stage.get(appender.append(batches))
        return outcomes

    def test_replica_must_have_it(self) -> None:
        """Without a replica nothing is answered; when it is back, the batch is a duplicate, and waited for, too."""
        appender = self.appender(REPLICATED)
        self.assertEqual(self.append(appender, batch(1))[0].verdict, Verdict.OK)
        (replica,) = self.stage.replicas["shard1"]
        replica.cut_link()
        self.assertIn("0 of 1 replicas", self.fails(appender.append([batch(2)])))
        self.assertIn("0 of 1 replicas", self.fails(appender.append([batch(2)])))
        replica.join_link()
        self.stage.world.advance(5.0)
        (outcome,) = self.append(appender, batch(2))
        self.assertEqual((outcome.verdict, outcome.appended), (Verdict.OK, False))

    def test_round_without_links_fails_and_the_next_does_not(self) -> None:
        """While there is no master calls fail at once; nothing is left running."""
        appender = self.appender()
        self.stage.server.kill()
        self.stage.world.advance(1.0)
        for _ in range(3):
            self.fails(appender.append([batch(1)]))
        self.stage.server.restart(With.ITS_DATA)
        self.stage.world.result_of(self.stage.shard.when_open())
        self.assertEqual(self.append(appender, batch(1))[0].verdict, Verdict.OK)

    def test_server_dies_in_a_round(self) -> None:
        """What is under way, and what waits, fails: nothing is known of it. Asked again, it is a duplicate or new."""
        appender = self.appender()
        answered = [appender.append([batch(1, vbucket=v)]) for v in range(3)]
        self.stage.world.advance(0.0002)
        self.stage.server.kill()
        for each in answered:
            self.fails(each)
        self.stage.server.restart(With.ITS_DATA)
        self.stage.world.result_of(self.stage.shard.when_open())
        outcomes = self.append(appender, *(batch(1, vbucket=v) for v in range(3)))
        self.assertEqual({each.verdict for each in outcomes}, {Verdict.OK})

    def test_one_refused_call_fails_its_round(self) -> None:
        """A server without memory says so, with what to do; nothing is answered as if it were well."""
        appender = self.appender()
        self.stage.server.ask("CONFIG", "SET", "maxmemory", "1")
        self.assertIn("maxmemory", self.fails(appender.append([batch(1)])))
        self.stage.server.ask("CONFIG", "SET", "maxmemory", "0")
        self.assertEqual(self.append(appender, batch(1))[0].verdict, Verdict.OK)

    def test_missing_functions_close_the_links(self) -> None:
        """A server that lost its functions is looked at anew."""
        self.stage.server.ask("FUNCTION", "FLUSH")
        self.assertIn("Function not found", self.fails(self.appender().append([batch(1)])))
        self.assertFalse(self.stage.shard.state()["open"])
        self.stage.world.result_of(self.stage.shard.when_open())

    def test_master_must_be_vouched_for_before(self) -> None:
        """Nothing is sent to a master that no majority names."""
        self.stage.witnesses["shard1"].vouching = False
        self.assertIn("no majority", self.fails(self.appender().append([batch(1)])))
        self.assertEqual(self.stage.shard.words(), [])

    def test_master_must_be_vouched_for_after(self) -> None:
        """A master that is deposed while it is asked gives no answers; the batch may be in its log."""
        witness = self.stage.witnesses["shard1"]
        answered = self.appender().append([batch(1)])
        witness.vouching = False
        self.assertIn("no majority", self.fails(answered))
        self.assertEqual(self.stage.shard.words(), ["taba_append"])
        witness.vouching = True
        (outcome,) = self.append(self.appender(), batch(1))
        self.assertEqual((outcome.verdict, outcome.appended), (Verdict.OK, False))

    def test_links_that_come_back_in_the_middle(self) -> None:
        """An answer counts only when the connection that it came by is still open."""
        appender = self.appender()
        answered = appender.append([batch(1)])
        self.stage.reopen()
        self.fails(answered)
        self.assertEqual(self.append(appender, batch(1))[0].verdict, Verdict.OK)

    def test_new_lineage_in_the_middle(self) -> None:
        """The answers name the lineage under which they were given, and the links are closed."""
        before = self.stage.shard.lineage
        server, replica = self.stage.server, self.stage.replicas["shard1"][0]
        answered = self.appender().append([batch(1)])
        server.demote(replica)
        server.promote()
        after = server.replid[:32]
        self.assertNotEqual(before, after)
        (outcome,) = self.stage.get(answered)
        self.assertEqual((outcome.verdict, outcome.lineage), (Verdict.OK, after))
        self.assertFalse(self.stage.shard.state()["open"])

    def test_defects_fail_the_round_only(self) -> None:
        """A batch that cannot even be written down fails its round, and leaves nothing running."""
        appender = self.appender()
        broken: Any = object()
        self.assertIn("TypeError", self.fails(appender.append([evolve(batch(1), seq=broken)])))
        self.assertEqual(self.append(appender, batch(1))[0].verdict, Verdict.OK)

    def test_strange_answers_are_no_answers(self) -> None:
        """A server that answers fewer outcomes than there were batches is not believed."""
        appender = self.appender()
        strange = _Strange(self.stage.shard, [self.stage.shard.lineage.encode(), b"ok 1 1 1 "])
        appender._shard = strange  # type: ignore[assignment]
        self.assertIn("never should", self.fails(appender.append([batch(1), batch(2)])))


class _Strange:
    """A shard whose commands all have one answer."""

    def __init__(self, shard: Any, answer: Any) -> None:
        self._shard = shard
        self._answer = answer

    def link(self, role: str) -> Any:
        """A link that answers for itself."""
        return _StrangeLink(self._shard.link(role), self._answer)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._shard, name)


class _StrangeLink:
    def __init__(self, link: Any, answer: Any) -> None:
        self._link = link
        self._answer = answer

    async def call_all(self, commands: Sequence[Any]) -> list[Any]:
        """The same answer to each."""
        return [self._answer for _ in commands]

    def __getattr__(self, name: str) -> Any:
        return getattr(self._link, name)

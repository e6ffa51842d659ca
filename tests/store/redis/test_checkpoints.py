"""What be writes to one shard: all of a checkpoint or nothing, whoever comes between guard and transaction."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from attrs import evolve
from twisted.internet.defer import CancelledError
from twisted.trial.unittest import SynchronousTestCase

from taba.errors import StoreUnavailable
from taba.interfaces import RETIRED, Checkpoint, Lease, Position, SetAside, Written
from taba.store.limits import Limits
from taba.store.redis.checkpoints import FIELDS_PER_COMMAND, NAMES_PER_CALL, TRANSACTION_BYTES, Checkpoints
from taba.store.redis.owners import Owners
from taba.testing.redis import With
from tests.store.redis.stage import Stage

TTL = 2.0
DONE, STALE, FENCED = Written.DONE, Written.STALE, Written.FENCED


class CheckpointsCase(SynchronousTestCase):
    """A be's checkpoints on one shard, and leases for them."""

    known_names = 1_000_000

    def setUp(self) -> None:
        self.stage = Stage()
        self.addCleanup(lambda: self.stage.close())
        self.owners = Owners(self.stage.shard, self.stage.keys)
        limits = Limits(aside_rows=3, aside_bytes=100)
        self.checkpoints = Checkpoints(
            self.stage.shard, self.stage.keys, limits, self.owners.ttl, known_names=self.known_names
        )
        self.held: dict[int, Lease] = {}

    def lease(self, vbucket: int, owner: str = "be-1") -> Lease:
        leases: dict[int, Lease] = self.stage.get(self.owners.acquire([vbucket], owner, TTL))
        self.checkpoints.forget(vbucket)
        return leases[vbucket]

    def next(self, lease: Lease, **fields: Any) -> Checkpoint:
        """The checkpoint that may follow; it folds nothing."""
        expected = self.stage.get(self.owners.load(lease.vbucket)).position
        return Checkpoint(
            lease, self.stage.shard.lineage, expected, Position(expected.folded, expected.commits + 1), **fields
        )

    def write(self, *checkpoints: Checkpoint) -> list[Written]:
        written: list[Written] = self.stage.get(self.checkpoints.write(checkpoints))
        return written

    def put(self, vbucket: int = 1, **fields: Any) -> None:
        """Write something under the lease that is held, or a new one."""
        if vbucket not in self.held:
            self.held[vbucket] = self.lease(vbucket)
        self.assertEqual(self.write(self.next(self.held[vbucket], **fields)), [DONE])

    def ask(self, word: str, letter: str, vbucket: int, *more: Any) -> Any:
        return self.stage.server.ask(word, self.stage.keys.of(letter, vbucket), *more)

    def hash(self, letter: str, vbucket: int = 1) -> dict[bytes, bytes]:
        flat = self.ask("HGETALL", letter, vbucket)
        return dict(zip(flat[::2], flat[1::2], strict=True))

    def states(self, tab: str, vbucket: int = 1) -> dict[bytes, bytes]:
        flat: Any = self.stage.server.ask("HGETALL", self.stage.keys.states(vbucket, tab))
        return dict(zip(flat[::2], flat[1::2], strict=True))


class GuardTests(CheckpointsCase):
    """Who may write."""

    def test_written(self) -> None:
        """What is written is there, with the position, and the lease is prolonged."""
        lease = self.lease(1)
        self.stage.world.advance(1.0)
        checkpoint = self.next(
            lease, states={("t", "c"): b"s"}, aggregates={"t": b"a"}, types={"t": "X"}, ledger={"folded": 7, "lost": 3}
        )
        self.assertEqual(self.write(checkpoint), [DONE])
        self.assertEqual(self.states("t"), {b"c": b"s"})
        self.assertEqual((self.hash("A"), self.hash("T"), self.hash("N")), ({b"t": b"a"}, {b"t": b"X"}, {b"c": b"1"}))
        self.assertEqual(self.hash("C"), {b"row": b'{"folded": 7}'})
        self.assertEqual(self.ask("GET", "Q", 1), b"0:1:1")
        self.assertGreater(self.ask("PTTL", "E", 1), 1900)

    def test_log_is_trimmed(self) -> None:
        """What is folded leaves the log, and the list of its sizes."""
        for _ in range(5):
            self.ask("XADD", "L", 1, "0-*", "b", "x")
            self.ask("RPUSH", "M", 1, "1.0:1:1")
        checkpoint = self.next(self.lease(1))
        self.assertEqual(self.write(evolve(checkpoint, position=Position(3, 1))), [DONE])
        self.assertEqual((self.ask("XLEN", "L", 1), self.ask("LLEN", "M", 1)), (2, 2))

    def test_refused(self) -> None:
        """Without lease, on another position or lineage, or beyond the log nothing is written."""
        lease = self.lease(1)
        good = self.next(lease, states={("t", "c"): b"s"})
        for refused, answer in (
            (evolve(good, lease=Lease(1, "be-2", 1)), FENCED),
            (evolve(good, lease=Lease(2, "be-1", 1)), FENCED),
            (evolve(good, lineage="f" * 32), STALE),
            (evolve(good, expected=Position(0, 5), position=Position(0, 6)), STALE),
            (evolve(good, position=Position(1, 1)), STALE),
        ):
            self.assertEqual(self.write(refused), [answer])
        self.assertEqual(self.states("t"), {})
        self.assertNotIn("MULTI", self.stage.shard.words())
        self.assertEqual(self.write(good), [DONE])

    def between(self, lease: Lease, done: Any) -> list[Written]:
        """Let something happen between guard and transaction of one checkpoint, and write it."""
        checkpoint = self.next(lease, states={("t", "c"): b"s"})
        self.stage.shard.before("MULTI", done)
        return self.write(checkpoint)

    def test_position_changes_after_the_guard(self) -> None:
        """A commit that somebody else makes between guard and transaction takes all of the transaction back."""
        written = self.between(self.lease(1), lambda: self.ask("SET", "Q", 1, "0:1:1"))
        self.assertEqual((written, self.states("t")), ([STALE], {}))

    def test_lease_changes_hands_after_the_guard(self) -> None:
        """So does a grant to somebody else."""

        def grant() -> None:
            self.ask("SET", "E", 1, "be-2:2")

        written = self.between(self.lease(1), grant)
        self.assertEqual((written, self.states("t")), ([FENCED], {}))

    def test_lease_runs_out_after_the_guard(self) -> None:
        """So does the end of the lease."""
        lease = self.lease(1)
        self.ask("PEXPIRE", "E", 1, 100)

        def hang() -> None:
            self.stage.server.node.step_wall(0.5)

        written = self.between(lease, hang)
        self.assertEqual((written, self.states("t")), ([FENCED], {}))

    def test_vbucket_is_sealed_after_the_guard(self) -> None:
        """A marker that changes lets the checkpoint be tried again: it may be written while the vbucket is sealed."""
        written = self.between(self.lease(1), lambda: self.ask("SET", "O", 1, "S:1"))
        self.assertEqual((written, self.states("t")), ([DONE], {b"c": b"s"}))
        self.assertEqual(self.ask("GET", "Q", 1), b"0:1:1")

    def test_vbucket_changes_twice(self) -> None:
        """Who is disturbed a second time gives up."""

        def again() -> None:
            self.ask("SET", "O", 1, "S:1")
            self.stage.shard.before("MULTI", lambda: self.ask("SET", "O", 1, "A:1"))

        self.assertEqual((self.between(self.lease(1), again), self.states("t")), ([STALE], {}))

    def test_one_bad_vbucket_of_several(self) -> None:
        """The others are written, each by itself; those that the guard refuses are told apart."""
        leases = [self.lease(vbucket) for vbucket in range(4)]
        checkpoints = [self.next(lease, states={("t", "c"): b"s"}) for lease in leases]
        checkpoints[3] = evolve(checkpoints[3], lineage="f" * 32)
        self.stage.shard.before("MULTI", lambda: self.ask("SET", "Q", 1, "0:9:1"))
        self.assertEqual(self.write(*checkpoints), [DONE, STALE, DONE, STALE])
        self.assertEqual([bool(self.states("t", vbucket)) for vbucket in range(4)], [True, False, True, False])

    def test_same_vbucket_twice(self) -> None:
        """The second stands on top of the first; a copy of the first is stale."""
        lease = self.lease(1)
        first = self.next(lease, states={("t", "c"): b"1"})
        second = evolve(first, expected=Position(0, 1), position=Position(0, 2), states={("t", "c"): b"2"})
        self.assertEqual(self.write(first, second, first), [DONE, DONE, STALE])
        self.assertEqual((self.states("t"), self.hash("N")), ({b"c": b"2"}, {b"c": b"1"}))

    def test_two_at_once(self) -> None:
        """Two be that hold a lease one after the other: only the newer one writes. Two calls of one do not mix."""
        old = self.next(self.lease(1), states={("t", "old"): b"s"})
        self.ask("DEL", "E", 1)
        new = self.next(self.lease(1, "be-2"), states={("t", "new"): b"s"})
        other = Checkpoints(self.stage.another(), self.stage.keys, Limits(), {})
        begun = [self.stage.begin(each.write([one])) for each in (self.checkpoints, other) for one in (old, new)]
        self.assertEqual(sorted(self.stage.get(each)[0].value for each in begun), ["done", "fenced", "fenced", "stale"])
        self.assertEqual(self.states("t"), {b"new": b"s"})


class TroubleTests(CheckpointsCase):
    """Servers that die, refuse or forget between the commands."""

    def fails(self, *checkpoints: Checkpoint) -> str:
        with self.assertRaises(StoreUnavailable) as raised:
            self.write(*checkpoints)
        return str(raised.exception)

    def test_answer_is_lost(self) -> None:
        """When the answer does not come it was written, or it was not; nothing is known then."""
        checkpoint = self.next(self.lease(1), states={("t", "c"): b"s"})
        self.stage.shard.before("MULTI", lambda: self.stage.world.soon(self.stage.reopen_later))
        self.fails(checkpoint)
        self.stage.world.result_of(self.stage.shard.when_open())
        self.assertIn(self.write(self.next(self.lease(1), states={("t", "c"): b"s"})), ([DONE],))
        self.assertEqual((self.states("t"), self.hash("N")), ({b"c": b"s"}, {b"c": b"1"}))

    def test_other_lineage_after_the_guard(self) -> None:
        """A server that was started again knows no transaction that was guarded before."""
        checkpoint = self.next(self.lease(1), states={("t", "c"): b"s"})
        self.stage.shard.before("MULTI", lambda: self.stage.server.restart(With.ITS_DATA))
        self.fails(checkpoint)
        self.stage.world.result_of(self.stage.shard.when_open())
        self.assertEqual(self.write(checkpoint), [STALE])
        self.assertEqual(self.states("t"), {})

    def test_no_memory(self) -> None:
        """A full server writes nothing of it, and says what to do."""
        checkpoint = self.next(self.lease(1), states={("t", "c"): b"s"})
        self.stage.server.ask("CONFIG", "SET", "maxmemory", "1")
        self.assertIn("maxmemory", self.fails(checkpoint))
        self.stage.server.ask("CONFIG", "SET", "maxmemory", "0")
        self.assertEqual(self.ask("GET", "Q", 1), b"0:0:1")
        self.assertEqual(self.write(checkpoint), [DONE])

    def test_leases_outlive_a_full_server(self) -> None:
        """A server without memory prolongs leases."""
        lease = self.lease(1)
        self.stage.server.ask("CONFIG", "SET", "maxmemory", "1")
        self.assertEqual(self.stage.get(self.owners.renew([lease], TTL)), {1})

    def test_guard_fails(self) -> None:
        """Without an answer of the guard no transaction is sent; the next one finds nothing left over."""
        checkpoint = self.next(self.lease(1))
        self.stage.server.ask("FUNCTION", "FLUSH")
        self.stage.shard.words()
        self.fails(checkpoint)
        self.assertNotIn("MULTI", self.stage.shard.words())

    def test_command_fails_inside(self) -> None:
        """What fails inside a transaction fails the write, though the rest was done: the vbucket is to be loaded."""
        checkpoint = self.next(self.lease(1), states={("t", "c"): b"s"})
        self.ask("SET", "N", 1, "not a hash")
        self.assertIn("WRONGTYPE", self.fails(checkpoint))
        self.assertEqual(self.ask("GET", "Q", 1), b"0:1:1")

    def test_without_links(self) -> None:
        """It fails at once, and works when there are links again."""
        checkpoint = self.next(self.lease(1), states={("t", "c"): b"s"})
        self.stage.shard.lost("the test says so")
        self.fails(checkpoint)
        self.stage.world.result_of(self.stage.shard.when_open())
        self.assertEqual(self.write(checkpoint), [DONE])

    def test_cancelled(self) -> None:
        """Who gives up hears nothing; those who wait behind get their turn."""
        first, second = (self.next(self.lease(vbucket)) for vbucket in (1, 2))
        gone = self.stage.begin(self.checkpoints.write([first]))
        waiting = self.stage.begin(self.checkpoints.write([first]))
        other = self.stage.begin(self.checkpoints.write([second]))
        for each in (gone, waiting):
            each.cancel()
            self.failureResultOf(each, CancelledError)
        self.assertEqual(self.stage.get(other), [DONE])

    def test_what_cannot_be_written_down(self) -> None:
        """A value that is no value harms nothing but its own call."""
        lease = self.lease(1)
        broken: Any = object()
        with self.assertRaises(TypeError):
            self.write(self.next(lease, states={("t", "c"): broken}))
        self.assertEqual(self.write(self.next(lease, states={("t", "c"): b"s"})), [DONE])


class NamesTests(CheckpointsCase):
    """Which tabs and clients there are."""

    def test_counts_of_clients(self) -> None:
        """A client is counted once for each tab it has a State in, and not at all without one."""
        self.put(states={("t", "c"): b"1", ("u", "c"): b"1", ("t", "d"): b"1", ("t", RETIRED): b"1"})
        self.put(states={("t", "c"): b"2", ("t", "d"): None, ("u", "gone"): None})
        self.assertEqual(self.hash("N"), {b"c": b"2", RETIRED.encode(): b"1"})
        self.put(states={("t", "c"): None, ("u", "c"): None, ("u", "d"): b"1"})
        self.assertEqual(self.hash("N"), {b"d": b"1", RETIRED.encode(): b"1"})

    def test_counts_over_a_reload(self) -> None:
        """Somebody who takes a vbucket over counts no State twice."""
        self.put(states={("t", "c"): b"1"})
        self.held.clear()
        self.put(states={("t", "c"): b"2", ("t", "d"): b"1"})
        self.assertEqual(self.hash("N"), {b"c": b"1", b"d": b"1"})

    def test_known_states_are_not_asked_for(self) -> None:
        """Who wrote a State knows that it is there; of one that is deleted it is asked."""
        self.put(states={("t", "c"): b"1"})
        self.assertEqual(self.stage.shard.words().count("taba_present"), 1)
        self.put(states={("t", "c"): b"2"})
        self.assertNotIn("taba_present", self.stage.shard.words())
        self.put(states={("t", "c"): None})
        self.assertEqual(self.stage.shard.words().count("taba_present"), 1)

    def test_tabs_come_and_go(self) -> None:
        """A tab is listed while it has a Type, a State or an Aggregate."""
        self.put(states={("t", "c"): b"1"}, aggregates={"a": b"1"}, types={"x": "X", "t": "T"})
        self.assertEqual(self.hash("T"), {b"t": b"T", b"a": b"", b"x": b"X"})
        self.put(types={"t": None, "x": None})
        self.assertEqual(self.hash("T"), {b"t": b"", b"a": b""})
        self.put(states={("t", "c"): None}, aggregates={"a": None})
        self.assertEqual(self.hash("T"), {})

    def test_tab_that_was_emptied_comes_again(self) -> None:
        """It is listed again with the next State."""
        self.put(states={("t", "c"): b"1"})
        self.put(states={("t", "c"): None})
        self.put(states={("t", "c"): b"1"})
        self.assertEqual(self.hash("T"), {b"t": b""})

    def test_any_names(self) -> None:
        """Names may have any character."""
        self.put(states={("a:b ü/'\"", "ç*[]: {x}"): b"\x00\xff"}, types={"a:b ü/'\"": "X"})
        self.assertEqual(self.states("a:b ü/'\""), {"ç*[]: {x}".encode(): b"\x00\xff"})

    def test_many_names(self) -> None:
        """Many States go in several commands, in one transaction."""
        count = max(FIELDS_PER_COMMAND, NAMES_PER_CALL) * 2 + 1
        names = [("t" if number % 2 else "u", f"c{number}") for number in range(count)]
        self.put(states=dict.fromkeys(names, b"s"))
        words = self.stage.shard.words()
        self.assertEqual((words.count("taba_present"), words.count("MULTI")), (3, 1))
        self.assertEqual(len(self.states("t")) + len(self.states("u")), count)
        self.assertEqual(len(self.hash("N")), count)
        self.put(states=dict.fromkeys(names))
        self.assertEqual((self.states("t"), self.hash("N")), ({}, {}))

    def test_large_checkpoints_go_one_by_one(self) -> None:
        """What is large is not made larger by others."""
        leases = [self.lease(vbucket) for vbucket in range(4)]
        sizes = [TRANSACTION_BYTES // 2, TRANSACTION_BYTES // 2, 1, TRANSACTION_BYTES * 3 // 2]
        checkpoints = [
            self.next(lease, states={("t", "c"): b"x" * size}) for lease, size in zip(leases, sizes, strict=True)
        ]
        self.assertEqual(self.write(*checkpoints), [DONE] * 4)
        self.assertEqual(self.stage.shard.words().count("MULTI"), 3)


class BoundTests(CheckpointsCase):
    """What is remembered is bounded."""

    known_names = 10

    def test_known_names(self) -> None:
        """The vbuckets that were written longest ago are forgotten first, and counted right all the same."""
        for vbucket in (1, 2, 3):
            self.put(vbucket, states={("t", f"c{number}"): b"s" for number in range(4)})
        self.stage.shard.words()
        for vbucket, asked in ((3, 0), (1, 1)):
            self.put(vbucket, states={("t", "c0"): b"2"})
            self.assertEqual(self.stage.shard.words().count("taba_present"), asked)
            self.assertEqual(set(self.hash("N", vbucket).values()), {b"1"})

    def test_more_than_fits(self) -> None:
        """One vbucket with more names than that is not remembered at all."""
        for _ in range(2):
            self.put(states={("t", f"c{number}"): b"s" for number in range(20)})
        self.assertEqual(self.stage.shard.words().count("taba_present"), 2)
        self.assertEqual(set(self.hash("N").values()), {b"1"})


class AsideTests(CheckpointsCase):
    """Partials that are set aside: three at most, and a hundred bytes."""

    def aside(self, *sizes: int) -> list[SetAside]:
        return [SetAside("why", f"t{size}", "c", "X", 1, b"p" * size) for size in sizes]

    def kept(self) -> Sequence[int]:
        entries: Any = self.stage.server.ask("XRANGE", self.stage.keys.aside[0], "-", "+")
        sizes: Any = self.stage.server.ask("LRANGE", self.stage.keys.aside[1], 0, -1)
        partials = [len(fields[fields.index(b"p") + 1]) for _, fields in entries]
        self.assertEqual([int(item.partition(b":")[0]) for item in sizes], partials)
        return partials

    def test_newest_are_kept(self) -> None:
        """The oldest go, whether they came before or now."""
        for sizes, kept in (
            ([1, 2], [1, 2]),
            ([3, 4], [2, 3, 4]),
            ([], [2, 3, 4]),
            ([5, 6, 7, 8], [6, 7, 8]),
            ([60, 50, 30], [50, 30]),
            ([9], [50, 30, 9]),
            ([101, 4], [4]),
            ([7, 101], []),
            ([1, 2, 3], [1, 2, 3]),
        ):
            self.put(set_aside=self.aside(*sizes))
            self.assertEqual(self.kept(), kept, sizes)

    def test_what_cannot_stay_is_not_sent(self) -> None:
        """Many megabytes that would be dropped at once do not hold the server up."""
        self.put(set_aside=self.aside(*[99] * 1000))
        (command,) = [each for each in self.stage.shard.sent if "taba_set_aside" in each]
        self.assertLess(sum(len(each) for each in command if isinstance(each, bytes)), 300)
        self.assertEqual(self.kept(), [99])

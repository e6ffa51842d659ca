"""The parts of Tako without IO: clock, versions, ring, levels, rounds, trees, cache, messages."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from taba.tako import wire
from taba.tako.cache import RecordCache
from taba.tako.clock import MAX_STAMP, HybridClock, parse_stamp
from taba.tako.errors import BadKey, BadMessage, BadTimestamp, ClockAhead
from taba.tako.interfaces import Found
from taba.tako.levels import Level, Replicas, majority
from taba.tako.merkle import Leaves, differing, exchange
from taba.tako.records import (
    MAX_KEY,
    PIECE,
    SLOTS,
    Version,
    check_key,
    checksum_of,
    is_newer,
    newest,
    slot_of,
    tombstone,
    version_of,
)
from taba.tako.ring import Ring
from taba.tako.rounds import ReadRound, Verdict, WriteRound

FAR = 2**53


def versions() -> st.SearchStrategy[Version]:
    """Versions with few different stamps, so that many are equal."""
    return st.one_of(
        st.builds(version_of, st.integers(1, 5), st.binary(max_size=2)), st.builds(tombstone, st.integers(1, 5))
    )


class ClockTests(SynchronousTestCase):
    """The hybrid clock."""

    def setUp(self) -> None:
        """A clock whose wall the test moves."""
        self.wall = 1_000.0
        self.clock = HybridClock(lambda: self.wall, 10.0)

    def test_reads_as_microseconds(self) -> None:
        """A stamp can be read as a time."""
        self.assertEqual(self.clock.now(), 1_000_000_000)

    def test_never_repeats_when_the_wall_steps_back(self) -> None:
        """Every stamp is later than the last one, whatever the wall clock does."""
        stamps = [self.clock.now()]
        for wall in (1_000.0, 995.0, 1_000.5, 993.0):
            self.wall = wall
            stamps.append(self.clock.now())
        self.assertEqual(stamps, sorted(set(stamps)))

    def test_a_clock_that_is_put_right_is_right_at_once(self) -> None:
        """What nobody took, because the clock was far ahead, does not hold back what comes after it was put right."""
        self.wall = 5_000.0
        self.clock.now()
        self.wall = 1_000.0
        self.assertEqual(self.clock.now(), 1_000_000_000)

    def test_two_clocks_say_what_is_from_the_future(self) -> None:
        """The limit of others is that of the most advanced one, and none where none is known."""
        self.assertEqual(self.clock.limit_of_others(), MAX_STAMP)
        self.clock.others = lambda: 100.0
        self.assertEqual(self.clock.limit_of_others(), 1_110_000_000)

    def test_later_than_what_was_seen(self) -> None:
        """A stamp that was observed is left behind."""
        self.clock.observe(1_005_000_000)
        self.assertGreater(self.clock.now(), 1_005_000_000)

    def test_far_ahead_is_refused_and_counted(self) -> None:
        """A stamp from a clock that is wrong moves nothing."""
        with self.assertRaises(ClockAhead) as caught:
            self.clock.observe(1_010_000_001)
        self.assertEqual((caught.exception.stamp, caught.exception.most), (1_010_000_001, 10.0))
        self.assertEqual((self.clock.refused, self.clock.now()), (1, 1_000_000_000))

    def test_timestamps_of_clients(self) -> None:
        """Decimal microseconds, and nothing else."""
        self.assertEqual(parse_stamp("1700000000000000"), 1_700_000_000_000_000)
        for text in ("", "0", "-1", "1.5", "12a", " 1", "\u0661", "9" * 17, str(MAX_STAMP + 1)):
            self.assertRaises(BadTimestamp, parse_stamp, text)


class VersionTests(SynchronousTestCase):
    """Which version wins."""

    @settings(deadline=None)
    @given(st.lists(versions(), min_size=1, max_size=6), st.randoms())
    def test_every_order_of_arrival_leaves_the_same(self, arriving: list[Version], random: object) -> None:
        """Nodes that saw the same versions in any order hold the same one."""
        shuffled = sorted(arriving, key=lambda _: random.random())  # type: ignore[attr-defined]
        held: Version | None = None
        for version in shuffled:
            held = version if is_newer(version, held) else held
        self.assertEqual(held, newest(arriving))

    def test_a_tombstone_wins_over_a_value_of_its_time(self) -> None:
        """At the same microsecond a key is deleted rather than kept."""
        self.assertTrue(is_newer(tombstone(5), version_of(5, b"zzz")))

    @settings(deadline=None)
    @given(st.binary(min_size=1, max_size=20), versions(), versions())
    def test_digests_tell_versions_apart(self, key: bytes, one: Version, other: Version) -> None:
        """A tree sees every change."""
        self.assertEqual(one.digest(key) == other.digest(key), one == other)
        self.assertLess(one.digest(key), 2**48)

    def test_pieces(self) -> None:
        """An empty value has one piece, one byte over a piece makes two."""
        sizes = [Version(1, False, size, "").pieces for size in (0, 1, PIECE, PIECE + 1)]
        self.assertEqual(sizes, [1, 1, 1, 2])

    def test_keys(self) -> None:
        """Empty and long keys are refused with their length."""
        self.assertEqual(check_key(b"k" * MAX_KEY), b"k" * MAX_KEY)
        for key in (b"", b"k" * (MAX_KEY + 1)):
            with self.assertRaises(BadKey) as caught:
                check_key(key)
            self.assertEqual(caught.exception.length, len(key))


class RingTests(SynchronousTestCase):
    """Consistent hashing."""

    def test_owners_are_the_next_distinct_buckets(self) -> None:
        """The table says for every slot what a search along the ring says."""
        ring = Ring([f"b{n}" for n in range(1, 6)], 2)
        wrong = [slot for slot in range(0, SLOTS, 7) if ring.owners(slot) != ring.owners_by_search(slot)]
        self.assertEqual(wrong, [])
        self.assertEqual({len(set(ring.owners(slot))) for slot in range(SLOTS)}, {2})

    def test_the_ends_of_the_ring(self) -> None:
        """The first and the last slots follow the definition, too."""
        ring = Ring(["a", "b", "c"], 3)
        for slot in (*range(600), *range(SLOTS - 600, SLOTS)):
            self.assertEqual(ring.owners(slot), ring.owners_by_search(slot))

    def test_shares_are_even(self) -> None:
        """With 120 points a bucket none has a third more, or less, than its share."""
        for count in (5, 20):
            shares = Ring([f"b{n}" for n in range(count)], 2).shares()
            self.assertAlmostEqual(sum(shares.values()), 2.0)
            self.assertLess(max(shares.values()), 1.34 * 2 / count)
            self.assertGreater(min(shares.values()), 0.66 * 2 / count)

    def test_a_new_bucket_takes_only_its_share(self) -> None:
        """Slots change owners only to the new bucket."""
        before, after = Ring(["a", "b", "c", "d"], 1), Ring(["a", "b", "c", "d", "e"], 1)
        moved = [slot for slot in range(SLOTS) if before.owners(slot) != after.owners(slot)]
        self.assertEqual({after.owners(slot) for slot in moved}, {("e",)})
        self.assertLess(abs(len(moved) / SLOTS - 1 / 5), 0.07)

    def test_every_machine_places_alike(self) -> None:
        """Golden: places do not depend on the process; a change here would orphan stored keys."""
        self.assertEqual([slot_of(key) for key in (b"users/x", b"a", b"\xff\x00")], [29518, 7707, 26108])
        self.assertEqual(Ring(["b1", "b2", "b3"], 2).owners(29518), ("b2", "b3"))

    def test_too_few_buckets(self) -> None:
        """More buckets per key than buckets is an error."""
        self.assertRaises(ValueError, Ring, ["a"], 2)


class LevelTests(SynchronousTestCase):
    """When enough nodes have answered."""

    @settings(deadline=None)
    @given(st.integers(1, 9), st.data())
    def test_two_quorums_meet(self, count: int, data: st.DataObject) -> None:
        """Any two quorums have a node in common."""
        nodes = [f"n{n}" for n in range(count)]
        chosen = st.sets(st.sampled_from(nodes), min_size=majority(count))
        self.assertTrue(data.draw(chosen) & data.draw(chosen))

    def test_a_migration_needs_both_majorities(self) -> None:
        """While keys move, a quorum is one of each deployment."""
        replicas = Replicas.of(["a", "b", "c"], ["c", "d", "e"])
        self.assertEqual(replicas.nodes, ("a", "b", "c", "d", "e"))
        self.assertFalse(replicas.reached(Level.QUORUM, {"a", "b", "c"}))
        self.assertTrue(replicas.reached(Level.QUORUM, {"b", "c", "d"}))
        self.assertTrue(replicas.hopeless(Level.QUORUM, {"d", "e"}))
        self.assertFalse(replicas.hopeless(Level.ONE, {"a", "b", "c", "d"}))


class RoundTests(SynchronousTestCase):
    """What answers mean."""

    REPLICAS = Replicas.of(["a", "b", "c"], ["a", "b", "c"])

    def _write(self, may_lose: bool = False) -> WriteRound:
        return WriteRound(self.REPLICAS, Level.QUORUM, FAR, version=version_of(10, b"x"), may_lose=may_lose)

    def test_a_write_waits_for_its_level(self) -> None:
        """Two of three make a quorum."""
        round = self._write()
        round.holds("a", round.version)
        self.assertEqual(round.verdict(), Verdict.WAITING)
        round.holds("c", round.version)
        self.assertEqual((round.verdict(), round.missing()), (Verdict.REACHED, ["b"]))

    def test_a_write_fails_when_its_level_is_out_of_reach(self) -> None:
        """Two failures of three end it."""
        round = self._write()
        round.failed("a", "away")
        round.failed("b", "away")
        self.assertEqual(round.verdict(), Verdict.FAILED)

    def test_a_newer_version_supersedes(self) -> None:
        """A write that this process stamped has to be stamped again; one with a client's stamp may lose."""
        for may_lose, verdict in ((False, Verdict.SUPERSEDED), (True, Verdict.REACHED)):
            round = self._write(may_lose)
            round.holds("a", version_of(11, b"y"))
            round.holds("b", round.version)
            self.assertEqual(round.verdict(), verdict)

    def test_versions_from_the_future_do_not_count(self) -> None:
        """A node whose record a wrong clock stamped does not hold the write, and hides nothing from a read."""
        write = WriteRound(self.REPLICAS, Level.QUORUM, 20, version=version_of(10, b"x"), may_lose=False)
        write.holds("a", version_of(21, b"y"))
        self.assertEqual((write.newer, write.answered), (None, set()))
        read = ReadRound(self.REPLICAS, Level.QUORUM, 20)
        read.found("a", version_of(21, b"y"))
        read.found("b", version_of(10, b"x"))
        self.assertEqual((read.newest(), read.holders(), read.outdated()), (version_of(10, b"x"), ["b"], ["a"]))

    def test_what_two_nodes_hold_is_not_from_the_future(self) -> None:
        """A second node accepted it, so the clock here is behind: the version counts."""
        read = ReadRound(self.REPLICAS, Level.ALL, 20)
        for node, version in (("a", version_of(21, b"y")), ("b", version_of(10, b"x")), ("c", version_of(21, b"y"))):
            read.found(node, version)
        self.assertEqual((read.holders(), read.outdated()), (["a", "c"], ["b"]))
        alone = ReadRound(Replicas.of(["a"], ["a"]), Level.QUORUM, 20)
        alone.found("a", version_of(21, b"y"))
        self.assertEqual(alone.newest(), version_of(21, b"y"))

    def test_a_read_tells_who_is_outdated(self) -> None:
        """The newest wins; those that had less, or nothing, are to be repaired."""
        read = ReadRound(self.REPLICAS, Level.ALL, FAR)
        read.found("a", None)
        read.found("b", version_of(2, b"x"))
        read.found("c", version_of(1, b"y"))
        self.assertEqual((read.verdict(), read.holders()), (Verdict.REACHED, ["b"]))
        self.assertEqual(sorted(read.outdated()), ["a", "c"])


class TreeTests(SynchronousTestCase):
    """Merkle trees."""

    @settings(deadline=None)
    @given(st.lists(st.tuples(st.sampled_from([b"a", b"b", b"c"]), versions()), max_size=12))
    def test_leaves_depend_on_what_is_held_alone(self, writes: list[tuple[bytes, Version]]) -> None:
        """However the records came to be, equal records give equal leaves."""
        leaves, held = Leaves(), dict[bytes, Version]()
        for key, version in writes:
            old = held.get(key)
            leaves.change(slot_of(key), None if old is None else old.digest(key), version.digest(key))
            held[key] = version
        fresh = Leaves()
        for key, version in held.items():
            fresh.change(slot_of(key), None, version.digest(key))
        self.assertEqual((leaves.sums, leaves.counts), (fresh.sums, fresh.counts))

    @settings(deadline=None)
    @given(st.dictionaries(st.sampled_from([b"a", b"b", b"c"]), versions()),
           st.dictionaries(st.sampled_from([b"a", b"b", b"c"]), versions()))  # fmt: skip
    def test_an_exchange_makes_both_equal(self, mine: dict[bytes, Version], theirs: dict[bytes, Version]) -> None:
        """After both got what they lack they hold the same, the newest of each key."""
        lacking = exchange(mine, theirs)
        one = {**mine, **{key: theirs[key] for key in lacking.wanted}}
        other = {**theirs, **{key: mine[key] for key in lacking.owed}}
        self.assertEqual(one, other)

    def test_differing(self) -> None:
        """Places that differ; all when the rows are not comparable."""
        self.assertEqual(differing([1, 2, 3], [1, 5, 3]), [1])
        self.assertEqual(differing([1, 2], [1]), [0, 1])


class CacheTests(SynchronousTestCase):
    """Records in memory."""

    FOUND = Found(version_of(1, b"x"), b"x")

    def test_not_while_the_key_changes(self) -> None:
        """What a read found before a change is not kept after it."""
        cache = RecordCache(10_000)
        began = cache.read_begins()
        cache.change_begins(b"k")
        cache.read_ended(began, b"k", self.FOUND)
        self.assertIsNone(cache.get(b"k", True))
        newer = Found(version_of(2, b"y"), b"y")
        cache.change_begins(b"k")
        cache.change_ended(b"k", self.FOUND)
        self.assertIsNone(cache.get(b"k", True))
        cache.change_ended(b"k", newer)
        self.assertEqual(cache.get(b"k", True), newer)

    def test_a_slow_read_beside_a_change(self) -> None:
        """A read that began while the key changed, and ends after that, may have found the old record: it is not kept.
        """
        cache = RecordCache(10_000)
        newer = Found(version_of(2, b"y"), b"y")
        cache.change_begins(b"k")
        began = cache.read_begins()
        cache.change_ended(b"k", newer)
        cache.read_ended(began, b"k", self.FOUND)
        self.assertEqual(cache.get(b"k", True), newer)

    def test_bounded(self) -> None:
        """The oldest go when the bytes are used up; a record larger than a share is never kept."""
        cache = RecordCache(16_000)
        for number in range(100):
            cache.read_ended(cache.read_begins(), b"%d" % number, Found(version_of(1, b""), bytes(100)))
        self.assertLessEqual(cache.size, 16_000)
        self.assertIsNone(cache.get(b"0", False))
        self.assertIsNotNone(cache.get(b"99", True))
        cache.read_ended(cache.read_begins(), b"large", Found(version_of(1, b""), bytes(2_000)))
        self.assertIsNone(cache.get(b"large", True))


    def test_versions_stay_longer_than_values(self) -> None:
        """When values have to go, versions of small records stay for another round."""
        cache = RecordCache(16_000)
        for number in range(20):
            cache.read_ended(cache.read_begins(), b"%d" % number, Found(version_of(1, b"x"), bytes(500)))
        self.assertIsNone(cache.get(b"3", True))
        self.assertEqual(cache.get(b"3", False), Found(version_of(1, b"x")))


class MessageTests(SynchronousTestCase):
    """The stream of messages."""

    STREAM = b"".join(
        (
            wire.encode_message({"id": 1, "read": [["k", 1]]}),
            wire.encode_message({"to": 1, "rows": []}, [b"first", b"", b"second"]),
            wire.encode_message({"id": 2}, [b""]),
        )
    )

    def test_however_it_is_cut(self) -> None:
        """Byte by byte, whole, and in two at every place: the same messages come."""
        whole = wire.Messages().receive(self.STREAM)
        self.assertEqual([message.blobs for message in whole], [(), (b"first", b"", b"second"), (b"",)])
        for cut in range(len(self.STREAM)):
            reader = wire.Messages()
            self.assertEqual([*reader.receive(self.STREAM[:cut]), *reader.receive(self.STREAM[cut:])], whole)
        reader = wire.Messages()
        self.assertEqual([each for byte in self.STREAM for each in reader.receive(bytes([byte]))], whole)

    @settings(deadline=None)
    @given(st.binary(max_size=60))
    def test_garbage_is_a_bad_message_or_nothing(self, garbage: bytes) -> None:
        """Whatever a peer sends, no other error comes of it."""
        try:
            wire.Messages().receive(garbage)
        except BadMessage:
            return
        self.assertLess(len(garbage), 2**32)

    def test_lengths_are_checked_before_they_are_waited_for(self) -> None:
        """A length over the limit ends the stream at once."""
        self.assertRaises(BadMessage, wire.Messages().receive, b"\xff\xff\xff\xff")
        too_long = wire.encode_message({"id": 1, "blobs": [wire.MAX_PAYLOAD, 1]})
        self.assertRaises(BadMessage, wire.Messages().receive, too_long)
        for blobs in ([-1], ["1"], [1.5], 7):
            self.assertRaises(BadMessage, wire.Messages().receive, wire.encode_message({"blobs": blobs}))

    @settings(deadline=None)
    @given(st.binary(max_size=30))
    def test_keys_of_any_bytes(self, key: bytes) -> None:
        """A header carries every key."""
        self.assertEqual(wire.key_bytes(wire.key_text(key)), key)
        self.assertRaises(BadMessage, wire.key_bytes, "\u0100")

    def test_checksums(self) -> None:
        """Golden: a checksum of another build would call every value damaged."""
        self.assertEqual(checksum_of(b""), "cae66941d9efbd404e4d88758ea67670")

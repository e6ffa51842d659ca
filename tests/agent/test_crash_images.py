"""What a crash can leave of a spool: the folder is rebuilt after every step of some scripted lives, and recovered.

Of what was not durable at that step, nothing is left, or all, or any sectors, or all but a part of the last write,
which is torn at each of its bytes; so for the names of files. Each time the spool must open, have every record that was
durable, of the others a beginning, nothing in part, no number with other events, and say nothing of damage.

TABA_IMAGES multiplies the number of scattered images (default 1).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from random import Random

from attrs import evolve
from twisted.trial.unittest import SynchronousTestCase

from taba.agent.records import DAMAGED_LINE, LaneKey
from taba.agent.recovery import Damage
from taba.agent.segments import HEADER_BYTES
from taba.agent.spool import Spool, SpoolLimits
from tests.agent.spool_folder import TracedFolder, Wreck, checksum
from tests.agent.spool_life import ONE, TWO, A, Account, B, C, D, HeldBatch, Life, Mark, account_of, keys, section

IMAGES = float(os.environ.get("TABA_IMAGES", "1"))


def life_of_rotations() -> Life:
    """Commits, seals, rotations, batches set aside, releases, drops."""
    life = Life(limits=SpoolLimits(max_bytes=1 << 20, segment_bytes=1 << 12, reserve_bytes=1 << 10))
    life.start(A)
    life.commit(section(1, b"1=one"), section(2, b"2=two"), instances={ONE: 1, TWO: 0})
    life.turn(A)
    life.commit(section(1, b"1=three"), instances={ONE: 2}, ledger={"refused.future": 1})
    life.seal(*keys([1, 2]))
    life.turn(A)
    life.commit(section(2, b"2=four"), section(3, b"3=five"))
    life.seal(*keys([2]))
    life.turn(A)
    life.commit(section(2, b"2=six"))
    life.commit(section(2, b"2=ten"))
    life.seal((A, 2), (A, 3), through=4)
    life.aside((A, 2), 1, "too old", True)
    life.sync()
    life.release(((A, 1), 1), ((A, 2), 1))
    assert life.drop()  # two segments at once; the third begins with the commit that is needed
    life.release(((A, 2), 2))
    life.commit(section(1, b"1=seven"), instances={TWO: 1})
    life.turn(B)
    life.commit(section(1, b"1=eight"), section(3, b"3=nine"))
    life.seal((A, 1), (A, 2), (B, 1))
    life.sync()
    life.release(((A, 3), 1), ((A, 1), 2), ((A, 2), 3), ((A, 2), 4), ((B, 1), 1))
    life.turn(B)
    life.turn(B)
    assert life.drop()
    life.commit()
    life.sync()
    return life


def life_of_failures() -> Life:
    """Syncs and writes that fail, a disk that is full for a while, new segments that fail at each of their steps."""
    life = Life()
    life.start(A)
    life.commit(section(1, b"1=one"), instances={ONE: 1})
    life.sync()
    life.commit(section(1, b"1=two"), instances={ONE: 2})
    life.seal(*keys([1]))
    life.failing("sync segment-0000000000000001")
    _refused(life.sync)
    life.failing("write opening", 28)
    _refused(life.fail_over)
    life.failing("sync opening")
    _refused(life.fail_over)
    life.failing("folder")
    _refused(life.fail_over)
    life.fail_over()
    life.commit(section(2, b"2=three"))
    life.failing("write segment-0000000000000002", 28)
    _refused(lambda: life.commit(section(1, b"1=four"), instances={TWO: 4}))
    life.fail_over()
    life.failing("rename opening")
    _refused(lambda: life.turn(B))
    del life.records[-1:]
    life.fail_over()
    life.commit(section(1, b"1=five"))
    life.seal((A, 1), (A, 2))
    life.failing("folder")
    _refused(lambda: life.turn(B))
    del life.records[-1:]
    life.fail_over()
    life.turn(B)
    life.commit(section(2, b"2=six"))
    life.sync()
    return life


def life_of_starts() -> Life:
    """An agent that has not met its cluster, meets it, and starts again and again."""
    life = Life()
    life.start(A, None)
    life.commit(section(0, b"1=one", b"2=two"), divided=0, instances={ONE: 1})
    life.sync()
    life.commit(section(0, b"2=three", b"3=four"), divided=0)
    life.sync()
    life.spool.close()
    life.start(B, None)
    life.commit(section(0, b"1=five"), divided=0)
    life.sync()
    life.give(evolve(life.spool.snapshot(), cluster="ee" * 16, vbuckets=8))
    life.commit(section(1, b"1=six"), section(4, b"4=seven"))
    life.holdings.divide(A, 2, [(1, 1), (2, 1), (2, 2), (3, 2)])
    life.holdings.divide(B, 3, [(1, 3)])
    life.seal(*keys([1, 2]), (B, 1))
    life.sync()
    life.spool.close()
    life.start(C)
    life.holdings.divide(A, 2, [(3, 2)])
    life.holdings.divide(B, 3, [])
    life.seal((A, 3), (B, 4))
    life.sync()
    life.spool.close()
    life.start(C)
    life.holdings.divide(A, 2, [])
    life.holdings.divide(B, 3, [])
    life.release(((A, 1), 1), ((A, 2), 1), ((A, 3), 1), ((B, 1), 1), ((B, 4), 1))
    life.turn(D)
    assert life.drop()
    life.spool.close()
    life.start(D)
    return life


def life_on_a_full_disk() -> Life:
    """An agent that starts on a full disk, in several tries, each of which fails at another step; what is confirmed
    meanwhile goes before there is a new segment. Then the disk is full again, and the only segment is in the way.
    """
    limits = SpoolLimits(max_bytes=1 << 20, segment_bytes=1 << 12, reserve_bytes=1 << 10, spare_bytes=100)
    life = Life(limits=limits)
    life.start(A)
    life.commit(section(1, b"1=one"), instances={ONE: 1})
    life.seal(*keys([1]))
    life.turn(A)
    life.commit(section(2, b"2=two"))
    life.seal(*keys([2]))
    life.sync()
    life.spool.keep_spare()
    life.turn(A)
    life.commit(section(1, b"1=three"), section(3, b"3=four"), instances={ONE: 2})
    life.seal(*keys([1]))
    life.aside((A, 2), 1, "too old", True)
    life.sync()
    life.spool, life.folder.locked = Spool(life.folder, checksum, limits), False  # killed
    recovered = life.spool.open()
    assert recovered.doubtful == {(A, 1), (A, 2)}
    life.holdings = recovered.holdings
    for step, times in (("write opening", 2), ("sync opening", 1), ("rename opening", 1), ("folder", 1)):
        for _ in range(times):  # the spare file is given up for a second try
            life.failing(step, 28 if times == 2 else 5)
        _refused(lambda: life.turn(B, snapshot=recovered.snapshot))
    assert "spare" not in life.folder.names()
    assert not life.drop()
    life.release(((A, 1), 1))
    assert life.drop()  # the first segment; the aside that makes the second one needless may not be durable
    assert not life.drop()
    life.failing("folder")
    _refused(lambda: life.turn(B, snapshot=recovered.snapshot))
    life.turn(B, snapshot=recovered.snapshot)
    assert life.drop()
    life.seal((A, 3))
    life.sync()
    life.release(((A, 1), 2), ((A, 3), 1))
    life.commit(section(1, b"1=five"), instances={ONE: 3})
    life.seal((B, 1))
    life.sync()
    life.release(((B, 1), 1))
    life.failing(f"write {life.folder.names()[-1]}", 28)
    _refused(lambda: life.commit(section(2, b"2=six"), instances={TWO: 1}))
    life.failing("write opening", 28)
    _refused(life.fail_over)
    assert life.spool.make_room(life.holdings.first_needed())
    life.spool.write(life.records[life.durable :])
    life.sync()
    life.spool.keep_spare()
    life.commit(section(2, b"2=seven"))
    life.sync()
    return life


def life_to_damage() -> Life:
    """Three segments of commits and seals, nothing of it released, closed in good order."""
    life = Life()
    life.start(A)
    for segment in range(3):
        for number in range(3):
            name = b"%d%d" % (segment, number)
            life.commit(
                section(1, b"1=one" + name),
                section(2, b"2=two" + name),
                instances={ONE: 10 * segment + number, TWO: number},
            )
            life.seal(*keys([1, 2] if number != 1 else [1], life.incarnation))
            life.sync()
        life.commit(section(3, b"3=end"), instances={f"{segment:032x}": 1})
        if segment < 2:
            life.turn((B, C)[segment])
    life.commit(section(1, b"1=last"))
    life.sync()
    life.spool.close()
    return life


NEXT = "f" * 32
"""The incarnation of whoever recovers."""


def _refused(verb: object) -> None:
    try:
        verb()  # type: ignore[operator]
    except (OSError, Exception):
        return
    raise AssertionError("the step was to fail")


def _same(found: Account, said: Account, mark: Mark) -> bool:
    """Released batches may be missing, and lanes of which nothing is needed."""
    needed = {batch: held for batch, held in said.held.items() if batch not in mark.released}
    return (
        (found.next_commit, found.instances, found.ledger) == (said.next_commit, said.instances, said.ledger)
        and found.incarnation in (said.incarnation, NEXT)
        and found.cluster == said.cluster
        and found.waiting == said.waiting
        and needed.items() <= found.held.items() <= said.held.items()
        and found.lanes.items() <= said.lanes.items()
        and all(key in found.lanes for key in said.lanes if key in said.waiting or any(key == k for k, _ in needed))
    )


LIVES = (life_of_rotations, life_of_failures, life_of_starts, life_on_a_full_disk)


class Examination(SynchronousTestCase):
    """What the tests share."""

    def setUp(self) -> None:
        self.random = Random(20240229)
        self.found: dict[tuple[tuple[str, bytes], ...], Account] = {}

    def tearDown(self) -> None:
        print(f"{len(self.found)} images", end=" ")

    def start(self, contents: dict[str, bytes]) -> Account:
        """What a spool finds in such a folder. The same image is recovered only once."""
        image = tuple(sorted(contents.items()))
        if image not in self.found:
            self.found[image] = self.start_in(TracedFolder.of(contents))
        return self.found[image]

    def start_in(self, folder: TracedFolder) -> Account:
        """Open a spool in a folder, and start its segment."""
        spool = Spool(folder, checksum)
        recovered = spool.open()
        self.assertIsNone(recovered.damage)
        spool.start_segment(evolve(recovered.snapshot, incarnation=NEXT))
        return account_of(spool, recovered)

    def steps(self, life: Life) -> Iterator[tuple[Wreck, Callable[[Account], None]]]:
        """After each step of a life, what is known of the folder, and a check of what is recovered from it."""
        said = [Account.of(life.records[:count]) for count in range(len(life.records) + 1)]
        wreck = Wreck()
        for at, step in enumerate(life.folder.trace, 1):
            wreck.take(step)
            mark = [Mark(0, 0, 1, frozenset()), *(mark for mark in life.marks if mark.at <= at)][-1]

            def check(found: Account, mark: Mark = mark) -> None:
                if not any(_same(found, each, mark) for each in said[mark.durable : mark.given + 1]):
                    self.fail(f"{mark} {found}")

            yield wreck, check

    def assertSame(self, again: Account, found: Account) -> None:
        """Two starts found the same."""
        if again != found:
            self.assertEqual(again, evolve(found, incarnation=again.incarnation))


class CrashImageTests(Examination):
    """The power fails after some step: each test takes one life apart."""

    def examine(self, life: Life) -> None:
        """Recover everything that a crash after any step of `life` may leave."""
        for wreck, check in self.steps(life):
            for contents in (*wreck.torn(), *wreck.scattered(self.random, round(20 * IMAGES))):
                check(self.start(contents))

    def test_rotations(self) -> None:
        """Whenever the power fails while segments come and go, nothing durable is lost or changed."""
        self.examine(life_of_rotations())

    def test_failures(self) -> None:
        """Whenever the power fails while the disk fails, too, nothing durable is lost or changed."""
        self.examine(life_of_failures())

    def test_starts(self) -> None:
        """Whenever the power fails while the agent starts and meets its cluster, nothing durable is lost or changed."""
        self.examine(life_of_starts())

    def test_full_disk(self) -> None:
        """Whenever the power fails while the agent tries to start on a full disk, and makes itself room, nothing
        durable is lost or changed.
        """
        self.examine(life_on_a_full_disk())


class CrashAtStartTests(Examination):
    """The power fails once more, while the spool starts from what the first crash left, or afterwards."""

    def test_power_fails_again(self) -> None:
        """What the next start finds is what this one found, wherever this one was stopped."""
        for life in LIVES:
            for wreck, check in self.steps(life()):
                for contents in (*wreck.torn(23), *wreck.scattered(self.random, round(2 * IMAGES))):
                    folder = TracedFolder.of(contents)
                    found = self.start_in(folder)
                    check(found)
                    again = Wreck(contents)
                    for step in folder.trace:
                        again.take(step)
                        for image in (*again.torn(61), *again.scattered(self.random, 2)):
                            self.assertSame(self.start(image), found)

    def test_killed_then_power_fails(self) -> None:
        """A process is killed, the next one starts from what the kernel remembers; then the power fails, and nothing
        that the second one found is lost.
        """
        for life in LIVES:
            for wreck, check in self.steps(life()):
                wreck, folder = wreck.killed()
                found = self.start_in(folder)
                check(found)
                for step in folder.trace:
                    wreck.take(step)
                    for image in wreck.scattered(self.random, 1):
                        check(self.start(image))
                for image in wreck.scattered(self.random, round(12 * IMAGES)):
                    self.assertSame(self.start(image), found)


class DamageTests(Examination):
    """Bytes that were durable are not what they were."""

    def setUp(self) -> None:
        super().setUp()
        life = life_to_damage()
        self.contents = life.folder.contents()
        self.said = life.account()
        self.total = self.said.ledger["received"]

    def damaged(self, contents: dict[str, bytes]) -> tuple[Account, Damage | None]:
        """Start in a damaged folder, and once more: what was found, and what the first start said."""
        folder = TracedFolder.of(contents)
        spool = Spool(folder, checksum)
        recovered = spool.open()
        spool.start_segment(evolve(recovered.snapshot, incarnation=NEXT))
        found = account_of(spool, recovered)
        self.assertSame(self.start(folder.contents()), found)  # `start` says that nobody is told of the damage again
        return found, recovered.damage

    def check(self, found: Account, damage: Damage | None) -> None:
        """What was found is true, as far as it goes, and what is missing is counted."""
        said, events = self.said, 0
        incomplete = {(seal.key, seal.seq) for seal in damage.incomplete} if damage else set()
        for batch, held in found.held.items():
            body = b"DAMAGED" if batch in incomplete else said.held[batch].body
            self.assertEqual(held, evolve(said.held[batch], body=body))
            events += held.events
        for key, parts in found.waiting.items():
            self.assertLessEqual(set(parts), set(said.waiting[key]))
            self.assertEqual(found.lanes.get(key), said.lanes.get(key))
            events += sum(part[2] for part in parts)
        self.assertLessEqual(found.instances.items(), said.instances.items())
        self.assertEqual(events + (damage.events if damage else 0), self.total)
        self.assertEqual(found.ledger[DAMAGED_LINE], damage.events if damage else 0)

    def test_every_byte(self) -> None:
        """Whichever byte is damaged: it is noticed, counted once, and nothing else is lost."""
        for name, content in self.contents.items():
            for at in range(len(content)):
                changed = bytearray(content)
                changed[at] ^= 1 << self.random.randrange(8)
                found, damage = self.damaged(self.contents | {name: bytes(changed)})
                self.check(found, damage)
                last_mark = name == max(self.contents) and at >= len(content) - HEADER_BYTES
                self.assertEqual(damage is None, last_mark)

    def test_stretches(self) -> None:
        """Stretches of zeros or noise cost what was in them, and what they make uncertain; all of it is counted.

        Not in the first segment: nothing tells what stood before the first thing that can be read.
        """
        for count in range(round(1500 * IMAGES)):
            name = self.random.choice(list(self.contents)[1:])
            content = bytearray(self.contents[name])
            last = len(content) - (HEADER_BYTES if name == max(self.contents) else 0)  # the mark has to stand
            begin = self.random.randrange(last)
            end = min(last, begin + self.random.randrange(1, 900))
            content[begin:end] = self.random.randbytes(end - begin) if count % 2 else bytes(end - begin)
            with self.subTest(name=name, begin=begin, end=end):
                self.check(*self.damaged(self.contents | {name: bytes(content)}))

    def test_any_life(self) -> None:
        """Also where batches were released, set aside and dropped: what is found is true, and the next start agrees."""
        for life in (life_of() for life_of in LIVES):
            life.spool.close()
            contents, self.said = life.folder.contents(), life.account()
            bodies = {batch: held.body for n in range(len(life.records)) for batch, held in _held(life, n).items()}
            for _ in range(round(250 * IMAGES)):
                name = self.random.choice(list(contents))
                content = bytearray(contents[name])
                begin = self.random.randrange(len(content))
                end = min(len(content), begin + self.random.choice((1, 50, 300, 900)))
                content[begin:end] = self.random.randbytes(end - begin)
                found, _ = self.damaged(contents | {name: bytes(content)})
                for batch, held in found.held.items():
                    self.assertIn(held.body, (bodies[batch], b"DAMAGED"))
                for key, parts in found.waiting.items():
                    self.assertLessEqual(set(parts), set(self.said.waiting.get(key, ())))
                self.assertLessEqual(found.instances.items(), self.said.instances.items())


def _held(life: Life, count: int) -> dict[tuple[LaneKey, int], HeldBatch]:
    return Account.of(life.records[: count + 1]).held

"""What several shards have set aside: ids, and what older versions left."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from taba.errors import StoreUnavailable
from taba.interfaces import SetAside
from taba.store.aside_ids import vbucket_of
from taba.store.redis.aside import Asides, stream_id_of
from tests.store.redis.stage import VBUCKETS, Stage
from tests.strategies import law

NAMES = [f"t{number}" for number in range(8)]
DIGITS = "89abcdef"


class AsidesTests(SynchronousTestCase):
    """Two shards."""

    def setUp(self) -> None:
        self.stage = Stage(2)
        self.addCleanup(lambda: self.stage.close())
        self.asides = Asides(self.stage.shards, self.stage.map, self.stage.keys)

    def add(self, vbucket: int, stream_id: str, *more: Any, tab: str = "t") -> None:
        """An entry of the stream of a vbucket's shard."""
        server = self.stage.servers[self.stage.map.shard_of(vbucket)]
        fields = ["r", "why", "t", tab, "c", "ç", "y", "X", "n", 5, "p", "bytes", *more]
        server.ask("XADD", self.stage.keys.aside[0], stream_id, *fields)

    def newest(self, limit: int) -> list[SetAside]:
        found: list[SetAside] = self.stage.get(self.asides.newest(limit))
        return found

    def find(self, vbucket: int, *ids: str) -> list[tuple[str, int]]:
        found: list[SetAside] = self.stage.get(self.asides.find(vbucket, ids))
        return [(each.id, each.vbucket) for each in found]

    def test_newest_of_all_shards(self) -> None:
        """The newest first, no more than asked for."""
        for number, vbucket in enumerate([0, 7, 0, 7]):
            self.add(vbucket, f"{100 + number}-0", "v", vbucket, "l", DIGITS, tab=f"t{number}")
        found = self.newest(3)
        expected = [("t3", 7, f"{DIGITS}-103"), ("t2", 0, f"{DIGITS}-102"), ("t1", 7, f"{DIGITS}-101")]
        self.assertEqual([(each.tab, each.vbucket, each.id) for each in found], expected)
        self.assertEqual((found[0].events, found[0].client, found[0].partial), (5, "ç", b"bytes"))
        self.assertEqual(self.newest(0), [])

    def test_same_moment_on_two_shards(self) -> None:
        """Where two shards count alike, a Partial is found by its vbucket, too."""
        for vbucket in (0, 7):
            self.add(vbucket, "100-3", "v", vbucket, "l", DIGITS)
        name = f"{DIGITS}-100-3"
        self.assertEqual([each.id for each in self.newest(9)], [name, name])
        self.assertEqual((self.find(0, name), self.find(7, name)), ([(name, 0)], [(name, 7)]))
        self.assertEqual((self.find(1, name), self.find(VBUCKETS, name), self.find(-1, name)), ([], [], []))

    def test_entries_of_an_older_version(self) -> None:
        """They are of the vbucket of their tab, under the lineage of zeros."""
        tabs = {vbucket_of(name, VBUCKETS): name for name in NAMES}
        for vbucket, name in sorted(tabs.items()):
            self.add(vbucket, f"{100 + vbucket}-0", tab=name)
        self.add(0, "500-0", "v", "", "l", DIGITS)
        for vbucket in tabs:
            name = f"00000000-{100 + vbucket}"
            self.assertEqual(self.find(vbucket, name, f"{DIGITS}-{100 + vbucket}"), [(name, vbucket)])
        self.assertEqual(self.newest(1)[0].vbucket, vbucket_of(self.newest(1)[0].tab, VBUCKETS))

    def test_shard_that_is_down(self) -> None:
        """All cannot be had without it; those of the other can."""
        self.add(0, "1-0", "v", 0, "l", DIGITS)
        self.stage.servers["shard2"].kill()
        self.stage.world.advance(1.0)
        with self.assertRaises(StoreUnavailable):
            self.newest(1)
        with self.assertRaises(StoreUnavailable):
            self.find(7, f"{DIGITS}-1")
        self.assertEqual(self.find(0, f"{DIGITS}-1"), [(f"{DIGITS}-1", 0)])
        self.stage.servers["shard2"].restart()
        self.stage.world.result_of(self.stage.shards["shard2"].when_open())


class IdTests(SynchronousTestCase):
    """Ids of Partials, and of entries of a stream."""

    def test_ids(self) -> None:
        """The first entry of a millisecond has no second number."""
        self.assertEqual(stream_id_of(f"{DIGITS}-17"), (DIGITS.encode(), b"17-0"))
        self.assertEqual(stream_id_of(f"{DIGITS}-17-3"), (DIGITS.encode(), b"17-3"))

    @law(st.text(max_size=30) | st.from_regex(r"[0-9a-f]{7,9}-[-0-9+*( ]{0,20}", fullmatch=True), examples=300)
    def test_what_is_no_id(self, text: str) -> None:
        """Whatever is taken for an id is one that Redis understands, written in the only way it can be."""
        found = stream_id_of(text)
        if found is not None:
            first, second = (int(part) for part in found[1].split(b"-"))
            self.assertEqual(found[1], b"%d-%d" % (first, second))
            self.assertEqual(text, f"{found[0].decode()}-{first}" + (f"-{second}" if second else ""))

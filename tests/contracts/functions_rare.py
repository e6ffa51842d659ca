"""The functions that are called now and then: renames, flushes, what is set aside and folded again, members.

The second part of the contract of functions.py.
"""

from __future__ import annotations

from typing import Any

from tests.contracts.functions import (
    LINEAGE,
    NOW,
    AsideId,
    FunctionSuite,
    Lineage,
    acquire,
    append,
    batch,
    call,
    guard,
)

ZEROS = "0" * 8
"""The digits of no lineage."""


def rename(old: str, new: str, vbucket: int = 1) -> Any:
    """A call of taba_rename."""
    return call("rename", [f"T:{vbucket}", f"A:{vbucket}", f"H:{vbucket}:{old}", f"H:{vbucket}:{new}"], old, new)


def flush(vbucket: int) -> Any:
    """A call of taba_flush."""
    return call("flush", [f"{letter}:{vbucket}" for letter in "OLQCM"])


def refolded(vbucket: Any, *ids: Any) -> Any:
    """A call of taba_refolded."""
    return call("refolded", ["X", "XM"], vbucket, *ids)


class RareFunctionContract(FunctionSuite):
    """Each of them, by what it answers and what it leaves."""

    # ------------------------------------------------------------------------------------------------------ renames

    def test_rename(self) -> None:
        """Type, States and Aggregate go under the new name; the others stay."""
        self.server.ask("HSET", "T:1", "a b", "Gauge", "other", "X")
        self.server.ask("HSET", "A:1", "a b", "sum", "other", "1")
        self.server.ask("HSET", "H:1:a b", "c", 1, " ", 2)
        self.assertEqual(self.server.ask(*rename("a b", "n:1")), 1)
        self.holds("T:1", {b"n:1": b"Gauge", b"other": b"X"})
        self.holds("A:1", {b"n:1": b"sum", b"other": b"1"})
        self.holds("H:1:n:1", {b"c": b"1", b" ": b"2"})
        self.holds("H:1:a b", None)

    def test_rename_of_parts(self) -> None:
        """A tab may have no Type, no State, no Aggregate."""
        self.server.ask("HSET", "T:1", "bare", "", "typed", "X")
        self.server.ask("HSET", "H:1:bare", "c", 1)
        self.assertEqual([self.server.ask(*rename(tab, tab + "2")) for tab in ("bare", "typed", "none")], [1, 1, 0])
        self.holds("T:1", {b"bare2": b"", b"typed2": b"X"})
        self.holds("H:1:bare2", {b"c": b"1"})
        self.holds("A:1", None)

    def test_rename_to_a_tab_that_there_is(self) -> None:
        """Nothing is written over, and nothing is half renamed."""
        self.server.ask("HSET", "T:1", "tab", "X", "listed", "")
        self.server.ask("HSET", "H:1:tab", "c", 1)
        self.server.ask("HSET", "H:1:states", "c", 2)
        before = self.server.contents()
        for new in ("listed", "states", "tab"):
            self.assertEqual(self.server.ask(*rename("tab", new)), "ERR")
        self.assertEqual(self.server.contents(), before)

    # ------------------------------------------------------------------------------------------------------- flushes

    def test_flush(self) -> None:
        """The log is empty, the position at its end with one commit more, the events are counted."""
        self.server.ask(*append(batch(1, events=3), batch(2, events=4, before=3), batch(1, place=2)))
        self.server.ask("SET", "Q:1", "0:5:7")
        self.server.ask("HSET", "C:1", "row", "{}", "flushed", 100)
        self.assertEqual(self.server.ask(*flush(1)), 7)
        self.holds("Q:1", (b"2:6:7", False))
        self.holds("C:1", {b"row": b"{}", b"flushed": b"107"})
        self.holds("M:1", None)
        self.assertEqual((self.server.ask("XLEN", "L:1"), self.server.ask("XLEN", "L:2")), (0, 1))
        self.says(append(batch(3)), "ok 3 3 1 ")
        self.assertEqual([entry for entry, _ in self.server.ask("XRANGE", "L:1", "-", "+")], [b"0-3"])

    def test_flush_of_what_was_not_folded(self) -> None:
        """Only what waits is counted; a position that nobody wrote yet is written."""
        self.server.ask(*append(*(batch(number, events=number) for number in (1, 2, 3))))
        self.server.ask("XTRIM", "L:1", "MINID", "0-2")
        self.server.ask("LTRIM", "M:1", 1, -1)
        self.server.ask("SET", "Q:1", "1:1:1")
        self.assertEqual(self.server.ask(*flush(1)), 5)
        self.holds("Q:1", (b"3:2:1", False))
        self.server.ask(*append(batch(1, place=2, events=9)))
        self.assertEqual((self.server.ask(*flush(2)), self.server.ask(*flush(2))), (9, 0))
        self.holds("Q:2", (b"1:1:0", False))

    def test_flush_of_nothing(self) -> None:
        """An empty log stays as it is, and so does what is not here."""
        self.server.ask("SET", "Q:1", "4:5:6")
        before = self.server.contents()
        self.assertEqual(self.server.ask(*flush(1)), 0)
        self.assertEqual(self.server.contents(), before)
        self.server.ask(*append(batch(1)))
        for marker, events in (("I:2", 0), (None, 0), ("S:1", 10)):
            self.server.ask("DEL", "O:1")
            if marker:
                self.server.ask("SET", "O:1", marker)
            self.assertEqual(self.server.ask(*flush(1)), events)

    def test_flush_of_entries_of_an_older_version(self) -> None:
        """Entries whose events are not in the list are counted one by one."""
        for number in range(1, 21):
            self.server.ask("XADD", "L:1", f"0-{number}", "t", "1.5", "n", number, "b", "body")
            self.server.ask("RPUSH", "M:1", f"1.500000:4:{4 * number}")
        self.assertEqual(self.server.ask(*call("depth", ["M:1"])), [1, 20, b"1.500000:4:4", b"1.500000:4:80"])
        self.says(append(batch(1, events=5)), "ok 1 1 1 ")
        self.assertEqual(self.server.ask("LINDEX", "M:1", -1), b"NOW:4:84:5:5")
        self.assertEqual(self.server.ask(*flush(1)), 215)
        self.holds("Q:1", (b"21:1:0", False))

    def test_guard_after_a_flush(self) -> None:
        """What its owner had folded is stale."""
        self.server.ask(*append(batch(1)))
        self.server.ask(*acquire("be", 1))
        self.assertEqual(self.server.ask(*guard(1, "be:1", "0:0:1", 1)), [b"done"])
        self.server.ask(*flush(1))
        self.assertEqual(self.server.ask(*guard(1, "be:1", "0:0:1", 1)), [b"stale"])
        self.assertEqual(self.server.ask(*guard(1, "be:1", "1:1:1", 1)), [b"done"])

    def test_flush_with_a_foreign_ledger(self) -> None:
        """What cannot be counted is not dropped."""
        self.server.ask(*append(batch(1)))
        self.server.ask("HSET", "C:1", "flushed", "strange")
        before = self.server.contents()
        self.assertEqual(self.server.ask(*flush(1)), "ERR")
        self.assertEqual(self.server.contents(), before)

    # --------------------------------------------------------------------------------------------------------- aside

    def aside(self, *sizes: int, rows: int = 3, size: int = 100, vbucket: Any = 7) -> Any:
        """Set Partials of some sizes aside; without a vbucket as an older version does."""
        rest = [each for length in sizes for each in ("why", "tab", "c", "Type", 1, b"p" * length)]
        more = [] if vbucket is None else [vbucket]
        return self.server.ask(*call("set_aside", ["X", "XM"], rows, size, *rest, *more))

    def old(self, *sizes: int) -> None:
        """Set Partials of some sizes aside, as a library of version 1 did."""
        for number, size in enumerate(sizes, 1):
            fields = ("r", "why", "t", "tab", "c", "c", "y", "T", "n", 1, "p", b"p" * size)
            self.server.ask("XADD", "X", f"{number}-0", *fields)
            self.server.ask("RPUSH", "XM", size)

    def sizes(self) -> list[tuple[int, int]]:
        """The sizes of the Partials, as they are, and as the list has them."""
        partials = [len(fields[fields.index(b"p") + 1]) for _, fields in self.server.ask("XRANGE", "X", "-", "+")]
        items = [int(item.partition(b":")[0]) for item in self.server.ask("LRANGE", "XM", 0, -1)]
        self.assertEqual(len(partials), len(items))
        return list(zip(partials, items, strict=True))

    def test_set_aside(self) -> None:
        """The oldest go when there are too many, or too many bytes."""
        self.assertEqual(self.aside(10, 20), 0)
        self.assertEqual(self.aside(30, 40), 1)
        self.holds("XM", [b"20:ID", b"30:ID", b"40:ID"])
        self.assertEqual(self.aside(31), 2)
        self.holds("XM", [b"40:ID", b"31:ID"])
        self.assertEqual(self.aside(101), 3)
        self.holds("XM", None)
        self.assertEqual(self.server.ask("XLEN", "X"), 0)

    def test_set_aside_says_whose_it_is(self) -> None:
        """Each entry has its vbucket, and by its digits the lineage; a caller of version 1 names no vbucket."""
        self.aside(1, vbucket=12)
        self.aside(2, vbucket=None)
        rest = [b"r", b"why", b"t", b"tab", b"c", b"c", b"y", b"Type", b"n", b"1"]
        expected = [[*rest, b"p", b"p", b"v", b"12", b"l", LINEAGE], [*rest, b"p", b"pp", b"v", b"", b"l", LINEAGE]]
        self.assertEqual([fields for _, fields in self.server.contents()[b"X"]], expected)

    def test_refolded(self) -> None:
        """Those that are named go, with their sizes; no others."""
        self.aside(20, 10, 20)
        digits = Lineage(8)
        self.assertEqual(self.server.ask(*refolded(7, digits, AsideId(2), digits, "1-1", digits, AsideId(9))), 1)
        self.assertEqual(self.sizes(), [(20, 20), (10, 10)])
        self.assertEqual(self.server.ask(*refolded(7)), 0)
        self.assertEqual(self.server.ask(*refolded(7, digits, AsideId(0))), 1)
        self.assertEqual(self.server.ask(*refolded(7, digits, AsideId(0))), 1)
        self.holds("XM", None)
        self.assertEqual(self.server.ask("XLEN", "X"), 0)

    def test_refolded_of_others(self) -> None:
        """Of another vbucket or lineage nothing goes."""
        self.aside(10)
        for vbucket, digits in ((8, Lineage(8)), (7, ZEROS), ("", Lineage(8))):
            self.assertEqual(self.server.ask(*refolded(vbucket, digits, AsideId(0))), 0)
        self.assertEqual(self.sizes(), [(10, 10)])

    def test_refolded_of_an_older_version(self) -> None:
        """What a library of version 1 set aside goes under the lineage of zeros; count and sum stay right."""
        self.old(10, 20, 10)
        self.aside(10, rows=4)
        self.assertEqual(self.server.ask(*refolded(1, Lineage(8), "3-0")), 0)
        self.assertEqual(self.server.ask(*refolded(1, ZEROS, "3-0")), 1)
        self.assertEqual([item for _, item in self.sizes()], [20, 10, 10])
        self.assertEqual(self.server.ask(*refolded(7, Lineage(8), AsideId(2))), 1)
        self.assertEqual([item for _, item in self.sizes()], [20, 10])
        self.assertEqual(self.aside(80, rows=4), 1)

    # ------------------------------------------------------------------------------------------------------- members

    def publish(self, name: str, milliseconds: int, facts: str = "{}") -> Any:
        return self.server.ask(*call("publish", ["P"], name, milliseconds, facts))

    def members(self) -> Any:
        return self.server.ask(*call("members", ["P"]))

    def test_members(self) -> None:
        """Who published itself is named, with its facts, whatever is in them."""
        self.assertEqual(self.members(), [])
        self.publish("one:2", 10_000, '{"a": "b:c"}')
        self.publish("two", 10_000)
        self.holds("P", {b"one:2": b'NOW:10000:{"a": "b:c"}', b"two": b"NOW:10000:{}"})
        self.assertEqual(self.members(), [b"one:2", b'{"a": "b:c"}', b"two", b"{}"])
        self.publish("two", 20_000, "[]")
        self.assertEqual(self.members(), [b"one:2", b'{"a": "b:c"}', b"two", b"[]"])

    def test_members_that_take_it_back(self) -> None:
        """With no time left a member is gone."""
        self.publish("one", 10_000)
        self.assertEqual((self.publish("one", 0, ""), self.publish("one", 0, "")), (1, 0))
        self.holds("P", None)

    def test_members_that_expired(self) -> None:
        """They are named no more, and the next who publishes itself takes them away."""
        self.server.ask("HSET", "P", "gone", "1500000000.000000:1000:{}", "odd", "1.5:99999999999999:{}")
        self.publish("one", 10_000)
        self.assertEqual(self.members(), [b"one", b"{}"])
        self.holds("P", {b"one": b"NOW:10000:{}"})

    def test_members_of_before_a_clock_was_set_back(self) -> None:
        """One whose time is far longer than it asked for was published by a clock that ran ahead: it is not named."""
        self.server.ask("HSET", "P", "far", "99999999999.000000:10000:{}")
        self.assertEqual(self.members(), [])
        self.publish("far", 10_000)
        self.assertEqual(self.members(), [b"far", b"{}"])
        self.assertIn(NOW, self.server.contents()[b"P"][b"far"])

"""What every `IPeer` does: a node asked over a connection, and the node itself."""

from __future__ import annotations

from typing import Any

from zope.interface.verify import verifyObject

from taba.tako.errors import BadKey, ClockAhead, Damaged, Gone, Refused
from taba.tako.interfaces import Found, IPeer, Write
from taba.tako.records import MAX_KEY, PIECE, Version, checksum_of, slot_of, version_of

LARGE = bytes(range(256)) * 2_500


class PeerContract:
    """Mixed into a TestCase that has `peer` (an IPeer of an empty node), `wall` (its clock, in microseconds) and
    `result` (waits for a Deferred).
    """

    peer: Any
    wall: Any
    result: Any
    assertEqual: Any
    assertRaises: Any
    assertIsNone: Any
    assertIn: Any

    def test_provides(self) -> None:
        """It has what the interface names."""
        verifyObject(IPeer, self.peer)

    def test_small_values(self) -> None:
        """Written and read, by version alone and with the value; nothing for an unknown key of any bytes."""
        key, version = b"\x00\xff/k", version_of(self.wall(), b"value")
        self.assertIsNone(self.result(self.peer.read(key, True)))
        self.assertEqual(self.result(self.peer.write(Write(key, version, b"value"))), version)
        self.assertEqual(self.result(self.peer.read(key, True)), Found(version, b"value"))
        self.assertEqual(self.result(self.peer.read(key, False)), Found(version))

    def test_large_values(self) -> None:
        """Staged, written, and read piece by piece."""
        version = version_of(self.wall(), LARGE)
        for number in range(3):
            self.result(self.peer.stage("u", number, LARGE[number * PIECE : (number + 1) * PIECE]))
        self.assertEqual(self.result(self.peer.write(Write(b"k", version, None, "u"))), version)
        pieces = [self.result(self.peer.piece(b"k", version, number)) for number in range(3)]
        self.assertEqual(b"".join(pieces), LARGE)
        self.assertRaises(Gone, self.result, self.peer.piece(b"k", version, 3))
        self.assertRaises(Gone, self.result, self.peer.write(Write(b"l", version, None, "u")))

    def test_what_it_refuses(self) -> None:
        """A value that is not the announced one, a stamp from the future, a key that is none, an unknown question."""
        wrong = Version(self.wall(), False, 5, checksum_of(b"other"))
        self.assertRaises(Damaged, self.result, self.peer.write(Write(b"k", wrong, b"value")))
        ahead = version_of(self.wall() + 100_000_000, b"x")
        problem = self.assertRaises((ClockAhead, Refused), self.result, self.peer.write(Write(b"k", ahead, b"x")))
        self.assertIn("ahead of the clock", str(problem))
        long = Write(b"k" * (MAX_KEY + 1), version_of(self.wall(), b"x"), b"x")
        self.assertRaises((BadKey, Refused), self.result, self.peer.write(long))
        self.assertRaises((BadKey, Refused), self.result, self.peer.read(b"", True))
        self.assertRaises(Refused, self.result, self.peer.ask("nonsense", {}))
        self.assertIsNone(self.result(self.peer.read(b"k", True)))

    def test_questions(self) -> None:
        """Trees down to versions, notes, and the configuration."""
        version = version_of(self.wall(), b"x")
        self.result(self.peer.write(Write(b"k", version, b"x")))
        slot = slot_of(b"k")
        self.assertEqual(self.result(self.peer.ask("leaves", {"slots": [slot]})), [f"{version.digest(b'k'):x}"])
        rows = self.result(self.peer.ask("versions", {"slots": [slot]}))
        self.assertEqual(rows, [["k", version.stamp, 0, 1, version.checksum]])
        self.assertEqual(len(self.result(self.peer.ask("roots", {"groups": [0, 1]}))), 2)
        self.assertEqual(self.result(self.peer.ask("note", {"node": "n2", "keys": ["k"]})), True)
        self.assertEqual(self.result(self.peer.ask("configuration", {}))["active_deployment"], "main")

    def test_questions_that_make_no_sense(self) -> None:
        """Arguments of a wrong kind are refused, and the next question is answered."""
        for question, arguments in (
            ("leaves", {"slots": "all"}), ("leaves", {"slots": [70_000]}), ("roots", {}), ("chunks", {"group": 10**6}),
            ("note", {"node": 7, "keys": []}), ("note", {"node": "n2", "keys": ["\u0100"]}),
        ):  # fmt: skip
            self.assertRaises(Exception, self.result, self.peer.ask(question, arguments))  # noqa: B017
        self.assertIsNone(self.result(self.peer.read(b"k", True)))

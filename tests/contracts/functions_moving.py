"""The functions by which a vbucket moves: the third part of the contract of functions.py."""

from __future__ import annotations

from typing import Any

from tests.contracts.functions import LINEAGE, AsideId, FunctionSuite, Lineage, append, batch

TOKEN = "t" * 32
LEAVING = b"moving:there"
HERE: Any = Lineage(32)
"""The lineage of the server that is asked."""


def move(name: str, keys: Any, *arguments: Any) -> Any:
    """A call of a function that moves."""
    return ("FCALL", f"taba_move_{name}", len(keys), *keys, *arguments)


def look(vbucket: int = 1) -> Any:
    """A call of taba_move_look."""
    return move("look", [f"O:{vbucket}", f"Q:{vbucket}", "moves", "coming"], vbucket)


def turn(marker: str, new: str, row: str, new_row: str, vbucket: int = 1) -> Any:
    """A call of taba_move_turn."""
    return move("turn", [f"O:{vbucket}", "moves"], vbucket, marker, new, row, new_row)


def take(marker: str = "A:1", row: str = "moving:there", owner: str = "mover", vbucket: int = 1) -> Any:
    """A call of taba_move_take."""
    keys = [f"{letter}:{vbucket}" for letter in "OEQ"]
    return move("take", [*keys, "moves"], vbucket, marker, row, owner, 100_000)


def hold(position: str, lease: str, lineage: Any = HERE, vbucket: int = 1) -> Any:
    """A call of taba_move_hold."""
    return move("hold", [f"E:{vbucket}", f"Q:{vbucket}"], lineage, position, lease, 100_000)


def seal(position: str, marker: str = "A:1", row: str = "moving:there", lineage: Any = HERE) -> Any:
    """A call of taba_move_seal."""
    return move("seal", ["O:1", "Q:1", "M:1", "moves"], 1, marker, "S:1", row, lineage, position)


def frozen(position: str, marker: str = "S:1", lineage: Any = HERE) -> Any:
    """A call of taba_move_frozen."""
    return move("frozen", ["O:1", "Q:1"], marker, lineage, position)


def begin(epoch: int = 2, token: str = TOKEN, vbucket: int = 1) -> Any:
    """A call of taba_move_begin."""
    return move("begin", [f"O:{vbucket}", "coming"], vbucket, epoch, token)


def imported(key: str, kind: str, *parts: Any, epoch: int = 2, token: str = TOKEN, vbucket: int = 1) -> Any:
    """A call of taba_move_import."""
    return move("import", [f"O:{vbucket}", "coming", key], vbucket, epoch, token, kind, *parts)


def import_aside(*parts: Any, token: str = TOKEN) -> Any:
    """A call of taba_move_import_aside."""
    return move("import_aside", ["O:1", "coming", "X", "XM"], 1, 2, token, *parts)


def activate(epoch: int = 2, token: str = TOKEN, lineage: Any = HERE) -> Any:
    """A call of taba_move_activate."""
    return move("activate", ["O:1", "coming", "moves"], 1, epoch, token, lineage)


def unimport(epoch: int = 3, vbucket: int = 1) -> Any:
    """A call of taba_move_unimport."""
    return move("unimport", [f"O:{vbucket}", "coming", "moves"], vbucket, epoch, "here")


def retire(marker: str, *keys: str) -> Any:
    """A call of taba_move_retire."""
    return move("retire", ["O:1", *keys], marker)


class MovingFunctionContract(FunctionSuite):
    """Each of them, by what it answers and what it leaves."""

    def marker(self, value: str | None) -> None:
        """Let the marker of vbucket 1 be this."""
        self.server.ask("DEL", "O:1")
        if value is not None:
            self.server.ask("SET", "O:1", value)

    # ------------------------------------------------------------------------------------------- the shard it leaves

    def test_look(self) -> None:
        """Everything that is there, and "" for what is not."""
        self.assertEqual(self.server.ask(*look()), [LINEAGE, b"A:1", b"", b"", b""])
        self.server.ask("SET", "Q:1", "5:2:1")
        self.server.ask("HSET", "moves", 1, "gone:there")
        self.server.ask("HSET", "coming", 1, TOKEN)
        self.assertEqual(self.server.ask(*look()), [LINEAGE, b"A:1", b"5:2:1", b"gone:there", TOKEN.encode()])
        self.marker(None)
        self.assertEqual(self.server.ask(*look())[1], b"")

    def test_turn(self) -> None:
        """Marker and row change together, once, and only from what is expected."""
        self.assertEqual(self.server.ask(*turn("A:2", "A:2", "", "moving:there")), 0)
        self.assertEqual(self.server.ask(*turn("A:1", "A:1", "gone:there", "moving:there")), 0)
        self.holds("moves", None)
        for _ in range(2):
            self.assertEqual(self.server.ask(*turn("A:1", "S:1", "", "moving:there")), 1)
        self.holds("O:1", (b"S:1", False))
        self.holds("moves", {b"1": LEAVING})
        self.assertEqual(self.server.ask(*turn("S:1", "A:3", "moving:there", "")), 1)
        self.holds("O:1", (b"A:3", False))
        self.holds("moves", None)
        self.assertEqual(self.server.ask(*turn("", "S:1", "", "", vbucket=9)), 1)

    def test_take(self) -> None:
        """The lease is taken from its owner, with an epoch that nobody was granted; a position is made."""
        self.server.ask("HSET", "moves", 1, LEAVING)
        self.server.ask("SET", "E:1", "be:4", "PX", 100_000)
        self.server.ask("SET", "Q:1", "7:3:4")
        self.assertEqual(self.server.ask(*take()), [LINEAGE, b"7:3:5"])
        self.holds("E:1", (b"mover:5", True))
        self.holds("Q:1", (b"7:3:5", False))
        self.server.ask("HSET", "moves", 2, LEAVING)
        self.assertEqual(self.server.ask(*take(vbucket=2)), [LINEAGE, b"0:0:1"])
        self.marker("S:1")
        self.assertEqual(self.server.ask(*take("S:1")), [LINEAGE, b"7:3:6"])

    def test_take_refused(self) -> None:
        """Nothing is taken of a vbucket that is not announced, or has another marker."""
        before = self.server.contents()
        self.assertEqual(self.server.ask(*take()), [LINEAGE, b""])
        self.assertEqual(self.server.contents(), before)
        self.server.ask("HSET", "moves", 1, "undoing:there")
        self.assertEqual(self.server.ask(*take()), [LINEAGE, b""])
        self.server.ask("HSET", "moves", 1, LEAVING)
        self.assertEqual(self.server.ask(*take("A:2")), [LINEAGE, b""])

    def test_hold(self) -> None:
        """A lease is held on, also one that ran out, while the position is the granted one, under the same lineage."""
        self.server.ask("SET", "Q:1", "7:3:5")
        self.assertEqual(self.server.ask(*hold("7:3:5", "mover:5")), 1)
        self.holds("E:1", (b"mover:5", True))
        self.assertEqual(self.server.ask(*hold("7:3:4", "mover:4")), 0)
        self.assertEqual(self.server.ask(*hold("7:3:5", "mover:5", "f" * 32)), 0)

    def test_seal(self) -> None:
        """Nothing is appended from then on; the answer says how many entries the log has. Again it answers the same."""
        self.server.ask("HSET", "moves", 1, LEAVING)
        self.server.ask(*append(batch(1), batch(2)))
        self.server.ask(*take())
        for _ in range(2):
            self.assertEqual(self.server.ask(*seal("0:0:1")), 2)
        self.says(append(batch(3)), "moved 2 2 0 ")
        self.holds("O:1", (b"S:1", False))

    def test_seal_refused(self) -> None:
        """Not under another position, lineage, marker or row."""
        self.server.ask("HSET", "moves", 1, LEAVING)
        self.server.ask(*take())
        for wrong in (
            seal("0:0:2"), seal("0:0:1", lineage="f" * 32), seal("0:0:1", marker="A:2"),
            seal("0:0:1", row="moving:elsewhere"),
        ):  # fmt: skip
            self.assertEqual(self.server.ask(*wrong), -1)
        self.holds("O:1", (b"A:1", False))

    def test_frozen(self) -> None:
        """While it is sealed, with that position, in that history."""
        self.server.ask("SET", "Q:1", "7:3:5")
        self.assertEqual(self.server.ask(*frozen("7:3:5")), 0)
        self.marker("S:1")
        self.assertEqual(self.server.ask(*frozen("7:3:5")), 1)
        self.assertEqual(self.server.ask(*frozen("7:3:6")), 0)
        self.assertEqual(self.server.ask(*frozen("7:3:5", lineage="f" * 32)), 0)

    def test_retire(self) -> None:
        """Keys go while the marker is what it was."""
        self.server.ask("HSET", "H:1:t", "c", 1)
        self.server.ask("SET", "Q:1", "1:1:1")
        self.assertEqual(self.server.ask(*retire("S:1", "H:1:t", "Q:1")), 0)
        self.holds("Q:1", (b"1:1:1", False))
        self.marker("S:1")
        self.assertEqual(self.server.ask(*retire("S:1", "H:1:t", "Q:1", "nothing")), 1)
        self.holds("H:1:t", None)
        self.holds("Q:1", None)
        self.holds("O:1", (b"S:1", False))

    # ------------------------------------------------------------------------------------------- the shard it comes to

    def test_begin(self) -> None:
        """An import begins where nothing is, or under an epoch that is over; the newest mover has it."""
        self.marker(None)
        self.assertEqual(self.server.ask(*begin()), [LINEAGE, 1])
        self.holds("O:1", (b"I:2", False))
        self.assertEqual(self.server.ask(*begin(token="u" * 32)), [LINEAGE, 1])
        self.holds("coming", {b"1": b"u" * 32})
        for marker, epoch, begun in (("S:1", 2, 1), ("S:2", 2, 1), ("S:3", 2, 0), ("A:2", 2, 0), ("A:1", 2, 1)):
            self.marker(marker)
            self.assertEqual(self.server.ask(*begin(epoch)), [LINEAGE, begun], marker)

    def test_import(self) -> None:
        """Each kind of value is written as it is given."""
        self.marker(None)
        self.server.ask(*begin())
        for command in (
            imported("H:1:t", "hash", "c", b"\0\xff", "d", "2"), imported("M:1", "list", "a", "b"),
            imported("Q:1", "string", "4:2:1"), imported("L:1", "end", "0-4"),
            imported("L:1", "log", "0-5", "1.5", 3, b"body\0", "0-6", "2.5", 4, b""), imported("A:1", "hash", "t", "x"),
        ):  # fmt: skip
            self.assertEqual(self.server.ask(*command), 1)
        self.holds("H:1:t", {b"c": b"\0\xff", b"d": b"2"})
        self.holds("M:1", [b"a", b"b"])
        self.holds("Q:1", (b"4:2:1", False))
        self.holds("L:1", [(b"0-5", [b"t", b"1.5", b"n", b"3", b"b", b"body\0"]),
                           (b"0-6", [b"t", b"2.5", b"n", b"4", b"b", b""])])  # fmt: skip
        self.assertEqual(self.server.ask(*imported("A:1", "drop")), 1)
        self.holds("A:1", None)

    def test_import_of_an_empty_log(self) -> None:
        """A log of which all was folded goes on with the next number."""
        self.marker(None)
        self.server.ask(*begin())
        self.server.ask(*imported("L:1", "end", "0-4"))
        self.server.ask(*imported("Q:1", "string", "4:2:1"))
        self.server.ask(*activate())
        self.says(append(batch(1), epochs=(2, 1)), "ok 1 1 1 ")
        self.assertEqual([entry for entry, _ in self.server.ask("XRANGE", "L:1", "-", "+")], [b"0-5"])

    def test_import_refused(self) -> None:
        """By another mover, under another epoch, or of what is not being imported, nothing is written."""
        self.marker(None)
        self.server.ask(*begin())
        before = self.server.contents()
        for wrong in (
            imported("Q:1", "string", "4:2:1", token="u" * 32), imported("Q:1", "string", "4:2:1", epoch=3),
            import_aside("why", "t", "c", "Gauge", 1, "part", token="u" * 32), activate(3), activate(token="u" * 32),
            activate(lineage="f" * 32), imported("Q:2", "string", "1:1:1", vbucket=2),
        ):  # fmt: skip
            self.assertEqual(self.server.ask(*wrong), 0)
        self.assertEqual(self.server.contents(), before)
        self.server.ask(*activate())
        self.assertEqual(self.server.ask(*imported("Q:1", "string", "4:2:1")), 0)

    def test_import_of_many_fields(self) -> None:
        """As many as one call takes."""
        self.marker(None)
        self.server.ask(*begin())
        parts = [part for number in range(1000) for part in (f"client{number}", number)]
        self.assertEqual(self.server.ask(*imported("H:1:t", "hash", *parts)), 1)
        self.assertEqual(self.server.ask("HLEN", "H:1:t"), 1000)

    def test_aside(self) -> None:
        """What was set aside comes under names of this shard, and goes without what others have set aside."""
        self.server.ask("FCALL", "taba_set_aside", 2, "X", "XM", 9, 999, "why", "t", "c", "Gauge", 1, b"four", 2)
        self.marker("I:2")
        self.server.ask("HSET", "coming", 1, TOKEN)
        parts = "a", "t", "c", "Gauge", 1, b"p", "b", "u", "d", "X", 2, b"pq"
        self.assertEqual(self.server.ask(*import_aside(*parts)), 1)
        self.holds("XM", [b"4:ID", b"1:ID", b"2:ID"])
        entries = self.server.ask("XRANGE", "X", "-", "+")
        self.assertEqual([fields[13] for _, fields in entries], [b"2", b"1", b"1"])
        self.assertEqual({fields[15] for _, fields in entries}, {LINEAGE})
        forget = move("forget_aside", ["O:1", "X", "XM"], "I:2", 1, AsideId(1), 2, AsideId(2))
        self.assertEqual(self.server.ask(*forget), 1)
        self.holds("XM", [b"4:ID"])
        self.assertEqual(self.server.ask("XLEN", "X"), 1)
        self.assertEqual(self.server.ask(*move("forget_aside", ["O:1", "X", "XM"], "S:1", 4, AsideId(0))), 0)
        self.assertEqual(self.server.ask("XLEN", "X"), 1)

    def test_aside_of_an_older_version(self) -> None:
        """A size without a name is found by what it is."""
        self.server.ask("XADD", "X", "*", "r", "a", "t", "t", "c", "c", "y", "Y", "n", 1, "p", "12345")
        self.server.ask("RPUSH", "XM", 3, 5, 5)
        self.server.ask(*move("forget_aside", ["O:1", "X", "XM"], "A:1", 5, AsideId(0)))
        self.holds("XM", [b"3", b"5"])

    def test_activate(self) -> None:
        """It is there, and nothing of the import is left; a second time it answers the same."""
        self.marker(None)
        self.server.ask("HSET", "moves", 1, "gone:there")
        self.server.ask(*begin())
        for _ in range(2):
            self.assertEqual(self.server.ask(*activate()), 1)
        self.holds("O:1", (b"A:2", False))
        self.holds("coming", None)
        self.holds("moves", None)

    def test_unimport(self) -> None:
        """An import that is given up cannot be activated any more; what is active stays."""
        self.marker(None)
        self.server.ask(*begin())
        self.assertEqual(self.server.ask(*unimport()), 1)
        self.holds("O:1", (b"S:3", False))
        self.holds("coming", None)
        self.holds("moves", {b"1": b"gone:here"})
        self.assertEqual(self.server.ask(*activate()), 0)
        self.assertEqual(self.server.ask(*unimport(vbucket=2)), 0)
        self.holds("O:2", (b"A:1", False))

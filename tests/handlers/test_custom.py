"""Handlers of others that build on `PythonHandler`."""

from __future__ import annotations

from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from taba.errors import CodecError, CorruptBlob, UnknownVersion, WrongType
from taba.handlers.buffer import Buffer
from taba.handlers.custom import STATE
from taba.handlers.expiry_gauge import ExpiryGauge
from taba.interfaces import Style
from taba.testing.handlers import check_laws
from tests import strategies
from tests.handlers.making import NOW, numbers, raw
from tests.handlers.types_of_others import Latest, Longest, LongestAgain
from tests.strategies import law

TEXTS = ['"a"', '"bbb"', '"ccc"', '""', '"grün 😀"', '"\\ud83d\\ude00"']
EVENTS = st.lists(
    st.tuples(st.sampled_from([0.0, NOW, NOW + 0.5, NOW + 59.0]), st.integers(0, 3), st.sampled_from(TEXTS)), max_size=6
)
NUMBERS = st.lists(
    st.tuples(st.sampled_from([0.0, NOW, NOW + 0.5]), st.integers(0, 2), st.sampled_from(["1", "2", "-0.5"])),
    max_size=6,
)
HANDLER = Longest()


class LawTests(SynchronousTestCase):
    """What holds of any such Handler."""

    @law(st.lists(EVENTS, min_size=1, max_size=3), st.integers(0, 99), examples=40)
    def test_value_that_is_joined(self, clients: list[list[tuple[float, int, str]]], seed: int) -> None:
        """A Type whose clients are joined as the events of one are: all laws hold."""
        check_laws(HANDLER, clients, tries=3, seed=seed)
        check_laws(LongestAgain(), clients, tries=3, seed=seed)

    @law(st.lists(NUMBERS, min_size=1, max_size=3), st.integers(0, 99), examples=40)
    def test_value_of_which_the_latest_counts(self, clients: list[list[tuple[float, int, str]]], seed: int) -> None:
        """A Type that orders events by `Event.order` and expires: all laws hold."""
        check_laws(Latest(), clients, tries=3, seed=seed)

    def test_built_in_types(self) -> None:
        """The laws of `check_laws` are those of Taba's own raw Types, too."""
        events = [(NOW, 1, f'["a", {NOW + 9}]'), (NOW, 2, f'["b", {NOW}]'), (NOW - 100, 3, '["c", 0]')]
        for handler in (ExpiryGauge(), Buffer()):
            check_laws(handler, [events, events[1:], []])


class StateTests(SynchronousTestCase):
    """The bytes of a State."""

    def state(self) -> bytes:
        """One with two events."""
        return HANDLER.fold(b"", [raw((NOW, 1, '"ab"'), (NOW - 5, 2, '"c"'))])

    def test_head(self) -> None:
        """Type and version, then the Type's name by its CRC-32, the newest time, and the subclass's own bytes."""
        state = self.state()
        self.assertEqual(state[:2], bytes([STATE, 1]))
        self.assertEqual(HANDLER.newest(state), NOW)
        self.assertTrue(state.endswith(HANDLER.encode((2, "ab"))))
        self.assertEqual(len(state), 2 + 4 + 8 + 10)

    def test_shown(self) -> None:
        """What `show` gives, as JSON on one line, by style."""
        state = self.state()
        self.assertEqual(HANDLER.render(state, NOW, Style.TEXT), '"ab"')
        self.assertEqual(HANDLER.render(state, NOW, Style.DETAILED), '{"longest": "ab", "of": 2}')
        self.assertEqual(HANDLER.render(b"", NOW, Style.JSON), '""')

    def test_newer_version_reads_older_states(self) -> None:
        """States of version 1 are folded, joined and shown by version 2, and rewritten by upgrade."""
        old, again = self.state(), LongestAgain()
        self.assertEqual(again.render(old, NOW, Style.DETAILED), '{"longest": "ab", "of": 2}')
        new = again.upgrade(old)
        self.assertEqual((new[1], again.held(new)), (2, HANDLER.held(old)))
        self.assertEqual(again.fold(old, []), new)
        self.assertEqual((again.merge(old, b""), again.merge(b"", old)), (new, new))
        self.assertEqual(again.reduce([old]), new)
        further = raw((NOW + 1, 3, '"def"'))
        self.assertEqual(again.fold(old, [further]), again.fold(new, [further]))
        self.assertEqual(again.held(again.reduce([old, new])).value, (4, "ab"))
        self.assertEqual(again.newest(old), NOW)

    def test_other_heads(self) -> None:
        """A State of a version to come, of no version, of another Type or of a built-in one is told as such."""
        state = self.state()
        calls = (
            HANDLER.upgrade,
            HANDLER.newest,
            lambda state: HANDLER.fold(state, []),
            lambda state: HANDLER.merge(state, b""),
            lambda state: HANDLER.reduce([state]),
            lambda state: HANDLER.render(state, NOW, Style.TEXT),
            lambda state: HANDLER.expired(state, NOW),
        )
        for call in calls:
            for version in (0, 2, 255):
                self.assertRaises(UnknownVersion, call, state[:1] + bytes([version]) + state[2:])
            self.assertRaises(WrongType, call, Latest().fold(b"", [raw((NOW, 1, "1"))]))
            self.assertRaises(WrongType, call, b"\x01" + state[1:])

    @law(strategies.damaged(st.lists(EVENTS.filter(bool), min_size=1).map(lambda e: HANDLER.fold(b"", [raw(*e[0])]))))
    def test_damage(self, damaged: bytes) -> None:
        """Whatever the bytes are, CodecError and nothing else is raised."""
        for handler in (HANDLER, LongestAgain(), Latest()):
            try:
                handler.render(handler.reduce([damaged]), NOW, Style.TEXT)
                handler.newest(damaged)
            except CodecError:
                continue

    def test_cut_short(self) -> None:
        """A State cut within its head, or within what the subclass reads."""
        state = self.state()
        for length in range(1, 2 + 4 + 8 + 8):
            self.assertRaises(CorruptBlob, HANDLER.reduce, [state[:length]])


class PartialTests(SynchronousTestCase):
    """The Partials of agents."""

    def test_events_come_in_their_order(self) -> None:
        """Within a call, `add` gets the events by time, stamp and bytes, with the payload decoded."""
        seen: list[object] = []

        class Watching(Longest):
            def add(self, value, event):  # type: ignore[no-untyped-def]
                seen.append((event.time, event.stamp, event.payload, event.value))
                return super().add(value, event)

        Watching().fold(b"", [raw((2.0, 1, '"c"'), (1.0, 2, ' "b" ')), raw((1.0, 1, '"z"'), (1.0, 1, '"y"'))])
        self.assertEqual(
            seen, [(1.0, 1, b'"y"', "y"), (1.0, 1, b'"z"', "z"), (1.0, 2, b' "b" ', "b"), (2.0, 1, b'"c"', "c")]
        )

    def test_partials_of_other_kinds(self) -> None:
        """CodecError for what is no raw Partial, or has a payload that is not JSON."""
        for partial in (numbers((NOW, 1.0)), b"", b"\x80\x01\x00", raw((NOW, 1, "nul")), raw((NOW, 1, "1"))[:-1]):
            self.assertRaises(CodecError, HANDLER.fold, b"", [partial])

    def test_what_add_raises_goes_through(self) -> None:
        """The server learns what went wrong, and sets the Partial aside."""
        self.assertRaises(TypeError, HANDLER.fold, b"", [raw((NOW, 1, "5"))])

    def test_nothing(self) -> None:
        """No events: the empty State, shown as such."""
        self.assertEqual((HANDLER.fold(b"", []), HANDLER.reduce([b"", b""]), HANDLER.merge(b"", b"")), (b"", b"", b""))
        self.assertEqual((HANDLER.newest(b""), HANDLER.upgrade(b"")), (0.0, b""))
        self.assertEqual((HANDLER.expired(b"", NOW), Latest().render(b"", NOW, Style.TEXT)), (True, "[]"))

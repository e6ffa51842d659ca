"""The twin's protocol 1: the laws of all kernels, every reason, and every way to get the structure wrong."""

from __future__ import annotations

from types import ModuleType

from twisted.trial.unittest import SynchronousTestCase

from tests import strategies
from tests.twin import kernel
from tests.twin.errors import BodySyntaxError
from tests.twin.laws import BodyLaws
from tests.twin.protocol1 import Limits, Parsed, parse

EXAMPLE = b"""1

example_client

example_moving_counter
["CounterGroup", 1400000000.12, "100"]
["CounterGroup", 1400000000.25, "1000"]

example_gauge
["Gauge", 1400000000.13, "\\"value\\""]


"""


def read(body: bytes, **limits: int) -> Parsed:
    """A body as a test has it."""
    return parse(body, Limits(**limits, newest=strategies.NEWEST + 60.0), strategies.TYPES)


def block(*lines: str, tab: str = "t", client: str = "c") -> bytes:
    """A body of one block, cut behind its last event."""
    return "\n".join(["1", "", client, "", tab, *lines, ""]).encode()


class TwinBodyTests(BodyLaws, SynchronousTestCase):
    """The laws of bodies, for the twin."""

    kernel: ModuleType = kernel


class BodyTests(SynchronousTestCase):
    """Bodies with a right structure."""

    def test_example_of_the_reference(self) -> None:
        """Three events of one client, two tabs."""
        found = [(e.client, e.tab, e.type_name, e.time, e.value) for e in read(EXAMPLE).events]
        counter = ("example_client", "example_moving_counter", "CounterGroup")
        gauge = ("example_client", "example_gauge", "Gauge", 1400000000.13, b'"value"')
        self.assertEqual(found, [(*counter, 1400000000.12, 100.0), (*counter, 1400000000.25, 1000.0), gauge])

    def test_bodies_that_say_nothing(self) -> None:
        """A version alone, a client alone and a block without events are allowed."""
        for body in (b"1\n\n", b"1\n\nc\n\n", b"1\n\nc\n\n\n", b"1\n\nc\n\nt", b"1\n\nc\n\nt\n\n\n"):
            self.assertEqual((read(body).events, read(body).samples), ([], []))

    def test_several_clients(self) -> None:
        """Clients follow one another."""
        body = b'1\n\nc\n\nt\n["Gauge", 1, "1"]\n\n\nd\n\nt\n["Gauge", 2, "2"]'
        self.assertEqual([(event.client, event.time) for event in read(body).events], [("c", 1.0), ("d", 2.0)])

    def test_further_blank_lines_between_clients(self) -> None:
        """Blank lines where a client id could stand are passed over, and counted."""
        parsed = read(b"1\n\n\n\nc\n\nt\nx\n\n\n\n\nd\n\nt\nx\n\n\n\n\n")
        self.assertEqual((parsed.samples, parsed.lines), ([(8, "json"), (16, "json")], 20))

    def test_latin_1(self) -> None:
        """One byte that is no UTF-8 makes the whole body Latin-1."""
        body = block('["Gauge", 1, "\\"é\\""]', '["Gauge", 2, "\\"?\\""]')
        self.assertEqual([event.value for event in read(body).events], ['"é"'.encode(), b'"?"'])
        events = read(body.replace(b"?", b"\xe9")).events
        self.assertEqual([event.value for event in events], ['"Ã©"'.encode(), '"é"'.encode()])

    def test_payloads_of_counters(self) -> None:
        """Numbers, truth, and the first of an array."""
        payloads = {"1.5": 1.5, "true": 1.0, "false": 0.0, "[2, null]": 2.0, " [true] ": 1.0, "-0": 0.0, "1e2": 100.0}
        lines = [f'["CounterGroup", 1, "{payload}"]' for payload in payloads]
        self.assertEqual([event.value for event in read(block(*lines)).events], list(payloads.values()))

    def test_payload_keeps_its_own_text(self) -> None:
        """A structured payload is kept as its sender wrote it, but for the white space around it."""
        [event] = read(block('["Gauge", 1, " {\\"a\\":\\u005b1.0 , \\"\\\\u00e9\\\\ud800\\"]} "]')).events
        self.assertEqual(event.value, b'{"a":[1.0 , "\\u00e9\\ud800"]}')


class RefusedTests(SynchronousTestCase):
    """Events that are refused alone."""

    def _reasons(self, *lines: str, **limits: int) -> list[str]:
        parsed = read(block(*lines), **limits)
        self.assertEqual(len(parsed.events) + sum(parsed.refused.values()), len(lines))
        return [reason for _, reason in parsed.samples]

    def test_json(self) -> None:
        """What is not JSON, or not [Type, time, payload]."""
        self.assertEqual(self._reasons(*strategies.NO_EVENTS), ["json"] * 10)

    def test_type(self) -> None:
        """Types that nobody knows."""
        self.assertEqual(self._reasons(*[f'["{name}", 1, "1"]' for name in strategies.UNKNOWN_TYPES]), ["type"] * 4)

    def test_mixed(self) -> None:
        """The first valid event decides the Type of its block."""
        lines = ['["Gauge", -1, "1"]', '["CounterGroup", 1, "1"]', '["Gauge", 1, "1"]', '["CounterGroup", 1, "1"]']
        self.assertEqual(self._reasons(*lines), ["time", "mixed"])

    def test_time_and_future(self) -> None:
        """Times that are no seconds since 1970, and those ahead of the clock."""
        reasons = self._reasons(*[f'["Gauge", {time}, "1"]' for time in strategies.TIMES_REFUSED])
        self.assertEqual(reasons, ["time", "time", "json", "json", "time", "time", "future"])

    def test_value(self) -> None:
        """Payloads that the Type cannot take."""
        reasons = self._reasons(
            *['["CounterGroup", 1, "' + v + '"]' for v in ("x", "", "null", "[]", "{}", "1e999", "[[1]]")]
        )
        self.assertEqual(reasons, ["value"] * 7)
        self.assertEqual(self._reasons('["Gauge", 1, "[1e999]"]', '["Gauge", 1, "NaN"]'), ["value"] * 2)

    def test_name(self) -> None:
        """All events under a wrong name, whatever they are; the others stay."""
        body = b'1\n\nc\n\nt t\nx\n["Gauge", 1, "1"]\n\nt\n["Gauge", 1, "1"]\n\n\nc c\n\nt\n["Gauge", 1, "1"]'
        parsed = read(body)
        self.assertEqual((parsed.samples, len(parsed.events)), ([(6, "name"), (7, "name"), (16, "name")], 1))

    def test_size(self) -> None:
        """Payloads over the limits of bytes and of depth."""
        lines = ['["Gauge", 1, "12345"]', '["Gauge", 1, "123456"]', '["Gauge", 1, "[[]]"]', '["Gauge", 1, "[[["]']
        self.assertEqual(self._reasons(*lines, max_payload=5, max_depth=2), ["size", "size"])

    def test_line_that_is_too_long(self) -> None:
        """A line is judged by its length before it is looked into: six bytes per byte of payload, and 4096."""
        lines = ["x" * (6 * 5 + 4096), "x" * (6 * 5 + 4096 + 1), '["Gauge", 1, "1"]' + " " * 4126]
        self.assertEqual(self._reasons(*lines, max_payload=5), ["json", "size", "size"])

    def test_ten_samples(self) -> None:
        """The first ten refused events are told with their lines; all are counted."""
        parsed = read(block(*["x"] * 12))
        self.assertEqual(parsed.samples, [(line, "json") for line in range(6, 16)])
        self.assertEqual(parsed.refused, {"json": 12})


class StructureTests(SynchronousTestCase):
    """Bodies that are refused whole."""

    def test_line_at_fault(self) -> None:
        """The error names the line."""
        bodies = {b"": 1, b"2\n\n": 1, b"1\r\n\r\n": 1, b"\n": 1, b" 1": 1, b"1\nc": 2, b"1\n\nc\nt": 4}
        bodies |= {b"1": 2, b"1\n": 2, b"1\n\nc": 4, b"1\n\nc\n": 4}
        bodies |= {b"\xef\xbb\xbf1\n\n": 1, b"1\n\nc\n\r\n": 4}
        for body, line in bodies.items():
            error = self.assertRaises(BodySyntaxError, read, body)
            self.assertEqual((body, error.line), (body, line))

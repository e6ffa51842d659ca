"""Native protocol 1 and accumulator: the laws of all kernels, and equal to the twin for right and wrong bodies."""

from __future__ import annotations

import json
from types import ModuleType
from typing import Any

from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from taba import native
from tests import strategies
from tests.native.verdicts import plain
from tests.strategies import SELDOM, law
from tests.twin import kernel
from tests.twin.laws import BodyLaws
from tests.twin.test_protocol1 import block

UTF_8_OR_NOT = [
    b"a",
    "é€😀\x7f\u0080\ufffd\uffff\U0010ffff".encode(),
    *[
        b"\x80",
        b"\xc3",
        b"\xc1\xbf",
        b"\xe0\x9f\xbf",
        b"\xed\xa0\x80",
        b"\xef\xbf",
        b"\xf0\x8f\xbf\xbf",
        b"\xf4\x90\x80\x80",
    ],
    *[b"\xf8\x88\x80\x80\x80", b"\xff", b"\xfe", b"\xc3\x28", b"\xe2\x82", b"\xf0\x9f\x98"],
]


TYPES = {**strategies.TYPES, "Number": native.RAW_NUMBER, "Expiring": native.RAW_EXPIRING}


class NativeBodyTests(BodyLaws, SynchronousTestCase):
    """The laws of bodies, for the native core."""

    kernel: ModuleType = native


def read(side: ModuleType, *bodies: bytes, num_vbuckets: int = 4, **limits: int) -> Any:
    """What requests come to on one side: each one's summary or error, the stamps, and the sections of all of them."""
    accumulator = side.Accumulator()
    answers: list[Any] = []
    stamp = 1_400_000_000_000_000
    for body in bodies:
        scratch = side.Scratch(side.Limits(newest=strategies.NEWEST + 60.0, **limits), TYPES)
        try:
            scratch.feed(body)
            scratch.finish()
        except Exception as error:
            answers.append((type(error).__name__, getattr(error, "line", None)))
            continue
        summary = scratch.summary()
        answers.append((summary.accepted, dict(summary.refused), list(map(list, summary.samples)), summary.line))
        stamp = accumulator.merge(scratch, stamp)
    return answers, stamp, accumulator.summary()[:2], plain(accumulator.encode(num_vbuckets))


class BodyTwinTests(SynchronousTestCase):
    """Native and twin side by side."""

    def _alike(self, *bodies: bytes, num_vbuckets: int = 4, **limits: int) -> None:
        twin = read(kernel, *bodies, num_vbuckets=num_vbuckets, **limits)
        self.assertEqual(read(native, *bodies, num_vbuckets=num_vbuckets, **limits), twin)

    @law(strategies.bodies(refused=False), examples=80)
    def test_right_bodies_read_alike(self, body: bytes) -> None:
        """Valid events only: the same Partials in the same sections."""
        self._alike(body)

    @law(strategies.bodies(), examples=100)
    def test_odd_bodies_read_alike(self, body: bytes) -> None:
        """Some events refused: the same ones, on the same lines, for the same reasons."""
        self._alike(body)

    @law(strategies.damaged(strategies.bodies()), examples=100)
    def test_broken_bodies_read_alike(self, body: bytes) -> None:
        """Bytes changed, lost and added: the same error on the same line, or the same events."""
        self._alike(body)

    @law(st.lists(strategies.bodies(), max_size=4), st.sampled_from([0, 1, 2, 128]), examples=60)
    def test_requests_merge_alike(self, bodies: list[bytes], num_vbuckets: int) -> None:
        """Several requests of one commit, divided by any number of vbuckets: the same stamps and sections."""
        self._alike(*bodies, num_vbuckets=num_vbuckets)

    @law(strategies.json_numbers(), strategies.json_numbers(), examples=200)
    def test_numbers_are_rounded_alike(self, value: str, time: str) -> None:
        """Any JSON number becomes the same double, as a value and as a time; infinite ones are refused."""
        lines = [
            json.dumps(["CounterGroup", 1, value]),
            f'["Gauge", {time}, "1"]',
            f'["Gauge", {time.lstrip("-")}, "1"]',
        ]
        self._alike(*[block(line) for line in lines])

    @law(st.lists(strategies.json_texts(), max_size=4), st.sampled_from(sorted(TYPES)), examples=150)
    def test_payloads_are_taken_alike(self, texts: list[str], type_name: str) -> None:
        """Any JSON text as a payload, whole and cut short."""
        lines = [
            json.dumps([type_name, 1, text[: len(text) - cut]], ensure_ascii=False) for text in texts for cut in (0, 1)
        ]
        self._alike(block(*lines))

    @law(st.lists(strategies.json_texts(), max_size=3), st.sampled_from(["1", "-2.5", "true", "null", '"1"']))
    def test_shapes_are_judged_alike(self, texts: list[str], last: str) -> None:
        """Arrays of any length about a number: the counters' shape, and that of a value with its expiry."""
        payloads = [f"[{','.join([*texts, last])}]", f"[{','.join([last, *texts])}]"]
        self._alike(block(*[json.dumps([name, 1, each]) for name in ("Number", "Expiring") for each in payloads]))

    @law(
        strategies.damaged(st.sampled_from(sorted(strategies.TYPES)).flatmap(strategies.event_lines).map(str.encode)),
        examples=200,
    )
    def test_damaged_lines_are_judged_alike(self, line: bytes) -> None:
        """A line with a few wrong bytes is refused for the same reason, or is still an event."""
        self._alike(block("#").replace(b"#", line))

    @law(st.sampled_from(sorted(strategies.TYPES)), st.integers(0, 40), st.sampled_from("[{é0 \\x"), st.integers(0, 9))
    def test_limits_are_met_alike(self, type_name: str, n: int, piece: str, limit: int) -> None:
        """Payloads about as long, as deep and as full of escapes as allowed, in UTF-8 and in Latin-1."""
        closing = {"[": "]", "{": "}"}.get(piece, "")
        inner = {"{": '{"a":', "\\": "\\u0041"}.get(piece, piece)
        quoted = "" if closing else '"'
        text = quoted + inner * n + ("1" if closing else quoted) + closing * n
        for payload in (json.dumps(text), json.dumps(text, ensure_ascii=False), f'"{"1" * n}"'):
            body = block(f'["{type_name}", 1, {payload}]', "x", "é")
            self._alike(body, max_payload=20 + limit, max_depth=limit)
            self._alike(body.decode().encode("latin-1"), max_payload=20 + limit, max_depth=limit)

    @law(st.sampled_from([b"x", b"[", "é".encode(), b"\xe9"]), st.integers(0, 20), st.integers(-40, 10), SELDOM)
    def test_lines_are_measured_alike(self, piece: bytes, max_payload: int, more: int, named: bool) -> None:
        """Lines about as long as allowed: too long ones are not looked into."""
        n = (6 * max_payload + 4096 + more) // len(piece)
        garbage, event = piece * n, b'["Gauge", 1, "1"]'
        lines = b"\n".join([garbage, event, event + b" " * (n - len(event)), b'["Gauge", 1, "1", "' + garbage])
        self._alike(block("#", tab="t t" if named else "t").replace(b"#", lines), max_payload=max_payload)

    @law(st.lists(st.sampled_from(UTF_8_OR_NOT), max_size=4).map(b"".join), examples=100)
    def test_characters_are_decoded_alike(self, content: bytes) -> None:
        """Well-formed UTF-8 stays, and one wrong sequence anywhere makes the whole body Latin-1."""
        line = b'["Gauge", 1, "\\"' + content + b'\\""]'
        self._alike(b"\n".join([block('["Gauge", 1, "\\"\u00e9\\""]').rstrip(b"\n"), line]))
        self._alike(block('["Gauge", 1, "\\"\u20ac\\""]', tab="t").replace(b"\nt\n", b"\n" + content + b"\n"))

    def test_many_tabs_of_many_clients(self) -> None:
        """Thousands of names: the same sections for every number of vbuckets."""
        blocks = [
            f"client-{client}\n\n"
            + "".join(f'tab-{tab}\n["CounterGroup", {tab}.5, "{client}"]\n\n' for tab in range(300))
            for client in range(10)
        ]
        body = ("1\n\n" + "\n".join(blocks)).encode()
        for num_vbuckets in (0, 128):
            self._alike(body, num_vbuckets=num_vbuckets)

    @law(strategies.bodies(refused=False), st.integers(4000, 100_000))
    def test_limit_of_memory_refuses_the_whole(self, body: bytes, max_memory: int) -> None:
        """A body that needs more memory than allowed raises LimitReached; any other reads as without a limit."""
        [answer], *rest = read(native, body, max_memory=max_memory)
        if answer[0] == "LimitReached":
            self.assertEqual(rest[1:], [(0, 0), []])
        else:
            self.assertEqual([[answer], *rest], list(read(native, body)))

    @law(st.integers(1, 12), st.integers(1, 12))
    def test_names_are_measured_alike(self, tab: int, client: int) -> None:
        """Names as long as allowed, and one longer."""
        self._alike(block('["Gauge", 1, "1"]', tab="t" * tab, client="c" * client), max_name=10)

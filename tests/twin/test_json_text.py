"""The twin's JSON: what Python's `json` reads is read the same; what RFC 8259 does not have is refused."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from tests import strategies
from tests.strategies import law
from tests.twin.json_text import NotJson, TooDeep, parse


def _python(text: str) -> Any:
    """What Python reads; ValueError for NaN and Infinity too, and integers as doubles."""

    def refuse(word: str) -> None:
        raise ValueError(word)

    return json.loads(text, parse_constant=refuse, parse_int=float)


class JsonTests(SynchronousTestCase):
    """Reading JSON texts."""

    @law(strategies.json_values(), st.randoms(use_true_random=False))
    def test_odd_texts_say_the_same(self, value: Any, chance: Any) -> None:
        """White space and escapes do not matter."""
        plain = json.dumps(value)
        self.assertEqual(parse(strategies.odd_json(value, chance)).value, _python(plain))

    @law(st.one_of(strategies.json_texts(), strategies.json_texts().map(lambda text: text[:-1] or "x")), examples=150)
    def test_python_agrees(self, text: str) -> None:
        """Accepted and refused texts are those of Python, when surrogates are left aside."""
        if "\\ud" in text.lower():
            return
        try:
            expected = _python(text)
        except ValueError:
            self.assertRaises(NotJson, parse, text)
        else:
            self.assertEqual(parse(text).value, expected)

    def test_what_is_not_json_is_refused(self) -> None:
        """The usual liberties that others take."""
        for text in (
            "",
            " ",
            "01",
            "+1",
            "1.",
            ".5",
            "1e",
            "NaN",
            "Infinity",
            "'a'",
            "[1,]",
            "{,}",
            '{"a":1,}',
            "{1:2}",
            "1 2",
        ):
            self.assertRaises(NotJson, parse, text)
        for text in (
            '"\t"',
            '"\\x41"',
            '"\\u12"',
            '"a',
            "\ufeff1",
            "\u00a01",
            "tru",
            "nulll",
            "[1}",
            "]",
            "1\x00",
            "\x0c1",
        ):
            self.assertRaises(NotJson, parse, text)

    def test_lone_surrogates_are_replaced(self) -> None:
        """A pair is one character, half a pair is U+FFFD."""
        pairs = {'"\\ud83d\\ude00"': "\U0001f600", '"\\ud83d"': "\ufffd", '"\\ude00\\ud83dx"': "\ufffd\ufffdx"}
        self.assertEqual({text: parse(text).value for text in pairs}, pairs)
        self.assertEqual(parse('"\\ud83d\\ud83d\\ude00"').value, "\ufffd\U0001f600")

    def test_depth_is_counted(self) -> None:
        """As many levels as allowed, and not one more."""
        self.assertEqual(parse("[[{}]]", 3).value, [[{}]])
        self.assertRaises(TooDeep, parse, "[[{}]]", 2)
        self.assertRaises(TooDeep, parse, "[" * 100_000, 64)

    def test_infinite_numbers_are_told(self) -> None:
        """A number beyond the doubles is JSON, but not finite."""
        self.assertFalse(parse("[1, 1e999]").is_finite())
        self.assertTrue(parse("[1, 1e-999, 1.7976931348623157e308]").is_finite())

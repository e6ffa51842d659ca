"""Frames and their headers: what is read, and that nothing else gets through."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from taba.errors import FrameError
from taba.wire.frame import (
    Field,
    Row,
    array,
    check,
    decode_frame,
    decode_object,
    encode_frame,
    encode_object,
    hexadecimal,
    member,
    nullable,
    number,
    obj,
    one_of,
    text,
    whole,
)

QUICK = settings(max_examples=150, deadline=None, database=None)

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)
HEADERS = st.dictionaries(st.text(), JSON, max_size=5)


def depth(value: Any) -> int:
    """How many arrays and objects stand within each other."""
    if isinstance(value, dict):
        return 1 + max(map(depth, value.values()), default=0)
    if isinstance(value, list):
        return 1 + max(map(depth, value), default=0)
    return 0


class FrameTests(SynchronousTestCase):
    """A frame is a length, a header and a payload."""

    def test_bytes(self) -> None:
        """The bytes are those of the reference page."""
        self.assertEqual(encode_frame({"a": 1}, [b"xy", b"z"]), b'\x07\x00\x00\x00{"a":1}xyz')

    @QUICK
    @given(HEADERS, st.lists(st.binary(max_size=20), max_size=4))
    def test_what_was_written_is_read(self, header: dict[str, Any], blobs: list[bytes]) -> None:
        """Every header and payload come back as they were."""
        if depth(header) <= 16:
            read, payload = decode_frame(encode_frame(header, blobs))
            self.assertEqual((read, bytes(payload)), (header, b"".join(blobs)))

    @QUICK
    @given(HEADERS)
    def test_every_prefix_is_refused(self, header: dict[str, Any]) -> None:
        """A frame that ends within its header is an error, wherever it ends."""
        whole_frame = encode_frame(header)
        for end in range(len(whole_frame)):
            self.assertRaises(FrameError, decode_frame, whole_frame[:end])

    @settings(max_examples=400, deadline=None, database=None)
    @given(st.binary(max_size=60) | HEADERS.map(encode_frame), st.data())
    def test_anything_else_is_refused(self, frame: bytes, data: st.DataObject) -> None:
        """Whatever the bytes, the answer is a header or a FrameError."""
        if frame:
            place = data.draw(st.integers(0, len(frame) - 1))
            frame = frame[:place] + bytes([data.draw(st.integers(0, 255))]) + frame[place + 1 :]
        try:
            header, _ = decode_frame(frame)
        except FrameError:
            return
        self.assertIsInstance(header, dict)

    def test_limit_of_the_header(self) -> None:
        """A header over the limit is refused by its length alone."""
        frame = encode_frame({"a": "x" * 100})
        self.assertRaises(FrameError, decode_frame, frame, 100)
        self.assertRaises(FrameError, decode_frame, frame[:5], 100)
        self.assertEqual(decode_frame(frame, 200)[0], {"a": "x" * 100})


class ObjectTests(SynchronousTestCase):
    """Headers are JSON objects, and strict ones."""

    def refused(self, written: bytes, **limits: int) -> str:
        """The text of the error."""
        return str(self.assertRaises(FrameError, decode_object, written, **limits))

    def test_not_an_object(self) -> None:
        """Other JSON is no header."""
        for written in (b"[]", b"1", b'"a"', b"null", b""):
            self.refused(written)

    def test_member_twice(self) -> None:
        """An object that says something twice means different things to different readers."""
        self.assertIn("twice", self.refused(b'{"a":1,"b":{"c":1,"c":2}}'))

    def test_numbers_that_are_none(self) -> None:
        """NaN and Infinity are not JSON, and numbers of thousands of digits are refused as well."""
        for written in (b"NaN", b"Infinity", b"-Infinity", b"1" * 10_000):
            self.refused(b'{"a":' + written + b"}")

    def test_not_utf8(self) -> None:
        """Other encodings are refused."""
        self.refused('{"a":"ä"}'.encode("latin-1"))
        self.assertEqual(decode_object('{"a":"ä"}'.encode()), {"a": "ä"})

    def test_nesting(self) -> None:
        """Arrays and objects may stand within each other so deep, and no deeper."""
        for written in (b'{"a":[[1]]}', b'{"a":{"b":{}}}', b'{"a":[{"b":1}, [1], "]]]["]}'):
            self.assertEqual(decode_object(written, max_depth=3), json.loads(written))
            self.assertIn("deep", self.refused(written, max_depth=2))

    def test_brackets_in_strings_do_not_count(self) -> None:
        """A string may have any brackets, quotes and backslashes in it."""
        for value in ('[[[[[["', '\\"[[[[', "\\", '"' * 9, "]]]}}}", '\\\\"{{{'):
            self.assertEqual(decode_object(encode_object({"a": value}), max_depth=1), {"a": value})

    def test_very_deep(self) -> None:
        """A million brackets are refused in no time, and without recursion."""
        for written in (b"[" * 1_000_000, b'{"a":' * 100_000, b'{"a":' + b"[" * 9000 + b"]" * 9000 + b"}"):
            self.refused(written)

    def test_many_quotes(self) -> None:
        """Strings that do not end cost no more than others."""
        for written in (b'{"' + b'\\"' * 500_000, b'"' * 1_000_001, b"\\" * 1_000_001):
            self.refused(written)

    @QUICK
    @given(HEADERS)
    def test_depth_is_measured_exactly(self, header: dict[str, Any]) -> None:
        """What passes is what is not nested deeper, for every header."""
        written, deep = encode_object(header), depth(header)
        self.assertEqual(decode_object(written, max_depth=deep), header)
        if deep > 1:
            self.assertRaises(FrameError, decode_object, written, max_depth=deep - 1)


class FieldTests(SynchronousTestCase):
    """Every value is checked for its type and its range."""

    def allowed(self, field: Field, *values: Any) -> None:
        for value in values:
            self.assertEqual(check(value, field, "here"), value)

    def refused(self, field: Field, *values: Any) -> None:
        for value in values:
            error = self.assertRaises(FrameError, check, value, field, "here.there")
            self.assertTrue(str(error).startswith("here.there: "), error)
            self.assertLess(len(str(error)), 300)

    def test_whole(self) -> None:
        """Whole numbers have no point, and true is none."""
        self.allowed(whole("n", 1, 5), 1, 5)
        self.refused(whole("n", 1, 5), 0, 6, 1.0, True, "1", None, [1], 10**5000)

    def test_number(self) -> None:
        """Numbers are finite and in range."""
        self.allowed(number("n", 0, 5), 0, 5, 2.5, 0.0)
        self.refused(number("n", 0, 5), -0.1, 5.1, float("nan"), float("inf"), True, "1", None, 10**400)

    def test_hexadecimal(self) -> None:
        """Ids are hexadecimal digits in lower case, of their length, and nothing behind."""
        self.allowed(hexadecimal("id", 4, 4), "09af")
        self.allowed(hexadecimal("id", 0, 4), "", "a")
        self.refused(hexadecimal("id", 4, 4), "09AF", "09a", "09aff", "09ag", "09af\n", 1234, None, b"09af", "٠٩٠٩")

    def test_one_of(self) -> None:
        """Words are known ones."""
        self.allowed(one_of("word", ["ok", "gap"]), "ok")
        self.refused(one_of("word", ["ok", "gap"]), "OK", "", None, ["ok"], 1)

    def test_text(self) -> None:
        """Texts are bounded, and can be written again."""
        self.allowed(text("t", 3), "", "äöü", "𝄞")
        self.refused(text("t", 3), "abcd", None, 1, "\ud800")

    def test_nullable(self) -> None:
        """null is allowed where it says so."""
        self.allowed(nullable(whole("n", 1, 5)), None, 1)
        self.refused(nullable(whole("n", 1, 5)), 0, False)

    def test_row(self) -> None:
        """A row has exactly its fields; an error names the row and the field."""
        row = Row(whole("first", 0, 9), text("second", 9))
        self.assertEqual(row.check([1, "a"], "rows", 3), [1, "a"])
        for value in ([1], [1, "a", 2], None, {"first": 1}, "ab"):
            self.assertIn("rows[3]: ", str(self.assertRaises(FrameError, row.check, value, "rows", 3)))
        self.assertIn("rows[3].second: ", str(self.assertRaises(FrameError, row.check, [1, 2], "rows", 3)))

    def test_members(self) -> None:
        """What is missing is named, and arrays and objects are not mistaken for each other."""
        self.assertEqual(member({"n": 1}, whole("n", 0, 9)), 1)
        self.assertIn("n: missing", str(self.assertRaises(FrameError, member, {}, whole("n", 0, 9))))
        self.assertEqual((array([1], "a"), obj({"b": 1}, "b")), ([1], {"b": 1}))
        self.assertRaises(FrameError, array, {}, "a")
        self.assertRaises(FrameError, obj, [], "b")

"""Replies as bytes."""

from __future__ import annotations

import hiredis
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from taba.testing.redis.resp import NIL_ARRAY, NO_REPLY, Reply, ReplyError, Status, encode, pack, words

REPLIES = st.recursive(
    st.none() | st.binary(max_size=20) | st.integers(-(2**63), 2**63 - 1), lambda inner: st.lists(inner, max_size=4)
)


class EncodingTests(SynchronousTestCase):
    """RESP2."""

    def test_types(self) -> None:
        """Every kind of reply has the bytes that Redis sends."""
        cases: list[tuple[Reply, bytes]] = [
            (b"a\r\n", b"$3\r\na\r\n\r\n"),
            (b"", b"$0\r\n\r\n"),
            (None, b"$-1\r\n"),
            (NIL_ARRAY, b"*-1\r\n"),
            (-3, b":-3\r\n"),
            (Status("OK"), b"+OK\r\n"),
            ([], b"*0\r\n"),
            ([1, [b"x", None]], b"*2\r\n:1\r\n*2\r\n$1\r\nx\r\n$-1\r\n"),
            (NO_REPLY, b""),
        ]
        self.assertEqual([encode(reply) for reply, _bytes in cases], [raw for _reply, raw in cases])

    def test_errors_stay_on_their_line(self) -> None:
        """An error that quotes a client's line ends does not break the protocol, and bytes come out as they went in."""
        self.assertEqual(encode(ReplyError("ERR a\r\nb \udcff")), b"-ERR a  b \xff\r\n")

    @given(REPLIES)
    def test_what_is_encoded_is_read(self, reply: Reply) -> None:
        """hiredis reads what was meant."""
        reader = hiredis.Reader()
        reader.feed(encode(reply))
        self.assertEqual(reader.gets(), reply)

    @given(st.lists(st.binary(max_size=20), min_size=1))
    def test_commands(self, argv: list[bytes]) -> None:
        """A packed command is what hiredis packs."""
        self.assertEqual(pack(argv), hiredis.pack_command(tuple(argv)))  # type: ignore[arg-type]

    def test_arguments(self) -> None:
        """Numbers and text become what Redis's clients send."""
        self.assertEqual(words(["GET", b"\xff", 12, 1.5, 3.0]), [b"GET", b"\xff", b"12", b"1.5", b"3"])

"""Cutting whole requests out of what a client sends."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from taba.testing.recorder import RequestCutter, WholeRequest
from tests.strategies import law

PLAIN = b"POST /post?x=1 HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello"
EMPTY = b"GET /status HTTP/1.1\r\nHost: a\r\n\r\n"
CHUNKED = (
    b"POST /v2/append HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"3\r\nabc\r\n5;extension\r\n\r\n0\r\n\r\n0\r\nTrailer: x\r\n\r\n"
)
ALL = [
    WholeRequest(b"POST", b"/post?x=1", PLAIN),
    WholeRequest(b"GET", b"/status", EMPTY),
    WholeRequest(b"POST", b"/v2/append", CHUNKED),
]


def cut(pieces: list[bytes], paths: tuple[bytes, ...] = ()) -> list[WholeRequest]:
    """What a cutter finds in a stream that comes in these pieces."""
    cutter = RequestCutter(lambda path: not paths or path in paths)
    return [whole for piece in pieces for whole in cutter.receive_data(piece)]


class RequestCutterTests(SynchronousTestCase):
    """A network remembers the requests that it carried."""

    def test_requests_of_one_connection(self) -> None:
        """Several requests in a row come out one by one, with their very bytes."""
        self.assertEqual(cut([PLAIN + EMPTY + CHUNKED]), ALL)

    @law(st.lists(st.integers(0, len(PLAIN + EMPTY + CHUNKED)), max_size=8), examples=100)
    def test_any_split(self, cuts: list[int]) -> None:
        """Wherever the stream is cut in pieces, the same requests come out."""
        stream = PLAIN + EMPTY + CHUNKED
        edges = [0, *sorted(cuts), len(stream)]
        self.assertEqual(cut([stream[a:b] for a, b in pairwise(edges)]), ALL)

    def test_byte_by_byte(self) -> None:
        """The same, one byte at a time."""
        self.assertEqual(cut([bytes([byte]) for byte in PLAIN + CHUNKED + EMPTY]), [ALL[0], ALL[2], ALL[1]])

    def test_only_wanted_paths(self) -> None:
        """Other paths are skipped, bodies and all."""
        self.assertEqual(cut([PLAIN + CHUNKED + EMPTY], (b"/status",)), [ALL[1]])

    def test_half_a_request_is_none(self) -> None:
        """A request that breaks off is not remembered."""
        for length in range(len(PLAIN)):
            self.assertEqual(cut([PLAIN[:length]]), [])

    def test_other_protocols_are_left_alone(self) -> None:
        """What is not HTTP yields nothing, also when a request follows."""
        for stream in (b"*1\r\n$4\r\nPING\r\n\r\n\r\n", b"POST / HTTP/1.1\r\nContent-Length: x\r\n\r\n", b"x" * 70000):
            self.assertEqual(cut([stream, PLAIN]), [])

    def test_bad_chunk_size_ends_it(self) -> None:
        """A body that breaks the rules of chunks switches the recorder off."""
        self.assertEqual(cut([b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", PLAIN]), [])

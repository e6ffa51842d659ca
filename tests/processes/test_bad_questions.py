"""Questions that make no sense: the server says what is wrong with them.

REAL: a server process on loopback.
"""

from __future__ import annotations

import json
import time

from tests.processes.bad_input import MIB, BadInputTestCase

QUICKLY = 30.0
"""Seconds that an answer may take on a busy machine."""


class QuestionTests(BadInputTestCase):
    """Bad questions to the server."""

    def test_regular_expressions(self) -> None:
        """A bad regular expression is named with the reason; one that would run for ever elsewhere is quick."""
        for pattern, words in (("(", "missing )"), ("*", "no argument"), ("%5C1", "invalid escape"), ("(%3F=x)", "")):
            for path in ("/tabs", "/projection", "/names", "/types"):
                answer = self.server.ask(f"{path}?re=1&name={pattern}")
                self.assertAnswered(answer, 400, "'name' is not a regular expression that RE2 takes", words)
        self.assertAnswered(self.server.ask(f"/clients?re=1&client={'a' * 1025}"), 400, "longer than 1024 characters")
        since = time.monotonic()
        self.assertAnswered(self.server.ask("/tabs?re=1&name=" + "(a*)*" * 100 + "b"), 200)
        self.assertAnswered(self.server.ask("/tabs?re=1&name=((a{100}){100}){100}"), 400)
        self.assertLess(time.monotonic() - since, QUICKLY)

    def test_parameters(self) -> None:
        """Unknown parameters and bodies that are no JSON objects are named, as text or as JSON."""
        self.assertAnswered(self.server.ask("/tabs?nam=x&foo"), 400, "Invalid parameters: foo, nam.")
        self.assertAnswered(self.server.ask("/names?raw=1"), 400, "Invalid parameters: raw.")
        answer = self.server.ask("/tabs?foo", Accept="application/json")
        self.assertEqual(json.loads(answer.text)["error"].partition(".")[0], "Invalid parameters: foo")
        for content in (b"{", b"[]", b'{"name": {}}', b"[" * 100_000, b'{"name": ["a", 1]}', b"\xff"):
            self.assertAnswered(self.server.ask("/tabs", content), 400)
        self.assertAnswered(self.server.ask("/tabs", bytes(MIB + 1)), 413)

    def test_unknown_names(self) -> None:
        """What does not exist selects nothing, whatever its name looks like."""
        for name in ("nothing", "%00", "%FF%FE", "..%2F..%2Fetc%2Fpasswd", "'%3B DROP TABLE tabs", "%3Cscript%3E"):
            self.assertAnswered(self.server.ask(f"/tabs?name={name}".replace(" ", "%20")), 200)
            self.assertEqual(self.server.json(f"/tabs?client={name}".replace(" ", "%20")), {})

    def test_frames(self) -> None:
        """What is no frame of protocol 2 is refused, and so is one that inflates too far."""
        for content in (b"", b"\xff" * 100, b"\0\0\0\0", b"\2\0\0\0{}", json.dumps({}).encode()):
            self.assertAnswered(self.server.ask("/v2/append", content), 400)
        self.assertAnswered(self.server.ask("/v2/append", b"x", Content_Encoding="gzip"), 400)
        self.assertAnswered(self.server.ask("/v2/append", b"x", Content_Encoding="br"), 415)

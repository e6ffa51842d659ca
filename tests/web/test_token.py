"""Who passes a TokenGuard."""

from __future__ import annotations

import hmac
import inspect

from twisted.trial.unittest import SynchronousTestCase

from taba.web.token import TokenGuard

OLD, NEW = "an-old-token-0123456789", "a-new-token-0123456789"


class GuardTests(SynchronousTestCase):
    """Two tokens are valid."""

    def setUp(self) -> None:
        self.tokens: tuple[str, ...] = (NEW, OLD)
        self.guard = TokenGuard(lambda: self.tokens)

    def passes(self, *authorization: str, path: bytes = b"/tabs") -> bool:
        """Whether a request with these headers passes."""
        return self.guard.problem(path, [each.encode("latin-1") for each in authorization]) is None

    def test_both_tokens(self) -> None:
        """Each of the valid tokens passes, however the scheme is written."""
        for header in (f"Bearer {NEW}", f"Bearer {OLD}", f"bearer {OLD}", f"  BEARER   {NEW}  "):
            self.assertTrue(self.passes(header), header)

    def test_all_others(self) -> None:
        """Nothing else does: no header, another scheme, a part of a token, more than a token, two headers."""
        self.assertFalse(self.passes())
        for header in (
            "", "Bearer", "Bearer ", NEW, f"Basic {NEW}", f"Bearer {NEW[:-1]}", f"Bearer {NEW}x", f"Bearer {NEW} {OLD}",
            f"Bearer {NEW.upper()}", f"Bearer {NEW},{OLD}", f"Bearer{NEW}", "Bearer ümläut-ümläut-ümläut",
        ):  # fmt: skip
            self.assertFalse(self.passes(header), header)
        self.assertFalse(self.passes(f"Bearer {NEW}", f"Bearer {NEW}"))

    def test_open_paths(self) -> None:
        """Health checks need no token; only these very paths are open."""
        self.assertTrue(self.passes(path=b"/healthz"))
        self.assertTrue(self.passes("Bearer wrong", path=b"/readyz"))
        for path in (b"/", b"", b"/healthz/", b"//healthz", b"/healthz/../tabs", b"/%68ealthz", b"/Healthz"):
            self.assertFalse(self.passes(path=path), path)

    def test_tokens_are_asked_for_each_time(self) -> None:
        """A token that is taken away passes no more, and a new one does."""
        self.tokens = (NEW,)
        self.assertEqual((self.passes(f"Bearer {OLD}"), self.passes(f"Bearer {NEW}")), (False, True))

    def test_reasons(self) -> None:
        """Who has no token is told how to give one; no reason holds a token."""
        missing = self.guard.problem(b"/tabs", []) or ""
        wrong = self.guard.problem(b"/tabs", [b"Bearer the-wrong-one-0123456789"]) or ""
        for words in ("Authorization: Bearer", "--token-file", "TABA_TOKEN_FILE"):
            self.assertIn(words, missing)
        for token in (NEW, OLD, "the-wrong-one"):
            self.assertNotIn(token, missing + wrong)

    def test_constant_time(self) -> None:
        """Every token is compared as a whole, by a function that takes as long for a near miss as for a far one, and
        the second one also when the first was right.
        """
        asked: list[tuple[bytes, bytes]] = []

        def same(given: bytes, token: bytes) -> bool:
            asked.append((given, token))
            return given == token

        guard = TokenGuard(lambda: self.tokens, same=same)
        self.assertIsNone(guard.problem(b"/tabs", [b"Bearer " + NEW.encode()]))
        self.assertEqual(asked, [(NEW.encode(), NEW.encode()), (NEW.encode(), OLD.encode())])
        self.assertIs(inspect.signature(TokenGuard).parameters["same"].default, hmac.compare_digest)

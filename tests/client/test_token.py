"""Token files: what they may hold, who may read them, and how tokens are exchanged while everything runs."""

from __future__ import annotations

import os
import tempfile
from itertools import pairwise
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from taba.client.token import (
    LEAST_LENGTH,
    MOST_LENGTH,
    RECHECK_SECONDS,
    TokenError,
    TokenFile,
    check_token,
    parse_tokens,
    read_tokens,
    source_of_token,
)

OLD = "an-old-token-0123456789"
NEW = "a-new-token-0123456789"
THIRD = "a-third-token-0123456789"


def tokens() -> st.SearchStrategy[str]:
    """All that may be a token in a file."""
    characters = st.characters(min_codepoint=0x21, max_codepoint=0x7E)
    return st.text(characters, min_size=LEAST_LENGTH, max_size=MOST_LENGTH).filter(lambda text: text[0] != "#")


class ParseTests(SynchronousTestCase):
    """What a file's text may be."""

    def test_two_tokens(self) -> None:
        """The first is sent; comments, empty lines, and blanks around do not count."""
        self.assertEqual(parse_tokens(f"# new one\n\n  {NEW}\t\r\n#\n{OLD}"), (NEW, OLD))

    @given(st.lists(tokens(), min_size=1, max_size=2))
    def test_all_tokens(self, given: list[str]) -> None:
        """Whatever may be a token is read as it was written."""
        self.assertEqual(parse_tokens("\n".join(given)), tuple(given))

    def test_mistakes(self) -> None:
        """What is wrong is said with the line, and without a word of the token."""
        for text, words in (
            ("", "there is no token"),
            ("# nothing\n\n", "there is no token"),
            (f"{NEW}\n{OLD}\n{THIRD}", "3 tokens in it; at most 2"),
            (f"#\n{'x' * 15}", "line 2: the token has 15 characters; 16 to 512"),
            ("x" * 513, "line 1: the token has 513 characters"),
            ("secret secret secret", "line 1: the token may have printable ASCII"),
            ("sécret-sécret-sécret", "line 1: the token may have printable ASCII"),
            ("secret\0secret-secret", "line 1: the token may have printable ASCII"),
        ):
            problem = self.assertRaises(TokenError, parse_tokens, text)
            self.assertIn(words, str(problem))
            self.assertNotIn("cret", str(problem))
            self.assertNotIn("xxx", str(problem))


class FileCase(SynchronousTestCase):
    """A token file."""

    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.path = Path(folder.name) / "a token"
        self.write(OLD)
        self.now = 1000.0
        self.said: list[str] = []

    def write(self, *lines: str) -> None:
        """Put another file in the place of the one there is."""
        new = self.path.with_suffix(".new")
        new.write_text("".join(f"{line}\n" for line in lines))
        new.chmod(0o600)
        new.rename(self.path)

    def file(self) -> TokenFile:
        """The file on the test's clock."""
        return TokenFile(str(self.path), lambda: self.now, note=self.said.append, warn=self.said.append)


class ReadTests(FileCase):
    """What may be a token file."""

    def problem(self, path: Path | None = None) -> str:
        """What is wrong with the file."""
        error = self.assertRaises(TokenError, read_tokens, str(path or self.path))
        self.assertEqual(error.path, str(path or self.path))
        return str(error)

    def test_owner_only(self) -> None:
        """A file that others have any rights to is refused, with the command that helps."""
        for mode in (0o640, 0o604, 0o620, 0o602, 0o611, 0o644, 0o777):
            self.path.chmod(mode)
            self.assertIn(f"Run: chmod 600 '{self.path}'", self.problem())
        for mode in (0o600, 0o400, 0o700):
            self.path.chmod(mode)
            self.assertEqual(read_tokens(str(self.path)), (OLD,))

    def test_no_file(self) -> None:
        """A file that is not there, a folder, and a pipe, which would wait for ever, are none."""
        missing = self.path.parent / "missing"
        self.assertIn("cannot be read: No such file", self.problem(missing))
        self.assertIn("is no regular file", self.problem(self.path.parent))
        pipe = self.path.parent / "pipe"
        os.mkfifo(pipe, 0o600)
        self.assertIn("is no regular file", self.problem(pipe))

    def test_content(self) -> None:
        """What is wrong inside is said with the file's name."""
        self.write("short")
        self.assertIn(f"{self.path} cannot be used: line 1: the token has 5 characters", self.problem())
        self.write(*["# a comment" * 10] * 1000)
        self.assertIn("more than 65536 bytes", self.problem())
        self.path.write_bytes(b"\xff\xfe" * 20)
        self.assertIn("printable ASCII", self.problem())


class RotationTests(FileCase):
    """Tokens are exchanged while processes run."""

    def test_new_tokens_take_effect(self) -> None:
        """A file that changed is read again when RECHECK_SECONDS have gone by, and that is said."""
        file = self.file()
        self.write(NEW, OLD)
        self.now += RECHECK_SECONDS - 1
        self.assertEqual(file.tokens(), (OLD,))
        self.now += 1
        self.assertEqual((file.tokens(), file.first()), ((NEW, OLD), NEW))
        self.assertEqual(self.said, [f"The token file {self.path} has changed and was read again; it holds 2 now."])
        self.now += RECHECK_SECONDS
        self.assertEqual((file.tokens(), len(self.said)), ((NEW, OLD), 1))

    def test_three_steps(self) -> None:
        """With the three steps of the guide, at any moment of each, every host takes what every host sends."""
        steps = ((OLD,), (OLD, NEW), (NEW, OLD), (NEW,))
        for before, after in pairwise(steps):
            for sender in (before, after):
                for receiver in (before, after):
                    self.assertIn(sender[0], receiver)

    def test_bad_file_changes_nothing(self) -> None:
        """While the file is away or wrong, the tokens it held stay valid, which is said once; the end of it is seen."""
        file = self.file()
        for spoil in (self.path.unlink, lambda: self.write("short"), lambda: self.path.chmod(0o644)):
            spoil()
            for _ in range(3):
                self.now += RECHECK_SECONDS
                self.assertEqual(file.tokens(), (OLD,))
            self.assertEqual(len(self.said), 1)
            self.assertIn("What it held before stays valid", self.said.pop())
            self.write(OLD)
        self.write(NEW)
        self.now += RECHECK_SECONDS
        self.assertEqual(file.tokens(), (NEW,))

    def test_bad_at_the_start(self) -> None:
        """A file that cannot be used at the start is an error."""
        self.path.chmod(0o644)
        self.assertRaises(TokenError, self.file)

    def test_never_shown(self) -> None:
        """Neither what is said nor how the objects print holds a token."""
        file = self.file()
        self.write(NEW)
        self.now += RECHECK_SECONDS
        file.tokens()
        for token in (OLD, NEW):
            self.assertNotIn(token, repr(file) + "".join(self.said))


class SourceTests(FileCase):
    """Where the token to send comes from."""

    def source(self, token: str | None, token_file: str | None, **environ: str) -> str | None:
        """The token to send."""
        say = self.said.append
        return source_of_token(token, token_file, environ, lambda: self.now, note=say, warn=say)()

    def test_order(self) -> None:
        """A token itself, a file, the environment: what is nearer wins; an empty file name means none."""
        path = str(self.path)
        self.assertEqual(self.source(NEW, None, TABA_TOKEN_FILE=path), NEW)
        self.assertEqual(self.source(None, path, TABA_TOKEN_FILE="/nowhere"), OLD)
        self.assertEqual(self.source(None, None, TABA_TOKEN_FILE=path), OLD)
        self.assertIsNone(self.source(None, "", TABA_TOKEN_FILE=path))
        self.assertIsNone(self.source(None, None))
        self.assertIsNone(self.source(None, None, TABA_TOKEN_FILE=""))

    def test_mistakes(self) -> None:
        """Both a token and a file, a bad token, and a bad file are errors, which ValueError catches."""
        self.assertRaises(ValueError, self.source, NEW, str(self.path))
        self.assertRaises(ValueError, self.source, "short", None)
        self.assertRaises(ValueError, self.source, None, None, TABA_TOKEN_FILE="/nowhere")
        self.assertRaises(TokenError, check_token, "with blanks in the middle")

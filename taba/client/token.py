"""The token that clients, agents and servers share: what a token file may hold, and reading it again when it changes.

It stands here because the client imports nothing else of Taba, while agents, servers and `taba-cli` may import this.

A file holds one or two tokens, one in a line; empty lines and lines that begin with `#` do not count. The first token
is sent, both are accepted: so tokens are exchanged without a moment in which somebody is turned away. Nobody but the
owner may have rights to the file. No text that this module makes holds a token.
"""

from __future__ import annotations

import os
import shlex
import stat
from collections.abc import Callable, Mapping

LEAST_LENGTH = 16  # characters of a token
MOST_LENGTH = 512
MOST_TOKENS = 2
MOST_BYTES = 65_536  # of a file
RECHECK_SECONDS = 60.0  # between two looks at a file


class TokenError(ValueError):
    """A token, or the file that should hold one, cannot be used; the text says why and what to do."""

    def __init__(self, problem: str, path: str | None = None) -> None:
        super().__init__(problem)
        self.path = path


def check_token(token: str, where: str = "the token") -> None:
    """TokenError unless `token` is LEAST_LENGTH to MOST_LENGTH printable ASCII characters without blanks."""
    if not LEAST_LENGTH <= len(token) <= MOST_LENGTH:
        raise TokenError(f"{where} has {len(token)} characters; {LEAST_LENGTH} to {MOST_LENGTH} are allowed")
    if not all("!" <= character <= "~" for character in token):
        raise TokenError(f"{where} may have printable ASCII characters without blanks only")


def parse_tokens(text: str) -> tuple[str, ...]:
    """The tokens of a file's text, the one to send first. Raises TokenError, which names the line."""
    tokens = []
    for number, line in enumerate(text.split("\n"), 1):
        token = line.strip()
        if token and not token.startswith("#"):
            check_token(token, f"line {number}: the token")
            tokens.append(token)
    if not tokens:
        raise TokenError("there is no token in it")
    if len(tokens) > MOST_TOKENS:
        raise TokenError(f"there are {len(tokens)} tokens in it; at most {MOST_TOKENS} are valid at a time")
    return tuple(tokens)


def read_tokens(path: str) -> tuple[str, ...]:
    """The tokens of a file. TokenError when it cannot be read, when others than its owner have rights to it, or when
    it holds anything else.
    """
    try:
        # Not blocking: a pipe of that name would wait for its writer for ever.
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
    except OSError as problem:
        raise TokenError(f"The token file {path} cannot be read: {problem.strerror}.", path) from None
    try:
        facts = os.fstat(descriptor)
        if not stat.S_ISREG(facts.st_mode):
            raise TokenError(f"The token file {path} is no regular file.", path)
        if os.name == "posix" and facts.st_mode & 0o077:
            raise TokenError(
                f"Others than its owner have rights to the token file {path}. Run: chmod 600 {shlex.quote(path)}", path
            )
        content = os.read(descriptor, MOST_BYTES + 1)
    except OSError as problem:
        raise TokenError(f"The token file {path} cannot be read: {problem.strerror}.", path) from None
    finally:
        os.close(descriptor)
    if len(content) > MOST_BYTES:
        raise TokenError(f"The token file {path} has more than {MOST_BYTES} bytes.", path)
    try:
        return parse_tokens(content.decode("utf-8", "replace"))
    except TokenError as problem:
        raise TokenError(f"The token file {path} cannot be used: {problem}.", path) from None


class TokenFile:
    """A token file that is looked at again when its tokens are asked for, once in RECHECK_SECONDS at most.

    While it cannot be used, what it held before stays valid. For one thread at a time.
    """

    def __init__(
        self,
        path: str,
        now: Callable[[], float],
        *,
        note: Callable[[str], object] = lambda _: None,
        warn: Callable[[str], object] = lambda _: None,
    ) -> None:
        """`now` gives seconds of a clock that does not go back. `note` is told a sentence when the tokens change,
        `warn` when they cannot be read any more. Raises TokenError when the file cannot be used now.
        """
        self.path = path
        self._now = now
        self._note = note
        self._warn = warn
        self._tokens = read_tokens(path)
        self._looked = now()
        self._problem = ""

    def tokens(self) -> tuple[str, ...]:
        """The tokens that are valid now, the one to send first."""
        now = self._now()
        if now - self._looked >= RECHECK_SECONDS:
            self._looked = now
            self._look()
        return self._tokens

    def first(self) -> str:
        """The token to send."""
        return self.tokens()[0]

    def _look(self) -> None:
        try:
            tokens = read_tokens(self.path)
        except TokenError as error:
            if str(error) != self._problem:
                self._problem = str(error)
                self._warn(f"{error} What it held before stays valid until it can be used.")
            return
        self._problem = ""
        if tokens != self._tokens:
            self._tokens = tokens
            self._note(f"The token file {self.path} has changed and was read again; it holds {len(tokens)} now.")


def source_of_token(
    token: str | None,
    token_file: str | None,
    environ: Mapping[str, str],
    now: Callable[[], float],
    *,
    note: Callable[[str], object],
    warn: Callable[[str], object],
) -> Callable[[], str | None]:
    """What gives the token to send, or None where there is none: `token` itself, else the file `token_file`, else the
    one that TABA_TOKEN_FILE names. An empty `token_file` means none, whatever the environment says.

    The rest is for a `TokenFile`. Raises TokenError when the token cannot be used, and when both are given.
    """
    if token is not None:
        if token_file:
            raise TokenError("give either a token or a token file, not both")
        check_token(token)
        return lambda: token
    path = environ.get("TABA_TOKEN_FILE") if token_file is None else token_file
    return TokenFile(path, now, note=note, warn=warn).first if path else lambda: None

"""What TOKEN_FILE comes to in an agent or a server: the guard of its ports, and the token that it sends itself."""

from __future__ import annotations

from collections.abc import Callable

from attrs import define

from taba.client.token import TokenError, TokenFile
from taba.errors import SettingsError
from taba.web.token import TokenGuard


@define(eq=False)
class SharedToken:
    """The shared token of a process; without a file there is none, and everybody may come."""

    _file: TokenFile | None

    def guard(self) -> TokenGuard | None:
        """What ports ask whether a request may pass; None when all may."""
        return None if self._file is None else TokenGuard(self._file.tokens)

    def to_send(self) -> str | None:
        """The token that requests of this process show, if any."""
        return None if self._file is None else self._file.first()


def shared_token(
    path: str | None, now: Callable[[], float], say: Callable[[str], object] = lambda _: None
) -> SharedToken:
    """The token in a file, which is read at once, and again when `now`, a clock that does not go back, has gone on.

    `say` is told when the tokens change, or cannot be read any more. SettingsError when the file cannot be used.
    """
    if path is None:
        return SharedToken(None)
    try:
        return SharedToken(TokenFile(path, now, note=say, warn=say))
    except TokenError as problem:
        raise SettingsError(str(problem))

"""Who may ask an HTTP port: those who show the shared token, as `Authorization: Bearer TOKEN`.

Where tokens come from is not known here (`taba.client.token` reads the file); they are asked for at every request, so
that they may change while the process runs. No text that this module makes holds a token.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable, Sequence

OPEN_PATHS = frozenset((b"/healthz", b"/readyz"))
"""What anybody may ask: load balancers and supervisors have no token, and learn nothing but `ok` or why not."""

CHALLENGE = "Bearer"
"""What `WWW-Authenticate` says with a 401."""


class TokenGuard:
    """Lets requests pass that show one of the tokens that `tokens` gives."""

    def __init__(
        self, tokens: Callable[[], Sequence[str]], *, same: Callable[[bytes, bytes], bool] = hmac.compare_digest
    ) -> None:
        """`same` compares in a time that does not depend on where the difference is."""
        self._tokens = tokens
        self._same = same

    def problem(self, path: bytes, authorization: Sequence[bytes]) -> str | None:
        """Why a request is answered with 401; None when it may pass.

        `path` is the path as it was sent, without the query; `authorization` holds the values of all headers of that
        name.
        """
        if path in OPEN_PATHS:
            return None
        if not authorization:
            return (
                "This port wants the shared token, and the request has none: send the header Authorization: Bearer "
                "TOKEN, or name the file that holds it (taba-cli --token-file, or TABA_TOKEN_FILE in the environment)."
            )
        scheme, _, given = authorization[0].strip().partition(b" ")
        if len(authorization) > 1 or scheme.lower() != b"bearer" or not self._is_valid(given.strip()):
            return "The token that the request shows is not the one that this port wants."
        return None

    def _is_valid(self, given: bytes) -> bool:
        """Compared with every token, also when one before was the right one, so that nobody learns by taking the time.
        """
        verdicts = [self._same(given, token.encode("ascii")) for token in self._tokens()]
        return any(verdicts)

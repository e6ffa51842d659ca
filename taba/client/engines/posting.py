"""Requests over one kept connection, with the standard library; for engines that may block."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import suppress
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from typing import TYPE_CHECKING

from taba import __version__
from taba.client.exchange import TEXT, Answer
from taba.client.names import Endpoint

if TYPE_CHECKING:
    from ssl import SSLContext

MAX_ANSWER_BYTES = 65_536  # more than an agent ever says; the connection is not used again after a longer answer


class PostFailed(Exception):
    """There was no answer; whether the request arrived is not known. The text says what happened, for people."""


def verifying_context(ca_file: str | None) -> SSLContext:
    """What verifies servers by the authorities in a PEM file, or by the platform's. ValueError when the file cannot be
    used.
    """
    import ssl

    try:
        return ssl.create_default_context(cafile=ca_file)
    except OSError as problem:  # an ssl.SSLError, too, is one
        raise ValueError(f"the authorities in {ca_file} cannot be read: {problem.strerror or problem}") from None


class Poster:
    """A connection to one endpoint, opened when needed and kept. For one thread at a time."""

    def __init__(self, endpoint: Endpoint, ca_file: str | None = None) -> None:
        """`ca_file` holds the authorities to trust with https, as PEM. ValueError when it cannot be used."""
        self._endpoint = endpoint
        self._context = verifying_context(ca_file) if endpoint.secure else None
        self._connection: HTTPConnection | None = None

    def post(self, headers: Mapping[str, str], body: bytes, timeout: float, protocol: int = TEXT) -> Answer:
        """Carry out one POST, of protocol 1 or 2. `timeout` is in seconds, for each step of it. Raises PostFailed."""
        target = self._endpoint.target_of(protocol)
        reused = self._connection is not None
        try:
            return self._exchange(target, headers, body, timeout)
        except (ConnectionError, HTTPException) as error:
            self.close()
            if not reused:
                raise PostFailed(say(error)) from None
        except OSError as error:
            self.close()
            raise PostFailed(say(error)) from None
        # The endpoint closed a connection that was idle: nothing to wait for. A numbered batch may be repeated.
        try:
            return self._exchange(target, headers, body, timeout)
        except (OSError, HTTPException) as error:
            self.close()
            raise PostFailed(say(error)) from None

    def close(self) -> None:
        """Close the connection; the next request opens another."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def forget(self) -> None:
        """Give up a connection that a forked child shares with its parent, without a word on it.

        Only the descriptor is closed. The objects around it may be locked by a thread that does not exist here.
        """
        connection, self._connection = self._connection, None
        if connection is not None and connection.sock is not None:
            descriptor = connection.sock.detach()
            if descriptor >= 0:
                os.close(descriptor)

    def _exchange(self, target: str, headers: Mapping[str, str], body: bytes, timeout: float) -> Answer:
        connection = self._connected(timeout)
        with suppress(BrokenPipeError, ConnectionResetError):  # who refuses a body may answer before it is whole
            connection.request("POST", target, body, {**HEADERS, **headers})
        response = connection.getresponse()
        text = response.read(MAX_ANSWER_BYTES)
        if response.will_close or not response.isclosed():
            self.close()
        fields = {name.lower(): value for name, value in response.getheaders()}
        return Answer(response.status, fields, text.decode("utf-8", "replace"))

    def _connected(self, timeout: float) -> HTTPConnection:
        connection = self._connection
        if connection is None:
            host, port = self._endpoint.host, self._endpoint.port
            if self._context is None:
                connection = HTTPConnection(host, port, timeout=timeout)
            else:
                connection = HTTPSConnection(host, port, timeout=timeout, context=self._context)
            self._connection = connection
            connection.connect()
        elif connection.sock is not None:
            connection.sock.settimeout(timeout)
        return connection


HEADERS = {"Content-Type": "text/plain; charset=utf-8", "User-Agent": f"taba-client/{__version__}"}
"""Of every request, beside those of the batch."""


def say(error: Exception) -> str:
    """An error in one line."""
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__

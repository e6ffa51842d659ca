"""Requests over one kept connection, with asyncio's streams: HTTP/1.1 as far as a client of agents needs it."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Mapping
from contextlib import suppress

from taba.client.engines.posting import HEADERS, MAX_ANSWER_BYTES, PostFailed, say, verifying_context
from taba.client.exchange import TEXT, Answer
from taba.client.names import Endpoint

MAX_HEADERS = 100  # lines of an answer
LIMIT = 65_536  # bytes of a line of an answer


class _NotAnAnswer(Exception):
    """What came is not HTTP, or not whole."""


class _Closed(_NotAnAnswer):
    """The connection was closed before the first byte of an answer."""


class StreamPoster:
    """A connection to one endpoint, opened when needed and kept. For one coroutine at a time."""

    def __init__(self, endpoint: Endpoint, ca_file: str | None) -> None:
        """`ca_file` holds the authorities to trust with https, as PEM. ValueError when it cannot be used."""
        self._endpoint = endpoint
        self._context = verifying_context(ca_file) if endpoint.secure else None
        self._socket: socket.socket | None = None
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
        self._inherited: list[object] = []
        host = f"[{endpoint.host}]" if ":" in endpoint.host else endpoint.host
        if endpoint.port != (443 if endpoint.secure else 80):
            host = f"{host}:{endpoint.port}"
        self._head = f"Host: {host}\r\nAccept-Encoding: identity\r\n"

    async def post(self, headers: Mapping[str, str], body: bytes, timeout: float, protocol: int = TEXT) -> Answer:
        """Carry out one POST, of protocol 1 or 2, within `timeout` seconds. Raises PostFailed."""
        fields = {**HEADERS, **headers, "Content-Length": str(len(body))}
        line = f"POST {self._endpoint.target_of(protocol)} HTTP/1.1\r\n"
        head = line + self._head + "".join(f"{name}: {value}\r\n" for name, value in fields.items()) + "\r\n"
        request = head.encode("latin-1") + body
        answer = None
        try:
            async with asyncio.timeout(timeout):
                if self._streams is not None:
                    # The endpoint may have closed a connection that was idle. A numbered batch may be repeated.
                    with suppress(_Closed, ConnectionError):
                        answer = await self._exchange(request)
                if answer is None:
                    self.close()
                    answer = await self._exchange(request)
        except TimeoutError:
            raise PostFailed("no answer in time") from None
        except (OSError, EOFError, ValueError, _NotAnAnswer) as error:
            raise PostFailed(say(error)) from None
        finally:
            if answer is None:
                self.close()
        return answer

    def close(self) -> None:
        """Close the connection, at once; the next request opens another."""
        streams, self._streams, self._socket = self._streams, None, None
        if streams is not None:
            with suppress(RuntimeError):  # the loop is closed, and its connections are
                streams[1].transport.abort()

    def forget(self) -> None:
        """Give up a connection that a forked child shares with its parent, without a word on it or to the selector.

        Only the descriptor is closed. The streams are kept: collected, they would take it out of the shared selector.
        """
        self._inherited.append(self._streams)
        connection, self._socket, self._streams = self._socket, None, None
        if connection is not None:
            descriptor = connection.detach()
            if descriptor >= 0:
                os.close(descriptor)

    async def _exchange(self, request: bytes) -> Answer:
        reader, writer = self._streams or await self._open()
        writer.write(request)  # and listen at once: who refuses a body may answer before it is whole
        status, fields = await _read_head(reader)
        text, whole = await _read_body(reader, fields)
        if not whole or writer.is_closing() or not _keeps_open(fields):
            self.close()
        return Answer(status, fields, text.decode("utf-8", "replace"))

    async def _open(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        self._socket = connection = await _connect(self._endpoint)
        try:
            secure = {} if self._context is None else {"ssl": self._context, "server_hostname": self._endpoint.host}
            self._streams = await asyncio.open_connection(sock=connection, limit=LIMIT, **secure)  # type: ignore[arg-type]
        except BaseException:
            self._socket = None
            connection.close()
            raise
        return self._streams


async def _connect(endpoint: Endpoint) -> socket.socket:
    """A connected socket, to the first address of the endpoint that takes it. (The loop's own function keeps its socket
    to itself, and so does not allow `forget`.)
    """
    loop = asyncio.get_running_loop()
    problem: OSError | None = None
    for family, kind, protocol, _, address in await loop.getaddrinfo(
        endpoint.host, endpoint.port, type=socket.SOCK_STREAM
    ):
        connection = None
        try:
            connection = socket.socket(family, kind, protocol)
            connection.setblocking(False)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            await loop.sock_connect(connection, address)
        except BaseException as error:
            if connection is not None:
                connection.close()
            if not isinstance(error, OSError):
                raise
            problem = error
        else:
            return connection
    raise problem or OSError(f"{endpoint.host} has no address")


async def _read_head(reader: asyncio.StreamReader) -> tuple[int, dict[str, str]]:
    """Status and headers of the final answer; those before it (1xx) are passed over. Names are in lower case; what
    stands in `:version` is no header.
    """
    while True:
        line = await reader.readline()
        if not line:
            raise _Closed("the connection was closed")
        version, _, rest = line.decode("latin-1").strip().partition(" ")
        if not version.startswith("HTTP/1.") or not rest[:3].isdecimal():
            raise _NotAnAnswer(f"the answer is not HTTP: {line[:80]!r}")
        fields = {":version": version}
        for _ in range(MAX_HEADERS + 1):
            line = await reader.readline()
            if not line.endswith(b"\n"):
                raise _NotAnAnswer("the answer was cut off")
            if not line.strip():
                break
            name, _, value = line.decode("latin-1").partition(":")
            fields[name.strip().lower()] = value.strip()
        else:
            raise _NotAnAnswer("the answer has too many headers")
        if int(rest[:3]) >= 200:
            return int(rest[:3]), fields


def _keeps_open(fields: Mapping[str, str]) -> bool:
    wishes = {each.strip() for each in fields.get("connection", "").lower().split(",")}
    return "close" not in wishes and (fields[":version"] != "HTTP/1.0" or "keep-alive" in wishes)


async def _read_body(reader: asyncio.StreamReader, fields: Mapping[str, str]) -> tuple[bytes, bool]:
    """The body, or the beginning of a long one, and whether the answer ends there."""
    if fields.get("transfer-encoding", "identity").lower() != "identity":
        return await _read_chunks(reader)
    length = fields.get("content-length")
    if length is None:  # up to the end of the connection
        return await _read_some(reader, MAX_ANSWER_BYTES), False
    if not length.isdecimal():
        raise _NotAnAnswer(f"the answer's Content-Length is {length[:40]!r}")
    wanted = int(length[:20])
    return await reader.readexactly(min(wanted, MAX_ANSWER_BYTES)), wanted <= MAX_ANSWER_BYTES


async def _read_some(reader: asyncio.StreamReader, most: int) -> bytes:
    body = bytearray()
    while len(body) < most and (piece := await reader.read(most - len(body))):
        body += piece
    return bytes(body)


async def _read_chunks(reader: asyncio.StreamReader) -> tuple[bytes, bool]:
    """A chunked body; agents send none, but a proxy before one may."""
    body = bytearray()
    while True:
        size = int((await reader.readline()).partition(b";")[0], 16)
        if size < 0 or len(body) + size > MAX_ANSWER_BYTES:
            return bytes(body), False
        if size == 0:
            break
        body += await reader.readexactly(size)
        if await reader.readline() != b"\r\n":
            raise _NotAnAnswer("a chunk of the answer has no end")
    for _ in range(MAX_HEADERS):
        if not (await reader.readline()).strip():
            return bytes(body), True
    return bytes(body), False

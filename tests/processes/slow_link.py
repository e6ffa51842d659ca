"""A TCP proxy that can be made slow: a process of its own, on a port of this host in front of another.

REAL: sockets and real time.
"""

from __future__ import annotations

import asyncio
import contextlib
import mmap
import multiprocessing
import struct
import time

from tests.processes.surroundings import free_port

CHUNK = 64 << 10
_DELAY, _RATE, _PASSED = range(3)


class SlowLink:
    """The proxy, started. All connections, and both directions, share one rate. `close` ends it."""

    def __init__(self, target: int) -> None:
        self.port = free_port()
        self._told = mmap.mmap(-1, 24)
        context = multiprocessing.get_context("fork")
        ready = context.Event()
        self._process = context.Process(target=self._run, args=(target, ready), daemon=True)
        self._process.start()
        if not ready.wait(20.0):
            raise RuntimeError("the proxy does not start")

    def _put(self, which: int, value: float) -> None:
        self._told[which * 8 : which * 8 + 8] = struct.pack("d", value)

    def _get(self, which: int) -> float:
        value: float = struct.unpack("d", self._told[which * 8 : which * 8 + 8])[0]
        return value

    def slow(self, delay: float, bytes_per_second: float) -> None:
        """Everything comes so much later from now on, and so many bytes a second pass; 0 bytes: any number."""
        self._put(_RATE, bytes_per_second)
        self._put(_DELAY, delay)

    def mend(self) -> None:
        """As fast as it goes."""
        self.slow(0.0, 0.0)

    def passed(self) -> float:
        """Bytes that went through so far."""
        return self._get(_PASSED)

    def close(self) -> None:
        """End it."""
        self._process.kill()
        self._process.join()

    def _run(self, target: int, ready: object) -> None:
        asyncio.run(self._serve(target, ready))

    async def _serve(self, target: int, ready: object) -> None:
        self._free_at = 0.0

        async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            try:
                there, back = await asyncio.open_connection("127.0.0.1", target, limit=CHUNK)
            except OSError:
                writer.close()
                return
            await asyncio.gather(self._pump(reader, back), self._pump(there, writer))

        server = await asyncio.start_server(connected, "127.0.0.1", self.port, limit=CHUNK)
        ready.set()  # type: ignore[attr-defined]
        await server.serve_forever()

    async def _pump(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await source.read(CHUNK):
                await self._wait(len(data))
                sink.write(data)
                await sink.drain()
        sink.close()

    async def _wait(self, size: int) -> None:
        """Until so many bytes may go on."""
        self._put(_PASSED, self._get(_PASSED) + size)
        rate, delay = self._get(_RATE), self._get(_DELAY)
        now = time.monotonic()
        if rate > 0.0:
            self._free_at = max(self._free_at, now) + size / rate
            delay += self._free_at - now
        if delay > 0.0:
            await asyncio.sleep(delay)

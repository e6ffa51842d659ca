"""The harness of the store contract for the Redis store on a real redis-server.

The server's wall clock is shifted by a preloaded library (tests/processes/clock_shim.c), so that days pass at once;
the store's own clock is moved along with it. The store runs in a reactor of its own, which is turned by hand until
nothing is under way: the tests of the contract stay what they are.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from pathlib import Path
from random import Random
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.epollreactor import EPollReactor
from twisted.python.failure import Failure

from taba.process import Process
from taba.store.limits import Limits
from taba.store.redis.access import Address
from taba.store.redis.durability import Level
from taba.store.redis.keys import Keys
from taba.store.redis.shard import Shard
from taba.store.redis.shard_map import ShardRange, shard_map
from taba.store.redis.source import FixedSource
from taba.store.redis.store import RedisStore
from taba.testing.stores import FaultyStore
from tests.contracts.store_harness import ASIDE_BYTES, ASIDE_ROWS, DEDUP_DAYS, PAGE_ROWS, START, VBUCKETS
from tests.processes import shifted_clock
from tests.processes.shifted_clock import ShiftedClock, shifting_library

LIMITS = Limits(aside_rows=ASIDE_ROWS, aside_bytes=ASIDE_BYTES, page_rows=PAGE_ROWS)
SECONDS = 60.0
"""How long anything may take."""


def missing() -> str | None:
    """Why no real server can be run here, as a reason to skip; None when it can."""
    if shutil.which("redis-server") is None:
        return "redis-server is not installed"
    return shifted_clock.missing()


class ShiftedReactor(EPollReactor):
    """A reactor whose time can be moved forward."""

    shift = 0.0

    def seconds(self) -> float:
        """Monotonic."""
        return time.monotonic() + self.shift


class FakedServer:
    """A redis-server in a folder, whose clock starts at START and can be moved forward."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True)
        self._folder = folder
        library = shifting_library(folder.parent.parent)
        self._clock = ShiftedClock(folder / "shift", library, START - time.time())
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.start()

    def start(self) -> None:
        """Start, with what dump.rdb has, and wait until it answers."""
        environment = {**os.environ, **self._clock.variables}
        options = ["--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--dir", str(self._folder)]
        self._process = subprocess.Popen(
            ["redis-server", *options], env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        until = time.monotonic() + SECONDS
        while self.command("PING") != b"+PONG\r\n":
            if time.monotonic() > until:
                raise AssertionError("redis-server does not answer")

    def command(self, *words: str) -> bytes:
        """What the server answers to a command, b"" when it cannot be reached; short answers only."""
        try:
            with socket.create_connection(("127.0.0.1", self.port), 1.0) as connection:
                connection.settimeout(SECONDS)
                connection.sendall((" ".join(words) + "\r\n").encode())
                return connection.recv(4096)
        except OSError:
            time.sleep(0.002)
            return b""

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        self._clock.step(self._clock.offset + seconds)

    def snapshot(self) -> bytes:
        """What a backup has."""
        if self.command("SAVE") != b"+OK\r\n":
            raise AssertionError("redis-server does not save")
        return (self._folder / "dump.rdb").read_bytes()

    def restart(self, snapshot: bytes) -> None:
        """Kill it, and start it with what a snapshot has."""
        self.stop()
        (self._folder / "dump.rdb").write_bytes(snapshot)
        self.start()

    def stop(self) -> None:
        """Kill it."""
        self._process.kill()
        self._process.wait()


class RealRedisHarness:
    """A Redis store on a real server. Answers get lost in a `FaultyStore`; everything else happens to the server."""

    def __init__(self, folder: str) -> None:
        self._server = FakedServer(Path(folder).absolute())
        self._reactor = ShiftedReactor()
        self._reactor.startRunning(installSignalHandlers=False)
        self._started = time.monotonic()
        process = Process(
            reactor=self._reactor,
            wall=self.wall,
            random=Random(1),
            open_folder=_none,
            worker=_none,
            host="host",
            say=lambda sentence: None,
        )
        self._shard = Shard("shard1", process, source=FixedSource(Address("127.0.0.1", self._server.port)))
        self.redis = RedisStore(
            process,
            {"shard1": self._shard},
            shard_map(VBUCKETS, [ShardRange("shard1", 0, VBUCKETS - 1)]),
            Keys("test:"),
            level=Level.MEMORY,
            dedup_days=DEDUP_DAYS,
            limits=LIMITS,
        )
        self.store = FaultyStore(self.redis)
        self._wait_for(self.store.startService())

    def _wait_for(self, deferred: Any) -> Any:
        results: list[Any] = []
        deferred.addBoth(results.append)
        until = time.monotonic() + SECONDS
        while not results:
            if time.monotonic() > until:
                raise AssertionError("it takes too long")
            self._reactor.iterate(0.002)
        if isinstance(results[0], Failure):
            results[0].raiseException()
        return results[0]

    def settle(self, sought: Deferred[Any] | None = None) -> None:
        quiet, until = 0, time.monotonic() + SECONDS
        while quiet < 4:
            self._reactor.iterate(0.001)
            roles = ("append", "be", "query") if self._shard.state()["open"] else ()
            links = [self._shard.link(role) for role in roles]
            come = sought is None or sought.called or time.monotonic() > until
            quiet = quiet + 1 if come and all(link.idle for link in links) else 0

    def wall(self) -> float:
        return START + self._reactor.seconds() - self._started

    def advance(self, seconds: float) -> None:
        self._server.advance(seconds)
        self._reactor.shift += seconds
        self.settle()

    def crash(self) -> None:
        self.rollback(self.snapshot())

    def snapshot(self) -> Any:
        return self._server.snapshot()

    def rollback(self, snapshot: Any) -> None:
        before = self.redis.cluster.lineage
        self._server.restart(snapshot)
        until = time.monotonic() + SECONDS
        while self.redis.cluster.lineage == before:
            if time.monotonic() > until:
                raise AssertionError("the store does not come back")
            self._reactor.iterate(0.002)
        self.settle()

    def unavailable(self, down: bool) -> None:
        self.store.unavailable(down)

    def lose_next_answer(self) -> None:
        self.store.fail_after()

    def stop(self) -> None:
        self._wait_for(self.store.stopService())

    def close(self) -> None:
        self.stop()
        self._server.stop()
        left = [call for call in self._reactor.getDelayedCalls() if call.active()]
        self._reactor.stop()
        self._reactor.iterate(0)
        self._reactor.disconnectAll()
        if left:
            raise AssertionError(f"the store left timers behind: {left}")


def _none(name: str) -> Any:
    raise AssertionError(f"the store needs no {name}")

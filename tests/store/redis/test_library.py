"""How the functions get into the servers."""

from __future__ import annotations

from typing import Any

from attrs import evolve
from twisted.trial.unittest import SynchronousTestCase

from taba.errors import StartError, StoreUnavailable
from taba.store.redis.library import VERSION, ensure_library, present_version
from taba.store.redis.link import RedisRefused
from taba.testing.redis.library import taba_library
from tests.store.redis.stage import Stage


class Refusing:
    """A link on which each command is refused with the next of some texts, and goes through after the last one."""

    def __init__(self, link: Any, *texts: str) -> None:
        self._link = link
        self._texts = list(texts)

    async def call(self, *command: Any) -> Any:
        """See `Link.call`."""
        if self._texts:
            text = self._texts.pop(0)
            if text:
                raise RedisRefused(text)
        return await self._link.call(*command)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._link, name)


class LibraryTests(SynchronousTestCase):
    """Loading, and servers that do not let it happen."""

    def setUp(self) -> None:
        self.stage = Stage()
        self.addCleanup(lambda: self.stage.close())
        self.link = self.stage.shard.link("be")

    def ensure(self, *texts: str) -> None:
        link: Any = Refusing(self.link, *texts)
        self.stage.get(ensure_library(self.stage.shard, link))

    def test_present_library_is_left_alone(self) -> None:
        """Nothing is loaded where it is there already."""
        self.stage.shard.words()
        self.ensure()
        self.assertEqual(self.stage.shard.words(), ["taba_version"])

    def test_missing_library_is_loaded(self) -> None:
        """A server without it gets it."""
        self.stage.server.ask("FUNCTION", "FLUSH")
        self.assertEqual(self.stage.get(present_version(self.stage.shard, self.link)), 0)
        self.ensure()
        self.assertEqual(self.stage.server.ask("FCALL", "taba_version", 0), VERSION)

    def install(self, version: int, serves: int = 0) -> None:
        """Let the server have another version, which serves those from another one on."""
        library = taba_library()
        functions = {**library.functions, "taba_version": lambda call, keys, args: version}
        functions["taba_serves"] = lambda call, keys, args: serves or version
        known: Any = self.stage.server.engine.functions.known
        self.stage.server.engine.functions.known = {**known, "taba": evolve(library, functions=functions)}

    def test_older_library_is_replaced(self) -> None:
        """An older one makes room."""
        self.install(0)
        self.stage.shard.words()
        self.ensure()
        self.assertEqual(self.stage.shard.words(), ["taba_version", "FUNCTION"])

    def test_newer_library_stays(self) -> None:
        """A newer one is nobody's to replace."""
        self.install(VERSION + 1)
        with self.assertRaisesRegex(StartError, f"version {VERSION + 1}; this one has {VERSION}"):
            self.ensure()

    def test_newer_library_that_serves_this_version(self) -> None:
        """While servers are renewed one after another, a newer one's library is there that serves both: it is used,
        and left alone.
        """
        self.install(VERSION + 1, serves=VERSION)
        self.stage.shard.words()
        self.ensure()
        self.assertEqual(self.stage.shard.words(), ["taba_version", "taba_serves"])

    def test_old_server(self) -> None:
        """Redis 6 has no functions; it is named, with what to do."""
        with self.assertRaisesRegex(StartError, "redis-1:6379 is older than Redis 7"):
            self.ensure("ERR unknown command 'FCALL', with args beginning with: 'taba_version'")

    def test_not_allowed(self) -> None:
        """Who may not load functions learns how they are loaded by somebody who may."""
        with self.assertRaisesRegex(StartError, "redis-cli -x FUNCTION LOAD REPLACE"):
            self.ensure("ERR Function not found", "NOPERM this user has no permissions to run 'function|load'")

    def test_not_now(self) -> None:
        """Whatever passes by itself is no reason to end: a server that loads, is full, or busy."""
        for texts in (
            ["LOADING Redis is loading the dataset in memory"],
            ["BUSY Redis is busy running a script."],
            ["ERR Function not found", "OOM command not allowed when used memory > 'maxmemory'."],
            ["ERR Function not found", "READONLY You can't write against a read only replica."],
        ):
            with self.assertRaises(StoreUnavailable):
                self.ensure(*texts)
            self.stage.world.result_of(self.stage.shard.when_open())
        self.link = self.stage.shard.link("be")
        self.ensure()

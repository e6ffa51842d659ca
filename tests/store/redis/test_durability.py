"""What an ok of an append promises, and whether the servers can keep it."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from taba.errors import StartError, StoreUnavailable
from taba.store.redis.durability import Durability, Level, choose
from tests.store.redis.stage import Stage


class Disks:
    """A server of 7.2, which knows WAITAOF: the one in memory is older."""

    def __init__(self, *answers: Any, info: bytes = b"# Server\r\nredis_version:7.2.4\r\n", replicas: int = 1) -> None:
        self.name = "newer"
        self.address = "redis:6379"
        self.answers = list(answers)
        self.info = info
        self.replicas = ["a replica"] * replicas
        self.asked: list[tuple[Any, ...]] = []

    def link(self, role: str) -> Any:
        """Itself."""
        return self

    def state(self) -> dict[str, object]:
        """What choose looks at."""
        return {"replicas": self.replicas}

    async def call(self, *command: Any) -> Any:
        """The next answer; INFO has its own."""
        self.asked.append(command)
        if command == ("INFO", "server"):
            return self.info
        return self.answers.pop(0)


KEEPS = b"# Persistence\r\naof_enabled:1\r\n"
KEEPS_NONE = b"# Persistence\r\naof_enabled:0\r\n"


class ConfirmTests(SynchronousTestCase):
    """Waiting until what was written is durable."""

    def setUp(self) -> None:
        self.stage = Stage(replicas=1)
        self.addCleanup(lambda: self.stage.close())
        self.link = self.stage.shard.link("append")

    def confirm(self, durability: Durability) -> None:
        self.stage.get(self.link.call("SET", "key", "value"))
        self.stage.shard.words()
        self.stage.get(durability.confirm(self.stage.shard, self.link))

    def test_memory(self) -> None:
        """Nothing is waited for."""
        self.confirm(Durability(Level.MEMORY))
        self.assertEqual(self.stage.shard.words(), [])

    def test_replicated(self) -> None:
        """As many replicas as the settings say must have it, in time."""
        self.confirm(Durability(Level.REPLICATED, 1, 0.5))
        self.assertEqual(self.stage.shard.sent, [("WAIT", 1, 500)])
        with self.assertRaisesRegex(StoreUnavailable, "1 of 2 replicas had it within 0.5 s"):
            self.confirm(Durability(Level.REPLICATED, 2, 0.5))

    def test_fsynced_without_waitaof(self) -> None:
        """Where servers sync before they answer, replicas are all that is waited for, if there are any."""
        self.confirm(Durability(Level.FSYNCED, 1, 0.5))
        self.assertEqual(self.stage.shard.words(), ["WAIT"])
        self.confirm(Durability(Level.FSYNCED, 0, 0.5))
        self.assertEqual(self.stage.shard.words(), [])

    def test_fsynced_with_waitaof(self) -> None:
        """The master's disk must have it, and those of the replicas."""
        durability = Durability(Level.FSYNCED, 1, 0.0001, waits_for_disk=True)
        server: Any = Disks([1, 1], [0, 1], [1, 0])
        self.stage.get(durability.confirm(server, server))
        self.assertEqual(server.asked, [("WAITAOF", 1, 1, 1)])
        for words in ("the master's disk did not have it", "0 of 1 replicas"):
            with self.assertRaisesRegex(StoreUnavailable, words):
                self.stage.get(durability.confirm(server, server))


class ChooseTests(SynchronousTestCase):
    """What a level takes on the servers that there are."""

    def choose(self, *servers: Any, level: Level = Level.FSYNCED) -> Durability:
        shards: Any = {str(number): each for number, each in enumerate(servers)}
        done: list[Any] = []
        Stage.begin(choose(shards, level, 2, 0.5)).addBoth(done.append)
        if hasattr(done[0], "raiseException"):
            done[0].raiseException()
        chosen: Durability = done[0]
        return chosen

    def test_without_disks(self) -> None:
        """Nothing is asked for the lower levels."""
        server = Disks()
        for level in (Level.MEMORY, Level.REPLICATED):
            self.assertEqual(self.choose(server, level=level), Durability(level, 2, 0.5))
        self.assertEqual(server.asked, [])

    def test_waitaof(self) -> None:
        """All servers have it: it is used, for the replicas, too, where there are any."""
        self.assertEqual(self.choose(Disks(KEEPS), Disks(KEEPS)), Durability(Level.FSYNCED, 2, 0.5, True))
        self.assertEqual(self.choose(Disks(KEEPS, replicas=0)), Durability(Level.FSYNCED, 0, 0.5, True))

    def test_no_append_only_file(self) -> None:
        """A server that keeps nothing on disk cannot promise it, whatever its version; it is named."""
        for info in (b"redis_version:7.2.0", b"redis_version:7.0.15"):
            with self.assertRaisesRegex(StartError, "newer at redis:6379 keeps no append-only file"):
                self.choose(Disks(KEEPS_NONE, info=info))

    def test_older_servers(self) -> None:
        """Without WAITAOF on all of them each must sync before it answers, the newer ones, too."""
        old = b"redis_version:7.0.15"
        always, everysec = [b"appendfsync", b"always"], [b"appendfsync", b"everysec"]
        chosen = self.choose(Disks(KEEPS, always), Disks(KEEPS, always, info=old))
        self.assertEqual(chosen, Durability(Level.FSYNCED, 2, 0.5, False))
        for servers in (
            [Disks(KEEPS, everysec), Disks(KEEPS, always, info=old)],
            [Disks(KEEPS, always, info=old), Disks(KEEPS, everysec)],
            [Disks(KEEPS, [], info=b"strange")],
        ):
            with self.assertRaisesRegex(StartError, "appendfsync always"):
                self.choose(*servers)

    def test_server_in_memory(self) -> None:
        """A server that speaks Redis says what is asked of it."""
        stage = Stage(appendfsync="always")
        self.addCleanup(stage.close)
        chosen = stage.get(choose(stage.shards, Level.FSYNCED, 1, 0.5))
        self.assertEqual(chosen, Durability(Level.FSYNCED, 0, 0.5, False))

"""What each release left behind, and that today's code goes on with it: stores, spools, requests."""

from __future__ import annotations

import base64
import json
import re
from pathlib import Path
from typing import Any

from twisted.internet.protocol import ClientFactory, Protocol

import taba
from taba.testing.cluster import AGENT_PORT, SERVER_PORT, MemoryCluster
from tests.cluster.redis_quiet import QuietCase
from tests.releases.image import FOLDER, answers, embedded, fill_redis, go_on, on_redis, read_disk

LATER = 600.0
"""Seconds after the beginning of a release's run at which that of today begins."""


def folders() -> list[Path]:
    """One for each release."""
    return sorted(each for each in FOLDER.iterdir() if each.is_dir())


class Asking(Protocol):
    """Sends bytes, and keeps what comes back."""

    def __init__(self, raw: bytes) -> None:
        self.raw = raw
        self.answer = b""

    def connectionMade(self) -> None:
        """Send."""
        assert self.transport is not None
        self.transport.write(self.raw)

    def dataReceived(self, data: bytes) -> None:
        """Keep."""
        self.answer += data


class ImageTests(QuietCase):
    """Upgrades of what was killed in the middle of its work."""

    def expected(self, folder: Path, store: str) -> Any:
        """What must be answered."""
        return json.loads((folder / "expected.json").read_text("utf-8"))[store]

    def set_clocks(self, cluster: MemoryCluster) -> None:
        """It is later now."""
        for host in cluster.hosts():
            host.node.step_wall(LATER)

    def ask_raw(self, cluster: MemoryCluster, host: str, port: int, raw: bytes) -> bytes:
        """What a member answers to the bytes of a request."""
        reader = cluster.world.node("reader")
        process = reader.process or reader.start()
        asking = Asking(raw)
        factory = ClientFactory()
        factory.buildProtocol = lambda address: asking  # type: ignore[method-assign]
        process.reactor.connectTCP(host, port, factory)
        cluster.world.run_until(lambda: b"\r\n\r\n" in asking.answer, 30.0, "an answer")
        cluster.world.advance(2.0)
        return asking.answer

    def test_every_release_has_one(self) -> None:
        """Each version that the changelog names has a folder, this one among them."""
        log = Path(__file__).resolve().parents[2] / "CHANGELOG.md"
        named = re.findall(r"^## (\d+\.\d+\.\d+)", log.read_text("utf-8"), re.MULTILINE) if log.exists() else []
        self.assertLessEqual({taba.__version__, *named}, {each.name for each in folders()})

    def test_embedded_store(self) -> None:
        """A server and an agent of today start on the disks of older ones: what the store has is there, what the agent
        still held comes in once, and requests that those clients and agents repeat are known.
        """
        for folder in folders():
            with embedded() as cluster:
                self.set_clocks(cluster)
                cluster.server.node.disk.restore(read_disk(folder / "server"))
                cluster.agents[0].node.disk.restore(read_disk(folder / "agent"))
                self.assertEqual(go_on(cluster, cluster.agents[0]), self.expected(folder, "embedded"))
                requests = json.loads((folder / "requests.json").read_text("utf-8"))
                self.assertLessEqual({"/v2/append", "/v2/events"}, set(requests))
                for path, raw in requests.items():
                    to_server = path == "/v2/append"
                    host, port = ("server-1", SERVER_PORT) if to_server else ("agent-1", AGENT_PORT)
                    answer = self.ask_raw(cluster, host, port, base64.b64decode(raw))
                    self.assertEqual((path, answer.split(b"\r\n")[0]), (path, b"HTTP/1.1 200 OK"))
                cluster.settle()
                self.assertEqual(answers(cluster), self.expected(folder, "embedded"))
                cluster.world.check_quiet()

    def test_redis(self) -> None:
        """Servers and an agent of today go on with what older ones kept in Redis, and with the agent's disk."""
        for folder in folders():
            with on_redis() as cluster:
                self.set_clocks(cluster)
                cluster.start_store()
                for shard, commands in json.loads((folder / "redis.json").read_text("utf-8")).items():
                    fill_redis(cluster.master(shard).redis, commands)
                cluster.agents[0].node.disk.restore(read_disk(folder / "redis-agent"))
                self.assertEqual(go_on(cluster, cluster.agents[0]), self.expected(folder, "redis"))
                cluster.world.check_quiet()

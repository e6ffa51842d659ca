"""A cluster on simulated machines, and a client that talks HTTP to it, for tests."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.client import Agent, HTTPConnectionPool, readBody
from twisted.web.http_headers import Headers
from twisted.web.iweb import IBodyProducer
from zope.interface import implementer

from tests.tako.simulated import PROXY, MemoryTako, deployment, document

LARGE = bytes(range(256)) * 4_000
"""A value of four pieces."""


@implementer(IBodyProducer)
class Bytes:
    """A request's body."""

    def __init__(self, body: bytes) -> None:
        self.body, self.length = body, len(body)

    def startProducing(self, consumer: Any) -> Deferred[None]:
        """Called by the HTTP client."""
        consumer.write(self.body)
        done: Deferred[None] = Deferred()
        done.callback(None)
        return done

    def stopProducing(self) -> None:
        """Called by the HTTP client."""

    def pauseProducing(self) -> None:
        """Called by the HTTP client."""

    def resumeProducing(self) -> None:
        """Called by the HTTP client."""


class ClusterCase(SynchronousTestCase):
    """A cluster of four nodes in two buckets; every key is on all four."""

    configuration: dict[str, Any] | None = None

    def setUp(self) -> None:
        """Start it."""
        self.tako = MemoryTako(1, self.configuration or document(main=deployment(2)))
        self.addCleanup(self.tako.world.close)
        self.tako.start()
        self.client = self.tako.world.node("client").start()

    def ask(
        self, method: bytes, path: str, body: bytes | None = None, host: str = "p1", port: int = PROXY,
        headers: dict[str, str] | None = None,
    ) -> tuple[int, bytes, dict[str, str]]:  # fmt: skip
        """A request over HTTP: status, body, headers."""
        pool = HTTPConnectionPool(self.client.reactor, persistent=False)
        agent = Agent(self.client.reactor, pool=pool)
        sent = Headers({name: [value] for name, value in (headers or {}).items()})

        async def talk() -> tuple[int, bytes, dict[str, str]]:
            answer: Any = await agent.request(
                method, f"http://{host}:{port}{path}".encode(), sent, None if body is None else Bytes(body)
            )
            got = {name.decode().lower(): values[0].decode() for name, values in answer.headers.getAllRawHeaders()}
            return answer.code, await readBody(answer), got

        return self.tako.world.result_of(Deferred.fromCoroutine(talk()), 120.0)

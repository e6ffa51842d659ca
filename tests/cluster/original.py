"""A client of the original's kind: no numbers, so what it repeats may count again; it repeats until it is told 200."""

from __future__ import annotations

import json
from collections.abc import Callable

from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall
from twisted.web.client import Agent as HTTPAgent
from twisted.web.client import readBody
from twisted.web.iweb import IResponse

from taba.agent.http_endpoint import BytesBody
from taba.process import Process as Machine
from tests.cluster.events import EventId

FLUSH_SECONDS = 1.0
TIMEOUT = 10.0


class OriginalClient(Service):
    """Posts protocol 1 every second, without headers. `told` is told of the events of each acknowledged body."""

    def __init__(self, machine: Machine, client_id: str, url: str, told: Callable[[list[EventId]], None]) -> None:
        self._machine = machine
        self._client_id = client_id
        self._url = url
        self._told = told
        self.waiting: list[tuple[float, EventId]] = []
        """Recorded, not in a body yet."""
        self.sending: list[tuple[float, EventId]] = []
        """In the body that is posted until it is taken."""
        self._timer: IDelayedCall | None = None

    def startService(self) -> None:
        """Begin to post."""
        super().startService()
        self._timer = self._machine.reactor.callLater(FLUSH_SECONDS, self._flush)

    def record(self, event: EventId) -> None:
        """Record an event, as of now."""
        self.waiting.append((self._machine.wall(), event))

    def _flush(self) -> None:
        if not self.sending:
            self.sending, self.waiting = self.waiting, []
        if not self.sending:
            self._again()
            return
        reactor = self._machine.reactor
        asking = HTTPAgent(reactor).request(b"POST", self._url.encode(), None, BytesBody(self._body()))
        asking.addCallback(self._answered)
        timer = reactor.callLater(TIMEOUT, asking.cancel)

        def over(_: object) -> None:
            if timer.active():
                timer.cancel()
            self._again()

        asking.addErrback(lambda failure: None)  # it is posted again
        asking.addCallback(over)

    def _answered(self, response: IResponse) -> Deferred[None]:
        def whole(_: bytes) -> None:
            if response.code == 200:
                self._told([event for _, event in self.sending])
                self.sending = []

        done: Deferred[None] = readBody(response).addCallback(whole)
        return done

    def _again(self) -> None:
        self._timer = self._machine.reactor.callLater(FLUSH_SECONDS, self._flush)

    def _body(self) -> bytes:
        lines = ["1", "", self._client_id, ""]
        for time, event in self.sending:
            lines += [event.tab, json.dumps(["CounterGroup", time, str(event.value)]), ""]
        return ("\n".join([*lines, ""]) + "\n").encode()

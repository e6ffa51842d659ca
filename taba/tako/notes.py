"""Hinted hand-off and read repair: sends to other nodes what they were noted to lack, as soon as they can be reached.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from taba.tako.copying import copy
from taba.tako.errors import Refused, TakoError
from taba.tako.interfaces import IRecords
from taba.tako.peers import Peers

PAGE = 100
"""Keys that are sent one after the other before the next are read."""
RETRY_SECONDS = 3.0


@define(eq=False)
class Notes:
    """Works through the notes of a node."""

    records: IRecords
    peers: Peers
    clock: Any
    known: Callable[[str], bool]
    """Whether the configuration has a node."""
    new_id: Callable[[], str]
    sent: int = field(default=0, init=False)
    """Records that were sent."""
    _sending: dict[str, Deferred[Any]] = field(factory=dict, init=False)
    _came: dict[str, set[bytes]] = field(factory=dict, init=False)
    """Node -> keys that were noted since the page under way was read: what was sent of these may be outdated."""
    _again: set[str] = field(factory=set, init=False)
    _timer: Any = field(default=None, init=False)
    _stopped: bool = field(default=False, init=False)
    _log = Logger()

    def start(self) -> None:
        """Begin; from now on all notes are tried every RETRY_SECONDS."""
        self._timer = self.clock.callLater(RETRY_SECONDS, self._tick)

    def _tick(self) -> None:
        self._timer = self.clock.callLater(RETRY_SECONDS, self._tick)
        for node in sorted(self.records.noted()):
            self.wake(node)

    def add(self, node: str, keys: Sequence[bytes]) -> Deferred[None]:
        """Note, durably, that a node lacks what is held here of some keys; they are sent as soon as may be."""
        self._came.setdefault(node, set()).update(keys)
        return self.records.note(node, keys).addCallback(lambda _: self.wake(node))

    def wake(self, node: str) -> None:
        """There is something for a node."""
        if self._stopped:
            return
        if node in self._sending:
            self._again.add(node)
            return
        sending = self._sending[node] = Deferred.fromCoroutine(self._send(node))
        sending.addBoth(self._ended, node)

    def _ended(self, result: Any, node: str) -> None:
        del self._sending[node]
        if isinstance(result, Failure) and not result.check(TakoError):
            self._log.failure("Could not send to {node} what it lacks", result, node=node)
        elif node in self._again and not isinstance(result, Failure):
            self._again.discard(node)
            self.wake(node)

    async def _send(self, node: str) -> None:
        while not self._stopped:
            came = self._came[node] = set()
            keys = await self.records.notes(node, PAGE)
            if not keys:
                del self._came[node]
                return
            if self.known(node):
                for key in keys:
                    await self._copy(key, self.peers.get(node))
            await self.records.forget(node, [key for key in keys if key not in came])

    async def _copy(self, key: bytes, peer: Any) -> None:
        try:
            await copy(key, self.records, peer, self.new_id)
            self.sent += 1
        except Refused as refused:
            if refused.code not in ("ahead", "key"):
                raise

    def stop(self) -> None:
        """End; notes that are left are kept."""
        self._stopped = True
        if self._timer is not None and self._timer.active():
            self._timer.cancel()

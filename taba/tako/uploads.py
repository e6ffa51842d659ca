"""A value that is larger than a piece, on its way to the nodes of its key: sent on piece by piece as it arrives.

Nothing of it is visible before `finish`, and nothing of it stays after `abort`, or when this process dies: nodes remove
what rests too long.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from attrs import define, field
from twisted.internet.defer import Deferred, DeferredList
from twisted.python.failure import Failure

from taba.tako.errors import DiskFull, NotEnough, TakoError, Unreachable
from taba.tako.interfaces import Write
from taba.tako.levels import Level, Replicas
from taba.tako.records import Version, new_checksum
from taba.tako.rounds import Verdict, WriteRound
from taba.tako.router import Receipt, Router


@define(eq=False)
class Upload:
    """One value under way. Pieces are given one after the other; the next when `add` has fired."""

    router: Router
    key: bytes
    replicas: Replicas
    name: str
    """A fresh id."""
    size: int = field(default=0, init=False)
    _checksum: Any = field(factory=new_checksum, init=False)
    _pieces: int = field(default=0, init=False)
    _lost: dict[str, Exception] = field(factory=dict, init=False)
    """The nodes that missed a piece, and why."""
    _ended: bool = field(default=False, init=False)

    @classmethod
    def begin(cls, router: Router, key: bytes, new_id: Callable[[], str]) -> Upload:
        """Begin to send a value for a key."""
        return cls(router, key, router.replicas(key), new_id())

    def add(self, body: bytes) -> Deferred[None]:
        """Send a piece to all nodes that have the ones before; all but the last have PIECE bytes. Never fails: `finish`
        tells.
        """
        number, self._pieces = self._pieces, self._pieces + 1
        self.size += len(body)
        self._checksum.update(body)
        sending = []
        for node in self.replicas.nodes:
            if node not in self._lost:
                sent = self.router.peers.get(node).stage(self.name, number, body)
                sending.append(sent.addErrback(self._missed, node))
        return DeferredList(sending).addCallback(lambda _: None)

    def _missed(self, failure: Failure, node: str) -> None:
        problem = failure.value
        self._lost[node] = problem if isinstance(problem, Exception) else Unreachable(node, str(problem))

    def finish(self, stamp: int | None, level: Level | None) -> Deferred[Receipt]:
        """Store the value under its key; fails as `Router.put`."""
        self._ended = True
        return Deferred.fromCoroutine(self._finish(stamp, level))

    async def _finish(self, stamp: int | None, level: Level | None) -> Receipt:
        router = self.router
        try:
            if stamp is not None:
                router.clock.observe(stamp)
            else:
                # What was acknowledged before has to be older: a staged value cannot be stamped a second time. What the
                # level of the write acknowledged, the same level finds.
                known = await router.stat(self.key, level or router.placement().configuration.active.write_level)
                if known is not None and known.version.stamp <= router.clock.limit():
                    router.clock.observe(known.version.stamp)
        except TakoError:
            self._remove()
            raise
        at, placement = router.clock.now() if stamp is None else stamp, router.placement()
        version = Version(at, False, self.size, self._checksum.hexdigest())
        under = router.offer(self.key, version, lambda node: self._write(node, version), level, at)
        verdict = await under.done
        round = under.round
        assert isinstance(round, WriteRound)
        if verdict is Verdict.REACHED and router.placement() is placement:
            return Receipt(version, len(round.answered), len(round.replicas.nodes))
        problems = [*under.problems, *self._lost.values()]
        if any(isinstance(problem, DiskFull) for problem in problems):
            raise DiskFull("; ".join(str(problem) for problem in problems))
        raise NotEnough(
            "stored on", round.level.value, len(round.answered), len(round.replicas.nodes), [*map(str, problems)]
        )

    def _write(self, node: str, version: Version) -> Write | None:
        if node in self._lost or node not in self.replicas.nodes:
            return None
        return Write(self.key, version, None, self.name, self.router.clock.limit_of_others())

    def abort(self) -> None:
        """Forget it."""
        if not self._ended:
            self._ended = True
            self._remove()

    def _remove(self) -> None:
        for node in self.replicas.nodes:
            if node not in self._lost:
                self.router.peers.get(node).unstage(self.name).addErrback(lambda _: None)

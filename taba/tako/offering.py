"""A round under way, and a version that is offered to the nodes of its key."""

from __future__ import annotations

from collections.abc import Callable

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from taba.tako.errors import Refused, Unreachable
from taba.tako.interfaces import Write
from taba.tako.peers import Peers
from taba.tako.records import Version
from taba.tako.rounds import Round, Verdict, WriteRound


@define(eq=False)
class Under:
    """A round under way: fires `done` once, and calls `after` when every node has answered or failed."""

    round: Round
    after: Callable[[], object]
    done: Deferred[Verdict] = field(factory=Deferred)
    problems: list[Exception] = field(factory=list)
    stale: bool = False

    def failed(self, failure: Failure, node: str) -> None:
        """A node did not do it."""
        problem = failure.value
        if isinstance(problem, Refused) and problem.code == "stale":
            self.stale = True
        if isinstance(problem, Exception):
            self.problems.append(problem)
        reason = problem.reason if isinstance(problem, Unreachable) else failure.getErrorMessage()
        self.round.failed(node, f"{node}: {reason}")
        self.look()

    def look(self) -> None:
        """Something has changed."""
        if not self.done.called:
            verdict = self.round.verdict()
            if verdict is not Verdict.WAITING or self.round.complete:
                self.done.callback(Verdict.FAILED if verdict is Verdict.WAITING else verdict)
        if self.round.complete:
            self.after()

    def is_ahead(self) -> bool:
        """Whether a node refused the version because it is from the future."""
        return any(isinstance(each, Refused) and each.code == "ahead" for each in self.problems)


@define(eq=False)
class Offer:
    """Offers a version to all nodes of its key. The node in this process comes last: when another one has taken the
    version, or it is enough alone. So what a wrong clock stamped here, and nobody else takes, replaces nothing here.
    """

    under: Under
    peers: Peers
    own: str | None
    """The node in this process."""
    write: Callable[[str], Write | None]
    """What each node is told, None where it is known to fail."""
    defect: Callable[[Failure], object]
    _left: int = field(default=0, init=False)
    """Other nodes that have not answered."""
    _own_waits: bool = field(default=False, init=False)

    def begin(self) -> None:
        """Ask."""
        nodes = self.under.round.replicas.nodes
        others = [node for node in nodes if node != self.own]
        self._own_waits, self._left = len(others) < len(nodes), len(others)
        for node in others:
            self._ask(node)
        if not others:
            self._ask_own()

    def _ask(self, node: str) -> None:
        asked = self.write(node)
        if asked is None:
            self._failed(Failure(Unreachable(node, "it missed a part of the value")), node)
            return
        done = self.peers.get(node).write(asked)
        done.addCallbacks(self._holds, self._failed, callbackArgs=(node,), errbackArgs=(node,))
        done.addErrback(self.defect)

    def _ask_own(self) -> None:
        if self._own_waits and self.own is not None:
            self._own_waits = False
            self._ask(self.own)

    def _holds(self, version: Version, node: str) -> None:
        round = self.under.round
        assert isinstance(round, WriteRound)
        round.holds(node, version)
        self._left -= 1
        self.under.look()
        if node in round.answered:
            self._ask_own()
        else:
            self._look_at_own()

    def _failed(self, failure: Failure, node: str) -> None:
        self.under.failed(failure, node)
        self._left -= 1
        self._look_at_own()

    def _look_at_own(self) -> None:
        """When no other node has taken the version, and none is left that may."""
        if self._left or not self._own_waits or self.own is None:
            return
        round = self.under.round
        problem: Exception | None = None
        if self.under.is_ahead():
            problem = Refused("ahead", "nobody else accepts the timestamp")
        elif not round.replicas.reached(round.level, {self.own}):
            problem = Unreachable(self.own, "no other node took it")
        if problem is None:
            self._ask_own()
        else:
            self._own_waits = False
            self.under.failed(Failure(problem), self.own)

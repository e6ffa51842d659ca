"""What operators do in a run: they delete tabs, bring them back, have States pruned and written anew, drop what waits.

None of it may cost or double an event: a deleted tab's events are in its grave, a pruned client's in the retired State,
and what was dropped stands in the ledger. At the end everything that was deleted is brought back.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from taba.errors import SpoolError, StoreError
from taba.server.checking import Checking, Finding
from taba.server.notes import Kind, graves, is_note, parse
from taba.server.operations import DELETE, REBUILD, UNDELETE, UPGRADE, Request
from taba.server.service import Server
from taba.testing.cluster import MemoryCluster
from taba.testing.members import ServerMember
from tests.cluster.events import GAUGE_TAB, KINDS, StoreView, Violation
from tests.cluster.oracle import Oracle

PATIENCE = 120.0
"""Virtual seconds within which maintenance has done what it has to, when nothing is wrong any more."""


def _of_any_release(error: type[Exception]) -> tuple[str, ...]:
    """The names of an error of ours, in the present release and in the one before."""
    return tuple(f"{package}.errors.{error.__name__}" for package in ("taba", "taba_before"))


def _server(member: ServerMember) -> Server:
    assert member.server is not None
    return member.server.server


@define(eq=False)
class Operating:
    """The operators of one run."""

    cluster: MemoryCluster
    oracle: Oracle
    random: Random
    asked: int = field(default=0, init=False)
    """How many operations were asked for."""
    answered: int = field(default=0, init=False)
    """How many of them were said to be durable."""

    def _tabs(self) -> list[str]:
        """The tabs that applications have recorded in."""
        recorded = {event.tab for event in self.oracle.fates if event.kind in KINDS or event.tab == GAUGE_TAB}
        return sorted(recorded)

    def _send(self, member: ServerMember, requests: Sequence[Request]) -> None:
        """Ask for operations; what becomes of them is counted."""
        if not requests:
            return
        self.asked += len(requests)
        self.oracle.operations += len(requests)

        def answered(_: object) -> None:
            self.answered += len(requests)

        sent: Deferred[None] = _server(member).operations.send_all(requests, "an operator")
        sent.addCallback(answered)
        sent.addErrback(self._refused)

    def _refused(self, failure: Failure) -> None:
        """The agent inside takes nothing now: nothing was done, or is not known to be."""
        failure.trap(*_of_any_release(SpoolError))

    def delete(self, member: ServerMember) -> None:
        """Delete one or more tabs."""
        tabs = self._tabs()
        chosen = self.random.sample(tabs, min(len(tabs), self.random.choice((1, 1, 3))))
        self.oracle.deleted.update(chosen)
        self._send(member, [Request(DELETE, tab) for tab in chosen])

    def undelete(self, member: ServerMember) -> None:
        """Bring one of them back."""
        if self.oracle.deleted:
            self._send(member, [Request(UNDELETE, self.random.choice(sorted(self.oracle.deleted)))])

    def upgrade(self, member: ServerMember) -> None:
        """Have everything written anew."""
        requests = [Request(UPGRADE, tab) for tab in self._tabs()]
        requests += [Request(REBUILD, each.tab) for each in requests if self.random.random() < 0.5]
        self._send(member, requests)

    def gc(self, member: ServerMember) -> None:
        """Have States pruned, on this server and the others."""
        _server(member).publishing.collect()

    def flush_all(self, member: ServerMember) -> None:
        """Drop what waits in the logs."""
        self.oracle.causes["flush"] += 1
        _server(member).store.flush().addErrback(lambda failure: failure.trap(*_of_any_release(StoreError)))

    # -------------------------------------------------------------------------------------------------- the end

    def finish(self, settle: Callable[[], None]) -> None:
        """Bring everything back, once all is at rest, and see that nothing is left to be done."""
        for member in self.cluster.servers:
            self.gc(member)
        for _ in range(5):  # graves of one name are brought back one after the other
            self._maintained()
            settle()
            view = self.oracle.views()[0]
            self._check_notes(view)
            left = graves(_types(view))
            if not left:
                break
            server = self.cluster.server
            more = [Request(UNDELETE, tab, {"deleted": time}) for tab, times in left.items() for time in times]
            self._send(server, more)
            self.cluster.world.advance(2.0)
        else:
            raise Violation(f"these could not be brought back: {left}")
        self._check_findings()

    def _maintained(self) -> None:
        """Let maintenance end its work."""

        def idle() -> bool:
            servers = [_server(member) for member in self.cluster.servers if member.ready]
            foldings = [each for server in servers for each in server.backend.folding.values()]
            work = (Kind.RESTORED, Kind.DROPPED, Kind.UPGRADE, Kind.REBUILD)
            return all(not each.notes.work(*work) and each.closed is None for each in foldings)

        self.cluster.world.run_until(idle, PATIENCE, "maintenance to have nothing to do")

    def _check_notes(self, view: StoreView) -> None:
        """Nothing but graves is left."""
        for name in _types(view):
            note = parse(name) if is_note(name) else None
            if note is not None and note.kind is not Kind.DELETED:
                raise Violation(f"maintenance has left {name}")

    def _check_findings(self) -> None:
        """/check finds nothing."""
        server, findings = _server(self.cluster.server), list[Finding]()
        wall = self.cluster.server.node.process
        assert wall is not None
        checking = Checking(server.store, server.registry, server.operations, wall.reactor, wall.wall)

        async def emit(finding: Finding) -> None:
            findings.append(finding)

        types = self.cluster.world.result_of(server.store.tabs())
        tabs = [(tab, type) for tab, type in types.items() if not is_note(tab)]
        checked: Deferred[None] = Deferred.fromCoroutine(checking.check(tabs, False, "the test", emit))
        self.cluster.world.result_of(checked)
        if findings:
            raise Violation(f"/check finds {findings}")


def _types(view: StoreView) -> dict[str, str]:
    return {tab: type for (tab, _), (type, _) in view.states.items()}


class OperatorVerbs:
    """What operators do, as verbs of a run."""

    cluster: MemoryCluster
    operating: Operating
    random: Random

    def _operator(self, verb: str) -> ServerMember | None:
        """A server that an operator can ask."""
        ready = [each for each in self.cluster.servers if each.up and each.server is not None and each.ready]
        server = self.random.choice(ready) if ready else None
        if server is not None:
            self.cluster.world.note_verb(f"* {verb}", server.name)
        return server

    def delete(self) -> None:
        """Somebody deletes tabs."""
        if (server := self._operator("delete")) is not None:
            self.operating.delete(server)

    def undelete(self) -> None:
        """Somebody brings back what was deleted."""
        if (server := self._operator("undelete")) is not None:
            self.operating.undelete(server)

    def upgrade(self) -> None:
        """Somebody has all States written anew, and some Aggregates made anew."""
        if (server := self._operator("upgrade")) is not None:
            self.operating.upgrade(server)

    def gc(self) -> None:
        """Somebody has States pruned."""
        if (server := self._operator("gc")) is not None:
            self.operating.gc(server)

    def flush_all(self) -> None:
        """Somebody drops what waits in the logs."""
        if (server := self._operator("flush_all")) is not None:
            self.operating.flush_all(server)

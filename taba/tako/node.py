"""A node: keeps the records of its buckets, answers other nodes and proxies, serves HTTP, and heals."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.error import CannotListenError

from taba.binding import check_endpoints, make_endpoint, tcp_endpoint
from taba.errors import StartError
from taba.process import Process
from taba.tako.answering import AnsweringFactory
from taba.tako.healing import Healing
from taba.tako.member import Member, interface_for, internal_endpoint, own_address
from taba.tako.notes import Notes
from taba.tako.placement import Placement
from taba.tako.replica import Replica
from taba.tako.settings import NodeSettings
from taba.tako.status import node_tree
from taba.tako.storage import SqliteRecords

UPLOAD_CHECK_SECONDS = 60.0
FIRST_CYCLE_SECONDS = 10.0
"""Within which the first cycle of healing begins, and one after a new configuration."""


class TakoNode(Member):
    """One node."""

    settings: NodeSettings

    def __init__(self, settings: NodeSettings, process: Process) -> None:
        super().__init__(settings, process)
        folder = process.open_folder(settings.database_folder or settings.var)
        self.records = SqliteRecords(
            folder,
            settings.database,
            settings.name,
            process.new_id,
            self.clock.limit,
            process.worker("tako-writes"),
            process.worker("tako-reads"),
            lambda function: process.reactor.callLater(0, function),
            settings.cache_bytes,
        )
        reactor = process.reactor
        self.notes = Notes(self.records, self.peers, reactor, self._knows, process.new_id)
        self.replica = Replica(
            settings.name, self.records, self.clock, reactor.seconds, self.source.placement, self.source.heard,
            self.notes.add,
        )  # fmt: skip
        self.peers.own = self.replica
        self.router.prefer = settings.name
        self.healing = Healing(
            settings.name, self.records, self.peers, self.clock, reactor, self.source.placement, process.new_id
        )
        self.answering = AnsweringFactory(self.replica, reactor, self.accepts)
        self._internal: Any = None
        self._sweep: Any = None

    def _knows(self, node: str) -> bool:
        return node in self.source.placement().configuration.nodes()

    async def open(self, placement: Placement) -> None:
        """Open the storage, then the ports."""
        address = own_address(placement, self.settings.name)
        await self.records.startService()
        await self._open_internal(internal_endpoint(address.host, address.internal_port, self.settings.security))
        own = tcp_endpoint(interface_for(address.host), address.http_port)
        await self.serve([own, *self.settings.listen], node_tree(self))
        self.notes.start()
        self.healing.plan(self.process.random.random() * FIRST_CYCLE_SECONDS)
        self._sweep = self.process.reactor.callLater(UPLOAD_CHECK_SECONDS, self._sweep_uploads)
        self.process.say(
            f"Tako node {self.settings.name}: clients on {', '.join(self.listening.urls() if self.listening else ())}, "
            f"nodes on port {address.internal_port}, {sum(self.records.leaves.counts)} keys. Ready."
        )

    async def _open_internal(self, endpoint: str) -> None:
        security = self.settings.security
        check_endpoints([endpoint], token=security.token_file is not None, insecure=security.insecure)
        try:
            self._internal = await make_endpoint(self.process.reactor, endpoint).listen(self.answering)
        except CannotListenError as problem:
            raise StartError(
                f"Cannot listen on {problem.interface or '*'}:{problem.port}: {problem.socketError}. Stop what listens "
                "there, or give the node another port."
            )

    def renewed(self, placement: Placement) -> None:
        """A new configuration may give this node other keys: heal soon."""
        if self.records.running:
            self.healing.plan(self.process.random.random() * FIRST_CYCLE_SECONDS)

    def _sweep_uploads(self) -> None:
        self._sweep = self.process.reactor.callLater(UPLOAD_CHECK_SECONDS, self._sweep_uploads)
        self.replica.forget_uploads()

    def closing(self) -> list[Any]:
        """See `Member`."""
        return [self._quiet, self._close_internal, self.peers.close, self.records.stopService]

    def _quiet(self) -> None:
        self.healing.stop()
        self.notes.stop()
        if self._sweep is not None:
            self._sweep.cancel()

    def _close_internal(self) -> Deferred[Any]:
        port, self._internal = self._internal, None
        for each in list(self.answering.connections):
            if each.transport is not None:
                each.transport.loseConnection()
        return maybeDeferred(port.stopListening) if port is not None else maybeDeferred(lambda: None)


def make_node(settings: NodeSettings, process: Process) -> TakoNode:
    """The service of a node on any machine, the simulated one included."""
    return TakoNode(settings, process)

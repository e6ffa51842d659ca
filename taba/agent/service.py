"""The agent as a service: intake, committer, lanes and forwarder put together, and the account that it gives of
itself.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from attrs import evolve
from twisted.application.service import Service
from twisted.internet.defer import Deferred, inlineCallbacks
from twisted.logger import Logger

from taba import native
from taba.agent.budget import AgentBudget
from taba.agent.committer import Committer
from taba.agent.endpoint import IEndpoint
from taba.agent.forwarder import Forwarder
from taba.agent.held import Action, Confirmed, Held, Lost, NewIncarnation, SetAside
from taba.agent.intake import BatchNumber, Intake, Receipt
from taba.agent.keeping_up import KeepingUp
from taba.agent.kept_bodies import KeptBodies
from taba.agent.lanes import Lanes
from taba.agent.measures import AgentMeasures
from taba.agent.metrics import expose_agent
from taba.agent.records import Aside, LaneKey, Snapshot
from taba.agent.recovery import Damage, Recovered
from taba.agent.spool import Spool, SpoolLimits, SpoolState
from taba.agent.telling import Source, facts_of, text_of
from taba.agent.types import TypesTaken
from taba.agent.unsent import Unsent, is_part, named_in
from taba.agent.waiting_lanes import Gathered
from taba.errors import LocalProtocolError, SpoolError, SpoolFull, StartError
from taba.metrics import Exposition
from taba.native import Limits, Scratch
from taba.process import Process
from taba.settings import AgentSettings
from taba.stopping import stop_in_turn
from taba.usage import expose as expose_usage
from taba.wire.v2 import Topology

DAY = 86_400.0


class Agent(Service):
    """One agent. `kinds` are the Types that it takes by itself (see `native.Scratch`); others it learns from its
    servers.
    """

    _log = Logger()

    def __init__(
        self,
        settings: AgentSettings,
        process: Process,
        kinds: Mapping[str, int],
        endpoints: Sequence[IEndpoint],
    ) -> None:
        self.settings = settings
        self._process = process
        self._clock, self._wall = process.reactor, process.wall
        self._worker = process.worker("taba-spool")
        self.types = TypesTaken(kinds, endpoints, self._clock, lambda: self.forwarder.cluster, self._types_changed)
        self.lanes = Lanes(settings.confirm_seconds, process.random.random())
        self.measures = AgentMeasures()
        self.budget = AgentBudget.of(settings.max_memory_bytes)
        self.keeping_up = KeepingUp(settings.backlog_seconds)
        self._bodies = KeptBodies(self.budget.bodies)
        self.lost = 0
        """Batches that stores lost and nobody holds any more, in this life of the process."""
        self._renewed = 0.0
        spool = Spool(
            process.open_folder(settings.spool),
            native.crc32c,
            SpoolLimits(max_bytes=settings.max_spool_bytes),
        )
        self.spool = spool
        self.committer = Committer(
            spool,
            self._worker,
            self._clock,
            self._wall,
            commit_seconds=settings.commit_milliseconds / 1e3,
            flush_seconds=lambda: max(settings.flush_seconds, self.forwarder.shortest_flush),
            unsent=self.lanes.unsent,
            sealed=self._sealed,
            noted=self._noted,
            prune=self._prune,
            draw_incarnation=self._renew,
            measures=self.measures,
        )
        self.committer.sealing.max_waiting = self.budget.waiting
        self._gathered = Gathered(self.lanes, self.committer.sealing, self.keeping_up.room // 2)
        self.forwarder = Forwarder(
            self.lanes,
            self.types.endpoints,
            self._read_bodies,
            self._act,
            self._joined,
            self._clock,
            self._wall,
            process.random.random,
            requests_per_endpoint=settings.queues_per_server,
            measures=self.measures,
        )
        self.intake: Intake | None = None
        self.damage: Damage | None = None
        self.statsd: Source | None = None

    # ------------------------------------------------------------------------------------------ start and stop

    @inlineCallbacks
    def startService(self):  # type: ignore[no-untyped-def]
        """Recover the spool; fires when what it holds is being sent on.

        Events are taken then, or, on a full or failing disk, as soon as it takes them: `refusing` tells. StartError
        when the spool's folder cannot be read, or nobody may write there.
        """
        super().startService()
        try:
            recovered: Recovered = yield self._worker(self.spool.open)
            self._recover(recovered)
            yield self.committer.begin(lambda: self._begin_taking(recovered))
        except (OSError, SpoolError) as problem:
            raise StartError(f"The spool in {self.settings.spool} cannot be used: {problem}")
        self.forwarder.startService()
        self.committer.wake()

    def _recover(self, recovered: Recovered) -> None:
        """Go on from what an earlier life left, under a new incarnation. What is not known to be durable waits."""
        self.damage = recovered.damage
        if recovered.damage is not None:
            self._log.error("The spool was damaged: {damage}", damage=recovered.damage)
        snapshot = recovered.snapshot
        committer = self.committer
        committer.holdings = recovered.holdings
        committer.sealing.recover(recovered)
        committer.ledger.update(snapshot.ledger)
        self._renew()
        self.types.remember(snapshot.types)
        committer.intake = Intake.recovered(
            snapshot.instances,
            snapshot.next_commit,
            kinds=self.types.known.kinds(),
            new_id=self._process.new_id,
            max_memory=self.budget.intake,
            max_clock_skew=self.settings.max_clock_skew,
            unsent_tabs=named_in(snapshot.ledger),
        )
        self._recover_lanes(recovered, doubtful=False)
        if snapshot.cluster is not None:
            committer.vbuckets = snapshot.vbuckets
            self.forwarder.join(snapshot.cluster)
        held = sum(each.seal.events for batches in recovered.batches.values() for each in batches)
        committer.pending = held + committer.sealing.events()

    def _recover_lanes(self, recovered: Recovered, doubtful: bool) -> None:
        for key, lane in recovered.snapshot.lanes.items():
            if (key in recovered.doubtful) == doubtful:
                batches = [each.held() for each in recovered.batches.get(key, ())]
                self.lanes.recover(*key, batches, given=lane.given, follows=lane.follows, so_far=lane.events)

    def _begin_taking(self, recovered: Recovered) -> None:
        """All that was recovered is durable: nothing of it has to wait any more, and events are taken."""
        self._recover_lanes(recovered, doubtful=True)
        self.intake = self.committer.intake
        self.forwarder.wake()

    def _renew(self) -> None:
        self._renewed = self._clock.seconds()
        self.committer.incarnation = self._process.new_id()

    @inlineCallbacks
    def stopService(self):  # type: ignore[no-untyped-def]
        """Fires when all that was acknowledged is on disk and the spool is closed. What was not sent goes out after
        the next start.
        """
        super().stopService()
        committing = [self.committer.stop] if self.spool.state is not SpoolState.CLOSED else []
        yield stop_in_turn(
            self.types.stop,
            self.forwarder.stopService,
            *committing,
            lambda: self._worker(self.spool.close),
            self._worker.stop,
        )

    def use(self, endpoints: Sequence[IEndpoint]) -> None:
        """Send to these servers from now on."""
        self.types.use(endpoints)
        self.forwarder.use(self.types.endpoints)

    # ------------------------------------------------------------------------------------------ intake

    def _taking(self) -> Intake:
        if self.intake is None:
            raise SpoolError(self.refusing())
        return self.intake

    def refusing(self) -> str | None:
        """Why no events are taken now; None when they are."""
        behind = "The servers take less than comes in, and are too far behind (BACKLOG_SECONDS)."
        return self.obstacle() or (behind if self._behind() else None)

    def obstacle(self) -> str | None:
        """Why none can be taken, not even those that their sender does not keep; None when they can."""
        if self.intake is None:
            return self.committer.problem or "The agent is starting; try again."
        if self.committer.problem is not None:
            return self.committer.problem
        if self.intake.memory() > self.budget.intake:
            return "The agent's memory is full of events that are not yet on disk (AGENT_MEMORY_BYTES)."
        if self.committer.full:
            return "The spool is full (SPOOL_MAX_BYTES, or the disk): the servers take less than comes in, or are away."
        return None

    def _behind(self) -> bool:
        """Whether more is here than servers take in BACKLOG_SECONDS."""
        now = self._clock.seconds()
        if self.keeping_up.due(now):
            gathered = self._gathered.look(now)
            self.keeping_up.look(now, gathered.waiting, self.measures.bytes_taken, gathered.back)
        return self.keeping_up.refuses

    def begin(self, form: type[Scratch] = Scratch) -> Scratch:
        """The scratch for a request of a form (protocol 1, columns) that begins now."""
        return self._taking().begin(self._server_time(), form)

    def _server_time(self) -> float:
        """Now, by the servers' clock where it is known, or by the clock here when that is later.

        What is known may be old: clocks are set, and machines sleep. Events taken wrongly are refused by be, who
        compares with the time of the store; of events refused wrongly no batch is sent, and no answer to a batch would
        ever put the clock right.
        """
        return self._wall() + max(0.0, self.forwarder.clock_offset())

    def times(self) -> tuple[float, float]:
        """Now, and the latest time that is not in the future."""
        return self._wall(), self._server_time() + self.settings.max_clock_skew

    def kinds(self) -> Mapping[str, int]:
        """The Types that are taken; another object when they change."""
        return self.committer.intake.kinds

    def note(self, lines: Mapping[str, int]) -> None:
        """Add to lines of the ledger, with the open commit."""
        for line, count in lines.items():
            self.committer.intake.count(line, count, self._wall())
        self.committer.wake()

    def receiving(self, change: int) -> None:
        """So many more bytes are held of requests that are coming in; negative when one is over."""
        if self.intake is not None:
            self.intake.receiving += change

    def apply(self, scratch: Scratch | None, batch: BatchNumber | None, unsent: Unsent) -> Receipt:
        """Take a request: see `Intake.apply`. SpoolFull when there is no room."""
        intake = self._taking()
        problem = self.refusing() if scratch is None or scratch.kept else self.obstacle()
        if problem is not None and not self._known(intake, batch):
            raise SpoolFull(problem)
        if self._clock.seconds() > self._renewed + self.settings.dedup_days * DAY / 2:
            self._new_incarnation()  # before the commit that this goes into is closed
        receipt = intake.apply(scratch, batch, unsent, self._wall())
        self.measures.batches[receipt.applied.value] += 1
        if scratch is not None and "type" in scratch.summary().refused:
            self.types.missed()
        self.committer.wake()
        return receipt

    def _types_changed(self) -> None:
        """Other Types are taken: from the next request on, and after a restart."""
        self.committer.intake.kinds = self.types.known.kinds()
        self.committer.renew(self.committer.incarnation)  # the same one: a snapshot is to be written

    def _known(self, intake: Intake, batch: BatchNumber | None) -> bool:
        """Whether a batch is a duplicate: that needs no room."""
        known = intake.instances.get(batch.instance or "") if batch is not None else None
        return known is not None and batch is not None and batch.number <= known.last

    def durable(self, commit: int) -> Deferred[None]:
        """Fires when a receipt's commit is durable; SpoolError when the disk refuses it for now."""
        return self.committer.durable(commit)

    def operate(self, body: bytes, types: Iterable[str]) -> Deferred[None]:
        """Take a body of protocol 1 from the server in whose process this agent is, with events of raw `types` that
        nobody else may send; fires once they are durable. SpoolError when they cannot be taken now.
        """
        scratch = Scratch(Limits(), dict.fromkeys(types, native.RAW))
        scratch.feed(body)
        scratch.finish()
        summary = scratch.summary()
        if summary.refused:
            raise LocalProtocolError(f"not all of the server's own events can be taken: {dict(summary.refused)}")
        return self.durable(self.apply(scratch, None, {}).commit)

    # ------------------------------------------------------------------------------------------ lanes

    def _prune(self, snapshot: Snapshot) -> Snapshot:
        """What a snapshot notes of `snapshot`: without idle instances, and lanes of which nothing is held."""
        before = self._wall() - self.settings.instance_days * DAY
        self.committer.intake.forget_idle(before)
        return evolve(self.committer.holdings.trim(snapshot, before), types=self.types.known.learned())

    def _sealed(self, key: LaneKey, held: Held, body: bytes) -> None:
        """A batch is sealed, durably: let its lane send it."""
        self._bodies.put(key, held.seq, body)
        self.lanes.add(*key, held)
        self.forwarder.wake()

    def _noted(self, key: LaneKey) -> None:
        self.lanes.noted(*key, self._clock.seconds())
        self.forwarder.wake()

    @inlineCallbacks
    def _read_bodies(self, batches: Sequence[tuple[LaneKey, Held]]):  # type: ignore[no-untyped-def]
        """The bodies of batches, None for one that is damaged. One that is in memory leaves it: if it is sent again,
        it is read again.
        """
        bodies = [self._bodies.take(key, held.seq) for key, held in batches]
        missing = [(key[1], held) for (key, held), body in zip(batches, bodies, strict=True) if body is None]
        if missing:
            read = iter((yield self._worker(self.spool.read_batches, missing, self._split)))
            bodies = [next(read) if body is None else body for body in bodies]
        return bodies

    def _split(self, section: bytes) -> list[tuple[int, int, bytes]]:
        """Deal an undivided section to the cluster's vbuckets."""
        parts = native.batch_split(section, self.committer.vbuckets)
        return [(part.vbucket, part.events, part.data) for part in parts]

    def _act(self, actions: Sequence[Action]) -> None:
        """Carry out what answers mean."""
        for action in actions:
            if isinstance(action, Confirmed):
                self.measures.confirmed(action.batches, self._wall())
                for batch in action.batches:
                    key = (action.incarnation, action.vbucket)
                    self._bodies.take(key, batch.seq)
                    self.committer.release(key, batch.seq, batch.events)
            elif isinstance(action, SetAside):
                self._log.error(
                    "Batch {seq} of vbucket {v} ({events} events) is set aside: {reason}",
                    seq=action.batch.seq, v=action.vbucket, events=action.batch.events, reason=action.reason,
                )
                self._bodies.take((action.incarnation, action.vbucket), action.batch.seq)
                self.committer.set_aside(Aside.of(action))
            elif isinstance(action, NewIncarnation):
                self._log.error("Another agent uses this one's numbers: {reason}", reason=action.reason)
                if action.incarnation == self.committer.incarnation:
                    self._new_incarnation()
            elif isinstance(action, Lost):
                self.lost += action.last - action.first + 1
                self._log.error(
                    "The store of vbucket {v} lost batches {first} to {last}, which are not held any more",
                    v=action.vbucket, first=action.first, last=action.last,
                )

    def _new_incarnation(self) -> None:
        old = self.committer.incarnation
        self._renew()
        self.committer.renew(self.committer.incarnation)
        self.lanes.forget(old)

    def _joined(self, topology: Topology) -> None:
        """The cluster has answered for the first time in this life."""
        if self.committer.vbuckets == 0:
            self.committer.join(topology.cluster, topology.vbuckets)

    # ------------------------------------------------------------------------------------------ the account

    def ledger(self) -> dict[str, int]:
        """Every event this agent received, durably: `received` less the refused and given up ones is what was confirmed
        in all, and what is `pending`."""
        lines = {line: count for line, count in self.committer.ledger.items() if count and not is_part(line)}
        lines["pending"] = self.committer.pending
        return lines

    def facts(self) -> dict[str, Any]:
        """What /status says."""
        return facts_of(self)

    def text(self) -> str:
        """The same for people."""
        return text_of(self.facts())

    def metrics(self) -> str:
        """The same, and what was measured, as Prometheus text."""
        into = Exposition()
        expose_usage(into, self._process.usage())
        self.expose(into)
        return into.text()

    def expose(self, into: Exposition, prefix: str = "taba_agent") -> None:
        """Put the agent's numbers into an exposition, under names that begin with a prefix."""
        expose_agent(into, prefix, self, self._wall())
        if self.statsd is not None:
            self.statsd.expose(into, prefix)

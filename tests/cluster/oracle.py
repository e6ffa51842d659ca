"""The plain recount: which events were recorded, what became of each, and what the store must say of them.

An event is in one of these fates:

* `BUFFERED`: its client has not heard of it yet;
* `ACKED`: its client was told that an agent has it: it must be folded once, or a ledger must say why not;
* `UNCERTAIN`: its client gave it up after it may have been sent: it is folded once, or not at all;
* `NEVER_SENT`: its client died before: it must not be folded.

No event of a numbered client may be folded twice, ever.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from enum import Enum
from typing import Any

from attrs import define, field

from taba import native
from taba.handlers.registry import builtin
from taba.server.notes import Kind, parse
from taba.store.judge import FLUSHED, LOST
from taba.testing.cluster import MemoryCluster
from taba.testing.members import AgentMember, ApplicationMember
from tests.cluster.events import (
    GAUGE_TAB,
    KINDS,
    EventId,
    StoreView,
    Violation,
    count_and_total,
    events_in,
    events_of_batch,
    held_events,
    is_recounted,
    tab_of,
    view_image,
    view_store,
)


class Fate(Enum):
    """What has become of an event, as its client knows it."""

    BUFFERED = "buffered"
    ACKED = "acknowledged"
    UNCERTAIN = "uncertain"
    NEVER_SENT = "never sent"


@define
class Life:
    """One life of an application: what it recorded and does not know the fate of, oldest first."""

    member: ApplicationMember
    waiting: list[EventId] = field(factory=list)
    acknowledged: int = 0
    unknown: int = 0
    rejected: int = 0


@define(eq=False)
class Oracle:
    """The recount of one run. The driver tells it of events and faults."""

    cluster: MemoryCluster
    fates: dict[EventId, Fate] = field(factory=dict)
    lives: dict[str, Life] = field(factory=dict)
    """Application -> its present life."""
    numbers: Counter[tuple[str, str]] = field(factory=Counter)
    excused: set[EventId] = field(factory=set)
    """Events that were on a disk that was lost."""
    restored: set[EventId] = field(factory=set)
    """Events that neither the backup had nor any agent held any more when the store was restored."""
    lost_ledgers: Counter[str] = field(factory=Counter)
    """What those disks said of refused events."""
    causes: Counter[str] = field(factory=Counter)
    """Which faults happened: `disk lost`, `twin`, `restore`, `clock`, `flush`."""
    operations: int = 0
    """How many operations were asked for."""
    deleted: set[str] = field(factory=set)
    """The tabs that were deleted at some time."""
    unknown: int = 0
    rejected: int = 0
    notes: dict[str, int] = field(factory=dict)
    """Figures for the report of a run."""
    views: Callable[[], Sequence[StoreView]] = field()
    """Reads every copy of the data that there is; at rest the first one counts."""

    @views.default
    def _views(self) -> Callable[[], Sequence[StoreView]]:
        return self._view_disk

    def _view_disk(self) -> Sequence[StoreView]:
        view = view_store(self.cluster.server.node.disk)
        return () if view is None else (view,)

    @property
    def latest(self) -> float:
        """A wall time at which every State's last day holds all events, whatever clock stamped them."""
        return self.cluster.world.epoch + self.cluster.world.clock.seconds() + 2 * 3600.0

    # ------------------------------------------------------------------------------------------------ what happens

    def begins(self, member: ApplicationMember) -> None:
        """A life of an application begins."""
        life = self.lives[member.name] = Life(member)
        member.on_answer = lambda status: self._answered(life, status)

    def record(self, member: ApplicationMember, kind: str) -> None:
        """Let an application record its next event of a kind."""
        key = (member.client_id, kind)
        event = EventId(member.client_id, kind, self.numbers[key])
        self.numbers[key] += 1
        self.fates[event] = Fate.BUFFERED
        self.lives[member.name].waiting.append(event)
        client = member.client
        if kind == "c":
            client.counter(event.tab, event.value)
        elif kind == "p":
            client.percentile(event.tab, event.value)
        else:
            client.gauge(event.tab, event.value)

    def record_unnumbered(self, client: str) -> EventId:
        """A client without numbers records its next event."""
        event = EventId(client, "o", self.numbers[client, "o"])
        self.numbers[client, "o"] += 1
        self.fates[event] = Fate.BUFFERED
        return event

    def acknowledge(self, events: Sequence[EventId]) -> None:
        """An agent said 200 to these events of a client without numbers."""
        self.fates.update(dict.fromkeys(events, Fate.ACKED))

    def _answered(self, life: Life, status: Mapping[str, Any]) -> None:
        """A client's account has changed: batches are of what was recorded first."""
        if set(status["dropped"]) - {"unknown"} or status["refused"]:
            raise Violation(f"{life.member.name} lost events: {status}")
        acknowledged = status["acknowledged"] - life.acknowledged
        unknown = status["unknown"] - life.unknown
        self.rejected += status["rejected"] - life.rejected
        life.acknowledged, life.unknown, life.rejected = status["acknowledged"], status["unknown"], status["rejected"]
        if acknowledged and unknown:
            raise Violation(f"{life.member.name}: two batches by one answer: {status}")
        self.unknown += unknown
        self._settle(life, acknowledged, Fate.ACKED)
        self._settle(life, unknown, Fate.UNCERTAIN)

    def _settle(self, life: Life, count: int, fate: Fate) -> None:
        for event in life.waiting[:count]:
            self.fates[event] = fate
        del life.waiting[:count]

    def in_flight(self, life: Life) -> Sequence[EventId]:
        """What a living application has in the batch that is being sent."""
        if not life.member.up or life.member.service is None:
            return ()
        return life.waiting[: life.member.client.get_status()["in_flight_events"]]

    def dies(self, member: ApplicationMember) -> None:
        """An application is about to be killed."""
        life = self.lives[member.name]
        self._settle(life, len(self.in_flight(life)), Fate.UNCERTAIN)
        self._settle(life, len(life.waiting), Fate.NEVER_SENT)

    def loses_disk(self, member: AgentMember) -> None:
        """An agent's disk is about to be lost."""
        self.causes["disk lost"] += 1
        held, ledger = held_events(member, self.latest)
        self.excused |= held
        self.lost_ledgers.update({line: count for line, count in ledger.items() if line.startswith("refused.")})

    def restores(self, backup: bytes) -> None:
        """The store is about to be restored from `backup`; the server is down, and no answer of it is on its way."""
        view = view_image(backup)
        assert view is not None
        self.goes_back_to(view)

    def goes_back_to(self, view: StoreView) -> None:
        """The store is about to be what it was; the servers are down, and no answer of theirs is on its way."""
        self.causes["restore"] += 1
        held: set[EventId] = set()
        shared = self._shared_incarnations()
        for member in self.cluster.spools():
            held |= held_events(member, self.latest, shared)[0]
        known = {event for event, fate in self.fates.items() if fate in (Fate.ACKED, Fate.UNCERTAIN)}
        for life in self.lives.values():
            known.update(self.in_flight(life))
        known.update(event for event in self.fates if event.kind == "o")
        kept = set(self.folded(view)) | {event for body in view.log for event in events_of_batch(body, self.latest)}
        self.restored |= known - held - kept

    def _shared_incarnations(self) -> set[str]:
        """Those that two agents send under, one of them from a copied disk. Where a restored store lacks numbers of
        such a lane, one agent may pass over what only the other still holds: the events then stand under `lost`.
        """
        found: Counter[str] = Counter()
        for member in self.cluster.spools():
            if member.agent is not None:
                found.update({lane.incarnation for lane in member.agent.lanes.each()})
        return {incarnation for incarnation, agents in found.items() if agents > 1}

    # ------------------------------------------------------------------------------------------------------ checks

    def folded(self, view: StoreView) -> Counter[EventId]:
        """How often each event of a numbered client is in the States."""
        found: Counter[EventId] = Counter()
        for (tab, client), (type_name, state) in view.states.items():
            for event, times in events_in(tab, client, type_name, state, self.latest):
                found[event] += times
        return found

    def check_always(self, view: StoreView) -> Counter[EventId]:
        """What must hold at any time."""
        folded = self.folded(view)
        for event, times in folded.items():
            fate = self.fates.get(event)
            if fate is None or fate is Fate.NEVER_SENT:
                raise Violation(f"{event} is folded, and was {fate.value if fate else 'not recorded'}")
            if times > 1 and event.kind != "o":
                raise Violation(f"{event} ({fate.value}) is folded {times} times")
        self._check_aggregates(view)
        self._check_rows(view)
        return folded

    def _check_aggregates(self, view: StoreView) -> None:
        """Aggregate == reduce(States), for every tab."""
        registry = builtin()
        states: defaultdict[str, list[bytes]] = defaultdict(list)
        types = {}
        for (tab, _), (type_name, state) in view.states.items():
            states[tab].append(state)
            types[tab] = type_name
        for tab, each in states.items():
            handler, note = registry.get(types[tab]), parse(tab)
            if handler is None or not handler.running_aggregate:
                continue
            if note is not None and note.kind is not Kind.DELETED:
                continue  # it is being merged back, or removed
            reduced, aggregate = handler.reduce(each), view.aggregates.get(tab, b"")
            if not is_recounted(tab):  # totals of fractions are equal to rounding only
                same = [count_and_total(types[tab], one, self.latest)[0] for one in (reduced, aggregate)]
                if same[0] == same[1]:
                    continue
            if reduced != aggregate:
                raise Violation(f"the Aggregate of {tab} is not the reduced States")

    def _check_rows(self, view: StoreView) -> None:
        """What a row of the ledger says is folded is what the States of the vbucket hold."""
        held: Counter[int] = Counter()
        vbuckets = self.cluster.vbuckets
        for (tab, _), (type_name, state) in view.states.items():
            if type_name in KINDS.values():
                held[native.crc32(tab_of(tab).encode()) % vbuckets] += count_and_total(type_name, state, self.latest)[0]
        for vbucket, row in view.ledgers.items():
            gauges = row.get("folded", 0) - held[vbucket]
            if gauges < 0 or (gauges and vbucket != native.crc32(GAUGE_TAB.encode()) % vbuckets):
                raise Violation(f"vbucket {vbucket}: the row {row} is not of {held[vbucket]} events")

    def agents_ledger(self) -> Counter[str]:
        """The sum of all agents' accounts."""
        total: Counter[str] = Counter()
        for member in self.cluster.spools():
            if member.agent is not None:
                total.update(member.agent.ledger())
        return total

    def check_at_rest(self) -> None:
        """What must hold when all is at rest."""
        views = self.views()
        if not views:
            raise Violation("there is no store")
        view, *copies = views
        folded = self.check_always(view)
        for copy in copies:
            self.check_always(copy)
        agents, server = self.agents_ledger(), view.ledger
        self._check_causes(agents, server)
        acked = {event for event, fate in self.fates.items() if fate is Fate.ACKED and event.kind != "g"}
        missing = {event for event in acked if not folded[event]}
        ledgers = agents + server + self.lost_ledgers
        explained = sum(count for line, count in ledgers.items() if line.startswith("refused."))
        explained += server[FLUSHED]
        silent = missing - self.excused - self.restored
        if len(silent) > explained:
            raise Violation(
                f"{len(silent)} acknowledged events are missing, the ledgers explain {explained}: "
                f"{sorted(map(str, silent))[:5]}; agents {dict(agents)}, server {dict(server)}"
            )
        uncertain = {event for event, fate in self.fates.items() if fate is Fate.UNCERTAIN and event.kind != "g"}
        lost = server[LOST]
        gone = len(missing) + sum(not folded[event] for event in uncertain) + self._gauges() + self.operations
        quiet = not (self.causes["twin"] or self.causes["disk lost"] or self.cluster.embedded_agent)
        if quiet and lost > gone:
            raise Violation(f"the ledger says {lost} events are lost, at most {gone} are missing")
        if not (self.causes["twin"] or self.causes["disk lost"] or self.causes["restore"]):
            self._check_balance(agents, server)
        self._check_gauges(view)
        self.notes = {"events": len(self.fates), "missing": len(missing), "lost": lost, "unknown": self.unknown}

    def _gauges(self) -> int:
        return sum(event.kind == "g" for event in self.fates)

    def _check_causes(self, agents: Counter[str], server: Counter[str]) -> None:
        """Nothing stands in a ledger without its cause."""
        causes = {
            "refused.future": ("clock",),
            "refused.conflict": ("twin",),
            LOST: ("restore", "twin", "disk lost"),
            FLUSHED: ("flush",),
            "unsent.unknown": ("disk lost",),
        }
        for ledger in (agents, server):
            for line, count in ledger.items():
                if not count or line in ("received", "folded", "pending", "operations"):
                    continue
                if not any(self.causes[cause] for cause in causes.get(line, ())):
                    raise Violation(f"{count} events stand under {line!r} without a cause: {dict(ledger)}")
        if self.unknown and not self.causes["disk lost"]:
            raise Violation(f"{self.unknown} events are unknown, and no disk was lost")

    def _check_balance(self, agents: Counter[str], server: Counter[str]) -> None:
        """What agents received and did not refuse is what be folded or refused."""
        refused = sum(count for line, count in agents.items() if line.startswith("refused."))
        judged = server["folded"] + sum(count for line, count in server.items() if line.startswith("refused."))
        judged += server["operations"] + server[FLUSHED]
        if agents["received"] - refused != judged:
            raise Violation(f"agents gave {agents['received'] - refused} events, be judged {judged}")

    def _check_gauges(self, view: StoreView) -> None:
        """A gauge shows the last value that was acknowledged, or a later one; only where clocks did not step."""
        if self.causes or any(tab_of(tab) == GAUGE_TAB != tab for tab, _ in view.states):
            return  # of a grave the latest value is not shown
        lives = Counter(life.member.client_id for life in self.lives.values())
        for client in {event.client for event in self.fates if event.kind == "g"}:
            if lives[client] > 1:
                continue  # a fork: of values of one time the one that came last is shown
            acked = [e.n for e, f in self.fates.items() if (e.client, e.kind, f) == (client, "g", Fate.ACKED)]
            _, state = view.states.get((GAUGE_TAB, client), ("", b""))
            shown = [json.loads(entry.value) for entry in native.gauge_entries(state)] if state else []
            if acked and (not shown or shown[0] < max(acked)):
                raise Violation(f"the gauge of {client} shows {shown}, {max(acked)} was acknowledged")

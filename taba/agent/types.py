"""Which Types an agent takes: its own, and those that its servers fold. What servers bring travels raw.

An agent has no Handler of a custom Type, and needs none: that a server folds it stands in its topology. It is taken
when ANY server said so: one that does not know it yet sets its Partials aside, and they are folded later. What was
learned is kept in the spool, so that a restart while the servers are away refuses nothing that was taken before.

Nobody has to poll: a topology is read when a server is met, and again, from all of them, when an event of an unknown
Type came, at most every ASK_SECONDS.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

from attrs import define, field
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from taba import native
from taba.agent.endpoint import EndpointDown, IEndpoint
from taba.handlers.loading import SHAPES, Unusable, check_name
from taba.wire.v2 import AppendAnswer, AppendRequest, Topology

ASK_SECONDS = 10.0
MAX_LEARNED = 1000
"""So many Types are learned; further ones stay unknown."""


@define
class KnownTypes:
    """The Types of one agent. Pure. `own` are those of its Handlers, with the kind that the parser wants; `servers` is
    how many servers it has.
    """

    own: Mapping[str, int]
    servers: int
    remembered: Mapping[str, int] = field(factory=dict)
    """What an earlier life learned. It counts until every server has told in this one."""
    _told: dict[str, Mapping[str, int]] = field(factory=dict)

    def use(self, servers: Iterable[str]) -> None:
        """These are the servers from now on. What those said that went counts until the others have told."""
        names = set(servers)
        for gone in [each for each in self._told if each not in names]:
            self.remembered = {**self._told.pop(gone), **self.remembered}
        self.servers = len(names)

    def heard(self, server: str, types: Iterable[str], kinds: Mapping[str, int]) -> bool:
        """A server says which Types it folds; answers whether that changes which are taken."""
        before = self.learned()
        self._told[server] = {type: kinds.get(type, native.RAW) for type in types}
        return self.learned() != before

    def learned(self) -> dict[str, int]:
        """The Types that others fold, sorted, with the shapes of their payloads. Where servers do not agree on a shape,
        any payload goes through.
        """
        known: dict[str, int] = {}
        remembered = [self.remembered] if len(self._told) < self.servers else []
        for told in [*self._told.values(), *remembered]:
            for type, kind in told.items():
                known[type] = kind if known.get(type, kind) == kind else native.RAW
        mine = sorted((type, kind) for type, kind in known.items() if type not in self.own and _may_be(type, kind))
        return dict(mine[:MAX_LEARNED])

    def kinds(self) -> dict[str, int]:
        """Type -> how its events are taken: see `native.Scratch`."""
        return {**self.learned(), **self.own}


def _may_be(type: str, kind: int) -> bool:
    """Whether a Type can be taken without its Handler. Taba's own operations never: no sender may feed these."""
    try:
        check_name(type)
    except Unusable:
        return False
    return kind in SHAPES


@implementer(IEndpoint)
class _Overheard:
    """A server, whose topologies somebody else hears, too."""

    def __init__(self, endpoint: IEndpoint, heard: Callable[[str, Topology], None]) -> None:
        self.name = endpoint.name
        self._endpoint = endpoint
        self._heard = heard

    def topology(self) -> Deferred[Topology]:
        """See `IEndpoint`."""

        def told(topology: Topology) -> Topology:
            self._heard(self.name, topology)
            return topology

        return self._endpoint.topology().addCallback(told)

    def append(self, request: AppendRequest) -> Deferred[AppendAnswer]:
        """See `IEndpoint`."""
        return self._endpoint.append(request)


class TypesTaken:
    """The Types of one agent, learned from its servers. `cluster` tells the cluster that the agent belongs to, None
    while it is not known; `changed` is called when other Types are taken than before.
    """

    _log = Logger()

    def __init__(
        self,
        own: Mapping[str, int],
        endpoints: Sequence[IEndpoint],
        clock: IReactorTime,
        cluster: Callable[[], str | None],
        changed: Callable[[], None],
    ) -> None:
        self.known = KnownTypes(own, len({each.name for each in endpoints}))
        self.endpoints = [_Overheard(each, self._heard) for each in endpoints]
        """The servers, for whoever sends: their topologies are heard here, too."""
        self._clock = clock
        self._cluster = cluster
        self._changed = changed
        self._asked = -ASK_SECONDS
        self._asking: set[Deferred[object]] = set()
        self._stopped = False

    def use(self, endpoints: Sequence[IEndpoint]) -> None:
        """These are the servers from now on."""
        self.endpoints = [_Overheard(each, self._heard) for each in endpoints]
        self.known.use(each.name for each in endpoints)

    def remember(self, types: Mapping[str, int]) -> None:
        """What an earlier life learned."""
        self.known.remembered = dict(types)

    def _heard(self, server: str, topology: Topology) -> None:
        if server not in {each.name for each in self.endpoints}:
            return  # it was one
        if self._cluster() in (None, topology.cluster) and self.known.heard(server, topology.types, topology.kinds):
            self._log.info("Types of the servers that are taken: {types}", types=", ".join(self.known.learned()))
            self._changed()

    def missed(self) -> None:
        """Events of an unknown Type came: ask the servers whether they fold it by now, unless that was just done."""
        now = self._clock.seconds()
        if self._stopped or now < self._asked + ASK_SECONDS:
            return
        self._asked = now
        for endpoint in self.endpoints:
            self._ask(endpoint)

    def _ask(self, endpoint: _Overheard) -> None:
        asking: Deferred[object] = endpoint.topology().addErrback(self._silent)
        self._asking.add(asking)
        asking.addBoth(lambda _: self._asking.discard(asking))

    def _silent(self, failure: Failure) -> None:
        """A server that is away tells nothing; the forwarder says so. Any other failure is a defect."""
        if not failure.check(EndpointDown, CancelledError):
            self._log.failure("A server could not be asked for its Types", failure)

    def stop(self) -> None:
        """Ask nobody any more."""
        self._stopped = True
        for asking in list(self._asking):
            asking.cancel()

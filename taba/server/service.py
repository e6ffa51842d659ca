"""A whole server: store, be, fe, queries and the HTTP port, started and stopped in order.

Start: folder and store, be with its maintenance, then the port, then own instrumentation. Stop: the port, own
instrumentation, maintenance, be with its last checkpoint, the store. The agent inside the process is not made here (a
server does not know agents): the tap gives its resources and bodies for `/post`, what takes operations, and starts and
stops it between store and port.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from twisted.application.service import IService, Service
from twisted.internet.defer import Deferred, fail, inlineCallbacks
from twisted.logger import Logger
from twisted.web.resource import Resource

from taba.errors import SpoolError
from taba.handlers.registry import Registry
from taba.interfaces import IStore
from taba.process import Process
from taba.server.admin import Administered, AdminResources
from taba.server.asking import arguments
from taba.server.backend import Backend
from taba.server.blacklist import Blacklist
from taba.server.budget import ServerBudget
from taba.server.checking import Checking
from taba.server.frontend import Frontend
from taba.server.gc import Pruning
from taba.server.http import PARAMETERS_LIMIT, AppendResources, QueryResources
from taba.server.inspection import InspectionResources
from taba.server.keeping import Keeping
from taba.server.latency import LatencyTracker
from taba.server.maintenance import Maintenance
from taba.server.metrics import ServerMetrics
from taba.server.naming import life_of
from taba.server.observation import Observer, Recorder
from taba.server.operations import Operate, Operations
from taba.server.publishing import ALONE, HOLDING, SHARING, Publishing
from taba.server.query import Query
from taba.server.status import ServerStatus, Sharded
from taba.settings import ServerSettings
from taba.stopping import stop_in_turn
from taba.web.answers import Leaf, Refusal, Root, write_text
from taba.web.forwarded import TrustedProxies
from taba.web.listening import Listening, listen
from taba.web.room import Room
from taba.web.site import BoundedSite, BufferedBody
from taba.web.token import TokenGuard

HOUR = 3600.0
ROLES = ("fe", "be", "ctrl")
LEASE_SECONDS, SHARED_LEASE_SECONDS = 30.0, 2.0
"""How long leases hold, in a store of one process, and in one of many. The one process gets its leases back at once
when it starts again: a short time would only let it lose them when it was kept from its work for a while. Among
many, the others wait so long for the vbuckets of one that died.
"""


RELOADABLE = (
    "WEIGHT",
    "TRUSTED_PROXIES",
    "QUEUE_THROTTLE_CAPACITY",
    "QUEUE_CAPACITY",
    "NAME_BLACKLIST",
    "CLIENT_BLACKLIST",
    "TABS",
)
"""The settings that a server takes while it runs."""


def _rules_of(settings: ServerSettings) -> tuple[object, ...]:
    """What decides how logs are folded: when it changes, what waits in memory was decided by other rules."""
    return settings.name_blacklist, settings.client_blacklist, settings.tabs


def _no_agent(body: bytes, types: Iterable[str]) -> Deferred[None]:
    return fail(SpoolError("there is no agent in this server"))


def _no_fe(request: Any) -> None:
    raise Refusal(503, "This server is no fe (SERVER_ROLES) and takes no events: use the address of one that is.")


class Server(Service):
    """One server process, in the roles of its settings: fe takes batches, be folds, any answers queries. `inside` is
    the service of the agent in it.
    """

    _log = Logger()

    def __init__(
        self,
        settings: ServerSettings,
        process: Process,
        store: IStore,
        registry: Registry,
        record: Recorder,
        inside: IService,
        intake: Mapping[str, Resource],
        bodies: Mapping[bytes, Callable[[], Any]],
        guard: TokenGuard | None = None,
        operate: Operate = _no_agent,
    ) -> None:
        self.settings = settings
        self._process = process
        self.store = store
        self.registry = registry
        self._inside = inside
        self._port: Listening | None = None
        self.budget = ServerBudget.of(settings.memory_bytes, settings.state_cache_bytes)
        self.own_name = f"taba_server.{process.host}.{settings.port}"
        self.tracker = LatencyTracker()
        self.observer = Observer(record, process.wall, self.tracker, process.reactor.seconds)
        self.frontend = self._make_frontend()
        self._rules = _rules_of(settings)
        self._keeping = Keeping(settings.tabs)
        self._blacklist = Blacklist.of(settings.name_blacklist, settings.client_blacklist)
        self._chance = process.new_id()[:8]
        """What tells this life from others."""
        self.backend = self._make_backend()
        self.maintenance = self._make_maintenance()
        self.publishing = self._make_publishing()
        self.operations = Operations(operate, self.own_name, process.wall, process.new_id)
        self.status = self._make_status()
        self.query = Query(
            store, registry, process.wall, process.reactor, lambda: self.publishing.latencies.cluster
        )
        self._site = self._make_site(intake, bodies, guard)

    def _make_frontend(self) -> Frontend:
        settings, process = self.settings, self._process
        return Frontend(
            self.store,
            self.registry,
            process.reactor,
            process.wall,
            self.observer,
            queue_capacity=settings.queue_capacity,
            throttle_capacity=settings.queue_throttle_capacity,
            throttle_seconds=settings.queue_throttle_seconds,
            chance=process.random.random,
            max_body=settings.max_body_bytes,
        )

    def _make_backend(self) -> Backend:
        settings, process = self.settings, self._process
        return Backend(
            self.store,
            self.registry,
            process.reactor,
            process.wall,
            f"{self.own_name}.{self._chance}",
            self.observer,
            checkpoint_seconds=settings.checkpoint_seconds,
            lease_seconds=SHARED_LEASE_SECONDS if settings.database.redis else LEASE_SECONDS,
            max_clock_skew=settings.max_clock_skew,
            max_cache_bytes=self.budget.states,
            max_pending_bytes=self.budget.pending,
            keeping=self._keeping,
            blacklist=self._blacklist,
            member=self.own_name if settings.database.redis else "",
            weight=settings.weight,
        )

    def _make_maintenance(self) -> Maintenance:
        settings, process = self.settings, self._process
        return Maintenance(
            self.store,
            self.registry,
            self.backend,
            process.reactor,
            process.wall,
            Pruning(self.registry, self._keeping, settings.client_ttl),
            random=process.random.random,
            gc_seconds=settings.gc_seconds,
            undo_seconds=settings.undo_hours * HOUR,
        )

    def _make_publishing(self) -> Publishing:
        return Publishing(
            self.store,
            self.own_name,
            self.settings.roles.split(","),
            self.backend,
            self.tracker,
            self._process.reactor,
            self._process.wall,
            self.maintenance.collect,
            self.store.shard_states if isinstance(self.store, Sharded) else tuple,
            self.observer.connections_lost,
            pace=(HOLDING if self._is("be") else SHARING) if self.settings.database.redis else ALONE,
            weight=self.settings.weight,
            life=life_of(self._process.wall(), self._chance),
        )

    def _make_status(self) -> ServerStatus:
        database = self.settings.database
        return ServerStatus(
            self.publishing,
            self.store,
            self.backend,
            self.observer,
            self._process.wall,
            alone=not database.redis,
            kind=database.kind,
        )

    def _make_site(
        self, intake: Mapping[str, Resource], bodies: Mapping[bytes, Callable[[], Any]], guard: TokenGuard | None
    ) -> BoundedSite:
        limit = self.settings.max_body_bytes
        if not self._is("fe"):  # it answers questions; who has events is to go elsewhere
            intake, bodies = {path: Leaf(get=_no_fe, post=_no_fe) for path in intake}, {}
        leaves = {
            **intake,
            **QueryResources(self.query, self.status, self._process.reactor).leaves(),
            **self._inspection().leaves(),
            **self._appending(limit),
            **self._administration(guard is None).leaves(),
            "metrics": Leaf(get=ServerMetrics(self, self._inside, self._process).answer),
            "healthz": Leaf(get=lambda request: write_text(request, "ok\n")),
            "readyz": Leaf(get=self._readyz),
        }
        self.observer.measures.http.know(leaves)
        room = Room(self.budget.bodies)
        return BoundedSite(
            Root(leaves),
            self._process.reactor,
            {**bodies, b"/v2/append": lambda: BufferedBody(limit, room)},
            default_limit=PARAMETERS_LIMIT,
            guard=guard,
            answered=self.observer.measures.http,
        )

    def _administration(self, open: bool) -> AdminResources:
        trusted = TrustedProxies.of(self.settings.trusted_proxies)
        self._admin = AdminResources(self._administered(), open=open, get=self.settings.admin_get, trusted=trusted)
        return self._admin

    def _inspection(self) -> InspectionResources:
        undo_seconds = self.settings.undo_hours * HOUR
        return InspectionResources(
            self.store, self.query, self.registry, self.publishing, self._process.reactor, undo_seconds
        )

    def _administered(self) -> Administered:
        clock, wall = self._process.reactor, self._process.wall
        return Administered(
            self.store,
            self.status,
            self.operations,
            Checking(self.store, self.registry, self.operations, clock, wall),
            self.publishing,
            clock,
            wall,
            self.settings.undo_hours * HOUR,
        )

    def _appending(self, limit: int) -> dict[str, Resource]:
        """Protocol 2; a server that is no fe refuses it, so that agents go elsewhere."""
        leaves = AppendResources(self.frontend, limit, self._process.reactor).leaves()
        return leaves if self._is("fe") else {path: Leaf(get=_no_fe, post=_no_fe) for path in leaves}

    def _is(self, role: str) -> bool:
        return role in self.settings.roles.split(",")

    def _readyz(self, request: Any) -> None:
        *_, asked = arguments(request.uri).get(b"role", [b""])
        role = asked.decode("latin-1")
        if role and role not in ROLES:
            raise Refusal(400, f"role is one of {', '.join(ROLES)}.")
        problem = self.status.ready(role)
        if role and not self._is(role):
            problem = f"This server is no {role} (SERVER_ROLES)."
            if role == "be" and self.publishing.problem:
                problem = f"{problem} And {self.publishing.problem}."
        write_text(request, f"{problem}\n" if problem else "ok\n", 503 if problem else 200)

    def take_settings(self, settings: ServerSettings) -> None:
        """Go on with other settings, of those that are RELOADABLE. What a be has written of its logs stays as it was
        decided. Raises ValueError or SettingsError, and takes nothing, when one of them cannot be.
        """
        trusted = TrustedProxies.of(settings.trusted_proxies)
        blacklist, keeping = Blacklist.of(settings.name_blacklist, settings.client_blacklist), Keeping(settings.tabs)
        if self._rules != _rules_of(settings):
            self._rules = _rules_of(settings)
            self._blacklist.become(blacklist)
            self._keeping.become(keeping)
            self.backend.begin_anew()
        throttle = self.frontend.throttle
        throttle.soft, throttle.hard = settings.queue_throttle_capacity, settings.queue_capacity
        self._admin.trusted = trusted
        self.backend.leasing.weigh(settings.weight)
        self.publishing.weight = settings.weight

    @property
    def port(self) -> int:
        """The first TCP port that is open."""
        if self._port is None:
            raise ValueError("the server does not listen")
        return self._port.port

    @inlineCallbacks
    def startService(self):  # type: ignore[no-untyped-def]
        """Fires when events are taken and queries answered; StartError when that cannot be had."""
        super().startService()
        yield self.store.startService()
        if self._is("be"):
            self.backend.startService()
            self.maintenance.startService()
        self.publishing.startService()
        yield self._inside.startService()
        listening: Listening = yield listen(self._process.reactor, self.settings.endpoints(), self._site)
        self._port = listening
        self._process.say(
            f"Taba server: agents and queries on {', '.join(f'{url}/' for url in listening.urls())}, "
            f"{self.store.cluster.vbuckets} vbuckets, durability {self.store.cluster.durability}."
        )

    @inlineCallbacks
    def stopService(self):  # type: ignore[no-untyped-def]
        """Fires when everything is written and closed."""
        super().stopService()
        listening = [self._port.close] if self._port is not None else []
        yield stop_in_turn(
            *listening,
            self._inside.stopService,
            self.publishing.stopService,
            self.maintenance.stopService,
            self.backend.stopService,
            self.store.stopService,
        )

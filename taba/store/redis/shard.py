"""Follows the master of one shard, and keeps a connection for each role open to it.

The links of a shard come and go together: all lead to one server, under one lineage. As soon as one of them ends, or
its server turns out to be no master any more, or to have another lineage, or the Sentinels name another master, all are
closed, and the master is looked for again; whoever uses them drops what it knows of the shard and begins anew on the
next ones. A link is never mended.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred, DeferredList, succeed
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger
from twisted.python.failure import Failure

from taba.process import Process
from taba.store.redis.access import Access, Address, CannotConnect
from taba.store.redis.following import SETTLED_SECONDS, Backoff
from taba.store.redis.link import Link, Replication, ShardUnavailable, open_link
from taba.store.redis.protocol import RedisRefused
from taba.store.redis.side_by_side import together
from taba.store.redis.source import FixedSource, Source

ROLES = ("append", "read", "be", "query")
CALL_SECONDS = 2.0
"""How long a call may take, unless it says otherwise."""
IDLE_SECONDS = 1.0
"""How often a link on which nothing is under way is looked at."""


class Shard(Service):
    """The links to the master of the shard `name`, one for each of `roles`. To be used in the reactor thread.

    `source` is the address (host, port) of a single server, or the Sentinels that watch the shard, which is a service
    of its own. `failovers` counts how often the links came back under another lineage than before.
    """

    name: str
    _log = Logger()

    def __init__(
        self,
        name: str,
        process: Process,
        roles: Sequence[str] = ROLES,
        source: tuple[str, int] | Source = ("127.0.0.1", 6379),
        access: Access | None = None,
        *,
        call_seconds: float = CALL_SECONDS,
        idle_seconds: float = IDLE_SECONDS,
    ) -> None:
        self.name = name
        self.failovers = 0
        self._process = process
        self._roles = tuple(roles)
        self._source = FixedSource(Address(*source)) if isinstance(source, tuple) else source
        self._access = access or Access()
        self._call_seconds = call_seconds
        self._idle_seconds = idle_seconds
        self._backoff = Backoff()
        self._links: dict[str, Link] = {}
        self._master: Address | None = None
        """Of the links, or of the attempt under way, or of the last one."""
        self._attempt: Deferred[Any] | None = None
        self._timer: IDelayedCall | None = None
        """The next attempt, or, while links are open, the next look at them."""
        self._changed = process.reactor.seconds()
        """When links came or went last."""
        self._problem = f"shard {name}: not started"
        """What was wrong last."""
        self._said: set[str] = set()
        """What the operator was told since links were open last."""
        self._before: str | None = None
        self._replicas: tuple[str, ...] = ()
        self._watchers: list[Callable[[], None]] = []
        self._waiters: list[Deferred[None]] = []

    # -------------------------------------------------------------------------------------------------- for callers

    def link(self, role: str) -> Link:
        """The open connection of a role. Raises StoreUnavailable when there is none; it says why, and since when."""
        if not self._links:
            raise self._unavailable()
        return self._links[role]

    @property
    def lineage(self) -> str:
        """Of the open links; raises StoreUnavailable when there are none."""
        return self.link(self._roles[0]).lineage

    def vouched(self) -> bool:
        """Whether a majority of the Sentinels named the master of the open links within the last VOUCH_SECONDS.

        Always True where there are no Sentinels; else False while no links are open.
        """
        if isinstance(self._source, FixedSource):
            return True
        return bool(self._links) and self._master is not None and self._source.vouches(self.name, self._master)

    def lost(self, reason: str, link: Link | None = None) -> None:
        """Something says that the server is not what it was: close all links, and look for the master again.

        With the `link` on which that was seen, nothing happens when it is none of the present ones.
        """
        if self._links and (link is None or link in self._links.values()):
            self._drop(reason)

    def when_open(self) -> Deferred[None]:
        """Fires when links are open; fails with StoreUnavailable when the service stops before."""
        if self._links:
            return succeed(None)
        waiter: Deferred[None] = Deferred(self._waiters.remove)
        self._waiters.append(waiter)
        return waiter

    def watch(self, callback: Callable[[], None]) -> None:
        """Call `callback` whenever links come or go, with the links there, or gone, already."""
        self._watchers.append(callback)

    def state(self) -> dict[str, object]:
        """What an operator wants to know of the shard: plain values."""
        master = self._master
        return {
            "shard": self.name,
            "master": None if master is None else str(master),
            "open": bool(self._links),
            "seconds": round(self._process.reactor.seconds() - self._changed, 1),
            "named_by": [] if master is None else list(self._source.named_by(self.name, master)),
            "vouched": self.vouched(),
            "lineage": self._before,
            "replicas": list(self._replicas),
            "failovers": self.failovers,
            "problem": "" if self._links else self._trouble(),
            "last_problem": self._problem,
        }

    def _trouble(self) -> str:
        """What is wrong while no links are open."""
        return (self.running and self._source.problem(self.name)) or self._problem

    def _unavailable(self) -> ShardUnavailable:
        seconds = self._process.reactor.seconds() - self._changed
        return ShardUnavailable(self.name, f"{self._trouble()} (no master for {seconds:.1f} s)")

    # ------------------------------------------------------------------------------------------------ start and stop

    def startService(self) -> None:
        """Begin to look for the master."""
        super().startService()
        self._changed = self._process.reactor.seconds()
        self._problem = f"shard {self.name}: its master is being looked for"
        self._source.follow(self.name, self._moved)
        self._source.hurry(self.name, True)
        self._try()

    def stopService(self) -> Deferred[None]:
        """Close the links, letting leave what was written; fires when nothing of them is left."""
        if not self.running:
            return succeed(None)
        super().stopService()
        self._source.forget(self.name)
        self._problem = f"shard {self.name}: the process stops"
        self._cancel()
        links = self._taken_away(self._problem, gently=True)
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            waiter.errback(self._unavailable())
        return DeferredList([link.gone() for link in links]).addCallback(lambda _: None)

    def _cancel(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        attempt, self._attempt = self._attempt, None
        if attempt is not None:
            attempt.cancel()

    # ------------------------------------------------------------------------------------------------------- opening

    def _moved(self) -> None:
        """The source names a master: another one, or this one again."""
        master = self._source.master(self.name)
        if master is None:
            return
        if master == self._master and (self._links or self._attempt is not None):
            self._look(busy=True)
            return
        if master == self._master and self._timer is not None:
            return  # a try came to nothing, and the next one is due soon
        self._backoff.reset()
        self._cancel()
        if self._links:
            self._taken_away(f"shard {self.name} at {self._master}: {master} is the master now")
        if self.running:
            self._try()

    def _try(self) -> None:
        """Open links to the master, if it is known; else the source will call."""
        self._timer = None
        master = self._source.master(self.name)
        if master is None:
            return
        self._master = master
        attempt = self._attempt = Deferred.fromCoroutine(self._open(master))
        attempt.addCallbacks(self._opened, self._not_opened, callbackArgs=(attempt,), errbackArgs=(attempt,))
        attempt.addErrback(lambda failure: self._log.failure("Shard {shard}", failure, shard=self.name))

    async def _open(self, master: Address) -> dict[str, Link]:
        """Links of all roles, under one lineage, or none."""
        reactor = self._process.reactor
        attempts = [
            Deferred.fromCoroutine(open_link(reactor, master, self._access, self.name, role, self._call_seconds))
            for role in self._roles
        ]
        try:
            links = await together(attempts)
            if len({link.lineage for link in links}) > 1 or not all(link.alive for link in links):
                raise CannotConnect(f"shard {self.name} at {master}: its lineage changed while links were opened")
        except BaseException:
            for attempt in attempts:
                attempt.addCallbacks(_put_away, lambda _: None)
                attempt.cancel()
            raise
        return dict(zip(self._roles, links, strict=True))

    def _opened(self, links: dict[str, Link], attempt: Deferred[Any]) -> None:
        if attempt is not self._attempt:  # it was cancelled, and ended well all the same
            for link in links.values():
                _put_away(link)
            return
        self._attempt = None
        self._links = links
        self._changed = self._process.reactor.seconds()
        first = links[self._roles[0]]
        self.failovers += self._before not in (None, first.lineage)
        self._before = first.lineage
        self._replicas = first.opened.replicas
        for link in links.values():
            link.listen(self._ended, self._sign)
        self._source.hurry(self.name, False)
        self._said.clear()
        self._process.say(f"Shard {self.name}: connected to its master {first.address}.")
        self._look_later()
        self._tell_watchers()
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            waiter.callback(None)

    def _not_opened(self, failure: Failure, attempt: Deferred[Any]) -> None:
        if attempt is not self._attempt:
            return
        self._attempt = None
        problem = failure.value
        if not isinstance(problem, CannotConnect):
            self._log.failure("Shard {shard}: a defect keeps it from connecting", failure, shard=self.name)
        self._trouble_is(str(problem))
        settled = isinstance(problem, CannotConnect) and problem.settled
        self._try_later(SETTLED_SECONDS if settled else self._backoff.next(self._process.random))

    def _try_later(self, seconds: float) -> None:
        self._timer = self._process.reactor.callLater(seconds, self._try)

    def _trouble_is(self, problem: str) -> None:
        """Keep what is wrong, and tell the operator when it is something new."""
        self._problem = problem
        if problem not in self._said:
            self._said.add(problem)
            self._process.say(f"{problem[:1].upper()}{problem[1:]}.")

    # ------------------------------------------------------------------------------------------------------- looking

    def _look_later(self) -> None:
        self._timer = self._process.reactor.callLater(self._idle_seconds, self._look_at_idle)

    def _look_at_idle(self) -> None:
        self._look_later()
        self._look(busy=False)

    def _look(self, busy: bool) -> None:
        """Ask the server on each idle link what it is, so that a hung one is found; on busy ones too, after what they
        wait for, when something happened. The calls on busy links have their own time limits.
        """
        for link in list(self._links.values()):
            if link.idle or (busy and link.between_transactions):
                looking = link.look(self._call_seconds if link.idle else None)
                looking.addCallbacks(self._seen, self._unseen, callbackArgs=(link,), errbackArgs=(link,))

    def _seen(self, now: Replication, link: Link) -> None:
        if now.role != "master":
            self.lost(f"shard {self.name} at {link.address} is not a master any more: it is a {now.role}", link)
        elif now.lineage != link.lineage:
            self.lost(f"shard {self.name} at {link.address} has begun a new lineage", link)
        else:
            self._replicas = now.replicas

    def _unseen(self, failure: Failure, link: Link) -> None:
        """Signs of a change and the end of the connection are seen elsewhere."""
        if failure.check(CannotConnect):
            self.lost(f"shard {self.name} at {link.address}: {failure.value}", link)

    # ------------------------------------------------------------------------------------------------------- closing

    def _ended(self, link: Link, reason: str) -> None:
        self.lost(f"shard {self.name} at {link.address}: {reason}", link)

    def _sign(self, link: Link, refused: RedisRefused) -> None:
        self.lost(f"shard {self.name} at {link.address} refuses: {refused}", link)

    def _drop(self, reason: str) -> None:
        """Close all links, and look for the master again."""
        lived = self._process.reactor.seconds() - self._changed
        if lived > self._backoff.most:
            self._backoff.reset()
        self._taken_away(reason)
        self._cancel()  # whoever was told may have done something
        if self.running:
            self._try_later(self._backoff.next(self._process.random))

    def _taken_away(self, reason: str, gently: bool = False) -> list[Link]:
        """Close the links, which nobody gets any more; they are answered with."""
        links, self._links = list(self._links.values()), {}
        if not links:
            return links
        self._changed = self._process.reactor.seconds()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self.running:
            self._trouble_is(reason)
            self._source.hurry(self.name, True)
        for link in links:
            link.close(reason, gently)
        self._tell_watchers()
        return links

    def _tell_watchers(self) -> None:
        for callback in list(self._watchers):
            try:
                callback()
            except Exception:
                self._log.failure("Whoever watches shard {shard} failed", shard=self.name)


def _put_away(link: Link | None) -> None:
    """Close a link that was opened for nothing."""
    if link is not None:
        link.close("it is not used")

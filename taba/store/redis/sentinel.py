"""Asks the Sentinels who is master of each shard, and listens to what they say by themselves.

One connection to each Sentinel is for questions, about all shards at once: in a steady rhythm, faster while a shard has
no master, and at once when a Sentinel announces a switch, which comes by a second connection (one that has subscribed
may not ask). An announcement is only a reason to ask: it does not say when it was made. What the answers amount to is
decided by `following`. Sentinels do not wait for each other: one that is down or hangs has one question under way at
most, and is tried again by itself, more and more slowly.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import CancelledError, Deferred, DeferredList, succeed
from twisted.logger import Logger
from twisted.python.failure import Failure

from taba.errors import SettingsError
from taba.process import Process
from taba.store.redis.access import Access
from taba.store.redis.address import Address
from taba.store.redis.following import Following
from taba.store.redis.protocol import Reply
from taba.store.redis.sentinel_talk import Asker, Listener

SPREAD_SECONDS = 3.0
"""How long it may take until all Sentinels know what one has announced: they greet each other every 2 s."""
SENTINEL_ACCESS = Access(user_setting="SENTINEL_USER", password_setting="SENTINEL_PASSWORD", tls_setting="SENTINEL_TLS")


class Sentinels(Service):
    """The Sentinels at `addresses`, all of them, each (host, port), for all shards: a `Source`.

    Names of shards are those of the masters in the Sentinels' configuration. To be used in the reactor thread.
    """

    _log = Logger()

    def __init__(
        self, addresses: Sequence[tuple[str, int]], process: Process, access: Access = SENTINEL_ACCESS
    ) -> None:
        """Raises SettingsError when there is none, or one twice: it would have two voices."""
        known = [Address(*each) for each in addresses]
        twice = [each for each in known if known.count(each) > 1]
        if twice or not known:
            raise SettingsError(f"SENTINELS names {twice[0]} twice." if twice else "SENTINELS names none.")
        self.process = process
        self.access = access
        self.followings: dict[str, Following] = {}
        self._names = [str(each) for each in known]
        self._askers = [Asker(self, each) for each in known]
        self._listeners = [Listener(self, each) for each in known]
        self._moved: dict[str, Callable[[], None]] = {}
        self._told: dict[str, Address | None] = {}
        self._urgent: set[str] = set()
        self._uncertain: set[str] = set()
        """Shards whose links are to be looked at again, since a switch was announced."""
        self._hurried_until = 0.0
        self._warned: set[str] = set()
        self._order: list[str] = []
        """Of the shards, as they came: that of the settings."""
        self._running: list[Deferred[None]] = []

    # ------------------------------------------------------------------------------------------------ start and stop

    def startService(self) -> None:
        """Begin to ask."""
        super().startService()
        loops: list[Asker | Listener] = [*self._askers, *self._listeners]
        self._running = [Deferred.fromCoroutine(each.run()) for each in loops]
        for each in self._running:
            each.addErrback(self._over)

    def _over(self, failure: Failure) -> None:
        if not failure.check(CancelledError):
            self._log.failure("A Sentinel is not asked any more", failure)

    def stopService(self) -> Deferred[None]:
        """Ask no more; fires when nothing of the connections is left."""
        if not self.running:
            return succeed(None)
        super().stopService()
        running, self._running = self._running, []
        for each in running:
            each.cancel()
        return DeferredList(running).addCallback(lambda _: None)

    # ---------------------------------------------------------------------------------------------------- as a Source

    @property
    def hurried(self) -> bool:
        """Whether some shard has no master, or a switch was announced just now: not all Sentinels know of it yet."""
        return bool(self._urgent) or self.process.reactor.seconds() < self._hurried_until

    def follow(self, shard: str, moved: Callable[[], None]) -> None:
        """See `Source`. While a shard is in a hurry, `moved` is called again for each answer."""
        self.followings[shard] = Following(shard, self._names)
        self._moved[shard] = moved
        self._told[shard] = None
        if shard not in self._order:
            self._order.append(shard)

    def forget(self, shard: str) -> None:
        """See `Source`."""
        self.followings.pop(shard, None)
        self._urgent.discard(shard)
        self._uncertain.discard(shard)

    def hurry(self, shard: str, needed: bool) -> None:
        """See `Source`."""
        if not needed:
            self._urgent.discard(shard)
        elif shard not in self._urgent:
            self._urgent.add(shard)
            self._ask_now()

    def _ask_now(self) -> None:
        for asker in self._askers:
            asker.ask_now()

    def master(self, shard: str) -> Address | None:
        """See `Source`: whom a majority names."""
        return self.followings[shard].master(self.process.reactor.seconds())

    def vouches(self, shard: str, master: Address) -> bool:
        """See `Source`: whether a majority named this very master within the last VOUCH_SECONDS."""
        following = self.followings.get(shard)
        return following is not None and following.vouches(master, self.process.reactor.seconds())

    def named_by(self, shard: str, master: Address) -> Sequence[str]:
        """See `Source`."""
        following = self.followings.get(shard)
        return [] if following is None else following.named_by(master, self.process.reactor.seconds())

    def problem(self, shard: str) -> str:
        """See `Source`: why there is no majority, and what is wrong with single Sentinels."""
        following, now = self.followings[shard], self.process.reactor.seconds()
        problem = following.problem(now)
        if not problem:
            return ""
        if len(following.named_by(None, now)) >= following.majority:
            known = sorted({name for asker in self._askers for name in asker.known})
            knows = f"it knows: {', '.join(known)}" if known else "it knows none"
            setting = f"SHARDS[{self._order.index(shard)}].shard_name"
            return f"shard {shard}: SENTINEL knows no master named {shard}: check {setting}; {knows}"
        troubles = [asker.problem for asker in self._askers if asker.problem]
        return f"shard {shard}: {problem}" + (f" ({'; '.join(troubles)})" if troubles else "")

    def state(self) -> list[dict[str, Any]]:
        """What an operator wants to know of each Sentinel: plain values."""
        now = self.process.reactor.seconds()
        return [
            {
                "sentinel": str(asker.address),
                "answered_seconds_ago": None if asker.answered is None else round(now - asker.answered, 1),
                "problem": asker.problem,
            }
            for asker in self._askers
        ]

    # ------------------------------------------------------------------------------------------------ what they say

    def heard(self, shard: str, sentinel: str, master: Address | None, asked: float) -> None:
        """For askers: a Sentinel answered what it was asked at a time."""
        following = self.followings.get(shard)
        if following is None:
            return
        following.heard(sentinel, master, asked)
        decided = following.master(self.process.reactor.seconds())
        if decided is not None and (decided != self._told[shard] or shard in self._urgent or shard in self._uncertain):
            self._told[shard] = decided
            self._uncertain.discard(shard)
            self._moved[shard]()

    def counted(self, shard: str, sentinels: int) -> None:
        """For askers: so many Sentinels watch a shard. Those that the settings do not name have no voice here."""
        if shard in self.followings and sentinels > len(self._names) and shard not in self._warned:
            self._warned.add(shard)
            self.process.say(
                f"Shard {shard} is watched by {sentinels} Sentinels, and SENTINELS names {len(self._names)}: "
                "name them all, for a majority of these may be a minority of all."
            )

    def switched(self, announcement: Reply) -> None:
        """For listeners: a Sentinel announces `SHARD OLD-HOST OLD-PORT HOST PORT`."""
        name = announcement.split(b" ")[0].decode("utf-8", "replace") if isinstance(announcement, bytes) else ""
        if name in self.followings:
            self._uncertain.add(name)
            self._hurried_until = self.process.reactor.seconds() + SPREAD_SECONDS
            self._ask_now()

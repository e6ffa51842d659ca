"""What was seen of each shard last, and when: whose it is, its markers, and the vbuckets that leave it.

Each shard is looked at on its own, so that one that hangs does not make what is known of the others old. A look that is
under way when another is asked for is waited for, and followed by one more for all who asked meanwhile: what they are
given was seen after they asked.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping

from attrs import define, field
from twisted.internet.defer import Deferred

from taba.store.redis.founding import Founding, Seen

OLD_SECONDS = 5.0
"""How old what is known of a shard may be for answers to be given. Whoever answers an agent's second look, which comes
AGENT_CONFIRM_SECONDS after the first ok, has seen where the vbucket is well after that ok.
"""


@define(eq=False)
class _Look:
    """The looks at one shard: that under way, and that which follows it."""

    running: Deferred[None] | None = None
    following: Deferred[None] | None = None


@define(eq=False)
class Looks:
    """What one process saw. `now` is monotonic; `prepare` is done before a shard is looked at; `seen_anew` is told."""

    _now: Callable[[], float]
    _founding: Founding
    _prepare: Callable[[str], Awaitable[None]]
    _seen_anew: Callable[[], None]
    _seen: dict[str, Seen] = field(factory=dict, init=False)
    _when: dict[str, float] = field(factory=dict, init=False)
    """When the look began that saw it."""
    _looks: dict[str, _Look] = field(factory=dict, init=False)

    @property
    def seen(self) -> Mapping[str, Seen]:
        """What was seen last of each shard."""
        return self._seen

    def put(self, seen: Mapping[str, Seen], when: float) -> None:
        """All shards were seen by a look that began then."""
        self._seen.update(seen)
        self._when.update(dict.fromkeys(seen, when))

    def fresh(self, names: Iterable[str]) -> bool:
        """Whether all these shards were seen within the last OLD_SECONDS."""
        since = self._now() - OLD_SECONDS
        return all(self._when.get(name, since - 1.0) >= since for name in names)

    def look(self, name: str) -> Deferred[None]:
        """Look at a shard: fires when it was seen by a look that began now or later; fails as that look does."""
        look = self._looks.setdefault(name, _Look())
        if look.running is None:
            return self._begin(name, look)
        if look.following is None:
            look.following = Deferred()
        waiter: Deferred[None] = Deferred(lambda _: None)
        look.following.addBoth(_passed_to(waiter))
        return waiter

    def _begin(self, name: str, look: _Look) -> Deferred[None]:
        waiter: Deferred[None] = Deferred(lambda _: None)
        look.running = Deferred.fromCoroutine(self._see(name))

        def ended(result: object) -> None:
            look.running = None
            following, look.following = look.following, None
            if following is not None:
                self._begin(name, look).addBoth(_passed_to(following))
            _passed_to(waiter)(result)

        look.running.addBoth(ended)
        return waiter

    async def _see(self, name: str) -> None:
        began = self._now()
        await self._prepare(name)
        self._seen[name] = await self._founding.see(name)
        self._when[name] = began
        self._seen_anew()

    def cancel(self) -> None:
        """End what is under way."""
        for look in self._looks.values():
            following, look.following = look.following, None
            if following is not None:
                following.addErrback(lambda _: None)
            if look.running is not None:
                look.running.cancel()


def _passed_to(waiter: Deferred[None]) -> Callable[[object], None]:
    """What gives a result to somebody who may wait no longer."""

    def passed(result: object) -> None:
        if not waiter.called:
            waiter.callback(result)  # type: ignore[arg-type]

    return passed

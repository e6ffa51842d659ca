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

from attrs import define, field
from twisted.application.service import Service
from twisted.internet.defer import CancelledError, Deferred, DeferredList, succeed
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from taba.errors import SettingsError, StoreError
from taba.process import Process
from taba.store.redis.access import Access, Address, CannotConnect, connect
from taba.store.redis.following import Backoff, Following, look_again
from taba.store.redis.protocol import RedisRefused, Reply, Wire, together

ANSWER_SECONDS = 0.4
"""How long a Sentinel may take to answer."""
SETTLED_SECONDS = 5.0
"""How often to try again what an operator has to change first, a wrong password for example."""
SWITCH = "+switch-master"
SENTINEL_ACCESS = Access(user_setting="SENTINEL_USER", password_setting="SENTINEL_PASSWORD", tls_setting="SENTINEL_TLS")


@define(eq=False)
class _Nap:
    """A pause that may be cut short."""

    _clock: IReactorTime
    _waking: Deferred[None] | None = field(default=None, init=False)

    async def sleep(self, seconds: float) -> None:
        """Wait for so many seconds, or until `wake`."""
        waking: Deferred[None] = Deferred()
        self._waking = waking
        timer = self._clock.callLater(seconds, self.wake)
        try:
            await waking
        finally:
            if timer.active():
                timer.cancel()

    def wake(self) -> None:
        """End the pause, if there is one now."""
        if self._waking is not None and not self._waking.called:
            self._waking.callback(None)


@define(eq=False)
class _Asker:
    """Asks one Sentinel, for as long as it runs."""

    _sentinels: Sentinels
    address: Address
    problem: str = field(default="", init=False)
    """What is wrong with it; "" when nothing is."""
    answered: float | None = field(default=None, init=False)
    """When it answered last."""
    known: list[str] = field(factory=list, init=False)
    """The names of the masters it watches, as far as it has told."""
    _again: bool = field(default=False, init=False)
    """Whether to ask once more without a pause."""
    _nap: _Nap = field(init=False)
    _backoff: Backoff = field(factory=Backoff, init=False)
    _log = Logger()

    def __attrs_post_init__(self) -> None:
        self._nap = _Nap(self._sentinels.process.reactor)

    def ask_now(self) -> None:
        """Do not wait for the next turn; a Sentinel that is down is tried again in its own time, though."""
        self._again = True
        if not self.problem:
            self._nap.wake()

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            problem: Exception
            try:
                await self._converse()
            except CancelledError:
                raise
            except StoreError as trouble:
                problem = trouble
            except Exception as defect:
                self._log.failure("Asking the Sentinel at {address} failed", address=self.address)
                problem = defect
            self._found(str(problem))
            settled = isinstance(problem, CannotConnect) and problem.settled
            random = self._sentinels.process.random
            await self._nap.sleep(SETTLED_SECONDS if settled else self._backoff.next(random))

    async def _converse(self) -> None:
        """Connect, and ask until something goes wrong, which is raised."""
        process = self._sentinels.process
        access = self._sentinels.access
        wire, _ = await connect(process.reactor, self.address, access, "Sentinel", ANSWER_SECONDS, ("PING",))
        wire.on_end = lambda _: self._nap.wake()
        try:
            await self._ask(wire)
            await self._look_at_all(wire)
            while True:
                if not self._again:
                    await self._nap.sleep(look_again(self._sentinels.hurried, process.random))
                await self._ask(wire)
        finally:
            wire.end("it is not used")
            await wire.gone()

    async def _ask(self, wire: Wire) -> None:
        """Ask for the masters of all shards, and tell."""
        self._again = False
        asked = self._sentinels.process.reactor.seconds()
        shards = list(self._sentinels.followings)
        questions = [("SENTINEL", "GET-MASTER-ADDR-BY-NAME", shard) for shard in shards]
        try:
            replies = await together([wire.execute_command(*each, timeout=ANSWER_SECONDS) for each in questions])
        except RedisRefused as refused:
            no_sentinel = "unknown command" in refused.sentence
            problem = f"{wire.name} is none ({refused})" if no_sentinel else ""
            raise CannotConnect(problem or self._sentinels.access.refusal(refused, wire.name), settled=True)
        masters = [_address(reply, wire.name) for reply in replies]
        if None in masters and not self.known:
            await self._look_at_all(wire)
        self.answered = self._sentinels.process.reactor.seconds()
        self._backoff.reset()
        self._found("")
        for shard, master in zip(shards, masters, strict=True):
            self._sentinels.heard(shard, str(self.address), master, asked)

    async def _look_at_all(self, wire: Wire) -> None:
        """Which masters it knows, and how many Sentinels watch each. One that does not say may have its reasons."""
        try:
            reply = await wire.execute_command("SENTINEL", "MASTERS", timeout=ANSWER_SECONDS)
        except RedisRefused:
            return
        rows = [_row(each) for each in reply] if isinstance(reply, list) else []
        self.known = sorted(row["name"] for row in rows if "name" in row)
        for row in rows:
            others = row.get("num-other-sentinels", "")
            if others.isdigit():
                self._sentinels.counted(row.get("name", ""), int(others) + 1)

    def _found(self, problem: str) -> None:
        """Tell the operator what is wrong, once, and when it is well again."""
        if problem and not self.problem:
            self._sentinels.process.say(f"{problem}.")
        elif self.problem and not problem:
            self._sentinels.process.say(f"Sentinel at {self.address}: it answers again.")
        self.problem = problem


def _address(reply: Reply, name: str) -> Address | None:
    """The answer to GET-MASTER-ADDR-BY-NAME."""
    if reply is None:
        return None
    if isinstance(reply, list) and len(reply) == 2:
        host, port = reply
        if isinstance(host, bytes) and isinstance(port, bytes) and port.isdigit():
            return Address(host.decode("utf-8", "replace"), int(port))
    raise CannotConnect(f"{name} does not answer as a Sentinel does: {str(reply)[:100]}", settled=True)


def _row(reply: Reply) -> dict[str, str]:
    """One master of SENTINEL MASTERS: names and values in turn."""
    texts = (
        [each.decode("utf-8", "replace") for each in reply if isinstance(each, bytes)]
        if isinstance(reply, list)
        else []
    )
    return dict(zip(texts[::2], texts[1::2], strict=False))


@define(eq=False)
class _Listener:
    """Hears of switches from one Sentinel, for as long as it runs. That it cannot costs at most a second in a
    failover, so that nobody is told.
    """

    _sentinels: Sentinels
    address: Address
    _log = Logger()

    async def run(self) -> None:
        """Until cancelled."""
        process = self._sentinels.process
        backoff, nap = Backoff(most=SETTLED_SECONDS), _Nap(process.reactor)
        while True:
            try:
                await self._listen(backoff)
            except (CannotConnect, RedisRefused) as problem:
                self._log.debug(
                    "No news from the Sentinel at {address}: {problem}", address=self.address, problem=problem
                )
            await nap.sleep(backoff.next(process.random))

    async def _listen(self, backoff: Backoff) -> None:
        process = self._sentinels.process
        ended: Deferred[None] = Deferred()
        wire, _ = await connect(process.reactor, self.address, self._sentinels.access, "Sentinel", ANSWER_SECONDS)

        def message(words: Reply) -> None:
            if isinstance(words, RedisRefused):
                wire.end(str(words))
            elif isinstance(words, list) and words[:1] == [b"message"]:
                self._sentinels.switched(words[-1])
            else:
                backoff.reset()

        wire.on_message = message
        wire.on_end = lambda _: ended.callback(None)
        try:
            wire.subscribe_to(SWITCH)
            await ended
        finally:
            wire.end("it is not used")
            await wire.gone()


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
        self._askers = [_Asker(self, each) for each in known]
        self._listeners = [_Listener(self, each) for each in known]
        self._moved: dict[str, Callable[[], None]] = {}
        self._told: dict[str, Address | None] = {}
        self._urgent: set[str] = set()
        self._uncertain: set[str] = set()
        """Shards whose links are to be looked at again, since a switch was announced."""
        self._warned: set[str] = set()
        self._order: list[str] = []
        """Of the shards, as they came: that of the settings."""
        self._running: list[Deferred[None]] = []

    # ------------------------------------------------------------------------------------------------ start and stop

    def startService(self) -> None:
        """Begin to ask."""
        super().startService()
        loops: list[_Asker | _Listener] = [*self._askers, *self._listeners]
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
        """Whether some shard has no master."""
        return bool(self._urgent)

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
            self._ask_now()

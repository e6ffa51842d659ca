"""The conversations with one Sentinel: one that asks, one that listens. Each goes on until it is cancelled.

`Asker` has one round of questions under way at most. What fails ends the connection, and another is tried, more and
more slowly, up to once a second; while an operator has to change something first, every few seconds.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import define, field
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from taba.errors import StoreError
from taba.store.redis.access import CannotConnect, connect
from taba.store.redis.address import Address
from taba.store.redis.following import SETTLED_SECONDS, Backoff, look_again
from taba.store.redis.protocol import RedisRefused, Reply, Wire
from taba.store.redis.side_by_side import together

if TYPE_CHECKING:
    from taba.store.redis.sentinel import Sentinels

ANSWER_SECONDS = 0.4
"""How long a Sentinel may take to answer."""
SWITCH = "+switch-master"


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
class Asker:
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
        """Until cancelled; a stop that comes from within, by somebody whom an answer was told, ends it a step later."""
        while self._sentinels.running:
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
            else:
                break
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
            while self._sentinels.running:
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
class Listener:
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
        while self._sentinels.running:
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

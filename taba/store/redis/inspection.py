"""`--check-config` on Redis: goes and looks, writes nothing, and says what would not work or endangers data.

Shards are found and connected to just as a server does it, so that what keeps a server from working keeps this from
connecting, with the same sentence. Beside that each Sentinel is asked what it knows, and each replica, which may be
master tomorrow, for its configuration. Everything has a time limit: the whole takes a few seconds.
"""

from __future__ import annotations

from collections.abc import Coroutine, Mapping, Sequence
from typing import Any

from attrs import define, evolve, field, frozen
from twisted.internet.defer import Deferred, DeferredList, TimeoutError, maybeDeferred
from twisted.python.failure import Failure

from taba.errors import StartError, StoreError
from taba.process import Process
from taba.settings import DatabaseSettings
from taba.store.redis.access import Access, Address, connect
from taba.store.redis.dangers import (
    WANTED,
    Finding,
    SentinelFacts,
    ServerFacts,
    Wishes,
    lines,
    of_confirmation,
    of_names,
    of_sentinels,
    of_server,
)
from taba.store.redis.durability import Level, choose
from taba.store.redis.founding import Founding, Identity
from taba.store.redis.library import present_version
from taba.store.redis.opening import Parts, level_of, parts_of, redis_access, sentinel_access
from taba.store.redis.protocol import RedisRefused, Reply, Wire
from taba.store.redis.shard import Shard
from taba.store.redis.side_by_side import together

OPEN_SECONDS = 3.0
"""How long shards may take to be found and connected to."""
ANSWER_SECONDS = 1.0
"""How long a single question may take."""
ALL_SECONDS = 10.0
"""How long everything may take: whatever is known then is reported."""
STOP_SECONDS = 1.0
"""How long the closing of connections is waited for: the process ends anyhow."""


@frozen
class Report:
    """What was found: lines for the operator, and whether Taba can work."""

    lines: Sequence[str]
    works: bool


async def inspect(settings: DatabaseSettings, process: Process, confirm_seconds: float) -> Report:
    """Look at the Redis servers and Sentinels of settings. `confirm_seconds` is AGENT_CONFIRM_SECONDS.

    Raises SettingsError as `check_database` does; nothing else that goes wrong is raised: it is in the report.
    """
    quiet = evolve(process, say=lambda sentence: None)
    inspection = _Inspection(settings, quiet, confirm_seconds)
    try:
        if not await _in_time(process.reactor, inspection.run(), ALL_SECONDS):
            text = f"after {ALL_SECONDS:g} s not everything had been looked at: one of the servers may be very slow"
            inspection.findings.append(Finding("the inspection", text, grave=True))
    finally:
        await _in_time(process.reactor, inspection.stop(), STOP_SECONDS)
    findings = inspection.findings
    return Report([*inspection.seen, *lines(findings)], not any(each.grave for each in findings))


@define(eq=False)
class _Inspection:
    _settings: DatabaseSettings
    _process: Process
    _confirm_seconds: float
    findings: list[Finding] = field(factory=list, init=False)
    seen: list[str] = field(factory=list, init=False)
    """What is there, for the operator."""
    _parts: Parts = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._parts = parts_of(self._settings, self._process)

    async def run(self) -> None:
        """Look at everything."""
        if self._parts.sentinels is not None:
            self._parts.sentinels.startService()
        for shard in self._parts.shards.values():
            shard.startService()
        rows = await self._ask_sentinels()
        until = self._process.reactor.seconds() + OPEN_SECONDS
        shards = [shard for shard in self._parts.shards.values() if await self._opened(shard, until)]
        identity = await self._look_at_data(shards)
        wishes = self._wishes(identity)
        for shard in shards:
            await self._guarded(shard.name, self._look_at_shard(shard, wishes, rows))
        for name in self._parts.shards:
            if rows:
                self.findings += of_sentinels(name, [each for each in rows if each.shard == name], wishes)

    async def stop(self) -> None:
        """Close all connections."""
        await DeferredList([shard.stopService() for shard in self._parts.shards.values()])
        if self._parts.sentinels is not None:
            await maybeDeferred(self._parts.sentinels.stopService)

    def _wishes(self, identity: Identity | None) -> Wishes:
        asked = level_of(self._settings) or (identity.level if identity is not None else None)
        settings = self._settings
        watched = self._parts.sentinels is not None
        return Wishes(asked, settings.wait_replicas, watched, len(settings.sentinels), self._confirm_seconds)

    def _add(self, subject: str, text: object, grave: bool = False) -> None:
        self.findings.append(Finding(subject, str(text).rstrip("."), grave))

    async def _guarded(self, subject: str, work: Any, grave: bool = False) -> None:
        """Do something, and report it when it fails."""
        try:
            await work
        except StartError as problem:
            self._add(subject, problem, grave=True)
        except StoreError as problem:
            self._add(subject, problem, grave)

    # ---------------------------------------------------------------------------------------------------- the shards

    async def _opened(self, shard: Shard, until: float) -> bool:
        """Whether a shard could be connected to in time, which is the same for all of them."""
        opened = shard.when_open()
        try:
            await opened.addTimeout(max(0.0, until - self._process.reactor.seconds()), self._process.reactor)
        except TimeoutError:
            self._add(shard.name, shard.state()["problem"], grave=True)
            return False
        return True

    async def _look_at_data(self, shards: Sequence[Shard]) -> Identity | None:
        """Whose the shards are, and what they lack; only when all of them were reached."""
        usable = []
        for shard in shards:
            before = len(self.findings)
            await self._guarded(shard.name, present_version(shard, shard.link("be")), grave=True)
            usable += [shard] if len(self.findings) == before else []
        if len(usable) < len(self._parts.shards):
            return None
        founding = Founding(self._parts.shards, self._parts.ranges, self._parts.keys, self._process.new_id)
        try:
            identity = await founding.look()
            level = level_of(self._settings) or (identity.level if identity is not None else Level.MEMORY)
            await choose(self._parts.shards, level, self._settings.wait_replicas, self._settings.wait_seconds)
        except (StartError, StoreError) as problem:
            self._add("the data", problem, grave=True)
            return None
        if identity is None:
            self.seen.append("There is no data of Taba yet: the first server that starts begins a new cluster.")
            return None
        self.seen.append(f"The data is that of cluster {identity.cluster}, durability {identity.level.value}.")
        for name, vbuckets in identity.missing.items():
            text = f"it has lost the data of {len(vbuckets)} vbuckets, which cannot be used until it is brought back,"
            self._add(name, f"{text} or given up (taba-cli accept-loss {name})", grave=True)
        return identity

    async def _look_at_shard(self, shard: Shard, wishes: Wishes, rows: Sequence[SentinelFacts]) -> None:
        """The master, and, where they may take over, its replicas."""
        link = shard.link("be")
        master = await self._facts(shard.name, link.address, True, link)
        servers = [master]
        if wishes.watched:
            addresses = [Address(row["ip"], int(row["port"])) for row in master.replicas]
            found = await together(self._replica(shard.name, each) for each in addresses)
            servers += [each for each in found if each is not None]
        version = master.info.get("redis_version", "of unknown version")
        self.seen.append(
            f"Shard {shard.name}: master {link.address} (Redis {version}), {len(master.replicas)} replicas."
        )
        for each in servers:
            self.findings += of_server(each, wishes)
        own = [each for each in rows if each.shard == shard.name]
        self.findings += of_confirmation(shard.name, servers, own, wishes)
        self.findings += of_names(own, servers)

    async def _facts(self, shard: str, address: str, master: bool, link: Any) -> ServerFacts:
        """What a server says of itself; `link` is a Link or a Wire."""
        call = link.call if hasattr(link, "call") else link.execute_command
        info = _lines(await call("INFO", timeout=ANSWER_SECONDS))
        try:
            config: Mapping[str, str] | None = _row(await call("CONFIG", "GET", *WANTED, timeout=ANSWER_SECONDS))
        except RedisRefused:
            config = None
        return ServerFacts(f"{shard} at {address}", shard, master, info, config)

    async def _replica(self, shard: str, address: Address) -> ServerFacts | None:
        access: Access = redis_access(self._settings)
        try:
            wire, _ = await connect(self._process.reactor, address, access, f"the replica of {shard}", ANSWER_SECONDS)
        except StoreError as problem:
            self._add(shard, f"{problem}: this replica cannot be looked at")
            return None
        try:
            return await self._facts(shard, str(address), False, wire)
        except StoreError as problem:
            self._add(shard, problem)
            return None
        finally:
            await _ended(wire)

    # ------------------------------------------------------------------------------------------------- the Sentinels

    async def _ask_sentinels(self) -> list[SentinelFacts]:
        """What each Sentinel that answers knows of each shard."""
        found = await together(self._ask_sentinel(Address(*each)) for each in self._settings.sentinels)
        return [row for rows in found for row in rows]

    async def _ask_sentinel(self, address: Address) -> list[SentinelFacts]:
        access = sentinel_access(self._settings)
        try:
            wire, _ = await connect(self._process.reactor, address, access, "Sentinel", ANSWER_SECONDS)
        except StoreError as problem:
            self._add("SENTINELS", problem)
            return []
        try:
            resolves = await self._resolves(wire)
            rows = []
            for shard in self._parts.shards:
                rows.append(SentinelFacts(str(address), shard, await self._master_row(wire, shard), resolves))
            return rows
        except StoreError as problem:
            self._add("SENTINELS", f"{address}: {problem}")
            return []
        finally:
            await _ended(wire)

    async def _resolves(self, wire: Wire) -> bool | None:
        try:
            row = _row(
                await wire.execute_command("SENTINEL", "CONFIG", "GET", "resolve-hostnames", timeout=ANSWER_SECONDS)
            )
        except RedisRefused:
            return None
        return row.get("resolve-hostnames") == "yes" if row else None

    async def _master_row(self, wire: Wire, shard: str) -> Mapping[str, str] | None:
        try:
            return _row(await wire.execute_command("SENTINEL", "MASTER", shard, timeout=ANSWER_SECONDS))
        except RedisRefused as refused:
            if "No such master" in refused.sentence:
                return None
            raise


async def _in_time(clock: Any, work: Coroutine[Any, Any, None], seconds: float) -> bool:
    """Wait for some work, but no longer than so many seconds; whether it was done. What is not done goes on."""
    done: Deferred[bool] = Deferred()
    timer = clock.callLater(seconds, done.callback, False)

    def ended(result: Any) -> None:
        if timer.active():
            timer.cancel()
            done.callback(True if not isinstance(result, Failure) else result)

    Deferred.fromCoroutine(work).addBoth(ended)
    return await done


async def _ended(wire: Wire) -> None:
    wire.end("it is not used")
    await wire.gone()


def _lines(reply: Reply) -> dict[str, str]:
    text = reply.decode("utf-8", "replace") if isinstance(reply, bytes) else ""
    return dict(line.split(":", 1) for line in text.splitlines() if ":" in line)


def _row(reply: Reply) -> dict[str, str]:
    """Names and values in turn."""
    texts = [each.decode("utf-8", "replace") for each in reply or () if isinstance(each, bytes)]  # type: ignore[union-attr]
    return dict(zip(texts[::2], texts[1::2], strict=False))

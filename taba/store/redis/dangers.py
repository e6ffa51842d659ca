"""What of the settings of Redis servers and Sentinels endangers data, judged by what they say of themselves. Pure.

A `Finding` is one sentence: what is so, what may come of it, and what to do. It is `grave` when Taba cannot work with
it; otherwise Taba works, and may lose something on a bad day. docs/guide/redis.md has the reasons.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from attrs import frozen

from taba.store.redis.durability import Level

MIB = 1 << 20
LEAST_BACKLOG = 64 * MIB
LEAST_OUTPUT = (512 * MIB, 256 * MIB)
"""The limits of a replica's output buffer, hard and soft: a checkpoint may write tens of MiB at once."""
FULL = 0.8
"""The part of maxmemory from which on it is said that little is left."""
WANTED = (
    "maxmemory", "maxmemory-policy", "appendonly", "appendfsync", "save", "stop-writes-on-bgsave-error",
    "min-replicas-to-write", "min-replicas-max-lag", "repl-backlog-size", "repl-timeout", "repl-ping-replica-period",
    "client-output-buffer-limit",
)  # fmt: skip
"""The parameters that are looked at."""


@frozen
class Finding:
    """A sentence about `subject`; the same sentence about several is told once."""

    subject: str
    text: str
    grave: bool = False


@frozen
class ServerFacts:
    """What one redis-server says of itself."""

    name: str
    """What to call it: shard and address."""
    shard: str
    master: bool
    info: Mapping[str, str]
    """All of INFO."""
    config: Mapping[str, str] | None
    """CONFIG GET of WANTED; None when that is not allowed."""

    @property
    def replicas(self) -> list[dict[str, str]]:
        """The rows of its replicas that are connected, and have all data."""
        rows = [v for k, v in self.info.items() if k.startswith("slave") and k[5:].isdigit()]
        fields = [dict(each.split("=", 1) for each in row.split(",") if "=" in each) for row in rows]
        return [each for each in fields if each.get("state") == "online"]


@frozen
class SentinelFacts:
    """What one Sentinel says of one shard; `row` is None where it knows no such shard."""

    name: str
    shard: str
    row: Mapping[str, str] | None
    resolves: bool | None
    """Whether it resolves names; None when it does not say."""


@frozen
class Wishes:
    """What the settings of Taba want of Redis."""

    level: Level | None
    """None while that is not decided yet."""
    replicas: int
    """WAIT_REPLICAS."""
    watched: bool
    """Whether there are Sentinels, which let replicas take over."""
    sentinels: int
    """How many the settings name."""
    confirm_seconds: float
    """AGENT_CONFIRM_SECONDS, as far as it is known."""


def of_server(seen: ServerFacts, wishes: Wishes) -> list[Finding]:
    """What one server endangers."""
    sentences = [*_of_info(seen), *_of_replicas(seen, wishes)]
    if seen.config is None:
        sentences.append(
            "its configuration may not be looked at (CONFIG GET): see by hand that it is as docs/guide/redis.md says,"
            " or allow the user +config|get"
        )
    else:
        sentences += [*_of_memory(seen.config), *_of_disk(seen.config)]
        if wishes.watched or seen.replicas or not seen.master:
            sentences += _of_replication(seen.config)
    return [Finding(seen.name, each) for each in sentences] + _never(seen, wishes)


def _of_info(seen: ServerFacts) -> Iterable[str]:
    used, most = _number(seen.info.get("used_memory")), _number(seen.info.get("maxmemory"))
    if most and used > FULL * most:
        yield f"{used / most:.0%} of maxmemory is in use: raise it, for Redis takes nothing more when it is full"
    if seen.info.get("aof_enabled") == "1" and seen.info.get("aof_last_write_status") == "err":
        yield "the last write to its append-only file failed: see its log, and mend the disk"
    if seen.info.get("rdb_last_bgsave_status") == "err":
        yield "its last save to disk failed: see its log, and mend the disk"


def _of_memory(config: Mapping[str, str]) -> Iterable[str]:
    policy = config.get("maxmemory-policy")
    if policy not in (None, "noeviction"):
        yield (
            f"maxmemory-policy is {policy}: when its memory is full Redis throws counts away, without a word: set"
            " maxmemory-policy noeviction"
        )


def _of_disk(config: Mapping[str, str]) -> Iterable[str]:
    log, saves = config.get("appendonly"), config.get("save")
    if log == "no" and not saves:
        yield "appendonly is no, and save is empty: whatever it has is gone when it stops: set appendonly yes"
    elif log == "no":
        yield "appendonly is no: a crash takes back all since the last save, which may be an hour: set appendonly yes"
    elif log == "yes" and config.get("appendfsync") == "no":
        yield "appendfsync is no: a power failure takes back half a minute: set appendfsync everysec"
    if config.get("stop-writes-on-bgsave-error") == "no":
        yield (
            "stop-writes-on-bgsave-error is no: it goes on taking events that it cannot bring to disk: set"
            " stop-writes-on-bgsave-error yes"
        )


def _of_replicas(seen: ServerFacts, wishes: Wishes) -> Iterable[str]:
    if not seen.master:
        return
    count = len(seen.replicas)
    if count == 0:
        yield (
            "it has no replica: when it is lost, so is all it has, but for what agents still hold: start two replicas"
            " (replicaof)"
        )
    elif wishes.level is not Level.MEMORY and count == wishes.replicas:
        yield (
            f"it has {count} replica{'s' * (count > 1)}, and an append waits for as many: while one is away nothing is"
            " acknowledged: start one more"
        )


def _never(seen: ServerFacts, wishes: Wishes) -> list[Finding]:
    """Why a master would not take, or not confirm, anything at all."""
    if not seen.master:
        return []
    count, needed = len(seen.replicas), int(_number((seen.config or {}).get("min-replicas-to-write")))
    found = []
    if wishes.level is Level.REPLICATED and count < wishes.replicas:
        found.append(
            f"{count} replicas are connected, and every append waits for {wishes.replicas} (DURABILITY replicated,"
            " WAIT_REPLICAS): nothing would be acknowledged: start replicas, or set DURABILITY memory"
        )
    if count < needed:
        found.append(
            f"{count} replicas are connected, and min-replicas-to-write is {needed}: it takes no writes: start"
            " replicas, or lower that"
        )
    return [Finding(seen.name, each, grave=True) for each in found]


def _of_replication(config: Mapping[str, str]) -> Iterable[str]:
    if config.get("min-replicas-to-write") == "0":
        yield (
            "min-replicas-to-write is 0: a master that was cut off goes on taking writes that nobody will keep: set"
            " min-replicas-to-write 1 and min-replicas-max-lag 3"
        )
    backlog = config.get("repl-backlog-size")
    if backlog is not None and _number(backlog) < LEAST_BACKLOG:
        yield (
            f"repl-backlog-size is {_number(backlog) / MIB:g} MiB: a replica that was away for a moment has to copy"
            " everything: set repl-backlog-size 64mb, or more"
        )
    silence, ping = _number(config.get("repl-timeout")), _number(config.get("repl-ping-replica-period"))
    if silence and ping * 2 > silence:
        yield (
            f"repl-ping-replica-period is {ping:g} s, more than half of repl-timeout, {silence:g} s: replicas take a"
            " quiet master for a dead one: set repl-ping-replica-period 1"
        )
    limits = replica_output(config.get("client-output-buffer-limit", ""))
    if limits is not None and any(0 < each < least for each, least in zip(limits, LEAST_OUTPUT, strict=True)):
        yield (
            f"client-output-buffer-limit is {limits[0] // MIB} MiB and {limits[1] // MIB} MiB for replicas: busy ones"
            " are cut off, and begin again: set client-output-buffer-limit replica 512mb 256mb 60"
        )


def replica_output(setting: str) -> tuple[int, int] | None:
    """The hard and the soft limit, in bytes, of replicas in a value of client-output-buffer-limit; None without."""
    words = setting.split()
    for at in range(0, len(words) - 3, 4):
        if words[at] in ("slave", "replica"):
            return int(words[at + 1]), int(words[at + 2])
    return None


def of_confirmation(
    shard: str, servers: Sequence[ServerFacts], rows: Sequence[SentinelFacts], wishes: Wishes
) -> list[Finding]:
    """Whether agents look for a second time late enough: a replica that was cut off must not be able to take over after
    they did.
    """
    down = [_number((each.row or {}).get("down-after-milliseconds")) / 1000 for each in rows if each.row]
    silence = [_number((each.config or {}).get("repl-timeout")) for each in servers if each.config]
    if not down or not silence:
        return []
    needed = 10 * max(down) + max(silence) + 5
    if wishes.confirm_seconds > needed:
        return []
    return [
        Finding(
            shard,
            f"down-after-milliseconds {max(down) * 1000:.0f} and repl-timeout {max(silence):g} let a replica that lacks"
            f" acknowledged events take over after {needed:g} s, and agents give those up after AGENT_CONFIRM_SECONDS,"
            f" {wishes.confirm_seconds:g} unless told otherwise: set down-after-milliseconds 2000, repl-timeout 4 and"
            f" repl-ping-replica-period 1, or AGENT_CONFIRM_SECONDS {math.floor(needed) + 1} in every agent (not to be"
            " had for /post on a server)",
        )
    ]


def of_sentinels(shard: str, rows: Sequence[SentinelFacts], wishes: Wishes) -> list[Finding]:
    """What the Sentinels that answered endanger of one shard."""
    known = [each for each in rows if each.row is not None]
    findings = [
        Finding(each.name, f"it knows no master named {shard}: add `sentinel monitor {shard} HOST PORT QUORUM`")
        for each in rows
        if each.row is None
    ]
    if not known:
        return [Finding(each.subject, each.text, grave=True) for each in findings]
    masters = Counter(f"{each.row['ip']}:{each.row['port']}" for each in known if each.row)
    if len(masters) > 1:
        named = ", ".join(sorted(masters))
        text = f"the Sentinels name different masters ({named}): give all of them the same `sentinel monitor` line, and"
        text += " the same resolve-hostnames and announce-hostnames"
        findings.append(Finding(shard, text, grave=max(masters.values()) <= wishes.sentinels // 2))
    for each in known:
        findings += _of_sentinel(each, wishes)
    return findings


def _of_sentinel(seen: SentinelFacts, wishes: Wishes) -> Iterable[Finding]:
    row = seen.row or {}
    every = int(_number(row.get("num-other-sentinels"))) + 1
    quorum, majority = int(_number(row.get("quorum"))), every // 2 + 1
    subject = f"Sentinel {seen.name} ({seen.shard})"
    if every < 3:
        yield Finding(
            subject,
            f"{every} Sentinel{'s' * (every > 1)} watch{'es' * (every == 1)} it: when one is lost nobody can name a"
            " master: run three, on hosts of their own",
        )
    if every != wishes.sentinels:
        yield Finding(
            subject, f"{every} Sentinels watch it, and SENTINELS names {wishes.sentinels}: name them all, and no others"
        )
    if quorum > every:
        yield Finding(
            subject, f"its quorum is {quorum}, of {every} Sentinels: no failover can ever begin: make it {majority}"
        )
    elif quorum != majority:
        yield Finding(
            subject, f"its quorum is {quorum}, and the majority of {every} Sentinels is {majority}: make it {majority}"
        )
    if "s_down" in row.get("flags", "") or "o_down" in row.get("flags", ""):
        yield Finding(subject, f"it takes the master, {row.get('ip')}:{row.get('port')}, for down")


def of_names(rows: Sequence[SentinelFacts], servers: Sequence[ServerFacts]) -> list[Finding]:
    """Whether Sentinels that do not resolve names would have to."""
    named = [row.get("ip", "") for each in servers for row in each.replicas]
    names = sorted({each for each in named if not _is_address(each)})
    if not names:
        return []
    text = f"it does not resolve names, and {names[0]} is the name of a replica: set `sentinel resolve-hostnames yes`"
    deaf = dict.fromkeys(each.name for each in rows if each.resolves is False)
    return [Finding(f"Sentinel {each}", text) for each in deaf]


def _is_address(host: str) -> bool:
    return ":" in host or all(part.isdecimal() for part in host.split("."))


def _number(text: str | None) -> float:
    try:
        return float(text or 0)
    except ValueError:
        return 0.0


def lines(findings: Sequence[Finding]) -> list[str]:
    """For people: the grave ones first; one line for all servers of which the same is to be said."""
    told: dict[tuple[bool, str], list[str]] = {}
    for each in sorted(findings, key=lambda each: not each.grave):
        told.setdefault((each.grave, each.text), []).append(each.subject)
    return [
        f"{'Error' if grave else 'Warning'}: {', '.join(dict.fromkeys(subjects))}: {text}."
        for (grave, text), subjects in told.items()
    ]

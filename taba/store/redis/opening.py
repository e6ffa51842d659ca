"""The Redis store that settings ask for: shards behind Sentinels, or one server by its URL."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit

from attrs import evolve, frozen

from taba.errors import SettingsError
from taba.process import Process
from taba.settings import DatabaseSettings
from taba.store.redis.access import TLS, Access, Address
from taba.store.redis.durability import Level
from taba.store.redis.keys import Keys
from taba.store.redis.sentinel import SENTINEL_ACCESS, Sentinels
from taba.store.redis.shard import ROLES, Shard
from taba.store.redis.shard_map import ShardMap, ShardRange, shard_map
from taba.store.redis.source import FixedSource
from taba.store.redis.store import RedisStore

ONLY_SHARD = "redis"
"""The name of the shard of a store with one server."""
SPARE_SECONDS = 0.5
"""How much longer than it waits by design a call may take at least: a blocking read waits half of it."""


def check_database(settings: DatabaseSettings) -> None:
    """SettingsError for what cannot be had, before anything is opened."""
    if settings.memory:
        raise SettingsError("DB_SETTINGS: USE_MEMORY_DB and Redis exclude each other.")
    if settings.redis_url and (settings.sentinels or settings.shards):
        raise SettingsError("DB_SETTINGS: REDIS_URL is for one server, SENTINELS and SHARDS for many. Take one out.")
    if settings.sentinels and not settings.shards:
        raise SettingsError("DB_SETTINGS: SENTINELS needs SHARDS, which says which vbuckets are on which shard.")
    if settings.shards and not settings.sentinels:
        raise SettingsError("DB_SETTINGS: SHARDS needs SENTINELS, by which the shards are found.")
    names = [str(Address(*each)) for each in settings.sentinels]
    twice = [name for name in names if names.count(name) > 1]
    if twice:
        raise SettingsError(f"SENTINELS names {twice[0]} twice.")
    if settings.call_seconds < settings.wait_seconds + SPARE_SECONDS:
        raise SettingsError(
            "DB_SETTINGS: REDIS_CALL_SECONDS is the time limit of every call, and one waits WAIT_SECONDS for replicas:"
            f" it must be {settings.wait_seconds + SPARE_SECONDS:g} or more."
        )
    level_of(settings)
    map_of(settings)
    for access in (redis_access(settings), sentinel_access(settings)):
        if access.tls is not None:
            access.tls.check()
    if settings.redis_url:
        address_of(settings.redis_url)


def level_of(settings: DatabaseSettings) -> Level | None:
    """DURABILITY; None for `auto`."""
    if settings.durability == "auto":
        return None
    try:
        return Level(settings.durability)
    except ValueError:
        known = ", ".join(["auto", *(level.value for level in Level)])
        raise SettingsError(f"DURABILITY: {settings.durability} is none of {known}.")


def map_of(settings: DatabaseSettings) -> ShardMap:
    """Which shard has which vbuckets."""
    if settings.redis_url:
        return shard_map(settings.vbuckets, [ShardRange(ONLY_SHARD, 0, settings.vbuckets - 1)])
    return shard_map(settings.vbuckets, [ShardRange(each.shard_name, *each.vbuckets) for each in settings.shards])


def address_of(url: str) -> tuple[Address, bool]:
    """The server of a REDIS_URL, and whether it is reached by TLS."""
    try:
        parts = urlsplit(url)
        port = 6379 if parts.port is None else parts.port
    except ValueError:
        parts, port = urlsplit(""), 0
    if parts.scheme not in ("redis", "rediss") or not parts.hostname or not port:
        raise SettingsError(f"REDIS_URL: {url} is not redis://HOST:PORT, nor rediss://HOST:PORT.")
    if parts.username or parts.password or parts.path.strip("/") or parts.query or parts.fragment:
        raise SettingsError(
            "REDIS_URL: only host and port are taken from it; REDIS_USER, REDIS_PASSWORD (or REDIS_PASSWORD_FILE) and"
            " KEY_PREFIX are settings of their own, and the database is always 0."
        )
    return Address(parts.hostname, port), parts.scheme == "rediss"


def redis_access(settings: DatabaseSettings) -> Access:
    """How the shards are got into."""
    tls = settings.redis_tls or (settings.redis_url or "").startswith("rediss:")
    password = _password(settings.redis_password, settings.redis_password_file, "REDIS_PASSWORD")
    return Access(settings.redis_user, password, _tls(settings) if tls else None)


def sentinel_access(settings: DatabaseSettings) -> Access:
    """How the Sentinels are got into."""
    password = _password(settings.sentinel_password, settings.sentinel_password_file, "SENTINEL_PASSWORD")
    tls = _tls(settings) if settings.sentinel_tls else None
    return evolve(SENTINEL_ACCESS, user=settings.sentinel_user, password=password, tls=tls)


def _tls(settings: DatabaseSettings) -> TLS:
    return TLS(authority=settings.tls_ca_file, certificate=settings.tls_client_file)


def _password(given: str, path: str | None, key: str) -> str:
    if path is None:
        return given
    if given:
        raise SettingsError(f"DB_SETTINGS: {key} and {key}_FILE exclude each other.")
    try:
        return Path(path).read_text(encoding="utf-8").strip("\r\n")
    except (OSError, UnicodeDecodeError) as problem:
        raise SettingsError(f"{key}_FILE: {path} cannot be read: {problem}.")


@frozen
class Parts:
    """What a store on Redis is made of, none of it started yet."""

    shards: Mapping[str, Shard]
    """In the order of the settings, by which sentences about an unknown shard name its place."""
    ranges: ShardMap
    keys: Keys
    sentinels: Sentinels | None
    """None for a single server."""


def parts_of(settings: DatabaseSettings, process: Process) -> Parts:
    """The connections that settings ask for. Raises SettingsError as `check_database` does."""
    check_database(settings)
    ranges, access = map_of(settings), redis_access(settings)
    sentinels: Sentinels | None = None
    if settings.redis_url:
        address, _ = address_of(settings.redis_url)
        source: FixedSource | Sentinels = FixedSource(address)
    else:
        source = sentinels = Sentinels(settings.sentinels, process, sentinel_access(settings))
    shards = {
        name: Shard(name, process, ROLES, source, access, call_seconds=settings.call_seconds)
        for name in dict.fromkeys(each.name for each in ranges.ranges)
    }
    return Parts(shards, ranges, Keys(settings.key_prefix or ""), sentinels)


def open_redis_store(settings: DatabaseSettings, process: Process, dedup_days: float) -> RedisStore:
    """The store, not started yet. Raises SettingsError as `check_database` does."""
    parts = parts_of(settings, process)
    return RedisStore(
        process,
        parts.shards,
        parts.ranges,
        parts.keys,
        parts.sentinels,
        level=level_of(settings),
        replicas=settings.wait_replicas,
        wait_seconds=settings.wait_seconds,
        dedup_days=dedup_days,
    )

"""DB_SETTINGS: which store a server has, and how it is divided."""

from __future__ import annotations

import attrs
from attrs import field, frozen

from taba.settings.fields import SECONDS, setting

SENTINELS_EXAMPLE = [["sentinel-1.example", 26379], ["sentinel-2.example", 26379], ["sentinel-3.example", 26379]]
SHARDS_EXAMPLE = [{"shard_name": "shard1", "vbuckets": [0, 63]}, {"shard_name": "shard2", "vbuckets": [64, 127]}]


@frozen
class ShardSettings:
    """One of SHARDS."""

    shard_name: str = field(validator=attrs.validators.min_len(1))
    vbuckets: tuple[int, int]
    """The first and the last."""


@frozen
class DatabaseSettings:
    """DB_SETTINGS of a server."""

    memory: bool = setting("USE_MEMORY_DB", "Keep everything in memory; a stop loses it.", False)
    vbuckets: int = setting("NUM_VBUCKETS", "Slices of the tab name space; fixed when a store is made.", 128, least=1)
    sentinels: tuple[tuple[str, int], ...] = setting(
        "SENTINELS", "All Redis Sentinels: a list of [host, port].", (), example=SENTINELS_EXAMPLE
    )
    shards: tuple[ShardSettings, ...] = setting(
        "SHARDS",
        "The shards, by the names that the Sentinels know, and the first and last vbucket of each:"
        " a list of {shard_name, vbuckets}.",
        (),
        example=SHARDS_EXAMPLE,
    )
    redis_url: str | None = setting(
        "REDIS_URL", "One Redis without Sentinels, as redis://HOST:PORT or rediss://HOST:PORT (TLS).", None
    )
    key_prefix: str | None = setting("KEY_PREFIX", "What all keys in Redis begin with; null for nothing.", None)
    durability: str = setting(
        "DURABILITY",
        "What an acknowledged append is in: memory, replicated (a replica, too), fsynced (disks); auto finds out at the"
        " cluster's first start.",
        "auto",
    )
    wait_replicas: int = setting("WAIT_REPLICAS", "How many replicas an append waits for.", 1, least=1)
    wait_seconds: float = setting("WAIT_SECONDS", "How long it waits for them.", 1.0, least=0.01, unit=SECONDS)
    call_seconds: float = setting(
        "REDIS_CALL_SECONDS", "How long Redis may take to answer.", 2.0, least=0.1, unit=SECONDS
    )
    redis_user: str = setting("REDIS_USER", "Name of an ACL user.", "", empty=True)
    redis_password: str = setting(
        "REDIS_PASSWORD", "Its password, or that of requirepass.", "", empty=True, secret=True
    )
    redis_password_file: str | None = setting("REDIS_PASSWORD_FILE", "File of that password.", None)
    redis_tls: bool = setting("REDIS_TLS", "Whether the shards are reached by TLS.", False)
    sentinel_user: str = setting("SENTINEL_USER", "The same for the Sentinels.", "", empty=True)
    sentinel_password: str = setting(
        "SENTINEL_PASSWORD", "The same for the Sentinels.", "", empty=True, secret=True
    )
    sentinel_password_file: str | None = setting("SENTINEL_PASSWORD_FILE", "The same for the Sentinels.", None)
    sentinel_tls: bool = setting("SENTINEL_TLS", "The same for the Sentinels.", False)
    tls_ca_file: str | None = setting(
        "TLS_CA_FILE", "PEM file of the authorities to trust with Redis; null for the platform's.", None
    )
    tls_client_file: str | None = setting(
        "TLS_CLIENT_FILE", "PEM file of a key and its certificate, to show to Redis; null for none.", None
    )

    @property
    def redis(self) -> bool:
        """Whether the store is Redis."""
        return bool(self.sentinels or self.shards or self.redis_url)

    @property
    def kind(self) -> str:
        """Which store it is: `memory`, `redis` or `embedded`."""
        return "memory" if self.memory else "redis" if self.redis else "embedded"

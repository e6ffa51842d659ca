"""What a server can be told."""

from __future__ import annotations

import attrs
from attrs import field, frozen

from taba.binding import MOST_PORT, tcp_endpoint
from taba.settings import statsd
from taba.settings.database import DatabaseSettings
from taba.settings.fields import (
    BYTES,
    DAYS,
    DEBUG_MEANING,
    HANDLERS_EXAMPLE,
    HANDLERS_MEANING,
    HOURS,
    INSECURE_MEANING,
    LISTEN_EXAMPLE,
    LISTEN_MEANING,
    LOG_MEANING,
    MIB,
    SECONDS,
    STOP_MEANING,
    TOKEN_MEANING,
    section,
    setting,
)


@frozen
class TabSettings:
    """One of TABS: how the tabs whose names match a pattern are kept."""

    name: str = field(validator=attrs.validators.min_len(1))
    """A regular expression for RE2, matched at the start of a tab's name."""
    per_client: str = field(validator=attrs.validators.in_(("keep", "merge")))
    """`keep`: States of silent clients stay. `merge`: no State per client is kept at all."""


@frozen
class ServerSettings:
    """What a server can be told."""

    roles: str = setting("SERVER_ROLES", "Roles of the process, comma-joined: fe, be, ctrl.", "fe,be")
    workers: int = setting(
        "SERVER_WORKERS",
        "How many processes a command starts, on BASE_PORT, BASE_PORT + 1, ...; more than one need Redis below.",
        1,
        least=1,
    )
    weight: float = setting(
        "WEIGHT",
        "What share of the vbuckets a be takes, in proportion to those of the others; more than one be needs Redis.",
        1.0,
        least=0.01,
        most=100.0,
    )
    port: int = setting(
        "BASE_PORT", "TCP port for agents and queries; 0 picks a free one.", 8300, least=0, most=MOST_PORT
    )
    interface: str = setting("INTERFACE", "Address to listen on.", "127.0.0.1")
    listen: tuple[str, ...] = setting(
        "LISTEN", LISTEN_MEANING.format("INTERFACE", "BASE_PORT"), (), example=LISTEN_EXAMPLE
    )
    agent_port: int = setting(
        "AGENT_PORT", "Port of the agent on this host, to which own events go.", 8279, least=0, most=MOST_PORT
    )
    embedded_agent: bool = setting("EMBEDDED_AGENT", "Whether this process opens AGENT_PORT itself.", False)
    agent_listen: tuple[str, ...] = setting(
        "AGENT_LISTEN",
        LISTEN_MEANING.format("INTERFACE", "AGENT_PORT") + " With EMBEDDED_AGENT.",
        (),
        example=["unix:/run/taba-agent.sock"],
    )
    statsd_listen: tuple[str, ...] = statsd.listen()
    statsd_types: dict[str, str] = statsd.types()  # noqa: RUF009 - ruff does not see that this is a field
    statsd_client: str | None = statsd.client()
    statsd_gauges: str = statsd.gauges()
    token_file: str | None = setting("TOKEN_FILE", TOKEN_MEANING, None)
    trusted_proxies: tuple[str, ...] = setting(
        "TRUSTED_PROXIES",
        "Proxies whose X-Forwarded-For is believed: a list of addresses, networks, and `unix` for those that come by a"
        " UNIX socket.",
        (),
        example=["127.0.0.1", "10.0.0.0/8"],
    )
    data_dir: str = setting("DATA_DIR", "Folder of the embedded store and the spool.", "taba-data")
    database: DatabaseSettings = section(  # noqa: RUF009 - ruff does not see that this is a field
        "DB_SETTINGS", "Which store, and how it is divided.", DatabaseSettings
    )
    checkpoint_seconds: float = setting(
        "CHECKPOINT_SECONDS", "How often changed States are written.", 0.5, least=0.01, unit=SECONDS
    )
    agent_flush_seconds: float = setting(
        "AGENT_FLUSH_SECONDS", "How often the agent inside seals and sends.", 0.25, least=0.01, unit=SECONDS
    )
    dedup_days: float = setting(
        "DEDUP_DAYS", "How long lanes are remembered; the same on all hosts.", 14.0, least=2, unit=DAYS
    )
    max_clock_skew: float = setting(
        "MAX_CLOCK_SKEW", "How far ahead of this clock an event may be.", 60.0, least=0, unit=SECONDS
    )
    queue_throttle_capacity: int = setting(
        "QUEUE_THROTTLE_CAPACITY",
        "What the logs of a shard may hold before the first batches for it are refused, by chance.",
        256 * MIB,
        least=MIB,
        unit=BYTES,
    )
    queue_capacity: int = setting(
        "QUEUE_CAPACITY",
        "What the logs of a shard may hold; above that every batch for it is refused.",
        1024 * MIB,
        least=MIB,
        unit=BYTES,
    )
    queue_throttle_seconds: float | None = setting(
        "QUEUE_THROTTLE_SECONDS",
        "How long a batch that comes now to the log of a vbucket may have to wait, as far as be gets on, before the"
        " first batches for it are refused, by chance; at twice that all are. null for no limit.",
        10.0,
        least=1,
        unit=SECONDS,
        nullable=True,
    )
    memory_bytes: int = setting(
        "SERVER_MEMORY_BYTES",
        "What the process may take of memory, all in all.",
        512 * MIB,
        least=160 * MIB,
        unit=BYTES,
    )
    state_cache_bytes: int | None = setting(
        "STATE_CACHE_BYTES",
        "Memory for States that are in use; null for a third of what SERVER_MEMORY_BYTES leaves.",
        None,
        least=MIB,
        unit=BYTES,
    )
    max_body_bytes: int = setting(
        "MAX_BODY_BYTES", "Largest body of a request, before and after inflating.", 32 * MIB, least=1024, unit=BYTES
    )
    name_blacklist: tuple[str, ...] = setting(
        "NAME_BLACKLIST",
        "Regular expressions for RE2, matched at the start of a tab's name: events of these tabs are refused.",
        (),
        example=["debug_", "tmp[0-9]+_"],
    )
    client_blacklist: tuple[str, ...] = setting(
        "CLIENT_BLACKLIST", "The same for the ids of clients.", (), example=["laptop-.*"]
    )
    additional_handlers: dict[str, str] = setting(  # noqa: RUF009 - as above
        "ADDITIONAL_HANDLERS", HANDLERS_MEANING, dict, example=HANDLERS_EXAMPLE
    )
    client_ttl: float = setting(
        "CLIENT_TTL",
        "How long a client is without an event before its State goes to the retired one.",
        604_800.0,
        least=60,
        unit=SECONDS,
    )
    tabs: tuple[TabSettings, ...] = setting(
        "TABS",
        "How States of clients are kept, by tab: a list of {name, per_client}, where name is a regular expression for"
        " RE2, matched at the start, and per_client is keep (States of silent clients stay) or merge (no State per"
        " client is kept, of Types whose Aggregate is kept running: all but Gauge, ExpiryGauge, Buffer, and custom ones"
        " that say so); the first that matches counts.",
        (),
        example=[{"name": "sales_", "per_client": "keep"}, {"name": "web_", "per_client": "merge"}],
    )
    gc_seconds: float = setting(
        "GC_SECONDS", "How often States that can be pruned are looked for.", 3600.0, least=1, unit=SECONDS
    )
    undo_hours: float = setting(
        "UNDO_HOURS", "How long a deleted tab can be brought back.", 24.0, least=0, unit=HOURS
    )
    buffer_seconds: float = setting(
        "BUFFER_SECONDS",
        "How long an entry of a Buffer that says no expiry is shown.",
        86_400.0,
        least=1,
        unit=SECONDS,
    )
    admin_get: bool = setting("ADMIN_GET", "Whether GET does on loopback what POST does, as in the original.", False)
    stop_seconds: float = setting("STOP_SECONDS", STOP_MEANING, 45.0, least=1, most=3600, unit=SECONDS)
    log_format: str = setting("LOG_FORMAT", LOG_MEANING, "text", among=("text", "json"))
    debug: bool = setting("DEBUG", DEBUG_MEANING, False)
    insecure: bool = setting("INSECURE", INSECURE_MEANING, False)

    def endpoints(self) -> tuple[str, ...]:
        """The endpoint strings of the port for agents and queries."""
        return self.listen or (tcp_endpoint(self.interface, self.port),)

    def agent_endpoints(self) -> tuple[str, ...]:
        """The endpoint strings of the agent's port in this process; none when it opens none."""
        if not self.embedded_agent:
            return ()
        return self.agent_listen or (tcp_endpoint(self.interface, self.agent_port),)

    def remarks(self) -> list[str]:
        """What was given and means nothing here, in sentences for the operator."""
        return []

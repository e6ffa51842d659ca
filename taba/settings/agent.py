"""What an agent can be told."""

from __future__ import annotations

from attrs import frozen

from taba.binding import MOST_PORT, tcp_endpoint
from taba.settings import statsd
from taba.settings.endpoint import Endpoint
from taba.settings.fields import (
    BYTES,
    DAYS,
    DEBUG_MEANING,
    FLUSH_MEANING,
    HANDLERS_EXAMPLE,
    HANDLERS_MEANING,
    INSECURE_MEANING,
    LISTEN_EXAMPLE,
    LISTEN_MEANING,
    LOG_MEANING,
    MIB,
    MILLISECONDS,
    QUEUES_MEANING,
    SECONDS,
    SERVERS_EXAMPLE,
    STOP_MEANING,
    TOKEN_MEANING,
    section,
    setting,
)


@frozen
class DoubleAgentSettings:
    """DOUBLE_AGENT: a second spool and set of servers, to which everything is copied."""

    port: int | None = setting("AGENT_PORT", "Of the original; means nothing here.", None, least=0, most=MOST_PORT)
    servers: tuple[Endpoint, ...] = setting(
        "SERVER_ENDPOINTS", "The other servers' HTTP ports, as in SERVER_ENDPOINTS.", (), example=SERVERS_EXAMPLE
    )
    flush_seconds: float = setting("AGENT_FLUSH_SECONDS", FLUSH_MEANING, 0.25, least=0.01, unit=SECONDS)
    queues_per_server: int = setting("AGENT_QUEUES_PER_SERVER", QUEUES_MEANING, 1, least=1)
    spool: str | None = setting("SPOOL_DIR", "Folder of the second spool; null for SPOOL_DIR with -double.", None)


@frozen
class AgentSettings:
    """What an agent can be told."""

    port: int = setting("AGENT_PORT", "TCP port for clients; 0 picks a free one.", 8279, least=0, most=MOST_PORT)
    interface: str = setting("AGENT_INTERFACE", "Address to listen on.", "127.0.0.1")
    listen: tuple[str, ...] = setting(
        "AGENT_LISTEN", LISTEN_MEANING.format("AGENT_INTERFACE", "AGENT_PORT"), (), example=LISTEN_EXAMPLE
    )
    servers: tuple[Endpoint, ...] = setting(
        "SERVER_ENDPOINTS",
        "The servers' HTTP ports: a list of {host, port, tls, path} or URLs such as https://HOST:PORT or"
        " https://HOST/PATH.",
        lambda: (Endpoint("127.0.0.1", 8300),),
        example=SERVERS_EXAMPLE,
    )
    token_file: str | None = setting("TOKEN_FILE", TOKEN_MEANING, None)
    tls_ca_file: str | None = setting(
        "TLS_CA_FILE", "PEM file of the authorities to trust with https servers; null for the platform's.", None
    )
    tls_client_file: str | None = setting(
        "TLS_CLIENT_FILE", "PEM file of a key and its certificate, to show to https servers; null for none.", None
    )
    flush_seconds: float = setting("AGENT_FLUSH_SECONDS", FLUSH_MEANING, 0.25, least=0.01, unit=SECONDS)
    commit_milliseconds: float = setting(
        "AGENT_COMMIT_MS", "How long a group commit gathers requests.", 100.0, least=0, unit=MILLISECONDS
    )
    confirm_seconds: float = setting(
        "AGENT_CONFIRM_SECONDS",
        "Time from the first ok of a batch to the second look that confirms it.",
        30.0,
        least=1,
        unit=SECONDS,
    )
    queues_per_server: int = setting("AGENT_QUEUES_PER_SERVER", QUEUES_MEANING, 1, least=1)
    spool: str = setting("SPOOL_DIR", "Folder of the spool; one agent each.", "taba-spool")
    max_spool_bytes: int = setting(
        "SPOOL_MAX_BYTES", "What the spool may hold.", 4096 * MIB, least=6 * MIB, unit=BYTES
    )
    max_memory_bytes: int = setting(
        "AGENT_MEMORY_BYTES", "What the process may take of memory, all in all.", 256 * MIB, least=96 * MIB, unit=BYTES
    )
    backlog_seconds: float | None = setting(
        "BACKLOG_SECONDS",
        "While servers take batches, clients get 503 when more is waiting for them than they take in so long (and more"
        " than 1 MiB); what waits for shards that are away does not count. null for whatever SPOOL_MAX_BYTES allows.",
        15.0,
        least=1,
        unit=SECONDS,
        nullable=True,
    )
    max_body_bytes: int = setting(
        "MAX_BODY_BYTES", "Largest body of a request, before and after inflating.", 32 * MIB, least=1024, unit=BYTES
    )
    instance_days: float = setting(
        "INSTANCE_DAYS", "How long an idle client's numbers are kept.", 2.0, least=0.01, unit=DAYS
    )
    dedup_days: float = setting(
        "DEDUP_DAYS", "How long servers remember lanes; the same on all hosts.", 14.0, least=2, unit=DAYS
    )
    max_clock_skew: float = setting(
        "MAX_CLOCK_SKEW", "How far ahead of servers' clocks events may be.", 60.0, least=0, unit=SECONDS
    )
    additional_handlers: dict[str, str] = setting(  # noqa: RUF009 - ruff does not see that this is a field
        "ADDITIONAL_HANDLERS", HANDLERS_MEANING, dict, example=HANDLERS_EXAMPLE
    )
    double_agent: DoubleAgentSettings | None = section(  # noqa: RUF009 - as above
        "DOUBLE_AGENT", "A second spool and set of servers, which get a copy of everything; null or {} for none.", None
    )
    statsd_listen: tuple[str, ...] = statsd.listen()
    statsd_types: dict[str, str] = statsd.types()  # noqa: RUF009 - as above
    statsd_client: str | None = statsd.client()
    statsd_gauges: str = statsd.gauges()
    stop_seconds: float = setting("STOP_SECONDS", STOP_MEANING, 20.0, least=1, most=3600, unit=SECONDS)
    log_format: str = setting("LOG_FORMAT", LOG_MEANING, "text", among=("text", "json"))
    debug: bool = setting("DEBUG", DEBUG_MEANING, False)
    insecure: bool = setting("INSECURE", INSECURE_MEANING, False)

    def types_by_metric(self) -> dict[str, str]:
        """Every StatsD metric -> its Type, "" for none."""
        return {**statsd.TYPES, **self.statsd_types}

    def endpoints(self) -> tuple[str, ...]:
        """The endpoint strings of the port for clients."""
        return self.listen or (tcp_endpoint(self.interface, self.port),)

    def remarks(self) -> list[str]:
        """What was given and means nothing here, in sentences for the operator."""
        if self.double_agent is None or self.double_agent.port is None:
            return []
        return ["DOUBLE_AGENT.AGENT_PORT means nothing here: applications post to AGENT_PORT alone."]

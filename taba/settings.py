"""The settings of server and agent: one frozen class each, read from the original's JSON files, checked, with a
sentence for every mistake.

A field's metadata holds the key under which a settings file has it, and what it means; docs/reference/settings.md
lists the same. Sizes are in bytes, times in seconds unless the key says otherwise.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar, get_origin, get_type_hints
from urllib.parse import urlsplit

import attrs
import cattrs
from attrs import field, frozen
from cattrs.gen import make_dict_structure_fn

from taba.binding import MOST_PORT, tcp_endpoint
from taba.errors import SettingsError

MIB = 1 << 20


def setting(
    key: str,
    meaning: str,
    default: Any,
    *,
    least: float | None = None,
    most: float = 1e18,
    empty: bool = False,
    among: tuple[str, ...] = (),
) -> Any:
    """A field of a settings class; `least` and `most` are the lowest and the highest number allowed, `among` the only
    texts. Texts may not be empty, unless told; one that may be missing has the default None.
    """
    validators: list[Any] = [] if least is None else [attrs.validators.ge(least), attrs.validators.le(most)]
    if isinstance(default, str) and not empty:
        validators.append(attrs.validators.min_len(1))
    if default is None:
        validators.append(attrs.validators.optional(attrs.validators.min_len(1)))
    if among:
        validators.append(attrs.validators.in_(among))
    metadata = {"key": key, "meaning": meaning}
    if callable(default):
        return field(factory=default, validator=validators, metadata=metadata)
    return field(default=default, validator=validators, metadata=metadata)


@frozen
class Endpoint:
    """Where a server listens, from an agent's point of view."""

    host: str = field(validator=attrs.validators.min_len(1))
    port: int = field(validator=[attrs.validators.ge(1), attrs.validators.le(MOST_PORT)])
    tls: bool = False

    def url(self) -> str:
        """The base URL of its HTTP port."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http{'s' if self.tls else ''}://{host}:{self.port}"

    @classmethod
    def from_url(cls, url: str) -> Endpoint:
        """The endpoint of a base URL, http or https. ValueError when it has anything but scheme, host and port."""
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.path.strip("/"):
            raise ValueError(f"{url!r} is no URL such as https://HOST:PORT")
        if parts.query or parts.fragment or parts.username is not None or " " in url or not url.isprintable():
            raise ValueError(f"{url!r} is no URL such as https://HOST:PORT")
        tls = parts.scheme == "https"
        return cls(parts.hostname, parts.port if parts.port is not None else (443 if tls else 80), tls)


LISTEN_MEANING = "Twisted endpoint strings to listen on, in place of {0} and {1}: a list."
TOKEN_MEANING = "File of the token that clients, agents and servers share; null for none."
HANDLERS_MEANING = "Type -> `package.module:Class` (or module.Class): Handlers beside those that are installed, or in their place."
LOG_MEANING = "How the log is written: text, or json, an object per line."
DEBUG_MEANING = "Write what only somebody who looks for a mistake wants to know to the log, too."
INSECURE_MEANING = "Listen on other addresses than loopback without a token or TLS: for everybody."


@frozen
class AgentSettings:
    """What an agent can be told."""

    port: int = setting("AGENT_PORT", "TCP port for clients; 0 picks a free one.", 8279, least=0, most=MOST_PORT)
    interface: str = setting("AGENT_INTERFACE", "Address to listen on.", "127.0.0.1")
    listen: tuple[str, ...] = setting("AGENT_LISTEN", LISTEN_MEANING.format("AGENT_INTERFACE", "AGENT_PORT"), ())
    servers: tuple[Endpoint, ...] = setting(
        "SERVER_ENDPOINTS",
        "The servers' HTTP ports: a list of {host, port, tls} or URLs such as https://HOST:PORT.",
        lambda: (Endpoint("127.0.0.1", 8300),),
    )
    token_file: str | None = setting("TOKEN_FILE", TOKEN_MEANING, None)
    tls_ca_file: str | None = setting(
        "TLS_CA_FILE", "PEM file of the authorities to trust with https servers; null for the platform's.", None
    )
    tls_client_file: str | None = setting(
        "TLS_CLIENT_FILE", "PEM file of a key and its certificate, to show to https servers; null for none.", None
    )
    flush_seconds: float = setting("AGENT_FLUSH_SECONDS", "How often batches are sealed and sent.", 0.25, least=0.01)
    commit_milliseconds: float = setting("AGENT_COMMIT_MS", "How long a group commit gathers requests.", 100.0, least=0)
    confirm_seconds: float = setting(
        "AGENT_CONFIRM_SECONDS", "Time from the first ok of a batch to the second look that confirms it.", 30.0, least=1
    )
    queues_per_server: int = setting(
        "AGENT_QUEUES_PER_SERVER", "Requests under way at a time to one server.", 1, least=1
    )
    spool: str = setting("SPOOL_DIR", "Folder of the spool; one agent each.", "taba-spool")
    max_spool_bytes: int = setting("SPOOL_MAX_BYTES", "What the spool may hold.", 4096 * MIB, least=6 * MIB)
    max_memory_bytes: int = setting(
        "AGENT_MEMORY_BYTES", "What events that are not yet on disk may take.", 256 * MIB, least=MIB
    )
    max_body_bytes: int = setting(
        "MAX_BODY_BYTES", "Largest body of a request, before and after inflating.", 32 * MIB, least=1024
    )
    instance_days: float = setting("INSTANCE_DAYS", "How long an idle client's numbers are kept.", 2.0, least=0.01)
    dedup_days: float = setting("DEDUP_DAYS", "How long servers remember lanes; the same on all hosts.", 14.0, least=2)
    max_clock_skew: float = setting("MAX_CLOCK_SKEW", "How far ahead of servers' clocks events may be.", 60.0, least=0)
    additional_handlers: dict[str, str] = setting("ADDITIONAL_HANDLERS", HANDLERS_MEANING, dict)
    double_agent: DoubleAgentSettings | None = field(
        default=None, metadata={"key": "DOUBLE_AGENT", "meaning": "A second spool and set of servers; null for none."}
    )
    log_format: str = setting("LOG_FORMAT", LOG_MEANING, "text", among=("text", "json"))
    debug: bool = setting("DEBUG", DEBUG_MEANING, False)
    insecure: bool = setting("INSECURE", INSECURE_MEANING, False)

    def endpoints(self) -> tuple[str, ...]:
        """The endpoint strings of the port for clients."""
        return self.listen or (tcp_endpoint(self.interface, self.port),)


@frozen
class ShardSettings:
    """One of SHARDS."""

    shard_name: str = field(validator=attrs.validators.min_len(1))
    vbuckets: tuple[int, int]
    """The first and the last."""


@frozen
class TabSettings:
    """One of TABS: how the tabs whose names match a pattern are kept."""

    name: str = field(validator=attrs.validators.min_len(1))
    """A regular expression for RE2, matched at the start of a tab's name."""
    per_client: str = field(validator=attrs.validators.in_(("keep", "merge")))
    """`keep`: States of silent clients stay. `merge`: no State per client is kept at all."""


@frozen
class DoubleAgentSettings:
    """DOUBLE_AGENT: a second spool and set of servers, to which everything is copied."""

    servers: tuple[Endpoint, ...] = setting("SERVER_ENDPOINTS", "The other servers' HTTP ports.", ())
    port: int | None = field(default=None, metadata={"key": "AGENT_PORT", "meaning": "Of the original; not used."})
    flush_seconds: float = setting("AGENT_FLUSH_SECONDS", "How often batches are sealed and sent.", 0.25, least=0.01)
    queues_per_server: int = setting(
        "AGENT_QUEUES_PER_SERVER", "Requests under way at a time to one server.", 1, least=1
    )
    spool: str | None = setting("SPOOL_DIR", "Folder of the second spool; null for SPOOL_DIR with -double.", None)


@frozen
class DatabaseSettings:
    """DB_SETTINGS of a server."""

    memory: bool = setting("USE_MEMORY_DB", "Keep everything in memory; a stop loses it.", False)
    vbuckets: int = setting("NUM_VBUCKETS", "Slices of the tab name space; fixed when a store is made.", 128, least=1)
    sentinels: tuple[tuple[str, int], ...] = setting("SENTINELS", "All Redis Sentinels: a list of [host, port].", ())
    shards: tuple[ShardSettings, ...] = setting(
        "SHARDS",
        "The shards, by the names that the Sentinels know, and the first and last vbucket of each:"
        " a list of {shard_name, vbuckets}.",
        (),
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
    wait_seconds: float = setting("WAIT_SECONDS", "How long it waits for them.", 1.0, least=0.01)
    call_seconds: float = setting("REDIS_CALL_SECONDS", "How long Redis may take to answer.", 2.0, least=0.1)
    redis_user: str = setting("REDIS_USER", "Name of an ACL user.", "", empty=True)
    redis_password: str = setting("REDIS_PASSWORD", "Its password, or that of requirepass.", "", empty=True)
    redis_password_file: str | None = setting("REDIS_PASSWORD_FILE", "File of that password.", None)
    redis_tls: bool = setting("REDIS_TLS", "Whether the shards are reached by TLS.", False)
    sentinel_user: str = setting("SENTINEL_USER", "The same for the Sentinels.", "", empty=True)
    sentinel_password: str = setting("SENTINEL_PASSWORD", "The same for the Sentinels.", "", empty=True)
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


@frozen
class ServerSettings:
    """What a server can be told."""

    roles: str = setting("SERVER_ROLES", "Roles of the process, comma-joined: fe, be, ctrl.", "fe,be")
    workers: int = setting("SERVER_WORKERS", "Processes; the embedded store takes one.", 1, least=1)
    port: int = setting(
        "BASE_PORT", "TCP port for agents and queries; 0 picks a free one.", 8300, least=0, most=MOST_PORT
    )
    interface: str = setting("INTERFACE", "Address to listen on.", "127.0.0.1")
    listen: tuple[str, ...] = setting("LISTEN", LISTEN_MEANING.format("INTERFACE", "BASE_PORT"), ())
    agent_port: int = setting(
        "AGENT_PORT", "Port of the agent on this host, to which own events go.", 8279, least=0, most=MOST_PORT
    )
    embedded_agent: bool = setting("EMBEDDED_AGENT", "Whether this process opens AGENT_PORT itself.", False)
    agent_listen: tuple[str, ...] = setting(
        "AGENT_LISTEN", LISTEN_MEANING.format("INTERFACE", "AGENT_PORT") + " With EMBEDDED_AGENT.", ()
    )
    token_file: str | None = setting("TOKEN_FILE", TOKEN_MEANING, None)
    data_dir: str = setting("DATA_DIR", "Folder of the embedded store and the spool.", "taba-data")
    database: DatabaseSettings = setting(  # noqa: RUF009 - ruff does not see that this is a field
        "DB_SETTINGS", "Which store, and how it is divided.", DatabaseSettings
    )
    checkpoint_seconds: float = setting("CHECKPOINT_SECONDS", "How often changed States are written.", 0.5, least=0.01)
    agent_flush_seconds: float = setting(
        "AGENT_FLUSH_SECONDS", "How often the agent inside seals and sends.", 0.25, least=0.01
    )
    dedup_days: float = setting("DEDUP_DAYS", "How long lanes are remembered; the same on all hosts.", 14.0, least=2)
    max_clock_skew: float = setting("MAX_CLOCK_SKEW", "How far ahead of this clock an event may be.", 60.0, least=0)
    queue_throttle_capacity: int = setting(
        "QUEUE_THROTTLE_CAPACITY",
        "What the logs of a shard may hold before the first requests are refused.",
        256 * MIB,
        least=MIB,
    )
    queue_capacity: int = setting("QUEUE_CAPACITY", "What logs may hold; beyond it 503.", 1024 * MIB, least=MIB)
    state_cache_bytes: int = setting("STATE_CACHE_BYTES", "Memory for States that are in use.", 256 * MIB, least=MIB)
    max_body_bytes: int = setting(
        "MAX_BODY_BYTES", "Largest body of a request, before and after inflating.", 32 * MIB, least=1024
    )
    name_blacklist: tuple[str, ...] = setting(
        "NAME_BLACKLIST", "Regular expressions for RE2, matched at the start: tabs that are not taken.", ()
    )
    client_blacklist: tuple[str, ...] = setting("CLIENT_BLACKLIST", "The same for clients.", ())
    additional_handlers: dict[str, str] = setting("ADDITIONAL_HANDLERS", HANDLERS_MEANING, dict)
    client_ttl: float = setting(
        "CLIENT_TTL", "Seconds without an event after which a client's State goes to the retired one.", 604_800.0, least=60
    )
    tabs: tuple[TabSettings, ...] = setting(
        "TABS", "How States of clients are kept, by tab: a list of {name, per_client}; the first that matches counts.", ()
    )
    gc_seconds: float = setting("GC_SECONDS", "How often States that can be pruned are looked for.", 3600.0, least=1)
    undo_hours: float = setting("UNDO_HOURS", "How long a deleted tab can be brought back.", 24.0, least=0)
    buffer_seconds: float = setting(
        "BUFFER_SECONDS", "How long an entry of a Buffer that says no expiry is shown.", 86_400.0, least=1
    )
    admin_get: bool = setting("ADMIN_GET", "Whether GET does on loopback what POST does, as in the original.", False)
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


Settings = TypeVar("Settings", AgentSettings, ServerSettings)


def load(kind: type[Settings], path: str) -> Settings:
    """Read a JSON settings file. SettingsError says what is wrong, where, and what might have been meant."""
    try:
        text = Path(path).read_text(encoding="utf-8")
    except OSError as problem:
        raise SettingsError(f"The settings file {path} cannot be read: {problem.strerror}.")
    try:
        given = json.loads(text)
    except ValueError as problem:
        raise SettingsError(f"{path} is not JSON: {problem}.")
    if not isinstance(given, dict):
        raise SettingsError(f"{path} must hold a JSON object.")
    try:
        return structure(kind, given)
    except SettingsError as problem:
        raise SettingsError(f"{path}: {problem}")


def structure(kind: type[Settings], given: Mapping[str, Any]) -> Settings:
    """Settings from the object of a settings file."""
    settings: Settings = _structured(kind, given, "")
    return settings


def _structured(kind: Any, given: Mapping[str, Any], path: str) -> Any:
    keys = {each.metadata["key"]: each for each in attrs.fields(kind)}
    values = {}
    for key, value in given.items():
        each = keys.get(key)
        if each is None:
            raise SettingsError(f"{path}{key} is no setting here.{_nearest(key, keys)}")
        values[each.name] = _value(kind, each, value, path + key)
    try:
        return kind(**values)
    except ValueError as problem:
        raise SettingsError(path + _refused(kind, problem))


def changed(settings: Settings, **changes: Any) -> Settings:
    """Settings with some fields changed, as by a command line; SettingsError for a value that cannot be."""
    try:
        return attrs.evolve(settings, **changes)
    except ValueError as problem:
        raise SettingsError(_refused(type(settings), problem))


def _refused(kind: Any, problem: ValueError) -> str:
    """What a validator of attrs says, whose sentences begin with the field, with the key in its place."""
    attribute = next(each for each in attrs.fields(kind) if f"'{each.name}'" in str(problem))
    sentence = str(problem.args[0]).replace(f"'{attribute.name}'", "the value")
    return f"{attribute.metadata['key']}: {sentence}"


def _value(kind: Any, each: Any, value: Any, path: str) -> Any:
    wanted = get_type_hints(kind)[each.name]
    if attrs.has(wanted):
        if not isinstance(value, dict):
            raise SettingsError(f"{path} must be an object.")
        return _structured(wanted, value, path + ".")
    if get_origin(wanted) is tuple and not isinstance(value, list):
        raise SettingsError(f"{path} must be a list.")
    converter = cattrs.Converter(forbid_extra_keys=True)
    for plain in (bool, int, float, str):
        converter.register_structure_hook(plain, _exactly)
    from_object = make_dict_structure_fn(Endpoint, converter, _cattrs_forbid_extra_keys=True)
    of_shard = make_dict_structure_fn(ShardSettings, converter, _cattrs_forbid_extra_keys=True)

    def shard(given: Any, kind: type[ShardSettings]) -> ShardSettings:
        if not isinstance(given, dict):
            raise TypeError(f"{json.dumps(given)} is no object of shard_name and vbuckets")
        return of_shard(given, kind)

    def endpoint(given: Any, kind: type[Endpoint]) -> Endpoint:
        if isinstance(given, str):
            return Endpoint.from_url(given)
        if not isinstance(given, dict):
            raise TypeError(f"{json.dumps(given)} is neither an object nor a URL")
        return from_object(given, kind)

    converter.register_structure_hook(Endpoint, endpoint)
    converter.register_structure_hook(ShardSettings, shard)
    try:
        return converter.structure(value, wanted)
    except (cattrs.BaseValidationError, TypeError, ValueError) as problem:
        raise SettingsError(f"{path} has a value that cannot be used: {_innermost(problem)}.")


def _innermost(problem: BaseException) -> str:
    while isinstance(problem, BaseExceptionGroup):
        problem = problem.exceptions[0]
    return str(problem) or type(problem).__name__


def _exactly(value: Any, wanted: Any) -> Any:
    """No conversions: "8300" is no port, 1 is no truth value. Whole numbers serve as seconds, though."""
    if wanted is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if type(value) is not wanted:
        raise TypeError(f"{json.dumps(value)} is not {_NAMES[wanted]}")
    return value


_NAMES = {bool: "true or false", int: "a whole number", float: "a number", str: "a string"}


def _nearest(key: str, keys: Mapping[str, Any]) -> str:
    near = difflib.get_close_matches(key.upper(), keys, n=1, cutoff=0.6)
    return f" Did you mean {near[0]}?" if near else f" There are: {', '.join(sorted(keys))}."

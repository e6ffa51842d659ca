"""INFO: the sections server, clients, memory, persistence, replication, keyspace, with the fields that are read here.

Names, order and line ends are Redis 7.0's; sizes of memory are estimates.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from taba.testing.redis.command import Call, command, table
from taba.testing.redis.resp import Reply

if TYPE_CHECKING:
    from taba.testing.redis.engine import Engine

Lines = list[tuple[str, object]]


def _server(engine: Engine) -> Lines:
    uptime = int(engine.wall() - engine.started)
    return [
        ("redis_version", engine.version),
        ("redis_mode", "standalone"),
        ("process_id", 1),
        ("run_id", engine.run_id),
        ("tcp_port", engine.port),
        ("server_time_usec", int(engine.wall() * 1_000_000)),
        ("uptime_in_seconds", uptime),
        ("uptime_in_days", uptime // 86400),
        ("hz", 10),
        ("config_file", ""),
    ]


def _clients(engine: Engine) -> Lines:
    return [
        ("connected_clients", sum(each.replica is None for each in engine.sessions.values())),
        ("maxclients", engine.configuration.text("maxclients")),
        ("blocked_clients", len(engine.blocked)),
    ]


def _human(size: int) -> str:
    for unit, name in ((1 << 30, "G"), (1 << 20, "M"), (1 << 10, "K")):
        if size >= unit:
            return f"{size / unit:.2f}{name}"
    return f"{size}B"


def _memory(engine: Engine) -> Lines:
    used, limit = engine.used_memory(), engine.configuration.number("maxmemory")
    return [
        ("used_memory", used),
        ("used_memory_human", _human(used)),
        ("used_memory_rss", used),
        ("used_memory_peak", used),
        ("total_system_memory", 1 << 34),
        ("maxmemory", limit),
        ("maxmemory_human", _human(limit)),
        ("maxmemory_policy", engine.configuration.text("maxmemory-policy")),
        ("mem_fragmentation_ratio", "1.00"),
    ]


def _persistence(engine: Engine) -> Lines:
    status = "err" if engine.disk.fails else "ok"
    return [
        ("loading", int(engine.loading)),
        ("async_loading", 0),
        ("rdb_changes_since_last_save", 0),
        ("rdb_bgsave_in_progress", 0),
        ("rdb_last_save_time", int(engine.last_save)),
        ("rdb_last_bgsave_status", status),
        ("aof_enabled", int(engine.configuration.is_on("appendonly"))),
        ("aof_rewrite_in_progress", 0),
        ("aof_last_bgrewrite_status", status),
        ("aof_last_write_status", status),
    ]


def _master_of(engine: Engine) -> Lines:
    """What a replica says of its link."""
    link = engine.link
    if link is None:
        return []
    now = engine.turns.seconds()
    offset = engine.history.offset if engine.history.backlog is not None else 1
    lines: Lines = [
        ("master_host", link.host),
        ("master_port", link.port),
        ("master_link_status", "up" if link.is_up() else "down"),
        ("master_last_io_seconds_ago", int(now - link.last_io) if link.is_up() else -1),
        ("master_sync_in_progress", int(link.state == "sync")),
        ("slave_read_repl_offset", offset),
        ("slave_repl_offset", offset),
    ]
    if not link.is_up():
        down = -1 if link.down_since is None else int(now - link.down_since)
        lines.append(("master_link_down_since_seconds", down))
    return [
        *lines,
        ("slave_priority", engine.configuration.text("replica-priority")),
        ("slave_read_only", int(engine.configuration.is_on("replica-read-only"))),
        ("replica_announced", 1),
    ]


def _replication(engine: Engine) -> Lines:
    history, backlog, online = engine.history, engine.history.backlog, engine.replicas.online()
    lines: Lines = [("role", "slave" if engine.is_replica() else "master"), *_master_of(engine)]
    lines.append(("connected_slaves", len(online)))
    if engine.configuration.number("min-replicas-to-write") and engine.configuration.number("min-replicas-max-lag"):
        lines.append(("min_slaves_good_slaves", engine.replicas.good()))
    for number, each in enumerate(online):
        about = f"ip={each.host()},port={each.port},state=online,offset={each.acknowledged}"
        lines.append((f"slave{number}", f"{about},lag={engine.replicas.lag(each)}"))
    return [
        *lines,
        ("master_failover_state", "no-failover"),
        ("master_replid", history.replid),
        ("master_replid2", history.replid2),
        ("master_repl_offset", history.offset),
        ("second_repl_offset", history.second_offset),
        ("repl_backlog_active", int(backlog is not None)),
        ("repl_backlog_size", history.backlog_size()),
        ("repl_backlog_first_byte_offset", history.first_offset()),
        ("repl_backlog_histlen", 0 if backlog is None else len(backlog)),
    ]


def _keyspace(engine: Engine) -> Lines:
    return [
        (f"db{number}", f"keys={len(each)},expires={len(each.deadlines)},avg_ttl=0")
        for number, each in sorted(engine.databases.items())
        if len(each)
    ]


_SECTIONS: dict[str, Callable[[Engine], Lines]] = {
    "Server": _server,
    "Clients": _clients,
    "Memory": _memory,
    "Persistence": _persistence,
    "Replication": _replication,
    "Keyspace": _keyspace,
}
_ALL = {b"all", b"default", b"everything"}


def info(call: Call) -> Reply:
    """INFO [section ...]."""
    asked = {word.lower() for word in call.argv[1:]}
    chosen = [name for name in _SECTIONS if not asked or asked & _ALL or name.lower().encode() in asked]
    parts = []
    for name in chosen:
        lines = "".join(f"{key}:{value}\r\n" for key, value in _SECTIONS[name](call.engine))
        parts.append(f"# {name}\r\n{lines}")
    return "\r\n".join(parts).encode()


COMMANDS = table([command("INFO", info, -1, "loading stale")])

"""The parameters of a server, as CONFIG GET and CONFIG SET see them: those that matter here, with Redis 7.0's defaults.

Memory sizes may be written with units and are kept in bytes. A parameter that the server does not know is refused, as
Redis refuses it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from attrs import define, field

from taba.testing.redis.command import Call, command, table
from taba.testing.redis.resp import OK, Reply, ReplyError, shown
from taba.testing.redis.scanning import glob

MEMORY = "memory"
NUMBER = "number"
YES_NO = "yes or no"
TEXT = "text"

_FSYNC = ("everysec", "always", "no")
_POLICIES = (
    "volatile-lru", "volatile-lfu", "volatile-random", "volatile-ttl", "allkeys-lru", "allkeys-lfu", "allkeys-random",
    "noeviction",
)  # fmt: skip

_PARAMETERS: Mapping[str, tuple[str, str | tuple[str, ...]]] = {
    "appendonly": ("no", YES_NO),
    "appendfsync": ("everysec", _FSYNC),
    "databases": ("16", NUMBER),
    "maxclients": ("10000", NUMBER),
    "maxmemory": ("0", MEMORY),
    "maxmemory-policy": ("noeviction", _POLICIES),
    "min-replicas-to-write": ("0", NUMBER),
    "min-replicas-max-lag": ("10", NUMBER),
    "repl-backlog-size": ("1048576", MEMORY),
    "repl-timeout": ("60", NUMBER),
    "repl-ping-replica-period": ("10", NUMBER),
    "replica-serve-stale-data": ("yes", YES_NO),
    "replica-read-only": ("yes", YES_NO),
    "replica-priority": ("100", NUMBER),
    "stop-writes-on-bgsave-error": ("yes", YES_NO),
    "client-output-buffer-limit": ("normal 0 0 0 slave 268435456 67108864 60 pubsub 33554432 8388608 60", TEXT),
    "save": ("3600 1 300 100 60 10000", TEXT),
    "timeout": ("0", NUMBER),
    "tcp-keepalive": ("300", NUMBER),
    "busy-reply-threshold": ("5000", NUMBER),
    "masteruser": ("", TEXT),
    "masterauth": ("", TEXT),
    "requirepass": ("", TEXT),
}
_ALIASES = {
    "min-slaves-to-write": "min-replicas-to-write",
    "min-slaves-max-lag": "min-replicas-max-lag",
    "repl-ping-slave-period": "repl-ping-replica-period",
    "slave-serve-stale-data": "replica-serve-stale-data",
    "slave-read-only": "replica-read-only",
    "slave-priority": "replica-priority",
    "lua-time-limit": "busy-reply-threshold",
}
_UNITS = {"": 1, "b": 1, "k": 1000, "kb": 1024, "m": 10**6, "mb": 1 << 20, "g": 10**9, "gb": 1 << 30}


def _checked(name: str, value: str) -> str:
    kind = _PARAMETERS[name][1]
    if kind == MEMORY:
        parts = re.fullmatch(r"(\d+)([a-z]*)", value.lower())
        if parts is None or parts[2] not in _UNITS:
            raise ValueError("argument must be a memory value")
        return str(int(parts[1]) * _UNITS[parts[2]])
    if kind == NUMBER and not re.fullmatch(r"\d{1,18}", value):
        raise ValueError("argument couldn't be parsed into an integer")
    if kind == YES_NO and value.lower() not in ("yes", "no"):
        raise ValueError("argument must be 'yes' or 'no'")
    if isinstance(kind, tuple) and value.lower() not in kind:
        raise ValueError(f"argument(s) must be one of the following: {', '.join(kind)}")
    return value.lower() if kind == YES_NO or isinstance(kind, tuple) else value


@define(eq=False)
class Configuration:
    """The values in force, the defaults at first."""

    values: dict[str, str] = field(factory=lambda: {name: default for name, (default, _) in _PARAMETERS.items()})

    def set(self, given: Mapping[str, str]) -> None:
        """Change parameters; raises ValueError for what Redis refuses."""
        for name, value in given.items():
            name = _ALIASES.get(name.lower(), name.lower())
            if name not in _PARAMETERS:
                raise ValueError(f"there is no parameter {name!r}")
            self.values[name] = _checked(name, value)

    def text(self, name: str) -> str:
        """A parameter as it is written."""
        return self.values[name]

    def number(self, name: str) -> int:
        """A parameter that is a number, or a size in bytes."""
        return int(self.values[name])

    def is_on(self, name: str) -> bool:
        """A parameter that is yes or no."""
        return self.values[name] == "yes"


def get(call: Call) -> Reply:
    """CONFIG GET pattern ...: names and values."""
    found: list[Reply] = []
    values = call.engine.configuration.values
    names = {**{name: name for name in values}, **_ALIASES}
    for name, proper in names.items():
        if any(glob(pattern.lower())(name.encode()) for pattern in call.argv[2:]):
            found += [name.encode(), values[proper].encode()]
    return found


def set_(call: Call) -> Reply:
    """CONFIG SET name value ..."""
    pairs = call.argv[2:]
    if len(pairs) % 2:
        raise ReplyError("ERR wrong number of arguments for 'config|set' command")
    names = [shown(name).lower() for name in pairs[::2]]
    for name in names:
        if name not in _PARAMETERS and name not in _ALIASES:
            raise ReplyError(f"ERR Unknown option or number of arguments for CONFIG SET - '{name}'")
    if "databases" in names:
        raise ReplyError(
            "ERR CONFIG SET failed (possibly related to argument 'databases') - can't set immutable config"
        )
    checked = {}
    for name, value in zip(names, pairs[1::2], strict=True):
        try:
            checked[name] = _checked(_ALIASES.get(name, name), shown(value))
        except ValueError as error:
            raise ReplyError(f"ERR CONFIG SET failed (possibly related to argument '{name}') - {error}")
    call.engine.configure(checked)
    return OK


def rewrite(call: Call) -> Reply:
    """CONFIG REWRITE: the parameters, and whom to replicate, hold over a restart."""
    call.engine.rewrite_configuration()
    return OK


def reset_statistics(_call: Call) -> Reply:
    """CONFIG RESETSTAT: there are no statistics."""
    return OK


COMMANDS = table(
    [
        command("CONFIG|GET", get, -3, "loading stale noscript"),
        command("CONFIG|SET", set_, -4, "loading stale noscript"),
        command("CONFIG|REWRITE", rewrite, 2, "loading stale noscript"),
        command("CONFIG|RESETSTAT", reset_statistics, 2, "loading stale noscript"),
    ]
)

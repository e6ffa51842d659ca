"""All commands of a server, by name, as one constant table, and how words find their command."""

from __future__ import annotations

from collections.abc import Mapping

from taba.testing.redis import (
    access,
    administration,
    blocking,
    configuration,
    connection,
    dumping,
    functions,
    hashes,
    information,
    keys,
    lists,
    publishing,
    replicas,
    sets,
    stream_reads,
    streams,
    strings,
    transactions,
)
from taba.testing.redis.command import Command, wrong_arity
from taba.testing.redis.resp import ReplyError, shown

_MODULES = (
    access, administration, blocking, configuration, connection, dumping, functions, hashes, information, keys,
    lists, publishing, replicas, sets, stream_reads, streams, strings, transactions,
)  # fmt: skip

COMMANDS: Mapping[bytes, Command] = {name: each for module in _MODULES for name, each in module.COMMANDS.items()}
CONTAINERS = frozenset(name.partition(b"|")[0] for name in COMMANDS if b"|" in name)
"""Commands that have subcommands."""


def find_command(argv: list[bytes]) -> Command:
    """The command that these words name; raises ReplyError when there is none, or words are missing."""
    name = argv[0].upper()
    found = COMMANDS.get(name)
    if found is None and name in CONTAINERS:
        if len(argv) == 1:
            raise wrong_arity(shown(argv[0]).lower())
        found = COMMANDS.get(name + b"|" + argv[1].upper())
        if found is None:
            raise ReplyError(f"ERR unknown subcommand '{shown(argv[1])[:128]}'. Try {shown(name)} HELP.")
    if found is None:
        given = "".join(f"'{shown(word)[:128]}' " for word in argv[1:])[:128]
        raise ReplyError(f"ERR unknown command '{shown(argv[0])[:128]}', with args beginning with: {given}")
    if not found.takes(len(argv)):
        raise wrong_arity(found.lower())
    return found

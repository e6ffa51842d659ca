"""Everything a server holds as bytes: for a replica that copies it whole, and for the disk."""

from __future__ import annotations

from typing import TYPE_CHECKING

from taba.testing.redis.dumping import dump_keyspace, join, load_keyspace, split

if TYPE_CHECKING:
    from taba.testing.redis.engine import Engine


def take_snapshot(engine: Engine) -> bytes:
    """Databases and functions as bytes."""
    databases = (join([b"%d" % number, dump_keyspace(each)]) for number, each in engine.databases.items())
    functions = (each for name, text in engine.functions.loaded.items() for each in (name.encode(), text))
    return join([join(functions), *databases])


def restore_snapshot(engine: Engine, snapshot: bytes) -> None:
    """Replace databases and functions by those of a snapshot."""
    engine.clear_databases()
    engine.functions.loaded.clear()
    functions, *databases = split(snapshot)
    pieces = split(functions)
    for place in range(0, len(pieces), 2):
        engine.functions.loaded[pieces[place].decode()] = pieces[place + 1]
    for each in databases:
        number, dumped = split(each)
        load_keyspace(engine.keyspace(int(number)), dumped)

"""What a command is: its name, arity, flags and keys, and the function that runs it.

A function gets a `Call` and returns its `Reply`, or raises `ReplyError` having changed nothing. A command that has
changed something says how much in `Call.changed`; it then goes to replicas and disk as it was given, or as what
`Call.effects` holds, which must have the same outcome wherever and whenever it is run. Tables of commands are
constants of the modules that define them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from attrs import define, field, frozen

from taba.testing.redis.keyspace import Keyspace
from taba.testing.redis.resp import Argument, Reply, ReplyError, words

if TYPE_CHECKING:
    from taba.testing.redis.engine import Engine
    from taba.testing.redis.session import Session

SYNTAX = "ERR syntax error"
NOT_AN_INTEGER = "ERR value is not an integer or out of range"
_INTEGER = re.compile(rb"-?(0|[1-9][0-9]{0,18})")
_LARGEST = 2**63


@define(eq=False)
class Call:
    """One command of one session, as it runs."""

    engine: Engine
    session: Session
    argv: list[bytes]
    keyspace: Keyspace
    may_block: bool = True
    """False inside a transaction or function."""
    in_function: bool = False
    changed: int = 0
    effects: list[list[bytes]] | None = None
    """What goes to replicas and disk in place of the command itself, when it changed something."""

    def now_ms(self) -> int:
        """The wall clock, in milliseconds."""
        return self.engine.wall_ms()

    def stands_for(self, *effect: Argument) -> None:
        """Let this go to replicas and disk in place of the command."""
        self.effects = [*(self.effects or []), words(effect)]


@frozen
class Command:
    """One command, or (`CLIENT|ID`) one subcommand of a container.

    `arity` counts the words, its own among them; below zero it is the least. `keys` are the places of the first and
    the last key and the step between keys; a last place below zero counts from the end. Flags, as Redis has them:
    write, readonly, denyoom, noauth, loading, stale, noscript, no_multi, may_replicate, pubsub.
    """

    name: str
    run: Callable[[Call], Reply]
    arity: int
    flags: frozenset[str] = frozenset()
    keys: tuple[int, int, int] = (0, 0, 0)
    find_keys: Callable[[Sequence[bytes]], list[bytes]] | None = None

    def keys_of(self, argv: Sequence[bytes]) -> list[bytes]:
        """The keys that a command names."""
        if self.find_keys is not None:
            return self.find_keys(argv)
        first, last, step = self.keys
        if not first:
            return []
        return list(argv[first : (last if last >= 0 else len(argv) + last) + 1 : step])

    def takes(self, count: int) -> bool:
        """Whether a command of `count` words is complete."""
        return count == self.arity if self.arity >= 0 else count >= -self.arity

    def lower(self) -> str:
        """The name as error lines show it."""
        return self.name.lower()


Table = Mapping[bytes, Command]

FIRST_KEY = (1, 1, 1)
ALL_KEYS = (1, -1, 1)


def command(
    name: str,
    run: Callable[[Call], Reply],
    arity: int,
    flags: str = "",
    keys: tuple[int, int, int] = (0, 0, 0),
    find_keys: Callable[[Sequence[bytes]], list[bytes]] | None = None,
) -> Command:
    """A `Command`, its flags written as words."""
    return Command(name, run, arity, frozenset(flags.split()), keys, find_keys)


def table(commands: Iterable[Command]) -> dict[bytes, Command]:
    """Commands by their names."""
    return {each.name.encode(): each for each in commands}


def integer(text: bytes, error: str = NOT_AN_INTEGER) -> int:
    """A signed 64-bit integer, written as Redis takes it; raises ReplyError(error)."""
    if not _INTEGER.fullmatch(text) or text == b"-0" or not -_LARGEST <= int(text) < _LARGEST:
        raise ReplyError(error)
    return int(text)


def wrong_arity(name: str) -> ReplyError:
    """The error of a command with too few or too many words."""
    return ReplyError(f"ERR wrong number of arguments for '{name}' command")


@define(eq=False)
class Options:
    """Reads the optional words of a command from left to right."""

    words: Sequence[bytes]
    place: int = field(default=0)

    def __bool__(self) -> bool:
        return self.place < len(self.words)

    def word(self) -> bytes:
        """The next word in capitals."""
        self.place += 1
        return self.words[self.place - 1].upper()

    def value(self) -> bytes:
        """The next word as it is; a syntax error when there is none."""
        if not self:
            raise ReplyError(SYNTAX)
        self.place += 1
        return self.words[self.place - 1]

    def rest(self) -> Sequence[bytes]:
        """All that is left."""
        start, self.place = self.place, len(self.words)
        return self.words[start:]

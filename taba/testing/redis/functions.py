"""FUNCTION and FCALL: libraries that a client loads as Lua text, and that Python code stands in for here.

The text goes to a real Redis unchanged. This server reads from its first line, `#!lua name=NAME`, which library it is,
and runs the `FunctionLibrary` of that name that it was given. A library that was loaded is replicated and kept like any
other write; what a function writes is replicated as its effects, one step together.

A Python function gets `call` (redis.call), the keys and the arguments, and returns what the Lua function would:

    def append(call: FunctionCall, keys: list[bytes], args: list[bytes]) -> Reply:
        if call("GET", keys[0]) != b"A":
            return Status("MOVED")
        return call("XADD", keys[1], "0-*", "b", args[0])

    LIBRARY = FunctionLibrary("taba", {"taba_append": append})

Bytes become a bulk string, integers and booleans what Lua's do, None the nil bulk, lists arrays, a float loses its
fraction. `call` raises `CallError` when the command fails; one that leaves the function is answered with the
command's error and Redis's suffix, in which the line number is always 1. What the function wrote until then stays.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from attrs import define, field, frozen

from taba.testing.redis.command import Call, Options, command, integer, table
from taba.testing.redis.resp import OK, Argument, Mark, Reply, ReplyError, Status, shown, words
from taba.testing.redis.scanning import glob

_SHEBANG = re.compile(rb"#!(\S*)[ \t]*([^\r\n]*)\n")


class CallError(ReplyError):
    """A command that a function called has failed; `text` is the error line."""


class FunctionCall(Protocol):
    """redis.call, as a Python function sees it."""

    def __call__(self, *argv: Argument) -> Reply:
        """Run a command inside the function; raises CallError."""


PythonFunction = Callable[[FunctionCall, list[bytes], list[bytes]], Reply]


@frozen
class FunctionLibrary:
    """The Python twin of a library: its functions by name. Those in `read_only` are registered with `no-writes` in Lua,
    those in `allow_oom` with `allow-oom`, those in `allow_stale` with `allow-stale`.
    """

    name: str
    functions: Mapping[str, PythonFunction]
    read_only: frozenset[str] = frozenset()
    allow_oom: frozenset[str] = frozenset()
    allow_stale: frozenset[str] = frozenset()

    def flags(self, name: str) -> list[str]:
        """The flags of one function, as FUNCTION LIST shows them."""
        flags = {"no-writes": self.read_only, "allow-oom": self.allow_oom, "allow-stale": self.allow_stale}
        return [flag for flag, names in flags.items() if name in names]


@define(eq=False)
class Functions:
    """The libraries that are loaded, and those that could be (`known`)."""

    known: Mapping[str, FunctionLibrary]
    loaded: dict[str, bytes] = field(factory=dict, init=False)
    """Library name -> the text that it was loaded with."""

    def find(self, name: str) -> FunctionLibrary | None:
        """The loaded library that has a function."""
        return next((self.known[each] for each in self.loaded if name in self.known[each].functions), None)

    def command_flags(self, name: str, flags: frozenset[str]) -> frozenset[str]:
        """The flags that count when a function is called: those that it was registered with say what it may do."""
        found = self.find(name)
        if found is None:
            return flags
        own = found.flags(name)
        flags -= {"stale", "denyoom", "write"}
        if "no-writes" not in own:
            flags |= {"write"}
            if "allow-oom" not in own:
                flags |= {"denyoom"}
        return flags | {"stale"} if "allow-stale" in own else flags

    def load(self, text: bytes, replaces: bool) -> str:
        """Load a library; its name. Raises ReplyError, then nothing has changed."""
        name = _library_name(text)
        if name in self.loaded and not replaces:
            raise ReplyError(f"ERR Library '{name}' already exists")
        library = self.known.get(name)
        if library is None:
            raise ReplyError(f"ERR Error registering functions: this server was given no Python library '{name}'")
        for other in self.loaded:
            taken = set(library.functions) & set(self.known[other].functions) if other != name else set()
            if taken:
                raise ReplyError(f"ERR Function {min(taken)} already exists")
        self.loaded[name] = text
        return name


def _library_name(text: bytes) -> str:
    if not text.startswith(b"#!"):
        raise ReplyError("ERR Missing library metadata")
    shebang = _SHEBANG.match(text)
    if shebang is None:
        raise ReplyError("ERR Invalid library metadata")
    if shebang[1].lower() != b"lua":
        raise ReplyError(f"ERR Engine '{shown(shebang[1])}' not found")
    name = None
    for word in shebang[2].split():
        key, _equals, value = word.partition(b"=")
        if key.lower() != b"name":
            raise ReplyError(f"ERR Invalid metadata value given: {shown(word)}")
        if name is not None:
            raise ReplyError("ERR Invalid metadata value, name argument was given multiple times")
        name = shown(value)
    if name is None:
        raise ReplyError("ERR Library name was not given")
    if not re.fullmatch(r"[A-Za-z0-9_]+", name):
        raise ReplyError(
            "ERR Library names can only contain letters, numbers, or underscores(_) "
            "and must be at least one character long"
        )
    return name


def _name_and_arguments(call: Call) -> tuple[str, list[bytes], list[bytes]]:
    """The function, its keys and its arguments."""
    count = integer(call.argv[2], "ERR Bad number of keys provided")
    if count > len(call.argv) - 3:
        raise ReplyError("ERR Number of keys can't be greater than number of args")
    if count < 0:
        raise ReplyError("ERR Number of keys can't be negative")
    return shown(call.argv[1]), call.argv[3 : 3 + count], call.argv[3 + count :]


def keys_of_fcall(argv: Sequence[bytes]) -> list[bytes]:
    """The keys that an FCALL names."""
    count = int(argv[2]) if argv[2].isdigit() else 0
    return list(argv[3 : 3 + count])


def _run(call: Call, read_only_call: bool) -> Reply:
    found = call.engine.functions.find(shown(call.argv[1]))
    if found is None:
        raise ReplyError("ERR Function not found")
    name, keys, arguments = _name_and_arguments(call)
    flags = found.flags(name)
    if read_only_call and "no-writes" not in flags:
        raise ReplyError("ERR Can not execute a script with write flag using *_ro command.")

    def redis_call(*argv: Argument) -> Reply:
        reply = call.engine.run_in_function(call.session, words(argv), "no-writes" in flags)
        if isinstance(reply, ReplyError):
            raise CallError(reply.text)
        return _to_lua(reply)

    try:
        return _from_lua(found.functions[name](redis_call, keys, arguments))
    except CallError as error:
        return ReplyError(f"{error.text} script: {name}, on @user_function:1.")


def _to_lua(reply: Reply) -> Reply:
    if reply is Mark.NIL_ARRAY:
        return None
    return [_to_lua(each) for each in reply] if isinstance(reply, list) else reply


def _from_lua(value: object) -> Reply:
    """The reply for a value that a function returned."""
    if value is None or value is False:
        return None
    if isinstance(value, (bool, int, float)):
        return int(value)
    if isinstance(value, str):
        return value.encode()
    if isinstance(value, (list, tuple)):
        return [_from_lua(each) for each in value]
    if isinstance(value, (bytes, Status, ReplyError)):
        return value
    raise TypeError(f"a function returned {value!r}, which stands for no reply")


def fcall(call: Call) -> Reply:
    """FCALL function numkeys key ... argument ..."""
    return _run(call, read_only_call=False)


def fcall_ro(call: Call) -> Reply:
    """FCALL_RO function numkeys key ... argument ..."""
    return _run(call, read_only_call=True)


def load(call: Call) -> Reply:
    """FUNCTION LOAD [REPLACE] text: the name of the library."""
    options = call.argv[2:-1]
    for option in options:
        if option.upper() != b"REPLACE":
            raise ReplyError(f"ERR Unknown option given: {shown(option)}")
    name = call.engine.functions.load(call.argv[-1], bool(options))
    call.changed += 1
    return name.encode()


def delete(call: Call) -> Reply:
    """FUNCTION DELETE library."""
    if call.engine.functions.loaded.pop(shown(call.argv[2]), None) is None:
        raise ReplyError("ERR Library not found")
    call.changed += 1
    return OK


def flush(call: Call) -> Reply:
    """FUNCTION FLUSH [ASYNC | SYNC]."""
    if len(call.argv) > 3 or (len(call.argv) == 3 and call.argv[2].upper() not in (b"ASYNC", b"SYNC")):
        raise ReplyError("ERR FUNCTION FLUSH only supports SYNC|ASYNC option")
    call.engine.functions.loaded.clear()
    call.changed += 1
    return OK


def list_(call: Call) -> Reply:
    """FUNCTION LIST [LIBRARYNAME pattern] [WITHCODE]."""
    options, matches, with_code = Options(call.argv, 2), None, False
    while options:
        word = options.word()
        if word == b"WITHCODE":
            with_code = True
        elif word == b"LIBRARYNAME":
            if not options:
                raise ReplyError("ERR library name argument was not given")
            matches = glob(options.value())
        else:
            raise ReplyError(f"ERR Unknown argument {shown(call.argv[options.place - 1])}")
    functions = call.engine.functions
    rows: list[Reply] = []
    for name, text in functions.loaded.items():
        if matches is None or matches(name.encode()):
            row: list[Reply] = [b"library_name", name.encode(), b"engine", b"LUA", b"functions"]
            row.append([_described(functions.known[name], each) for each in functions.known[name].functions])
            rows.append([*row, b"library_code", text] if with_code else row)
    return rows


def _described(library: FunctionLibrary, name: str) -> Reply:
    flags: list[Reply] = [Status(flag) for flag in library.flags(name)]
    return [b"name", name.encode(), b"description", None, b"flags", flags]


COMMANDS = table(
    [
        command("FCALL", fcall, -3, "noscript stale may_replicate", find_keys=keys_of_fcall),
        command("FCALL_RO", fcall_ro, -3, "noscript stale", find_keys=keys_of_fcall),
        command("FUNCTION|LOAD", load, -3, "noscript write denyoom"),
        command("FUNCTION|DELETE", delete, 3, "noscript write"),
        command("FUNCTION|FLUSH", flush, -2, "noscript write"),
        command("FUNCTION|LIST", list_, -2, "noscript"),
    ]
)

"""Values as bytes: DUMP, RESTORE, and snapshots of whole databases for replicas.

The format is our own; no real Redis reads it. It starts with a mark and a letter for the type, holds pieces of bytes
with their lengths, and ends with a CRC-32.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable, Sequence

from taba.testing.redis.command import FIRST_KEY, SYNTAX, Call, Options, command, integer, table
from taba.testing.redis.keyspace import Hash, Items, Keyspace, Members, Value
from taba.testing.redis.resp import OK, Reply, ReplyError
from taba.testing.redis.stream import Stream

_MARK = b"TABA-DUMP-1"
_WRONG = "ERR DUMP payload version or checksum are wrong"
_ID = struct.Struct("<QQ")


def join(pieces: Iterable[bytes]) -> bytes:
    """Pieces, each behind its length."""
    return b"".join(struct.pack("<I", len(piece)) + piece for piece in pieces)


def split(joined: bytes) -> list[bytes]:
    """What `join` joined; raises struct.error when it is cut short."""
    pieces, place = [], 0
    while place < len(joined):
        (length,) = struct.unpack_from("<I", joined, place)
        place += 4 + length
        if place > len(joined):
            raise struct.error("a piece is cut short")
        pieces.append(joined[place - length : place])
    return pieces


def dump_value(value: Value) -> bytes:
    """A value as bytes."""
    if isinstance(value, bytes):
        body = b"s" + value
    elif isinstance(value, Hash):
        body = b"h" + join(each for pair in value.fields.items() for each in pair)
    elif isinstance(value, Members):
        body = b"m" + join(value.names)
    elif isinstance(value, Items):
        body = b"l" + join(value.items)
    else:
        head = _ID.pack(*value.last_id) + _ID.pack(*value.max_deleted) + struct.pack("<Q", value.added)
        entries = (join([_ID.pack(*stream_id), *fields]) for stream_id, fields in value.after((0, 0)))
        body = b"x" + join([head, *entries])
    return _MARK + body + struct.pack("<I", zlib.crc32(body))


def load_value(dumped: bytes) -> Value:
    """The value that `dump_value` gave bytes for; raises ReplyError."""
    body, checksum = dumped[len(_MARK) : -4], dumped[-4:]
    if not dumped.startswith(_MARK) or not body or struct.pack("<I", zlib.crc32(body)) != checksum:
        raise ReplyError(_WRONG)
    kind, rest = body[:1], body[1:]
    if kind == b"s":
        return rest
    pieces = split(rest)
    return _load_stream(pieces) if kind == b"x" else _load_collection(kind, pieces)


def _load_collection(kind: bytes, pieces: Sequence[bytes]) -> Value:
    if kind == b"h":
        found = Hash()
        for place in range(0, len(pieces), 2):
            found.put(pieces[place], pieces[place + 1])
        return found
    if kind == b"l":
        items = Items()
        items.push(pieces)
        return items
    members = Members()
    for piece in pieces:
        members.add(piece)
    return members


def _load_stream(pieces: Sequence[bytes]) -> Stream:
    stream = Stream()
    for piece in pieces[1:]:
        stream_id, *fields = split(piece)
        stream.append(_ID.unpack(stream_id), fields)
    head = pieces[0]
    stream.last_id, stream.max_deleted = _ID.unpack_from(head, 0), _ID.unpack_from(head, 16)
    (stream.added,) = struct.unpack_from("<Q", head, 32)
    return stream


def dump_keyspace(keyspace: Keyspace) -> bytes:
    """All keys of a database, with their times."""
    rows = (
        join([key, b"%d" % keyspace.deadlines.get(key, 0), dump_value(value)]) for key, value in keyspace.values.items()
    )
    return join(rows)


def load_keyspace(keyspace: Keyspace, dumped: bytes) -> None:
    """Fill a database with what `dump_keyspace` gave."""
    for row in split(dumped):
        key, deadline, value = split(row)
        keyspace.put(key, load_value(value))
        if int(deadline):
            keyspace.set_deadline(key, int(deadline))


def dump(call: Call) -> Reply:
    """DUMP key."""
    value = call.keyspace.find(call.argv[1])
    return None if value is None else dump_value(value)


def restore(call: Call) -> Reply:
    """RESTORE key ttl dumped [REPLACE] [ABSTTL] [IDLETIME s] [FREQ n]."""
    options, replaces, absolute = Options(call.argv, 4), False, False
    while options:
        word = options.word()
        if word == b"REPLACE":
            replaces = True
        elif word == b"ABSTTL":
            absolute = True
        elif word in (b"IDLETIME", b"FREQ"):
            integer(options.value())
        else:
            raise ReplyError(SYNTAX)
    key = call.argv[1]
    if not replaces and call.keyspace.find(key) is not None:
        raise ReplyError("BUSYKEY Target key name already exists.")
    ttl = integer(call.argv[2])
    if ttl < 0:
        raise ReplyError("ERR Invalid TTL value, must be >= 0")
    value = load_value(call.argv[3])
    deadline = 0 if not ttl else ttl if absolute else call.now_ms() + ttl
    call.keyspace.put(key, value)
    if deadline:
        call.keyspace.set_deadline(key, deadline)
    call.changed += 1
    call.stands_for("RESTORE", key, deadline, call.argv[3], "ABSTTL", "REPLACE")
    return OK


COMMANDS = table(
    [
        command("DUMP", dump, 2, "readonly", FIRST_KEY),
        command("RESTORE", restore, -4, "write denyoom", FIRST_KEY),
    ]
)

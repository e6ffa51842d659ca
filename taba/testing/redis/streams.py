"""Commands of streams that write, and those that read what is there; XREAD is in stream_reads.py.

`~` in MAXLEN and MINID trims by whole hundreds of entries: Redis trims by whole nodes, which hold at most so many.
"""

from __future__ import annotations

from collections.abc import Callable

from attrs import frozen

from taba.testing.redis.command import (
    FIRST_KEY,
    NOT_AN_INTEGER,
    SYNTAX,
    Call,
    Options,
    command,
    integer,
    table,
    wrong_arity,
)
from taba.testing.redis.resp import NIL_ARRAY, OK, Reply, ReplyError
from taba.testing.redis.stream import (
    BAD_ID,
    LAST,
    MOST,
    ZERO,
    Entry,
    Stream,
    StreamId,
    format_id,
    next_id,
    parse_id,
    previous_id,
)

_NODE = 100  # entries
_TOO_SMALL = "ERR The ID specified in XADD is equal or smaller than the target stream top item"


def entry_reply(entry: Entry | None) -> Reply:
    """An entry as clients see it."""
    return None if entry is None else [format_id(entry[0]), [*entry[1]]]


@frozen
class Trim:
    """What MAXLEN or MINID asks for."""

    length: int | None
    minimum: StreamId | None
    about: bool

    def apply(self, stream: Stream) -> int:
        """Trim; how many entries went."""
        if self.about:
            first = stream.between(ZERO, self.minimum, None) if self.minimum is not None else []
            over = len([each for each in first if each[0] != self.minimum])
            if self.length is not None:
                over = len(stream) - self.length
            return stream.trim_to(len(stream) - max(0, over) // _NODE * _NODE)
        return stream.trim_below(self.minimum) if self.minimum is not None else stream.trim_to(self.length or 0)


def _read_trim(options: Options, word: bytes) -> Trim:
    text = options.value()
    about = text == b"~"
    if text in (b"~", b"=") and options:
        text = options.value()
    if word == b"MINID":
        return Trim(None, parse_id(text), about)
    length = integer(text)
    if length < 0:
        raise ReplyError("ERR The MAXLEN argument must be >= 0.")
    return Trim(length, None, about)


def _read_limit(options: Options, trim: Trim | None) -> None:
    if integer(options.value()) < 0:
        raise ReplyError("ERR The LIMIT argument must be >= 0.")
    if trim is None:
        raise ReplyError("ERR syntax error, LIMIT cannot be used without specifying a trimming strategy")
    if not trim.about:
        raise ReplyError("ERR syntax error, LIMIT cannot be used without the special ~ option")


def _read_xadd(call: Call) -> tuple[Trim | None, bool, bytes, list[bytes]]:
    """Trimming, whether the stream may be made, the id, and the fields."""
    options, trim, makes, limit_at = Options(call.argv, 2), None, True, None
    while True:
        if not options:
            raise wrong_arity("xadd")
        word = options.word()
        more = bool(options)
        if word in (b"MAXLEN", b"MINID") and more:
            if trim is not None:
                raise ReplyError("ERR syntax error, MAXLEN and MINID options at the same time are not compatible")
            trim = _read_trim(options, word)
        elif word == b"LIMIT" and more:
            limit_at = Options(call.argv, options.place)
            options.place += 1
        elif word == b"NOMKSTREAM":
            makes = False
        else:
            break
    if limit_at is not None:
        _read_limit(limit_at, trim)
    text = call.argv[options.place - 1]
    if text != b"*":
        _explicit_id(text)
    fields = list(options.rest())
    if len(fields) < 2 or len(fields) % 2:
        raise wrong_arity("xadd")
    if text in (b"0-0", b"0"):
        raise ReplyError("ERR The ID specified in XADD must be greater than 0-0")
    return trim, makes, text, fields


def _explicit_id(text: bytes) -> StreamId | int:
    """An id, or its milliseconds when the sequence is left to the stream."""
    if text.endswith(b"-*"):
        return parse_id(text[:-2] + b"-0")[0]
    return parse_id(text)


def _choose_id(call: Call, text: bytes, last: StreamId) -> StreamId:
    """The id of a new entry; raises when it is not above the last one."""
    if text == b"*":
        now = (call.now_ms(), 0)
        chosen = now if now[0] > last[0] else next_id(last)
    else:
        asked = _explicit_id(text)
        if isinstance(asked, tuple):
            chosen = asked
        elif asked == last[0]:
            chosen = (asked, last[1] + 1) if last[1] < MOST else None
        else:
            chosen = (asked, 0)
    if chosen is None or chosen <= last:
        raise ReplyError(_TOO_SMALL)
    return chosen


def xadd(call: Call) -> Reply:
    """XADD key [NOMKSTREAM] [MAXLEN | MINID [= | ~] n [LIMIT n]] id field value ...: the id."""
    trim, makes, text, fields = _read_xadd(call)
    key = call.argv[1]
    found = call.keyspace.stream(key)
    if found is None and not makes:
        return None
    stream = Stream() if found is None else found
    if stream.last_id == LAST:
        raise ReplyError("ERR The stream has exhausted the last possible ID, unable to add more items")
    chosen = _choose_id(call, text, stream.last_id)
    stream.append(chosen, fields)
    call.changed += 1
    call.stands_for("XADD", key, format_id(chosen), *fields)
    if trim is not None and trim.apply(stream):
        _say_trimmed(call, key, stream)
    if found is None:
        call.keyspace.put(key, stream)
    else:
        call.keyspace.touch(key)
    return format_id(chosen)


def _say_trimmed(call: Call, key: bytes, stream: Stream) -> None:
    call.stands_for("XTRIM", key, "MAXLEN", "=", len(stream))


def xtrim(call: Call) -> Reply:
    """XTRIM key MAXLEN | MINID [= | ~] n [LIMIT n]: how many entries went."""
    options, trim, limit_at = Options(call.argv, 2), None, None
    while options:
        word = options.word()
        more = bool(options)
        if word in (b"MAXLEN", b"MINID") and more:
            if trim is not None:
                raise ReplyError("ERR syntax error, MAXLEN and MINID options at the same time are not compatible")
            trim = _read_trim(options, word)
        elif word == b"LIMIT" and more:
            limit_at = Options(call.argv, options.place)
            options.place += 1
        else:
            raise ReplyError(SYNTAX)
    if limit_at is not None:
        _read_limit(limit_at, trim)
    if trim is None:
        raise ReplyError("ERR syntax error, XTRIM must be called with MAXLEN or MINID")
    stream = call.keyspace.stream(call.argv[1])
    gone = trim.apply(stream) if stream is not None else 0
    if stream is not None and gone:
        call.changed += gone
        _say_trimmed(call, call.argv[1], stream)
        call.keyspace.touch(call.argv[1])
    return gone


def xdel(call: Call) -> Reply:
    """XDEL key id ...: how many were there."""
    stream = call.keyspace.stream(call.argv[1])
    if stream is None:
        return 0
    gone = sum([stream.delete(each) for each in [parse_id(text) for text in call.argv[2:]]])
    if gone:
        call.changed += gone
        call.keyspace.touch(call.argv[1])
    return gone


def xlen(call: Call) -> Reply:
    """XLEN key."""
    return len(call.keyspace.stream(call.argv[1]) or ())


def _bound(text: bytes, missing: int, step: Callable[[StreamId], StreamId | None], name: str) -> StreamId:
    """One end of a range; `(` leaves the id itself out."""
    if text in (b"-", b"+"):
        return ZERO if text == b"-" else LAST
    if not text.startswith(b"("):
        return parse_id(text, missing)
    if text in (b"(-", b"(+"):
        raise ReplyError(BAD_ID)
    stepped = step(parse_id(text[1:], missing))
    if stepped is None:
        raise ReplyError(f"ERR invalid {name} ID for the interval")
    return stepped


def _range(call: Call, low: bytes, high: bytes, backwards: bool) -> Reply:
    start = _bound(low, 0, next_id, "start")
    end = _bound(high, MOST, previous_id, "end")
    options, count = Options(call.argv, 4), None
    while options:
        if options.word() != b"COUNT":
            raise ReplyError(SYNTAX)
        count = max(0, integer(options.value(), NOT_AN_INTEGER))
    stream = call.keyspace.stream(call.argv[1])
    if stream is None:
        return []
    if count == 0:
        return NIL_ARRAY
    return [entry_reply(each) for each in stream.between(start, end, count, backwards)] if start <= end else []


def xrange(call: Call) -> Reply:
    """XRANGE key start end [COUNT n]."""
    return _range(call, call.argv[2], call.argv[3], backwards=False)


def xrevrange(call: Call) -> Reply:
    """XREVRANGE key end start [COUNT n]."""
    return _range(call, call.argv[3], call.argv[2], backwards=True)


def xsetid(call: Call) -> Reply:
    """XSETID key last-id [ENTRIESADDED n MAXDELETEDID id]."""
    last = parse_id(call.argv[2])
    options, added, deleted = Options(call.argv, 3), None, None
    while options:
        word = options.word()
        if word == b"ENTRIESADDED" and options:
            added = integer(options.value())
            if added < 0:
                raise ReplyError("ERR entries_added must be positive")
        elif word == b"MAXDELETEDID" and options:
            deleted = parse_id(options.value())
            if last < deleted:
                raise ReplyError("ERR The ID specified in XSETID is smaller than the provided max_deleted_entry_id")
        else:
            raise ReplyError(SYNTAX)
    stream = call.keyspace.stream(call.argv[1])
    if stream is None:
        raise ReplyError("ERR no such key")
    newest = stream.last()
    if newest is not None and last < newest[0]:
        raise ReplyError("ERR The ID specified in XSETID is smaller than the target stream top item")
    if added is not None and added < len(stream):
        raise ReplyError("ERR The entries_added specified in XSETID is smaller than the target stream length")
    stream.last_id = last
    stream.added = stream.added if added is None else added
    stream.max_deleted = stream.max_deleted if deleted in (None, ZERO) or deleted is None else deleted
    call.changed += 1
    call.keyspace.touch(call.argv[1])
    return OK


def xinfo_stream(call: Call) -> Reply:
    """XINFO STREAM key. The numbers of the radix tree are guesses."""
    stream = call.keyspace.stream(call.argv[2])
    if len(call.argv) > 3:
        raise ReplyError("ERR XINFO STREAM FULL is not simulated")
    if stream is None:
        raise ReplyError("ERR no such key")
    first = stream.first()
    nodes = -(-len(stream) // _NODE)
    facts: list[tuple[bytes, Reply]] = [
        (b"length", len(stream)),
        (b"radix-tree-keys", nodes),
        (b"radix-tree-nodes", nodes + 1),
        (b"last-generated-id", format_id(stream.last_id)),
        (b"max-deleted-entry-id", format_id(stream.max_deleted)),
        (b"entries-added", stream.added),
        (b"recorded-first-entry-id", format_id(first[0] if first else ZERO)),
        (b"groups", 0),
        (b"first-entry", entry_reply(first)),
        (b"last-entry", entry_reply(stream.last())),
    ]
    return [each for fact in facts for each in fact]


COMMANDS = table(
    [
        command("XADD", xadd, -5, "write denyoom", FIRST_KEY),
        command("XTRIM", xtrim, -4, "write", FIRST_KEY),
        command("XDEL", xdel, -3, "write", FIRST_KEY),
        command("XLEN", xlen, 2, "readonly", FIRST_KEY),
        command("XRANGE", xrange, -4, "readonly", FIRST_KEY),
        command("XREVRANGE", xrevrange, -4, "readonly", FIRST_KEY),
        command("XSETID", xsetid, -3, "write denyoom", FIRST_KEY),
        command("XINFO|STREAM", xinfo_stream, -3, "readonly", (2, 2, 1)),
    ]
)

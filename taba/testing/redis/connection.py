"""Commands about the connection itself: PING, ECHO, SELECT, HELLO, CLIENT, RESET, QUIT."""

from __future__ import annotations

from taba.testing.redis.command import SYNTAX, Call, Options, command, integer, table, wrong_arity
from taba.testing.redis.resp import OK, Reply, ReplyError, Status, shown
from taba.testing.redis.session import Session

_KINDS = {b"normal": "normal", b"pubsub": "pubsub", b"replica": "replica", b"slave": "replica", b"master": "master"}


def ping(call: Call) -> Reply:
    """PING [message]; a subscriber gets an array."""
    if len(call.argv) > 2:
        raise wrong_arity("ping")
    message = call.argv[1] if len(call.argv) > 1 else None
    if call.session.channels or call.session.patterns:
        return [b"pong", message or b""]
    return Status("PONG") if message is None else message


def echo(call: Call) -> Reply:
    """ECHO message."""
    return call.argv[1]


def select(call: Call) -> Reply:
    """SELECT index."""
    number = integer(call.argv[1])
    if not 0 <= number < call.engine.configuration.number("databases"):
        raise ReplyError("ERR DB index is out of range")
    call.session.db = number
    return OK


def hello(call: Call) -> Reply:
    """HELLO [2 [AUTH user password] [SETNAME name]]: RESP3 is refused with NOPROTO, unlike in Redis 7.0."""
    options, engine, session = Options(call.argv, 1), call.engine, call.session
    if options and integer(options.value(), "ERR Protocol version is not an integer or out of range") != 2:
        raise ReplyError("NOPROTO unsupported protocol version")
    user, name = None, None
    while options:
        word = options.word()
        if word == b"AUTH":
            user = engine.users.authenticate(options.value(), options.value())
        elif word == b"SETNAME":
            name = _checked_name(options.value())
        else:
            raise ReplyError(f"ERR Syntax error in HELLO option '{shown(call.argv[options.place - 1])}'")
    if user is not None:
        session.user, session.authenticated = user, True
    if not session.authenticated and not engine.users.is_open():
        raise ReplyError(
            "NOAUTH HELLO must be called with the client already authenticated, otherwise the HELLO AUTH <user> <pass> "
            "option can be used to authenticate the client and select the RESP protocol version at the same time"
        )
    if name is not None:
        session.name = name
    role = b"replica" if engine.is_replica() else b"master"
    facts: list[Reply] = [b"server", b"redis", b"version", engine.version.encode(), b"proto", 2]
    return [*facts, b"id", session.number, b"mode", b"standalone", b"role", role, b"modules", []]


def _checked_name(name: bytes) -> bytes:
    if any(not 33 <= char <= 126 for char in name):
        raise ReplyError("ERR Client names cannot contain spaces, newlines or special characters.")
    return name


def client_setname(call: Call) -> Reply:
    """CLIENT SETNAME name."""
    call.session.name = _checked_name(call.argv[2])
    return OK


def client_getname(call: Call) -> Reply:
    """CLIENT GETNAME."""
    return call.session.name or None


def client_id(call: Call) -> Reply:
    """CLIENT ID."""
    return call.session.number


def client_no_evict(call: Call) -> Reply:
    """CLIENT NO-EVICT ON | OFF: without effect."""
    if call.argv[2].upper() not in (b"ON", b"OFF"):
        raise ReplyError(SYNTAX)
    return OK


def client_list(call: Call) -> Reply:
    """CLIENT LIST: a line for each connection, with its id, address, name, database and type."""
    lines = (
        f"id={each.number} addr={each.address} name={each.name.decode('latin-1')} db={each.db} type={each.kind()}\n"
        for each in call.engine.sessions.values()
    )
    return "".join(lines).encode()


def client_kill(call: Call) -> Reply:
    """CLIENT KILL address, or CLIENT KILL [ID n] [TYPE t] [ADDR a] [SKIPME yes | no]: how many were closed."""
    if len(call.argv) == 3:
        victims = [each for each in call.engine.sessions.values() if each.address.encode() == call.argv[2]]
        if not victims:
            raise ReplyError("ERR No such client")
        _kill(call, victims)
        return OK
    options, chosen, spares_me = Options(call.argv, 2), list(call.engine.sessions.values()), True
    while options:
        word, value = options.word(), options.value()
        if word == b"ID":
            number = integer(value, "ERR client-id should be greater than 0")
            chosen = [each for each in chosen if each.number == number]
        elif word == b"TYPE":
            kind = _KINDS.get(value.lower())
            if kind is None:
                raise ReplyError(f"ERR Unknown client type '{value.decode('latin-1')}'")
            chosen = [each for each in chosen if each.kind() == kind]
        elif word == b"ADDR":
            chosen = [each for each in chosen if each.address.encode() == value]
        elif word == b"SKIPME" and value.lower() in (b"yes", b"no"):
            spares_me = value.lower() == b"yes"
        else:
            raise ReplyError(SYNTAX)
    return _kill(call, [each for each in chosen if not (spares_me and each is call.session)])


def _kill(call: Call, victims: list[Session]) -> int:
    for victim in victims:
        if victim is call.session:
            victim.ends_after_reply = True
        else:
            victim.end()
    return len(victims)


def reset(call: Call) -> Reply:
    """RESET: as a new connection."""
    session = call.session
    session.end_transaction()
    call.engine.channels.forget(session)
    session.db, session.name, session.authenticated = 0, b"", False
    session.user = call.engine.users.default()
    return Status("RESET")


def quit_(call: Call) -> Reply:
    """QUIT: OK, and the connection closes."""
    call.session.ends_after_reply = True
    return OK


COMMANDS = table(
    [
        command("PING", ping, -1),
        command("ECHO", echo, 2),
        command("SELECT", select, 2, "loading stale"),
        command("HELLO", hello, -1, "noauth loading stale noscript"),
        command("CLIENT|SETNAME", client_setname, 3, "loading stale noscript"),
        command("CLIENT|GETNAME", client_getname, 2, "loading stale noscript"),
        command("CLIENT|ID", client_id, 2, "loading stale noscript"),
        command("CLIENT|NO-EVICT", client_no_evict, 3, "loading stale noscript"),
        command("CLIENT|LIST", client_list, -2, "loading stale noscript"),
        command("CLIENT|KILL", client_kill, -3, "loading stale noscript"),
        command("RESET", reset, 1, "noauth loading stale noscript"),
        command("QUIT", quit_, -1, "noauth loading stale noscript"),
    ]
)

"""What a Sentinel answers: SENTINEL and its subcommands, PING, ROLE, INFO, subscriptions, AUTH, a little of CLIENT."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from taba.testing.redis.resp import NIL_ARRAY, NO_REPLY, OK, Reply, ReplyError, Status, shown
from taba.testing.redis.sentinel import failover
from taba.testing.redis.sentinel.engine import SentinelEngine
from taba.testing.redis.sentinel.instance import Instance, Kind, Reconfiguration
from taba.testing.redis.sentinel.monitored import Monitored, Step
from taba.testing.redis.session import Session

_Run = Callable[[SentinelEngine, Session, list[bytes]], Reply]
_FREE = (b"AUTH", b"HELLO", b"QUIT")
_FOR_SUBSCRIBERS = (b"SUBSCRIBE", b"PSUBSCRIBE", b"UNSUBSCRIBE", b"PUNSUBSCRIBE", b"PING", b"QUIT")


def perform(engine: SentinelEngine, session: Session, argv: list[bytes]) -> Reply:
    """Run one command."""
    name = argv[0].upper()
    arity, run = _COMMANDS.get(name, (0, _unknown))
    try:
        if not session.authenticated and name not in _FREE:
            raise ReplyError("NOAUTH Authentication required.")
        if len(argv) < arity:
            raise ReplyError(f"ERR wrong number of arguments for '{shown(argv[0]).lower()}' command")
        if (session.channels or session.patterns) and name not in _FOR_SUBSCRIBERS:
            raise ReplyError(
                f"ERR Can't execute '{shown(argv[0]).lower()}': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / "
                "RESET are allowed in this context"
            )
        return run(engine, session, argv)
    except ReplyError as error:
        return error


def _unknown(engine: SentinelEngine, session: Session, argv: list[bytes]) -> Reply:
    given = "".join(f"'{shown(word)[:128]}' " for word in argv[1:])[:128]
    raise ReplyError(f"ERR unknown command '{shown(argv[0])[:128]}', with args beginning with: {given}")


def _ping(engine: SentinelEngine, session: Session, argv: list[bytes]) -> Reply:
    message = argv[1] if len(argv) > 1 else None
    if session.channels or session.patterns:
        return [b"pong", message or b""]
    return Status("PONG") if message is None else message


def _auth(engine: SentinelEngine, session: Session, argv: list[bytes]) -> Reply:
    if not engine.password:
        raise ReplyError(
            "ERR AUTH <password> called without any password configured for the default user. Are you sure your "
            "configuration is correct?"
        )
    if argv[-1] != engine.password.encode() or (len(argv) == 3 and argv[1] != b"default"):
        raise ReplyError("WRONGPASS invalid username-password pair or user is disabled.")
    session.authenticated = True
    return OK


def _client(engine: SentinelEngine, session: Session, argv: list[bytes]) -> Reply:
    subcommand = argv[1].upper()
    if subcommand == b"SETNAME" and len(argv) == 3:
        session.name = argv[2]
        return OK
    if subcommand == b"ID":
        return session.number
    raise ReplyError(f"ERR unknown subcommand '{shown(argv[1])}'. Try CLIENT HELP.")


def _quit(engine: SentinelEngine, session: Session, argv: list[bytes]) -> Reply:
    session.ends_after_reply = True
    return OK


def _role(engine: SentinelEngine, session: Session, argv: list[bytes]) -> Reply:
    return [b"sentinel", [name.encode() for name in engine.monitored]]


def _info(engine: SentinelEngine, session: Session, argv: list[bytes]) -> Reply:
    lines = ["# Server", "redis_mode:sentinel", f"run_id:{engine.run_id}", f"tcp_port:{engine.port}", "", "# Sentinel"]
    lines += [f"sentinel_masters:{len(engine.monitored)}", "sentinel_tilt:0"]
    for number, (name, each) in enumerate(engine.monitored.items()):
        status = "odown" if each.objectively_down else "sdown" if each.master.is_down() else "ok"
        where = f"address={each.master.host}:{each.master.port}"
        around = f"slaves={len(each.replicas)},sentinels={len(each.sentinels) + 1}"
        lines.append(f"master{number}:name={name},status={status},{where},{around}")
    return "\r\n".join([*lines, ""]).encode()


def _subscribe(engine: SentinelEngine, session: Session, argv: list[bytes]) -> Reply:
    engine.channels.subscribe(session, argv[1:])
    return NO_REPLY


def _psubscribe(engine: SentinelEngine, session: Session, argv: list[bytes]) -> Reply:
    engine.channels.subscribe_patterns(session, argv[1:])
    return NO_REPLY


def _unsubscribe(engine: SentinelEngine, session: Session, argv: list[bytes]) -> Reply:
    engine.channels.unsubscribe(session, argv[1:])
    return NO_REPLY


def _punsubscribe(engine: SentinelEngine, session: Session, argv: list[bytes]) -> Reply:
    engine.channels.unsubscribe_patterns(session, argv[1:])
    return NO_REPLY


# ----------------------------------------------------------------------------------------------------------- SENTINEL


def _sentinel(engine: SentinelEngine, session: Session, argv: list[bytes]) -> Reply:
    count, run = _SUBCOMMANDS.get(argv[1].upper(), (0, None))
    if run is None:
        raise ReplyError(f"ERR unknown subcommand '{shown(argv[1])}'. Try SENTINEL HELP.")
    if len(argv) != count:
        raise ReplyError(f"ERR wrong number of arguments for 'sentinel|{shown(argv[1]).lower()}' command")
    return run(engine, session, argv)


def _named(engine: SentinelEngine, argv: list[bytes]) -> Monitored:
    found = engine.monitored.get(shown(argv[2]))
    if found is None:
        raise ReplyError("ERR No such master with that name")
    return found


def _flags(instance: Instance, monitored: Monitored) -> str:
    flags = [instance.kind.value]
    if instance.is_down():
        flags.append("s_down")
    if instance.kind is Kind.MASTER and monitored.objectively_down:
        flags.append("o_down")
    if instance.kind is Kind.SENTINEL and instance.says_down:
        flags.append("master_down")
    if not instance.link.is_up():
        flags.append("disconnected")
    if instance.kind is Kind.MASTER and monitored.step is not Step.NONE:
        flags.append("failover_in_progress")
    if instance is monitored.promoted:
        flags.append("promoted")
    if instance.reconfiguration is not Reconfiguration.NONE:
        flags.append(instance.reconfiguration.value)
    return ",".join(flags)


def _fields(engine: SentinelEngine, instance: Instance, monitored: Monitored) -> Reply:
    now = engine.turns.seconds()

    def since(moment: float | None) -> int:
        return 0 if moment is None else int((now - moment) * 1000)

    name = monitored.name if instance.kind is Kind.MASTER else instance.name()
    facts: list[tuple[str, object]] = [
        ("name", name),
        ("ip", instance.host),
        ("port", instance.port),
        ("runid", instance.run_id),
        ("flags", _flags(instance, monitored)),
        ("link-pending-commands", instance.link.pending()),
        ("link-refcount", 1),
    ]
    if instance.kind is Kind.MASTER and monitored.step is not Step.NONE:
        facts.append(("failover-state", monitored.step.shown()))
    facts += [
        ("last-ping-sent", since(instance.act_ping)),
        ("last-ok-ping-reply", since(instance.last_available)),
        ("last-ping-reply", since(instance.last_pong)),
    ]
    if instance.down_since is not None:
        facts.append(("s-down-time", since(instance.down_since)))
    facts.append(("down-after-milliseconds", int(monitored.watch.down_after * 1000)))
    facts += _SPECIFIC[instance.kind](instance, monitored, since)
    return [str(each).encode() for fact in facts for each in fact]


_Since = Callable[[float | None], int]
_Facts = list[tuple[str, object]]


def _redis_facts(instance: Instance, since: _Since) -> _Facts:
    return [
        ("info-refresh", since(instance.info_at)),
        ("role-reported", instance.role.value),
        ("role-reported-time", since(instance.role_since)),
    ]


def _master_facts(instance: Instance, monitored: Monitored, since: _Since) -> _Facts:
    return [
        *_redis_facts(instance, since),
        ("config-epoch", monitored.config_epoch),
        ("num-slaves", len(monitored.replicas)),
        ("num-other-sentinels", len(monitored.sentinels)),
        ("quorum", monitored.watch.quorum),
        ("failover-timeout", int(monitored.watch.failover_timeout * 1000)),
        ("parallel-syncs", monitored.watch.parallel_syncs),
    ]


def _replica_facts(instance: Instance, monitored: Monitored, since: _Since) -> _Facts:
    host, port = instance.followed or ("?", 0)
    return [
        *_redis_facts(instance, since),
        ("master-link-down-time", int(instance.link_down_for * 1000)),
        ("master-link-status", "ok" if instance.link_is_up else "err"),
        ("master-host", host),
        ("master-port", port),
        ("slave-priority", instance.priority),
        ("slave-repl-offset", instance.offset),
        ("replica-announced", 1),
    ]


def _sentinel_facts(instance: Instance, monitored: Monitored, since: _Since) -> _Facts:
    return [
        ("last-hello-message", since(instance.link.last_received)),
        ("voted-leader", instance.leader or "?"),
        ("voted-leader-epoch", instance.leader_epoch),
    ]


_SPECIFIC: Mapping[Kind, Callable[[Instance, Monitored, _Since], _Facts]] = {
    Kind.MASTER: _master_facts,
    Kind.REPLICA: _replica_facts,
    Kind.SENTINEL: _sentinel_facts,
}


def _masters(engine: SentinelEngine, session: Session, argv: list[bytes]) -> Reply:
    return [_fields(engine, each.master, each) for each in engine.monitored.values()]


def _master(engine: SentinelEngine, session: Session, argv: list[bytes]) -> Reply:
    monitored = _named(engine, argv)
    return _fields(engine, monitored.master, monitored)


def _replicas(engine: SentinelEngine, session: Session, argv: list[bytes]) -> Reply:
    monitored = _named(engine, argv)
    return [_fields(engine, each, monitored) for each in monitored.replicas.values()]


def _sentinels(engine: SentinelEngine, session: Session, argv: list[bytes]) -> Reply:
    monitored = _named(engine, argv)
    return [_fields(engine, each, monitored) for each in monitored.sentinels.values()]


def _address(engine: SentinelEngine, session: Session, argv: list[bytes]) -> Reply:
    monitored = engine.monitored.get(shown(argv[2]))
    if monitored is None:
        return NIL_ARRAY
    host, port = monitored.address()
    return [host.encode(), b"%d" % port]


def _is_down(engine: SentinelEngine, session: Session, argv: list[bytes]) -> Reply:
    address, epoch, candidate = (shown(argv[2]), int(argv[3])), int(argv[4]), shown(argv[5])
    found = next((each for each in engine.monitored.values() if each.master.address == address), None)
    if found is None:
        return [0, b"*", 0]
    leader, leader_epoch = (None, 0) if candidate == "*" else failover.vote(engine, found, epoch, candidate)
    return [int(found.master.is_down()), (leader or "*").encode(), leader_epoch]


def _check_quorum(engine: SentinelEngine, session: Session, argv: list[bytes]) -> Reply:
    monitored = _named(engine, argv)
    usable = 1 + sum(not each.is_down() and each.link.is_up() for each in monitored.sentinels.values())
    problems = []
    if usable < monitored.watch.quorum:
        problems.append("Not enough available Sentinels to reach the specified quorum for this master")
    if usable < (len(monitored.sentinels) + 1) // 2 + 1:
        problems.append("Not enough available Sentinels to reach the majority and authorize a failover")
    if problems:
        raise ReplyError(f"NOQUORUM {usable} usable Sentinels. {'. '.join(problems)}")
    return Status(f"OK {usable} usable Sentinels. Quorum and failover authorization can be reached")


def _failover(engine: SentinelEngine, session: Session, argv: list[bytes]) -> Reply:
    monitored = _named(engine, argv)
    if monitored.step is not Step.NONE:
        raise ReplyError("INPROG Failover already in progress")
    if monitored.candidate(engine.turns.seconds()) is None:
        raise ReplyError("NOGOODSLAVE No suitable replica to promote")
    failover.start(engine, monitored)
    monitored.forced = True
    return OK


def _my_id(engine: SentinelEngine, session: Session, argv: list[bytes]) -> Reply:
    return engine.run_id.encode()


_SUBCOMMANDS: Mapping[bytes, tuple[int, _Run]] = {
    b"MASTERS": (2, _masters),
    b"MASTER": (3, _master),
    b"REPLICAS": (3, _replicas),
    b"SLAVES": (3, _replicas),
    b"SENTINELS": (3, _sentinels),
    b"GET-MASTER-ADDR-BY-NAME": (3, _address),
    b"IS-MASTER-DOWN-BY-ADDR": (6, _is_down),
    b"CKQUORUM": (3, _check_quorum),
    b"FAILOVER": (3, _failover),
    b"MYID": (2, _my_id),
}
_COMMANDS: Mapping[bytes, tuple[int, _Run]] = {
    b"PING": (1, _ping),
    b"AUTH": (2, _auth),
    b"CLIENT": (2, _client),
    b"QUIT": (1, _quit),
    b"ROLE": (1, _role),
    b"INFO": (1, _info),
    b"SUBSCRIBE": (2, _subscribe),
    b"PSUBSCRIBE": (2, _psubscribe),
    b"UNSUBSCRIBE": (1, _unsubscribe),
    b"PUNSUBSCRIBE": (1, _punsubscribe),
    b"SENTINEL": (2, _sentinel),
}

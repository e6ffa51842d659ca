"""One Redis process, without its network: databases, commands, role, and what leaves it for replicas and disk.

A command of a client passes the gate, runs, and what it wrote goes out as one step: to the disk, then to the replicas.
A replica applies what its master sends through `apply`, which passes no gate and writes to the disk alone. Time and
turns, randomness and the way to connect come from outside; one engine is one life, and dies with it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from random import Random
from typing import Any

from attrs import define, field
from twisted.internet.protocol import ClientFactory

from taba.testing.redis.access import Users, check
from taba.testing.redis.blocking import Blocked
from taba.testing.redis.command import Call, Command
from taba.testing.redis.commands import find_command
from taba.testing.redis.configuration import Configuration
from taba.testing.redis.expiring import ExpiryTimer
from taba.testing.redis.functions import FunctionLibrary, Functions
from taba.testing.redis.gate import OUT_OF_MEMORY, pass_gate
from taba.testing.redis.history import History, new_id
from taba.testing.redis.keyspace import Keyspace
from taba.testing.redis.persistence import LONGEST_UNSYNCED, RedisDisk
from taba.testing.redis.publishing import Channels
from taba.testing.redis.replica_link import LinkFaults, ReplicaLink
from taba.testing.redis.replicas import Replicas
from taba.testing.redis.resp import QUEUED, Reply, ReplyError
from taba.testing.redis.session import Session
from taba.testing.redis.snapshots import restore_snapshot, take_snapshot
from taba.testing.redis.turns import Turns

VERSION = "7.0.15"
Connect = Callable[[str, int, "ClientFactory[Any]", float], Any]
"""Connects to host and port with a factory and a timeout, as `IReactorTCP.connectTCP` does."""


@define(eq=False, repr=False)
class Engine:
    """A Redis process. `strict_wait` says whether only commands that wrote move the offset that WAIT waits for, as in
    newer versions; 7.0 moves it with any command. `on_shutdown` is what SHUTDOWN calls.
    """

    turns: Turns
    wall: Callable[[], float]
    random: Random
    connect: Connect
    disk: RedisDisk
    configuration: Configuration
    users: Users
    libraries: Mapping[str, FunctionLibrary]
    on_shutdown: Callable[[], None]
    port: int = 6379
    version: str = VERSION
    strict_wait: bool = True
    link_faults: LinkFaults = field(factory=LinkFaults)
    run_id: str = field(init=False)
    started: float = field(init=False)
    history: History = field(init=False)
    functions: Functions = field(init=False)
    replicas: Replicas = field(init=False)
    blocked: Blocked = field(init=False)
    channels: Channels = field(factory=Channels, init=False)
    sessions: dict[int, Session] = field(factory=dict, init=False)
    databases: dict[int, Keyspace] = field(factory=dict, init=False)
    link: ReplicaLink | None = field(default=None, init=False)
    """With the master, of a replica."""
    stream_db: int = field(default=0, init=False)
    """The database that the master's stream has selected."""
    loading: bool = field(default=False, init=False)
    busy: bool = field(default=False, init=False)
    """Whether a function seems to run without end."""
    last_save: float = field(init=False)
    expiry: ExpiryTimer = field(init=False)
    _replaying: bool = field(default=False, init=False)
    _effects: list[tuple[int, list[bytes]]] = field(factory=list, init=False)
    """What the command that runs now has written so far."""
    _session_count: int = field(default=0, init=False)
    _synced_at: float = field(default=0.0, init=False)
    _own_session: Session = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.run_id = new_id(self.random)
        self.started = self.last_save = self.wall()
        self.history = History(new_id(self.random), lambda: self.configuration.number("repl-backlog-size"))
        self.functions = Functions(self.libraries)
        self.replicas = Replicas(self)
        self.blocked = Blocked(self.turns, self.replicas.acknowledged_by)
        self.expiry = ExpiryTimer(self)
        self._own_session = Session(self, 0, "", None, lambda raw: None, lambda: None, self.blocked)

    # -------------------------------------------------------------------------------------------------------- facts

    def wall_ms(self) -> int:
        """The wall clock, in milliseconds."""
        return int(self.wall() * 1000)

    def new_id(self) -> str:
        """A replication id that nobody has."""
        return new_id(self.random)

    def is_replica(self) -> bool:
        """Whether it has a master."""
        return self.link is not None

    def is_stale(self) -> bool:
        """Whether it is a replica without its master that may not serve what it has."""
        down = self.link is not None and not self.link.is_up()
        return down and not self.configuration.is_on("replica-serve-stale-data")

    def used_memory(self) -> int:
        """An estimate of the bytes that the data take; an empty server takes 1 MB."""
        return 1_000_000 + sum(each.used for each in self.databases.values())

    def is_out_of_memory(self) -> bool:
        """Whether maxmemory is passed. Nothing is ever evicted, whatever the policy."""
        limit = self.configuration.number("maxmemory")
        return bool(limit) and self.used_memory() > limit and not self.is_replica()

    def keyspace(self, number: int) -> Keyspace:
        """A database, made when it is new."""
        found = self.databases.get(number)
        if found is None:
            found = self.databases[number] = Keyspace(
                number,
                self.wall_ms,
                keeps_expired=self.is_replica,
                sees_expired=lambda: self._replaying,
                on_expired=self._expired,
                on_touched=self.blocked.touched,
            )
        return found

    # ------------------------------------------------------------------------------------------------------ sessions

    def open_session(self, address: str, write: Callable[[bytes], None], close: Callable[[], None]) -> Session:
        """A client has connected."""
        self._session_count += 1
        session = Session(self, self._session_count, address, self.users.default(), write, close, self.blocked)
        # Who came in while no password was needed stays in when one is set later.
        session.authenticated = self.users.is_open()
        self.sessions[session.number] = session
        return session

    def ended(self, session: Session) -> None:
        """A connection is gone."""
        session.end_transaction()
        self.channels.forget(session)
        self.sessions.pop(session.number, None)
        if session.replica is not None:
            self.replicas.forget(session.replica)

    # ------------------------------------------------------------------------------------------------------ commands

    def perform(self, session: Session, argv: list[bytes]) -> Reply:
        """Run a command of a client, from the gate to the replicas."""
        before = self.history.offset
        try:
            asked = find_command(argv)
            pass_gate(self, session, asked, argv)
        except ReplyError as error:
            return self._refused(session, argv, error)
        if session.queue is not None and asked.name not in ("EXEC", "DISCARD", "MULTI", "WATCH", "QUIT", "RESET"):
            session.queue.append(argv)
            return QUEUED
        reply = self._run(Call(self, session, argv, self.keyspace(session.db)), asked)
        self._send_effects()
        if not self.strict_wait or self.history.offset != before:
            session.write_offset = self.history.offset
        self.replicas.after_command()
        self.blocked.serve()
        self.expiry.set()
        return reply

    def _refused(self, session: Session, argv: list[bytes], error: ReplyError) -> Reply:
        if session.queue is None:
            return error
        if argv[0].upper() == b"EXEC":
            session.end_transaction()
            return ReplyError(f"EXECABORT Transaction discarded because of: {error.text}")
        session.queue_failed = True
        return error

    def _run(self, call: Call, asked: Command) -> Reply:
        try:
            reply = asked.run(call)
        except ReplyError as error:
            reply = error
        if call.changed:
            effects = [call.argv] if call.effects is None else call.effects
            self._effects += [(call.keyspace.number, effect) for effect in effects]
        return reply

    def run_queued(self, session: Session, argv: list[bytes]) -> Reply:
        """Run a command of a transaction."""
        asked = find_command(argv)
        if session.user is not None:
            try:
                check(session.user, asked, argv)
            except ReplyError:
                return ReplyError(
                    "NOPERM ACLs rules changed between the moment the transaction was accumulated and the EXEC call. "
                    "This command is no longer allowed for the following reason: no permission to execute the command "
                    "or subcommand"
                )
        return self._run(Call(self, session, argv, self.keyspace(session.db), may_block=False), asked)

    def run_in_function(self, session: Session, argv: list[bytes], read_only: bool) -> Reply:
        """Run a command for a function."""
        try:
            asked = find_command(argv)
        except ReplyError as error:
            arity = "wrong number" in error.text
            told = "Wrong number of args calling Redis command" if arity else "Unknown Redis command called"
            return ReplyError(f"ERR {told} from script")
        if "noscript" in asked.flags:
            return ReplyError("ERR This Redis command is not allowed from script")
        if "write" in asked.flags and read_only:
            return ReplyError("ERR Write commands are not allowed from read-only scripts.")
        if session.user is not None and not session.user.may_run(asked):
            return ReplyError("ERR The user executing the script can't run this command or subcommand")
        if session.user is not None and not session.user.may_use(asked.keys_of(argv)):
            return ReplyError(
                "ERR The user executing the script can't access at least one of the keys mentioned in the command "
                "arguments"
            )
        if "denyoom" in asked.flags and not self._effects and self.is_out_of_memory():
            return ReplyError(OUT_OF_MEMORY)
        return self._run(
            Call(self, session, argv, self.keyspace(session.db), may_block=False, in_function=True), asked
        )

    def ask(self, *argv: bytes) -> Reply:
        """Run a command as somebody who may do everything, past the gate; what it writes goes out as usual."""
        self._own_session.db = 0
        reply = self._run(
            Call(self, self._own_session, list(argv), self.keyspace(0), may_block=False), find_command(list(argv))
        )
        self._send_effects()
        self.blocked.serve()
        self.expiry.set()
        return reply

    # ----------------------------------------------------------------------------------------------- what leaves it

    def spread(self, db: int, argv: list[bytes]) -> None:
        """Let replicas, not the disk, have a command."""
        if not self.is_replica() and not self._replaying:
            self.replicas.send(db, [argv])

    def _send_effects(self) -> None:
        """Let disk and replicas have what was written, as one step for each database."""
        effects, self._effects = self._effects, []
        if not effects or self.is_replica():
            return
        start = 0
        for place in range(1, len(effects) + 1):
            if place == len(effects) or effects[place][0] != effects[start][0]:
                db, commands = effects[start][0], [effect for _db, effect in effects[start:place]]
                self._write(db, commands)
                self.replicas.send(db, commands)
                start = place

    def _write(self, db: int, commands: list[list[bytes]]) -> None:
        if self.configuration.is_on("appendonly"):
            self.disk.append((db, commands))
            if self.configuration.text("appendfsync") == "always":
                self.disk.sync()

    def apply(self, db: int, commands: list[list[bytes]]) -> None:
        """Do what the master did."""
        self._write(db, [each for each in commands if each[0].upper() != b"PUBLISH"])
        self._replay(db, commands)
        self.blocked.serve()

    def _replay(self, db: int, commands: list[list[bytes]]) -> None:
        self._replaying = True
        try:
            for argv in commands:
                reply = find_command(argv).run(Call(self, self._own_session, argv, self.keyspace(db), may_block=False))
                if isinstance(reply, ReplyError):
                    raise AssertionError(f"{argv!r} went well on the master and fails here: {reply.text}")
        finally:
            self._replaying = False

    # ------------------------------------------------------------------------------------------------------ snapshots

    def load_snapshot(self, snapshot: bytes) -> None:
        """Replace everything by a snapshot."""
        restore_snapshot(self, snapshot)
        if self.configuration.is_on("appendonly"):
            self.disk.rewrite(snapshot)
        self.blocked.serve()

    def save(self) -> None:
        """Write a snapshot to the disk."""
        self.disk.snapshot = take_snapshot(self)
        self.last_save = self.wall()

    def load_disk(self) -> None:
        """Start with what the disk has."""
        base = self.disk.base if self.configuration.is_on("appendonly") else self.disk.snapshot
        if base is not None:
            restore_snapshot(self, base)
        if self.configuration.is_on("appendonly"):
            for db, commands in self.disk.log:
                self._replay(db, commands)
        self.expiry.set()

    def clear_databases(self) -> None:
        """Remove all keys."""
        for keyspace in self.databases.values():
            keyspace.clear()

    # ----------------------------------------------------------------------------------------------------- parameters

    def configure(self, given: Mapping[str, str]) -> None:
        """Change parameters; raises ValueError."""
        was_on = self.configuration.is_on("appendonly")
        self.configuration.set(given)
        if "requirepass" in given:
            self.users.require_password(given["requirepass"].encode())
        if self.configuration.is_on("appendonly") and not was_on:
            self.disk.rewrite(take_snapshot(self))

    def rewrite_configuration(self) -> None:
        """Let the parameters and the master in force hold over a restart."""
        self.disk.rewritten = dict(self.configuration.values)
        self.disk.master = None if self.link is None else (self.link.host, self.link.port)
        self.disk.was_rewritten = True

    # -------------------------------------------------------------------------------------------------------- the role

    def follow(self, host: str, port: int) -> None:
        """Become a replica of a server: what blocks is told and closed, what differs will be thrown away."""
        if self.link is not None:
            self.link.stop()
        else:
            self.stream_db = self.replicas.selected_db()
            self.history.open_backlog()
        self.link = ReplicaLink(self, host, port, self.link_faults)
        self.blocked.drop_all()
        self.link.start()

    def lead(self) -> None:
        """Become a master, with another replication id."""
        if self.link is None:
            return
        self.link.stop()
        self.link = None
        self.history.shift(self.new_id())
        self.replicas.drop_all()
        self.replicas.select_anew()
        self.expiry.set()

    # ------------------------------------------------------------------------------------------------------------ time

    def every_second(self) -> None:
        """What a server does by itself."""
        now = self.turns.seconds()
        self.replicas.every_second()
        if self.link is not None:
            self.link.every_second()
        policy = self.configuration.text("appendfsync")
        if policy == "everysec" or (policy == "no" and now - self._synced_at >= LONGEST_UNSYNCED):
            self.disk.sync()
            self._synced_at = now

    def stop(self) -> None:
        """End in good order: everything is synced, all connections close."""
        self.disk.sync()
        if self.link is not None:
            self.link.stop()
        self.expiry.cancel()
        for session in list(self.sessions.values()):
            session.end()

    def _expired(self, keyspace: Keyspace, key: bytes) -> None:
        self._effects.append((keyspace.number, [b"DEL", key]))

    def remove_expired(self) -> None:
        """Remove the keys whose time has come, though nobody asks for them."""
        if not self.is_replica():
            for keyspace in self.databases.values():
                keyspace.remove_expired()
            self._send_effects()
            self.blocked.serve()

"""`RedisServer`: a Redis on a machine of a simulated world, with the faults that a test may want."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import Enum

from attrs import define, field

from taba.testing.node import Node, Process
from taba.testing.redis.access import User, Users
from taba.testing.redis.configuration import Configuration
from taba.testing.redis.engine import VERSION, Engine
from taba.testing.redis.functions import FunctionLibrary
from taba.testing.redis.persistence import RedisDisk
from taba.testing.redis.process import RedisProcess
from taba.testing.redis.replica_link import LinkFaults
from taba.testing.redis.resp import Argument, Reply, ReplyError, words
from taba.testing.redis.turns import Turns

PORT = 6379


class With(Enum):
    """What a restarted server finds on its disk."""

    ITS_DATA = "its data"
    """All that it had written: the process died, the machine did not."""
    SYNCED_DATA = "what was synced"
    """What a loss of power leaves."""
    NOTHING = "nothing"


class NotRunning(Exception):
    """The server does not run."""


@define(eq=False, repr=False)
class RedisServer:
    """A Redis on `node`, which it has for itself. What is given holds for every life; the disk outlives them.

    `configuration` are parameters of CONFIG, on top of `appendonly yes`. `master` is whom it follows at the first
    start; later starts follow whom CONFIG REWRITE (Sentinel sends it) left. `libraries` are the Python twins of what
    clients load with FUNCTION LOAD. `strict_wait` is explained in `Engine`.
    """

    node: Node
    port: int = PORT
    libraries: Mapping[str, FunctionLibrary] = field(factory=dict, kw_only=True)
    configuration: Mapping[str, str] = field(factory=dict, kw_only=True)
    users: Sequence[User] = field(default=(), kw_only=True)
    master: RedisServer | None = field(default=None, kw_only=True)
    version: str = field(default=VERSION, kw_only=True)
    strict_wait: bool = field(default=True, kw_only=True)
    disk: RedisDisk = field(factory=RedisDisk, init=False)
    _faults: LinkFaults = field(factory=LinkFaults, init=False)
    _engine: Engine | None = field(default=None, init=False)
    _life: Process | None = field(default=None, init=False)
    _loading: float = field(default=0.0, init=False)

    # ------------------------------------------------------------------------------------------------------ its lives

    def start(self, loading: float = 0.0) -> RedisServer:
        """Start the process; for `loading` seconds it answers LOADING. Returns itself."""
        self._loading = loading
        self._life = self.node.start(self._make)
        return self

    def kill(self) -> None:
        """kill -9. What it had written is on the disk; what it had not sent is lost."""
        self.node.crash()

    def restart(self, found: With = With.ITS_DATA, loading: float = 0.0) -> None:
        """Kill it, if it runs, and start it with what it finds on its disk. It gets another replication id."""
        self.kill()
        if found is With.SYNCED_DATA:
            self.disk.lose_unsynced()
        elif found is With.NOTHING:
            self.disk.lose_content()
        self.start(loading)

    def is_running(self) -> bool:
        """Whether there is a process, hung or not."""
        return self._life is not None and self._life.running

    @property
    def engine(self) -> Engine:
        """The process of this life; raises NotRunning."""
        if self._engine is None or not self.is_running():
            raise NotRunning(f"no Redis runs on {self.node.name}")
        return self._engine

    def _make(self, process: Process) -> RedisProcess:
        configuration = Configuration()
        configuration.set({"appendonly": "yes", **self.configuration, **self.disk.rewritten})
        users = Users()
        users.require_password(configuration.text("requirepass").encode())
        users.by_name.update({user.name: user for user in self.users})
        self._engine = Engine(
            turns=Turns(process.reactor),
            wall=process.wall,
            random=process.random,
            connect=process.reactor.connectTCP,
            disk=self.disk,
            configuration=configuration,
            users=users,
            libraries=self.libraries,
            on_shutdown=process.reactor.stop,
            port=self.port,
            version=self.version,
            strict_wait=self.strict_wait,
            link_faults=self._faults,
        )
        return RedisProcess(process.reactor, self._engine, self._first_master(), self._loading)

    def _first_master(self) -> tuple[str, int] | None:
        if self.disk.was_rewritten:
            return self.disk.master
        return None if self.master is None else (self.master.host, self.master.port)

    # --------------------------------------------------------------------------------------------------------- faults

    def hang(self) -> None:
        """SIGSTOP: connections are accepted and bytes buffered, and nothing is answered."""
        self._verb("redis_hang")
        self.engine.turns.hang()

    def wake(self) -> None:
        """SIGCONT: all that came meanwhile is done now, in order, whoever still waits for it."""
        self._verb("redis_wake")
        self.engine.turns.wake()

    @property
    def lag(self) -> float:
        """Seconds between receiving what the master sends and applying (and acknowledging) it."""
        return self._faults.lag

    @lag.setter
    def lag(self, seconds: float) -> None:
        self._verb("redis_lag")
        self._faults.lag = seconds

    def cut_link(self) -> None:
        """Close the link with the master, and keep it closed: the replica falls behind, and knows that it does."""
        self._verb("redis_cut_link")
        self._faults.cut = True
        if self.is_running() and self.engine.link is not None:
            self.engine.link.cut()

    def join_link(self) -> None:
        """Let the link with the master be made again, within a second."""
        self._verb("redis_join_link")
        self._faults.cut = False

    def break_disk(self, broken: bool = True) -> None:
        """Let writing to the disk fail, so that writes are refused with MISCONF, or work again."""
        self._verb("redis_break_disk")
        self.disk.fails = broken

    def be_busy(self, busy: bool = True) -> None:
        """Answer BUSY, as while a function runs without end, or run commands again."""
        self._verb("redis_busy")
        self.engine.busy = busy

    # ------------------------------------------------------------------------------------------------------- the role

    def promote(self) -> None:
        """REPLICAOF NO ONE, as an operator sends it."""
        self._verb("redis_promote")
        self.engine.lead()

    def demote(self, to: RedisServer) -> None:
        """REPLICAOF another server: blocked clients are told and closed."""
        self._verb("redis_demote")
        self.engine.follow(to.host, to.port)

    # ------------------------------------------------------------------------------------------------------ looking in

    @property
    def host(self) -> str:
        """The address of its machine."""
        return self.node.world.network.address_of(self.node.name)

    @property
    def is_master(self) -> bool:
        """Whether it runs, and has no master."""
        return self.is_running() and not self.engine.is_replica()

    @property
    def replid(self) -> str:
        """Its replication id."""
        return self.engine.history.replid

    @property
    def offset(self) -> int:
        """Its replication offset."""
        return self.engine.history.offset

    def ask(self, *argv: Argument) -> Reply:
        """The reply of a command, in database 0, without connection, rights or refusal; raises ReplyError. A replica
        that is written to in this way differs from its master.
        """
        reply = self.engine.ask(*words(argv))
        if isinstance(reply, ReplyError):
            raise reply
        return reply

    def _verb(self, verb: str) -> None:
        self.node.world.note_verb(verb, self.node.name)

"""A machine of a simulated world, and the process lives on it.

`Node` is the machine: a disk and a wall clock that outlive processes, and the verbs that start, stop and kill them.
`Process` is one life: what production code gets in place of the real world. A killed process is kept until the world
ends, so that nothing of it is freed, and no `finally` block of it runs.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import TYPE_CHECKING, Any, TypeVar

from attrs import define, field
from twisted.application.service import IService, MultiService
from twisted.internet.defer import Deferred

from taba.testing.disk import MemoryDisk
from taba.testing.folder import MemoryFolder
from taba.testing.reactor import OwnThread, SimulatedReactor

if TYPE_CHECKING:
    from taba.testing.world import World

_T = TypeVar("_T")


@define(eq=False)
class Process:
    """One life of a process on a node: what production code is given instead of the real world."""

    node: Node
    number: int
    """Counts the lives on the node from 1."""
    random: Random
    """Seeded by the world's seed, the node and the life."""
    reactor: SimulatedReactor
    disk: MemoryDisk
    """The disk of the machine; `disk.folder(path)` gives folders for this life."""
    folder: MemoryFolder
    """The folder `data` of it."""
    service: IService | None = field(default=None, init=False)
    running: bool = field(default=True, init=False)
    """Until it has stopped or was killed."""

    def wall(self) -> float:
        """Wall time of the machine, in seconds since 1970; it may step in either direction."""
        return self.node.wall()

    def off_reactor(self, f: Callable[..., _T], *args: Any, **kw: Any) -> Deferred[_T]:
        """Run a blocking function as on a pool of threads: later, and not in order."""
        return self.reactor.run_off_reactor(f, *args, **kw)

    def own_thread(self) -> OwnThread:
        """A new `off_reactor` that runs its functions one after the other."""
        return self.reactor.own_thread()


Make = Callable[[Process], IService]


def _nothing(process: Process) -> IService:
    return MultiService()


@define(eq=False, repr=False)
class Node:
    """One machine: a disk, a wall clock, and at most one process that lives on them."""

    world: World
    name: str
    disk: MemoryDisk
    wall_offset: float = 0.0
    process: Process | None = field(default=None, init=False)
    """The present life, None when there is none."""
    lives: int = field(default=0, init=False)
    _make: Make = field(default=_nothing, init=False)

    def wall(self) -> float:
        """The wall clock: the world's epoch, and virtual time, and the offset of this machine."""
        return self.world.epoch + self.world.clock.seconds() + self.wall_offset

    def step_wall(self, seconds: float) -> None:
        """Step the wall clock forward, or back when negative."""
        self.world.note_verb("step_wall", self.name)
        self.wall_offset += seconds

    def start(self, make: Make = _nothing) -> Process:
        """Start a process: `make` gives its service, which is started as twistd starts it. What that raises ends the
        process and is raised here.
        """
        if self.process is not None:
            raise RuntimeError(f"{self.name} is running")
        self.world.note_verb("start", self.name)
        self._make = make
        self.lives += 1
        life = f"{self.name}/{self.lives}"
        reactor = SimulatedReactor(self.world.network, self.name, self.world.new_random(f"{life}/reactor"), life)
        random = self.world.new_random(life)
        self.process = process = Process(self, self.lives, random, reactor, self.disk, self.disk.folder())
        reactor.on_exit = lambda: self.world.soon(lambda: self._exited(process))
        try:
            service = process.service = make(process)
            service.privilegedStartService()
            service.startService()
            reactor.addSystemEventTrigger("before", "shutdown", service.stopService)
            reactor.start_running()
        except Exception:
            if self.process is process:
                self._exited(process)
            raise
        return process

    def crash(self, torn: bool | None = None) -> bool:
        """Kill the process, and lose what the disk had not synced (`torn` as in MemoryDisk.crash). False when there
        was no process.

        Nothing of the process runs any more: no callback, no cleanup. Others see its connections end, unless the
        network is cut.
        """
        process = self.process
        if process is None:
            return False
        self.world.note_verb("crash", self.name)
        self.process = None
        process.running = False
        process.reactor.die()
        self.disk.crash(torn)
        self.world.bury(process)
        return True

    def stop(self, limit: float = 60.0) -> list[str]:
        """Stop the process in good order and wait for its end; NotReached when it takes more than `limit` virtual
        seconds.

        What the stopped services left behind: calls, ports and connections, in words; none of a clean stop.
        """
        process = self.process
        if process is None:
            return []
        self.world.note_verb("stop", self.name)
        leftovers: list[str] = []

        def exits() -> None:
            leftovers.extend(_leftovers(process))
            self.world.soon(lambda: self._exited(process))

        process.reactor.on_exit = exits
        if not process.reactor.stopping:
            process.reactor.stop()
        self.world.run_until(lambda: not process.running, limit, f"{self.name} to stop")
        return leftovers

    def restart(self, make: Make | None = None) -> Process:
        """Crash the process, when there is one, and start another as the last one was started, or with `make`."""
        self.crash()
        return self.start(self._make if make is None else make)

    def replace_disk(self, disk: MemoryDisk) -> None:
        """Give the machine another disk, a copy of somebody's for example. No process may run."""
        if self.process is not None:
            raise RuntimeError(f"{self.name} is running")
        self.disk = disk
        self.world.adopt_disk(self)

    def _exited(self, process: Process) -> None:
        if process.running:
            process.running = False
            self.process = None
            process.reactor.die()
            self.disk.exit()
            self.world.bury(process)


def _leftovers(process: Process) -> list[str]:
    reactor = process.reactor
    return [
        *(repr(call) for call in reactor.getDelayedCalls()),
        *(f"listens on {port.getHost().port}" for port in reactor.network.ports_of(reactor)),
        *(f"connected with {end.getPeer()}" for end in reactor.network.connections_of(reactor)),
    ]
